/*
 * restore.h - bring a target to the state of one moment, exactly, and prove it.
 *
 * Order: choose snapshot and moment -> prove chain and chunks -> net the oplog -> compute every
 * collection's final fingerprint -> survey the target -> (pre-restore snapshot) -> marker -> drop
 * -> create, load, index -> read back and compare -> TTL, views, users -> marker away. The target
 * is not touched before everything up to the marker has succeeded, so nothing that is wrong with
 * the repository can leave a target half restored.
 */
#ifndef PITR_ENGINE_RESTORE_H
#define PITR_ENGINE_RESTORE_H

#include "base/job.h"
#include "engine/selection.h"
#include "engine/window.h"

struct restore_opts {
    struct repo *repo;    /* borrowed, like all below; NULL if dump_dir is given */
    const char *dump_dir; /* a mongodump directory instead of a repository, or NULL */
    struct mongo *target;
    struct job *job;
    struct moment moment;
    struct selection selection;
    uint64_t memory; /* bytes that netting may hold; 0: the default */
    bool drop, plan, no_verify, no_pre_snapshot;
    unsigned connections; /* insert connections; 0: default */
    /* Called before the target is touched with what will be dropped; false ends the restore
     * (INTERRUPTED). NULL: go on. */
    bool (*confirm)(void *arg, const struct fs_names *dropped);
    void *confirm_arg;
};

struct restored_coll {
    char *ns; /* on the target; owned */
    struct fingerprint print;
};
struct restore_result {
    char snapshot[SNAPSHOT_ID_LEN];     /* "" for a mongodump directory */
    char pre_snapshot[SNAPSHOT_ID_LEN]; /* "" when none was taken */
    uint64_t to;                        /* last operation contained; 0 without oplog */
    uint64_t operations;                /* oplog entries replayed, without no-ops */
    uint64_t segments;                  /* of the oplog that were read */
    uint64_t documents, bytes;
    struct restored_coll *colls; /* owned */
    size_t ncolls;
    struct fs_names dropped;    /* namespaces dropped (or, with plan, that would be) */
    uint64_t prepared_left_out; /* transactions prepared at the moment whose outcome was never
                                   captured */
    bool verified;
    double seconds;
    bool needs_drop;           /* with plan: the restore would be refused without drop */
    double expected_seconds;   /* with plan: of the restore */
    bool expected_is_measured; /* by the last restore into this target */
};

PITR_MUST enum pitr_rc restore_run(const struct restore_opts *opts, struct restore_result *result,
                                   struct pitr_err *err);
void restore_result_release(struct restore_result *r);

#endif
