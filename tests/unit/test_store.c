#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "chunkstore/pack.h"
#include "chunkstore/store.h"
#include "tests/support/blob_faulty.h"
#include "tests/support/blob_mem.h"
#include "tests/support/store_fixture.h"

static void
what_was_put_can_be_read_in_this_run_and_the_next(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    struct store_stats stats = store_fixture_put_run(s, 0, 100);

    assert_int_equal(stats.chunks, 100);
    assert_int_equal(stats.chunks_new, 100);
    assert_int_equal(stats.bytes_raw, 100 * STORE_CHUNK_LEN);
    assert_int_equal(stats.bytes_new, 100 * STORE_CHUNK_LEN);
    assert_true(stats.bytes_stored > 90 * STORE_CHUNK_LEN);
    assert_true(stats.packs >= 4);
    store_fixture_assert_readable(s, 0, 100);
    store_freep(&s);
    s = store_fixture_open(f, true);
    store_fixture_assert_readable(s, 0, 100);
}

static void
the_same_bytes_are_stored_once(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = store_fixture_sealer();
    uint8_t data[STORE_CHUNK_LEN];
    struct chunk_id first, second;
    struct store_stats stats;
    uint32_t stored;
    struct pitr_err err;

    store_fixture_chunk(data, 0);
    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    assert_int_equal(store_put(w, sealer, FRAME_DATA, data, sizeof data, &first, &stored, &err),
                     PITR_OK);
    assert_true(stored > FRAME_HEAD_LEN);
    assert_int_equal(store_put(w, sealer, FRAME_DATA, data, sizeof data, &second, &stored, &err),
                     PITR_OK);
    assert_int_equal(stored, 0);
    assert_memory_equal(first.b, second.b, CHUNK_ID_LEN);
    assert_int_equal(store_writer_finish(w, &stats, &err), PITR_OK);
    assert_int_equal(stats.chunks, 2);
    assert_int_equal(stats.chunks_new, 1);
    store_freep(&s);
    s = store_fixture_open(f, false);
    stats = store_fixture_put_run(s, 0, 10);
    assert_int_equal(stats.chunks_new, 9);
    stats = store_fixture_put_run(s, 0, 10);
    assert_int_equal(stats.chunks_new, 0);
    assert_int_equal(stats.packs, 0);
}

static void
the_same_bytes_of_two_types_can_both_be_read(void **state)
{
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(*state, false);
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    PITR_AUTO(store_reader_freep) struct store_reader *r = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = store_fixture_sealer();
    PITR_AUTO(buf_release) struct buf out = {0};
    struct chunk_id id;
    struct pitr_err err;

    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    assert_int_equal(store_put(w, sealer, FRAME_DATA, "bytes", 5, &id, NULL, &err), PITR_OK);
    assert_int_equal(store_put(w, sealer, FRAME_NODE, "bytes", 5, &id, NULL, &err), PITR_OK);
    assert_int_equal(store_writer_finish(w, NULL, &err), PITR_OK);
    assert_int_equal(store_reader_new(&r, s, &err), PITR_OK);
    assert_int_equal(store_get(r, FRAME_DATA, &id, &out, &err), PITR_OK);
    assert_int_equal(store_get(r, FRAME_NODE, &id, &out, &err), PITR_OK);
    assert_int_equal(store_get(r, FRAME_LIST, &id, &out, &err), PITR_CORRUPT);
}

static void
an_unfinished_run_leaves_nothing_that_harms(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    struct store_writer *w = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = store_fixture_sealer();
    struct pitr_err err;

    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    store_fixture_put(w, sealer, 0);
    store_writer_free(w);
    assert_int_equal(store_fixture_get(s, 0, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "no pack holds it"));
    store_fixture_put_run(s, 0, 1);
    store_fixture_assert_readable(s, 0, 1);
}

static void
a_second_writer_is_busy(void **state)
{
    const struct store_fixture *f = *state;
    struct store_opts opts = store_fixture_opts(f, false);
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    struct store *other = NULL;
    struct pitr_err err;

    assert_int_equal(store_open(&other, &opts, &err), PITR_BUSY);
    assert_non_null(strstr(err.msg, "locked by process"));
}

