#include "service/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define LAST_SNAPSHOT_NOTE "state/last-snapshot"
#define RESTORE_NOTE "state/restore-running"

enum { PROBLEM_LEN = 600 };

void
status_release(struct status *s)
{
    history_release(&s->history);
    fs_names_release(&s->problems);
    *s = (struct status){0};
}

static enum pitr_rc add_problem(struct status *s, struct pitr_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static enum pitr_rc
add_problem(struct status *s, struct pitr_err *err, const char *fmt, ...)
{
    char text[PROBLEM_LEN];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return fs_names_add(&s->problems, text, err);
}

static enum pitr_rc
judge_snapshots(struct status *s, const struct status_limits *limits, int64_t now_ms,
                struct pitr_err *err)
{
    const struct manifest *newest = history_newest(&s->history);
    int64_t age;

    for (size_t i = 0; i < s->history.damaged.len; i++)
        if (add_problem(s, err, "%s", s->history.damaged.at[i]) != PITR_OK)
            return err->rc;
    for (size_t i = 0; i < s->history.nsnapshots; i++)
        if (!history_is_good(&s->history, &s->history.snapshots[i]) &&
            add_problem(s, err,
                        "snapshot %s cannot be restored: the oplog captured while it was taken is "
                        "missing",
                        s->history.snapshots[i].id) != PITR_OK)
            return err->rc;
    if (newest == NULL)
        return add_problem(s, err, "there is no good snapshot: take one with 'pitr snapshot'");
    s->last_success_ms = newest->finished_ms;
    age = (now_ms - newest->finished_ms) / 1000;
    if (limits->snapshot_seconds > 0 && age > limits->snapshot_seconds)
        return add_problem(s, err,
                           "the newest snapshot is %" PRId64 " h %" PRId64
                           " min old, the limit is %" PRId64 " h: take one with 'pitr snapshot'",
                           age / 3600, age / 60 % 60, limits->snapshot_seconds / 3600);
    return PITR_OK;
}

static enum pitr_rc
judge_capture(struct status *s, const struct status_limits *limits, int64_t now_ms,
              struct pitr_err *err)
{
    const struct chain_span *head = chain_head(&s->history.chain);
    const struct manifest *newest = history_newest(&s->history);

    s->rpo_seconds = -1;
    if (head == NULL && (newest == NULL || !newest->pitr))
        return PITR_OK; /* a standalone's, or empty, which is a problem of its own */
    if (head != NULL) {
        s->rpo_seconds = now_ms / 1000 - (int64_t)ts_secs(head->last);
        if (s->rpo_seconds < 0)
            s->rpo_seconds = 0; /* the server's clock is ahead of ours */
    }
    if (limits->rpo_seconds > 0 && s->rpo_seconds > limits->rpo_seconds)
        return add_problem(s, err,
                           "the oplog is captured up to %" PRId64 " min ago only, the limit is "
                           "%" PRId64 " min: %s",
                           s->rpo_seconds / 60, limits->rpo_seconds / 60,
                           s->tail_running ? "see what the running 'pitr tail' says"
                                           : "start 'pitr tail'");
    return PITR_OK;
}

/* Moments after a gap can be restored again only from a snapshot taken after it. */
static enum pitr_rc
judge_gaps(struct status *s, struct pitr_err *err)
{
    const struct manifest *newest = history_newest(&s->history);
    const struct chain *c = &s->history.chain;

    for (size_t i = 0; i < c->ngaps; i++) {
        char when[CLOCK_TEXT_LEN];

        if (newest != NULL && (!newest->pitr || c->gaps[i].timeline < newest->timeline ||
                               c->gaps[i].after.ts < newest->t_end.ts))
            continue;
        clock_format(when, ts_secs(c->gaps[i].after.ts));
        if (add_problem(s, err,
                        "the captured oplog has a gap after %s and no snapshot since (%s): take "
                        "one with 'pitr snapshot'",
                        when, c->gaps[i].reason) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static void
text_field(char *out, size_t size, const bson_t *doc, const char *name)
{
    bson_iter_t it;

    out[0] = '\0';
    if (bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_UTF8(&it))
        snprintf(out, size, "%s", bson_iter_utf8(&it, NULL));
}

/* Notes are conveniences: one that is damaged is itself a problem to report, not a reason to say
 * nothing. */
static enum pitr_rc
judge_note(struct status *s, struct repo *r, const char *name,
           enum pitr_rc (*judge)(struct status *s, const bson_t *note, struct pitr_err *err),
           struct pitr_err *err)
{
    struct pitr_err read_err;
    enum pitr_rc rc;
    bool found;
    bson_t note;

    rc = repo_note_read(r, name, &note, &found, &read_err);
    if (rc == PITR_CORRUPT)
        return add_problem(s, err, "%s", read_err.msg);
    if (rc != PITR_OK) {
        *err = read_err;
        return rc;
    }
    if (!found)
        return PITR_OK;
    rc = judge(s, &note, err);
    bson_destroy(&note);
    return rc;
}

static enum pitr_rc
judge_last_run(struct status *s, const bson_t *note, struct pitr_err *err)
{
    char reason[400];

    text_field(reason, sizeof reason, note, "error");
    return reason[0] == '\0' ? PITR_OK
                             : add_problem(s, err, "the last snapshot failed: %s", reason);
}

static enum pitr_rc
judge_restore(struct status *s, const bson_t *note, struct pitr_err *err)
{
    char target[256];

    text_field(target, sizeof target, note, "target");
    return add_problem(s, err,
                       "a restore to %s is running or was interrupted; if none runs, run it again "
                       "with --drop",
                       target[0] == '\0' ? "a target" : target);
}

static enum pitr_rc
find_tailer(struct status *s, struct repo *r, struct pitr_err *err)
{
    PITR_AUTO(fs_lock_freep) struct fs_lock *lock = NULL;
    enum pitr_rc rc = repo_lock(r, "tail", &lock, err);

    s->tail_running = rc == PITR_BUSY;
    /* Where locks cannot be made, in a copy or on a read-only mount, nobody captures either. */
    return rc == PITR_BUSY || rc == PITR_DENIED || rc == PITR_NOTFOUND ? PITR_OK : rc;
}

enum pitr_rc
status_read(struct status *out, struct repo *r, const struct status_limits *limits, int64_t now_ms,
            struct pitr_err *err)
{
    PITR_AUTO(status_release) struct status s = {0};

    if (history_load(&s.history, r, err) != PITR_OK || find_tailer(&s, r, err) != PITR_OK ||
        judge_snapshots(&s, limits, now_ms, err) != PITR_OK ||
        judge_capture(&s, limits, now_ms, err) != PITR_OK || judge_gaps(&s, err) != PITR_OK ||
        judge_note(&s, r, LAST_SNAPSHOT_NOTE, judge_last_run, err) != PITR_OK ||
        judge_note(&s, r, RESTORE_NOTE, judge_restore, err) != PITR_OK)
        return err->rc;
    s.healthy = s.problems.len == 0;
    *out = s;
    s = (struct status){0};
    return PITR_OK;
}
