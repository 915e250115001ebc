/*
 * update_compose.h - two updates of one document as one. Pure: bytes in, bytes out.
 *
 * For every document P to which `a` and then `b` apply in strict replay (P is what the server had
 * when it logged `a`), applying the result to P gives the same bytes as applying `a` and then `b`.
 * Deltas ($v: 2) compose with deltas; a replacement swallows what is before it; modifiers ($v: 1)
 * compose with modifiers where that is certain. Where no single update can be told for certain, the
 * two stay two: *composed is false and `out` keeps its length.
 */
#ifndef PITR_OPLOG_UPDATE_COMPOSE_H
#define PITR_OPLOG_UPDATE_COMPOSE_H

#include "oplog/update.h"

/* Append to `out` the update (an entry's `o`) that does what `a` and then `b` do. Neither may lie
 * in `out`. Fails: CORRUPT (malformed), NOMEM. */
PITR_MUST enum pitr_rc update_compose(struct buf *out, const uint8_t *a, size_t a_len,
                                      const uint8_t *b, size_t b_len, enum update_field_order order,
                                      bool *composed, struct pitr_err *err);

#endif
