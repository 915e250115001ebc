/*
 * Every allocation and every call of the object store fails once, on the way of entries into
 * segments and back. Nothing may leak or crash, nothing half done may be visible, and the same work
 * must succeed afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "oplog/chain.h"
#include "oplog/tail.h"
#include "tests/support/alloc_faulty.h"
#include "tests/support/blob_faulty.h"
#include "tests/support/oplog_array.h"
#include "tests/support/oplog_repo.h"

enum { ENTRIES = 30, STEPS_MAX = 20000 };

struct fixture {
    struct oplog_repo repo;
    struct oplog_array oplog;
    struct blob *faulty;
    struct pitr_err err;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    oplog_repo_init(&f->repo);
    oplog_array_init(&f->oplog);
    if (blob_faulty_new(&f->faulty, f->repo.blob, &f->err) != PITR_OK)
        return -1;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    blob_free(f->faulty);
    oplog_array_release(&f->oplog);
    oplog_repo_release(&f->repo);
    free(f);
    return 0;
}

static void
grow(struct fixture *f, uint32_t entries)
{
    uint32_t at = 100 + (uint32_t)f->oplog.len;

    for (; entries > 0; entries--, at++)
        oplog_array_add(&f->oplog, ts_make(at, 1), 1, 'i', 30, 'x');
}

/* One run of the tailer up to the source's end, with segments of a few entries. */
static enum pitr_rc
capture(struct fixture *f)
{
    PITR_AUTO(tail_freep) struct tail *t = NULL;
    struct tail_opts opts = {.blob = f->faulty,
                             .keys = &f->repo.keys,
                             .source = &f->oplog.source,
                             .codec = CODEC_LZ4,
                             .max_bytes = 1000};
    struct optime until = f->oplog.entries[f->oplog.len - 1].at;
    struct tail_result result;

    if (tail_new(&t, &opts, &f->err) != PITR_OK)
        return f->err.rc;
    return tail_run(t, &until, &result, &f->err);
}

struct expectation {
    const struct oplog_array *oplog;
    size_t at;
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

/* Everything that is visible is whole: every span can be walked and holds consecutive entries. */
static enum pitr_rc
read_back(struct fixture *f, size_t *entries)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    struct expectation x = {.oplog = &f->oplog};
    size_t i;

    *entries = 0;
    if (chain_load(&c, f->faulty, &f->repo.keys, &f->err) != PITR_OK)
        return f->err.rc;
    for (i = 0; i < c.nspans; i++) {
        const struct chain_span *s = &c.spans[i];
        size_t start;

        for (start = 0; f->oplog.entries[start].at.ts != s->first; start++)
            continue;
        x.at = start;
        if (chain_walk(&c, f->faulty, &f->repo.keys, s->timeline, s->first, s->last, expect_next,
                       &x, &f->err) != PITR_OK)
            return f->err.rc;
        *entries += x.at - start;
    }
    return PITR_OK;
}

static void
start_chain(struct fixture *f)
{
    blob_faulty_arm(f->faulty, FAULT_NONE, 0, PITR_IO);
    grow(f, 1);
    if (capture(f) != PITR_OK)
        fail_msg("%s", f->err.msg);
    grow(f, ENTRIES);
}

/* After the fault at `step`: what is visible is sound, and the next run completes it. */
static void
assert_recovers(struct fixture *f, uint64_t step)
{
    size_t entries;

    blob_faulty_arm(f->faulty, FAULT_NONE, 0, PITR_IO);
    if (read_back(f, &entries) != PITR_OK || capture(f) != PITR_OK ||
        read_back(f, &entries) != PITR_OK)
        fail_msg("after a fault at step %d: %s", (int)step, f->err.msg);
    assert_int_equal(entries, f->oplog.len);
    grow(f, ENTRIES);
}

static void
capture_survives_a_failure_of_every_call(void **state)
{
    static const enum pitr_rc codes[] = {PITR_IO, PITR_FULL, PITR_DENIED};
    struct fixture *f = *state;
    uint64_t k = 0;
    bool fired = true;

    start_chain(f);
    while (fired && ++k < STEPS_MAX) {
        enum pitr_rc code = codes[k % 3], rc;

        blob_faulty_arm(f->faulty, FAULT_ONCE, k, code);
        rc = capture(f);
        fired = blob_faulty_fired(f->faulty);
        assert_int_equal(rc, fired ? code : PITR_OK);
        assert_recovers(f, k);
    }
    assert_true(k > 5);
    assert_true(k < STEPS_MAX);
}

