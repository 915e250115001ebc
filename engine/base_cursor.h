/*
 * base_cursor.h - read one collection of a snapshot back, document by document, in natural order.
 *
 * Lists -> chunks -> documents; every chunk is opened and checked against its id, every document's
 * envelope against its length. One thread per cursor.
 */
#ifndef PITR_ENGINE_BASE_CURSOR_H
#define PITR_ENGINE_BASE_CURSOR_H

#include "engine/manifest.h"

struct base_cursor;

/* Borrows `store` and `node`. Fails: NOMEM, IO. */
PITR_MUST enum pitr_rc base_cursor_open(struct base_cursor **out, struct store *store,
                                        const struct coll_node *node, struct pitr_err *err);
void base_cursor_free(struct base_cursor *c);
void base_cursor_freep(struct base_cursor **c);
/* Next document, valid until the next call; *doc NULL at the end. Fails: CORRUPT, IO, NOMEM. */
PITR_MUST enum pitr_rc base_cursor_next(struct base_cursor *c, const uint8_t **doc, size_t *len,
                                        struct pitr_err *err);

/* Prove without decoding that every chunk of the collection is there: store_check() on each. */
PITR_MUST enum pitr_rc base_check_chunks(struct store *store, const struct coll_node *node,
                                         bool deep, struct pitr_err *err);

#endif