static void
a_store_for_reading_does_not_write(void **state)
{
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(*state, true);
    struct store_writer *w = NULL;
    struct pitr_err err;

    assert_int_equal(store_writer_new(&w, s, &err), PITR_USAGE);
    assert_null(w);
}

/* The first chunk's frame, and whatever else is wrong with its pack. */
static void
a_damaged_frame_is_corrupt_and_the_others_can_be_read(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    PITR_AUTO(store_reader_freep) struct store_reader *r = NULL;
    struct chunk_id id = store_fixture_id(0);
    char name[PACK_NAME_LEN];
    struct pitr_err err;

    store_fixture_put_run(s, 0, 20); /* one pack */
    store_fixture_first_pack(f, name);
    blob_mem_object(f->blob, name)->data[PACK_HEAD_LEN + FRAME_HEAD_LEN + 50] ^= 1;
    assert_int_equal(store_fixture_get(s, 0, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "the tag does not fit"));
    assert_non_null(strstr(err.msg, name));
    store_fixture_assert_readable(s, 1, 20);
    assert_int_equal(store_reader_new(&r, s, &err), PITR_OK);
    assert_int_equal(store_check(r, &id, false, &err), PITR_OK);
    assert_int_equal(store_check(r, &id, true, &err), PITR_CORRUPT);
    id = store_fixture_id(1);
    assert_int_equal(store_check(r, &id, true, &err), PITR_OK);
    id = store_fixture_id(1000);
    assert_int_equal(store_check(r, &id, false, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "no pack holds it"));
}

static void
chunks_of_a_pack_without_tail_can_be_read(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    char name[PACK_NAME_LEN];

    store_fixture_put_run(s, 0, 20);
    store_freep(&s);
    store_fixture_first_pack(f, name);
    blob_mem_object(f->blob, name)->len -= 40;
    s = store_fixture_open(f, false);
    store_fixture_assert_readable(s, 0, 20);
    store_freep(&s);
    s = store_fixture_open(f, false); /* known now, if damaged: no rebuild each time */
    store_fixture_assert_readable(s, 0, 20);
}

static void
a_missing_pack_is_corrupt_for_shallow_checks_too(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    PITR_AUTO(store_reader_freep) struct store_reader *r = NULL;
    struct chunk_id id = store_fixture_id(0);
    char name[PACK_NAME_LEN];
    struct pitr_err err;

    store_fixture_put_run(s, 0, 20);
    store_fixture_first_pack(f, name);
    assert_int_equal(blob_remove(f->blob, name, &err), PITR_OK);
    assert_int_equal(store_reader_new(&r, s, &err), PITR_OK);
    assert_int_equal(store_check(r, &id, false, &err), PITR_CORRUPT);
    assert_int_equal(store_fixture_get(s, 0, &err), PITR_CORRUPT);
}

static void
verify_counts_every_frame_and_names_the_damaged_ones(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    char name[PACK_NAME_LEN];
    struct store_reports r;
    struct buf *pack;
    uint64_t frames;

    store_fixture_put_run(s, 0, 20);
    store_fixture_first_pack(f, name);
    pack = blob_mem_object(f->blob, name);
    for (int deep = 0; deep < 2; deep++) {
        assert_int_equal(store_fixture_verify(s, deep, &r, &frames), 0);
        assert_int_equal(frames, 20);
        pack->data[PACK_HEAD_LEN + FRAME_HEAD_LEN + 50] ^= 1;
        assert_int_equal(store_fixture_verify(s, deep, &r, &frames), 1);
        assert_int_equal(frames, 19);
        assert_non_null(strstr(r.last, name));
        assert_non_null(strstr(r.last, "at 24: "));
        pack->data[PACK_HEAD_LEN + FRAME_HEAD_LEN + 50] ^= 1;
        pack->len -= 10;
        assert_int_equal(store_fixture_verify(s, deep, &r, &frames), 1);
        assert_int_equal(frames, 20);
        assert_non_null(strstr(r.last, "read forward: 20 frames, 0 damaged"));
        pack->len += 10;
    }
}

