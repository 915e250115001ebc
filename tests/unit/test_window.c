/* Which moments can be restored, and in which words the others are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/window.h"

/* 2023-11-14T22:13:20Z */
#define BASE UINT32_C(1700000000)

enum { MAX = 4 };

/* A history on the test's own arrays: nothing in it is released but the windows. */
struct world {
    struct manifest snapshots[MAX];
    struct chain_span spans[MAX];
    struct gap gaps[MAX];
    struct history h;
};

static void
world_release(struct world *w)
{
    free(w->h.windows);
}

static void
add_snapshot(struct world *w, const char *id, uint32_t timeline, uint64_t begin, uint64_t t_end)
{
    struct manifest *m = &w->snapshots[w->h.nsnapshots++];

    *m = (struct manifest){.pitr = t_end != 0, .timeline = timeline};
    snprintf(m->id, sizeof m->id, "%s", id);
    m->begin.ts = begin;
    m->t_end.ts = t_end;
}

static void
add_span(struct world *w, uint32_t timeline, uint64_t first, uint64_t last)
{
    w->spans[w->h.chain.nspans++] =
        (struct chain_span){.timeline = timeline, .first = first, .last = last};
}

static void
add_gap(struct world *w, uint32_t timeline, uint64_t after, uint64_t before)
{
    struct gap *g = &w->gaps[w->h.chain.ngaps++];

    *g = (struct gap){.timeline = timeline, .after.ts = after, .before.ts = before};
    snprintf(g->reason, sizeof g->reason, "the oplog rolled over");
}

static void
derive(struct world *w)
{
    struct pitr_err err;

    w->h.snapshots = w->snapshots;
    w->h.chain.spans = w->spans;
    w->h.chain.gaps = w->gaps;
    assert_int_equal(history_derive(&w->h, &err), PITR_OK);
}

/* One snapshot at +10,1 and capture from +5,1 to +60,3, in one piece. */
static void
make_simple(struct world *w)
{
    *w = (struct world){0};
    add_snapshot(w, "20231114T221330Z-aaaaaa", 1, ts_make(BASE + 6, 1), ts_make(BASE + 10, 1));
    add_span(w, 1, ts_make(BASE + 5, 1), ts_make(BASE + 60, 3));
    derive(w);
}

/* As above, then a gap up to +100,1, and a second snapshot at +110,1 with capture to +200,2. */
static void
make_gapped(struct world *w)
{
    *w = (struct world){0};
    add_snapshot(w, "20231114T221330Z-aaaaaa", 1, ts_make(BASE + 6, 1), ts_make(BASE + 10, 1));
    add_snapshot(w, "20231114T221510Z-bbbbbb", 1, ts_make(BASE + 105, 1), ts_make(BASE + 110, 1));
    add_span(w, 1, ts_make(BASE + 5, 1), ts_make(BASE + 60, 3));
    add_span(w, 1, ts_make(BASE + 100, 1), ts_make(BASE + 200, 2));
    add_gap(w, 1, ts_make(BASE + 60, 3), ts_make(BASE + 100, 1));
    derive(w);
}

static enum pitr_rc
choose_text(const struct world *w, const char *text, struct choice *out, struct pitr_err *err)
{
    struct moment m;

    if (moment_parse(&m, text, err) != PITR_OK)
        return err->rc;
    return history_choose(&w->h, &m, out, err);
}

static void
assert_chosen(const struct world *w, const char *text, size_t snapshot, uint64_t to)
{
    struct choice c;
    struct pitr_err err;

    if (choose_text(w, text, &c, &err) != PITR_OK)
        fail_msg("%s: %s", text, err.msg);
    assert_int_equal(c.snapshot, snapshot);
    assert_true(c.to == to);
}

static void
assert_refused(const struct world *w, const char *text, enum pitr_rc rc, const char *message)
{
    struct choice c;
    struct pitr_err err;

    assert_int_equal(choose_text(w, text, &c, &err), rc);
    assert_string_equal(err.msg, message);
}

