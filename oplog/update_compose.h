/*
 * update_compose.h - two updates of one document as one. Pure: bytes in, bytes out.
 *
 * For every document P to which `a` and then `b` apply in strict replay (P is what the server had
 * when it logged `a`), applying the result to P gives the same bytes as applying `a` and then `b`.
 * Deltas ($v: 2) compose with deltas; a replacement swallows what is before it; modifiers ($v: 1)
 * compose with modifiers where that is certain. Where no single update can be told for certain, the
 * two stay two: *composed is false and `out` keeps its length.
 *
 * Linear in the length of both, but for the sorting of the names of a diff that has many. The
 * result of composing remembers every field that was ever named, deleted ones included (whether P
 * had them is not known here), so that folding many updates of different fields into one, one by
 * one, takes quadratic time; folding them in pairs does not. It makes no difference to what the
 * result does.
 */
#ifndef PITR_OPLOG_UPDATE_COMPOSE_H
#define PITR_OPLOG_UPDATE_COMPOSE_H

#include "oplog/update.h"

/* Append to `out` the update (an entry's `o`) that does what `a` and then `b` do. Neither may lie
 * in `out`. On failure `out` keeps its length. Fails: CORRUPT (malformed, or no document takes both
 * in strict replay), NOMEM. */
PITR_MUST enum pitr_rc update_compose(struct buf *out, const uint8_t *a, size_t a_len,
                                      const uint8_t *b, size_t b_len, enum update_field_order order,
                                      bool *composed, struct pitr_err *err);

#endif
