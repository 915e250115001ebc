/*
 * docid.h - the canonical form of an _id, for maps keyed on it.
 *
 * Two _id values that the server treats as equal get the same key bytes: numbers compare by value
 * whatever their type (int32 1 = int64 1 = double 1.0 = decimal 1.0, -0.0 = 0, all NaNs equal),
 * recursively inside sub-documents and arrays; every other value keeps its type and bytes. Symbol
 * and string are the same class to the server and give the same key. Collation of the collection is
 * not applied here: the oplog names documents by the _id bytes as stored.
 */
#ifndef PITR_OPLOG_DOCID_H
#define PITR_OPLOG_DOCID_H

#include "base/buf.h"
#include "mongo/bsonio.h"

/* Append the key of `id` (an element, its name ignored) to `out`. Fails: CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc docid_append(struct buf *out, const struct belem *id, struct pitr_err *err);

#endif
