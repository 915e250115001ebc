/*
 * arena.h - memory that is handed out in small pieces and freed all at once.
 */
#ifndef PITR_BASE_ARENA_H
#define PITR_BASE_ARENA_H

#include <stddef.h>

#include "base/err.h"

struct arena_block;

/* A zeroed struct arena is empty and valid. Not thread-safe. */
struct arena {
    struct arena_block *blocks;
    size_t left; /* bytes free in the newest block */
    size_t held; /* bytes of all blocks */
};

/* 8-byte aligned, not cleared. Fails: NOMEM. */
PITR_MUST enum pitr_rc arena_alloc(struct arena *a, size_t len, void **out, struct pitr_err *err);
void arena_release(struct arena *a);

#endif
