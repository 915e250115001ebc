#include "engine/load_internal.h"

/* How long one wait lasts, so that a request to stop is seen, and after how many it is reported. */
enum { WAIT_MS = 1000, WAITS_BEFORE_WARNING = 30 };

static void
bson_freep(bson_t **b)
{
    bson_destroy(*b);
}

/* A read with majority read concern returns when what it may see includes all our writes. It looks
 * into a collection that does not exist: the answer does not matter. */
static enum pitr_rc
wait_once(struct target *t, struct conn *c, uint64_t ts, uint32_t *code, struct pitr_err *err)
{
    PITR_AUTO(bson_freep) bson_t *concern = BCON_NEW("level", BCON_UTF8("majority"));
    bson_t *cmd;

    BSON_APPEND_TIMESTAMP(concern, "afterClusterTime", (uint32_t)(ts >> 32), (uint32_t)ts);
    cmd = BCON_NEW("find", BCON_UTF8("pitr.barrier"), "limit", BCON_INT32(1), "singleBatch",
                   BCON_BOOL(true), "maxTimeMS", BCON_INT32(WAIT_MS), "readConcern",
                   BCON_DOCUMENT(concern));
    return target_simple(t, c, "admin", cmd, NULL, code, "wait for majority commit", err);
}

static enum pitr_rc
wait_for_majority(struct target *t, struct conn *c, struct pitr_err *err)
{
    uint64_t ts = atomic_load(&t->written_ts);
    uint32_t code;

    for (unsigned waits = 0; ts > 0; waits++) {
        if (job_check(t->job, err) != PITR_OK)
            return err->rc;
        if (wait_once(t, c, ts, &code, err) == PITR_OK)
            return PITR_OK;
        if (code != CODE_MAX_TIME_EXPIRED)
            return err->rc;
        if (waits == WAITS_BEFORE_WARNING)
            log_event(t->job->log, LOG_WARNING, "load",
                      "still waiting for a majority of %s to have what was written; are its "
                      "members running?",
                      t->server.set_name);
    }
    return PITR_OK;
}

/* A write that changes nothing waits for the journal, and with that for all writes before it. */
static enum pitr_rc
flush_journal(struct target *t, struct conn *c, struct pitr_err *err)
{
    return target_simple(t, c, "admin",
                         BCON_NEW("delete", BCON_UTF8("pitr.barrier"), "deletes", "[", "{", "q",
                                  "{", "_id", BCON_INT32(0), "}", "limit", BCON_INT32(1), "}", "]",
                                  "writeConcern", "{", "w", BCON_INT32(1), "j", BCON_BOOL(true),
                                  "}"),
                         NULL, NULL, "flush the journal", err);
}

enum pitr_rc
load_barrier(struct target *t, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;
    uint32_t code;

    if (conn_take(&c, t->mongo, err) != PITR_OK)
        return err->rc;
    if (t->server.kind == SERVER_REPLICA)
        return wait_for_majority(t, c, err);
    if (target_simple(t, c, "admin", BCON_NEW("fsync", BCON_INT32(1)), NULL, &code, "fsync", err) ==
        PITR_OK)
        return PITR_OK;
    return code == CODE_UNAUTHORIZED ? flush_journal(t, c, err) : err->rc;
}
