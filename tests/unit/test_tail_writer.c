#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "oplog/tail_writer.h"
#include "tests/support/blob_faulty.h"
#include "tests/support/oplog_array.h"
#include "tests/support/oplog_repo.h"

enum { SMALL = 200, BATCH = 512 << 10 };

struct fixture {
    struct oplog_repo repo;
    struct blob *faulty;
    struct oplog_array oplog; /* what was made so far, in order */
    struct tail_writer *writer;
    struct pitr_err err;
    size_t segments;
    uint64_t entries;
    struct optime last; /* published */
};

static void
published(void *arg, const struct segment_info *info)
{
    struct fixture *f = arg;

    assert_true(info->first.ts > f->last.ts);
    assert_int_equal(info->prev.ts, f->last.ts);
    f->last = info->last;
    f->entries += info->entries;
    f->segments++;
}

static int
setup_with(void **state, enum frame_codec codec, uint64_t max_bytes)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    oplog_repo_init(&f->repo);
    oplog_array_init(&f->oplog);
    if (blob_faulty_new(&f->faulty, f->repo.blob, &f->err) != PITR_OK ||
        tail_writer_new(&f->writer,
                        &(struct tail_writer_opts){.blob = f->faulty,
                                                   .keys = &f->repo.keys,
                                                   .codec = codec,
                                                   .max_bytes = max_bytes,
                                                   .published = published,
                                                   .arg = f},
                        &f->err) != PITR_OK)
        return -1;
    tail_writer_start(f->writer, 1, NULL);
    *state = f;
    return 0;
}

static int
setup(void **state)
{
    return setup_with(state, CODEC_LZ4, UINT64_MAX);
}

static int
setup_full_soon(void **state)
{
    return setup_with(state, CODEC_LZ4, 10 * BATCH);
}

static int
setup_uncompressed(void **state)
{
    return setup_with(state, CODEC_NONE, UINT64_MAX);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    tail_writer_free(f->writer);
    blob_free(f->faulty);
    oplog_array_release(&f->oplog);
    oplog_repo_release(&f->repo);
    free(f);
    return 0;
}

/* Make and add an entry with `pad` bytes. */
static enum pitr_rc
add(struct fixture *f, size_t pad)
{
    struct array_entry *e;
    struct oplog_stamp stamp;

    oplog_array_add(&f->oplog, ts_make(100 + (uint32_t)f->oplog.len, 1), 1, 'i', pad, 'x');
    e = &f->oplog.entries[f->oplog.len - 1];
    assert_int_equal(oplog_entry_stamp(&stamp, e->bson.data, e->bson.len, &f->err), PITR_OK);
    return tail_writer_add(f->writer, e->bson.data, e->bson.len, &stamp, &f->err);
}

static void
must_add(struct fixture *f, size_t pad)
{
    if (add(f, pad) != PITR_OK)
        fail_msg("%s", f->err.msg);
}

static enum pitr_rc
expect_next(void *arg, const struct oplog_entry *e, bool *stop, struct pitr_err *err)
{
    struct oplog_array *a = arg;
    const struct array_entry *want = &a->entries[a->next++];

    (void)stop;
    if (e->raw_len != want->bson.len || memcmp(e->raw, want->bson.data, e->raw_len) != 0)
        return pitr_fail(err, PITR_INTERNAL, "entry %zu is another", a->next - 1);
    return PITR_OK;
}

/* One unbroken chain holds all that was made, byte for byte. */
static void
assert_published(struct fixture *f)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    size_t n = f->oplog.len;

    assert_int_equal(tail_writer_flush(f->writer, &f->err), PITR_OK);
    assert_int_equal(f->entries, n);
    assert_int_equal(chain_load(&c, f->repo.blob, &f->repo.keys, &f->err), PITR_OK);
    assert_int_equal(c.nspans, 1);
    f->oplog.next = 0;
    if (chain_walk(&c, f->repo.blob, &f->repo.keys, 1, f->oplog.entries[0].at.ts,
                   f->oplog.entries[n - 1].at.ts, expect_next, &f->oplog, &f->err) != PITR_OK)
        fail_msg("%s", f->err.msg);
    assert_int_equal(f->oplog.next, n);
}

static void
entries_of_all_sizes_come_out_as_they_went_in(void **state)
{
    static const size_t sizes[] = {0,         SMALL, BATCH / 2, BATCH - 200, BATCH,
                                   2 * BATCH, SMALL, 3 << 20,   SMALL,       15 << 20};
    struct fixture *f = *state;

    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            must_add(f, sizes[i]);
    }
    assert_published(f);
    assert_int_equal(f->segments, 1);
}

static void
many_small_entries_fill_batches_by_their_number(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 20000; i++)
        must_add(f, 0);
    assert_published(f);
}

static void
full_segments_are_published_unasked(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 60; i++)
        must_add(f, BATCH / 2);
    must_add(f, 12 * BATCH);
    assert_published(f);
    assert_int_equal(f->segments, 4); /* every 20 of them, and the large one */
}

static void
segments_end_where_they_are_told_to(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 50; i++) {
        must_add(f, SMALL);
        must_add(f, i % 7 == 0 ? 2 * BATCH : SMALL);
        assert_int_equal(tail_writer_flush(f->writer, &f->err), PITR_OK);
        assert_int_equal(f->last.ts, f->oplog.entries[f->oplog.len - 1].at.ts);
    }
    assert_published(f);
    assert_int_equal(f->segments, 50);
}

