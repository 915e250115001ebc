#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "engine/doc_mongo.h"
#include "mongo/bsonio.h"
#include "oplog/optime.h"

/* A reply of about this many bytes keeps round trips rare and the client's buffers small. */
enum { REPLY_TARGET = 2 << 20, BATCH_MAX = 50000, BATCH_UNKNOWN = 1000 };

/* All but the first mean: this cursor is dead, the collection may live on elsewhere. */
enum {
    CODE_UNAUTHORIZED = 13,
    CODE_NAMESPACE_NOT_FOUND = 26,
    CODE_CURSOR_NOT_FOUND = 43,
    CODE_CAPPED_POSITION_LOST = 136,
    CODE_QUERY_PLAN_KILLED = 175,
    CODE_CURSOR_KILLED = 237,
    CODE_SNAPSHOT_UNAVAILABLE = 246,
    CODE_COLLECTION_UUID_MISMATCH = 361,
};

struct cursor_mongo {
    struct doc_cursor base;
    struct conn *conn;
    mongoc_client_session_t *session; /* NULL on a standalone */
    mongoc_collection_t *coll;
    mongoc_cursor_t *cursor;
    char what[512]; /* "find db.coll", for messages */
    const char *db; /* of a system.views, else NULL; borrowed */
    bool is_listed; /* its documents come from the catalog: */
    struct buf views;
    size_t views_at;
};

static bool
means_gone(uint32_t code)
{
    switch (code) {
    case CODE_NAMESPACE_NOT_FOUND:
    case CODE_CURSOR_NOT_FOUND:
    case CODE_CAPPED_POSITION_LOST:
    case CODE_QUERY_PLAN_KILLED:
    case CODE_CURSOR_KILLED:
    case CODE_SNAPSHOT_UNAVAILABLE:
    case CODE_COLLECTION_UUID_MISMATCH:
        return true;
    default:
        return false;
    }
}

enum pitr_rc
doc_mongo_fail(struct conn *conn, const bson_error_t *cause, const bson_t *reply, const char *what,
               struct pitr_err *err)
{
    if ((cause->domain == MONGOC_ERROR_SERVER || cause->domain == MONGOC_ERROR_QUERY ||
         cause->domain == MONGOC_ERROR_CURSOR) &&
        means_gone(cause->code))
        return pitr_fail(err, PITR_NOTFOUND, "%s: %s", what, cause->message);
    return conn_fail(conn, cause, reply, what, err);
}

void
doc_mongo_saw(struct doc_mongo *s, const mongoc_client_session_t *session)
{
    uint32_t secs, inc;
    uint64_t ts;
    uint_fast64_t seen = atomic_load(&s->read_ts);

    if (session == NULL)
        return;
    mongoc_client_session_get_operation_time(session, &secs, &inc);
    ts = ts_make(secs, inc);
    while (seen < ts && !atomic_compare_exchange_weak(&s->read_ts, &seen, ts))
        continue;
}

enum pitr_rc
doc_mongo_session(struct doc_mongo *s, struct conn *conn, uint64_t after_ts,
                  mongoc_client_session_t **out, struct pitr_err *err)
{
    bson_error_t cause;

    *out = NULL;
    if (s->standalone)
        return PITR_OK;
    /* A causally consistent session sends its operation time as afterClusterTime and keeps the
     * highest one the server answers with: both are what we need. */
    *out = mongoc_client_start_session(conn_client(conn), NULL, &cause);
    if (*out == NULL)
        return conn_fail(conn, &cause, NULL, "start a session", err);
    if (after_ts != 0)
        mongoc_client_session_advance_operation_time(*out, ts_secs(after_ts), ts_inc(after_ts));
    return PITR_OK;
}

/* How long a member may be behind the majority, and how often it is asked. */
enum { REACH_MS = 60000, REACH_POLL_MS = 5 };

static enum pitr_rc
majority_of(struct conn *conn, uint32_t server, uint64_t *ts, struct pitr_err *err)
{
    bson_t hello = BSON_INITIALIZER, reply;
    bson_error_t cause;
    enum pitr_rc rc = PITR_OK;
    int64_t term;

    BSON_APPEND_INT32(&hello, "hello", 1);
    if (!mongoc_client_command_simple_with_server_id(conn_client(conn), "admin", &hello, NULL,
                                                     server, &reply, &cause))
        rc = conn_fail(conn, &cause, &reply, "hello", err);
    else if (!hello_majority(&reply, ts, &term))
        rc = pitr_fail(err, PITR_DB, "hello: the server has no majority-committed optime");
    bson_destroy(&hello);
    bson_destroy(&reply);
    return rc;
}