static void
snapshots_that_join_one_span_make_one_window(void **state)
{
    struct world w = {0};

    (void)state;
    add_snapshot(&w, "a", 1, 10, 20);
    add_snapshot(&w, "b", 1, 30, 40);
    add_span(&w, 1, 5, 100);
    derive(&w);
    assert_int_equal(w.h.nwindows, 1);
    assert_int_equal(w.h.windows[0].from, 20);
    assert_int_equal(w.h.windows[0].to, 100);
    world_release(&w);
}

static void
windows_on_both_sides_of_a_gap_stay_apart(void **state)
{
    struct world w;

    (void)state;
    make_gapped(&w);
    assert_int_equal(w.h.nwindows, 2);
    assert_true(w.h.windows[0].to == ts_make(BASE + 60, 3));
    assert_true(w.h.windows[1].from == ts_make(BASE + 110, 1));
    world_release(&w);
}

static void
a_snapshot_whose_own_oplog_is_missing_opens_no_window(void **state)
{
    struct world w = {0};

    (void)state;
    add_snapshot(&w, "a", 1, 10, 20);
    add_snapshot(&w, "b", 2, 10, 20);
    add_snapshot(&w, "c", 1, 10, 101);
    add_span(&w, 1, 11, 100);
    derive(&w);
    assert_int_equal(w.h.nwindows, 0);
    assert_false(history_is_good(&w.h, &w.snapshots[0]));
    world_release(&w);
}

static void
a_second_includes_every_operation_of_it(void **state)
{
    struct world w;

    (void)state;
    make_simple(&w);
    assert_chosen(&w, "2023-11-14T22:13:50Z", 0, ts_make(BASE + 30, UINT32_MAX));
    assert_chosen(&w, "2023-11-15T00:13:50+02:00", 0, ts_make(BASE + 30, UINT32_MAX));
    /* The second of the snapshot itself: what came later in it is replayed. */
    assert_chosen(&w, "2023-11-14T22:13:30Z", 0, ts_make(BASE + 10, UINT32_MAX));
    assert_chosen(&w, "2023-11-14T22:14:19Z", 0, ts_make(BASE + 59, UINT32_MAX));
    world_release(&w);
}

static void
a_second_that_may_go_on_is_refused(void **state)
{
    struct world w;

    (void)state;
    make_simple(&w);
    assert_refused(&w, "2023-11-14T22:14:20Z", PITR_GAP,
                   "2023-11-14T22:14:20Z is not captured to its end: more operations of that "
                   "second may follow; the nearest restorable moment is 2023-11-14T22:14:19Z or "
                   "1700000060,3");
    world_release(&w);
}

static void
a_timestamp_is_inclusive_up_to_the_last_captured_entry(void **state)
{
    struct world w;

    (void)state;
    make_simple(&w);
    assert_chosen(&w, "1700000010,1", 0, ts_make(BASE + 10, 1));
    assert_chosen(&w, "1700000030:7", 0, ts_make(BASE + 30, 7));
    assert_chosen(&w, "1700000060,3", 0, ts_make(BASE + 60, 3));
    assert_refused(&w, "1700000060,4", PITR_GAP,
                   "1700000060,4 (2023-11-14T22:14:20Z) is after the last captured operation; the "
                   "nearest restorable moment is 2023-11-14T22:14:19Z or 1700000060,3; 'pitr tail "
                   "--once' captures what the server has by now");
    world_release(&w);
}

static void
before_an_operation_excludes_it(void **state)
{
    struct moment m;
    struct choice c;
    struct pitr_err err;
    struct world w;

    (void)state;
    make_simple(&w);
    assert_int_equal(moment_parse_before(&m, "1700000060,3", &err), PITR_OK);
    assert_int_equal(history_choose(&w.h, &m, &c, &err), PITR_OK);
    assert_true(c.to == ts_make(BASE + 60, 2));
    /* The next one: everything before it is captured, as far as timestamps can tell. */
    assert_int_equal(moment_parse_before(&m, "1700000060,4", &err), PITR_OK);
    assert_int_equal(history_choose(&w.h, &m, &c, &err), PITR_OK);
    assert_true(c.to == ts_make(BASE + 60, 3));
    assert_int_equal(moment_parse_before(&m, "1700000060,5", &err), PITR_OK);
    assert_int_equal(history_choose(&w.h, &m, &c, &err), PITR_GAP);
    assert_non_null(strstr(err.msg, "before 1700000060,5 (2023-11-14T22:14:20Z) is after the last "
                                    "captured operation"));
    /* The state before the first restorable operation is not known. */
    assert_int_equal(moment_parse_before(&m, "1700000010,1", &err), PITR_OK);
    assert_int_equal(history_choose(&w.h, &m, &c, &err), PITR_GAP);
    world_release(&w);
}

