/*
 * lookup.h - one document as it was at one moment.
 *
 * The oplog is replayed for this _id alone, so that it costs hardly any memory, and the base of its
 * collection is read until the document is found.
 */
#ifndef PITR_ENGINE_LOOKUP_H
#define PITR_ENGINE_LOOKUP_H

#include "engine/window.h"
#include "oplog/entry.h"

struct lookup_opts {
    struct repo *repo;
    struct job *job;
    struct moment moment;
    const char *ns; /* db.coll as the server knows it: a time-series collection's documents are
                       those of db.system.buckets.coll */
    const struct buf *key; /* canonical _id (oplog/docid.h) */
    uint64_t memory;       /* as in state_opts */
};

enum lookup_found {
    LOOKUP_DOCUMENT,
    LOOKUP_NO_DOCUMENT,   /* the collection existed, the document did not */
    LOOKUP_NO_COLLECTION, /* nor did anything else of that name */
    LOOKUP_EXCLUDED,      /* the backup was told to leave the namespace out */
    LOOKUP_VIEW,          /* the name was a view's */
    LOOKUP_SERIES,        /* the name was that of a time-series collection, not of its buckets */
};

struct lookup_result {
    enum lookup_found found;
    char snapshot[SNAPSHOT_ID_LEN]; /* the base */
    uint64_t to;                    /* last operation contained; 0: a snapshot without oplog */
    uint8_t uuid[UUID_LEN];         /* of the collection, if there was one */
    struct buf doc;                 /* if found */
    struct fs_names names;          /* LOOKUP_NO_COLLECTION: every collection there was */
};

/* *out is the caller's to release, also after a failure. Fails: GAP (no such moment), NOTFOUND (no
 * such snapshot), CORRUPT, ... */
PITR_MUST enum pitr_rc lookup_run(const struct lookup_opts *o, struct lookup_result *out,
                                  struct pitr_err *err);
void lookup_result_release(struct lookup_result *r);

#endif