/*
 * Choose the member to read from and wait until its majority-committed snapshot holds `ts`. To ask
 * for that by afterClusterTime would say the same, but make reads wait for every transaction that
 * is prepared, and one may stay so for hours. Without it they see what was before it; its
 * operations come into effect at the entry that commits it.
 */
static enum pitr_rc
reach_majority(struct conn *conn, uint64_t ts, uint32_t *server, struct pitr_err *err)
{
    const int64_t deadline = clock_mono_ms() + REACH_MS;
    mongoc_server_description_t *member;
    bson_error_t cause;
    uint64_t now = 0;

    member = mongoc_client_select_server(conn_client(conn), false, NULL, &cause);
    if (member == NULL)
        return conn_fail(conn, &cause, NULL, "choose a member to read from", err);
    *server = mongoc_server_description_id(member);
    mongoc_server_description_destroy(member);
    for (;;) {
        if (majority_of(conn, *server, &now, err) != PITR_OK)
            return err->rc;
        if (now >= ts)
            return PITR_OK;
        if (clock_mono_ms() > deadline)
            return pitr_fail(err, PITR_DB_LOST,
                             "the member that is read from has not reached the majority's point "
                             "after %d s",
                             REACH_MS / 1000);
        clock_sleep_ms(REACH_POLL_MS);
    }
}

/* A session that only keeps the highest operation time of the answers. */
static enum pitr_rc
reading_session(struct conn *conn, mongoc_client_session_t **out, struct pitr_err *err)
{
    mongoc_session_opt_t *opts = mongoc_session_opts_new();
    bson_error_t cause;

    mongoc_session_opts_set_causal_consistency(opts, false);
    *out = mongoc_client_start_session(conn_client(conn), opts, &cause);
    mongoc_session_opts_destroy(opts);
    return *out != NULL ? PITR_OK : conn_fail(conn, &cause, NULL, "start a session", err);
}

static void
cursor_close(struct doc_cursor *base)
{
    struct cursor_mongo *c = (struct cursor_mongo *)base;

    if (c == NULL)
        return;
    doc_mongo_saw((struct doc_mongo *)c->base.source, c->session);
    if (c->cursor != NULL)
        mongoc_cursor_destroy(c->cursor);
    if (c->coll != NULL)
        mongoc_collection_destroy(c->coll);
    if (c->session != NULL)
        mongoc_client_session_destroy(c->session);
    conn_give(c->conn);
    buf_release(&c->views);
    free(c);
}

static int32_t
batch_size(const struct source_coll *coll)
{
    uint64_t average, batch;

    if (coll->documents == 0 || coll->bytes == 0)
        return BATCH_UNKNOWN;
    average = coll->bytes / coll->documents + 1;
    batch = REPLY_TARGET / average;
    return batch < 1 ? 1 : batch > BATCH_MAX ? BATCH_MAX : (int32_t)batch;
}

static enum pitr_rc
start_find(struct doc_mongo *s, struct cursor_mongo *c, const struct source_coll *coll,
           struct pitr_err *err)
{
    mongoc_read_concern_t *concern;
    bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_error_t cause;
    uint32_t server = 0;
    bool ok;

