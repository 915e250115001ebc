/*
 * idset.h - a set of (chunk id, frame type), open addressing. Ids are uniform, so their first bytes
 * are the hash. A zeroed set is empty. Not thread-safe.
 */
#ifndef PITR_CHUNKSTORE_IDSET_H
#define PITR_CHUNKSTORE_IDSET_H

#include <stdbool.h>

#include "chunkstore/codec.h"

struct idset_slot;
struct idset {
    struct idset_slot *slots; /* owned */
    size_t cap;               /* a power of two, or 0 */
    size_t len;
};

void idset_release(struct idset *set);
/* *added is false if it was there. Fails: NOMEM, with the set unchanged. */
PITR_MUST enum pitr_rc idset_add(struct idset *set, const struct chunk_id *id, enum frame_type type,
                                 bool *added, struct pitr_err *err);
/* Something that is not there is fine. */
void idset_remove(struct idset *set, const struct chunk_id *id, enum frame_type type);

#endif
