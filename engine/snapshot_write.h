/*
 * snapshot_write.h - what every way to make a snapshot has in common, whatever its documents come
 * from: one at a time, an id, an intent, the pipeline, the nodes, the manifest.
 *
 * Order: begin (lock, id) -> declare (intent) -> scan (chunks) -> store (nodes; packs and index
 * durable) -> publish -> end. Between them belongs what makes this kind of snapshot exact. A
 * snapshot exists when publish has returned, and not before.
 */
#ifndef PITR_ENGINE_SNAPSHOT_WRITE_H
#define PITR_ENGINE_SNAPSHOT_WRITE_H

#include "base/job.h"
#include "engine/pipeline.h"

/* Zeroed but for the first part, which the caller fills in. */
struct snapshot_writer {
    struct repo *repo; /* opened REPO_WRITE; borrowed like all of this part */
    struct job *job;
    struct manifest *m;
    enum frame_codec codec;
    int level;                 /* 0: the codec's default */
    unsigned readers, workers; /* 0: 2, and one per core, at most 8 */

    struct fs_lock *lock;
    char intent[64]; /* "" while there is none */
    struct store_writer *writer;
    struct sealer *sealer;          /* for nodes */
    struct pipeline_result scanned; /* after the scan; the caller moves nodes to m->colls */
};

/* Fails: BUSY when another snapshot is being made. */
PITR_MUST enum pitr_rc snapshot_writer_begin(struct snapshot_writer *w, const char *mode,
                                             const char *label, struct pitr_err *err);
PITR_MUST enum pitr_rc snapshot_writer_declare(struct snapshot_writer *w, struct pitr_err *err);
/* `list` is consumed; `check` is asked between chunks, NULL: nothing to ask. */
PITR_MUST enum pitr_rc snapshot_writer_scan(struct snapshot_writer *w, struct doc_source *source,
                                            struct source_list *list,
                                            enum pitr_rc (*check)(void *arg, struct pitr_err *err),
                                            void *check_arg, struct pitr_err *err);
/* Hand every node that was scanned and not released since to the manifest. */
PITR_MUST enum pitr_rc snapshot_writer_collect(struct snapshot_writer *w, struct pitr_err *err);
PITR_MUST enum pitr_rc snapshot_writer_store(struct snapshot_writer *w, struct pitr_err *err);
PITR_MUST enum pitr_rc snapshot_writer_publish(struct snapshot_writer *w, struct pitr_err *err);
/* Withdraw the intent, let go of lock and memory; the manifest stays the caller's. */
void snapshot_writer_end(struct snapshot_writer *w);

#endif
