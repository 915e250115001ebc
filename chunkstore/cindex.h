/*
 * cindex.h - the index: which pack holds a chunk. A cache, never believed.
 *
 * Everything here can be made again from the packs' tables of contents, and a caller checks what it
 * reads through the index (the frame proves itself). What the index must never do is crash the
 * program or answer from half-written pages, so a database file is only mapped when it is known to
 * be whole:
 *
 *     <dir>/writer.lock      kernel lock, held by the one writer for its life (cindex_lock)
 *     <dir>/current          name of the generation in use
 *     <dir>/g-<16 digits>/   one generation:
 *         data.mdb lock.mdb  LMDB
 *         stamp              size and hash of data.mdb; there only while nobody has it open to
 * write open               boot id of the machine; there while a writer has it open
 *
 * A writer removes the stamp before its first change and writes it anew when it closes. No stamp,
 * or one that does not fit, means that a writer died or that the file rotted: the index is refused
 * as CORRUPT, and the owner builds the next generation. A live writer vouches for its own pages, so
 * readers beside it need no stamp; `open` tells a writer that has checked the pages (or made them)
 * since the machine started from one that only just took the lock. A new generation has its own
 * folder because LMDB's lock file must never be shared between two databases; readers of the old
 * one keep their mapping until they close.
 *
 * One process must not open the same folder twice at the same time (LMDB's rule): share the struct.
 * All functions but open, build and free are thread-safe. docs/format.md, "Index", has the layout.
 */
#ifndef PITR_CHUNKSTORE_CINDEX_H
#define PITR_CHUNKSTORE_CINDEX_H

#include "base/fs.h"
#include "chunkstore/pack.h"

struct cindex;

struct cindex_opts {
    const char *dir;            /* must exist; copied */
    const struct fs_lock *lock; /* from cindex_lock(), outlives the index; NULL: for reading */
    size_t map_size;            /* address space to begin with; 0: 64 GiB. Grows when needed. */
};

/* The right to write. Readers that probe the lock can stand in the way for a moment, so this tries
 * for a third of a second. Fails: BUSY (another writer lives), DENIED, IO. */
PITR_MUST enum pitr_rc cindex_lock(struct fs_lock **out, const char *dir, struct pitr_err *err);

/* Open the current generation. Fails: NOTFOUND (there is none) or CORRUPT: make it anew; BUSY (a
 * writer lives and this process may not share LMDB's lock file); DENIED, IO, NOMEM. */
PITR_MUST enum pitr_rc cindex_open(struct cindex **out, const struct cindex_opts *opts,
                                   struct pitr_err *err);

/* Start an empty generation, for writing. Nobody sees it before cindex_publish(), which makes it
 * the current one and removes the others. `lock` may be NULL in a private directory. */
PITR_MUST enum pitr_rc cindex_build(struct cindex **out, const struct cindex_opts *opts,
                                    struct pitr_err *err);
PITR_MUST enum pitr_rc cindex_publish(struct cindex *x, struct pitr_err *err);

/* Closes. After writing: syncs and stamps; a failure there only costs a rebuild, so none is
 * returned. A generation that was never published is removed. */
void cindex_free(struct cindex *x);
void cindex_freep(struct cindex **x);

/* False when another generation has become the current one. */
bool cindex_is_current(struct cindex *x);

struct cindex_value {
    struct pack_id pack;
    uint64_t offset;
    uint32_t frame_len, raw_len;
    enum frame_type type;
};
/* Where the frame of (id, type) is; `type` 0 takes the first type there is. Fails: CORRUPT (the
 * entry's checksum, or LMDB's own complaint), IO, NOMEM. */
PITR_MUST enum pitr_rc cindex_get(struct cindex *x, const struct chunk_id *id, enum frame_type type,
                                  bool *found, struct cindex_value *value, struct pitr_err *err);

/* Enter a published pack of `size` bytes and all its frames, in one transaction. A frame that is
 * known already is now found in this pack. Fails: FULL, IO, NOMEM, CORRUPT. */
PITR_MUST enum pitr_rc cindex_put_pack(struct cindex *x, const struct pack_id *pack, uint64_t size,
                                       const struct pack_entry *entries, size_t count,
                                       struct pitr_err *err);
/* Size of the pack as it was entered; *found false if it is not in the index. */
PITR_MUST enum pitr_rc cindex_get_pack(struct cindex *x, const struct pack_id *pack, bool *found,
                                       uint64_t *size, struct pitr_err *err);
PITR_MUST enum pitr_rc cindex_count(struct cindex *x, uint64_t *packs, uint64_t *frames,
                                    struct pitr_err *err);

#endif
