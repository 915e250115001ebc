#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "oplog/tail.h"
#include "tests/support/blob_faulty.h"
#include "tests/support/oplog_array.h"
#include "tests/support/oplog_repo.h"
#include "tests/support/tmpdir.h"

struct fixture {
    struct oplog_repo repo;
    struct oplog_array oplog;
    struct tail_opts opts;
    struct tail_result result;
    struct pitr_err err;
    struct tail *tail; /* of the run under way, for hooks */
    int calls;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    oplog_repo_init(&f->repo);
    oplog_array_init(&f->oplog);
    f->opts = (struct tail_opts){.blob = f->repo.blob,
                                 .keys = &f->repo.keys,
                                 .source = &f->oplog.source,
                                 .codec = CODEC_LZ4,
                                 .retry_ms = 0};
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    oplog_array_release(&f->oplog);
    oplog_repo_release(&f->repo);
    free(f);
    return 0;
}

/* Entries at seconds [from, to), term 1, every fourth a no-op. */
static void
grow(struct fixture *f, uint32_t from, uint32_t to)
{
    uint32_t s;

    for (s = from; s < to; s++)
        oplog_array_add(&f->oplog, ts_make(s, 1), 1, s % 4 == 3 ? 'n' : 'i', 30, 'x');
}

static enum pitr_rc
run(struct fixture *f, const struct optime *until)
{
    PITR_AUTO(tail_freep) struct tail *t = NULL;
    enum pitr_rc rc;

    assert_int_equal(tail_new(&t, &f->opts, &f->err), PITR_OK);
    f->tail = t;
    rc = tail_run(t, until, &f->result, &f->err);
    f->tail = NULL;
    return rc;
}

/* Run until the source's last entry is durable. */
static void
capture(struct fixture *f)
{
    struct optime until = f->oplog.entries[f->oplog.visible - 1].at;

    if (run(f, &until) != PITR_OK)
        fail_msg("%s", f->err.msg);
}

struct expectation {
    const struct oplog_array *oplog;
    size_t at; /* index of the entry that must come next */
};

static enum pitr_rc
expect_next(void *arg, const struct oplog_entry *e, bool *stop, struct pitr_err *err)
{
    struct expectation *x = arg;
    const struct array_entry *want = &x->oplog->entries[x->at++];

    (void)stop;
    if (e->raw_len != want->bson.len || memcmp(e->raw, want->bson.data, e->raw_len) != 0)
        return pitr_fail(err, PITR_INTERNAL, "entry %zu is another", x->at - 1);
    return PITR_OK;
}

/* The newest span holds exactly the oplog's entries [from, to), byte for byte. */
static void
assert_captured(struct fixture *f, size_t from, size_t to)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    struct expectation x = {.oplog = &f->oplog, .at = from};
    const struct chain_span *head;

    assert_int_equal(chain_load(&c, f->repo.blob, &f->repo.keys, &f->err), PITR_OK);
    head = chain_head(&c);
    assert_non_null(head);
    assert_int_equal(head->first, f->oplog.entries[from].at.ts);
    assert_int_equal(head->last, f->oplog.entries[to - 1].at.ts);
    if (chain_walk(&c, f->repo.blob, &f->repo.keys, head->timeline, head->first, head->last,
                   expect_next, &x, &f->err) != PITR_OK)
        fail_msg("%s", f->err.msg);
    assert_int_equal(x.at, to);
}

static void
a_first_run_starts_where_the_source_says(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 110);
    capture(f);
    assert_captured(f, 9, 10);
    assert_int_equal(f->result.entries, 1);
    assert_int_equal(f->result.segments, 1);
    assert_int_equal(f->result.timeline, 1);
    assert_int_equal(f->result.first.ts, ts_make(109, 1));
}

static void
a_second_run_goes_on_behind_the_last_entry(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 110);
    capture(f);
    grow(f, 110, 150);
    capture(f);
    assert_captured(f, 9, 50);
    assert_int_equal(f->result.entries, 40);
    assert_int_equal(f->result.operations, 30);
    assert_int_equal(f->result.first.ts, ts_make(110, 1));
    assert_int_equal(f->result.last.ts, ts_make(149, 1));
    assert_int_equal(f->result.gaps, 0);
}

static void
nothing_new_writes_nothing(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 110);
    capture(f);
    capture(f);
    assert_int_equal(f->result.segments, 0);
    assert_int_equal(f->result.first.ts, 0);
    assert_captured(f, 9, 10);
}

