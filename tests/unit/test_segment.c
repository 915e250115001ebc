#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oplog/segment.h"
#include "tests/support/oplog_array.h"
#include "tests/support/oplog_repo.h"

static int
setup(void **state)
{
    struct oplog_repo *r = calloc(1, sizeof *r);

    if (r == NULL)
        return -1;
    oplog_repo_init(r);
    *state = r;
    return 0;
}

static int
teardown(void **state)
{
    oplog_repo_release(*state);
    free(*state);
    return 0;
}

/* Read the whole segment; counts its entries. */
static enum pitr_rc
read_all(struct oplog_repo *r, const char *name, size_t *entries, struct pitr_err *err)
{
    PITR_AUTO(segment_reader_freep) struct segment_reader *reader = NULL;
    struct segment_info info;
    const uint8_t *data;
    size_t len;

    *entries = 0;
    if (segment_reader_open(&reader, r->blob, &r->keys, name, &info, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (segment_reader_next(reader, &data, &len, err) != PITR_OK)
            return err->rc;
        if (data == NULL)
            return PITR_OK;
        ++*entries;
    }
}

static void
load(struct oplog_repo *r, const char *name, struct buf *out)
{
    struct pitr_err err;

    if (blob_get(r->blob, name, 1 << 20, out, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

static void
store(struct oplog_repo *r, const char *name, const void *data, size_t len)
{
    struct pitr_err err;

    if (blob_put(r->blob, name, data, len, true, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

static void
what_was_written_is_read_back(void **state)
{
    struct oplog_repo *r = *state;
    PITR_AUTO(segment_reader_freep) struct segment_reader *reader = NULL;
    struct segment_info written = oplog_repo_segment(r, 3, NULL, 100, 50), info;
    char name[SEGMENT_NAME_LEN];
    struct pitr_err err;
    const uint8_t *data;
    size_t len;
    uint32_t i;

    segment_name(name, &written);
    assert_string_equal(name,
                        "oplog/00000003/0000000000000000-0000006400000001-0000009500000001.seg");
    assert_int_equal(segment_reader_open(&reader, r->blob, &r->keys, name, &info, &err), PITR_OK);
    assert_memory_equal(&info, &written, sizeof info);
    for (i = 0; i < 50; i++) {
        PITR_AUTO(buf_release) struct buf expected = {0};

        make_entry(&expected, ts_make(100 + i, 1), 1, i % 4 == 3 ? 'n' : 'i', 20, 'x');
        assert_int_equal(segment_reader_next(reader, &data, &len, &err), PITR_OK);
        assert_int_equal(len, expected.len);
        assert_memory_equal(data, expected.data, len);
    }
    assert_int_equal(segment_reader_next(reader, &data, &len, &err), PITR_OK);
    assert_null(data);
    assert_int_equal(segment_reader_next(reader, &data, &len, &err), PITR_OK);
    assert_null(data);
}

static void
the_foot_tells_what_is_inside(void **state)
{
    struct segment_info info = oplog_repo_segment(*state, 1, NULL, 100, 8);
    PITR_AUTO(buf_release) struct buf last = {0};
    uint8_t hash[ENTRY_HASH_LEN];

    make_entry(&last, ts_make(107, 1), 1, 'n', 20, 'x');
    entry_hash(hash, last.data, last.len);
    assert_int_equal(info.entries, 8);
    assert_int_equal(info.operations, 6);
    assert_int_equal(info.first.ts, ts_make(100, 1));
    assert_int_equal(info.last.ts, ts_make(107, 1));
    assert_int_equal(info.last.term, 1);
    assert_int_equal(info.prev.ts, 0);
    assert_int_equal(info.last_wall_ms, 107000);
    assert_memory_equal(info.last_entry, hash, sizeof hash);
}

static void
a_segment_names_its_predecessor(void **state)
{
    struct segment_info a = oplog_repo_segment(*state, 1, NULL, 100, 8);
    struct segment_info b = oplog_repo_segment(*state, 1, &a, 200, 8);

    assert_int_equal(b.prev.ts, a.last.ts);
    assert_int_equal(b.prev.term, a.last.term);
    assert_memory_equal(b.prev_hash, a.hash, SEGMENT_HASH_LEN);
    assert_memory_not_equal(b.hash, a.hash, SEGMENT_HASH_LEN);
}

static void
nothing_is_visible_before_finish(void **state)
{
    struct oplog_repo *r = *state;
    struct segment_writer_opts opts = {.blob = r->blob, .sealer = r->sealer, .timeline = 1};
    PITR_AUTO(segment_writer_freep) struct segment_writer *w = NULL;
    PITR_AUTO(buf_release) struct buf e = {0};
    struct oplog_stamp stamp;
    struct object_names names;
    struct segment_info info;
    struct pitr_err err;

    assert_int_equal(segment_writer_new(&w, &opts, &err), PITR_OK);
    assert_int_equal(segment_writer_finish(w, &info, &err), PITR_INTERNAL);
    make_entry(&e, ts_make(5, 1), 1, 'i', 3 << 20, 'x');
    assert_int_equal(oplog_entry_stamp(&stamp, e.data, e.len, &err), PITR_OK);
    assert_int_equal(segment_writer_add(w, e.data, e.len, &stamp, &err), PITR_OK);
    assert_in_range(segment_writer_held(w), 1, e.len / 2); /* it was sealed, not copied */
    oplog_repo_list(r, &names);
    assert_int_equal(names.len, 0);
    assert_int_equal(segment_writer_finish(w, &info, &err), PITR_OK);
    oplog_repo_list(r, &names);
    assert_int_equal(names.len, 1);
}

static void
entries_out_of_order_are_refused_by_the_writer(void **state)
{
    struct oplog_repo *r = *state;
    struct segment_info prev = oplog_repo_segment(r, 1, NULL, 100, 1);
    struct segment_writer_opts opts = {
        .blob = r->blob, .sealer = r->sealer, .timeline = 1, .prev = &prev};
    PITR_AUTO(segment_writer_freep) struct segment_writer *w = NULL;
    PITR_AUTO(buf_release) struct buf e = {0};
    struct oplog_stamp stamp = {.ts = ts_make(100, 1), .term = 1};
    struct pitr_err err;

    make_entry(&e, ts_make(101, 1), 1, 'i', 1, 'x');
    assert_int_equal(segment_writer_new(&w, &opts, &err), PITR_OK);
    assert_int_equal(segment_writer_add(w, e.data, e.len, &stamp, &err), PITR_INTERNAL);
    assert_string_equal(err.msg, "oplog segment: entry 100,1 of term 1 after 100,1 of term 1");
    stamp = (struct oplog_stamp){.ts = ts_make(101, 1), .term = 0};
    assert_int_equal(segment_writer_add(w, e.data, e.len, &stamp, &err), PITR_INTERNAL);
    stamp.term = 1;
    assert_int_equal(segment_writer_add(w, e.data, e.len, &stamp, &err), PITR_OK);
}

/* A writer that is lied to about stamps seals entries in any order; the reader believes the entries
 * alone. */
static void
entries_out_of_order_are_corrupt(void **state)
{
    static const struct {
        uint32_t secs;
        int64_t term;
    } second[] = {{100, 1}, {99, 1}, {101, 0}, {102, 1}};
    struct oplog_repo *r = *state;
    struct segment_writer_opts opts = {.blob = r->blob, .sealer = r->sealer, .timeline = 1};
    size_t i, entries;

    for (i = 0; i < 4; i++) {
        PITR_AUTO(segment_writer_freep) struct segment_writer *w = NULL;
        PITR_AUTO(buf_release) struct buf a = {0}, b = {0};
        struct oplog_stamp stamp = {.ts = ts_make(100, 1), .term = 1};
        struct segment_info info;
        char name[SEGMENT_NAME_LEN];
        struct pitr_err err;

        make_entry(&a, ts_make(100, 1), 1, 'i', 1, 'x');
        make_entry(&b, ts_make(second[i].secs, 1), second[i].term, 'i', 1, 'x');
        assert_int_equal(segment_writer_new(&w, &opts, &err), PITR_OK);
        assert_int_equal(segment_writer_add(w, a.data, a.len, &stamp, &err), PITR_OK);
        stamp.ts = ts_make(102, (uint32_t)i + 1);
        stamp.wall_ms = second[i].secs * 1000;
        assert_int_equal(segment_writer_add(w, b.data, b.len, &stamp, &err), PITR_OK);
        assert_int_equal(segment_writer_finish(w, &info, &err), PITR_OK);
        segment_name(name, &info);
        assert_int_equal(read_all(r, name, &entries, &err), PITR_CORRUPT);
        assert_non_null(strstr(err.msg, i < 3 ? "entries out of order"
                                              : "its foot names another first or last entry"));
    }
}

static void
any_truncation_is_corrupt(void **state)
{
    struct oplog_repo *r = *state;
    struct segment_info info = oplog_repo_segment(r, 1, NULL, 100, 6);
    PITR_AUTO(buf_release) struct buf whole = {0};
    char name[SEGMENT_NAME_LEN];
    struct pitr_err err;
    size_t len, entries;

    segment_name(name, &info);
    load(r, name, &whole);
    for (len = 0; len < whole.len; len++) {
        store(r, name, whole.data, len);
        if (read_all(r, name, &entries, &err) != PITR_CORRUPT)
            fail_msg("cut to %zu of %zu bytes: rc %d", len, whole.len, err.rc);
    }
    store(r, name, whole.data, whole.len);
    assert_int_equal(read_all(r, name, &entries, &err), PITR_OK);
    assert_int_equal(entries, 6);
}

static void
any_flipped_bit_is_corrupt(void **state)
{
    struct oplog_repo *r = *state;
    struct segment_info info = oplog_repo_segment(r, 1, NULL, 100, 6);
    PITR_AUTO(buf_release) struct buf whole = {0};
    char name[SEGMENT_NAME_LEN];
    struct pitr_err err;
    size_t at, entries;

    segment_name(name, &info);
    load(r, name, &whole);
    for (at = 0; at < whole.len; at++) {
        uint8_t bit = (uint8_t)(1u << (at % 8));

        whole.data[at] ^= bit;
        store(r, name, whole.data, whole.len);
        if (read_all(r, name, &entries, &err) != PITR_CORRUPT)
            fail_msg("bit flipped at %zu of %zu: rc %d", at, whole.len, err.rc);
        whole.data[at] ^= bit;
    }
}

static void
appended_bytes_are_corrupt(void **state)
{
    struct oplog_repo *r = *state;
    struct segment_info info = oplog_repo_segment(r, 1, NULL, 100, 6);
    PITR_AUTO(buf_release) struct buf whole = {0};
    char name[SEGMENT_NAME_LEN];
    struct pitr_err err;
    size_t entries;

    segment_name(name, &info);
    load(r, name, &whole);
    assert_int_equal(buf_append_u8(&whole, 0, &err), PITR_OK);
    store(r, name, whole.data, whole.len);
    assert_int_equal(read_all(r, name, &entries, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "oplog/00000001/0000000000000000-0000006400000001-"
                                 "0000006900000001.seg: it does not end as a segment of this "
                                 "version");
}

/* Every frame is authentic by itself; the foot gives away that one is gone, doubled or moved. */
static void
removed_doubled_and_swapped_frames_are_corrupt(void **state)
{
    struct oplog_repo *r = *state;
    struct segment_info info = oplog_repo_segment(r, 1, NULL, 100, 20);
    PITR_AUTO(buf_release) struct buf whole = {0}, forged = {0};
    size_t at[16], frames = 0, pos = 16, entries, i;
    char name[SEGMENT_NAME_LEN];
    struct frame_head head;
    struct pitr_err err;

    segment_name(name, &info);
    load(r, name, &whole);
    for (; pos < whole.len - 16; pos += FRAME_HEAD_LEN + head.stored_len) {
        assert_int_equal(frame_head_parse(&head, whole.data + pos, whole.len - pos, &err), PITR_OK);
        at[frames++] = pos;
    }
    at[frames] = pos;
    assert_true(frames >= 5); /* head, three times entries, foot */
    for (i = 1; i + 1 < frames; i++) {
        const uint8_t *d = whole.data;
        size_t a = at[i], b = at[i + 1], c = i + 2 < frames ? at[i + 2] : b;

        buf_clear(&forged);
        assert_int_equal(buf_append(&forged, d, a, &err), PITR_OK);
        assert_int_equal(buf_append(&forged, d + b, whole.len - b, &err), PITR_OK);
        store(r, name, forged.data, forged.len);
        assert_int_equal(read_all(r, name, &entries, &err), PITR_CORRUPT);

        buf_clear(&forged);
        assert_int_equal(buf_append(&forged, d, b, &err), PITR_OK);
        assert_int_equal(buf_append(&forged, d + a, whole.len - a, &err), PITR_OK);
        store(r, name, forged.data, forged.len);
        assert_int_equal(read_all(r, name, &entries, &err), PITR_CORRUPT);

        if (c == b)
            continue;
        buf_clear(&forged);
        assert_int_equal(buf_append(&forged, d, a, &err), PITR_OK);
        assert_int_equal(buf_append(&forged, d + b, c - b, &err), PITR_OK);
        assert_int_equal(buf_append(&forged, d + a, b - a, &err), PITR_OK);
        assert_int_equal(buf_append(&forged, d + c, whole.len - c, &err), PITR_OK);
        store(r, name, forged.data, forged.len);
        assert_int_equal(read_all(r, name, &entries, &err), PITR_CORRUPT);
    }
}

/* Two segments that differ in nothing but what stands before them exchange their heads: frames,
 * names, counts and entries are all right, only the hash is not. */
static void
the_head_of_another_segment_is_corrupt(void **state)
{
    struct oplog_repo *r = *state;
    struct segment_info before_a = oplog_repo_segment(r, 1, NULL, 100, 5);
    struct segment_info before_b = oplog_repo_segment(r, 1, NULL, 101, 4);
    struct segment_info info = oplog_repo_segment(r, 1, &before_a, 110, 6);
    PITR_AUTO(buf_release) struct buf a = {0};
    PITR_AUTO(buf_release) struct buf b = {0};
    PITR_AUTO(buf_release) struct buf mixed = {0};
    char name[SEGMENT_NAME_LEN];
    struct frame_head head_a, head_b;
    struct pitr_err err;
    size_t entries, end_a, end_b;

    segment_name(name, &info);
    load(r, name, &a);
    assert_int_equal(blob_remove(r->blob, name, &err), PITR_OK);
    oplog_repo_segment(r, 1, &before_b, 110, 6);
    load(r, name, &b);
    assert_int_equal(frame_head_parse(&head_a, a.data + 16, a.len - 16, &err), PITR_OK);
    assert_int_equal(frame_head_parse(&head_b, b.data + 16, b.len - 16, &err), PITR_OK);
    assert_memory_not_equal(head_a.id.b, head_b.id.b, CHUNK_ID_LEN);
    end_a = 16 + FRAME_HEAD_LEN + head_a.stored_len;
    end_b = 16 + FRAME_HEAD_LEN + head_b.stored_len;
    assert_int_equal(buf_append(&mixed, a.data, end_a, &err), PITR_OK);
    assert_int_equal(buf_append(&mixed, b.data + end_b, b.len - end_b, &err), PITR_OK);
    store(r, name, mixed.data, mixed.len);
    assert_int_equal(read_all(r, name, &entries, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, ".seg: its hash does not match its frames"));
}

static void
a_segment_under_another_name_is_corrupt(void **state)
{
    struct oplog_repo *r = *state;
    struct segment_info info = oplog_repo_segment(r, 1, NULL, 100, 6), other = info;
    PITR_AUTO(buf_release) struct buf whole = {0};
    char name[SEGMENT_NAME_LEN];
    struct pitr_err err;
    size_t entries;

    segment_name(name, &info);
    load(r, name, &whole);
    other.last.ts++;
    segment_name(name, &other);
    store(r, name, whole.data, whole.len);
    assert_int_equal(read_all(r, name, &entries, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "it is oplog/00000001/"));
}

static void
only_canonical_names_are_segments(void **state)
{
    static const char *const bad[] = {
        "oplog/00000001/0000000000000000-0000006400000001-0000006900000001.gap",
        "oplog/00000001/0000000000000000-0000006400000001-0000006900000001.seg2",
        "oplog/0000001/0000000000000000-0000006400000001-0000006900000001.seg",
        "oplog/00000001/0000000000000000-0000006400000001.seg",
        "oplog/00000001/0000000000000000-0000006900000001-0000006400000001.seg",
        "oplog/00000001/0000006400000001-0000006400000001-0000006900000001.seg",
        "oplog/00000001/0000000000000000-000000640000000A-0000006900000001.seg",
        "packs/00000001/0000000000000000-0000006400000001-0000006900000001.seg",
        "oplog/00000001/0000000000000000-0000000000000000-0000006900000001.seg",
        ""};
    struct segment_info info;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (segment_name_parse(&info, bad[i]))
            fail_msg("%s was accepted", bad[i]);
    }
    assert_true(segment_name_parse(
        &info, "oplog/0000000a/0000006300000001-0000006400000001-0000006900000001.seg"));
    assert_int_equal(info.timeline, 10);
    assert_int_equal(info.prev.ts, ts_make(99, 1));
    assert_int_equal(info.first.ts, ts_make(100, 1));
    assert_int_equal(info.last.ts, ts_make(105, 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(the_foot_tells_what_is_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(a_segment_names_its_predecessor, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_visible_before_finish, setup, teardown),
        cmocka_unit_test_setup_teardown(entries_out_of_order_are_refused_by_the_writer, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(entries_out_of_order_are_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(any_truncation_is_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(any_flipped_bit_is_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(appended_bytes_are_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(removed_doubled_and_swapped_frames_are_corrupt, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_head_of_another_segment_is_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(a_segment_under_another_name_is_corrupt, setup, teardown),
        cmocka_unit_test(only_canonical_names_are_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
