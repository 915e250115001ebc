/*
 * bsonedit.h - build and change small BSON documents as bytes: catalog options, index specs.
 *
 * Values are copied byte for byte. Documents are held in a struct buf; an empty buf is not a
 * document. Fails: NOMEM, CORRUPT for a malformed document.
 */
#ifndef PITR_MONGO_BSONEDIT_H
#define PITR_MONGO_BSONEDIT_H

#include "base/buf.h"
#include "mongo/bsonio.h"

/* Open a document at the end of out; give *at back to bdoc_end(). */
PITR_MUST enum pitr_rc bdoc_begin(struct buf *out, size_t *at, struct pitr_err *err);
PITR_MUST enum pitr_rc bdoc_end(struct buf *out, size_t at, struct pitr_err *err);
/* One element with the type and value of `e`, called `name`. */
PITR_MUST enum pitr_rc bdoc_append(struct buf *out, const char *name, const struct belem *e,
                                   struct pitr_err *err);
PITR_MUST enum pitr_rc bdoc_append_raw(struct buf *out, uint8_t type, const char *name,
                                       const void *value, size_t len, struct pitr_err *err);

/* An empty document. */
PITR_MUST enum pitr_rc bdoc_empty(struct buf *doc, struct pitr_err *err);
/* Append to `out` the document without its top-level fields named in `except` (NULL-terminated
 * list). */
PITR_MUST enum pitr_rc bdoc_copy_except(struct buf *out, const uint8_t *doc, size_t len,
                                        const char *const *except, struct pitr_err *err);
/* Replace the field's value where it stands, or append the field. */
PITR_MUST enum pitr_rc bdoc_set(struct buf *doc, uint8_t type, const char *name, const void *value,
                                size_t len, struct pitr_err *err);
PITR_MUST enum pitr_rc bdoc_unset(struct buf *doc, const char *name, struct pitr_err *err);

/* Index lists: a BSON array of specs, each with a `name`. */
PITR_MUST enum pitr_rc bindex_find(const struct buf *list, const char *name, size_t name_len,
                                   bool *found, struct belem *spec, struct pitr_err *err);
/* Add the spec, or replace the one of the same name where it stands. */
PITR_MUST enum pitr_rc bindex_put(struct buf *list, const uint8_t *spec, size_t len,
                                  struct pitr_err *err);
PITR_MUST enum pitr_rc bindex_remove(struct buf *list, const char *name, size_t name_len,
                                     struct pitr_err *err);

#endif
