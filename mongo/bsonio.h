/*
 * bsonio.h - length-checked reading of raw BSON, without copies.
 *
 * The bytes of a document are kept exactly as the server sent them, so this
 * module hands out pointers into them. bson_check() walks the envelope of a
 * whole document once, iteratively (no recursion as deep as the input); after
 * it has passed, biter_next() on that document and on its sub-documents cannot
 * run out of bounds. biter_next() checks every length anyway: a caller that
 * skipped bson_check() gets CORRUPT, never a wild read.
 *
 * BSON 1.1 (bsonspec.org). Strings are length-prefixed and may hold NUL; names
 * are NUL-terminated. All types of the specification are accepted, deprecated
 * ones included.
 */
#ifndef PITR_MONGO_BSONIO_H
#define PITR_MONGO_BSONIO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum bson_kind {
    BSON_EOD = 0x00,
    BSON_DOUBLE = 0x01,
    BSON_STRING = 0x02,
    BSON_DOC = 0x03,
    BSON_ARRAY = 0x04,
    BSON_BIN = 0x05,
    BSON_UNDEF = 0x06,
    BSON_ID = 0x07,
    BSON_BOOLEAN = 0x08,
    BSON_DATE = 0x09,
    BSON_NIL = 0x0a,
    BSON_REGEXP = 0x0b,
    BSON_DBPTR = 0x0c,
    BSON_JSCODE = 0x0d,
    BSON_SYM = 0x0e,
    BSON_JSSCOPE = 0x0f,
    BSON_INT = 0x10,
    BSON_TS = 0x11,
    BSON_LONG = 0x12,
    BSON_DEC128 = 0x13,
    BSON_MAX = 0x7f,
    BSON_MIN = 0xff,
};

/* Nesting the server itself allows, with room to spare; deeper input is CORRUPT. */
#define BSON_MAX_DEPTH 250

/* One element of a document; pointers into the document, valid as long as it is. */
struct belem {
    uint8_t type;         /* enum bson_kind */
    const uint8_t *start; /* type byte: [start, end) is the whole element */
    const char *name;     /* NUL-terminated */
    size_t name_len;      /* without the NUL */
    const uint8_t *value; /* first byte after the name's NUL */
    size_t value_len;
    const uint8_t *end;
};

/* A cursor over the elements of one document or array. */
struct biter {
    const uint8_t *at, *end; /* end: the document's closing NUL */
};

/* Check the whole envelope of the document in data[0..len): lengths, terminators, known types,
 * nesting. Fails: CORRUPT. */
PITR_MUST enum pitr_rc bson_check(const uint8_t *data, size_t len, struct pitr_err *err);

/* Length field of the document at `doc` (its first four bytes). */
size_t bson_len(const uint8_t *doc);

/* Start over the document doc[0..len); len must equal its length field and doc[len-1] be NUL.
 * Fails: CORRUPT. */
PITR_MUST enum pitr_rc biter_init(struct biter *it, const uint8_t *doc, size_t len,
                                  struct pitr_err *err);

/* Next element into *e; e->type is BSON_EOD after the last one. Fails: CORRUPT. */
PITR_MUST enum pitr_rc biter_next(struct biter *it, struct belem *e, struct pitr_err *err);

/* First top-level element called `name` into *e; *found false if there is none. Fails: CORRUPT. */
PITR_MUST enum pitr_rc bson_find(const uint8_t *doc, size_t len, const char *name, bool *found,
                                 struct belem *e, struct pitr_err *err);

/* True if the element's name is exactly `name`. */
bool belem_is(const struct belem *e, const char *name);

/* int32, int64 or an integral double as int64; false for anything else. */
bool belem_int64(const struct belem *e, int64_t *out);

/* BSON truth: bool true, any non-zero number; everything else false. */
bool belem_truthy(const struct belem *e);

/* The bytes of a UTF-8 string without its closing NUL; false if it is not a string. */
bool belem_string(const struct belem *e, const char **text, size_t *len);

/* The 16 bytes of a UUID (binary subtype 4); false for anything else. */
bool belem_uuid(const struct belem *e, const uint8_t **uuid);

#endif
