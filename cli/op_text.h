/*
 * op_text.h - what an operation did, in a line for people.
 *
 *     insert, command   the document, in relaxed Extended JSON
 *     update            set a.b = 5, unset c, add d = {...}, set list[3] = 7, resize list to 4
 *     replacement       replaced by {...}
 *     delete            nothing: its _id says all
 *
 * Values, documents and lists of changes are cut, with the size of the whole. Nothing of it makes a
 * terminal do anything: see mongo/extjson_write.h.
 */
#ifndef PITR_CLI_OP_TEXT_H
#define PITR_CLI_OP_TEXT_H

#include "base/buf.h"
#include "oplog/entry.h"

enum { OP_TEXT_VALUE_MAX = 200, OP_TEXT_CHANGES_MAX = 20 };

/* Fails: CORRUPT (the entry's bytes are no BSON), NOMEM. */
PITR_MUST enum pitr_rc op_text(struct buf *out, const struct oplog_entry *e, struct pitr_err *err);

/* A document or a value, cut. */
PITR_MUST enum pitr_rc op_text_doc(struct buf *out, const uint8_t *doc, size_t len,
                                   struct pitr_err *err);
PITR_MUST enum pitr_rc op_text_value(struct buf *out, const struct belem *e, struct pitr_err *err);

#endif
