#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "engine/doc_mongo.h"
#include "mongo/bsonedit.h"
#include "mongo/bsonio.h"
#include "mongo/ns.h"

/* How long the catalog may take to become majority-committed, and how often it may have to be read
 * again because of elections or renames, before that is an error. */
enum { SETTLE_MS = 60000, SETTLE_POLL_MS = 5, READ_AGAIN_MAX = 10 };

/* One walk through the catalog. */
struct walk {
    struct doc_mongo *source;
    struct conn *conn;
    mongoc_client_session_t *session; /* NULL on a standalone */
    const uint8_t *uuid;              /* only this collection, or NULL */
};

static void
walk_end(struct walk *w)
{
    doc_mongo_saw(w->source, w->session);
    if (w->session != NULL)
        mongoc_client_session_destroy(w->session);
    conn_give(w->conn);
}

static enum pitr_rc
walk_begin(struct walk *w, struct doc_mongo *s, const uint8_t *uuid, struct pitr_err *err)
{
    *w = (struct walk){.source = s, .uuid = uuid};
    if (conn_take(&w->conn, s->mongo, err) != PITR_OK)
        return err->rc;
    if (doc_mongo_session(s, w->conn, atomic_load(&s->catalog_ts), &w->session, err) != PITR_OK) {
        walk_end(w);
        return err->rc;
    }
    return PITR_OK;
}

/* A command on the walk's session. *reply is the caller's to destroy in either case. */
static enum pitr_rc
walk_command(const struct walk *w, const char *db, const bson_t *cmd, bson_t *reply,
             const char *what, struct pitr_err *err)
{
    bson_t opts = BSON_INITIALIZER;
    bson_error_t cause;
    enum pitr_rc rc = PITR_OK;

    if (w->session != NULL && !mongoc_client_session_append(w->session, &opts, &cause)) {
        bson_init(reply);
        rc = conn_fail(w->conn, &cause, NULL, what, err);
    } else if (!mongoc_client_read_command_with_opts(conn_client(w->conn), db, cmd, NULL, &opts,
                                                     reply, &cause)) {
        rc = doc_mongo_fail(w->conn, &cause, reply, what, err);
    }
    bson_destroy(&opts);
    return rc;
}

/* Of system collections only these are replicated data that belongs to a user. */
static bool
is_wanted(const char *db, const char *name)
{
    const bool admin = strcmp(db, "admin") == 0;

    if (strncmp(name, "system.", 7) != 0)
        return true;
    name += 7;
    return strcmp(name, "views") == 0 || strcmp(name, "js") == 0 ||
           strncmp(name, "buckets.", 8) == 0 ||
           (admin && (strcmp(name, "users") == 0 || strcmp(name, "roles") == 0));
}

static enum pitr_rc
list_dbs(const struct walk *w, struct fs_names *out, struct pitr_err *err)
{
    bson_t cmd = BSON_INITIALIZER, reply;
    bson_iter_t it, db, name;
    enum pitr_rc rc;

    /* A user who may not see all databases shall get an error, not those that he may see. */
    if (BSON_APPEND_INT32(&cmd, "listDatabases", 1) && BSON_APPEND_BOOL(&cmd, "nameOnly", true) &&
        BSON_APPEND_BOOL(&cmd, "authorizedDatabases", false)) {
        rc = walk_command(w, "admin", &cmd, &reply, "list databases", err);
    } else {
        bson_init(&reply);
        rc = pitr_fail(err, PITR_NOMEM, "list databases");
    }
    if (rc == PITR_OK && !(bson_iter_init_find(&it, &reply, "databases") &&
                           BSON_ITER_HOLDS_ARRAY(&it) && bson_iter_recurse(&it, &db)))
        rc = pitr_fail(err, PITR_DB, "list databases: the reply has no databases");
    while (rc == PITR_OK && bson_iter_next(&db)) {
        const char *text;

        if (!BSON_ITER_HOLDS_DOCUMENT(&db) || !bson_iter_recurse(&db, &name) ||
            !bson_iter_find(&name, "name") || !BSON_ITER_HOLDS_UTF8(&name))
            continue;
        text = bson_iter_utf8(&name, NULL);
        if (strcmp(text, "local") != 0 && strcmp(text, "config") != 0)
            rc = fs_names_add(out, text, err);
    }
    bson_destroy(&reply);
    bson_destroy(&cmd);
    return rc;
}

