#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oplog/chain.h"
#include "tests/support/oplog_array.h"
#include "tests/support/oplog_repo.h"

enum { SEGMENTS = 8, EACH = 5 };

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

static void
load(struct oplog_repo *r, struct chain *c)
{
    struct pitr_err err;

    if (chain_load(c, r->blob, &r->keys, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

/* SEGMENTS segments of EACH entries, at seconds 100, 105, 110... of `timeline`. */
static void
build(struct oplog_repo *r, uint32_t timeline, struct segment_info out[SEGMENTS])
{
    uint32_t i;

    for (i = 0; i < SEGMENTS; i++)
        out[i] = oplog_repo_segment(r, timeline, i == 0 ? NULL : &out[i - 1], 100 + EACH * i, EACH);
}

struct seen {
    uint64_t ts[SEGMENTS * EACH];
    size_t len, stop_after;
};

static enum pitr_rc
see(void *arg, const struct oplog_entry *e, bool *stop, struct pitr_err *err)
{
    struct seen *s = arg;

    if (s->len == SEGMENTS * EACH)
        return pitr_fail(err, PITR_INTERNAL, "more entries than there are");
    s->ts[s->len++] = e->ts;
    *stop = s->len == s->stop_after;
    return PITR_OK;
}

static enum pitr_rc
walk(struct oplog_repo *r, uint64_t from, uint64_t to, struct seen *s, struct pitr_err *err)
{
    PITR_AUTO(chain_release) struct chain c = {0};

    load(r, &c);
    return chain_walk(&c, r->blob, &r->keys, 1, from, to, see, s, err);
}

static void
remove_segment(struct oplog_repo *r, const struct segment_info *info)
{
    char name[SEGMENT_NAME_LEN];
    struct pitr_err err;

    segment_name(name, info);
    assert_int_equal(blob_remove(r->blob, name, &err), PITR_OK);
}

static struct gap
gap_after(const struct segment_info *a, uint64_t before)
{
    struct gap g = {.timeline = a->timeline,
                    .after = a->last,
                    .before = {.ts = before, .term = before == 0 ? -1 : 1},
                    .detected_ms = 1234,
                    .reason = "the oplog rolled over"};

    return g;
}

static void
write_gap(struct oplog_repo *r, const struct gap *g)
{
    struct pitr_err err;

    if (gap_write(r->blob, r->sealer, g, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

static void
an_empty_repository_has_no_head(void **state)
{
    PITR_AUTO(chain_release) struct chain c = {0};

    load(*state, &c);
    assert_null(chain_head(&c));
    assert_int_equal(c.nspans, 0);
    assert_int_equal(c.ngaps, 0);
}

static void
joined_segments_are_one_span(void **state)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    struct segment_info s[SEGMENTS];

    build(*state, 1, s);
    load(*state, &c);
    assert_int_equal(c.nspans, 1);
    assert_int_equal(c.ngaps, 0);
    assert_int_equal(c.spans[0].segs, SEGMENTS);
    assert_int_equal(c.spans[0].first, ts_make(100, 1));
    assert_int_equal(c.spans[0].last, ts_make(100 + SEGMENTS * EACH - 1, 1));
    assert_ptr_equal(chain_head(&c), &c.spans[0]);
}

static void
the_head_is_in_the_newest_timeline(void **state)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    struct segment_info s[SEGMENTS];

    build(*state, 1, s);
    oplog_repo_segment(*state, 2, NULL, 50, 3);
    load(*state, &c);
    assert_int_equal(c.nspans, 2);
    assert_int_equal(c.ngaps, 0);
    assert_int_equal(chain_head(&c)->timeline, 2);
}

static void
coverage_reaches_back_to_the_pruned_predecessor(void **state)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    struct segment_info s[SEGMENTS];

    build(*state, 1, s);
    remove_segment(*state, &s[0]);
    load(*state, &c);
    assert_non_null(chain_covering(&c, 1, s[0].last.ts + 1, s[7].last.ts));
    assert_null(chain_covering(&c, 1, s[0].last.ts, s[7].last.ts));
    assert_null(chain_covering(&c, 1, s[1].first.ts, s[7].last.ts + 1));
    assert_null(chain_covering(&c, 2, s[1].first.ts, s[1].first.ts));
}

static void
a_walk_visits_exactly_the_range(void **state)
{
    struct segment_info s[SEGMENTS];
    struct seen seen = {.len = 0};
    struct pitr_err err;
    size_t i;

    build(*state, 1, s);
    assert_int_equal(walk(*state, ts_make(103, 1), ts_make(121, UINT32_MAX), &seen, &err), PITR_OK);
    assert_int_equal(seen.len, 19);
    for (i = 0; i < seen.len; i++)
        assert_int_equal(seen.ts[i], ts_make(103 + (uint32_t)i, 1));
}

static void
a_visitor_can_stop(void **state)
{
    struct segment_info s[SEGMENTS];
    struct seen seen = {.stop_after = 7};
    struct pitr_err err;

    build(*state, 1, s);
    assert_int_equal(walk(*state, ts_make(100, 1), ts_make(139, 1), &seen, &err), PITR_OK);
    assert_int_equal(seen.len, 7);
}

static void
a_range_outside_is_a_gap(void **state)
{
    struct segment_info s[SEGMENTS];
    struct seen seen = {.len = 0};
    struct pitr_err err;

    build(*state, 1, s);
    assert_int_equal(walk(*state, ts_make(99, 1), ts_make(110, 1), &seen, &err), PITR_GAP);
    assert_string_equal(err.msg, "the captured oplog of timeline 1 does not cover 99,1 to 110,1");
    assert_int_equal(seen.len, 0);
}

static void
a_recorded_gap_is_told_with_its_reason(void **state)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    struct segment_info a = oplog_repo_segment(*state, 1, NULL, 100, 5);
    struct gap g = gap_after(&a, ts_make(200, 1));

    oplog_repo_segment(*state, 1, NULL, 200, 5);
    write_gap(*state, &g);
    write_gap(*state, &g);
    load(*state, &c);
    assert_int_equal(c.nspans, 2);
    assert_int_equal(c.ngaps, 1);
    assert_string_equal(c.gaps[0].reason, "the oplog rolled over");
    assert_int_equal(c.gaps[0].after.term, 1);
    assert_int_equal(c.gaps[0].detected_ms, 1234);
    assert_true(c.gaps[0].is_recorded);
    assert_false(c.gaps[0].is_damaged);
}

static void
a_missing_segment_is_a_gap_of_its_own(void **state)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    struct segment_info s[SEGMENTS];

    build(*state, 1, s);
    remove_segment(*state, &s[3]);
    load(*state, &c);
    assert_int_equal(c.nspans, 2);
    assert_int_equal(c.ngaps, 1);
    assert_int_equal(c.gaps[0].after.ts, s[2].last.ts);
    assert_int_equal(c.gaps[0].before.ts, s[4].first.ts);
    assert_false(c.gaps[0].is_recorded);
    assert_string_equal(c.gaps[0].reason, "one or more segments are missing from the repository");
}

static void
a_damaged_gap_record_is_still_a_gap(void **state)
{
    struct oplog_repo *r = *state;
    PITR_AUTO(chain_release) struct chain c = {0};
    struct segment_info a = oplog_repo_segment(r, 1, NULL, 100, 5);
    struct gap g = gap_after(&a, ts_make(200, 1)), again;
    PITR_AUTO(buf_release) struct buf raw = {0};
    char name[SEGMENT_NAME_LEN];
    struct pitr_err err;
    size_t i;

    oplog_repo_segment(r, 1, NULL, 200, 5);
    write_gap(r, &g);
    gap_name(name, &g);
    assert_int_equal(gap_read(&again, r->blob, &r->keys, name, &err), PITR_OK);
    assert_int_equal(blob_get(r->blob, name, 4096, &raw, &err), PITR_OK);
    for (i = 0; i < raw.len; i++) {
        raw.data[i] ^= 0x10;
        assert_int_equal(blob_put(r->blob, name, raw.data, raw.len, true, &err), PITR_OK);
        if (gap_read(&again, r->blob, &r->keys, name, &err) != PITR_CORRUPT)
            fail_msg("byte %zu", i);
        if (i + 1 < raw.len)
            raw.data[i] ^= 0x10;
    }
    load(r, &c);
    assert_int_equal(c.ngaps, 1);
    assert_true(c.gaps[0].is_damaged);
    assert_int_equal(c.gaps[0].after.ts, g.after.ts);
    assert_int_equal(c.gaps[0].before.ts, g.before.ts);
}

static void
a_gap_record_under_another_name_is_corrupt(void **state)
{
    struct oplog_repo *r = *state;
    struct segment_info a = oplog_repo_segment(r, 1, NULL, 100, 5);
    struct gap g = gap_after(&a, ts_make(200, 1)), other = gap_after(&a, ts_make(201, 1));
    PITR_AUTO(buf_release) struct buf raw = {0};
    char name[SEGMENT_NAME_LEN];
    struct pitr_err err;

    write_gap(r, &g);
    gap_name(name, &g);
    assert_int_equal(blob_get(r->blob, name, 4096, &raw, &err), PITR_OK);
    gap_name(name, &other);
    assert_int_equal(blob_put(r->blob, name, raw.data, raw.len, false, &err), PITR_OK);
    assert_int_equal(gap_read(&other, r->blob, &r->keys, name, &err), PITR_CORRUPT);
}

static void
a_gap_record_that_segments_contradict_is_left_out(void **state)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    struct segment_info s[SEGMENTS];
    struct gap rolled, ended;

    build(*state, 1, s);
    rolled = gap_after(&s[3], ts_make(500, 1));
    ended = gap_after(&s[4], 0);
    write_gap(*state, &rolled);
    write_gap(*state, &ended);
    load(*state, &c);
    assert_int_equal(c.nspans, 1);
    assert_int_equal(c.ngaps, 0);
}

