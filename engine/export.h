/*
 * export.h - write the state of one moment as a mongodump directory.
 *
 *     DIR/<db>/<collection>.bson[.gz]            documents in the order of the collection
 *     DIR/<db>/<collection>.metadata.json[.gz]   export_metadata.h; of views there is only this
 *     DIR/admin/system.users.bson[.gz] (roles)   when everything is exported and there are any,
 * with DIR/admin/system.version.bson[.gz]         the authentication schema, which loading them
 * needs DIR/prelude.json[.gz]                      the versions of server and tool
 *
 * File names are as in dump_name.h; time-series collections have their documents as
 * system.buckets.<name>.bson. The path is that of a restore with another sink: the state is proven
 * before anything is written, and what is written is summed up and compared with it. The directory
 * appears under its name once all of it is on disk (export_dir.h).
 *
 * Collections are written by several threads, each compressing what it writes. Memory: a chunk or
 * two and 512 KiB per thread, beside the net of the replay.
 */
#ifndef PITR_ENGINE_EXPORT_H
#define PITR_ENGINE_EXPORT_H

#include "base/job.h"
#include "engine/manifest.h"
#include "engine/state.h"

struct export_opts {
    struct state_source source;
    struct selection selection;
    struct job *job;
    const char *out; /* borrowed */
    bool gzip;
    unsigned threads; /* 0: one per core, at most 8 */
};

struct export_result {
    char snapshot[SNAPSHOT_ID_LEN]; /* "" for a mongodump directory */
    uint64_t to;                    /* last operation contained; 0 without oplog */
    uint64_t operations;            /* oplog entries replayed, without no-ops */
    uint64_t segments;              /* of the oplog that were read */
    uint64_t documents, bytes;      /* of the collections, uncompressed */
    uint64_t collections, views;
    uint64_t users, roles;
    uint64_t prepared_left_out; /* as in restore_result */
    double seconds;
};

/* Fails: USAGE (`out`, or nothing is selected), FULL, DENIED, IO, and as state_open(). Nothing is
 * left then. */
PITR_MUST enum pitr_rc export_run(const struct export_opts *opts, struct export_result *result,
                                  struct pitr_err *err);

#endif
