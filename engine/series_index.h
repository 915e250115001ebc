/*
 * series_index.h - index specs of a time-series collection, from the form they are stored in to the
 * one users see. Pure.
 *
 *     stored, on system.buckets.<name>             as users see it, on <name>
 *     meta, meta.x                                 the metaField, metaField.x
 *     control.min.f: 1, control.max.f: 1           f: 1
 *     control.max.f: -1, control.min.f: -1         f: -1
 *     data.f: "2dsphere_bucket"                    f: "2dsphere"
 *
 * Servers keep the spec as users gave it, in originalSpec, where this table does not lead back.
 * What comes of a 2dsphere index always has its 2dsphereIndexVersion, which mongorestore needs.
 */
#ifndef PITR_ENGINE_SERIES_INDEX_H
#define PITR_ENGINE_SERIES_INDEX_H

#include "base/buf.h"

/* Append the array of specs. `options`: of the collection, for its metaField. A list that is in
 * users' form already, as in a mongodump directory, is copied. Fails: CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc series_indexes(struct buf *out, const struct buf *options,
                                      const struct buf *stored, struct pitr_err *err);

#endif
