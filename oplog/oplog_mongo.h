/*
 * oplog_mongo.h - the oplog_source of a real server: a tailable cursor on local.oplog.rs.
 *
 * Read concern majority, awaitData. Tailable cursors stop before holes, so no entry appears behind
 * one that is still to come. Its client is taken from the pool for the source's life. A read stays
 * on the node that seek() chose (by the URI's read preference), so that what bounds() says is about
 * the same oplog.
 *
 * Memory: the server fills a reply with up to 16 MiB, whatever fits the number of entries asked
 * for; the number is adapted so that a reply holds about 512 KiB.
 */
#ifndef PITR_OPLOG_OPLOG_MONGO_H
#define PITR_OPLOG_OPLOG_MONGO_H

#include "mongo/conn.h"
#include "oplog/oplog_source.h"

/* Borrows `m`. Fails: DB, DB_LOST, NOMEM. */
PITR_MUST enum pitr_rc oplog_mongo_new(struct oplog_source **out, struct mongo *m,
                                       struct pitr_err *err);

#endif
