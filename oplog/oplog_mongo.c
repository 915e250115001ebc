#include "oplog/oplog_mongo.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "mongo/bsonio.h"

enum {
    AWAIT_MS = 100, /* how long an idle read keeps its caller from looking after other things */
    REPLY_BYTES = 1 << 19,
    BATCH_FIRST = 100,
    BATCH_MAX = 5000,
    ADAPT_EVERY = 64, /* entries between two looks at their size, unless one is large */
    AVERAGE_BYTES = 4 * REPLY_BYTES,
    COMMIT_WAIT_MS = 60000,
    COMMIT_POLL_MS = 5,
};

struct oplog_mongo {
    struct oplog_source base;
    struct conn *conn;
    mongoc_collection_t *oplog;
    mongoc_cursor_t *cursor; /* NULL before seek() and after a failure */
    uint32_t server_id;      /* of libmongoc; 0 before the first seek() */
    uint64_t entries, bytes; /* read, the older ones counting less */
    unsigned unadapted;      /* entries since the batch size was set */
};

static struct oplog_mongo *
from_base(struct oplog_source *s)
{
    return (struct oplog_mongo *)s;
}

static void
close_cursor(struct oplog_mongo *m)
{
    mongoc_cursor_destroy(m->cursor);
    m->cursor = NULL;
}

static enum pitr_rc
choose_server(struct oplog_mongo *m, struct pitr_err *err)
{
    mongoc_client_t *client = conn_client(m->conn);
    mongoc_server_description_t *server;
    bson_error_t cause;

    server =
        mongoc_client_select_server(client, false, mongoc_client_get_read_prefs(client), &cause);
    if (server == NULL)
        return conn_fail(m->conn, &cause, NULL, "oplog", err);
    m->server_id = mongoc_server_description_id(server);
    mongoc_server_description_destroy(server);
    return PITR_OK;
}

static bool
append_read_concern(bson_t *opts, const char *level, uint64_t after)
{
    bson_t child;
    bool ok;

    if (!bson_append_document_begin(opts, "readConcern", -1, &child))
        return false;
    ok = BSON_APPEND_UTF8(&child, "level", level);
    if (after != 0)
        ok = ok && BSON_APPEND_TIMESTAMP(&child, "afterClusterTime", ts_secs(after), ts_inc(after));
    return bson_append_document_end(opts, &child) && ok;
}

static enum pitr_rc
mongo_seek(struct oplog_source *s, uint64_t from, struct pitr_err *err)
{
    struct oplog_mongo *m = from_base(s);
    bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER, range;

    close_cursor(m);
    if (choose_server(m, err) != PITR_OK)
        return err->rc;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "ts", &range);
    BSON_APPEND_TIMESTAMP(&range, "$gte", ts_secs(from), ts_inc(from));
    bson_append_document_end(&filter, &range);
    BSON_APPEND_BOOL(&opts, "tailable", true);
    BSON_APPEND_BOOL(&opts, "awaitData", true);
    /* int64, or mongoc_cursor_set_batch_size() cannot change it and does nothing. */
    BSON_APPEND_INT64(&opts, "batchSize", BATCH_FIRST);
    BSON_APPEND_INT32(&opts, "serverId", (int32_t)m->server_id);
    append_read_concern(&opts, "majority", 0);
    m->cursor = mongoc_collection_find_with_opts(m->oplog, &filter, &opts, NULL);
    bson_destroy(&filter);
    bson_destroy(&opts);
    mongoc_cursor_set_max_await_time_ms(m->cursor, AWAIT_MS);
    m->entries = 0;
    m->bytes = 0;
    m->unadapted = 0;
    return PITR_OK;
}

/* The limit is a number of entries, but what has to be bounded is bytes. Clients write runs of
 * short entries between runs of long ones: the average is one over several replies, the recent ones
 * counting more. */
static void
adapt_batch(struct oplog_mongo *m, size_t len)
{
    uint64_t size;

    m->entries++;
    m->bytes += len;
    m->unadapted++;
    if (m->unadapted < ADAPT_EVERY && len < REPLY_BYTES / ADAPT_EVERY)
        return;
    m->unadapted = 0;
    size = REPLY_BYTES / (m->bytes / m->entries + 1) + 1;
    mongoc_cursor_set_batch_size(m->cursor, size < BATCH_MAX ? (uint32_t)size : BATCH_MAX);
    if (m->bytes > AVERAGE_BYTES && m->entries > 1) {
        m->entries /= 2;
        m->bytes /= 2;
    }
}