/* One element of listIndexes' reply: a spec, a spec in an envelope, or an unfinished build. */
static bool
append_index(bson_t *out, uint32_t n, const bson_iter_t *element, bool *added)
{
    char text[16];
    const char *key;
    const uint8_t *data;
    uint32_t len;
    bson_t doc, spec;
    bson_iter_t it;
    bool ok;

    *added = false;
    bson_iter_document(element, &len, &data);
    if (!bson_init_static(&doc, data, len))
        return false;
    if (bson_iter_init_find(&it, &doc, "spec") && BSON_ITER_HOLDS_DOCUMENT(&it)) {
        bson_iter_t build;

        if (bson_iter_init_find(&build, &doc, "buildUUID"))
            return true; /* its commitIndexBuild entry will bring it */
        bson_iter_document(&it, &len, &data);
        if (!bson_init_static(&doc, data, len))
            return false;
    }
    if (bson_iter_init_find(&it, &doc, "clustered") && bson_iter_as_bool(&it))
        return true; /* part of the collection's options */
    bson_uint32_to_string(n, &key, text, sizeof text);
    bson_init(&spec);
    bson_copy_to_excluding_noinit(&doc, &spec, "ns", (char *)NULL);
    ok = BSON_APPEND_DOCUMENT(out, key, &spec);
    bson_destroy(&spec);
    *added = ok;
    return ok;
}

static enum pitr_rc
collect_indexes(const bson_t *reply, const char *what, struct buf *out, struct pitr_err *err)
{
    bson_t specs = BSON_INITIALIZER;
    bson_iter_t it, id, batch;
    uint32_t n = 0;
    bool added = false;
    enum pitr_rc rc = PITR_OK;

    if (!bson_iter_init(&it, reply) ||
        !bson_iter_find_descendant(&it, "cursor.firstBatch", &batch) ||
        !BSON_ITER_HOLDS_ARRAY(&batch) || !bson_iter_recurse(&batch, &it))
        rc = pitr_fail(err, PITR_DB, "%s: the reply has no indexes", what);
    else if (bson_iter_init(&batch, reply) && bson_iter_find_descendant(&batch, "cursor.id", &id) &&
             bson_iter_as_int64(&id) != 0)
        rc = pitr_fail(err, PITR_DB, "%s: more indexes than one reply holds", what);
    while (rc == PITR_OK && bson_iter_next(&it)) {
        if (!BSON_ITER_HOLDS_DOCUMENT(&it) || !append_index(&specs, n, &it, &added))
            rc = pitr_fail(err, PITR_DB, "%s: an index that cannot be read", what);
        n += added;
    }
    if (rc == PITR_OK)
        rc = buf_append(out, bson_get_data(&specs), specs.len, err);
    bson_destroy(&specs);
    return rc;
}

/* NOTFOUND: no collection of that name any more. */
static enum pitr_rc
list_indexes(const struct walk *w, const char *db, const char *name, bool with_builds,
             struct buf *out, struct pitr_err *err)
{
    char what[512];
    bson_t cmd = BSON_INITIALIZER, cursor, reply;
    enum pitr_rc rc;
    bool ok;

    snprintf(what, sizeof what, "list indexes of %s.%s", db, name);
    ok = BSON_APPEND_UTF8(&cmd, "listIndexes", name) &&
         BSON_APPEND_DOCUMENT_BEGIN(&cmd, "cursor", &cursor) &&
         bson_append_document_end(&cmd, &cursor) &&
         (!with_builds || BSON_APPEND_BOOL(&cmd, "includeBuildUUIDs", true));
    if (ok) {
        rc = walk_command(w, db, &cmd, &reply, what, err);
    } else {
        bson_init(&reply);
        rc = pitr_fail(err, PITR_NOMEM, "%s", what);
    }
    if (rc == PITR_OK)
        rc = collect_indexes(&reply, what, out, err);
    bson_destroy(&reply);
    bson_destroy(&cmd);
    return rc;
}

/* Append to `out` the specs of `all` whose names are in `finished`. */
static enum pitr_rc
keep_finished(struct buf *out, const struct buf *all, const struct buf *finished,
              struct pitr_err *err)
{
    struct biter it;
    struct belem spec, name, other;
    const char *text;
    size_t len;
    bool found;