static void
usage_counts_packs_and_chunks(void **state)
{
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(*state, false);
    struct store_stats stats = store_fixture_put_run(s, 0, 100);
    struct store_usage usage;
    struct pitr_err err;
    uint64_t packs, chunks;

    assert_int_equal(store_usage(s, &usage, &err), PITR_OK);
    assert_int_equal(usage.packs, stats.packs);
    assert_int_equal(usage.chunks, 100);
    assert_true(usage.pack_bytes > stats.bytes_stored);
    assert_int_equal(store_rebuild_index(s, &packs, &chunks, &err), PITR_OK);
    assert_int_equal(packs, stats.packs);
    assert_int_equal(chunks, 100);
    store_fixture_assert_readable(s, 0, 100);
}

struct crowd {
    struct store_writer *writer;
    unsigned first;
    unsigned failures, aborted;
};

static void *
put_many(void *arg)
{
    struct crowd *c = arg;
    struct sealer *sealer = store_fixture_sealer();
    struct chunk_id id;
    uint8_t data[STORE_CHUNK_LEN];
    struct pitr_err err;

    for (unsigned i = 0; i < 300; i++) {
        store_fixture_chunk(data, c->first + i);
        if (store_put(c->writer, sealer, FRAME_DATA, data, sizeof data, &id, NULL, &err) == PITR_OK)
            continue;
        if (err.rc == PITR_ABORTED)
            c->aborted++;
        else
            c->failures++;
    }
    sealer_free(sealer);
    return NULL;
}

enum { THREADS = 4 };

/* Four threads whose chunks overlap by two thirds. */
static void
put_in_parallel(struct store_writer *w, struct crowd crowds[THREADS])
{
    pthread_t threads[THREADS];

    for (unsigned t = 0; t < THREADS; t++) {
        crowds[t] = (struct crowd){.writer = w, .first = 100 * t};
        assert_int_equal(pthread_create(&threads[t], NULL, put_many, &crowds[t]), 0);
    }
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
}

static void
threads_that_put_the_same_chunks_store_them_once(void **state)
{
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(*state, false);
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    struct crowd crowds[THREADS];
    struct store_stats stats;
    struct pitr_err err;

    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    put_in_parallel(w, crowds);
    assert_int_equal(store_writer_finish(w, &stats, &err), PITR_OK);
    assert_int_equal(stats.chunks, THREADS * 300);
    assert_int_equal(stats.chunks_new, 600);
    store_fixture_assert_readable(s, 0, 600);
}

static void
the_first_failure_is_returned_once_and_by_finish(void **state)
{
    struct store_fixture *f = *state;
    PITR_AUTO(blob_freep) struct blob *faulty = NULL;
    struct store_opts opts = store_fixture_opts(f, false);
    PITR_AUTO(store_freep) struct store *s = NULL;
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    struct crowd crowds[THREADS];
    unsigned failures = 0, aborted = 0;
    struct pitr_err err;

    assert_int_equal(blob_faulty_new(&faulty, f->blob, &err), PITR_OK);
    opts.blob = faulty;
    assert_int_equal(store_open(&s, &opts, &err), PITR_OK);
    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    blob_faulty_arm(faulty, FAULT_ONCE, 60, PITR_FULL);
    put_in_parallel(w, crowds);
    for (unsigned t = 0; t < THREADS; t++) {
        failures += crowds[t].failures;
        aborted += crowds[t].aborted;
    }
    assert_int_equal(failures, 1);
    assert_true(aborted > 100);
    assert_int_equal(store_writer_finish(w, NULL, &err), PITR_FULL);
    assert_non_null(strstr(err.msg, "injected failure"));
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, store_fixture_setup, store_fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_was_put_can_be_read_in_this_run_and_the_next),
        CASE(the_same_bytes_are_stored_once),
        CASE(the_same_bytes_of_two_types_can_both_be_read),
        CASE(an_unfinished_run_leaves_nothing_that_harms),
        CASE(a_second_writer_is_busy),
        CASE(a_store_for_reading_does_not_write),
        CASE(a_damaged_frame_is_corrupt_and_the_others_can_be_read),
        CASE(chunks_of_a_pack_without_tail_can_be_read),
        CASE(a_missing_pack_is_corrupt_for_shallow_checks_too),
        CASE(verify_counts_every_frame_and_names_the_damaged_ones),
        CASE(usage_counts_packs_and_chunks),
        CASE(threads_that_put_the_same_chunks_store_them_once),
        CASE(the_first_failure_is_returned_once_and_by_finish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
