#include "oplog/tail.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "oplog/tail_private.h"

enum {
    DEFAULT_INTERVAL_MS = 60000,
    DEFAULT_MAX_BYTES = 64 << 20,
    POLL_MS = 100,
    RETRY_FIRST_MS = 1000,
    RETRY_MAX_MS = 30000,
    QUIET_MS = 30000, /* three times the server's periodic no-ops: the read itself is doubtful */
    WINDOW_FIRST_MS = 5000,
    REQUEST_MAX = 64,
};

/* Called by the writer, see tail_writer.h. */
static void
published(void *arg, const struct segment_info *info)
{
    struct tail *t = arg;
    struct tail_result *result = t->result;

    if (result->segments == 0)
        result->first = info->first;
    result->last = info->last;
    result->entries += info->entries;
    result->operations += info->operations;
    result->bytes += info->bytes_raw;
    result->segments++;
    atomic_store(&t->durable, info->last.ts);
    log_event(t->opts.log, LOG_DEBUG, "tail",
              "sealed %" PRIu64 " entries, %" PRIu64 " bytes, up to %" PRIu32 ",%" PRIu32,
              info->entries, info->bytes_raw, ts_secs(info->last.ts), ts_inc(info->last.ts));
}

enum pitr_rc
tail_new(struct tail **out, const struct tail_opts *opts, struct pitr_err *err)
{
    PITR_AUTO(tail_freep) struct tail *t = calloc(1, sizeof *t);

    if (t == NULL)
        return pitr_fail(err, PITR_NOMEM, "oplog tailer");
    t->opts = *opts;
    if (t->opts.interval_ms <= 0)
        t->opts.interval_ms = DEFAULT_INTERVAL_MS;
    if (t->opts.max_bytes == 0)
        t->opts.max_bytes = DEFAULT_MAX_BYTES;
    if (tail_writer_new(&t->writer,
                        &(struct tail_writer_opts){.blob = opts->blob,
                                                   .keys = opts->keys,
                                                   .codec = opts->codec,
                                                   .max_bytes = t->opts.max_bytes,
                                                   .published = published,
                                                   .arg = t},
                        err) != PITR_OK)
        return pitr_wrap(err, "oplog tailer");
    *out = t;
    t = NULL;
    return PITR_OK;
}

void
tail_free(struct tail *t)
{
    if (t == NULL)
        return;
    tail_writer_free(t->writer);
    free(t);
}

void
tail_freep(struct tail **t)
{
    tail_free(*t);
    *t = NULL;
}

void
tail_stop(struct tail *t)
{
    atomic_store(&t->stop, true);
}

void
tail_want(struct tail *t, uint64_t ts)
{
    uint64_t seen = atomic_load(&t->wanted);

    while (seen < ts && !atomic_compare_exchange_weak(&t->wanted, &seen, ts))
        continue;
}

void
tail_end_at(struct tail *t, uint64_t ts)
{
    tail_want(t, ts);
    atomic_store(&t->end_at, ts);
}

uint64_t
tail_durable(struct tail *t)
{
    return atomic_load(&t->durable);
}

/* Position and predecessor out of the last published segment of the newest timeline. */
static enum pitr_rc
load_position(struct tail *t, struct pitr_err *err)
{
    PITR_AUTO(chain_release) struct chain c = {0};
    PITR_AUTO(segment_reader_freep) struct segment_reader *r = NULL;
    const struct chain_span *head;
    char name[SEGMENT_NAME_LEN];
    struct segment_info last;
    size_t i;

    if (chain_load(&c, t->opts.blob, t->opts.keys, err) != PITR_OK)
        return err->rc;
    for (i = 0; i < c.ngaps; i++) {
        if (c.gaps[i].timeline > t->newest_timeline)
            t->newest_timeline = c.gaps[i].timeline;
    }
    head = chain_head(&c);
    if (head != NULL && head->timeline > t->newest_timeline)
        t->newest_timeline = head->timeline;
    if (head == NULL || head->timeline < t->opts.timeline) {
        t->timeline =
            t->opts.timeline > t->newest_timeline ? t->opts.timeline : t->newest_timeline + 1;
        t->newest_timeline = t->timeline;
        return PITR_OK;
    }
    segment_name(name, &c.segments[head->seg + head->segs - 1]);
    if (segment_reader_open(&r, t->opts.blob, t->opts.keys, name, &last, err) != PITR_OK)
        return err->rc;
    tail_writer_start(t->writer, head->timeline, &last);
    t->timeline = head->timeline;
    t->resumed = last.last.ts;
    t->has_pos = true;
    t->pos = last.last;
    memcpy(t->pos_hash, last.last_entry, sizeof t->pos_hash);
    return PITR_OK;
}

