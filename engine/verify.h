/*
 * verify.h - is everything in the repository what it was when it was stored?
 *
 * Quick: every manifest is read with all its nodes and lists, every chunk id is found through the
 * index in a pack that exists and is long enough, the oplog's segments join by name and by the
 * hashes in their heads and feet, every snapshot's window is covered, and the small files open.
 * Cost: the metadata.
 *
 * Data: all that, and every frame of every pack is opened and its id checked, every collection is
 * read back and its documents, bytes and fingerprint compared with the manifest, and every segment
 * is read to its end. Cost: the whole repository, read and decoded on several threads.
 *
 * Replay: what quick does, and for each scanned snapshot whose oplog joins it to the next scanned
 * one of its timeline, the older is replayed to the moment of the younger, and the two must agree
 * in every collection: options, indexes and content. The two were made independently, one by
 * reading the database again, so this proves capture and replay, without a server. Where that
 * cannot be (the feature compatibility version changed in between, say), the reason is reported as
 * no problem. Cost: both snapshots are decoded, and the oplog between them.
 *
 * Problems are reported one by one and the walk goes on. Known gaps in the oplog are no problem of
 * the repository: they are counted and named, but do not make verification fail.
 */
#ifndef PITR_ENGINE_VERIFY_H
#define PITR_ENGINE_VERIFY_H

#include "base/job.h"
#include "engine/repo.h"

enum finding {
    FINDING_PROBLEM,
    FINDING_GAP,      /* a known gap in the oplog */
    FINDING_PROVEN,   /* replay from one snapshot to the next gave the next */
    FINDING_UNPROVEN, /* why that could not be tried */
};

struct verify_opts {
    struct repo *repo; /* borrowed, like all below */
    struct job *job;
    bool data, replay;
    uint64_t memory;  /* bytes that netting may hold; 0: the default */
    unsigned threads; /* 0: one per core, at least 2, at most 8 */
    /* Called by one thread at a time. */
    void (*report)(void *arg, enum finding finding, const char *what);
    void *arg;
};

struct verify_result {
    uint64_t snapshots;
    uint64_t chunks;           /* distinct lists' entries checked; with data, frames in packs */
    uint64_t packs;            /* in the repository */
    uint64_t segments;         /* of the oplog */
    uint64_t bytes;            /* stored bytes the packs hold; with data, all of them were read */
    uint64_t gaps;             /* known */
    uint64_t proven, unproven; /* replays from a scanned snapshot to the next */
    uint64_t problems;
};

/* *result is filled in either case. Fails: CORRUPT when there was any problem, INTERRUPTED, NOMEM,
 * IO. */
PITR_MUST enum pitr_rc verify_run(const struct verify_opts *opts, struct verify_result *result,
                                  struct pitr_err *err);

#endif