static void
of_several_attempts_at_a_gap_the_one_that_led_on_counts(void **state)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    struct segment_info a = oplog_repo_segment(*state, 1, NULL, 100, 5);
    struct gap early = gap_after(&a, ts_make(200, 1)), late = gap_after(&a, ts_make(300, 1));

    write_gap(*state, &early);
    write_gap(*state, &late);
    load(*state, &c);
    assert_int_equal(c.ngaps, 1);
    assert_int_equal(c.gaps[0].before.ts, late.before.ts);
    chain_release(&c);
    oplog_repo_segment(*state, 1, NULL, 200, 5);
    load(*state, &c);
    assert_int_equal(c.ngaps, 1);
    assert_int_equal(c.gaps[0].before.ts, early.before.ts);
    assert_true(c.gaps[0].is_recorded);
}

static void
a_segment_of_another_history_does_not_join(void **state)
{
    struct oplog_repo *r = *state;
    struct segment_info a = oplog_repo_segment(r, 1, NULL, 100, 5);
    struct seen seen = {.len = 0};
    struct pitr_err err;

    oplog_repo_segment(r, 1, &a, 110, 5);
    /* Same name, other bytes: sealed again with one frame instead of several. */
    remove_segment(r, &a);
    {
        struct segment_writer_opts opts = {.blob = r->blob, .sealer = r->sealer, .timeline = 1};
        PITR_AUTO(segment_writer_freep) struct segment_writer *w = NULL;
        struct oplog_stamp stamp;
        uint32_t i;

        assert_int_equal(segment_writer_new(&w, &opts, &err), PITR_OK);
        for (i = 0; i < 5; i++) {
            PITR_AUTO(buf_release) struct buf e = {0};

            make_entry(&e, ts_make(100 + i, 1), 1, 'i', 20, 'y');
            assert_int_equal(oplog_entry_stamp(&stamp, e.data, e.len, &err), PITR_OK);
            assert_int_equal(segment_writer_add(w, e.data, e.len, &stamp, &err), PITR_OK);
        }
        assert_int_equal(segment_writer_finish(w, &a, &err), PITR_OK);
    }
    assert_int_equal(walk(r, ts_make(100, 1), ts_make(114, 1), &seen, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "its predecessor is another than it was sealed on"));
}

