/*
 * verify_internal.h - verification between its files: verify.c (snapshots, threads),
 * verify_coll.c (the chunks of one collection), verify_oplog.c (segments and gaps), verify_replay.c
 * (replays from one snapshot to the next).
 */
#ifndef PITR_ENGINE_VERIFY_INTERNAL_H
#define PITR_ENGINE_VERIFY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "chunkstore/idset.h"
#include "engine/manifest.h"
#include "engine/verify.h"

struct verify {
    const struct verify_opts *opts;
    struct store *store;
    pthread_mutex_t lock; /* for result, visited and report */
    struct verify_result *result;
    struct idset visited; /* lists whose entries were checked */
    atomic_uint_fast64_t chunks;
};

/* Report what err says, with `context` in front; an error that is no finding about the repository
 * (NOMEM, INTERRUPTED) is returned instead. */
PITR_MUST enum pitr_rc verify_problem(struct verify *v, const char *context, struct pitr_err *err);

/* All chunks of a collection can be found; lists seen before are skipped. */
PITR_MUST enum pitr_rc verify_coll_quick(struct verify *v, struct store_reader *reader,
                                         const struct coll_node *c, struct pitr_err *err);
/* All chunks of a collection are read, and are what the node says. */
PITR_MUST enum pitr_rc verify_coll_data(struct verify *v, struct store_reader *reader,
                                        const struct coll_node *c, struct pitr_err *err);

/* Segments, gaps, and the windows of the snapshots. */
PITR_MUST enum pitr_rc verify_oplog(struct verify *v, const struct manifest *roots, size_t n,
                                    struct pitr_err *err);

/* Replays from each scanned snapshot to the next. */
PITR_MUST enum pitr_rc verify_replay(struct verify *v, struct pitr_err *err);

#endif
