#include "oplog/replay_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "mongo/bsonedit.h"

/* A command in hand: its entry, its first element, its database. */
struct ddl {
    struct replay *r;
    const struct oplog_entry *e;
    const struct op_context *ctx;
    struct belem first;
    const char *db;
    size_t db_len;
};

static enum pitr_rc
refuse(const struct ddl *d, const char *what, struct pitr_err *err)
{
    return replay_refuse(err, d->e, what);
}

/* A string value as a C string; server names never hold NUL. */
static bool
text_of(const struct belem *e, const char **out)
{
    size_t len;

    return belem_string(e, out, &len) && strlen(*out) == len;
}

static bool
is_server_db(const char *db, size_t len)
{
    return (len == 6 && memcmp(db, "config", 6) == 0) || (len == 5 && memcmp(db, "local", 5) == 0);
}

/* Bookkeeping collections of the server: admin.system.* but users and roles, and profiles. */
static bool
is_server_coll(const struct ddl *d, const char *name)
{
    if (strcmp(name, "system.profile") == 0)
        return true;
    return d->db_len == 5 && memcmp(d->db, "admin", 5) == 0 && strncmp(name, "system.", 7) == 0 &&
           strcmp(name, "system.users") != 0 && strcmp(name, "system.roles") != 0;
}

/* The collection the command is about. *out NULL: nothing to do (excluded, or not known yet inside
 * the window). */
static enum pitr_rc
ddl_coll(const struct ddl *d, struct replay_coll **out, struct pitr_err *err)
{
    struct replay_coll *c;
    const char *name;

    *out = NULL;
    if (!text_of(&d->first, &name))
        return refuse(d, "the command names no collection", err);
    if (is_server_coll(d, name))
        return PITR_OK;
    c = d->e->uuid != NULL ? replay_find(d->r, d->e->uuid)
                           : replay_find_name(d->r, d->db, d->db_len, name);
    if (c != NULL && !c->dropped) {
        *out = c->excluded ? NULL : c;
        return PITR_OK;
    }
    if (d->ctx->fuzzy && d->e->uuid != NULL)
        return c != NULL ? PITR_OK : replay_unresolved_add(d->r, d->e->uuid, err);
    return refuse(d, "the collection is not known at this point", err);
}

static enum pitr_rc
set_bool(struct buf *doc, const char *name, bool value, struct pitr_err *err)
{
    uint8_t raw = value;

    return bdoc_set(doc, BSON_BOOLEAN, name, &raw, 1, err);
}

static enum pitr_rc
set_text(struct buf *doc, const char *name, const char *value, struct pitr_err *err)
{
    uint8_t raw[64];
    size_t len = strlen(value) + 1;

    put_le32(raw, (uint32_t)len);
    memcpy(raw + 4, value, len);
    return bdoc_set(doc, BSON_STRING, name, raw, 4 + len, err);
}

static enum pitr_rc
set_elem(struct buf *doc, const char *name, const struct belem *e, struct pitr_err *err)
{
    return bdoc_set(doc, e->type, name, e->value, e->value_len, err);
}

/* A collection made by a user's applyOps names no _id index and gets one of the old version. */
static enum pitr_rc
put_id_index(const struct ddl *d, struct replay_coll *c, struct pitr_err *err)
{
    static const uint8_t version_1[] = "\x2e\0\0\0"
                                       "\x10v\0\1\0\0\0"
                                       "\3key\0\x0e\0\0\0\x10_id\0\1\0\0\0\0"
                                       "\2name\0\5\0\0\0_id_\0";
    struct belem e;
    bool found;

    if (bson_find(d->e->o, d->e->o_len, "idIndex", &found, &e, err) != PITR_OK)
        return err->rc;
    if (found)
        return bindex_put(&c->indexes, e.value, e.value_len, err);
    if (bson_find(d->e->o, d->e->o_len, "clusteredIndex", &found, &e, err) != PITR_OK)
        return err->rc;
    if (found)
        return PITR_OK;
    return bindex_put(&c->indexes, version_1, sizeof version_1, err);
}

