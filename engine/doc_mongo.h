/*
 * doc_mongo.h - the doc_source of a server, between its two files: cursors and catalog.
 */
#ifndef PITR_ENGINE_DOC_MONGO_H
#define PITR_ENGINE_DOC_MONGO_H

#include <stdatomic.h>

#include "base/buf.h"
#include "engine/doc_source.h"
#include "mongo/conn.h"

struct doc_mongo {
    struct doc_source base;
    struct mongo *mongo;
    bool standalone;
    bool knows_uuid;                 /* find checks that name and UUID belong together */
    atomic_uint_fast64_t read_ts;    /* highest operationTime seen */
    atomic_uint_fast64_t catalog_ts; /* documents are read no earlier than this */
};

/* A causally consistent session that starts after `after_ts`; *out NULL on a standalone. */
PITR_MUST enum pitr_rc doc_mongo_session(struct doc_mongo *s, struct conn *conn, uint64_t after_ts,
                                         mongoc_client_session_t **out, struct pitr_err *err);
/* Take note of the session's operation time; NULL is fine. */
void doc_mongo_saw(struct doc_mongo *s, const mongoc_client_session_t *session);
/* As conn_fail(), with NOTFOUND for what means that a collection went away. */
enum pitr_rc doc_mongo_fail(struct conn *conn, const bson_error_t *cause, const bson_t *reply,
                            const char *what, struct pitr_err *err);

enum pitr_rc doc_mongo_list(struct doc_source *base, struct source_list *out, struct pitr_err *err);
enum pitr_rc doc_mongo_locate(struct doc_source *base, const uint8_t uuid[16],
                              struct source_coll *out, bool *found, struct pitr_err *err);
/*
 * Append what the catalog says of the views of `db`, as documents of its system.views: the built-in
 * role backup may list views, but not read that collection. Settled like all of the catalog. Of a
 * time-series collection's view only the name and what it is on are right, which is all that is
 * ever looked at.
 */
PITR_MUST enum pitr_rc doc_mongo_views(struct doc_mongo *s, const char *db, struct buf *docs,
                                       struct pitr_err *err);
enum pitr_rc doc_mongo_confirm(struct doc_source *base, const struct source_coll *coll,
                               struct pitr_err *err);

#endif
