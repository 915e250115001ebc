/*
 * update.h - apply one oplog update to one document. Pure: bytes in, bytes out.
 *
 * An update entry's `o` is one of three kinds: a replacement (it has a top-level _id), a delta
 * ($v: 2, in o.diff) or modifiers ($v: 1 or none, $set/$unset). What each does, and the traps, is
 * the server's behaviour as observed on 4.4, 5.0 and 6.0; docs/oplog.md tells it rule by rule.
 * Values are copied byte for byte; the value of the _id always stays, and it stays first. (An
 * update that names the _id with another type of number, 1.0 for 1, changes its bytes; so does the
 * server.) Re-applying an update to its own result changes nothing.
 */
#ifndef PITR_OPLOG_UPDATE_H
#define PITR_OPLOG_UPDATE_H

#include <stdbool.h>

#include "base/buf.h"

enum update_kind { UPDATE_REPLACE, UPDATE_DELTA, UPDATE_MODIFIERS };

/*
 * How `$v: 1` orders the new fields it appends: a property of the server binary that applies the
 * entry. FIELD_ORDER_BYTES is 4.4 ("10" < "9" < "a"); FIELD_ORDER_NUMERIC is 5.0 and later
 * (as bytes too, but names that start with a digit and have no leading zero go by length first:
 * "9" < "10" < "a").
 */
enum update_field_order { FIELD_ORDER_BYTES, FIELD_ORDER_NUMERIC };

/* Which kind of update `o` is. Fails: CORRUPT when it is none of the known kinds. */
PITR_MUST enum pitr_rc update_classify(const uint8_t *o, size_t len, enum update_kind *kind,
                                       struct pitr_err *err);

/*
 * Append to `out` the document that results from applying `o` to `pre`. `pre` must be a document
 * with an _id, and neither it nor `o` may lie in `out`. `strict` makes anomalies that only a fuzzy
 * window explains (a binary diff beyond the end of its target) an error. On failure `out` keeps its
 * old length. Fails: CORRUPT (malformed update, or it would change the _id), NOMEM.
 */
PITR_MUST enum pitr_rc update_apply(struct buf *out, const uint8_t *pre, size_t pre_len,
                                    const uint8_t *o, size_t o_len, enum update_field_order order,
                                    bool strict, struct pitr_err *err);

#endif
