#include "chunkstore/idset.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct idset_slot {
    struct chunk_id id;
    uint8_t type; /* 0: empty */
};

enum { CAP_MIN = 1024 };

void
idset_release(struct idset *set)
{
    free(set->slots);
    *set = (struct idset){0};
}

static size_t
home(const struct idset *set, const struct chunk_id *id, uint8_t type)
{
    return (size_t)(get_le64(id->b) + type) & (set->cap - 1);
}

/* Where the pair is, or the empty slot where it belongs. */
static size_t
find(const struct idset *set, const struct chunk_id *id, uint8_t type)
{
    size_t at = home(set, id, type);

    while (set->slots[at].type != 0 &&
           (set->slots[at].type != type || memcmp(set->slots[at].id.b, id->b, sizeof id->b) != 0))
        at = (at + 1) & (set->cap - 1);
    return at;
}

static enum pitr_rc
grow(struct idset *set, struct pitr_err *err)
{
    struct idset bigger = {.cap = set->cap == 0 ? CAP_MIN : 2 * set->cap, .len = set->len};

    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    if (bigger.slots == NULL)
        return pitr_fail(err, PITR_NOMEM, "set of %zu chunk ids", bigger.cap);
    for (size_t i = 0; i < set->cap; i++)
        if (set->slots[i].type != 0)
            bigger.slots[find(&bigger, &set->slots[i].id, set->slots[i].type)] = set->slots[i];
    free(set->slots);
    *set = bigger;
    return PITR_OK;
}

enum pitr_rc
idset_add(struct idset *set, const struct chunk_id *id, enum frame_type type, bool *added,
          struct pitr_err *err)
{
    size_t at;

    if (set->len + set->len / 2 >= set->cap && grow(set, err) != PITR_OK)
        return err->rc;
    at = find(set, id, (uint8_t)type);
    *added = set->slots[at].type == 0;
    if (*added) {
        set->slots[at] = (struct idset_slot){.id = *id, .type = (uint8_t)type};
        set->len++;
    }
    return PITR_OK;
}

void
idset_remove(struct idset *set, const struct chunk_id *id, enum frame_type type)
{
    const size_t mask = set->cap - 1;
    size_t hole, at;

    if (set->len == 0)
        return;
    hole = find(set, id, (uint8_t)type);
    if (set->slots[hole].type == 0)
        return;
    set->len--;
    /* Close the gap, so that every probe from a home slot still meets no hole before its pair. */
    for (at = (hole + 1) & mask; set->slots[at].type != 0; at = (at + 1) & mask) {
        size_t from = home(set, &set->slots[at].id, set->slots[at].type);

        if (((at - from) & mask) >= ((at - hole) & mask)) {
            set->slots[hole] = set->slots[at];
            hole = at;
        }
    }
    set->slots[hole].type = 0;
}
