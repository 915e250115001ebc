/*
 * extjson.h - MongoDB Extended JSON to BSON, for the metadata files of mongodump.
 *
 * Reads version 2, canonical and relaxed, and the older forms that cannot be mistaken for something
 * else. An object is a typed value only if it has exactly the keys of one, with values of the right
 * kind: {"$type": "string"}, {"$regex": "^a"} or {"$date": "$x"} in a pipeline or a validator stay
 * what they are. Key order, duplicate keys, empty keys and dots are kept. Plain integers become
 * int32 or int64 by size, other numbers doubles.
 */
#ifndef PITR_MONGO_EXTJSON_H
#define PITR_MONGO_EXTJSON_H

#include "base/buf.h"

/* Append the BSON document that text[0..len), one JSON object, describes. Fails: CORRUPT, the
 * message naming the position; NOMEM. */
PITR_MUST enum pitr_rc extjson_parse(struct buf *out, const char *text, size_t len,
                                     struct pitr_err *err);
/* The same for any one JSON value: the document has one element, without a name, that is it. */
PITR_MUST enum pitr_rc extjson_parse_value(struct buf *out, const char *text, size_t len,
                                           struct pitr_err *err);

#endif
