#include "engine/capture.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "oplog/chain.h"
#include "oplog/tail.h"

enum {
    /* A scan shorter than this needs no concurrent capture: the oplog cannot roll over so fast, and
     * if it did, the chain would show it. It saves the tailer's last idle wait. */
    HEAD_START_MS = 300,
    POLL_MS = 10,
    WATCH_MS = 50,            /* between two looks at the folder another process writes to */
    WATCH_SHARE = 4,          /* a look that takes long is followed by a pause this much longer */
    ASK_AGAIN_MS = 1000,      /* another process may have overwritten our request */
    NO_PROGRESS_MS = 120000,  /* another process's tailer has this long to seal something */
    SOURCE_RETRY_MS = 120000, /* our own one has this long to find the server again */
};

/* The source as given, except that a chain started here begins where the snapshot needs it. */
struct pinned_source {
    struct oplog_source base;
    struct oplog_source *inner;
    struct optime begin;
};

struct capture {
    struct capture_opts opts;
    char *request_path;
    struct optime begin, t_start;
    bool in_use; /* begin and t_start were given away and do not change any more */
    struct pinned_source pinned;

    struct fs_lock *lock; /* the tail lock; NULL while another process has it */
    struct tail *tail;    /* ours, when we have the lock */
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t mutex; /* for the four below */
    pthread_cond_t wake;
    bool stop, has_until;
    struct optime until;
    struct tail_result result; /* the thread's, readable once `ended` */
    bool failed;               /* with this: */
    struct pitr_err outcome;
    atomic_bool ended;
};

static enum pitr_rc
pinned_seek(struct oplog_source *s, uint64_t from, struct pitr_err *err)
{
    struct oplog_source *inner = ((struct pinned_source *)s)->inner;

    return inner->ops->seek(inner, from, err);
}

static enum pitr_rc
pinned_next(struct oplog_source *s, const uint8_t **data, size_t *len, struct pitr_err *err)
{
    struct oplog_source *inner = ((struct pinned_source *)s)->inner;

    return inner->ops->next(inner, data, len, err);
}

static enum pitr_rc
pinned_bounds(struct oplog_source *s, struct optime *oldest, struct optime *majority,
              struct pitr_err *err)
{
    struct oplog_source *inner = ((struct pinned_source *)s)->inner;

    return inner->ops->bounds(inner, oldest, majority, err);
}

static enum pitr_rc
pinned_begin(struct oplog_source *s, struct optime *begin, struct pitr_err *err)
{
    (void)err;
    *begin = ((struct pinned_source *)s)->begin;
    return PITR_OK;
}

static void
pinned_free(struct oplog_source *s)
{
    (void)s; /* part of the capture */
}

static const struct oplog_source_ops pinned_ops = {
    .seek = pinned_seek,
    .next = pinned_next,
    .bounds = pinned_bounds,
    .begin = pinned_begin,
    .free = pinned_free,
};

/* Wait until the head start is over, or the end of the window is known, or the capture is dropped;
 * *whole when the window is known. */
static bool
wait_for_start(struct capture *c, bool *whole)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += HEAD_START_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&c->mutex);
    while (!c->stop && !c->has_until &&
           pthread_cond_timedwait(&c->wake, &c->mutex, &until) != ETIMEDOUT)
        continue;
    *whole = c->has_until;
    pthread_mutex_unlock(&c->mutex);
    return !c->stop;
}

static void *
run_tail(void *arg)
{
    struct capture *c = arg;
    bool whole;

    if (wait_for_start(c, &whole))
        c->failed = tail_run(c->tail, whole ? &c->until : NULL, &c->result, &c->outcome) != PITR_OK;
    atomic_store(&c->ended, true);
    return NULL;
}

static void
stop_tail(struct capture *c)
{
    if (!c->has_thread)
        return;
    pthread_mutex_lock(&c->mutex);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->mutex);
    tail_stop(c->tail);
    pthread_join(c->thread, NULL);
    c->has_thread = false;
}

void
capture_free(struct capture *c)
{
    if (c == NULL)
        return;
    stop_tail(c);
    tail_free(c->tail);
    fs_lock_free(c->lock);
    pthread_mutex_destroy(&c->mutex);
    pthread_cond_destroy(&c->wake);
    free(c->request_path);
    free(c);
}

void
capture_freep(struct capture **c)
{
    capture_free(*c);
    *c = NULL;
}

/* First and last timestamp of the newest unbroken run of segments; 0 when there is none. */
static enum pitr_rc
read_head(struct capture *c, uint32_t *timeline, uint64_t *first, uint64_t *last,
          struct pitr_err *err)
{
    struct chain chain = {0};
    const struct chain_span *head;
    enum pitr_rc rc = chain_load(&chain, repo_blob(c->opts.repo), repo_keys(c->opts.repo), err);

