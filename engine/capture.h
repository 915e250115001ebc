/*
 * capture.h - see to it that the oplog of a snapshot's window is captured, durably.
 *
 * If no tailer runs, the snapshot takes the tail lock and runs one itself, in a thread, so that a
 * small oplog cannot roll over behind a long scan. If one runs in another process, that one is
 * used: it is asked through its request file to seal, and the oplog folder is watched until it has;
 * if it dies meanwhile, we take over, which loses nothing, because capture always goes on where the
 * durable chain ends.
 *
 * begin and T_start are chosen here, in this order and by one member: begin is min(majority optime
 * X, start of the oldest transaction open after X), T_start the majority optime afterwards. Another
 * member may lag behind the first, and a T_start before X would promise entries that nobody
 * captured. A chain that this capture starts begins exactly at begin.
 *
 * Belongs to one thread, but capture_check() may be called from any.
 */
#ifndef PITR_ENGINE_CAPTURE_H
#define PITR_ENGINE_CAPTURE_H

#include "base/job.h"
#include "engine/repo.h"
#include "oplog/oplog_source.h"

struct capture;

struct capture_opts {
    struct repo *repo; /* borrowed, like all below */
    struct oplog_source *source;
    struct job *job;
    int64_t interval_ms;
};

/* Nothing of the catalog or the data may be read before it returns. Fails: DB, DB_LOST, IO, GAP (a
 * transaction is open that began before the running tailer's capture), INTERRUPTED, NOMEM. */
PITR_MUST enum pitr_rc capture_start(struct capture **out, const struct capture_opts *opts,
                                     struct optime *begin, struct optime *t_start,
                                     struct pitr_err *err);
void capture_free(struct capture *c); /* stops; what was sealed stays */
void capture_freep(struct capture **c);

/* Has our own tailer failed? Then the scan need not go on. */
PITR_MUST enum pitr_rc capture_check(struct capture *c, struct pitr_err *err);

/* Tell our own tailer where the window ends, so that it captures up to there while the caller is
 * busy with other things; capture_finish() with the same *until has to follow. */
void capture_end_at(struct capture *c, const struct optime *until);

struct capture_result {
    uint32_t timeline;
    uint64_t entries; /* captured by ourselves */
    bool gap_found;   /* by ourselves */
};

/* Return when every entry of [begin, *until] is durable; *until must be majority-committed. The
 * capture ends. Fails: GAP, what the tailer failed with, INTERRUPTED, DB (another process's tailer
 * makes no progress). */
PITR_MUST enum pitr_rc capture_finish(struct capture *c, const struct optime *until,
                                      struct capture_result *result, struct pitr_err *err);

#endif