static void
size_seals_a_segment(void **state)
{
    struct fixture *f = *state;
    struct object_names names;

    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 121);
    f->opts.max_bytes = 1;
    capture(f);
    assert_int_equal(f->result.segments, 20);
    oplog_repo_list(&f->repo, &names);
    assert_int_equal(names.len, 21);
    assert_captured(f, 0, 21);
}

static void
stop_after_entries(void *arg, struct oplog_array *a)
{
    struct fixture *f = arg;

    (void)a;
    if (++f->calls == 6)
        tail_stop(f->tail);
}

static void
a_stopped_run_publishes_what_it_has(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 150);
    f->oplog.hook = stop_after_entries;
    f->oplog.hook_arg = f;
    assert_int_equal(run(f, NULL), PITR_OK);
    assert_int_equal(f->result.entries, 5);
    assert_captured(f, 0, 6);
}

static void
ask_then_stop_once_durable(void *arg, struct oplog_array *a)
{
    struct fixture *f = arg;

    if (++f->calls == 2)
        tail_want(f->tail, a->entries[10].at.ts);
    if (tail_durable(f->tail) >= a->entries[10].at.ts)
        tail_stop(f->tail);
    if (f->calls > 5000)
        fail_msg("never sealed");
}

static void
a_wanted_timestamp_is_sealed_when_reached(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 150);
    f->oplog.hook = ask_then_stop_once_durable;
    f->oplog.hook_arg = f;
    assert_int_equal(run(f, NULL), PITR_OK);
    assert_int_equal(f->result.segments, 2); /* the wanted one, and the last at the stop */
    assert_captured(f, 0, 12);
}

static void
stop_once_durable(void *arg, struct oplog_array *a)
{
    struct fixture *f = arg;

    clock_sleep_ms(5);
    if (tail_durable(f->tail) == a->entries[a->len - 1].at.ts)
        tail_stop(f->tail);
    if (++f->calls > 1000)
        fail_msg("never sealed");
}

static void
a_request_file_is_answered(void **state)
{
    struct fixture *f = *state;
    void *dir;
    char *path;

    assert_int_equal(tmpdir_setup(&dir), 0);
    path = tmpdir_path(dir, "request");
    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 120);
    assert_int_equal(tail_request(path, ts_make(150, 1), &f->err), PITR_OK);
    assert_int_equal(tail_request(path, ts_make(119, 1), &f->err), PITR_OK);
    f->opts.request_path = path;
    f->oplog.hook = stop_once_durable;
    f->oplog.hook_arg = f;
    assert_int_equal(run(f, NULL), PITR_OK);
    assert_true(f->calls < 200);
    assert_captured(f, 0, 20);
    free(path);
    tmpdir_teardown(&dir);
}

static void
the_interval_seals_while_entries_trickle(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 102);
    f->opts.interval_ms = 20;
    f->oplog.hook = stop_once_durable;
    f->oplog.hook_arg = f;
    assert_int_equal(run(f, NULL), PITR_OK);
    assert_captured(f, 0, 2);
}

static void
a_rollover_is_a_recorded_gap(void **state)
{
    struct fixture *f = *state;
    PITR_AUTO(chain_release) struct chain c = {0};

    grow(f, 100, 110);
    capture(f);
    grow(f, 110, 200);
    f->oplog.oldest = 50;
    capture(f);
    assert_int_equal(f->result.gaps, 1);
    assert_string_equal(f->result.gap_reason,
                        "the oplog rolled over: entries after 109,1 and before 150,1 were lost");
    assert_int_equal(f->result.first.ts, ts_make(150, 1));
    assert_captured(f, 50, 100);
    assert_int_equal(chain_load(&c, f->repo.blob, &f->repo.keys, &f->err), PITR_OK);
    assert_int_equal(c.nspans, 2);
    assert_int_equal(c.ngaps, 1);
    assert_int_equal(c.gaps[0].timeline, 1);
    assert_int_equal(c.gaps[0].after.ts, ts_make(109, 1));
    assert_int_equal(c.gaps[0].before.ts, ts_make(150, 1));
    assert_string_equal(c.gaps[0].reason, f->result.gap_reason);
}

/* The new history begins at entry `from`: what was there is replaced by entries of `term`. */
static void
rewrite(struct fixture *f, size_t from, size_t to, int64_t term, char fill)
{
    oplog_array_cut(&f->oplog, from);
    for (; from < to; from++)
        oplog_array_add(&f->oplog, ts_make(100 + (uint32_t)from, 1), term, 'i', 30, fill);
}