static void
an_empty_segment_is_none(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(tail_writer_flush(f->writer, &f->err), PITR_OK);
    must_add(f, SMALL);
    assert_int_equal(tail_writer_flush(f->writer, &f->err), PITR_OK);
    assert_published(f);
    assert_int_equal(f->segments, 1);
}

/* Nobody asks for the end of these: what is held in memory has its own limit. */
static void
what_does_not_compress_ends_a_segment_early(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++)
        must_add(f, 9 << 20);
    for (int i = 0; i < 40; i++)
        must_add(f, 1 << 19);
    assert_published(f);
    assert_in_range(f->segments, 4, 5);
}

/* A hole in the chain must not come to be: what follows a segment that failed is not published. */
static void
after_a_failure_nothing_is_published(void **state)
{
    struct fixture *f = *state;
    struct object_names names;

    /* The third call is the first segment's commit; the ones after it would succeed. */
    blob_faulty_arm(f->faulty, FAULT_ONCE, 3, PITR_FULL);
    for (int i = 0; i < 100; i++) {
        if (add(f, i % 5 == 4 ? 2 * BATCH : BATCH / 2) != PITR_OK)
            assert_int_equal(f->err.rc, PITR_FULL);
    }
    assert_int_equal(tail_writer_flush(f->writer, &f->err), PITR_FULL);
    assert_int_equal(tail_writer_check(f->writer, &f->err), PITR_FULL);
    assert_int_equal(add(f, SMALL), PITR_FULL);
    assert_int_equal(f->segments, 0);
    oplog_repo_list(&f->repo, &names);
    assert_int_equal(names.len, 0);
}

static void
a_new_start_forgets_failure_and_entries(void **state)
{
    struct fixture *f = *state;

    blob_faulty_arm(f->faulty, FAULT_ONCE, 1, PITR_IO);
    must_add(f, SMALL);
    assert_int_equal(tail_writer_flush(f->writer, &f->err), PITR_IO);
    tail_writer_start(f->writer, 1, NULL);
    must_add(f, SMALL);
    must_add(f, 2 * BATCH);
    tail_writer_start(f->writer, 1, NULL);
    assert_int_equal(tail_writer_check(f->writer, &f->err), PITR_OK);
    oplog_array_cut(&f->oplog, 0);
    must_add(f, SMALL);
    assert_published(f);
}

static void
a_started_chain_goes_on_behind_its_predecessor(void **state)
{
    struct fixture *f = *state;
    struct segment_info prev = oplog_repo_segment(&f->repo, 1, NULL, 90, 3);
    PITR_AUTO(chain_release) struct chain c = {0};

    f->last = prev.last;
    tail_writer_start(f->writer, 1, &prev);
    must_add(f, SMALL);
    assert_int_equal(tail_writer_flush(f->writer, &f->err), PITR_OK);
    assert_int_equal(chain_load(&c, f->repo.blob, &f->repo.keys, &f->err), PITR_OK);
    assert_int_equal(c.nspans, 1);
    assert_int_equal(c.spans[0].segs, 2);
}

static void
assert_last_hash(struct fixture *f)
{
    const struct buf *last = &f->oplog.entries[f->oplog.len - 1].bson;
    uint8_t want[ENTRY_HASH_LEN], is[ENTRY_HASH_LEN] = {0};

    entry_hash(want, last->data, last->len);
    tail_writer_last_hash(f->writer, is);
    assert_memory_equal(is, want, sizeof is);
}

static void
the_last_entry_is_known_wherever_it_is(void **state)
{
    struct fixture *f = *state;
    uint8_t untouched[ENTRY_HASH_LEN] = {7}, is[ENTRY_HASH_LEN] = {7};

    tail_writer_last_hash(f->writer, is);
    assert_memory_equal(is, untouched, sizeof is);
    must_add(f, SMALL);
    must_add(f, 2 * SMALL);
    assert_last_hash(f); /* in the open batch */
    must_add(f, BATCH - 3 * SMALL);
    must_add(f, BATCH / 2);
    must_add(f, BATCH - SMALL);
    assert_last_hash(f); /* what came before is with the thread */
    must_add(f, 3 * SMALL);
    must_add(f, 2 * BATCH);
    assert_last_hash(f); /* sealed */
    must_add(f, SMALL);
    assert_int_equal(tail_writer_flush(f->writer, &f->err), PITR_OK);
    assert_last_hash(f); /* published */
}

static void
it_can_be_freed_in_the_middle(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 200; i++)
        must_add(f, BATCH / 10);
    must_add(f, SMALL);
    tail_writer_freep(&f->writer);
    assert_int_equal(f->segments, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entries_of_all_sizes_come_out_as_they_went_in, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(many_small_entries_fill_batches_by_their_number, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(full_segments_are_published_unasked, setup_full_soon,
                                        teardown),
        cmocka_unit_test_setup_teardown(segments_end_where_they_are_told_to, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_segment_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_compress_ends_a_segment_early,
                                        setup_uncompressed, teardown),
        cmocka_unit_test_setup_teardown(after_a_failure_nothing_is_published, setup_full_soon,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_new_start_forgets_failure_and_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(a_started_chain_goes_on_behind_its_predecessor, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_last_entry_is_known_wherever_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(it_can_be_freed_in_the_middle, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
