/*
 * load_internal.h - what the files behind load.h share.
 */
#ifndef PITR_ENGINE_LOAD_INTERNAL_H
#define PITR_ENGINE_LOAD_INTERNAL_H

#include <stdatomic.h>

#include "engine/load.h"
#include "mongo/bsonio.h"

struct target {
    struct mongo *mongo; /* borrowed */
    struct job *job;     /* borrowed */
    struct server_info server;
    unsigned connections;            /* insert connections, at least 1 */
    atomic_uint_fast64_t written_ts; /* highest operationTime of any answer; 0 on a standalone */
};

/* Codes of the server that are acted on. */
enum server_code {
    CODE_UNAUTHORIZED = 13,
    CODE_NAMESPACE_NOT_FOUND = 26,
    CODE_NAMESPACE_EXISTS = 48,
    CODE_MAX_TIME_EXPIRED = 50,
};

/*
 * Send a command to the primary as it is, `cmd` being a whole BSON document. Never retried by the
 * client, so the server need not record it as retryable. *reply is initialised on success only;
 * NULL when it is not wanted. When the server refuses, *code (may be NULL) is its error code, and 0
 * after any other failure. A write concern that was not met is a failure too.
 */
PITR_MUST enum pitr_rc target_command(struct target *t, struct conn *c, const char *db,
                                      const struct buf *cmd, bson_t *reply, uint32_t *code,
                                      const char *what, struct pitr_err *err);
/* The same for a command built with libbson; destroys `cmd`. */
PITR_MUST enum pitr_rc target_simple(struct target *t, struct conn *c, const char *db, bson_t *cmd,
                                     bson_t *reply, uint32_t *code, const char *what,
                                     struct pitr_err *err);

/* Options of listCollections for one collection; *found false when there is none. */
PITR_MUST enum pitr_rc target_options(struct target *t, struct conn *c, const char *db,
                                      const char *name, bool *found, struct buf *options,
                                      struct pitr_err *err);
/* BSON array of listIndexes; empty for a collection that is missing. */
PITR_MUST enum pitr_rc target_indexes(struct target *t, struct conn *c, const char *db,
                                      const char *name, struct buf *list, struct pitr_err *err);

/*
 * An insert command under construction: its bytes are sent as they stand, so that a document is
 * copied once and nothing looks into it. The documents of one batch belong to one collection.
 */
struct insert_batch {
    struct buf cmd;   /* the command, not yet closed */
    size_t list;      /* where the array `documents` starts in cmd */
    size_t documents; /* in the batch; 0: not begun */
    size_t bytes;     /* of documents */
    char ns[512];     /* for messages */
    char db[128];
};
/* Forget the documents; memory is kept up to a bound. */
void insert_batch_clear(struct insert_batch *b);
void insert_batch_release(struct insert_batch *b);
PITR_MUST enum pitr_rc insert_batch_begin(struct insert_batch *b, const char *db, const char *name,
                                          bool ordered, struct pitr_err *err);
PITR_MUST enum pitr_rc insert_batch_add(struct insert_batch *b, const uint8_t *doc, size_t len,
                                        struct pitr_err *err);
/* Insert what the batch holds (nothing is fine) and clear it. The error names the collection, the
 * first refused document and the server's reason. */
PITR_MUST enum pitr_rc insert_batch_send(struct insert_batch *b, struct target *t, struct conn *c,
                                         struct pitr_err *err);

/* The server replaces empty timestamps at the top level of a document that is inserted. */
PITR_MUST enum pitr_rc insert_would_change(bool *out, const uint8_t *doc, size_t len,
                                           struct pitr_err *err);
/* Put one such document in unchanged, by an upsert. */
PITR_MUST enum pitr_rc insert_unchanged(struct target *t, struct conn *c, const char *db,
                                        const char *name, const uint8_t *doc, size_t len,
                                        struct pitr_err *err);

/*
 * Call `each` for 0..n-1 from up to `threads` threads, each with a connection of its own, in
 * ascending order of start. The first failure is returned; what has not been started then is not.
 */
PITR_MUST enum pitr_rc target_each(struct target *t, unsigned threads, size_t n,
                                   enum pitr_rc (*each)(struct target *t, struct conn *c, size_t i,
                                                        void *arg, struct pitr_err *err),
                                   void *arg, struct pitr_err *err);

#endif