static void
assert_diverged(struct fixture *f, const char *reason)
{
    PITR_AUTO(chain_release) struct chain c = {0};

    capture(f);
    assert_int_equal(f->result.gaps, 1);
    assert_string_equal(f->result.gap_reason, reason);
    assert_int_equal(f->result.timeline, 2);
    assert_captured(f, 0, f->oplog.len);
    assert_int_equal(chain_load(&c, f->repo.blob, &f->repo.keys, &f->err), PITR_OK);
    assert_int_equal(c.nspans, 2);
    assert_int_equal(c.ngaps, 1);
    assert_int_equal(c.gaps[0].timeline, 1);
    assert_int_equal(c.gaps[0].before.ts, 0);
}

static void
another_term_is_another_timeline(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 110);
    capture(f);
    rewrite(f, 5, 20, 2, 'x');
    assert_diverged(f, "history diverged after 109,1: the source has it in another term");
}

static void
other_bytes_are_another_timeline(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 110);
    capture(f);
    rewrite(f, 5, 20, 1, 'y');
    assert_diverged(f, "history diverged after 109,1: the source has it with other bytes");
}

static void
a_missing_position_is_another_timeline(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 110);
    capture(f);
    oplog_array_cut(&f->oplog, 5);
    grow(f, 120, 130);
    assert_diverged(f, "history diverged after 109,1: the oplog spans it without having it");
}

/* A file system was set back, and the server wrote a little since: it ends before what was
 * captured, but in entries that were never captured. */
static void
a_source_set_back_is_another_timeline(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 120);
    capture(f);
    rewrite(f, 5, 8, 1, 'y');
    assert_diverged(f, "history diverged after 119,1: the source has other entries before it");
}

static void
a_source_that_lags_is_believed(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 120);
    capture(f);
    f->oplog.visible = 10;
    capture(f);
    assert_int_equal(f->result.segments, 0);
    assert_int_equal(f->result.gaps, 0);
    f->oplog.visible = f->oplog.len;
    grow(f, 120, 130);
    capture(f);
    assert_captured(f, 0, 30);
}

static void
a_lost_connection_leaves_no_trace(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 120);
    f->oplog.lose = 1;
    f->opts.retry_ms = 5000;
    capture(f);
    assert_int_equal(f->result.entries, 19);
    assert_captured(f, 0, 20);
}

static void
lose_for_good(void *arg, struct oplog_array *a)
{
    struct fixture *f = arg;

    if (++f->calls == 10)
        a->lose = 1000000;
}

static void
a_source_lost_for_too_long_ends_the_run(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 120);
    f->oplog.hook = lose_for_good;
    f->oplog.hook_arg = f;
    assert_int_equal(run(f, NULL), PITR_DB);
    assert_string_equal(f->err.msg, "array: connection lost");
    assert_int_equal(f->result.entries, 8);
    assert_captured(f, 0, 9);
    f->opts.retry_ms = 50;
    f->calls = 9;
    f->oplog.lose = 0;
    assert_int_equal(run(f, NULL), PITR_DB);
    assert_string_equal(f->err.msg, "oplog: lost for 0 s: array: connection lost");
}

static void
a_lost_source_is_not_hammered(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 101);
    capture(f);
    f->oplog.lose = 1000000;
    f->oplog.seeks = 0;
    f->opts.retry_ms = 300;
    assert_int_equal(run(f, NULL), PITR_DB);
    /* At once, again at once, and after the first wait of at least half a second, which is cut
     * short by the deadline. */
    assert_true(f->oplog.seeks >= 2 && f->oplog.seeks <= 3);
}

static void
a_timeline_can_be_asked_for(void **state)
{
    struct fixture *f = *state;

    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 120);
    f->opts.timeline = 2;
    capture(f);
    assert_int_equal(f->result.timeline, 2);
    assert_captured(f, 19, 20);
    grow(f, 120, 125);
    capture(f);
    assert_captured(f, 19, 25);
}

static void
check_after_compare(void *arg, struct oplog_array *a)
{
    struct fixture *f = arg;

    (void)a;
    if (++f->calls == 1)
        assert_int_equal(tail_durable(f->tail), 0);
}

static void
nothing_is_claimed_before_the_source_was_compared(void **state)
{
    struct fixture *f = *state;
    PITR_AUTO(tail_freep) struct tail *t = NULL;
    struct optime until;

    grow(f, 100, 101);
    capture(f);
    grow(f, 101, 103);
    until = f->oplog.entries[2].at;
    f->oplog.hook = check_after_compare;
    f->oplog.hook_arg = f;
    assert_int_equal(tail_new(&t, &f->opts, &f->err), PITR_OK);
    f->tail = t;
    assert_int_equal(tail_run(t, &until, &f->result, &f->err), PITR_OK);
    assert_int_equal(tail_durable(t), ts_make(102, 1));
}

