/* What makes a repository unhealthy, judged on real ones made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oplog/gap.h"
#include "oplog/record.h"
#include "service/status.h"
#include "tests/support/tmpdir.h"

/* 2023-11-14T22:13:20Z */
#define BASE UINT32_C(1700000000)

static const struct status_limits limits = {.rpo_seconds = 900, .snapshot_seconds = 26 * 3600};

static struct repo *
make_repo(void **state)
{
    char *path = tmpdir_path(*state, "repo");
    struct repo *repo;
    struct pitr_err err;
    bool created;

    assert_int_equal(repo_init(path, &created, &err), PITR_OK);
    assert_int_equal(repo_open(&repo, path, REPO_WRITE, NULL, &err), PITR_OK);
    free(path);
    return repo;
}

/* No-ops, one a second, in [from, to] after BASE, as one segment that starts a chain. */
static void
capture(struct repo *repo, uint32_t from, uint32_t to)
{
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    PITR_AUTO(segment_writer_freep) struct segment_writer *w = NULL;
    struct segment_info info;
    struct pitr_err err;

    assert_int_equal(sealer_new(&sealer, repo_keys(repo), CODEC_LZ4, 0, &err), PITR_OK);
    assert_int_equal(
        segment_writer_new(
            &w,
            &(struct segment_writer_opts){.blob = repo_blob(repo), .sealer = sealer, .timeline = 1},
            &err),
        PITR_OK);
    for (uint32_t at = from; at <= to; at++) {
        struct oplog_stamp stamp = {.ts = ts_make(BASE + at, 1), .term = 1, .is_noop = true};
        bson_t entry = BSON_INITIALIZER;

        BSON_APPEND_UTF8(&entry, "op", "n");
        BSON_APPEND_TIMESTAMP(&entry, "ts", BASE + at, 1);
        BSON_APPEND_INT64(&entry, "t", 1);
        assert_int_equal(segment_writer_add(w, bson_get_data(&entry), entry.len, &stamp, &err),
                         PITR_OK);
        bson_destroy(&entry);
    }
    assert_int_equal(segment_writer_finish(w, &info, &err), PITR_OK);
}

/* A snapshot without collections, its window [t_end - 1 s, t_end], finished at t_end; 0: a
 * standalone's, finished at BASE. */
static void
publish(struct repo *repo, const char *id, uint32_t t_end)
{
    struct manifest m = {.mode = "scan", .pitr = t_end != 0, .timeline = 1};
    struct pitr_err err;

    snprintf(m.id, sizeof m.id, "%s", id);
    m.started_ms = m.finished_ms = (int64_t)(BASE + t_end) * 1000;
    if (t_end != 0) {
        m.begin = m.t_start = (struct optime){.ts = ts_make(BASE + t_end - 1, 1), .term = 1};
        m.t_end = (struct optime){.ts = ts_make(BASE + t_end, 1), .term = 1};
    }
    if (manifest_publish(repo, &m, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

static void
read_at(struct status *s, struct repo *repo, uint32_t seconds)
{
    struct pitr_err err;

    if (status_read(s, repo, &limits, (int64_t)(BASE + seconds) * 1000, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

/* Exactly one problem, beginning like this; or none, for NULL. */
static void
expect_problem(struct repo *repo, uint32_t seconds, const char *begins)
{
    struct status s;

    read_at(&s, repo, seconds);
    if (begins == NULL && s.problems.len > 0)
        fail_msg("%s", s.problems.at[0]);
    assert_int_equal(s.healthy, begins == NULL);
    if (begins != NULL) {
        assert_int_equal(s.problems.len, 1);
        if (strncmp(s.problems.at[0], begins, strlen(begins)) != 0)
            fail_msg("%s", s.problems.at[0]);
    }
    status_release(&s);
}

static void
a_damaged_manifest_is_a_problem_and_hides_no_other_snapshot(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);
    PITR_AUTO(str_freep) char *path = NULL;
    struct moment m = {.kind = MOMENT_LAST_SNAPSHOT};
    struct choice choice;
    struct status s;
    struct pitr_err err;

    publish(repo, "20231114T221330Z-000000", 0);
    publish(repo, "20231114T221331Z-000000", 0);
    assert_int_equal(
        fs_join(&path, repo_path(repo), "snapshots/20231114T221331Z-000000.manifest", &err),
        PITR_OK);
    assert_int_equal(fs_write_file(path, "rot", 3, true, &err), PITR_OK);

    expect_problem(repo, 0, "snapshot 20231114T221331Z-000000: ");
    read_at(&s, repo, 0);
    assert_int_equal(s.history.nsnapshots, 1);
    assert_int_equal(history_choose(&s.history, &m, &choice, &err), PITR_OK);
    assert_string_equal(s.history.snapshots[choice.snapshot].id, "20231114T221330Z-000000");
    m = (struct moment){.kind = MOMENT_SNAPSHOT, .id = "20231114T221331Z"};
    assert_int_equal(history_choose(&s.history, &m, &choice, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "snapshot 20231114T221331Z-000000: "));
    status_release(&s);
}

static void
an_empty_repository_is_unhealthy(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);
    struct status s;

    expect_problem(repo, 0, "there is no good snapshot: take one with 'pitr snapshot'");
    read_at(&s, repo, 0);
    assert_int_equal(s.rpo_seconds, -1);
    assert_int_equal(s.last_success_ms, 0);
    status_release(&s);
}

static void
a_fresh_snapshot_with_fresh_capture_is_healthy(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);
    struct status s;

    capture(repo, 1, 60);
    publish(repo, "20231114T221330Z-aaaaaa", 10);
    expect_problem(repo, 100, NULL);
    read_at(&s, repo, 100);
    assert_int_equal(s.rpo_seconds, 40);
    assert_true(s.last_success_ms == (int64_t)(BASE + 10) * 1000);
    assert_int_equal(s.history.nwindows, 1);
    assert_false(s.tail_running);
    status_release(&s);
}

static void
a_server_ahead_of_us_makes_no_negative_rpo(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);
    struct status s;

    capture(repo, 1, 60);
    publish(repo, "20231114T221330Z-aaaaaa", 10);
    read_at(&s, repo, 50);
    assert_int_equal(s.rpo_seconds, 0);
    status_release(&s);
}

static void
capture_that_stands_still_is_a_problem_after_the_limit(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);
    struct status_limits none = {0};
    struct pitr_err err;
    struct status s;

    capture(repo, 1, 60);
    publish(repo, "20231114T221330Z-aaaaaa", 10);
    expect_problem(repo, 960, NULL);
    expect_problem(repo, 961,
                   "the oplog is captured up to 15 min ago only, the limit is 15 min: start 'pitr "
                   "tail'");
    assert_int_equal(status_read(&s, repo, &none, (int64_t)(BASE + 961) * 1000, &err), PITR_OK);
    assert_true(s.healthy);
    status_release(&s);
}

static void
an_old_snapshot_is_a_problem(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);

    publish(repo, "20231114T221330Z-aaaaaa", 0);
    expect_problem(repo, 26 * 3600, NULL);
    expect_problem(repo, 26 * 3600 + 60,
                   "the newest snapshot is 26 h 1 min old, the limit is 26 h: take one with 'pitr "
                   "snapshot'");
}

