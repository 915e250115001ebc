#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "engine/load_internal.h"
#include "engine/load_options.h"
#include "mongo/bsonedit.h"
#include "mongo/cleanup.h"
#include "mongo/ns.h"

/* More connections than this insert no faster into one mongod (bench/results has the numbers). */
enum { DEFAULT_CONNECTIONS = 4 };

enum pitr_rc
target_open(struct target **out, struct mongo *m, struct job *job, unsigned connections,
            struct pitr_err *err)
{
    PITR_AUTO(target_freep) struct target *t = calloc(1, sizeof *t);
    PITR_AUTO(conn_givep) struct conn *c = NULL;

    if (t == NULL)
        return pitr_fail(err, PITR_NOMEM, "target");
    t->mongo = m;
    t->job = job;
    t->connections = connections > 0 ? connections : DEFAULT_CONNECTIONS;
    if (conn_take(&c, m, err) != PITR_OK || server_inspect(c, &t->server, err) != PITR_OK ||
        server_require(&t->server, false, err) != PITR_OK)
        return pitr_wrap(err, "target");
    if (t->server.kind == SERVER_REPLICA && !t->server.is_primary)
        return pitr_fail(err, PITR_DB_LOST,
                         "target %s is not the primary of its replica set; name the whole set in "
                         "the URI, or wait for an election",
                         t->server.host);
    *out = t;
    t = NULL;
    return PITR_OK;
}

void
target_free(struct target *t)
{
    free(t);
}

void
target_freep(struct target **t)
{
    target_free(*t);
    *t = NULL;
}

const struct server_info *
target_server(const struct target *t)
{
    return &t->server;
}

enum pitr_rc
target_privileges(struct target *t, bson_t *reply, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;

    if (conn_take(&c, t->mongo, err) != PITR_OK)
        return err->rc;
    return target_simple(
        t, c, "admin",
        BCON_NEW("connectionStatus", BCON_INT32(1), "showPrivileges", BCON_BOOL(true)), reply, NULL,
        "connectionStatus", err);
}

static void
note_operation_time(struct target *t, const bson_t *reply)
{
    uint_fast64_t seen = atomic_load_explicit(&t->written_ts, memory_order_relaxed);
    uint32_t secs, inc;
    uint64_t ts;
    bson_iter_t it;

    if (!bson_iter_init_find(&it, reply, "operationTime") || !BSON_ITER_HOLDS_TIMESTAMP(&it))
        return;
    bson_iter_timestamp(&it, &secs, &inc);
    ts = (uint64_t)secs << 32 | inc;
    while (ts > seen && !atomic_compare_exchange_weak_explicit(
                            &t->written_ts, &seen, ts, memory_order_relaxed, memory_order_relaxed))
        continue;
}

static uint32_t
reply_code(const bson_t *reply)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, reply, "code") || !BSON_ITER_HOLDS_NUMBER(&it))
        return 0;
    return (uint32_t)bson_iter_as_int64(&it);
}

/* Replies that are not ok were failures already. */
static enum pitr_rc
check_write_concern(const bson_t *reply, const char *what, struct pitr_err *err)
{
    bson_iter_t it, inner;

    if (!bson_iter_init_find(&it, reply, "writeConcernError") || !BSON_ITER_HOLDS_DOCUMENT(&it))
        return PITR_OK;
    if (!bson_iter_recurse(&it, &inner) || !bson_iter_find(&inner, "errmsg") ||
        !BSON_ITER_HOLDS_UTF8(&inner))
        return pitr_fail(err, PITR_DB, "%s: write concern not met", what);
    return pitr_fail(err, PITR_DB, "%s: write concern not met: %.400s", what,
                     bson_iter_utf8(&inner, NULL));
}

enum pitr_rc
target_command(struct target *t, struct conn *c, const char *db, const struct buf *cmd,
               bson_t *reply, uint32_t *code, const char *what, struct pitr_err *err)
{
    bson_t view, answer;
    bson_error_t cause;
    enum pitr_rc rc;

    if (code != NULL)
        *code = 0;
    if (!bson_init_static(&view, cmd->data, cmd->len))
        return pitr_fail(err, PITR_INTERNAL, "%s: a command of %zu bytes", what, cmd->len);
    if (!mongoc_client_command_simple(conn_client(c), db, &view, NULL, &answer, &cause)) {
        if (code != NULL)
            *code = reply_code(&answer);
        rc = conn_fail(c, &cause, &answer, what, err);
        bson_destroy(&answer);
        return rc;
    }
    note_operation_time(t, &answer);
    rc = check_write_concern(&answer, what, err);
    if (rc == PITR_OK && reply != NULL)
        bson_steal(reply, &answer);
    else
        bson_destroy(&answer);
    return rc;
}

