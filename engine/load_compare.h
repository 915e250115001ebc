/*
 * load_compare.h - is the catalog of the target what was asked for?
 *
 * Pure: BSON in, sentences out. It calls equal what servers rewrite without changing the meaning
 * (number types, the rounded size of a capped collection, options spelled out as their default) and
 * nothing else. TTL parts are left aside: they are added after the comparison. The order of options
 * and of indexes does not matter; inside of values, and so in an index key, it does.
 */
#ifndef PITR_ENGINE_LOAD_COMPARE_H
#define PITR_ENGINE_LOAD_COMPARE_H

#include "engine/load.h"
#include "mongo/bsonio.h"

/* Told every difference as a sentence without the namespace: "index a_1 is missing". */
struct difference_sink {
    void (*tell)(void *arg, const char *what);
    void *arg;
};

/* `actual`: options as listCollections gives them for c->name. Fails: CORRUPT (malformed), NOMEM.
 */
PITR_MUST enum pitr_rc load_compare_options(const struct load_coll *c, const struct buf *actual,
                                            const struct difference_sink *sink,
                                            struct pitr_err *err);
/* `actual`: BSON array of specs, as listIndexes gives them for load_index_target(). */
PITR_MUST enum pitr_rc load_compare_indexes(const struct load_coll *c, const struct buf *actual,
                                            const struct difference_sink *sink,
                                            struct pitr_err *err);

/* Two specs of the index `name`, TTL parts included. */
PITR_MUST enum pitr_rc load_compare_index(const struct load_coll *c, const char *name,
                                          const struct belem *expected, const struct belem *actual,
                                          const struct difference_sink *sink, struct pitr_err *err);

#endif