static void
a_snapshot_whose_oplog_is_missing_is_a_problem(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);

    capture(repo, 1, 60);
    publish(repo, "20231114T221330Z-aaaaaa", 10);
    publish(repo, "20231114T221630Z-bbbbbb", 200);
    expect_problem(repo, 100,
                   "snapshot 20231114T221630Z-bbbbbb cannot be restored: the oplog captured while "
                   "it was taken is missing");
}

static void
a_gap_is_a_problem_until_the_next_snapshot(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    struct gap gap = {.timeline = 1,
                      .after = {.ts = ts_make(BASE + 60, 1), .term = 1},
                      .before = {.ts = ts_make(BASE + 100, 1), .term = 1},
                      .detected_ms = (int64_t)BASE * 1000,
                      .reason = "the oplog rolled over"};
    struct pitr_err err;

    capture(repo, 1, 60);
    publish(repo, "20231114T221330Z-aaaaaa", 10);
    capture(repo, 100, 160);
    assert_int_equal(sealer_new(&sealer, repo_keys(repo), CODEC_LZ4, 0, &err), PITR_OK);
    assert_int_equal(gap_write(repo_blob(repo), sealer, &gap, &err), PITR_OK);
    expect_problem(repo, 170,
                   "the captured oplog has a gap after 2023-11-14T22:14:20Z and no snapshot since "
                   "(the oplog rolled over): take one with 'pitr snapshot'");
    publish(repo, "20231114T221530Z-bbbbbb", 130);
    expect_problem(repo, 170, NULL);
}

static void
a_failed_last_run_is_a_problem(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);
    bson_t note = BSON_INITIALIZER;
    struct pitr_err err;

    publish(repo, "20231114T221330Z-aaaaaa", 0);
    BSON_APPEND_BOOL(&note, "ok", false);
    BSON_APPEND_UTF8(&note, "error", "disk full");
    assert_int_equal(repo_note_write(repo, "state/last-snapshot", &note, &err), PITR_OK);
    bson_destroy(&note);
    expect_problem(repo, 60, "the last snapshot failed: disk full");
}

static void
an_interrupted_restore_is_a_problem(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);
    bson_t note = BSON_INITIALIZER;
    struct pitr_err err;

    publish(repo, "20231114T221330Z-aaaaaa", 0);
    BSON_APPEND_UTF8(&note, "target", "mongodb://h/");
    assert_int_equal(repo_note_write(repo, "state/restore-running", &note, &err), PITR_OK);
    bson_destroy(&note);
    expect_problem(repo, 60, "a restore to mongodb://h/ is running or was interrupted");
}

static void
a_held_tail_lock_means_a_running_tailer(void **state)
{
    PITR_AUTO(repo_freep) struct repo *repo = make_repo(state);
    struct fs_lock *lock;
    struct pitr_err err;
    struct status s;

    assert_int_equal(repo_lock(repo, "tail", &lock, &err), PITR_OK);
    read_at(&s, repo, 0);
    assert_true(s.tail_running);
    status_release(&s);
    fs_lock_free(lock);
    read_at(&s, repo, 0);
    assert_false(s.tail_running);
    status_release(&s);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(a_damaged_manifest_is_a_problem_and_hides_no_other_snapshot),
        IN_A_FOLDER(an_empty_repository_is_unhealthy),
        IN_A_FOLDER(a_fresh_snapshot_with_fresh_capture_is_healthy),
        IN_A_FOLDER(a_server_ahead_of_us_makes_no_negative_rpo),
        IN_A_FOLDER(capture_that_stands_still_is_a_problem_after_the_limit),
        IN_A_FOLDER(an_old_snapshot_is_a_problem),
        IN_A_FOLDER(a_snapshot_whose_oplog_is_missing_is_a_problem),
        IN_A_FOLDER(a_gap_is_a_problem_until_the_next_snapshot),
        IN_A_FOLDER(a_failed_last_run_is_a_problem),
        IN_A_FOLDER(an_interrupted_restore_is_a_problem),
        IN_A_FOLDER(a_held_tail_lock_means_a_running_tailer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
