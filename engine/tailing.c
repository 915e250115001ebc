#include "engine/tailing.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "oplog/oplog_mongo.h"

/* `pitr status` holds the lock for a moment to see whether somebody else does; and how long a
 * single capture waits for a server that has gone away. */
enum { LOCK_WAIT_MS = 1000, LOCK_STEP_MS = 50, ONCE_RETRY_MS = 60000 };

/* Size of a block that goes back to the system when it is freed, and of the free space that does
 * not, so that replies of usual size find theirs again. */
enum { RETURN_BYTES = 8 << 20, KEEP_BYTES = RETURN_BYTES / 2 };

struct tailing {
    struct tailing_opts opts;
    struct fs_lock *lock;
    struct oplog_source *source;
    struct tail *tail;
    char *request_path;
};

static enum pitr_rc
take_lock(struct tailing *t, struct pitr_err *err)
{
    int64_t deadline = clock_mono_ms() + LOCK_WAIT_MS;

    while (repo_lock(t->opts.repo, "tail", &t->lock, err) != PITR_OK) {
        if (err->rc != PITR_BUSY || clock_mono_ms() >= deadline)
            return err->rc == PITR_BUSY ? pitr_wrap(err, "the oplog is being captured already")
                                        : err->rc;
        clock_sleep_ms(LOCK_STEP_MS);
    }
    return PITR_OK;
}

static enum pitr_rc
bind_server(struct tailing *t, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;
    struct server_info server;

    if (conn_take(&c, t->opts.mongo, err) != PITR_OK ||
        server_inspect(c, &server, err) != PITR_OK || server_require(&server, true, err) != PITR_OK)
        return err->rc;
    return repo_bind(t->opts.repo, &server, err);
}

/* A single capture returns what a warning would say, so unless more is asked for it says it once.
 */
static const struct log *
log_of(const struct tailing_opts *opts)
{
    if (opts->once && opts->log != NULL && opts->log->level < LOG_INFO)
        return NULL;
    return opts->log;
}

enum pitr_rc
tailing_open(struct tailing **out, const struct tailing_opts *opts, struct pitr_err *err)
{
    PITR_AUTO(tailing_freep) struct tailing *t = calloc(1, sizeof *t);

    if (t == NULL)
        return pitr_fail(err, PITR_NOMEM, "capture of the oplog");
    t->opts = *opts;
    if (take_lock(t, err) != PITR_OK || bind_server(t, err) != PITR_OK ||
        repo_state_path(opts->repo, "tail-request", &t->request_path, err) != PITR_OK ||
        oplog_mongo_new(&t->source, opts->mongo, err) != PITR_OK ||
        tail_new(&t->tail,
                 &(struct tail_opts){.blob = repo_blob(opts->repo),
                                     .keys = repo_keys(opts->repo),
                                     .source = t->source,
                                     .log = log_of(opts),
                                     .codec = CODEC_LZ4,
                                     .interval_ms = opts->interval_ms,
                                     .request_path = t->request_path,
                                     .retry_ms = opts->once ? ONCE_RETRY_MS : -1},
                 err) != PITR_OK)
        return err->rc;
    *out = t;
    t = NULL;
    return PITR_OK;
}

void
tailing_free(struct tailing *t)
{
    if (t == NULL)
        return;
    tail_free(t->tail);
    if (t->source != NULL)
        t->source->ops->free(t->source);
    fs_lock_free(t->lock);
    free(t->request_path);
    free(t);
}

void
tailing_freep(struct tailing **t)
{
    tailing_free(*t);
    *t = NULL;
}

void
tailing_stop(struct tailing *t)
{
    tail_stop(t->tail);
}

static enum pitr_rc
run_once(struct tailing *t, struct tail_result *result, struct pitr_err *err)
{
    struct optime oldest, until;

    if (t->source->ops->bounds(t->source, &oldest, &until, err) != PITR_OK ||
        tail_run(t->tail, &until, result, err) != PITR_OK)
        return err->rc;
    if (result->gaps > 0)
        return pitr_fail(err, PITR_GAP,
                         "gap: %s; what the server still has is captured now; take a new snapshot: "
                         "moments between the last captured entry and that snapshot cannot be "
                         "restored",
                         result->gap_reason);
    return PITR_OK;
}

/* An entry of 16 MiB passes through several buffers of its size, and once glibc has seen one of
 * them freed, it keeps all that follow. */
static void
return_large_blocks(void)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, RETURN_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
#endif
}

enum pitr_rc
tailing_run(struct tailing *t, struct tail_result *result, struct pitr_err *err)
{
    memset(result, 0, sizeof *result);
    return_large_blocks();
    if (t->opts.once)
        return run_once(t, result, err);
    return tail_run(t->tail, NULL, result, err);
}