static void
what_lies_before_the_first_moment_is_refused(void **state)
{
    struct world w;

    (void)state;
    make_simple(&w);
    assert_refused(&w, "2023-11-14T22:13:29Z", PITR_GAP,
                   "2023-11-14T22:13:29Z is before the first restorable moment; the nearest is "
                   "2023-11-14T22:13:30Z or 1700000010,1");
    assert_refused(&w, "1700000010,0", PITR_GAP,
                   "1700000010,0 (2023-11-14T22:13:30Z) is before the first restorable moment; "
                   "the nearest is 2023-11-14T22:13:30Z or 1700000010,1");
    assert_refused(&w, "1950-01-01T00:00:00Z", PITR_GAP,
                   "1970-01-01T00:00:00Z is before the first restorable moment; the nearest is "
                   "2023-11-14T22:13:30Z or 1700000010,1");
    world_release(&w);
}

static void
what_lies_after_the_last_moment_is_refused(void **state)
{
    struct world w;

    (void)state;
    make_simple(&w);
    assert_refused(&w, "2200-01-01T00:00:00Z", PITR_GAP,
                   "2200-01-01T00:00:00Z is after the last captured operation; the nearest "
                   "restorable moment is 2023-11-14T22:14:19Z or 1700000060,3; 'pitr tail --once' "
                   "captures what the server has by now");
    world_release(&w);
}

static void
what_lies_in_a_gap_is_refused_with_both_sides(void **state)
{
    const char *both = "lies in a gap of the captured oplog (the oplog rolled over); the nearest "
                       "restorable moments are 2023-11-14T22:14:19Z or 1700000060,3 before it, and "
                       "2023-11-14T22:15:10Z or 1700000110,1 after it";
    char message[512];
    struct world w;

    (void)state;
    make_gapped(&w);
    snprintf(message, sizeof message, "2023-11-14T22:14:40Z %s", both);
    assert_refused(&w, "2023-11-14T22:14:40Z", PITR_GAP, message);
    snprintf(message, sizeof message, "1700000060,4 (2023-11-14T22:14:20Z) %s", both);
    assert_refused(&w, "1700000060,4", PITR_GAP, message);
    /* Captured again, but no snapshot to start from yet. */
    assert_refused(&w, "1700000105,1", PITR_GAP,
                   "1700000105,1 (2023-11-14T22:15:05Z) lies in a gap: no snapshot before it joins "
                   "the captured oplog; the nearest restorable moments are 2023-11-14T22:14:19Z or "
                   "1700000060,3 before it, and 2023-11-14T22:15:10Z or 1700000110,1 after it");
    assert_chosen(&w, "1700000110,1", 1, ts_make(BASE + 110, 1));
    world_release(&w);
}

static void
the_last_second_before_a_gap_is_refused_too(void **state)
{
    struct world w;

    (void)state;
    make_gapped(&w);
    assert_refused(&w, "2023-11-14T22:14:20Z", PITR_GAP,
                   "2023-11-14T22:14:20Z is not captured to its end: more operations of that "
                   "second may follow; the nearest restorable moment is 2023-11-14T22:14:19Z or "
                   "1700000060,3");
    world_release(&w);
}

