/*
 * store.h - bytes to id, once; id to bytes, checked.
 *
 * The facade over packs and index. Writing: store_put() gives the id of the bytes, and stores them
 * unless they are stored already (in the index, or in a pack of this writer that is still open).
 * Sealed frames go into packs; a full pack is published (synced, renamed), and only then are its
 * entries committed to the index. Nothing is promised to be durable before store_writer_finish()
 * returned. Reading: the index says where, the frame proves what. If the index is missing, damaged,
 * or points at bytes that are not there, the store rebuilds it from the packs' tables of contents
 * once, and tries again.
 *
 * Threads: one struct store may be shared; store_put() may be called by many threads, each with its
 * own sealer; a store_reader belongs to one thread.
 */
#ifndef PITR_CHUNKSTORE_STORE_H
#define PITR_CHUNKSTORE_STORE_H

#include "base/log.h"
#include "chunkstore/blob.h"
#include "chunkstore/codec.h"

struct store;
struct store_writer;
struct store_reader;

struct store_opts {
    struct blob *blob;            /* borrowed; packs live under "packs/" */
    const char *index_dir;        /* directory of the LMDB files; copied */
    const struct repo_keys *keys; /* copied */
    const struct log *log;        /* borrowed, may be NULL */
    /* No store_writer, and packs are never written. A missing or stale index is still made anew: in
     * index_dir if that can be written and no writer lives, else in a temporary directory. */
    bool read_only;
    size_t pack_target; /* bytes after which a pack is closed; 0: 32 MiB */
};

/* Fails: BUSY (not read_only, and another writer lives), IO, FULL, DENIED, NOMEM. One process must
 * not open two stores on one index_dir at the same time (LMDB's rule): share the struct. */
PITR_MUST enum pitr_rc store_open(struct store **out, const struct store_opts *opts,
                                  struct pitr_err *err);
/* Leaves the index stamped as clean. Errors here lose only the stamp (the next open rebuilds), so
 * none are returned. */
void store_free(struct store *s);
void store_freep(struct store **s);

struct store_stats {
    uint64_t chunks, chunks_new;   /* store_put() calls, and how many stored something */
    uint64_t bytes_raw, bytes_new; /* plaintext of all calls, and of the new ones */
    uint64_t bytes_stored;         /* new frames in the packs, headers included */
    uint64_t packs;
};

PITR_MUST enum pitr_rc store_writer_new(struct store_writer **out, struct store *s,
                                        struct pitr_err *err);
/* Abort: an open pack is dropped; packs already published stay, unreferenced. */
void store_writer_free(struct store_writer *w);
void store_writer_freep(struct store_writer **w);
/*
 * Store data[0..len) as a frame of `type`. *id is its name. `sealer` is the calling thread's own.
 * *stored (may be NULL) is the frame's length if this call stored it, else 0. Fails: NOMEM, IO,
 * FULL, DENIED, ABORTED (another thread's call failed first; the first failure is returned by
 * exactly one call and by store_writer_finish()).
 */
PITR_MUST enum pitr_rc store_put(struct store_writer *w, struct sealer *sealer,
                                 enum frame_type type, const void *data, size_t len,
                                 struct chunk_id *id, uint32_t *stored, struct pitr_err *err);
/* Publish what is open; all ids handed out are durable afterwards. `stats` may be NULL. */
PITR_MUST enum pitr_rc store_writer_finish(struct store_writer *w, struct store_stats *stats,
                                           struct pitr_err *err);
/* Counters so far; thread-safe, for progress. */
void store_writer_stats(struct store_writer *w, struct store_stats *stats);

PITR_MUST enum pitr_rc store_reader_new(struct store_reader **out, struct store *s,
                                        struct pitr_err *err);
void store_reader_free(struct store_reader *r);
void store_reader_freep(struct store_reader **r);
/* Plaintext of `id`, replacing the content of out; opened and checked. Fails: CORRUPT (damaged, or
 * no pack holds it), IO, NOMEM. */
PITR_MUST enum pitr_rc store_get(struct store_reader *r, enum frame_type type,
                                 const struct chunk_id *id, struct buf *out, struct pitr_err *err);
/*
 * Prove that `id` can be read without decoding it: `deep` false checks that its pack exists and is
 * long enough to hold it; `deep` true reads the frame and checks its tag. Fails as store_get().
 */
PITR_MUST enum pitr_rc store_check(struct store_reader *r, const struct chunk_id *id, bool deep,
                                   struct pitr_err *err);

struct store_usage {
    uint64_t packs, pack_bytes, chunks; /* what the packs hold, referenced or not */
};
PITR_MUST enum pitr_rc store_usage(struct store *s, struct store_usage *out, struct pitr_err *err);

/* Make the index anew from the packs' tables of contents. BUSY while a snapshot runs. */
PITR_MUST enum pitr_rc store_rebuild_index(struct store *s, uint64_t *packs, uint64_t *chunks,
                                           struct pitr_err *err);

/* Read every pack forward: header, every frame's tag and, if `deep`, its plaintext's id, and that
 * the table of contents says the same. `report` is called once per damaged pack or frame, and the
 * walk goes on. Fails: IO, NOMEM; damage is counted in *bad. */
PITR_MUST enum pitr_rc store_verify(struct store *s, bool deep,
                                    void (*report)(void *arg, const char *what), void *arg,
                                    uint64_t *frames, uint64_t *bytes, uint64_t *bad,
                                    struct pitr_err *err);

#endif
