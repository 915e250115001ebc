/*
 * oplog_repo.h - a place in memory for segments and gap records, with keys and a sealer.
 */
#ifndef PITR_TESTS_OPLOG_REPO_H
#define PITR_TESTS_OPLOG_REPO_H

#include "chunkstore/blob.h"
#include "chunkstore/codec.h"
#include "oplog/chain.h"

struct oplog_repo {
    struct blob *blob; /* blob_mem */
    struct repo_keys keys;
    struct sealer *sealer;
};

void oplog_repo_init(struct oplog_repo *r);
void oplog_repo_release(struct oplog_repo *r);

/* Seal `entries` entries of 1 second each, from ts_make(first, 1) on, after `prev` (may be NULL).
 */
struct segment_info oplog_repo_segment(struct oplog_repo *r, uint32_t timeline,
                                       const struct segment_info *prev, uint32_t first,
                                       uint32_t entries);

/* All objects below oplog/, in order. */
struct object_names {
    char at[512][SEGMENT_NAME_LEN];
    size_t len;
};
void oplog_repo_list(struct oplog_repo *r, struct object_names *out);

/* A small generator for property tests: SEED from the environment, or the clock; printed. */
uint64_t property_seed(void);
uint32_t property_below(uint64_t *state, uint32_t n);

#endif
