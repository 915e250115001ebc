/*
 * doc_id.h - an _id as people write it on the command line.
 *
 *     {...}, [...], "..."               Extended JSON, as {"$oid": "..."} or {"a": 1} or "text"
 *     42, -1.5, 1e3, true, false, null  JSON too
 *     24 hexadecimal digits             an ObjectId
 *     anything else                     a string, as it stands
 *
 * What JSON does not take for a number is none: 007 and 2026-11-23 are strings. A string that looks
 * like one of the other forms needs its quotes: '"42"'.
 */
#ifndef PITR_CLI_DOC_ID_H
#define PITR_CLI_DOC_ID_H

#include "base/buf.h"

/* Append the canonical key (oplog/docid.h) of the _id that `text` stands for. Fails: USAGE, when it
 * begins like JSON and is none, or is nothing a server takes for an _id; NOMEM. */
PITR_MUST enum pitr_rc doc_id_parse(struct buf *key, const char *text, struct pitr_err *err);

#endif
