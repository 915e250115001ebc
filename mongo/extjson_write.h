/*
 * extjson_write.h - BSON to MongoDB Extended JSON (version 2), compact, on one line.
 *
 * Canonical form keeps every type: what is written, extjson_parse() reads back to the same bytes.
 * Relaxed form is for people: plain numbers, dates of the years 1970 to 9999 as text. The output is
 * always valid JSON, and safe on a terminal: control characters (C1 too) and those that change the
 * direction of text are escaped, NULs kept as \u0000. Bytes that are no UTF-8 become U+FFFD: the
 * one loss.
 */
#ifndef PITR_MONGO_EXTJSON_WRITE_H
#define PITR_MONGO_EXTJSON_WRITE_H

#include "base/buf.h"
#include "mongo/bsonio.h"

enum extjson_form { EXTJSON_CANONICAL, EXTJSON_RELAXED };

/* `most`: stop after about that many bytes were appended, wherever that is (the caller sees it by
 * the length, and cuts); 0: never. Fails: CORRUPT (also nested deeper than BSON_MAX_DEPTH), NOMEM.
 */
PITR_MUST enum pitr_rc extjson_write_doc(struct buf *out, const uint8_t *doc, size_t len,
                                         enum extjson_form form, size_t most, struct pitr_err *err);
/* The value of one element, without its name. */
PITR_MUST enum pitr_rc extjson_write_value(struct buf *out, const struct belem *e,
                                           enum extjson_form form, size_t most,
                                           struct pitr_err *err);
/* A string escaped as above, without quotes around it. */
PITR_MUST enum pitr_rc extjson_write_chars(struct buf *out, const char *text, size_t len,
                                           struct pitr_err *err);

#endif