static enum pitr_rc
do_create(const struct ddl *d, struct pitr_err *err)
{
    static const char *const not_options[] = {"create", "idIndex", NULL};
    struct replay_coll *c;
    struct belem e;
    const char *name;
    bool found;

    if (!text_of(&d->first, &name))
        return refuse(d, "the command names no collection", err);
    if (is_server_coll(d, name))
        return PITR_OK;
    if (bson_find(d->e->o, d->e->o_len, "viewOn", &found, &e, err) != PITR_OK)
        return err->rc;
    if (found || d->e->uuid == NULL)
        return refuse(d, "create without a collection UUID", err);
    c = replay_find(d->r, d->e->uuid);
    if (c != NULL && !d->ctx->fuzzy)
        return refuse(d, "the collection exists already", err);
    if (c == NULL && replay_add(d->r, d->db, d->db_len, name, d->e->uuid, &c, err) != PITR_OK)
        return err->rc;
    /* Known inside the window: every write since its birth follows, so it starts over, empty. Its
     * name in the catalog may be a later one, which a rename in the window then sets again. */
    replay_unresolved_remove(d->r, d->e->uuid);
    net_clear(c->net);
    c->base = REPLAY_NO_BASE;
    c->dropped = false;
    free(c->db);
    free(c->name);
    c->db = strndup(d->db, d->db_len);
    c->name = strdup(name);
    if (c->db == NULL || c->name == NULL)
        return pitr_fail(err, PITR_NOMEM, "collection %s", name);
    c->excluded = replay_is_excluded(d->r, c);
    c->was_excluded = c->excluded;
    buf_clear(&c->options);
    if (bdoc_copy_except(&c->options, d->e->o, d->e->o_len, not_options, err) != PITR_OK ||
        bdoc_empty(&c->indexes, err) != PITR_OK)
        return err->rc;
    return put_id_index(d, c, err);
}

static enum pitr_rc
do_drop(const struct ddl *d, struct pitr_err *err)
{
    const char *name;
    struct replay_coll *c;

    if (!text_of(&d->first, &name))
        return refuse(d, "the command names no collection", err);
    if (is_server_coll(d, name))
        return PITR_OK;
    c = d->e->uuid != NULL ? replay_find(d->r, d->e->uuid)
                           : replay_find_name(d->r, d->db, d->db_len, name);
    if (d->e->uuid != NULL)
        replay_unresolved_remove(d->r, d->e->uuid);
    if (c != NULL && !c->dropped) {
        replay_coll_drop(c);
        return PITR_OK;
    }
    return d->ctx->fuzzy ? PITR_OK : refuse(d, "the collection is not known at this point", err);
}

/* One drop per collection went before, so there is nothing left to do, and after the window nothing
 * may be left. */
static enum pitr_rc
do_drop_database(const struct ddl *d, struct pitr_err *err)
{
    for (size_t i = 0; !d->ctx->fuzzy && i < replay_count(d->r); i++) {
        const struct replay_coll *c = replay_at(d->r, i);

        if (!c->dropped && strlen(c->db) == d->db_len && memcmp(c->db, d->db, d->db_len) == 0)
            return refuse(d, "dropDatabase, but a collection of the database was not dropped", err);
    }
    return PITR_OK;
}

/* "db.coll" into the collection's name. */
static enum pitr_rc
set_name(struct replay_coll *c, const char *ns, struct pitr_err *err)
{
    const char *dot = strchr(ns, '.');
    char *db, *name;

    if (dot == NULL)
        return pitr_fail(err, PITR_CORRUPT, "rename to \"%s\", which is no namespace", ns);
    db = strndup(ns, (size_t)(dot - ns));
    name = strdup(dot + 1);
    free(c->db);
    free(c->name);
    c->db = db;
    c->name = name;
    return db == NULL || name == NULL ? pitr_fail(err, PITR_NOMEM, "collection %s", ns) : PITR_OK;
}

