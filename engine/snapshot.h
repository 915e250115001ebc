/*
 * snapshot.h - take a full snapshot by scanning: fuzzy data, made exact by its own oplog window.
 *
 * Order of events: intent -> begin, T_start -> capture of the oplog runs (ours, or the running
 * tailer's) -> scan -> T_end -> packs durable -> index -> capture durable up to T_end ->
 * manifest. A snapshot exists when its manifest does, and not before.
 */
#ifndef PITR_ENGINE_SNAPSHOT_H
#define PITR_ENGINE_SNAPSHOT_H

#include "base/job.h"
#include "engine/manifest.h"

struct snapshot_opts {
    struct repo *repo; /* opened REPO_WRITE; borrowed like all below */
    struct mongo *mongo;
    struct job *job;
    const char *label;    /* NULL: none */
    char *const *exclude; /* namespace patterns (base/pattern.h) */
    size_t nexclude;
    enum frame_codec codec;   /* CODEC_ZSTD by default in the command */
    int level;                /* 0: the codec's default */
    unsigned readers;         /* collections read at once; 0: 2 */
    unsigned workers;         /* compressing threads; 0: one per core, at most 8 */
    int64_t tail_interval_ms; /* for our own capture */
};

struct snapshot_result {
    struct manifest manifest; /* root fields; colls may be empty. Release it. */
    uint64_t oplog_entries;   /* captured by this command itself */
    bool gap_found;           /* the oplog had rolled over since the last capture; recorded */
    double seconds;
};

/* Fails: BUSY (another snapshot), DB, IO, FULL, INTERRUPTED... Nothing is published then. */
PITR_MUST enum pitr_rc snapshot_take(const struct snapshot_opts *opts,
                                     struct snapshot_result *result, struct pitr_err *err);
void snapshot_result_release(struct snapshot_result *r);

/* Remember the outcome for status: state/last-snapshot. `result` is read when
 * outcome->rc is PITR_OK. */
PITR_MUST enum pitr_rc snapshot_record(struct repo *repo, const struct snapshot_result *result,
                                       const struct pitr_err *outcome, struct pitr_err *err);

#endif
