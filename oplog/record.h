/*
 * record.h - the small BSON records of this folder: heads and feet of segments, gap records.
 *
 * Written with libbson, read with bsonio. Readers look fields up by name and ignore those they do
 * not know; a field that is missing or of another type than pitr writes is CORRUPT, by name.
 */
#ifndef PITR_OPLOG_RECORD_H
#define PITR_OPLOG_RECORD_H

#include <bson/bson.h>

#include "base/buf.h"
#include "mongo/bsonio.h"
#include "oplog/optime.h"

/* {ts: Timestamp, t: int64} under `name`. False when the record would be too long for BSON. */
PITR_MUST bool record_append_optime(bson_t *b, const char *name, const struct optime *at);
PITR_MUST bool record_append_bytes(bson_t *b, const char *name, const uint8_t *data, size_t len);

PITR_MUST enum pitr_rc record_optime(const struct buf *rec, const char *name, struct optime *out,
                                     struct pitr_err *err);
PITR_MUST enum pitr_rc record_int64(const struct buf *rec, const char *name, int64_t *out,
                                    struct pitr_err *err);
/* As record_int64(); a negative number is CORRUPT. */
PITR_MUST enum pitr_rc record_count(const struct buf *rec, const char *name, uint64_t *out,
                                    struct pitr_err *err);
PITR_MUST enum pitr_rc record_date(const struct buf *rec, const char *name, int64_t *ms,
                                   struct pitr_err *err);
/* Exactly `len` bytes of binary subtype 0. */
PITR_MUST enum pitr_rc record_bytes(const struct buf *rec, const char *name, uint8_t *out,
                                    size_t len, struct pitr_err *err);
/* A string, cut to what `size` holds with its NUL. */
PITR_MUST enum pitr_rc record_text(const struct buf *rec, const char *name, char *out, size_t size,
                                   struct pitr_err *err);

#endif
