/*
 * diff_fields.h - which fields of a document changed. Pure.
 *
 * Fields are compared by name, sub-documents and arrays inside of them down to the values that
 * differ. Elements of arrays are compared by position. The order of fields does not count here, and
 * the same number in another type is a change.
 */
#ifndef PITR_ENGINE_DIFF_FIELDS_H
#define PITR_ENGINE_DIFF_FIELDS_H

#include "base/buf.h"
#include "mongo/bsonio.h"

struct field_change {
    const char *path;           /* "o.items.2.v"; valid during the call */
    const struct belem *before; /* NULL: added */
    const struct belem *after;  /* NULL: removed */
};

/* *stop ends the comparison without error. */
typedef enum pitr_rc field_visit(void *arg, const struct field_change *c, bool *stop,
                                 struct pitr_err *err);
/* Changed and removed fields in the order of `before`, at each level followed by what was added in
 * the order of `after`. Fails: CORRUPT, NOMEM, what visit returns. */
PITR_MUST enum pitr_rc diff_fields(const uint8_t *before, size_t before_len, const uint8_t *after,
                                   size_t after_len, field_visit *visit, void *arg,
                                   struct pitr_err *err);

#endif
