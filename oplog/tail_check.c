/* Where a tailer reads, and whether the source still has what was captured. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "oplog/tail_private.h"

enum { WINDOW_EVERY_MS = 30000, WINDOW_SHORT_S = 3600, BEHIND_EVERY_MS = 5000 };

enum pitr_rc
tail_seek(struct tail *t, struct pitr_err *err)
{
    const struct oplog_source_ops *ops = t->opts.source->ops;
    struct optime oldest, majority;
    uint64_t from = t->pos.ts;

    if (!t->has_pos && t->from_oldest) {
        if (ops->bounds(t->opts.source, &oldest, &majority, err) != PITR_OK)
            return err->rc;
        from = oldest.ts;
    } else if (!t->has_pos) {
        if (ops->begin(t->opts.source, &oldest, err) != PITR_OK)
            return err->rc;
        from = oldest.ts;
        t->begin = from;
    }
    if (ops->seek(t->opts.source, from, err) != PITR_OK)
        return err->rc;
    tail_writer_last_hash(t->writer, t->pos_hash);
    t->is_behind = false;
    t->quiet_ms = clock_mono_ms();
    t->behind_ms = t->quiet_ms;
    t->state = TAIL_CHECK;
    return PITR_OK;
}

/* The source is proved to be of the captured history. */
static void
confirm(struct tail *t)
{
    if (t->result->timeline == 0 && t->resumed != 0)
        atomic_store(&t->durable, t->resumed);
    t->result->timeline = t->timeline;
}

static void
follow(struct tail *t)
{
    confirm(t);
    t->state = TAIL_FOLLOW;
}

/* Begin a new span with this entry: a first chain, or what follows a gap. */
static enum pitr_rc
start_span(struct tail *t, const uint8_t *data, size_t len, struct pitr_err *err)
{
    t->resumed = 0;
    tail_writer_start(t->writer, t->timeline, NULL);
    if (tail_take(t, data, len, err) != PITR_OK)
        return err->rc;
    follow(t);
    return PITR_OK;
}

/* Publish what stands before the break, then the record of it. */
static enum pitr_rc
record_gap(struct tail *t, const struct optime *before, const char *reason, struct pitr_err *err)
{
    struct gap gap = {.timeline = t->timeline,
                      .after = t->pos,
                      .before = *before,
                      .detected_ms = clock_wall_ms()};

    snprintf(gap.reason, sizeof gap.reason, "%s", reason);
    if (tail_seal(t, err) != PITR_OK ||
        gap_write(t->opts.blob, tail_writer_sealer(t->writer), &gap, err) != PITR_OK)
        return err->rc;
    t->result->gaps++;
    snprintf(t->result->gap_reason, sizeof t->result->gap_reason, "%s", reason);
    return PITR_OK;
}

static enum pitr_rc
lost_entries(struct tail *t, const uint8_t *data, size_t len, const struct oplog_stamp *stamp,
             struct pitr_err *err)
{
    struct optime before = {.ts = stamp->ts, .term = stamp->term};
    char a[TS_TEXT_LEN], b[TS_TEXT_LEN], reason[160];

    ts_format(a, t->pos.ts);
    ts_format(b, stamp->ts);
    snprintf(reason, sizeof reason,
             "the oplog rolled over: entries after %s and before %s were lost", a, b);
    log_event(
        t->opts.log, LOG_WARNING, "tail",
        "gap: %s; capture goes on, but a new snapshot is needed before any point after it can be "
        "restored",
        reason);
    if (record_gap(t, &before, reason, err) != PITR_OK)
        return err->rc;
    return start_span(t, data, len, err);
}

