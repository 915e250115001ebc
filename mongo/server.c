/* What a server is, and whether pitr can work with it. */
#include <stdio.h>
#include <string.h>

#include "mongo/conn.h"

/* Versions the oplog's format is known for; docs/oplog.md. */
enum { OLDEST_MAJOR = 4, OLDEST_MINOR = 4, NEWEST_MAJOR = 8 };

static bool
find_path(const bson_t *doc, const char *path, bson_iter_t *out)
{
    bson_iter_t it;

    return bson_iter_init(&it, doc) && bson_iter_find_descendant(&it, path, out);
}

static bool
find_bool(const bson_t *doc, const char *path)
{
    bson_iter_t it;

    return find_path(doc, path, &it) && bson_iter_as_bool(&it);
}

static void
copy_text(char *out, size_t size, const bson_t *doc, const char *path)
{
    bson_iter_t it;

    out[0] = '\0';
    if (find_path(doc, path, &it) && BSON_ITER_HOLDS_UTF8(&it))
        snprintf(out, size, "%s", bson_iter_utf8(&it, NULL));
}

static enum pitr_rc
run(struct conn *c, const char *name, bson_t *reply, struct pitr_err *err)
{
    bson_t cmd = BSON_INITIALIZER;
    enum pitr_rc rc;

    BSON_APPEND_INT32(&cmd, name, 1);
    rc = conn_command(c, "admin", &cmd, true, reply, err);
    bson_destroy(&cmd);
    return rc;
}

bool
hello_majority(const bson_t *hello, uint64_t *ts, int64_t *term)
{
    bson_iter_t it;
    uint32_t secs, inc;

    if (!find_path(hello, "lastWrite.majorityOpTime.ts", &it) || !BSON_ITER_HOLDS_TIMESTAMP(&it))
        return false;
    bson_iter_timestamp(&it, &secs, &inc);
    *ts = (uint64_t)secs << 32 | inc;
    if (!find_path(hello, "lastWrite.majorityOpTime.t", &it))
        return false;
    *term = bson_iter_as_int64(&it);
    return *ts != 0;
}

enum pitr_rc
server_majority(struct conn *c, uint64_t *ts, int64_t *term, struct pitr_err *err)
{
    bson_t reply;
    bool found;

    if (run(c, "hello", &reply, err) != PITR_OK)
        return err->rc;
    found = hello_majority(&reply, ts, term);
    bson_destroy(&reply);
    if (!found)
        return pitr_fail(err, PITR_DB, "hello: the server has no majority-committed optime");
    return PITR_OK;
}

/* The first document of db.coll, with this _id unless it is NULL, into *doc, and what is at `path`
 * in it (NULL: nothing is looked for) into *found. *ok false: there is none, or reading is
 * forbidden; then *doc needs no destroying. Fails: DB_LOST. */
static enum pitr_rc
read_setting(struct conn *c, const char *db, const char *coll, const char *id, const char *path,
             bson_iter_t *found, bson_t *doc, bool *ok, struct pitr_err *err)
{
    mongoc_collection_t *collection = mongoc_client_get_collection(conn_client(c), db, coll);
    bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    mongoc_cursor_t *cursor;
    const bson_t *first;
    bson_error_t cause;
    enum pitr_rc rc = PITR_OK;

    *ok = false;
    if (id != NULL)
        BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_INT64(&opts, "limit", 1);
    cursor = mongoc_collection_find_with_opts(collection, &filter, &opts, NULL);
    if (mongoc_cursor_next(cursor, &first)) {
        bson_copy_to(first, doc);
        *ok = path == NULL || find_path(doc, path, found);
        if (!*ok)
            bson_destroy(doc);
    } else if (mongoc_cursor_error(cursor, &cause)) {
        rc = conn_fail(c, &cause, NULL, "find", err);
    }
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    bson_destroy(&filter);
    bson_destroy(&opts);
    return rc == PITR_DB_LOST ? rc : PITR_OK;
}

/* The command says it at once; where the user may not run it, the document it is made from does. */
static enum pitr_rc
is_shard(struct conn *c, bool *out, struct pitr_err *err)
{
    bson_t reply, doc;
    bson_iter_t it;

    *out = false;
    if (run(c, "shardingState", &reply, err) == PITR_OK) {
        *out = find_bool(&reply, "enabled");
        bson_destroy(&reply);
        return PITR_OK;
    }
    if (err->rc == PITR_DB_LOST)
        return err->rc;
    if (read_setting(c, "admin", "system.version", "shardIdentity", NULL, &it, &doc, out, err) !=
        PITR_OK)
        return err->rc;
    if (*out)
        bson_destroy(&doc);
    return PITR_OK;
}

static enum pitr_rc
read_kind(struct conn *c, const bson_t *hello, struct server_info *out, struct pitr_err *err)
{
    char msg[32];
    bool shard;

    copy_text(msg, sizeof msg, hello, "msg");
    out->kind = SERVER_STANDALONE;
    if (strcmp(msg, "isdbgrid") == 0) {
        out->kind = SERVER_MONGOS;
        return PITR_OK;
    }
    if (find_bool(hello, "isreplicaset"))
        return pitr_fail(err, PITR_DB,
                         "%s was started with --replSet, but its set was never initiated; run "
                         "rs.initiate() on it once",
                         out->host);
    if (out->set_name[0] == '\0')
        return PITR_OK;
    out->kind = SERVER_REPLICA;
    if (find_path(hello, "configsvr", &(bson_iter_t){0})) {
        out->kind = SERVER_CONFIG;
        return PITR_OK;
    }
    if (is_shard(c, &shard, err) != PITR_OK)
        return err->rc;
    if (shard)
        out->kind = SERVER_SHARD;
    return PITR_OK;
}

