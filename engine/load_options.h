/*
 * load_options.h - what of a catalog entry is asked of the server, and when.
 *
 * Pure: bytes in, bytes out. A catalog entry is the options of listCollections and the index specs
 * of listIndexes. It is asked for in three parts: the create command; the secondary indexes after
 * the documents; and last the TTL part: TTL indexes, and expireAfterSeconds of clustered and
 * time-series collections.
 *
 * A time-series collection is made through the name users see, and its index specs come in one of
 * two forms: as stored, about buckets (control.min.t, meta.sensor), made on system.buckets.<name>;
 * or as users see them, about measurements (t, m.sensor), made on <name>. Repositories hold the
 * first form, mongodump directories the second.
 */
#ifndef PITR_ENGINE_LOAD_OPTIONS_H
#define PITR_ENGINE_LOAD_OPTIONS_H

#include "engine/load.h"
#include "mongo/bsonio.h"

/* The time-series collection of buckets, c->name of anything else. */
const char *load_visible_name(const struct load_coll *c);
/* The name that createIndexes and listIndexes are given. */
PITR_MUST enum pitr_rc load_index_target(const struct load_coll *c, const char **name,
                                         struct pitr_err *err);

/* Append the create command. Left out: the TTL part; what describes a state (temp); what create
 * refuses (uuid, recordIdsReplicated, autoIndexId); for buckets, what the server derives
 * (validator, clusteredIndex). */
PITR_MUST enum pitr_rc load_create_command(struct buf *out, const struct load_coll *c,
                                           struct pitr_err *err);

/*
 * A capped collection that is clustered too: convertToCapped makes it, create refuses it. The
 * create command then leaves the limits out, and this one follows while the collection is empty.
 */
bool load_wants_conversion(const struct load_coll *c);
PITR_MUST enum pitr_rc load_convert_command(struct buf *out, const struct load_coll *c,
                                            struct pitr_err *err);
/* Append the limit `option` of a capped collection that must be wider while it is loaded; *made is
 * false, and nothing is appended, if the option stands as it is. */
PITR_MUST enum pitr_rc load_room(struct buf *out, const struct load_coll *c, const char *option,
                                 bool *made, struct pitr_err *err);

/* expireAfterSeconds of a clustered or time-series collection. */
PITR_MUST enum pitr_rc load_ttl_option(const struct load_coll *c, bool *found, struct belem *value,
                                       struct pitr_err *err);

enum index_due {
    INDEX_BY_CREATE, /* _id_, and the key of a clustered collection */
    INDEX_NOW,       /* after the documents */
    INDEX_LAST,      /* TTL */
};
PITR_MUST enum pitr_rc index_due(enum index_due *out, const struct belem *spec,
                                 struct pitr_err *err);

/*
 * Append a createIndexes command for the specs of `c` that are due then; *count is their number,
 * and if it is 0 nothing is appended. A spec without a collation on a collection that has one asks
 * for the simple collation, or it would inherit. Fields of old servers and of unfinished builds are
 * left out, options that the target does not know are ignored by it.
 */
PITR_MUST enum pitr_rc load_index_command(struct buf *out, const struct load_coll *c,
                                          enum index_due due, size_t *count, struct pitr_err *err);

/* A top-level field of options; *found is false also when there are none at all (an empty buf). */
PITR_MUST enum pitr_rc options_find(const struct buf *doc, const char *name, bool *found,
                                    struct belem *e, struct pitr_err *err);

#endif