static enum pitr_rc
diverged(struct tail *t, const char *how, struct pitr_err *err)
{
    struct optime nothing = {.ts = 0, .term = -1};
    char a[TS_TEXT_LEN], reason[160];

    ts_format(a, t->pos.ts);
    snprintf(reason, sizeof reason, "history diverged after %s: %s", a, how);
    log_event(t->opts.log, LOG_WARNING, "tail",
              "%s; capture goes on in timeline %" PRIu32
              ", but a new snapshot is needed before any point of it can be restored",
              reason, t->newest_timeline + 1);
    if (record_gap(t, &nothing, reason, err) != PITR_OK)
        return err->rc;
    t->newest_timeline++;
    t->timeline = t->newest_timeline;
    t->has_pos = false;
    t->pos = nothing;
    t->from_oldest = true;
    t->state = TAIL_SEEK;
    return PITR_OK;
}

/* The captured entry at `ts` of the current timeline. */
struct lookup {
    uint64_t ts;
    bool found;
    int64_t term;
    uint8_t hash[ENTRY_HASH_LEN];
};

static enum pitr_rc
look_at(void *arg, const struct oplog_entry *e, bool *stop, struct pitr_err *err)
{
    struct lookup *l = arg;

    (void)err;
    l->found = true;
    l->term = e->term;
    entry_hash(l->hash, e->raw, e->raw_len);
    *stop = true;
    return PITR_OK;
}

/* Look l->ts up in what is published; *covered false when the capture does not reach back to it. */
static enum pitr_rc
look_up(const struct tail *t, struct lookup *l, bool *covered, struct pitr_err *err)
{
    PITR_AUTO(chain_release) struct chain c = {0};

    if (chain_load(&c, t->opts.blob, t->opts.keys, err) != PITR_OK)
        return err->rc;
    *covered = chain_covering(&c, t->timeline, l->ts, l->ts) != NULL;
    if (!*covered)
        return PITR_OK;
    return chain_walk(&c, t->opts.blob, t->opts.keys, t->timeline, l->ts, l->ts, look_at, l, err);
}

/*
 * The source ends before the position. A node that lags has the captured entry at its own majority
 * point; a node whose files were set back has another one there sooner or later, and at the latest
 * then it is not believed any more.
 */
static enum pitr_rc
check_behind(struct tail *t, const struct optime *majority, struct pitr_err *err)
{
    struct oplog_source *s = t->opts.source;
    struct lookup l = {.ts = majority->ts};
    struct oplog_stamp stamp;
    uint8_t hash[ENTRY_HASH_LEN];
    const uint8_t *data;
    size_t len;
    bool covered;

    if (tail_seal(t, err) != PITR_OK || look_up(t, &l, &covered, err) != PITR_OK ||
        s->ops->seek(s, majority->ts, err) != PITR_OK ||
        s->ops->next(s, &data, &len, err) != PITR_OK)
        return err->rc;
    if (covered && data != NULL) {
        if (oplog_entry_stamp(&stamp, data, len, err) != PITR_OK)
            return pitr_wrap(err, "source");
        entry_hash(hash, data, len);
        if (!l.found || stamp.ts != l.ts || stamp.term != l.term ||
            memcmp(hash, l.hash, sizeof hash) != 0)
            return diverged(t, "the source has other entries before it", err);
        confirm(t);
    }
    if (s->ops->seek(s, t->pos.ts, err) != PITR_OK)
        return err->rc;
    t->is_behind = covered && data != NULL;
    if (t->is_behind)
        log_event(t->opts.log, LOG_INFO, "tail", "the source is behind what was captured; waiting");
    return PITR_OK;
}

static enum pitr_rc
nothing_there(struct tail *t, struct pitr_err *err)
{
    struct oplog_source *s = t->opts.source;
    struct optime oldest, majority;
    int64_t now = clock_mono_ms();

    tail_found(t);
    tail_quiet(t);
    if (!t->has_pos || t->is_behind || now < t->behind_ms)
        return PITR_OK;
    t->behind_ms = now + BEHIND_EVERY_MS;
    if (s->ops->bounds(s, &oldest, &majority, err) != PITR_OK)
        return err->rc;
    return majority.ts < t->pos.ts ? check_behind(t, &majority, err) : PITR_OK;
}