/* What happens to the oplog and the connection between and during the runs of the property. */
struct chaos {
    uint64_t rnd;
    uint32_t clock;
    struct tail *tail;
};

static void
add_random(struct chaos *c, struct oplog_array *a)
{
    c->clock += 1 + property_below(&c->rnd, 3);
    oplog_array_add(a, ts_make(c->clock, 1 + property_below(&c->rnd, 9)), 1 + c->clock / 200, 'i',
                    property_below(&c->rnd, 200), 'x');
}

static void
disturb(void *arg, struct oplog_array *a)
{
    struct chaos *c = arg;
    uint32_t n = property_below(&c->rnd, 100);

    if (n < 20) {
        add_random(c, a);
    } else if (n < 24) {
        a->lose = 1;
    } else if (n < 26) {
        tail_stop(c->tail);
    } else if (n < 28) {
        tail_want(c->tail, a->entries[property_below(&c->rnd, (uint32_t)a->len)].at.ts);
    }
}

/* Runs end in every way there is: at their goal, stopped, and by crashes that keep or drop what was
 * being published. Whatever happened, the chain holds every entry from the first on, once. */
static void
no_entry_is_lost_or_doubled_whatever_happens(void **state)
{
    struct fixture *f = *state;
    struct chaos chaos = {.rnd = property_seed(), .clock = 100};
    struct blob *faulty;
    size_t first;
    int i;

    assert_int_equal(blob_faulty_new(&faulty, f->repo.blob, &f->err), PITR_OK);
    grow(f, 95, 101);
    capture(f);
    first = f->oplog.len - 1;
    f->opts.blob = faulty;
    f->opts.retry_ms = -1; /* how long it tries is another test's claim */
    f->oplog.hook = disturb;
    f->oplog.hook_arg = &chaos;
    for (i = 0; i < 150; i++) {
        uint32_t more = property_below(&chaos.rnd, 60);
        struct optime until;
        enum blob_fault fault = property_below(&chaos.rnd, 2) == 0   ? FAULT_NONE
                                : property_below(&chaos.rnd, 2) == 0 ? FAULT_CRASH_KEEP
                                                                     : FAULT_CRASH_DROP;
        PITR_AUTO(tail_freep) struct tail *t = NULL;

        for (; more > 0; more--)
            add_random(&chaos, &f->oplog);
        until = f->oplog.entries[f->oplog.len - 1].at;
        f->opts.max_bytes = 1 + property_below(&chaos.rnd, 8000);
        blob_faulty_arm(faulty, fault, 1 + property_below(&chaos.rnd, 60), PITR_IO);
        assert_int_equal(tail_new(&t, &f->opts, &f->err), PITR_OK);
        chaos.tail = t;
        if (tail_run(t, &until, &f->result, &f->err) != PITR_OK &&
            !(f->err.rc == PITR_IO && blob_faulty_fired(faulty)))
            fail_msg("run %d: %s", i, f->err.msg);
        assert_int_equal(f->result.gaps, 0);
    }
    blob_faulty_arm(faulty, FAULT_NONE, 0, PITR_IO);
    f->oplog.hook = NULL;
    f->oplog.lose = 0;
    capture(f);
    assert_captured(f, first, f->oplog.len);
    blob_free(faulty);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_first_run_starts_where_the_source_says, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_run_goes_on_behind_the_last_entry, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_new_writes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(size_seals_a_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_run_publishes_what_it_has, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wanted_timestamp_is_sealed_when_reached, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_file_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(the_interval_seals_while_entries_trickle, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rollover_is_a_recorded_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(another_term_is_another_timeline, setup, teardown),
        cmocka_unit_test_setup_teardown(other_bytes_are_another_timeline, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_position_is_another_timeline, setup, teardown),
        cmocka_unit_test_setup_teardown(a_source_set_back_is_another_timeline, setup, teardown),
        cmocka_unit_test_setup_teardown(a_source_that_lags_is_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_connection_leaves_no_trace, setup, teardown),
        cmocka_unit_test_setup_teardown(a_source_lost_for_too_long_ends_the_run, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_source_is_not_hammered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timeline_can_be_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_claimed_before_the_source_was_compared, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_entry_is_lost_or_doubled_whatever_happens, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