static enum pitr_rc
do_rename(const struct ddl *d, struct pitr_err *err)
{
    struct belem to, stay, target;
    struct replay_coll *c, *victim;
    const char *to_ns;
    const uint8_t *uuid;
    bool has_to, has_stay, has_target;

    if (bson_find(d->e->o, d->e->o_len, "to", &has_to, &to, err) != PITR_OK ||
        bson_find(d->e->o, d->e->o_len, "stayTemp", &has_stay, &stay, err) != PITR_OK ||
        bson_find(d->e->o, d->e->o_len, "dropTarget", &has_target, &target, err) != PITR_OK)
        return err->rc;
    if (!has_to || !text_of(&to, &to_ns) || d->e->uuid == NULL)
        return refuse(d, "rename without a target or a collection UUID", err);
    if (has_target && belem_uuid(&target, &uuid) && memcmp(uuid, d->e->uuid, UUID_LEN) != 0) {
        replay_unresolved_remove(d->r, uuid);
        victim = replay_find(d->r, uuid);
        if (victim != NULL && !victim->dropped)
            replay_coll_drop(victim);
        else if (!d->ctx->fuzzy)
            return refuse(d, "the collection it replaces is not known at this point", err);
    }
    c = replay_find(d->r, d->e->uuid);
    if (c == NULL || c->dropped) {
        if (!d->ctx->fuzzy)
            return refuse(d, "the collection is not known at this point", err);
        return c != NULL ? PITR_OK : replay_unresolved_add(d->r, d->e->uuid, err);
    }
    if (set_name(c, to_ns, err) != PITR_OK)
        return err->rc;
    c->was_excluded |= c->excluded;
    c->excluded = replay_is_excluded(d->r, c);
    if (c->options.len != 0 && !(has_stay && belem_truthy(&stay)))
        return bdoc_unset(&c->options, "temp", err);
    return PITR_OK;
}

static enum pitr_rc
do_create_index(const struct ddl *d, struct pitr_err *err)
{
    static const char *const not_spec[] = {"createIndexes", NULL};
    PITR_AUTO(buf_release) struct buf spec = {0};
    struct replay_coll *c;

    if (ddl_coll(d, &c, err) != PITR_OK)
        return err->rc;
    if (c == NULL)
        return PITR_OK;
    if (bdoc_copy_except(&spec, d->e->o, d->e->o_len, not_spec, err) != PITR_OK)
        return err->rc;
    return bindex_put(&c->indexes, spec.data, spec.len, err);
}

