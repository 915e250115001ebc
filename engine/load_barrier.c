#include "base/clock.h"
#include "engine/load_internal.h"

enum { POLL_MS = 5, WARNING_MS = 30000 };

/* What the primary says of its majority point needs no privilege. */
static enum pitr_rc
wait_for_majority(struct target *t, struct conn *c, struct pitr_err *err)
{
    const uint64_t written = atomic_load(&t->written_ts);
    const int64_t started = clock_mono_ms();
    bool warned = false;
    uint64_t ts;
    int64_t term;

    for (;;) {
        if (job_check(t->job, err) != PITR_OK || server_majority(c, &ts, &term, err) != PITR_OK)
            return err->rc;
        if (ts >= written)
            return PITR_OK;
        if (!warned && clock_mono_ms() - started >= WARNING_MS) {
            warned = true;
            log_event(t->job->log, LOG_WARNING, "load",
                      "still waiting for a majority of %s to have what was written; are its "
                      "members running?",
                      t->server.set_name);
        }
        clock_sleep_ms(POLL_MS);
    }
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