enum pitr_rc
tail_take(struct tail *t, const uint8_t *data, size_t len, struct pitr_err *err)
{
    struct oplog_stamp stamp;

    if (oplog_entry_stamp(&stamp, data, len, err) != PITR_OK)
        return pitr_wrap(err, "source");
    if (stamp.ts <= t->pos.ts || stamp.term < t->pos.term)
        return pitr_fail(err, PITR_DB, "source: the oplog's entries are out of order");
    if (tail_writer_add(t->writer, data, len, &stamp, err) != PITR_OK)
        return err->rc;
    if (!t->has_pending) {
        t->has_pending = true;
        t->opened_ms = t->now_ms;
    }
    t->has_pos = true;
    t->pos = (struct optime){.ts = stamp.ts, .term = stamp.term};
    return PITR_OK;
}

enum pitr_rc
tail_seal(struct tail *t, struct pitr_err *err)
{
    t->has_pending = false;
    return tail_writer_flush(t->writer, err);
}

static bool
is_asked_for(const struct tail *t, uint64_t wanted)
{
    return wanted > t->durable && wanted <= t->pos.ts;
}

static bool
is_due(const struct tail *t)
{
    if (!t->has_pending)
        return false;
    return t->now_ms - t->opened_ms >= t->opts.interval_ms || is_asked_for(t, t->wanted) ||
           is_asked_for(t, t->requested);
}

static enum pitr_rc
seal_what_is_due(struct tail *t, struct pitr_err *err)
{
    if (tail_writer_check(t->writer, err) != PITR_OK)
        return err->rc;
    return is_due(t) ? tail_seal(t, err) : PITR_OK;
}

/* A file that is missing, or was caught half written, asks for nothing. */
static void
poll_request(struct tail *t)
{
    PITR_AUTO(buf_release) struct buf text = {0};
    struct pitr_err ignored;
    uint64_t ts;
    size_t len;

    if (t->opts.request_path == NULL || t->now_ms < t->poll_ms)
        return;
    t->poll_ms = t->now_ms + POLL_MS;
    if (fs_read_file(&text, t->opts.request_path, REQUEST_MAX, &ignored) != PITR_OK ||
        buf_append_u8(&text, 0, &ignored) != PITR_OK)
        return;
    len = strcspn((const char *)text.data, "\n");
    if (text.data[len] != '\n')
        return;
    text.data[len] = '\0';
    if (ts_parse(&ts, (const char *)text.data))
        t->requested = ts;
}

enum pitr_rc
tail_request(const char *request_path, uint64_t ts, struct pitr_err *err)
{
    PITR_AUTO(fd_closep) int fd = -1;
    char text[TS_TEXT_LEN];
    size_t len;

    /* The newline takes the place of the NUL: it tells the reader that the text is whole. Nothing
     * here has to survive a crash, so nothing is synced. */
    ts_format(text, ts);
    len = strlen(text);
    text[len++] = '\n';
    if (fs_open(&fd, request_path, O_WRONLY | O_CREAT | O_TRUNC, 0600, err) != PITR_OK)
        return err->rc;
    return fs_write_all(fd, text, len, request_path, err);
}

void
tail_found(struct tail *t)
{
    if (t->lost_ms >= 0)
        log_event(t->opts.log, LOG_INFO, "tail", "the source is back");
    t->lost_ms = -1;
    t->attempt = 0;
}

void
tail_quiet(struct tail *t)
{
    if (clock_mono_ms() - t->quiet_ms < QUIET_MS)
        return;
    log_event(t->opts.log, LOG_WARNING, "tail",
              "nothing new in the oplog for %d s, not even a periodic no-op; reading it anew",
              QUIET_MS / 1000);
    t->state = TAIL_SEEK;
}

static enum pitr_rc
follow_source(struct tail *t, struct pitr_err *err)
{
    struct oplog_source *s = t->opts.source;
    const uint8_t *data;
    size_t len;

    if (t->now_ms >= t->window_ms && tail_check_window(t, err) != PITR_OK)
        return err->rc;
    if (s->ops->next(s, &data, &len, err) != PITR_OK)
        return err->rc;
    tail_found(t);
    if (data == NULL) {
        tail_quiet(t);
        return PITR_OK;
    }
    t->quiet_ms = t->now_ms;
    return tail_take(t, data, len, err);
}

