/*
 * update_paths.h - the dotted paths of modifiers ($v: 1), for those who apply and those who
 * compose.
 *
 * A path is a row of components, as many as it has dots and one more. Pointers go into the update.
 */
#ifndef PITR_OPLOG_UPDATE_PATHS_H
#define PITR_OPLOG_UPDATE_PATHS_H

#include <string.h>

#include "oplog/update_internal.h"

/* What becomes of an array element, decided in visiting order. */
enum slot_action { SLOT_NONE, SLOT_CHANGE, SLOT_NULL, SLOT_APPEND };

/* As many paths as fit on the stack in reason; most updates have fewer. */
enum { FEW_PATHS = 16 };

struct mod_path {
    const char *text;
    size_t len;
    struct belem e; /* the element of $set or $unset */
    bool is_set;
    /* On the first path of a child, about that child: */
    bool met;
    enum slot_action action;
    uint32_t index;
};

struct mod_paths {
    struct mod_path few[FEW_PATHS];
    struct mod_path *all; /* `few`, or owned */
    size_t n;
};

/* How components are put in order: as a server of that version visits them, or as array indexes,
 * what is none coming last. */
enum component_order { ORDER_BYTES, ORDER_NUMERIC, ORDER_INDEX };

/* `first` orders the components at offset `at`, `rest` the later ones. */
struct path_order {
    size_t at;
    enum component_order first, rest;
};

/* Length of the component that starts at offset `at`. */
static inline size_t
component_len(const struct mod_path *p, size_t at)
{
    const char *dot = memchr(p->text + at, '.', p->len - at);

    return (dot == NULL ? p->len : (size_t)(dot - p->text)) - at;
}

static inline enum component_order
visiting_order(enum update_field_order order)
{
    return order == FIELD_ORDER_BYTES ? ORDER_BYTES : ORDER_NUMERIC;
}

/* As strcmp(). */
int compare_components(const char *a, size_t a_len, const char *b, size_t b_len,
                       enum component_order order);

/* Two struct mod_path; `arg` is a struct path_order. Zero means the same text. */
int compare_paths(const void *a, const void *b, void *arg);

void sort_paths(struct mod_path *lo, struct mod_path *hi, struct path_order *o);

void mod_paths_init(struct mod_paths *p);
void mod_paths_release(struct mod_paths *p);

/* The paths of `o` in the order of their visit, into *p, which was initialised. Fails: CORRUPT
 * (also if two of them contradict each other), NOMEM. */
PITR_MUST enum pitr_rc mod_paths_read(struct mod_paths *p, const uint8_t *o, size_t o_len,
                                      enum update_field_order order, struct pitr_err *err);

#endif