static void
only_targets_that_would_be_accepted_are_named(void **state)
{
    struct world w = {0};

    (void)state;
    /* A window inside one second has no complete second to name. */
    add_snapshot(&w, "a", 1, ts_make(BASE, 1), ts_make(BASE, 2));
    add_span(&w, 1, ts_make(BASE, 1), ts_make(BASE, 9));
    derive(&w);
    assert_refused(&w, "1700000005,1", PITR_GAP,
                   "1700000005,1 (2023-11-14T22:13:25Z) is after the last captured operation; the "
                   "nearest restorable moment is 1700000000,9; 'pitr tail --once' captures what "
                   "the server has by now");
    assert_refused(&w, "1700000000,1", PITR_GAP,
                   "1700000000,1 (2023-11-14T22:13:20Z) is before the first restorable moment; the "
                   "nearest is 1700000000,2");
    world_release(&w);
}

static void
the_newest_snapshot_not_after_the_moment_is_the_base(void **state)
{
    struct world w = {0};

    (void)state;
    add_snapshot(&w, "a", 1, 10, 20);
    add_snapshot(&w, "b", 1, 30, 40);
    add_snapshot(&w, "c", 1, 200, 210); /* its oplog is not captured */
    add_span(&w, 1, 5, 100);
    derive(&w);
    assert_chosen(&w, "0,39", 0, 39);
    assert_chosen(&w, "0,40", 1, 40);
    assert_chosen(&w, "0,100", 1, 100);
    assert_chosen(&w, "latest", 1, 100);
    world_release(&w);
}

static void
the_newest_timeline_decides_when_several_hold_a_moment(void **state)
{
    struct world w = {0};

    (void)state;
    add_snapshot(&w, "a", 1, 10, 20);
    add_snapshot(&w, "b", 2, 50, 60);
    add_span(&w, 1, 5, 100);
    add_span(&w, 2, 45, 80);
    add_gap(&w, 1, 100, 0);
    derive(&w);
    assert_chosen(&w, "0,70", 1, 70);
    assert_chosen(&w, "0,55", 0, 55);
    assert_chosen(&w, "latest", 1, 80);
    world_release(&w);
}

static void
the_end_of_a_timeline_is_a_gap_until_the_next_begins(void **state)
{
    struct pitr_err err;
    struct choice c;
    struct world w = {0};

    (void)state;
    add_snapshot(&w, "a", 1, ts_make(BASE, 1), ts_make(BASE + 1, 1));
    add_snapshot(&w, "b", 2, ts_make(BASE + 51, 1), ts_make(BASE + 60, 1));
    add_span(&w, 1, ts_make(BASE, 1), ts_make(BASE + 10, 1));
    add_span(&w, 2, ts_make(BASE + 50, 1), ts_make(BASE + 80, 1));
    add_gap(&w, 1, ts_make(BASE + 10, 1), 0);
    derive(&w);
    assert_int_equal(choose_text(&w, "1700000030,1", &c, &err), PITR_GAP);
    assert_non_null(strstr(err.msg, "lies in a gap of the captured oplog (the oplog rolled over)"));
    assert_int_equal(choose_text(&w, "1700000090,1", &c, &err), PITR_GAP);
    assert_non_null(strstr(err.msg, "is after the last captured operation"));
    world_release(&w);
}

static enum pitr_rc
choose_kind(const struct world *w, enum moment_kind kind, const char *id, struct choice *out,
            struct pitr_err *err)
{
    struct moment m = {.kind = kind};

    snprintf(m.id, sizeof m.id, "%s", id);
    return history_choose(&w->h, &m, out, err);
}

static void
snapshots_are_chosen_by_id_or_its_beginning(void **state)
{
    struct choice c;
    struct pitr_err err;
    struct world w;

    (void)state;
    make_gapped(&w);
    assert_int_equal(choose_kind(&w, MOMENT_SNAPSHOT, "20231114T221510Z-bbbbbb", &c, &err),
                     PITR_OK);
    assert_int_equal(c.snapshot, 1);
    assert_true(c.to == ts_make(BASE + 110, 1));
    assert_int_equal(choose_kind(&w, MOMENT_SNAPSHOT, "20231114T2213", &c, &err), PITR_OK);
    assert_int_equal(c.snapshot, 0);
    assert_int_equal(choose_kind(&w, MOMENT_SNAPSHOT, "2023", &c, &err), PITR_NOTFOUND);
    assert_string_equal(err.msg, "snapshot 2023: more than one id begins like this; the newest is "
                                 "20231114T221510Z-bbbbbb, 'pitr list' has all");
    assert_int_equal(choose_kind(&w, MOMENT_SNAPSHOT, "nosuch", &c, &err), PITR_NOTFOUND);
    assert_string_equal(err.msg, "snapshot nosuch: there is none; the newest is "
                                 "20231114T221510Z-bbbbbb, 'pitr list' has all");
    world_release(&w);
}