static enum pitr_rc
step(struct tail *t, struct pitr_err *err)
{
    switch (t->state) {
    case TAIL_SEEK:
        return tail_seek(t, err);
    case TAIL_CHECK:
        return tail_check(t, err);
    case TAIL_FOLLOW:
        break;
    }
    return follow_source(t, err);
}

/* 0, then 1 s doubling to 30 s, the upper half of it random: any clock digits do. */
static int64_t
retry_delay(const struct tail *t)
{
    int64_t delay = RETRY_FIRST_MS;
    unsigned i;

    if (t->attempt == 0)
        return 0;
    for (i = 1; i < t->attempt && delay < RETRY_MAX_MS; i++)
        delay *= 2;
    if (delay > RETRY_MAX_MS)
        delay = RETRY_MAX_MS;
    return delay / 2 + (int64_t)((uint64_t)clock_wall_ms() * 2654435761U % (uint64_t)(delay / 2));
}

/* Wait for the next attempt; `err` says why the source was lost. What was read meanwhile stays
 * subject to the interval. Ends early when asked to stop. */
static enum pitr_rc
retry(struct tail *t, struct pitr_err *err)
{
    int64_t now = clock_mono_ms(), until;

    if (t->lost_ms < 0) {
        t->lost_ms = now;
        log_event(t->opts.log, LOG_WARNING, "tail", "lost the source, trying again: %s", err->msg);
    }
    if (t->opts.retry_ms >= 0 && now - t->lost_ms >= t->opts.retry_ms) {
        err->rc = PITR_DB;
        return t->opts.retry_ms == 0
                   ? err->rc
                   : pitr_wrap(err, "oplog: lost for %" PRId64 " s", (now - t->lost_ms) / 1000);
    }
    until = now + retry_delay(t);
    if (t->opts.retry_ms >= 0 && until > t->lost_ms + t->opts.retry_ms)
        until = t->lost_ms + t->opts.retry_ms;
    t->attempt++;
    t->state = TAIL_SEEK;
    while (now < until && !atomic_load(&t->stop)) {
        clock_sleep_ms(until - now < POLL_MS ? until - now : POLL_MS);
        now = clock_mono_ms();
        t->now_ms = now;
        poll_request(t);
        if (seal_what_is_due(t, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

/* Everything up to *until was taken, or the source proved that it had been captured before. */
static bool
has_reached(const struct tail *t, const struct optime *until)
{
    return until != NULL && t->has_pos && t->pos.ts >= until->ts &&
           (t->state == TAIL_FOLLOW || (t->state == TAIL_CHECK && t->is_behind));
}

static bool
is_at_end(struct tail *t)
{
    uint64_t end = atomic_load(&t->end_at);

    return end != 0 && atomic_load(&t->durable) >= end;
}

static enum pitr_rc
run(struct tail *t, const struct optime *until, struct pitr_err *err)
{
    if (load_position(t, err) != PITR_OK)
        return err->rc;
    while (!atomic_load(&t->stop) && !has_reached(t, until) && !is_at_end(t)) {
        if (step(t, err) != PITR_OK && (err->rc != PITR_DB_LOST || retry(t, err) != PITR_OK))
            return err->rc;
        t->now_ms = clock_mono_ms();
        poll_request(t);
        if (seal_what_is_due(t, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

/* Nothing is carried over from an earlier run: it may have failed with entries unpublished. */
static void
start_over(struct tail *t, struct tail_result *result)
{
    int64_t now = clock_mono_ms();

    tail_writer_start(t->writer, 0, NULL);
    t->result = result;
    t->state = TAIL_SEEK;
    t->newest_timeline = 0;
    t->has_pos = false;
    t->from_oldest = false;
    t->resumed = 0;
    t->has_pending = false;
    t->now_ms = now;
    t->pos = (struct optime){.ts = 0, .term = -1};
    t->lost_ms = -1;
    t->attempt = 0;
    t->quiet_ms = now;
    t->window_ms = now + WINDOW_FIRST_MS;
    atomic_store(&t->durable, 0);
}

enum pitr_rc
tail_run(struct tail *t, const struct optime *until, struct tail_result *result,
         struct pitr_err *err)
{
    struct pitr_err sealing;
    enum pitr_rc rc;

    *result = (struct tail_result){0};
    start_over(t, result);
    rc = run(t, until, err);
    /* The first error is the one to report. */
    if (tail_seal(t, &sealing) != PITR_OK && rc == PITR_OK) {
        *err = sealing;
        rc = err->rc;
    }
    t->result = NULL;
    return rc;
}