static enum pitr_rc
mongo_next(struct oplog_source *s, const uint8_t **data, size_t *len, struct pitr_err *err)
{
    struct oplog_mongo *m = from_base(s);
    const bson_t *doc, *reply;
    bson_error_t cause;

    *data = NULL;
    *len = 0;
    if (m->cursor == NULL)
        return pitr_fail(err, PITR_DB_LOST, "oplog: not being read");
    if (mongoc_cursor_next(m->cursor, &doc)) {
        adapt_batch(m, doc->len);
        *data = bson_get_data(doc);
        *len = doc->len;
        return PITR_OK;
    }
    if (mongoc_cursor_error_document(m->cursor, &cause, &reply)) {
        conn_fail(m->conn, &cause, reply, "oplog", err);
        close_cursor(m);
        return err->rc;
    }
    if (!mongoc_cursor_more(m->cursor)) {
        close_cursor(m);
        return pitr_fail(err, PITR_DB_LOST, "oplog: the server closed the cursor");
    }
    return PITR_OK;
}

/* What a member says of itself. */
struct hello {
    struct optime majority;
    uint64_t written; /* last entry it has, committed or not */
    bool is_primary;
};

static enum pitr_rc
ask_hello(struct oplog_mongo *m, struct hello *out, struct pitr_err *err)
{
    bson_t cmd = BSON_INITIALIZER, opts = BSON_INITIALIZER, reply;
    bson_error_t cause;
    bson_iter_t it, at;
    uint32_t secs, inc;
    bool ok;

    *out = (struct hello){0};
    BSON_APPEND_INT32(&cmd, "hello", 1);
    BSON_APPEND_INT32(&opts, "serverId", (int32_t)m->server_id);
    ok = mongoc_client_command_with_opts(conn_client(m->conn), "admin", &cmd, NULL, &opts, &reply,
                                         &cause);
    if (!ok)
        conn_fail(m->conn, &cause, &reply, "hello", err);
    else if (!hello_majority(&reply, &out->majority.ts, &out->majority.term))
        pitr_fail(err, PITR_DB_LOST, "hello: the server has no majority-committed optime yet");
    else
        err->rc = PITR_OK;
    out->is_primary =
        ok && bson_iter_init_find(&it, &reply, "isWritablePrimary") && bson_iter_as_bool(&it);
    if (ok && bson_iter_init(&it, &reply) &&
        bson_iter_find_descendant(&it, "lastWrite.opTime.ts", &at) &&
        BSON_ITER_HOLDS_TIMESTAMP(&at)) {
        bson_iter_timestamp(&at, &secs, &inc);
        out->written = ts_make(secs, inc);
    }
    bson_destroy(&cmd);
    bson_destroy(&opts);
    bson_destroy(&reply);
    return err->rc;
}