static enum pitr_rc
read_hello(struct conn *c, struct server_info *out, struct pitr_err *err)
{
    bson_t hello;
    enum pitr_rc rc;

    if (run(c, "hello", &hello, err) != PITR_OK)
        return err->rc;
    copy_text(out->set_name, sizeof out->set_name, &hello, "setName");
    copy_text(out->host, sizeof out->host, &hello, "me");
    if (out->host[0] == '\0') {
        const mongoc_host_list_t *seed =
            mongoc_uri_get_hosts(mongoc_client_get_uri(conn_client(c)));

        snprintf(out->host, sizeof out->host, "%s", seed != NULL ? seed->host_and_port : "");
    }
    out->is_primary = find_bool(&hello, "isWritablePrimary");
    if (!hello_majority(&hello, &out->majority_ts, &out->majority_term)) {
        out->majority_ts = 0;
        out->majority_term = -1;
    }
    rc = read_kind(c, &hello, out, err);
    bson_destroy(&hello);
    return rc;
}

static enum pitr_rc
read_version(struct conn *c, struct server_info *out, struct pitr_err *err)
{
    bson_t reply, cmd = BSON_INITIALIZER;
    enum pitr_rc rc;

    if (run(c, "buildInfo", &reply, err) != PITR_OK) {
        bson_destroy(&cmd);
        return err->rc;
    }
    copy_text(out->version, sizeof out->version, &reply, "version");
    bson_destroy(&reply);
    if (sscanf(out->version, "%d.%d.%d", &out->major, &out->minor, &out->patch) != 3) {
        bson_destroy(&cmd);
        return pitr_fail(err, PITR_DB, "%s: cannot read its version \"%s\"", out->host,
                         out->version);
    }
    BSON_APPEND_INT32(&cmd, "getParameter", 1);
    BSON_APPEND_INT32(&cmd, "featureCompatibilityVersion", 1);
    rc = conn_command(c, "admin", &cmd, true, &reply, err);
    bson_destroy(&cmd);
    if (rc != PITR_OK) /* mongos has none, and the user may not be allowed to ask */
        return rc == PITR_DB_LOST ? rc : PITR_OK;
    copy_text(out->fcv, sizeof out->fcv, &reply, "featureCompatibilityVersion.version");
    bson_destroy(&reply);
    return PITR_OK;
}

static void
format_oid(char out[25], bson_iter_t *it)
{
    if (BSON_ITER_HOLDS_OID(it))
        bson_oid_to_string(bson_iter_oid(it), out);
}

static enum pitr_rc
read_replica_set_id(struct conn *c, struct server_info *out, struct pitr_err *err)
{
    bson_t reply;
    bson_iter_t it;
    bool found;

    if (run(c, "replSetGetConfig", &reply, err) == PITR_OK) {
        if (find_path(&reply, "config.settings.replicaSetId", &it))
            format_oid(out->replica_set_id, &it);
        bson_destroy(&reply);
        return PITR_OK;
    }
    if (err->rc == PITR_DB_LOST)
        return err->rc;
    if (read_setting(c, "local", "system.replset", NULL, "settings.replicaSetId", &it, &reply,
                     &found, err) != PITR_OK)
        return err->rc;
    if (found) {
        format_oid(out->replica_set_id, &it);
        bson_destroy(&reply);
    }
    return PITR_OK;
}

enum pitr_rc
server_inspect(struct conn *c, struct server_info *out, struct pitr_err *err)
{
    memset(out, 0, sizeof *out);
    if (read_hello(c, out, err) != PITR_OK || read_version(c, out, err) != PITR_OK)
        return err->rc;
    if (out->kind == SERVER_STANDALONE || out->kind == SERVER_MONGOS)
        return PITR_OK;
    return read_replica_set_id(c, out, err);
}

static enum pitr_rc
require_version(const struct server_info *info, struct pitr_err *err)
{
    if (info->major < OLDEST_MAJOR || (info->major == OLDEST_MAJOR && info->minor < OLDEST_MINOR) ||
        info->major > NEWEST_MAJOR)
        return pitr_fail(err, PITR_DB,
                         "%s runs MongoDB %s; pitr supports 4.4 to 8.x, because it depends on the "
                         "oplog's format",
                         info->host, info->version);
    return PITR_OK;
}

enum pitr_rc
server_require(const struct server_info *info, bool need_oplog, struct pitr_err *err)
{
    switch (info->kind) {
    case SERVER_MONGOS:
        return pitr_fail(err, PITR_DB,
                         "%s is a mongos; sharded clusters are not supported, because a backup "
                         "must be consistent across shards",
                         info->host);
    case SERVER_SHARD:
        return pitr_fail(err, PITR_DB,
                         "%s is a member of a shard; sharded clusters are not supported, because a "
                         "backup must be consistent across shards",
                         info->host);
    case SERVER_CONFIG:
        return pitr_fail(err, PITR_DB,
                         "%s is a config server; sharded clusters are not supported, because a "
                         "backup must be consistent across shards",
                         info->host);
    case SERVER_STANDALONE:
        if (need_oplog)
            return pitr_fail(err, PITR_DB,
                             "%s is a standalone mongod and has no oplog, so point-in-time "
                             "recovery is not possible; restart it with --replSet rs0 and run "
                             "rs.initiate() once to make it a one-node replica set",
                             info->host);
        break;
    case SERVER_REPLICA:
        break;
    }
    return require_version(info, err);
}