    if (!s->standalone &&
        (reach_majority(c->conn, atomic_load(&s->catalog_ts), &server, err) != PITR_OK ||
         reading_session(c->conn, &c->session, err) != PITR_OK))
        return err->rc;
    ok = BSON_APPEND_INT32(&opts, "batchSize", batch_size(coll));
    if (server != 0)
        ok = ok && BSON_APPEND_INT32(&opts, "serverId", (int32_t)server);
    if (s->knows_uuid)
        ok = ok && BSON_APPEND_BINARY(&opts, "collectionUUID", BSON_SUBTYPE_UUID, coll->uuid, 16);
    if (c->session != NULL)
        ok = ok && mongoc_client_session_append(c->session, &opts, &cause);
    c->coll = mongoc_client_get_collection(conn_client(c->conn), coll->db, coll->name);
    if (!s->standalone) {
        concern = mongoc_read_concern_new();
        mongoc_read_concern_set_level(concern, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
        mongoc_collection_set_read_concern(c->coll, concern);
        mongoc_read_concern_destroy(concern);
    }
    if (ok)
        c->cursor = mongoc_collection_find_with_opts(c->coll, &filter, &opts, NULL);
    bson_destroy(&filter);
    bson_destroy(&opts);
    if (c->cursor == NULL)
        return pitr_fail(err, PITR_INTERNAL, "%s: options refused", c->what);
    return PITR_OK;
}

static enum pitr_rc
source_open(struct doc_source *base, const struct source_coll *coll, struct doc_cursor **out,
            struct pitr_err *err)
{
    struct doc_mongo *s = (struct doc_mongo *)base;
    struct cursor_mongo *c = calloc(1, sizeof *c);

    if (c == NULL)
        return pitr_fail(err, PITR_NOMEM, "cursor");
    c->base.source = base;
    snprintf(c->what, sizeof c->what, "find %s.%s", coll->db, coll->name);
    c->db = strcmp(coll->name, "system.views") == 0 ? coll->db : NULL;
    if (conn_take(&c->conn, s->mongo, err) != PITR_OK || start_find(s, c, coll, err) != PITR_OK) {
        cursor_close(&c->base);
        return err->rc;
    }
    *out = &c->base;
    return PITR_OK;
}

static enum pitr_rc
next_listed(struct cursor_mongo *c, const uint8_t **doc, size_t *len)
{
    *doc = NULL;
    if (c->views_at == c->views.len)
        return PITR_OK;
    *doc = c->views.data + c->views_at;
    *len = bson_len(*doc);
    c->views_at += *len;
    return PITR_OK;
}

static enum pitr_rc
cursor_next(struct doc_cursor *base, const uint8_t **doc, size_t *len, struct pitr_err *err)
{
    struct cursor_mongo *c = (struct cursor_mongo *)base;
    const bson_t *found, *reply = NULL;
    bson_error_t cause;

    if (c->is_listed)
        return next_listed(c, doc, len);
    if (mongoc_cursor_next(c->cursor, &found)) {
        *doc = bson_get_data(found);
        *len = found->len;
        return PITR_OK;
    }
    *doc = NULL;
    if (!mongoc_cursor_error_document(c->cursor, &cause, &reply))
        return PITR_OK;
    if (c->db == NULL || cause.code != CODE_UNAUTHORIZED)
        return doc_mongo_fail(c->conn, &cause, reply, c->what, err);
    if (doc_mongo_views((struct doc_mongo *)base->source, c->db, &c->views, err) != PITR_OK)
        return err->rc;
    c->is_listed = true;
    return next_listed(c, doc, len);
}

static void
source_free(struct doc_source *base)
{
    free(base);
}

static const struct doc_source_ops mongo_ops = {
    .list = doc_mongo_list,
    .open = source_open,
    .next = cursor_next,
    .close = cursor_close,
    .confirm = doc_mongo_confirm,
    .locate = doc_mongo_locate,
    .free = source_free,
};

/* From 6.0 on, find takes the UUID that the caller expects the name to stand for; but a server of
 * 6.0 that is told to behave as 5.0 refuses it. */
static bool
takes_uuid(const char *fcv)
{
    return strtol(fcv, NULL, 10) >= 6;
}

enum pitr_rc
doc_source_mongo_new(struct doc_source **out, struct mongo *m, const char *fcv, bool standalone,
                     uint64_t after_ts, struct pitr_err *err)
{
    struct doc_mongo *s = calloc(1, sizeof *s);

    if (s == NULL)
        return pitr_fail(err, PITR_NOMEM, "document source");
    s->base.ops = &mongo_ops;
    s->mongo = m;
    s->standalone = standalone;
    s->knows_uuid = takes_uuid(fcv);
    atomic_init(&s->read_ts, standalone ? 0 : after_ts);
    atomic_init(&s->catalog_ts, standalone ? 0 : after_ts);
    *out = &s->base;
    return PITR_OK;
}

uint64_t
doc_source_mongo_read_ts(struct doc_source *base)
{
    return atomic_load(&((struct doc_mongo *)base)->read_ts);
}