    if (bdoc_empty(out, err) != PITR_OK || biter_init(&it, all->data, all->len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return err->rc;
        if (spec.type == BSON_EOD)
            return PITR_OK;
        if (bson_find(spec.value, spec.value_len, "name", &found, &name, err) != PITR_OK)
            return err->rc;
        if (!found || !belem_string(&name, &text, &len))
            continue;
        if (bindex_find(finished, text, len, &found, &other, err) != PITR_OK ||
            (found && bindex_put(out, spec.value, spec.value_len, err) != PITR_OK))
            return err->rc;
    }
}

/*
 * While an index of a time-series collection is built, the server cannot say of the buckets which
 * of their indexes are finished: it fails over its own answer. Of the collection that users see it
 * can, but tells it in their terms. So the names come from there, and the specs, unfinished ones
 * among them, from the buckets.
 */
static enum pitr_rc
read_bucket_indexes(const struct walk *w, struct source_coll *c, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf finished = {0};
    PITR_AUTO(buf_release) struct buf all = {0};

    if (list_indexes(w, c->db, ns_visible_name(c->name), true, &finished, err) != PITR_OK ||
        list_indexes(w, c->db, c->name, false, &all, err) != PITR_OK)
        return err->rc;
    return keep_finished(&c->indexes, &all, &finished, err);
}

/* NOTFOUND: no collection of that name any more. */
static enum pitr_rc
read_indexes(const struct walk *w, struct source_coll *c, struct pitr_err *err)
{
    const bool is_buckets = ns_is_buckets(c->name);

    if (list_indexes(w, c->db, c->name, true, &c->indexes, err) == PITR_OK)
        return PITR_OK;
    return is_buckets && err->rc == PITR_DB ? read_bucket_indexes(w, c, err) : err->rc;
}

/* Size and count as the server remembers them. They only steer progress and batch sizes, so not
 * being told them (missing privilege, collection gone) is no error. */
static void
read_estimates(const struct walk *w, struct source_coll *c)
{
    char ns[512];
    bson_t cmd = BSON_INITIALIZER, reply;
    bson_error_t cause;
    bson_iter_t it;

    snprintf(ns, sizeof ns, "%s.%s", c->db, c->name);
    BSON_APPEND_UTF8(&cmd, "dataSize", ns);
    BSON_APPEND_BOOL(&cmd, "estimate", true);
    if (mongoc_client_read_command_with_opts(conn_client(w->conn), c->db, &cmd, NULL, NULL, &reply,
                                             &cause)) {
        if (bson_iter_init_find(&it, &reply, "size") && bson_iter_as_int64(&it) > 0)
            c->bytes = (uint64_t)bson_iter_as_int64(&it);
        if (bson_iter_init_find(&it, &reply, "numObjects") && bson_iter_as_int64(&it) > 0)
            c->documents = (uint64_t)bson_iter_as_int64(&it);
    }
    bson_destroy(&reply);
    bson_destroy(&cmd);
}

/* Read one element of listCollections' reply into *c; *wanted false for what is no collection of
 * ours. */
static enum pitr_rc
parse_coll(const bson_t *doc, const char *db, struct source_coll *c, bool *wanted,
           struct pitr_err *err)
{
    const uint8_t *data = bson_get_data(doc), *uuid = NULL;
    const char *name, *type;
    size_t name_len, type_len;
    struct belem e, info;
    bool found, has_uuid;