enum pitr_rc
target_simple(struct target *t, struct conn *c, const char *db, bson_t *cmd, bson_t *reply,
              uint32_t *code, const char *what, struct pitr_err *err)
{
    PITR_AUTO(bson_freep) bson_t *owned = cmd;
    struct buf view;

    if (cmd == NULL)
        return pitr_fail(err, PITR_NOMEM, "%s", what);
    view = (struct buf){.data = (uint8_t *)(uintptr_t)bson_get_data(owned), .len = owned->len};
    return target_command(t, c, db, &view, reply, code, what, err);
}

/* "db.name" of everything a restore can replace, by the name it is dropped with. System collections
 * go with their databases; system.js holds what users wrote, and counts once it holds something. */
static bool
is_user_name(const char *name)
{
    return strncmp(name, "system.", strlen("system.")) != 0 || ns_is_buckets(name) ||
           strcmp(name, "system.js") == 0;
}

static enum pitr_rc
add_namespace(struct fs_names *out, const char *db, const char *name, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *ns = NULL;

    if (asprintf(&ns, "%s.%s", db, name) < 0) {
        ns = NULL;
        return pitr_fail(err, PITR_NOMEM, "namespace %s.%s", db, name);
    }
    return fs_names_add(out, ns, err);
}

/* A collection that the user may not read has nothing that it could replace. */
static enum pitr_rc
is_empty(struct target *t, struct conn *c, const char *db, const char *name, bool *out,
         struct pitr_err *err)
{
    bson_t reply;
    bson_iter_t it;
    uint32_t code;

    *out = true;
    if (target_simple(t, c, db, BCON_NEW("count", BCON_UTF8(name)), &reply, &code, "count", err) !=
        PITR_OK)
        return code == CODE_UNAUTHORIZED ? PITR_OK : pitr_wrap(err, "%s.%s", db, name);
    *out = bson_iter_init_find(&it, &reply, "n") && bson_iter_as_int64(&it) == 0;
    bson_destroy(&reply);
    return PITR_OK;
}

/* Buckets whose time-series collection is listed as well are that collection. An ordinary
 * collection of that name is not: the buckets are then what is left of a creation that failed. */
static bool
is_shown(const struct fs_names *series, const char *buckets)
{
    for (size_t i = 0; i < series->len; i++)
        if (strcmp(series->at[i], ns_visible_name(buckets)) == 0)
            return true;
    return false;
}

static bool
is_series(const bson_t *entry)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, entry, "type") && BSON_ITER_HOLDS_UTF8(&it) &&
           strcmp(bson_iter_utf8(&it, NULL), "timeseries") == 0;
}

static enum pitr_rc
list_database(struct target *t, struct conn *c, const char *db, struct fs_names *out,
              struct pitr_err *err)
{
    PITR_AUTO(database_freep)
    mongoc_database_t *handle = mongoc_client_get_database(conn_client(c), db);
    PITR_AUTO(bson_freep) bson_t *opts = BCON_NEW("nameOnly", BCON_BOOL(true));
    PITR_AUTO(cursor_freep)
    mongoc_cursor_t *cursor = mongoc_database_find_collections_with_opts(handle, opts);
    PITR_AUTO(fs_names_release) struct fs_names buckets = {0};
    PITR_AUTO(fs_names_release) struct fs_names series = {0};
    const bson_t *doc;
    bson_iter_t it;
    bson_error_t cause;