/* ts and t of `doc`, which is an entry or an optime. */
static enum pitr_rc
read_optime(struct optime *out, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct belem e;
    bool found;

    if (bson_find(doc, len, "ts", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || e.type != BSON_TS)
        return pitr_fail(err, PITR_DB, "oplog: an optime without ts");
    out->ts = get_le64(e.value);
    out->term = -1;
    if (bson_find(doc, len, "t", &found, &e, err) != PITR_OK)
        return err->rc;
    if (found && !belem_int64(&e, &out->term))
        return pitr_fail(err, PITR_DB, "oplog: an optime whose term is no integer");
    return PITR_OK;
}

static enum pitr_rc
ask_oldest(struct oplog_mongo *m, struct optime *oldest, struct pitr_err *err)
{
    bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER, sort;
    mongoc_cursor_t *cursor;
    const bson_t *doc;
    bson_error_t cause;

    BSON_APPEND_DOCUMENT_BEGIN(&opts, "sort", &sort);
    BSON_APPEND_INT32(&sort, "$natural", 1);
    bson_append_document_end(&opts, &sort);
    BSON_APPEND_INT64(&opts, "limit", 1);
    BSON_APPEND_INT32(&opts, "serverId", (int32_t)m->server_id);
    cursor = mongoc_collection_find_with_opts(m->oplog, &filter, &opts, NULL);
    if (mongoc_cursor_next(cursor, &doc))
        err->rc = read_optime(oldest, bson_get_data(doc), doc->len, err);
    else if (mongoc_cursor_error(cursor, &cause))
        conn_fail(m->conn, &cause, NULL, "oplog", err);
    else
        pitr_fail(err, PITR_DB_LOST, "oplog: it is empty");
    mongoc_cursor_destroy(cursor);
    bson_destroy(&filter);
    bson_destroy(&opts);
    return err->rc;
}

static enum pitr_rc
mongo_bounds(struct oplog_source *s, struct optime *oldest, struct optime *majority,
             struct pitr_err *err)
{
    struct oplog_mongo *m = from_base(s);
    struct hello hello;

    if (m->server_id == 0 && choose_server(m, err) != PITR_OK)
        return err->rc;
    if (ask_oldest(m, oldest, err) != PITR_OK || ask_hello(m, &hello, err) != PITR_OK)
        return err->rc;
    *majority = hello.majority;
    return PITR_OK;
}

/* Lower *begin to the earliest start among the open transactions in `cursor`. */
static enum pitr_rc
take_oldest_start(struct oplog_mongo *m, mongoc_cursor_t *cursor, struct optime *begin,
                  struct pitr_err *err)
{
    const bson_t *doc;
    bson_error_t cause;
    struct belem e;
    struct optime start;
    bool found;

    while (mongoc_cursor_next(cursor, &doc)) {
        if (bson_find(bson_get_data(doc), doc->len, "startOpTime", &found, &e, err) != PITR_OK)
            return err->rc;
        if (!found || e.type != BSON_DOC)
            continue;
        if (read_optime(&start, e.value, e.value_len, err) != PITR_OK)
            return err->rc;
        if (start.ts != 0 && start.ts < begin->ts)
            *begin = start;
    }
    if (mongoc_cursor_error(cursor, &cause))
        return conn_fail(m->conn, &cause, NULL, "find config.transactions", err);
    return PITR_OK;
}

/* Wait until all that the member had written when first asked is majority-committed. */
static enum pitr_rc
wait_for_commit(struct oplog_mongo *m, struct pitr_err *err)
{
    const int64_t deadline = clock_mono_ms() + COMMIT_WAIT_MS;
    struct hello hello;
    uint64_t written = 0;

    for (;;) {
        if (ask_hello(m, &hello, err) != PITR_OK)
            return err->rc;
        if (written == 0)
            written = hello.written;
        if (hello.majority.ts >= written)
            return PITR_OK;
        if (clock_mono_ms() > deadline)
            return pitr_fail(err, PITR_DB_LOST,
                             "oplog: what was written last is not majority-committed after %d s; "
                             "are enough members of the replica set up?",
                             COMMIT_WAIT_MS / 1000);
        clock_sleep_ms(COMMIT_POLL_MS);
    }
}

/*
 * The order matters: a transaction that starts after the majority point was taken is captured from
 * its first entry anyway, one that started before it is seen here unless it has ended. The table is
 * read as it is, so its end may still be on the way to the majority: the wait sees to it that no
 * majority point taken later lies before that end.
 */
static enum pitr_rc
mongo_begin(struct oplog_source *s, struct optime *begin, struct pitr_err *err)
{
    struct oplog_mongo *m = from_base(s);
    mongoc_collection_t *transactions;
    mongoc_cursor_t *cursor;
    bson_t *filter, opts = BSON_INITIALIZER;
    struct hello hello;
    enum pitr_rc rc;

    if (choose_server(m, err) != PITR_OK || ask_hello(m, &hello, err) != PITR_OK)
        return err->rc;
    *begin = hello.majority;
    filter = BCON_NEW("state", "{", "$in", "[", BCON_UTF8("prepared"), BCON_UTF8("inProgress"), "]",
                      "}");
    BSON_APPEND_INT32(&opts, "serverId", (int32_t)m->server_id);
    append_read_concern(&opts, "local", hello.is_primary ? 0 : begin->ts);
    transactions = mongoc_client_get_collection(conn_client(m->conn), "config", "transactions");
    cursor = mongoc_collection_find_with_opts(transactions, filter, &opts, NULL);
    rc = take_oldest_start(m, cursor, begin, err);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(transactions);
    bson_destroy(filter);
    bson_destroy(&opts);
    return rc == PITR_OK ? wait_for_commit(m, err) : rc;
}

static void
mongo_source_free(struct oplog_source *s)
{
    struct oplog_mongo *m = from_base(s);

    close_cursor(m);
    mongoc_collection_destroy(m->oplog);
    conn_give(m->conn);
    free(m);
}

static const struct oplog_source_ops mongo_ops = {
    .seek = mongo_seek,
    .next = mongo_next,
    .bounds = mongo_bounds,
    .begin = mongo_begin,
    .free = mongo_source_free,
};

enum pitr_rc
oplog_mongo_new(struct oplog_source **out, struct mongo *m, struct pitr_err *err)
{
    struct oplog_mongo *s = calloc(1, sizeof *s);

    if (s == NULL)
        return pitr_fail(err, PITR_NOMEM, "oplog");
    s->base.ops = &mongo_ops;
    if (conn_take(&s->conn, m, err) != PITR_OK) {
        free(s);
        return err->rc;
    }
    s->oplog = mongoc_client_get_collection(conn_client(s->conn), "local", "oplog.rs");
    *out = &s->base;
    return PITR_OK;
}