    if (rc == PITR_OK) {
        head = chain_head(&chain);
        *timeline = head != NULL ? head->timeline : 0;
        *first = head != NULL ? head->first : 0;
        *last = head != NULL ? head->last : 0;
    }
    chain_release(&chain);
    return rc;
}

/* bounds() asks the member that begin() chose, so T_start is not before the X of begin. */
static enum pitr_rc
open_window(struct capture *c, struct pitr_err *err)
{
    struct oplog_source *source = c->opts.source;
    struct optime oldest;

    if (source->ops->begin(source, &c->begin, err) != PITR_OK ||
        source->ops->bounds(source, &oldest, &c->t_start, err) != PITR_OK)
        return err->rc;
    if (c->t_start.ts < c->begin.ts) /* it was restarted in between */
        return pitr_fail(err, PITR_DB_LOST, "oplog: the member's majority point went back");
    return PITR_OK;
}

/*
 * A chain that somebody else began after our window was opened does not hold all of the window: it
 * is opened again. The beginning that was chosen for the chain was valid for everything that came
 * after.
 */
static enum pitr_rc
fit_window(struct capture *c, struct pitr_err *err)
{
    uint64_t first, last;
    uint32_t timeline;

    if (read_head(c, &timeline, &first, &last, err) != PITR_OK)
        return err->rc;
    if (first <= c->begin.ts)
        return PITR_OK;
    if (open_window(c, err) != PITR_OK || read_head(c, &timeline, &first, &last, err) != PITR_OK)
        return err->rc;
    if (first > c->begin.ts)
        return pitr_fail(err, PITR_GAP,
                         "a transaction open since %" PRIu32 ",%" PRIu32 " began before the "
                         "capture of the oplog, at %" PRIu32 ",%" PRIu32
                         "; take the snapshot again when it has ended",
                         ts_secs(c->begin.ts), ts_inc(c->begin.ts), ts_secs(first), ts_inc(first));
    return PITR_OK;
}

/* Become the tailer, if nobody else is. */
static enum pitr_rc
try_own(struct capture *c, struct pitr_err *err)
{
    int rc;

    if (repo_lock(c->opts.repo, "tail", &c->lock, err) != PITR_OK)
        return err->rc;
    /* Whoever had the lock before us may have begun the chain; once the window is in use, it
     * stands. */
    if (!c->in_use && fit_window(c, err) != PITR_OK)
        return err->rc;
    c->pinned =
        (struct pinned_source){.base.ops = &pinned_ops, .inner = c->opts.source, .begin = c->begin};
    if (tail_new(&c->tail,
                 &(struct tail_opts){.blob = repo_blob(c->opts.repo),
                                     .keys = repo_keys(c->opts.repo),
                                     .source = &c->pinned.base,
                                     .log = c->opts.job->log,
                                     .codec = CODEC_LZ4,
                                     .interval_ms = c->opts.interval_ms,
                                     .request_path = c->request_path,
                                     .retry_ms = SOURCE_RETRY_MS},
                 err) != PITR_OK)
        return err->rc;
    rc = pthread_create(&c->thread, NULL, run_tail, c);
    if (rc != 0)
        return pitr_fail_errno(err, rc, "starting the capture of the oplog");
    c->has_thread = true;
    return PITR_OK;
}

/*
 * Watch another process's tailer until its capture is durable up to `ts`, or until it is gone and
 * we have become the tailer (then c->lock is not NULL).
 */
static enum pitr_rc
watch(struct capture *c, uint64_t ts, struct pitr_err *err)
{
    uint64_t first, last = 0, seen = 0;
    uint32_t timeline;
    int64_t now = clock_mono_ms(), deadline = now + NO_PROGRESS_MS, ask = now, pause;
    enum pitr_rc rc;

    for (;;) {
        if (job_check(c->opts.job, err) != PITR_OK)
            return err->rc;
        rc = try_own(c, err);
        if (rc != PITR_BUSY)
            return rc;
        if (now >= ask) {
            if (tail_request(c->request_path, ts, err) != PITR_OK)
                return err->rc;
            ask = now + ASK_AGAIN_MS;
        }
        if (read_head(c, &timeline, &first, &last, err) != PITR_OK)
            return err->rc;
        if (last >= ts)
            return PITR_OK;
        if (last > seen)
            deadline = now + NO_PROGRESS_MS;
        seen = last;
        if (now > deadline)
            return pitr_fail(err, PITR_DB,
                             "the running tailer has sealed nothing for %d s and its capture does "
                             "not reach %" PRIu32 ",%" PRIu32 " yet; look at its log",
                             NO_PROGRESS_MS / 1000, ts_secs(ts), ts_inc(ts));
        pause = (clock_mono_ms() - now) * WATCH_SHARE;
        clock_sleep_ms(pause > WATCH_MS ? pause : WATCH_MS);
        now = clock_mono_ms();
    }
}