    while (mongoc_cursor_next(cursor, &doc)) {
        const char *name;
        bool empty = false, is_buckets;

        if (!bson_iter_init_find(&it, doc, "name") || !BSON_ITER_HOLDS_UTF8(&it))
            continue;
        name = bson_iter_utf8(&it, NULL);
        if (!is_user_name(name))
            continue;
        if (strcmp(name, "system.js") == 0 && is_empty(t, c, db, name, &empty, err) != PITR_OK)
            return err->rc;
        if (is_series(doc) && fs_names_add(&series, name, err) != PITR_OK)
            return err->rc;
        is_buckets = ns_is_buckets(name);
        if (!empty && (is_buckets ? fs_names_add(&buckets, name, err)
                                  : add_namespace(out, db, name, err)) != PITR_OK)
            return err->rc;
    }
    if (mongoc_cursor_error(cursor, &cause))
        return conn_fail(c, &cause, NULL, "list collections of the target", err);
    for (size_t i = 0; i < buckets.len; i++) {
        if (!is_shown(&series, buckets.at[i]) &&
            add_namespace(out, db, buckets.at[i], err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

enum pitr_rc
target_namespaces(struct target *t, struct fs_names *out, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    char **dbs;
    bson_error_t cause;
    enum pitr_rc rc = PITR_OK;

    if (conn_take(&c, t->mongo, err) != PITR_OK)
        return err->rc;
    dbs = mongoc_client_get_database_names_with_opts(conn_client(c), NULL, &cause);
    if (dbs == NULL)
        return conn_fail(c, &cause, NULL, "list databases of the target", err);
    for (size_t i = 0; dbs[i] != NULL && rc == PITR_OK; i++) {
        if (strcmp(dbs[i], "local") != 0 && strcmp(dbs[i], "config") != 0)
            rc = list_database(t, c, dbs[i], &names, err);
    }
    bson_strfreev(dbs);
    if (rc != PITR_OK)
        return rc;
    fs_names_sort(&names);
    *out = names;
    names = (struct fs_names){0};
    return PITR_OK;
}

/* "db" and "name" of a namespace; both malloc'ed as one, *db to be freed. */
static enum pitr_rc
split_ns(const char *ns, char **db, const char **name, struct pitr_err *err)
{
    char *dot;

    *db = strdup(ns);
    if (*db == NULL)
        return pitr_fail(err, PITR_NOMEM, "namespace %s", ns);
    dot = strchr(*db, '.');
    if (dot == NULL)
        return pitr_fail(err, PITR_USAGE, "%s is no namespace", ns);
    *dot = '\0';
    *name = dot + 1;
    return PITR_OK;
}

/* True when nothing of a user is left, but a collection that only goes with its database is. */
static enum pitr_rc
is_only_leftovers(struct target *t, struct conn *c, const char *db, bool *out, struct pitr_err *err)
{
    PITR_AUTO(database_freep)
    mongoc_database_t *handle = mongoc_client_get_database(conn_client(c), db);
    PITR_AUTO(bson_freep) bson_t *opts = BCON_NEW("nameOnly", BCON_BOOL(true));
    PITR_AUTO(cursor_freep)
    mongoc_cursor_t *cursor = mongoc_database_find_collections_with_opts(handle, opts);
    const bson_t *doc;
    bson_iter_t it;
    bson_error_t cause;
    bool leftovers = false, empty = true;

    *out = false;
    while (mongoc_cursor_next(cursor, &doc)) {
        const char *name;

        if (!bson_iter_init_find(&it, doc, "name") || !BSON_ITER_HOLDS_UTF8(&it))
            continue;
        name = bson_iter_utf8(&it, NULL);
        if (strcmp(name, "system.js") != 0 && strcmp(name, "system.views") != 0)
            return PITR_OK;
        /* Few may read system.views; a view that it holds is listed itself. */
        if (strcmp(name, "system.js") == 0 && is_empty(t, c, db, name, &empty, err) != PITR_OK)
            return err->rc;
        if (!empty)
            return PITR_OK;
        leftovers = true;
    }
    if (mongoc_cursor_error(cursor, &cause))
        return conn_fail(c, &cause, NULL, "list collections of the target", err);
    *out = leftovers;
    return PITR_OK;
}

/* A database whose last collection is gone should be gone as well. */
static enum pitr_rc
drop_leftovers(struct target *t, struct conn *c, const char *db, struct pitr_err *err)
{
    uint32_t code;
    bool leftovers;

    if (is_only_leftovers(t, c, db, &leftovers, err) != PITR_OK)
        return err->rc;
    if (!leftovers || strcmp(db, "admin") == 0)
        return PITR_OK;
    if (target_simple(
            t, c, db,
            BCON_NEW("dropDatabase", BCON_INT32(1), "writeConcern", "{", "w", BCON_INT32(1), "}"),
            NULL, &code, "dropDatabase", err) != PITR_OK &&
        code != CODE_UNAUTHORIZED)
        return err->rc;
    return PITR_OK;
}

enum pitr_rc
target_drop(struct target *t, const char *ns, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;
    PITR_AUTO(str_freep) char *db = NULL;
    const char *name = "";
    uint32_t code;
    bson_t *cmd;

    if (split_ns(ns, &db, &name, err) != PITR_OK || conn_take(&c, t->mongo, err) != PITR_OK)
        return err->rc;
    /* The server does not let go of system.js but with its database. */
    if (strcmp(name, "system.js") == 0)
        cmd = BCON_NEW("delete", BCON_UTF8(name), "deletes", "[", "{", "q", "{", "}", "limit",
                       BCON_INT32(0), "}", "]", "writeConcern", "{", "w", BCON_INT32(1), "}");
    else
        cmd = BCON_NEW("drop", BCON_UTF8(name), "writeConcern", "{", "w", BCON_INT32(1), "}");
    if (target_simple(t, c, db, cmd, NULL, &code, "drop", err) != PITR_OK &&
        code != CODE_NAMESPACE_NOT_FOUND)
        return pitr_wrap(err, "%s", ns);
    if (drop_leftovers(t, c, db, err) != PITR_OK)
        return pitr_wrap(err, "%s", ns);
    return PITR_OK;
}

/* Servers from 6.3 on give a new time-series collection an index that the source may not have. */
static enum pitr_rc
drop_default_indexes(struct target *t, struct conn *c, const struct load_coll *coll,
                     struct pitr_err *err)
{
    if (t->server.major < 6 || (t->server.major == 6 && t->server.minor < 3))
        return PITR_OK;
    return target_simple(t, c, coll->db,
                         BCON_NEW("dropIndexes", BCON_UTF8(coll->name), "index", BCON_UTF8("*"),
                                  "writeConcern", "{", "w", BCON_INT32(1), "}"),
                         NULL, NULL, "drop default indexes", err);
}

static enum pitr_rc
convert_to_capped(struct target *t, struct conn *c, const struct load_coll *coll,
                  struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf cmd = {0};

    if (load_convert_command(&cmd, coll, err) != PITR_OK)
        return err->rc;
    return target_command(t, c, coll->db, &cmd, NULL, NULL, "convertToCapped", err);
}

enum pitr_rc
target_create(struct target *t, const struct load_coll *coll, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;
    PITR_AUTO(buf_release) struct buf cmd = {0};
    uint32_t code;

    if (job_check(t->job, err) != PITR_OK || load_create_command(&cmd, coll, err) != PITR_OK ||
        conn_take(&c, t->mongo, err) != PITR_OK)
        return err->rc;
    if (target_command(t, c, coll->db, &cmd, NULL, &code, "create", err) != PITR_OK &&
        !(code == CODE_NAMESPACE_EXISTS && strcmp(coll->name, "system.js") == 0))
        return pitr_wrap(err, "%s.%s", coll->db, coll->name);
    if (load_wants_conversion(coll) && convert_to_capped(t, c, coll, err) != PITR_OK)
        return pitr_wrap(err, "%s.%s", coll->db, coll->name);
    if (load_is_buckets(coll) && drop_default_indexes(t, c, coll, err) != PITR_OK)
        return pitr_wrap(err, "%s.%s", coll->db, coll->name);
    return PITR_OK;
}

enum pitr_rc
target_options(struct target *t, struct conn *c, const char *db, const char *name, bool *found,
               struct buf *options, struct pitr_err *err)
{
    PITR_AUTO(database_freep)
    mongoc_database_t *handle = mongoc_client_get_database(conn_client(c), db);
    PITR_AUTO(bson_freep) bson_t *opts = BCON_NEW("filter", "{", "name", BCON_UTF8(name), "}");
    PITR_AUTO(cursor_freep)
    mongoc_cursor_t *cursor = mongoc_database_find_collections_with_opts(handle, opts);
    const bson_t *doc;
    const uint8_t *data;
    uint32_t len;
    bson_iter_t it;
    bson_error_t cause;

    (void)t;
    buf_clear(options);
    *found = mongoc_cursor_next(cursor, &doc);
    if (mongoc_cursor_error(cursor, &cause))
        return conn_fail(c, &cause, NULL, "listCollections", err);
    if (!*found)
        return PITR_OK;
    if (!bson_iter_init_find(&it, doc, "options") || !BSON_ITER_HOLDS_DOCUMENT(&it))
        return bdoc_empty(options, err);
    bson_iter_document(&it, &len, &data);
    return buf_append(options, data, len, err);
}

enum pitr_rc
target_indexes(struct target *t, struct conn *c, const char *db, const char *name, struct buf *list,
               struct pitr_err *err)
{
    PITR_AUTO(collection_freep)
    mongoc_collection_t *handle = mongoc_client_get_collection(conn_client(c), db, name);
    PITR_AUTO(cursor_freep)
    mongoc_cursor_t *cursor = mongoc_collection_find_indexes_with_opts(handle, NULL);
    const bson_t *doc;
    bson_error_t cause;
    char position[16];
    unsigned n = 0;
    size_t at;

    (void)t;
    buf_clear(list);
    if (bdoc_begin(list, &at, err) != PITR_OK)
        return err->rc;
    while (mongoc_cursor_next(cursor, &doc)) {
        snprintf(position, sizeof position, "%u", n++);
        if (bdoc_append_raw(list, BSON_DOC, position, bson_get_data(doc), doc->len, err) != PITR_OK)
            return err->rc;
    }
    if (mongoc_cursor_error(cursor, &cause) && cause.code != CODE_NAMESPACE_NOT_FOUND)
        return conn_fail(c, &cause, NULL, "listIndexes", err);
    return bdoc_end(list, at, err);
}