static enum pitr_rc
do_commit_index_build(const struct ddl *d, struct pitr_err *err)
{
    struct replay_coll *c;
    struct belem list, spec;
    struct biter it;
    bool found;

    if (ddl_coll(d, &c, err) != PITR_OK)
        return err->rc;
    if (c == NULL)
        return PITR_OK;
    if (bson_find(d->e->o, d->e->o_len, "indexes", &found, &list, err) != PITR_OK)
        return err->rc;
    if (!found || list.type != BSON_ARRAY)
        return refuse(d, "commitIndexBuild without index specs", err);
    if (biter_init(&it, list.value, list.value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return err->rc;
        if (spec.type == BSON_EOD)
            return PITR_OK;
        if (spec.type != BSON_DOC)
            return refuse(d, "commitIndexBuild holds something that is no index spec", err);
        if (bindex_put(&c->indexes, spec.value, spec.value_len, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
do_drop_index(const struct ddl *d, struct pitr_err *err)
{
    struct replay_coll *c;
    struct belem index;
    const char *name;
    size_t len;
    bool found;

    if (ddl_coll(d, &c, err) != PITR_OK)
        return err->rc;
    if (c == NULL)
        return PITR_OK;
    if (bson_find(d->e->o, d->e->o_len, "index", &found, &index, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&index, &name, &len))
        return refuse(d, "dropIndexes without an index name", err);
    return bindex_remove(&c->indexes, name, len, err);
}

/* One field of collMod's `index` document into the spec. */
static enum pitr_rc
mod_index_field(const struct ddl *d, struct buf *spec, const struct belem *e, struct pitr_err *err)
{
    if (belem_is(e, "name") || belem_is(e, "keyPattern"))
        return PITR_OK;
    if (belem_is(e, "hidden"))
        return belem_truthy(e) ? set_bool(spec, "hidden", true, err)
                               : bdoc_unset(spec, "hidden", err);
    if (belem_is(e, "prepareUnique"))
        return belem_truthy(e) ? set_bool(spec, "prepareUnique", true, err)
                               : bdoc_unset(spec, "prepareUnique", err);
    if (belem_is(e, "unique")) {
        if (bdoc_unset(spec, "prepareUnique", err) != PITR_OK)
            return err->rc;
        return set_bool(spec, "unique", true, err);
    }
    if (belem_is(e, "expireAfterSeconds"))
        return set_elem(spec, "expireAfterSeconds", e, err);
    return refuse(d, "collMod changes an index in a way this version does not know", err);
}

static enum pitr_rc
mod_index(const struct ddl *d, struct replay_coll *c, const struct belem *change,
          struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf spec = {0};
    struct biter it;
    struct belem e, old;
    const char *name;
    size_t len;
    bool found;

    if (change->type != BSON_DOC)
        return refuse(d, "collMod index is no document", err);
    if (bson_find(change->value, change->value_len, "name", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&e, &name, &len))
        return refuse(d, "collMod names no index", err);
    if (bindex_find(&c->indexes, name, len, &found, &old, err) != PITR_OK)
        return err->rc;
    if (!found)
        return d->ctx->fuzzy ? PITR_OK : refuse(d, "the index is not known at this point", err);
    if (buf_append(&spec, old.value, old.value_len, err) != PITR_OK ||
        biter_init(&it, change->value, change->value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return bindex_put(&c->indexes, spec.data, spec.len, err);
        if (mod_index_field(d, &spec, &e, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
default_text(struct buf *doc, const char *name, const char *value, struct pitr_err *err)
{
    struct belem have;
    bool found;

    if (bson_find(doc->data, doc->len, name, &found, &have, err) != PITR_OK)
        return err->rc;
    return found ? PITR_OK : set_text(doc, name, value, err);
}

/* Whichever of the three a collMod sets, the server then writes down level and action. */
static enum pitr_rc
mod_validation(struct replay_coll *c, const struct belem *e, struct pitr_err *err)
{
    bool removes = belem_is(e, "validator") && (e->type != BSON_DOC || e->value_len <= 5);

    if (removes) {
        if (bdoc_unset(&c->options, "validator", err) != PITR_OK)
            return err->rc;
    } else if (set_elem(&c->options, e->name, e, err) != PITR_OK) {
        return err->rc;
    }
    if (default_text(&c->options, "validationLevel", "strict", err) != PITR_OK)
        return err->rc;
    return default_text(&c->options, "validationAction", "error", err);
}

/* Longest span of a bucket, in seconds, by granularity: fixed by the server. */
static int32_t
bucket_span(const char *granularity, size_t len)
{
    if (len == 7 && memcmp(granularity, "seconds", 7) == 0)
        return 3600;
    if (len == 7 && memcmp(granularity, "minutes", 7) == 0)
        return 86400;
    if (len == 5 && memcmp(granularity, "hours", 5) == 0)
        return 2592000;
    return 0;
}

static enum pitr_rc
mod_timeseries(const struct ddl *d, struct replay_coll *c, const struct belem *change,
               struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf ts = {0};
    struct belem e, have;
    struct biter it;
    const char *text;
    uint8_t raw[4];
    size_t len;
    bool found;

    if (bson_find(c->options.data, c->options.len, "timeseries", &found, &have, err) != PITR_OK)
        return err->rc;
    if (!found || have.type != BSON_DOC || change->type != BSON_DOC)
        return refuse(d, "collMod of time-series options where there are none", err);
    if (buf_append(&ts, have.value, have.value_len, err) != PITR_OK ||
        biter_init(&it, change->value, change->value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return bdoc_set(&c->options, BSON_DOC, "timeseries", ts.data, ts.len, err);
        if (set_elem(&ts, e.name, &e, err) != PITR_OK)
            return err->rc;
        if (belem_is(&e, "granularity") && belem_string(&e, &text, &len) &&
            bucket_span(text, len) != 0) {
            put_le32(raw, (uint32_t)bucket_span(text, len));
            if (bdoc_set(&ts, BSON_INT, "bucketMaxSpanSeconds", raw, sizeof raw, err) != PITR_OK)
                return err->rc;
        }
    }
}

static enum pitr_rc
mod_field(const struct ddl *d, struct replay_coll *c, const struct belem *e, struct pitr_err *err)
{
    static const char *const plain[] = {"changeStreamPreAndPostImages", "recordPreImages", NULL};

    if (belem_is(e, "collMod"))
        return PITR_OK;
    if (belem_is(e, "index"))
        return mod_index(d, c, e, err);
    if (belem_is(e, "validator") || belem_is(e, "validationLevel") ||
        belem_is(e, "validationAction"))
        return mod_validation(c, e, err);
    if (belem_is(e, "timeseries"))
        return mod_timeseries(d, c, e, err);
    if (belem_is(e, "cappedSize"))
        return set_elem(&c->options, "size", e, err);
    if (belem_is(e, "cappedMax"))
        return set_elem(&c->options, "max", e, err);
    if (belem_is(e, "expireAfterSeconds"))
        return e->type == BSON_STRING ? bdoc_unset(&c->options, "expireAfterSeconds", err)
                                      : set_elem(&c->options, "expireAfterSeconds", e, err);
    for (size_t i = 0; plain[i] != NULL; i++)
        if (belem_is(e, plain[i]))
            return set_elem(&c->options, plain[i], e, err);
    /* Flags about how a server keeps its buckets inside; they are no options a client can see or
     * set. */
    if (strncmp(e->name, "timeseriesBuckets", 17) == 0 || strncmp(e->name, "_remove", 7) == 0)
        return PITR_OK;
    return refuse(d, "collMod changes something this version does not know", err);
}

static enum pitr_rc
do_coll_mod(const struct ddl *d, struct pitr_err *err)
{
    struct replay_coll *c;
    struct biter it;
    struct belem e;

    if (ddl_coll(d, &c, err) != PITR_OK)
        return err->rc;
    if (c == NULL)
        return PITR_OK;
    if (biter_init(&it, d->e->o, d->e->o_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (mod_field(d, c, &e, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
do_empty_capped(const struct ddl *d, struct pitr_err *err)
{
    struct replay_coll *c;

    if (ddl_coll(d, &c, err) != PITR_OK)
        return err->rc;
    if (c != NULL) {
        net_clear(c->net);
        c->base = REPLAY_NO_BASE;
    }
    return PITR_OK;
}

static enum pitr_rc
do_import_collection(const struct ddl *d, struct pitr_err *err)
{
    struct belem dry;
    bool found;

    if (bson_find(d->e->o, d->e->o_len, "dryRun", &found, &dry, err) != PITR_OK)
        return err->rc;
    if (found && belem_truthy(&dry))
        return PITR_OK;
    return pitr_fail(err, PITR_GAP,
                     "a collection was imported at %u,%u, whose data is not in the oplog; choose a "
                     "time before it, or take a new snapshot",
                     ts_secs(d->ctx->ts), ts_inc(d->ctx->ts));
}

static enum pitr_rc
do_nothing(const struct ddl *d, struct pitr_err *err)
{
    (void)d;
    (void)err;
    return PITR_OK;
}

struct command {
    const char *name;
    enum pitr_rc (*run)(const struct ddl *d, struct pitr_err *err);
};

static const struct command commands[] = {
    {"create", do_create},
    {"drop", do_drop},
    {"dropDatabase", do_drop_database},
    {"renameCollection", do_rename},
    {"collMod", do_coll_mod},
    {"createIndexes", do_create_index},
    {"startIndexBuild", do_nothing},
    {"commitIndexBuild", do_commit_index_build},
    {"abortIndexBuild", do_nothing},
    {"dropIndexes", do_drop_index},
    {"deleteIndexes", do_drop_index},
    {"dropIndex", do_drop_index},
    {"deleteIndex", do_drop_index},
    {"emptycapped", do_empty_capped},
    {"importCollection", do_import_collection},
    /* No effect on documents or catalog as clients see them. */
    {"dbCheck", do_nothing},
    {"createDatabaseMetadata", do_nothing},
    {"dropDatabaseMetadata", do_nothing},
    {"modifyCollectionShardingIndexCatalog", do_nothing},
    {"setMultikeyMetadata", do_nothing},
    {"dropIdent", do_nothing},
};

enum pitr_rc
replay_command(struct replay *r, const struct oplog_entry *e, const struct op_context *ctx,
               struct pitr_err *err)
{
    const char *dot = strchr(e->ns, '.');
    struct ddl d = {.r = r, .e = e, .ctx = ctx, .db = e->ns};
    struct biter it;

    if (dot == NULL)
        return replay_refuse(err, e, "namespace without a dot");
    d.db_len = (size_t)(dot - e->ns);
    if (is_server_db(d.db, d.db_len))
        return PITR_OK;
    if (biter_init(&it, e->o, e->o_len, err) != PITR_OK ||
        biter_next(&it, &d.first, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (d.first.type == BSON_EOD || !belem_is(&d.first, commands[i].name))
            continue;
        r->operations++;
        return commands[i].run(&d, err);
    }
    return replay_refuse(err, e, "a command this version does not know");
}
