#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

/* Blocks double up to this, so that a small map stays small and a big one has few blocks. */
enum { ARENA_FIRST_BLOCK = 4 << 10, ARENA_MAX_BLOCK = 1 << 20 };

struct arena_block {
    struct arena_block *next;
    size_t len; /* usable bytes */
    alignas(8) uint8_t data[];
};

enum pitr_rc
arena_alloc(struct arena *a, size_t len, void **out, struct pitr_err *err)
{
    struct arena_block *b = a->blocks;

    if (len > SIZE_MAX / 2)
        return pitr_fail(err, PITR_NOMEM, "arena: %zu bytes", len);
    len = (len + 7) & ~(size_t)7;
    if (b == NULL || a->left < len) {
        size_t want = b == NULL ? ARENA_FIRST_BLOCK : b->len * 2;

        if (want > ARENA_MAX_BLOCK)
            want = ARENA_MAX_BLOCK;
        if (want < len)
            want = len;
        b = malloc(sizeof *b + want);
        if (b == NULL)
            return pitr_fail(err, PITR_NOMEM, "arena: %zu bytes", want);
        b->next = a->blocks;
        b->len = want;
        a->blocks = b;
        a->left = want;
        a->held += sizeof *b + want;
    }
    *out = b->data + (b->len - a->left);
    a->left -= len;
    return PITR_OK;
}

void
arena_release(struct arena *a)
{
    struct arena_block *b = a->blocks;

    while (b != NULL) {
        struct arena_block *next = b->next;

        free(b);
        b = next;
    }
    *a = (struct arena){0};
}