/* Whatever is removed, renamed to look like a neighbour, or stored twice: the walk over everything
 * succeeds if and only if every segment is there under its own name. */
static void
dropped_doubled_and_reordered_segments_are_found(void **state)
{
    uint64_t rnd = property_seed();
    int round;

    (void)state;
    for (round = 0; round < 60; round++) {
        struct oplog_repo r;
        struct segment_info s[SEGMENTS];
        struct seen seen = {.len = 0};
        PITR_AUTO(buf_release) struct buf a = {0}, b = {0};
        char name_a[SEGMENT_NAME_LEN], name_b[SEGMENT_NAME_LEN];
        uint32_t kind = property_below(&rnd, 4), x = property_below(&rnd, SEGMENTS),
                 y = property_below(&rnd, SEGMENTS);
        struct pitr_err err;
        bool whole;

        oplog_repo_init(&r);
        build(&r, 1, s);
        segment_name(name_a, &s[x]);
        segment_name(name_b, &s[y]);
        assert_int_equal(blob_get(r.blob, name_a, 1 << 20, &a, &err), PITR_OK);
        assert_int_equal(blob_get(r.blob, name_b, 1 << 20, &b, &err), PITR_OK);
        if (kind == 0) /* drop */
            remove_segment(&r, &s[x]);
        else if (kind == 1) /* double: x also stands where y stood */
            assert_int_equal(blob_put(r.blob, name_b, a.data, a.len, true, &err), PITR_OK);
        else if (kind == 2) { /* swap */
            assert_int_equal(blob_put(r.blob, name_b, a.data, a.len, true, &err), PITR_OK);
            assert_int_equal(blob_put(r.blob, name_a, b.data, b.len, true, &err), PITR_OK);
        }
        whole = kind == 3 || (kind != 0 && x == y);
        if ((walk(&r, s[0].first.ts, s[SEGMENTS - 1].last.ts, &seen, &err) == PITR_OK) != whole)
            fail_msg("kind %u of %u and %u: rc %d", kind, x, y, err.rc);
        if (whole)
            assert_int_equal(seen.len, SEGMENTS * EACH);
        else
            assert_true(err.rc == PITR_GAP || err.rc == PITR_CORRUPT);
        oplog_repo_release(&r);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_repository_has_no_head, setup, teardown),
        cmocka_unit_test_setup_teardown(joined_segments_are_one_span, setup, teardown),
        cmocka_unit_test_setup_teardown(the_head_is_in_the_newest_timeline, setup, teardown),
        cmocka_unit_test_setup_teardown(coverage_reaches_back_to_the_pruned_predecessor, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_walk_visits_exactly_the_range, setup, teardown),
        cmocka_unit_test_setup_teardown(a_visitor_can_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(a_range_outside_is_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(a_recorded_gap_is_told_with_its_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_segment_is_a_gap_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_gap_record_is_still_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(a_gap_record_under_another_name_is_corrupt, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_gap_record_that_segments_contradict_is_left_out, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(of_several_attempts_at_a_gap_the_one_that_led_on_counts,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_segment_of_another_history_does_not_join, setup,
                                        teardown),
        cmocka_unit_test(dropped_doubled_and_reordered_segments_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
