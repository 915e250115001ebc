/*
 * conn.h - connections to MongoDB, over libmongoc.
 *
 * A struct mongo is a pool on one URI; a struct conn is one client taken from it for one thread.
 * The clients are libmongoc's single-threaded ones, kept for reuse: libmongoc's own pool watches
 * the topology with threads that need half a second to stop, which is longer than most commands
 * take. Errors of libmongoc become ours: unreachable, authentication, not primary and network
 * errors, each with a sentence that says what to do. URIs are printed without their password.
 */
#ifndef PITR_MONGO_CONN_H
#define PITR_MONGO_CONN_H

#include <mongoc/mongoc.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

struct mongo;
struct conn;

/*
 * Once per process, by main: libmongoc's own start and end, and its log turned off, as it would
 * print on stderr what is also returned as an error.
 */
void mongo_init(void);
void mongo_cleanup(void);

struct mongo_opts {
    const char *uri;
    unsigned max_conns; /* 0: libmongoc's default */
    int64_t select_ms;  /* server selection timeout unless the URI sets one; 0: 10,000 */
    int64_t
        socket_ms; /* longest wait for one answer unless the URI sets it; 0: libmongoc's 5 min */
    bool primary_only;     /* read from the primary, whatever read preference the URI names */
    const struct log *log; /* may be NULL */
};

/*
 * Parse the URI; no I/O unless the URI names a single host of a replica set
 * without replicaSet and without directConnection: then the set is discovered, so that an election
 * is survived, and used directly (with a warning) if its members cannot be reached by the names
 * they give. Fails: USAGE (bad URI), DB, DB_LOST.
 */
PITR_MUST enum pitr_rc mongo_open(struct mongo **out, const struct mongo_opts *opts,
                                  struct pitr_err *err);
void mongo_free(struct mongo *m);
void mongo_freep(struct mongo **m);
const char *mongo_uri_safe(const struct mongo *m); /* for messages: user and password left out */

/* Take and give back a client. Not shared between threads while taken. */
PITR_MUST enum pitr_rc conn_take(struct conn **out, struct mongo *m, struct pitr_err *err);
void conn_give(struct conn *c); /* NULL does nothing */
void conn_givep(struct conn **c);
mongoc_client_t *conn_client(struct conn *c);

/* Turn a failure of libmongoc into ours; `reply` (may be NULL) is searched for labels. `what` names
 * the operation ("find shop.orders"). Returns err->rc: DB_LOST for what a retry can cure, DB
 * otherwise. The message is one line, and names the URI, or the user, where that is what the reader
 * has to look at. */
enum pitr_rc conn_fail(struct conn *c, const bson_error_t *cause, const bson_t *reply,
                       const char *what, struct pitr_err *err);

enum server_kind {
    SERVER_STANDALONE,
    SERVER_REPLICA, /* member of a plain replica set */
    SERVER_MONGOS,
    SERVER_SHARD,  /* member of a shard */
    SERVER_CONFIG, /* member of a config server set */
};

struct server_info {
    enum server_kind kind;
    int major, minor, patch;
    char version[32];
    char fcv[16];            /* featureCompatibilityVersion, "" when it cannot be read */
    char host[272];          /* as the server names itself, or the seed */
    char set_name[128];      /* "" for a standalone */
    char replica_set_id[25]; /* hex of settings.replicaSetId, "" for a standalone */
    bool is_primary;
    uint64_t majority_ts; /* lastWrite.majorityOpTime; 0 for a standalone */
    int64_t majority_term;
};

/* Ask the server what it is. Fails: DB, DB_LOST. */
PITR_MUST enum pitr_rc server_inspect(struct conn *c, struct server_info *out,
                                      struct pitr_err *err);
/* Refuse what pitr does not support, with the reason: mongos, shards, config servers, versions
 * before 4.4 and after 8.x; and, if `need_oplog`, a standalone, with the sentence that says how to
 * make it a one-node set. Fails: DB. */
PITR_MUST enum pitr_rc server_require(const struct server_info *info, bool need_oplog,
                                      struct pitr_err *err);
/* hello.lastWrite.majorityOpTime of the node this client talks to. Fails: DB (also when there is
 * none), DB_LOST. */
PITR_MUST enum pitr_rc server_majority(struct conn *c, uint64_t *ts, int64_t *term,
                                       struct pitr_err *err);
/* The same out of a reply to hello; false when it has none. */
bool hello_majority(const bson_t *hello, uint64_t *ts, int64_t *term);

/* Run a command; *reply (may be NULL) is initialised on success only, and then the caller's to
 * bson_destroy. The command is sent to the primary for writes, by the URI's read preference for
 * reads (`is_read`). */
PITR_MUST enum pitr_rc conn_command(struct conn *c, const char *db, const bson_t *cmd, bool is_read,
                                    bson_t *reply, struct pitr_err *err);

#endif
