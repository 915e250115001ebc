/*
 * doc_source.h - where a snapshot's collections come from: a mongod, or an array in a test.
 *
 * One catalog, then one cursor per collection; cursors of different collections may be used by
 * different threads at once, one cursor by one thread.
 */
#ifndef PITR_ENGINE_DOC_SOURCE_H
#define PITR_ENGINE_DOC_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct source_coll {
    char *db, *name; /* owned by the list */
    uint8_t uuid[16];
    struct buf options;        /* BSON as listCollections gives it */
    struct buf indexes;        /* BSON "0","1",...: finished index specs only; the "index" that a
                                  clustered collection shows for its own order is left out */
    uint64_t documents, bytes; /* estimates, for progress and order of work; 0: unknown */
};
struct source_list {
    struct source_coll *at;
    size_t len, cap;
};
void source_coll_release(struct source_coll *c);
void source_list_release(struct source_list *list);
/* Append *c, which the list then owns; *c is left empty. */
PITR_MUST enum pitr_rc source_list_take(struct source_list *list, struct source_coll *c,
                                        struct pitr_err *err);

struct doc_source;
struct doc_cursor;

struct doc_source_ops {
    /* All collections that can be backed up (system.views, system.js, time-series buckets,
     * admin.system.users and roles included; views themselves, local, config, system.profile not).
     */
    enum pitr_rc (*list)(struct doc_source *s, struct source_list *out, struct pitr_err *err);
    /* NOTFOUND: the collection is gone, or another one has its name. */
    enum pitr_rc (*open)(struct doc_source *s, const struct source_coll *coll,
                         struct doc_cursor **out, struct pitr_err *err);
    /* Next document, valid until the next call; *doc NULL at the end. NOTFOUND: dropped, renamed or
     * (capped) overrun under the cursor: look again with locate(). */
    enum pitr_rc (*next)(struct doc_cursor *c, const uint8_t **doc, size_t *len,
                         struct pitr_err *err);
    void (*close)(struct doc_cursor *c);
    /* After a scan: what was read was the collection `coll`, not another that bore its name for a
     * while. NOTFOUND: this cannot be said; locate() and scan again. */
    enum pitr_rc (*confirm)(struct doc_source *s, const struct source_coll *coll,
                            struct pitr_err *err);
    /* Where the collection with this UUID is now: its catalog entry, or *found false. Reads the
     * catalog anew. *out is the caller's to release if found. */
    enum pitr_rc (*locate)(struct doc_source *s, const uint8_t uuid[16], struct source_coll *out,
                           bool *found, struct pitr_err *err);
    void (*free)(struct doc_source *s);
};
struct doc_source {
    const struct doc_source_ops *ops;
};
struct doc_cursor {
    struct doc_source *source;
};

struct mongo;
/*
 * Collections of a server, in natural order, read concern majority (local on a standalone), after
 * cluster time `after_ts` (0: none). The client memory a cursor needs is bounded by a batch size
 * chosen from the average document.
 *
 * The catalog cannot be read with read concern majority, so list() and locate() read it as it is
 * and return once what they read is majority-committed in the term it was read in; an election in
 * between makes them read again. Documents are read no earlier than that catalog, so a name means
 * the same collection in both. `fcv` is the server's featureCompatibilityVersion, "" if it is not
 * known. Borrows `m`. Fails: DB, DB_LOST, NOMEM.
 */
PITR_MUST enum pitr_rc doc_source_mongo_new(struct doc_source **out, struct mongo *m,
                                            const char *fcv, bool standalone, uint64_t after_ts,
                                            struct pitr_err *err);
/* Highest operationTime the server has given to a read of this source: data read is not newer. 0 on
 * a standalone. */
uint64_t doc_source_mongo_read_ts(struct doc_source *s);

#endif
