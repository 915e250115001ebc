/*
 * load.h - the target of a restore: survey, drop, create, bulk insert, index, read back.
 *
 * The server's insert path is the limit of a restore, so it is kept full: documents travel in
 * unordered batches over several connections (capped collections: one ordered stream, so that
 * natural order is kept), without validation (the documents were legal where they came from), with
 * write concern w:1. Indexes come after the documents, one createIndexes command per collection,
 * several collections at once. Durability and majority commit are waited for once, at the end:
 * load_barrier().
 *
 * TTL would eat restored documents while they are being verified: TTL indexes, and
 * expireAfterSeconds of clustered and time-series collections, are left out at first and added by
 * load_finish_ttl().
 *
 * Names here are the target's (after renames). Time-series collections appear as their
 * system.buckets.<name> collection and are created through the user-visible name; views come from
 * the documents of system.views, which is never loaded as a collection.
 */
#ifndef PITR_ENGINE_LOAD_H
#define PITR_ENGINE_LOAD_H

#include "base/buf.h"
#include "base/fingerprint.h"
#include "base/fs.h"
#include "base/job.h"
#include "mongo/conn.h"

/* One collection to make. Borrowed by the loader for its life. */
struct load_coll {
    char *db, *name;    /* owned by whoever owns the struct */
    struct buf options; /* BSON, as listCollections gives them */
    struct buf indexes; /* BSON array of specs, _id_ included */
    /* What is going to be loaded; looked at for capped collections. */
    uint64_t documents, bytes;
};
bool load_is_capped(const struct load_coll *c);
/* Whether a server would evict documents from `c` if it held so many, of so many bytes. */
bool load_evicts(const struct load_coll *c, uint64_t documents, uint64_t bytes);
bool load_is_buckets(const struct load_coll *c);

struct target;

/*
 * Connect and inspect; refuses mongos, shards, config servers, and members that are not primary
 * (DB_LOST). A standalone target is fine. Borrows `m` and `job`. `m` should allow one connection
 * more than `connections` (0: chosen here) per thread that loads capped collections, and be opened
 * with a socket timeout as long as the longest index build.
 *
 * What is done for the target looks at job->stop and advances the job's documents and bytes: when
 * inserted, when indexed (documents only), when read back. Phases are the caller's to enter.
 */
PITR_MUST enum pitr_rc target_open(struct target **out, struct mongo *m, struct job *job,
                                   unsigned connections, struct pitr_err *err);
void target_free(struct target *t);
void target_freep(struct target **t);
const struct server_info *target_server(const struct target *t);
/* The reply to connectionStatus with showPrivileges, the caller's to destroy. */
PITR_MUST enum pitr_rc target_privileges(struct target *t, bson_t *reply, struct pitr_err *err);
/* Whether load_narrow() is possible; without it, a capped collection cannot be loaded with more
 * than its limits allow. */
bool target_can_narrow(const struct target *t);

/* Every user namespace on the target ("db.coll": collections, views, time-series by their visible
 * name; without local, config and system collections, but admin's own user collections are
 * included, and so is system.js when it holds anything), sorted. */
PITR_MUST enum pitr_rc target_namespaces(struct target *t, struct fs_names *out,
                                         struct pitr_err *err);
/* Drop one namespace of the above (any kind); missing is fine. system.js, which a server does not
 * drop, is emptied. A database in which nothing is left goes with its last namespace. */
PITR_MUST enum pitr_rc target_drop(struct target *t, const char *ns, struct pitr_err *err);

/* Empty, without secondary indexes and TTL parts. A collection that is there already is an error
 * (DB), except an empty system.js. */
PITR_MUST enum pitr_rc target_create(struct target *t, const struct load_coll *c,
                                     struct pitr_err *err);

/* A batch under construction: whole documents end to end. */
struct load_batch;
struct loader; /* insert threads with a bounded queue of batches */
PITR_MUST enum pitr_rc loader_new(struct loader **out, struct target *t, struct pitr_err *err);
void loader_free(struct loader *l); /* aborts unless finished */
void loader_freep(struct loader **l);
/*
 * Append a document of `c` to *batch (NULL: a new one is taken; blocks while all are in flight);
 * when the batch is full it is sent and *batch becomes NULL. A batch belongs to one collection and
 * one thread; a thread may hold several. For capped collections the caller uses one thread, which
 * also does the inserting, in order. Documents go in byte for byte, those included that the server
 * would otherwise change (empty timestamps). Fails with the first insert error of any thread; then
 * *batch, if not NULL, is still the caller's to discard.
 */
PITR_MUST enum pitr_rc loader_add(struct loader *l, const struct load_coll *c,
                                  struct load_batch **batch, const uint8_t *doc, size_t len,
                                  struct pitr_err *err);
/* Send what *batch holds. */
PITR_MUST enum pitr_rc loader_flush(struct loader *l, struct load_batch **batch,
                                    struct pitr_err *err);
/* Drop a batch that will not be sent (error paths). */
void loader_discard(struct loader *l, struct load_batch **batch);
/* Wait until everything sent is inserted. After it, only loader_free(). */
PITR_MUST enum pitr_rc loader_finish(struct loader *l, struct pitr_err *err);

/* Build the non-TTL indexes of all collections, several collections at once. */
PITR_MUST enum pitr_rc load_indexes(struct target *t, const struct load_coll *const *colls,
                                    size_t n, struct pitr_err *err);
/*
 * A capped collection may hold more than its limits allow: the moment lies between an insert and
 * the eviction that follows it, or the limits were lowered. It is made with room for all of it, and
 * gets its limits here, after the documents.
 */
PITR_MUST enum pitr_rc load_narrow(struct target *t, const struct load_coll *const *colls, size_t n,
                                   struct pitr_err *err);
/* Everything written so far is majority-committed (replica set) or flushed (standalone). */
PITR_MUST enum pitr_rc load_barrier(struct target *t, struct pitr_err *err);

struct load_expect {
    const struct load_coll *coll;
    struct fingerprint print; /* what replay computed */
};
/*
 * Read every collection back and compare count and fingerprint, and options and indexes with what
 * was asked for (TTL parts aside). `report` is called per difference, and all are looked at. Fails:
 * CORRUPT when anything differs, DB.
 */
PITR_MUST enum pitr_rc load_verify(struct target *t, const struct load_expect *expect, size_t n,
                                   void (*report)(void *arg, const char *what), void *arg,
                                   struct pitr_err *err);
/* Add TTL indexes and expireAfterSeconds options. */
PITR_MUST enum pitr_rc load_finish_ttl(struct target *t, const struct load_coll *const *colls,
                                       size_t n, struct pitr_err *err);

/* Create views from system.views documents of database `db` (concatenated BSON), underlying views
 * first. Documents that describe time-series collections are skipped: target_create() made those.
 */
PITR_MUST enum pitr_rc load_views(struct target *t, const char *db, const struct buf *docs,
                                  struct pitr_err *err);
/*
 * Make admin.system.users and roles what the given documents say (concatenated BSON), with `exact`
 * also removing others; the user this connection is authenticated as is kept, with a warning, when
 * the documents lack it, and otherwise keeps its userId, without which the connection would lose
 * its rights at once.
 */
PITR_MUST enum pitr_rc load_users(struct target *t, const struct buf *users,
                                  const struct buf *roles, bool exact, struct pitr_err *err);

#endif
