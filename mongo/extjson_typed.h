/*
 * extjson_typed.h - typed values of Extended JSON: {"$oid": "..."} and its kind.
 *
 * The parser reads every object as a document first; this turns it into the value it stands for.
 */
#ifndef PITR_MONGO_EXTJSON_TYPED_H
#define PITR_MONGO_EXTJSON_TYPED_H

#include "base/buf.h"

/* The document from `at` to the end of `out` has its element's type byte at type_at. If it stands
 * for a typed value, type and bytes are replaced; otherwise nothing changes. Fails: NOMEM. */
PITR_MUST enum pitr_rc extjson_fold(struct buf *out, size_t type_at, size_t at,
                                    struct pitr_err *err);

#endif
