/*
 * export_metadata.h - metadata.json as mongodump writes it: canonical extended JSON of
 *
 *     {options, indexes, uuid, collectionName, type}
 *
 * Options and indexes are those users see. Left out is what no create command takes and no dump
 * has: temp, uuid, idIndex; for time-series collections, what the server derives (validator,
 * clusteredIndex); of index specs, what belongs to an unfinished build.
 */
#ifndef PITR_ENGINE_EXPORT_METADATA_H
#define PITR_ENGINE_EXPORT_METADATA_H

#include "engine/state.h"

/* Append the text. The text is read back, and must give the same bytes. Fails: USAGE when it does
 * not (no JSON has this value), CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc export_collection_json(struct buf *out, const struct state_coll *c,
                                              struct pitr_err *err);
/* Of a view, from its document in system.views; `name` is without the database. */
PITR_MUST enum pitr_rc export_view_json(struct buf *out, const char *name, const uint8_t *doc,
                                        size_t len, struct pitr_err *err);

#endif