static void
the_last_snapshot_is_the_newest_good_one(void **state)
{
    struct choice c;
    struct pitr_err err;
    struct world w = {0};

    (void)state;
    add_snapshot(&w, "a", 1, 10, 20);
    add_snapshot(&w, "b", 1, 200, 210);
    add_span(&w, 1, 5, 100);
    derive(&w);
    assert_int_equal(choose_kind(&w, MOMENT_LAST_SNAPSHOT, "", &c, &err), PITR_OK);
    assert_int_equal(c.snapshot, 0);
    assert_int_equal(c.to, 20);
    assert_int_equal(choose_kind(&w, MOMENT_SNAPSHOT, "b", &c, &err), PITR_GAP);
    assert_non_null(strstr(err.msg, "cannot be made exact"));
    world_release(&w);
}

static void
without_snapshots_nothing_can_be_restored(void **state)
{
    struct world w = {0};

    (void)state;
    add_span(&w, 1, 5, 100);
    derive(&w);
    assert_refused(&w, "latest", PITR_GAP,
                   "latest: the repository holds no snapshot yet; take one with 'pitr snapshot'");
    assert_refused(&w, "0,50", PITR_GAP,
                   "0,50 (1970-01-01T00:00:00Z): the repository holds no snapshot yet; take one "
                   "with 'pitr snapshot'");
    world_release(&w);
}

static void
a_standalones_snapshot_is_a_point_of_its_own(void **state)
{
    struct choice c;
    struct pitr_err err;
    struct world w = {0};

    (void)state;
    add_snapshot(&w, "20231114T221330Z-aaaaaa", 0, 0, 0);
    derive(&w);
    assert_chosen(&w, "latest", 0, 0);
    assert_int_equal(choose_kind(&w, MOMENT_LAST_SNAPSHOT, "", &c, &err), PITR_OK);
    assert_int_equal(c.to, 0);
    assert_refused(
        &w, "2023-11-14T22:13:50Z", PITR_GAP,
        "2023-11-14T22:13:50Z: the snapshots were taken from a server without an oplog, "
        "or imported; restore one of them as it is, with --snapshot 20231114T221330Z-aaaaaa");
    world_release(&w);
}

static void
add_import(struct world *w, const char *id)
{
    add_snapshot(w, id, 0, 0, 0);
    snprintf(w->snapshots[w->h.nsnapshots - 1].mode, sizeof w->snapshots[0].mode, "import");
}

static void
an_import_is_restored_only_by_name(void **state)
{
    struct choice c;
    struct pitr_err err;
    struct world w = {0};

    (void)state;
    add_snapshot(&w, "20231114T221330Z-aaaaaa", 1, ts_make(BASE + 6, 1), ts_make(BASE + 10, 1));
    add_import(&w, "20231114T221510Z-bbbbbb");
    add_span(&w, 1, ts_make(BASE + 5, 1), ts_make(BASE + 60, 3));
    derive(&w);
    assert_int_equal(w.h.nwindows, 1);
    assert_ptr_equal(history_newest(&w.h), &w.snapshots[0]);
    assert_chosen(&w, "latest", 0, ts_make(BASE + 60, 3));
    assert_int_equal(choose_kind(&w, MOMENT_LAST_SNAPSHOT, "", &c, &err), PITR_OK);
    assert_int_equal(c.snapshot, 0);
    assert_int_equal(choose_kind(&w, MOMENT_SNAPSHOT, "20231114T221510Z", &c, &err), PITR_OK);
    assert_int_equal(c.snapshot, 1);
    assert_int_equal(c.to, 0);
    world_release(&w);
}

