/*
 * import.h - make a snapshot of a mongodump directory.
 *
 * It is a snapshot like another, with mode "import" and without oplog: a point of its own, which
 * opens no window and is never the base of another moment. No server is asked, and the repository's
 * cluster stays what it is, as nothing tells where the dump came from. What "latest" means then is
 * in window.h.
 */
#ifndef PITR_ENGINE_IMPORT_H
#define PITR_ENGINE_IMPORT_H

#include "base/job.h"
#include "engine/manifest.h"

struct import_opts {
    struct repo *repo; /* opened REPO_WRITE; borrowed like all below */
    struct job *job;
    const char *dir;
    const char *label; /* NULL: none */
    enum frame_codec codec;
    int level; /* 0: the codec's default */
};

struct import_result {
    struct manifest manifest; /* root fields; colls may be empty. Release it. */
    double seconds;
};

/* Fails: USAGE (no mongodump directory, or one with an oplog), CORRUPT (a damaged file, the message
 * naming it and the offset), BUSY (another snapshot), IO, FULL, INTERRUPTED. Nothing is published
 * then. */
PITR_MUST enum pitr_rc import_run(const struct import_opts *opts, struct import_result *result,
                                  struct pitr_err *err);
void import_result_release(struct import_result *r);

#endif