    *wanted = false;
    if (bson_find(data, doc->len, "name", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&e, &name, &name_len))
        return pitr_fail(err, PITR_DB, "list collections of %s: one has no name", db);
    if (bson_find(data, doc->len, "type", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&e, &type, &type_len))
        return pitr_fail(err, PITR_DB, "list collections of %s: %s has no type", db, name);
    if (bson_find(data, doc->len, "info", &found, &info, err) != PITR_OK)
        return err->rc;
    has_uuid = found && info.type == BSON_DOC;
    if (has_uuid && bson_find(info.value, info.value_len, "uuid", &has_uuid, &e, err) != PITR_OK)
        return err->rc;
    has_uuid = has_uuid && belem_uuid(&e, &uuid);
    if (strcmp(type, "timeseries") == 0 && has_uuid)
        return pitr_fail(err, PITR_DB,
                         "%s.%s: time-series collections without a bucket collection are not "
                         "supported",
                         db, name);
    if (strcmp(type, "collection") != 0 || !is_wanted(db, name))
        return PITR_OK;
    if (!has_uuid)
        return pitr_fail(err, PITR_DB, "list collections of %s: %s has no UUID", db, name);
    memcpy(c->uuid, uuid, sizeof c->uuid);
    if (bson_find(data, doc->len, "options", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || e.type != BSON_DOC)
        return pitr_fail(err, PITR_DB, "list collections of %s: %s has no options", db, name);
    if (buf_append(&c->options, e.value, e.value_len, err) != PITR_OK)
        return err->rc;
    c->db = strdup(db);
    c->name = strndup(name, name_len);
    if (c->db == NULL || c->name == NULL)
        return pitr_fail(err, PITR_NOMEM, "collection %s.%s", db, name);
    *wanted = true;
    return PITR_OK;
}

static mongoc_cursor_t *
open_listing(const struct walk *w, mongoc_database_t *db, struct pitr_err *err)
{
    bson_t opts = BSON_INITIALIZER, filter;
    mongoc_cursor_t *cursor = NULL;
    bson_error_t cause;
    bool ok = true;

    if (w->uuid != NULL)
        ok = BSON_APPEND_DOCUMENT_BEGIN(&opts, "filter", &filter) &&
             BSON_APPEND_BINARY(&filter, "info.uuid", BSON_SUBTYPE_UUID, w->uuid, 16) &&
             bson_append_document_end(&opts, &filter);
    if (!ok)
        pitr_fail(err, PITR_NOMEM, "list collections");
    else if (w->session != NULL && !mongoc_client_session_append(w->session, &opts, &cause))
        conn_fail(w->conn, &cause, NULL, "list collections", err);
    else
        cursor = mongoc_database_find_collections_with_opts(db, &opts);
    bson_destroy(&opts);
    return cursor;
}

/* The collections of one database as listCollections gives them: no indexes yet. */
static enum pitr_rc
list_db(const struct walk *w, const char *name, struct source_list *out, struct pitr_err *err)
{
    mongoc_database_t *db = mongoc_client_get_database(conn_client(w->conn), name);
    mongoc_cursor_t *cursor = open_listing(w, db, err);
    const bson_t *doc, *reply = NULL;
    bson_error_t cause;
    char what[160];
    enum pitr_rc rc = cursor != NULL ? PITR_OK : err->rc;

    while (rc == PITR_OK && mongoc_cursor_next(cursor, &doc)) {
        struct source_coll c = {0};
        bool wanted;

        rc = parse_coll(doc, name, &c, &wanted, err);
        if (rc == PITR_OK && wanted)
            rc = source_list_take(out, &c, err);
        source_coll_release(&c);
    }
    snprintf(what, sizeof what, "list collections of %s", name);
    if (rc == PITR_OK && mongoc_cursor_error_document(cursor, &cause, &reply))
        rc = conn_fail(w->conn, &cause, reply, what, err);
    if (cursor != NULL)
        mongoc_cursor_destroy(cursor);
    mongoc_database_destroy(db);
    return rc;
}

/*
 * Read the catalog once. A collection that goes away between its entry and its indexes is looked up
 * by its UUID, which either finds it under its new name or proves that it was dropped.
 */
static enum pitr_rc
walk_catalog(struct walk *w, struct source_list *out, unsigned depth, struct pitr_err *err)
{
    struct fs_names dbs = {0};
    enum pitr_rc rc = list_dbs(w, &dbs, err);

    for (size_t i = 0; rc == PITR_OK && i < dbs.len; i++) {
        size_t keep = out->len;

        rc = list_db(w, dbs.at[i], out, err);
        for (size_t k = keep; rc == PITR_OK && k < out->len; k++) {
            struct source_coll c = out->at[k];
            struct source_list moved = {0};
            struct walk look = *w;

            out->at[k] = (struct source_coll){0};
            rc = read_indexes(w, &c, err);
            if (rc == PITR_NOTFOUND && depth < READ_AGAIN_MAX) {
                look.uuid = c.uuid;
                rc = walk_catalog(&look, &moved, depth + 1, err);
                if (rc == PITR_OK && moved.len > 0) {
                    source_coll_release(&c);
                    c = moved.at[0];
                    moved.at[0] = (struct source_coll){0};
                    out->at[keep++] = c;
                } else {
                    source_coll_release(&c);
                }
                source_list_release(&moved);
                continue;
            }
            read_estimates(w, &c);
            out->at[keep++] = c;
        }
        if (rc == PITR_OK)
            out->len = keep;
    }
    fs_names_release(&dbs);
    return rc;
}

/*
 * Wait until what the catalog showed is majority-committed. *settled false when the term is no
 * longer `term`: an election may have rolled back what was read.
 */
static enum pitr_rc
settle(struct doc_mongo *s, int64_t term, bool *settled, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *conn = NULL;
    const int64_t deadline = clock_mono_ms() + SETTLE_MS;
    const uint64_t read_ts = atomic_load(&s->read_ts);
    uint_fast64_t known = atomic_load(&s->catalog_ts);
    uint64_t ts;
    int64_t now_term;

    if (conn_take(&conn, s->mongo, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (server_majority(conn, &ts, &now_term, err) != PITR_OK)
            return err->rc;
        *settled = now_term == term;
        if (!*settled || ts >= read_ts)
            break;
        if (clock_mono_ms() > deadline)
            return pitr_fail(err, PITR_DB_LOST,
                             "the catalog's last change is not majority-committed after %d s; are "
                             "enough members of the replica set up?",
                             SETTLE_MS / 1000);
        clock_sleep_ms(SETTLE_POLL_MS);
    }
    /* Two readers may look up collections at once: never backwards. */
    while (known < read_ts && !atomic_compare_exchange_weak(&s->catalog_ts, &known, read_ts))
        continue;
    return PITR_OK;
}

static enum pitr_rc
current_term(struct doc_mongo *s, int64_t *term, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *conn = NULL;
    uint64_t ts;

    if (conn_take(&conn, s->mongo, err) != PITR_OK)
        return err->rc;
    return server_majority(conn, &ts, term, err);
}

static enum pitr_rc
read_once(struct doc_mongo *s, const uint8_t *uuid, struct source_list *out, struct pitr_err *err)
{
    struct walk w;
    enum pitr_rc rc;

    if (walk_begin(&w, s, uuid, err) != PITR_OK)
        return err->rc;
    rc = walk_catalog(&w, out, 0, err);
    walk_end(&w);
    return rc;
}

/* The whole catalog, or the entry of one UUID, committed. */
static enum pitr_rc
read_catalog(struct doc_mongo *s, const uint8_t *uuid, struct source_list *out,
             struct pitr_err *err)
{
    if (s->standalone)
        return read_once(s, uuid, out, err);
    for (int i = 0; i < READ_AGAIN_MAX; i++) {
        int64_t term;
        bool settled = false;

        if (current_term(s, &term, err) != PITR_OK || read_once(s, uuid, out, err) != PITR_OK ||
            settle(s, term, &settled, err) != PITR_OK)
            return err->rc;
        if (settled)
            return PITR_OK;
        source_list_release(out);
    }
    return pitr_fail(err, PITR_DB_LOST, "elections keep interrupting the reading of the catalog");
}

enum pitr_rc
doc_mongo_list(struct doc_source *base, struct source_list *out, struct pitr_err *err)
{
    *out = (struct source_list){0};
    if (read_catalog((struct doc_mongo *)base, NULL, out, err) != PITR_OK) {
        source_list_release(out);
        return err->rc;
    }
    return PITR_OK;
}

enum pitr_rc
doc_mongo_locate(struct doc_source *base, const uint8_t uuid[16], struct source_coll *out,
                 bool *found, struct pitr_err *err)
{
    struct source_list list = {0};
    enum pitr_rc rc = read_catalog((struct doc_mongo *)base, uuid, &list, err);

    *found = rc == PITR_OK && list.len > 0;
    if (*found) {
        *out = list.at[0];
        list.at[0] = (struct source_coll){0};
    }
    source_list_release(&list);
    return rc;
}

enum pitr_rc
doc_mongo_confirm(struct doc_source *base, const struct source_coll *coll, struct pitr_err *err)
{
    struct doc_mongo *s = (struct doc_mongo *)base;
    struct source_list now = {0};
    bool same;
    struct walk w;
    enum pitr_rc rc;

    if (s->knows_uuid) /* find itself has checked, and a rename kills the cursor */
        return PITR_OK;
    if (walk_begin(&w, s, coll->uuid, err) != PITR_OK)
        return err->rc;
    rc = list_db(&w, coll->db, &now, err);
    walk_end(&w);
    same = rc == PITR_OK && now.len == 1 && strcmp(now.at[0].name, coll->name) == 0;
    source_list_release(&now);
    if (rc == PITR_OK && !same)
        rc = pitr_fail(err, PITR_NOTFOUND, "%s.%s was renamed or dropped", coll->db, coll->name);
    return rc;
}

static bool
is_of_type(const bson_t *entry, const char *type)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, entry, "type") && BSON_ITER_HOLDS_UTF8(&it) &&
           strcmp(bson_iter_utf8(&it, NULL), type) == 0;
}

/* One element of listCollections' reply as the document of system.views that it was made from. */
static enum pitr_rc
append_view(struct buf *docs, const char *db, const bson_t *entry, struct pitr_err *err)
{
    bson_t doc = BSON_INITIALIZER, options, pipeline;
    char ns[512], on[512];
    const char *name = NULL;
    const uint8_t *data;
    uint32_t len;
    bson_iter_t it;
    bool ok;

    if (bson_iter_init_find(&it, entry, "name") && BSON_ITER_HOLDS_UTF8(&it))
        name = bson_iter_utf8(&it, NULL);
    if (name == NULL || !bson_iter_init_find(&it, entry, "options") ||
        !BSON_ITER_HOLDS_DOCUMENT(&it)) {
        bson_destroy(&doc);
        return pitr_fail(err, PITR_DB, "list views of %s: one has no name or no options", db);
    }
    bson_iter_document(&it, &len, &data);
    snprintf(ns, sizeof ns, "%s.%s", db, name);
    snprintf(on, sizeof on, "%s%s", NS_BUCKETS_PREFIX, name);
    ok = BSON_APPEND_UTF8(&doc, "_id", ns);
    if (is_of_type(entry, "view"))
        ok = ok && bson_init_static(&options, data, len) && bson_concat(&doc, &options);
    else
        ok = ok && BSON_APPEND_UTF8(&doc, "viewOn", on) &&
             BSON_APPEND_ARRAY_BEGIN(&doc, "pipeline", &pipeline) &&
             bson_append_array_end(&doc, &pipeline);
    if (ok)
        err->rc = buf_append(docs, bson_get_data(&doc), doc.len, err);
    else
        pitr_fail(err, PITR_NOMEM, "view %s", ns);
    bson_destroy(&doc);
    return err->rc;
}

static enum pitr_rc
list_views(const struct walk *w, const char *name, struct buf *docs, struct pitr_err *err)
{
    mongoc_database_t *db = mongoc_client_get_database(conn_client(w->conn), name);
    mongoc_cursor_t *cursor = open_listing(w, db, err);
    const bson_t *entry, *reply = NULL;
    bson_error_t cause;
    enum pitr_rc rc = cursor != NULL ? PITR_OK : err->rc;

    while (rc == PITR_OK && mongoc_cursor_next(cursor, &entry))
        if (is_of_type(entry, "view") || is_of_type(entry, "timeseries"))
            rc = append_view(docs, name, entry, err);
    if (rc == PITR_OK && mongoc_cursor_error_document(cursor, &cause, &reply))
        rc = conn_fail(w->conn, &cause, reply, "list views", err);
    if (cursor != NULL)
        mongoc_cursor_destroy(cursor);
    mongoc_database_destroy(db);
    return rc;
}

enum pitr_rc
doc_mongo_views(struct doc_mongo *s, const char *db, struct buf *docs, struct pitr_err *err)
{
    for (int i = 0; i < READ_AGAIN_MAX; i++) {
        bool settled = s->standalone;
        struct walk w;
        int64_t term = 0;
        enum pitr_rc rc;

        buf_clear(docs);
        if ((!s->standalone && current_term(s, &term, err) != PITR_OK) ||
            walk_begin(&w, s, NULL, err) != PITR_OK)
            return err->rc;
        rc = list_views(&w, db, docs, err);
        walk_end(&w);
        if (rc != PITR_OK || (!settled && settle(s, term, &settled, err) != PITR_OK))
            return err->rc;
        if (settled)
            return PITR_OK;
    }
    return pitr_fail(err, PITR_DB_LOST, "elections keep interrupting the reading of the catalog");
}