static void
an_import_is_no_stand_in_for_a_snapshot_without_its_oplog(void **state)
{
    struct choice c;
    struct pitr_err err;
    struct world w = {0};

    (void)state;
    add_snapshot(&w, "20231114T221330Z-aaaaaa", 0, 0, 0);
    add_import(&w, "20231114T221510Z-bbbbbb");
    derive(&w);
    assert_chosen(&w, "latest", 0, 0);
    assert_int_equal(choose_kind(&w, MOMENT_LAST_SNAPSHOT, "", &c, &err), PITR_OK);
    assert_int_equal(c.snapshot, 0);
    world_release(&w);
}

static void
where_all_is_imported_the_newest_import_is_the_latest(void **state)
{
    struct world w = {0};

    (void)state;
    add_import(&w, "20231114T221330Z-aaaaaa");
    add_import(&w, "20231114T221510Z-bbbbbb");
    derive(&w);
    assert_null(history_newest(&w.h));
    assert_chosen(&w, "latest", 1, 0);
    world_release(&w);
}

static void
times_that_are_not_exact_are_refused(void **state)
{
    struct world w;

    (void)state;
    make_simple(&w);
    assert_refused(&w, "2023-11-14T22:13:50", PITR_USAGE,
                   "time \"2023-11-14T22:13:50\": no zone; end it in Z for UTC, or in an offset "
                   "such as +02:00");
    assert_refused(&w, "2023-11-14T22:13:50.5Z", PITR_USAGE,
                   "time \"2023-11-14T22:13:50.5Z\": a fraction of a second is not accepted; name "
                   "the whole second, or an oplog timestamp");
    assert_refused(&w, "1700000030", PITR_USAGE,
                   "\"1700000030\" is no oplog timestamp; write SECS,INC such as 1795442587,3");
    assert_refused(&w, "1700000030,1,2", PITR_USAGE,
                   "\"1700000030,1,2\" is no oplog timestamp; write SECS,INC such as "
                   "1795442587,3");
    assert_refused(&w, "yesterday", PITR_USAGE,
                   "time \"yesterday\": no date at the start; write 2026-11-23T14:03:07Z");
    world_release(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snapshots_that_join_one_span_make_one_window),
        cmocka_unit_test(windows_on_both_sides_of_a_gap_stay_apart),
        cmocka_unit_test(a_snapshot_whose_own_oplog_is_missing_opens_no_window),
        cmocka_unit_test(a_second_includes_every_operation_of_it),
        cmocka_unit_test(a_second_that_may_go_on_is_refused),
        cmocka_unit_test(a_timestamp_is_inclusive_up_to_the_last_captured_entry),
        cmocka_unit_test(before_an_operation_excludes_it),
        cmocka_unit_test(what_lies_before_the_first_moment_is_refused),
        cmocka_unit_test(what_lies_after_the_last_moment_is_refused),
        cmocka_unit_test(what_lies_in_a_gap_is_refused_with_both_sides),
        cmocka_unit_test(the_last_second_before_a_gap_is_refused_too),
        cmocka_unit_test(only_targets_that_would_be_accepted_are_named),
        cmocka_unit_test(the_newest_snapshot_not_after_the_moment_is_the_base),
        cmocka_unit_test(the_newest_timeline_decides_when_several_hold_a_moment),
        cmocka_unit_test(the_end_of_a_timeline_is_a_gap_until_the_next_begins),
        cmocka_unit_test(snapshots_are_chosen_by_id_or_its_beginning),
        cmocka_unit_test(the_last_snapshot_is_the_newest_good_one),
        cmocka_unit_test(without_snapshots_nothing_can_be_restored),
        cmocka_unit_test(a_standalones_snapshot_is_a_point_of_its_own),
        cmocka_unit_test(an_import_is_restored_only_by_name),
        cmocka_unit_test(an_import_is_no_stand_in_for_a_snapshot_without_its_oplog),
        cmocka_unit_test(where_all_is_imported_the_newest_import_is_the_latest),
        cmocka_unit_test(times_that_are_not_exact_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