static void
capture_survives_a_crash_at_every_call(void **state)
{
    static const enum blob_fault faults[] = {FAULT_CRASH_KEEP, FAULT_CRASH_DROP};
    struct fixture *f = *state;
    uint64_t k = 0;
    bool fired = true;

    start_chain(f);
    while (fired && ++k < STEPS_MAX) {
        size_t i;

        for (i = 0; i < 2; i++) {
            blob_faulty_arm(f->faulty, faults[i], k, PITR_IO);
            if (capture(f) != PITR_OK)
                assert_int_equal(f->err.rc, PITR_IO);
            fired = blob_faulty_fired(f->faulty);
            assert_recovers(f, k);
        }
    }
    assert_true(k > 5);
    assert_true(k < STEPS_MAX);
}

static void
capture_survives_a_failure_of_every_allocation(void **state)
{
    struct fixture *f = *state;
    uint64_t k = 0;
    bool fired = true;

    start_chain(f);
    while (fired && ++k < STEPS_MAX) {
        enum pitr_rc rc;

        alloc_faulty_arm(k);
        rc = capture(f);
        fired = alloc_faulty_disarm();
        if (rc != PITR_OK)
            assert_int_equal(rc, PITR_NOMEM);
        assert_true(fired || rc == PITR_OK);
        assert_recovers(f, k);
    }
    assert_true(k > 20);
    assert_true(k < STEPS_MAX);
}

static void
reading_reports_every_failure(void **state)
{
    struct fixture *f = *state;
    size_t entries;
    uint64_t k = 0;
    bool fired = true;

    start_chain(f);
    assert_recovers(f, 0);
    while (fired && ++k < STEPS_MAX) {
        enum pitr_rc rc;

        blob_faulty_arm(f->faulty, FAULT_ONCE, k, PITR_IO);
        rc = read_back(f, &entries);
        fired = blob_faulty_fired(f->faulty);
        assert_int_equal(rc, fired ? PITR_IO : PITR_OK);
    }
    assert_true(k > 10);
    blob_faulty_arm(f->faulty, FAULT_NONE, 0, PITR_IO);
    fired = true;
    for (k = 1; fired && k < STEPS_MAX; k++) {
        enum pitr_rc rc;

        alloc_faulty_arm(k);
        rc = read_back(f, &entries);
        fired = alloc_faulty_disarm();
        assert_int_equal(rc, fired ? PITR_NOMEM : PITR_OK);
    }
    assert_true(k > 10);
}

static void
a_gap_record_is_written_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    struct gap gap = {.timeline = 1,
                      .after = {.ts = ts_make(100, 1), .term = 1},
                      .before = {.ts = ts_make(200, 1), .term = 1},
                      .reason = "the oplog rolled over"};
    struct gap read;
    char name[SEGMENT_NAME_LEN];
    uint64_t k;
    enum pitr_rc rc = PITR_IO;

    gap_name(name, &gap);
    for (k = 1; rc != PITR_OK && k < STEPS_MAX; k++) {
        blob_faulty_arm(f->faulty, FAULT_ONCE, k, PITR_IO);
        rc = gap_write(f->faulty, f->repo.sealer, &gap, &f->err);
        if (rc != PITR_OK)
            assert_int_equal(gap_read(&read, f->repo.blob, &f->repo.keys, name, &f->err),
                             PITR_NOTFOUND);
    }
    assert_true(k > 2);
    assert_int_equal(gap_read(&read, f->repo.blob, &f->repo.keys, name, &f->err), PITR_OK);
    assert_string_equal(read.reason, gap.reason);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(capture_survives_a_failure_of_every_call, setup, teardown),
        cmocka_unit_test_setup_teardown(capture_survives_a_crash_at_every_call, setup, teardown),
        cmocka_unit_test_setup_teardown(capture_survives_a_failure_of_every_allocation, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(reading_reports_every_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(a_gap_record_is_written_whole_or_not_at_all, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