/* The position itself is gone. */
static enum pitr_rc
position_missing(struct tail *t, const uint8_t *data, size_t len, const struct oplog_stamp *stamp,
                 struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf copy = {0}; /* asking for the bounds invalidates `data` */
    struct oplog_source *s = t->opts.source;
    struct optime oldest, majority;

    if (buf_append(&copy, data, len, err) != PITR_OK ||
        s->ops->bounds(s, &oldest, &majority, err) != PITR_OK)
        return err->rc;
    if (oldest.ts <= t->pos.ts)
        return diverged(t, "the oplog spans it without having it", err);
    if (stamp->term < t->pos.term)
        return diverged(t, "later entries are of an earlier term", err);
    return lost_entries(t, copy.data, copy.len, stamp, err);
}

enum pitr_rc
tail_check(struct tail *t, struct pitr_err *err)
{
    struct oplog_source *s = t->opts.source;
    struct oplog_stamp stamp;
    uint8_t hash[ENTRY_HASH_LEN];
    const uint8_t *data;
    size_t len;

    if (s->ops->next(s, &data, &len, err) != PITR_OK)
        return err->rc;
    if (data == NULL)
        return nothing_there(t, err);
    if (oplog_entry_stamp(&stamp, data, len, err) != PITR_OK)
        return pitr_wrap(err, "source");
    if (!t->has_pos) {
        if (!t->from_oldest && stamp.ts > t->begin)
            log_event(t->opts.log, LOG_WARNING, "tail",
                      "the oplog does not reach back to the oldest open transaction");
        return start_span(t, data, len, err);
    }
    if (stamp.ts > t->pos.ts)
        return position_missing(t, data, len, &stamp, err);
    entry_hash(hash, data, len);
    if (stamp.ts < t->pos.ts)
        return pitr_fail(err, PITR_DB,
                         "source: the oplog answers with older entries than asked for");
    if (stamp.term != t->pos.term)
        return diverged(t, "the source has it in another term", err);
    if (memcmp(hash, t->pos_hash, sizeof hash) != 0)
        return diverged(t, "the source has it with other bytes", err);
    follow(t);
    return PITR_OK;
}

/* Log `warning` when the condition begins to hold, and that it ended when it does not any more. */
static void
warn_once(const struct tail *t, bool *warned, bool holds, const char *text)
{
    if (holds != *warned)
        log_event(t->opts.log, holds ? LOG_WARNING : LOG_INFO, "tail", "%s%s",
                  holds ? "" : "no longer true: ", text);
    *warned = holds;
}

enum pitr_rc
tail_check_window(struct tail *t, struct pitr_err *err)
{
    struct oplog_source *s = t->opts.source;
    struct optime oldest, majority;
    int64_t window, lag;
    char text[160];

    t->window_ms = clock_mono_ms() + WINDOW_EVERY_MS;
    if (s->ops->bounds(s, &oldest, &majority, err) != PITR_OK)
        return err->rc;
    window = (int64_t)ts_secs(majority.ts) - ts_secs(oldest.ts);
    lag = (int64_t)ts_secs(majority.ts) - ts_secs(t->pos.ts);
    snprintf(text, sizeof text, "capture is %" PRId64 " s behind an oplog of %" PRId64 " s", lag,
             window);
    warn_once(t, &t->warned_lag, lag > 0 && lag > window / 2, text);
    /* The entry that initiated the set has no term: an oplog that still has it never dropped any,
     * and is short because it is young. */
    snprintf(text, sizeof text,
             "the oplog holds only %" PRId64 " s: a tailer that stops for longer loses entries",
             window);
    warn_once(t, &t->warned_window, oldest.term >= 0 && window < WINDOW_SHORT_S, text);
    return PITR_OK;
}
