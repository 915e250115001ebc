/*
 * store_internal.h - what the parts of the store share: the store itself, and its index behind a
 * lock that lets a rebuild put another one in its place.
 */
#ifndef PITR_CHUNKSTORE_STORE_INTERNAL_H
#define PITR_CHUNKSTORE_STORE_INTERNAL_H

#include <pthread.h>

#include "chunkstore/cindex.h"
#include "chunkstore/store.h"

/* Room for the name of a pack. */
enum { STORE_NAME_LEN = 64 };

struct store {
    struct blob *blob; /* borrowed */
    char *index_dir;   /* owned */
    struct repo_keys keys;
    const struct log *log; /* borrowed */
    bool read_only;
    size_t pack_target;
    struct fs_lock *lock;         /* the index's writer lock; NULL when read_only */
    pthread_rwlock_t index_lock;  /* exclusive: to replace what follows */
    struct cindex *index;         /* owned, never NULL once the store is open */
    char *private_dir;            /* of an index that could not be made in index_dir; or NULL */
    uint64_t epoch;               /* counts the indexes this store has used */
    char damaged[STORE_NAME_LEN]; /* the first pack found without a usable table; "" for none */
    bool rebuilt;                 /* a rebuild for the sake of a reader was tried */
};

/* Open the index, or make it. */
PITR_MUST enum pitr_rc store_index_open(struct store *s, struct pitr_err *err);
void store_index_close(struct store *s);

/* Name of a damaged pack that was met while the index was made, "" for none: for messages. */
void store_index_damage(struct store *s, char out[STORE_NAME_LEN]);

/* cindex_get(); *epoch says which index answered. */
PITR_MUST enum pitr_rc store_index_get(struct store *s, const struct chunk_id *id,
                                       enum frame_type type, bool *found,
                                       struct cindex_value *value, uint64_t *epoch,
                                       struct pitr_err *err);
PITR_MUST enum pitr_rc store_index_put(struct store *s, const struct pack_id *pack, uint64_t size,
                                       const struct pack_entry *entries, size_t count,
                                       struct pitr_err *err);
/* The index of `epoch` gave a wrong answer. *changed: another one is in place, ask again. */
PITR_MUST enum pitr_rc store_index_recover(struct store *s, uint64_t epoch, bool *changed,
                                           struct pitr_err *err);

#endif