/* Another process tails. Its chain normally began long ago; one that has only just been started may
 * not have sealed anything yet. */
static enum pitr_rc
join_tailer(struct capture *c, struct pitr_err *err)
{
    uint64_t first, last;
    uint32_t timeline;

    if (read_head(c, &timeline, &first, &last, err) != PITR_OK)
        return err->rc;
    if (first != 0 && first <= c->begin.ts)
        return PITR_OK;
    if (watch(c, c->begin.ts, err) != PITR_OK)
        return err->rc;
    return c->lock != NULL ? PITR_OK : fit_window(c, err);
}

enum pitr_rc
capture_start(struct capture **out, const struct capture_opts *opts, struct optime *begin,
              struct optime *t_start, struct pitr_err *err)
{
    PITR_AUTO(capture_freep) struct capture *c = calloc(1, sizeof *c);
    pthread_condattr_t clock;

    if (c == NULL)
        return pitr_fail(err, PITR_NOMEM, "capture of the oplog");
    c->opts = *opts;
    pthread_mutex_init(&c->mutex, NULL);
    /* A wall clock that is set back must not put the capture off. */
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &clock);
    pthread_condattr_destroy(&clock);
    if (repo_state_path(opts->repo, "tail-request", &c->request_path, err) != PITR_OK ||
        open_window(c, err) != PITR_OK)
        return err->rc;
    if (try_own(c, err) != PITR_OK && (err->rc != PITR_BUSY || join_tailer(c, err) != PITR_OK))
        return err->rc;
    c->in_use = true;
    *begin = c->begin;
    *t_start = c->t_start;
    *out = c;
    c = NULL;
    return PITR_OK;
}

enum pitr_rc
capture_check(struct capture *c, struct pitr_err *err)
{
    if (!atomic_load(&c->ended) || !c->failed)
        return PITR_OK;
    *err = c->outcome;
    return pitr_wrap(err, "capturing the oplog");
}

void
capture_end_at(struct capture *c, const struct optime *until)
{
    if (c->lock == NULL)
        return;
    pthread_mutex_lock(&c->mutex);
    if (!c->has_until)
        c->until = *until;
    c->has_until = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->mutex);
    tail_end_at(c->tail, until->ts);
}

/* Our own tailer: tell it the end of the window and wait until it is there. */
static enum pitr_rc
finish_own(struct capture *c, const struct optime *until, struct pitr_err *err)
{
    capture_end_at(c, until);
    while (!atomic_load(&c->ended) && tail_durable(c->tail) < until->ts) {
        if (job_check(c->opts.job, err) != PITR_OK)
            return err->rc;
        clock_sleep_ms(POLL_MS);
    }
    stop_tail(c);
    return capture_check(c, err);
}

/* What was captured must hold the whole window without a gap: names prove it here, and whoever
 * replays proves it by content. */
static enum pitr_rc
prove_window(struct capture *c, const struct optime *until, struct capture_result *result,
             struct pitr_err *err)
{
    uint64_t first, last;

    if (read_head(c, &result->timeline, &first, &last, err) != PITR_OK)
        return err->rc;
    if (last >= until->ts && first <= c->begin.ts)
        return PITR_OK;
    return pitr_fail(err, PITR_GAP,
                     "oplog entries of the scan were lost before they could be captured: needed "
                     "from %" PRIu32 ",%" PRIu32 " to %" PRIu32 ",%" PRIu32 ", captured from "
                     "%" PRIu32 ",%" PRIu32 " to %" PRIu32 ",%" PRIu32
                     "; enlarge the oplog or run 'pitr tail' all the time, and take the snapshot "
                     "again",
                     ts_secs(c->begin.ts), ts_inc(c->begin.ts), ts_secs(until->ts),
                     ts_inc(until->ts), ts_secs(first), ts_inc(first), ts_secs(last), ts_inc(last));
}

enum pitr_rc
capture_finish(struct capture *c, const struct optime *until, struct capture_result *result,
               struct pitr_err *err)
{
    *result = (struct capture_result){0};
    if (c->lock == NULL && watch(c, until->ts, err) != PITR_OK)
        return err->rc;
    if (c->lock != NULL && finish_own(c, until, err) != PITR_OK)
        return err->rc;
    result->entries = c->result.entries;
    result->gap_found = c->result.gaps > 0;
    return prove_window(c, until, result, err);
}
