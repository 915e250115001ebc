#include "oplog/replay_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "mongo/bsonedit.h"

static enum pitr_rc
refuse(const struct ddl *d, const char *what, struct pitr_err *err)
{
    return replay_refuse(err, d->e, what);
}

/* A field of the command is not what it must be. */
static enum pitr_rc
bad_field(const struct ddl *d, const char *field, const char *why, struct pitr_err *err)
{
    char what[256];

    snprintf(what, sizeof what, "field %.100s: %s", field, why);
    return refuse(d, what, err);
}

static enum pitr_rc
names_nothing(const struct ddl *d, struct pitr_err *err)
{
    return bad_field(d, d->first.name, "no collection's name", err);
}

/* A string value as a C string; server names never hold NUL. */
static bool
text_of(const struct belem *e, const char **out)
{
    size_t len;

    return belem_string(e, out, &len) && strlen(*out) == len;
}

static bool
is_server_coll(const struct ddl *d, const char *name)
{
    return replay_is_server(d->db, d->db_len, name);
}

/* The collection the command is about. *out NULL: nothing to do (never captured, or not known yet
 * inside the window). */
static enum pitr_rc
ddl_coll(const struct ddl *d, struct replay_coll **out, struct pitr_err *err)
{
    struct replay_coll *c;
    const char *name;

    *out = NULL;
    if (!text_of(&d->first, &name))
        return names_nothing(d, err);
    if (is_server_coll(d, name))
        return PITR_OK;
    if (replay_of_entry(d->r, d->e, d->ctx, d->db, d->db_len, name, &c, err) != PITR_OK)
        return err->rc;
    if (c != NULL && !c->dropped) {
        *out = c->unseen ? NULL : c;
        return PITR_OK;
    }
    if (d->ctx->fuzzy && d->e->uuid != NULL)
        return c != NULL ? PITR_OK : replay_unresolved_add(d->r, d->e->uuid, err);
    return refuse(d, "the collection is not known at this point", err);
}

static enum pitr_rc
put_index(const struct ddl *d, struct replay_coll *c, const uint8_t *spec, size_t len,
          struct pitr_err *err)
{
    struct belem e;
    bool found;

    if (bson_find(spec, len, "name", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || e.type != BSON_STRING)
        return bad_field(d, "name", "missing in an index spec, or no string", err);
    if (bson_find(spec, len, "key", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || e.type != BSON_DOC)
        return bad_field(d, "key", "missing in an index spec, or no document", err);
    return bindex_put(&c->indexes, spec, len, err);
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
    if (found && e.type != BSON_DOC)
        return bad_field(d, "idIndex", "no document", err);
    if (found)
        return put_index(d, c, e.value, e.value_len, err);
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
        return names_nothing(d, err);
    if (is_server_coll(d, name))
        return PITR_OK;
    if (bson_find(d->e->o, d->e->o_len, "viewOn", &found, &e, err) != PITR_OK)
        return err->rc;
    if (found)
        return refuse(d, "create of a view, which the oplog never has", err);
    if (d->e->uuid == NULL)
        return bad_field(d, "ui", "missing", err);
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
    if (replay_coll_name(c, d->db, d->db_len, name, err) != PITR_OK)
        return err->rc;
    replay_coll_born(d->r, c);
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
        return names_nothing(d, err);
    if (is_server_coll(d, name))
        return PITR_OK;
    if (replay_of_entry(d->r, d->e, d->ctx, d->db, d->db_len, name, &c, err) != PITR_OK)
        return err->rc;
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

/* What a rename replaces: known by UUID since 3.6, before that by the name it frees. */
static enum pitr_rc
drop_target(const struct ddl *d, const struct belem *target, const char *to_ns,
            struct pitr_err *err)
{
    const char *dot = strchr(to_ns, '.');
    struct replay_coll *victim;
    const uint8_t *uuid;

    if (target->type == BSON_BOOLEAN) {
        victim = NULL;
        if (belem_truthy(target) && dot != NULL)
            victim = replay_find_name(d->r, to_ns, (size_t)(dot - to_ns), dot + 1);
        if (victim != NULL)
            replay_coll_drop(victim);
        return PITR_OK;
    }
    if (!belem_uuid(target, &uuid))
        return bad_field(d, "dropTarget", "no UUID", err);
    if (d->e->uuid != NULL && memcmp(uuid, d->e->uuid, UUID_LEN) == 0)
        return PITR_OK;
    replay_unresolved_remove(d->r, uuid);
    victim = replay_find(d->r, uuid);
    if (victim != NULL && !victim->dropped)
        replay_coll_drop(victim);
    else if (!d->ctx->fuzzy)
        return refuse(d, "the collection it replaces is not known at this point", err);
    return PITR_OK;
}

static enum pitr_rc
rename_known(const struct ddl *d, struct replay_coll *c, const char *to_ns, bool stay_temp,
             struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf old_ns = {0};
    const char *dot = strchr(to_ns, '.');

    if (dot == NULL)
        return bad_field(d, "to", "no namespace", err);
    if (buf_append(&old_ns, c->db, strlen(c->db), err) != PITR_OK ||
        buf_append_u8(&old_ns, '.', err) != PITR_OK ||
        buf_append(&old_ns, c->name, strlen(c->name) + 1, err) != PITR_OK ||
        replay_coll_name(c, to_ns, (size_t)(dot - to_ns), dot + 1, err) != PITR_OK ||
        replay_coll_renamed(d->r, c, (const char *)old_ns.data, d->ctx->ts, err) != PITR_OK)
        return err->rc;
    return c->options.len == 0 || stay_temp ? PITR_OK : bdoc_unset(&c->options, "temp", err);
}

static enum pitr_rc
do_rename(const struct ddl *d, struct pitr_err *err)
{
    struct belem to, stay, target;
    struct replay_coll *c;
    const char *from_ns, *to_ns, *dot;
    bool has_to, has_stay, has_target;

    if (bson_find(d->e->o, d->e->o_len, "to", &has_to, &to, err) != PITR_OK ||
        bson_find(d->e->o, d->e->o_len, "stayTemp", &has_stay, &stay, err) != PITR_OK ||
        bson_find(d->e->o, d->e->o_len, "dropTarget", &has_target, &target, err) != PITR_OK)
        return err->rc;
    if (!text_of(&d->first, &from_ns) || (dot = strchr(from_ns, '.')) == NULL)
        return bad_field(d, "renameCollection", "no namespace", err);
    if (!has_to || !text_of(&to, &to_ns))
        return bad_field(d, "to", "missing, or no namespace", err);
    if (has_stay && stay.type != BSON_BOOLEAN)
        return bad_field(d, "stayTemp", "no boolean", err);
    if (replay_of_entry(d->r, d->e, d->ctx, from_ns, (size_t)(dot - from_ns), dot + 1, &c, err) !=
            PITR_OK ||
        (has_target && drop_target(d, &target, to_ns, err) != PITR_OK))
        return err->rc;
    if (c != NULL && !c->dropped)
        return rename_known(d, c, to_ns, has_stay && belem_truthy(&stay), err);
    if (!d->ctx->fuzzy || d->e->uuid == NULL)
        return refuse(d, "the collection is not known at this point", err);
    return c != NULL ? PITR_OK : replay_unresolved_add(d->r, d->e->uuid, err);
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
    return put_index(d, c, spec.data, spec.len, err);
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
        return bad_field(d, "indexes", "missing, or no array", err);
    if (biter_init(&it, list.value, list.value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return err->rc;
        if (spec.type == BSON_EOD)
            return PITR_OK;
        if (spec.type != BSON_DOC)
            return bad_field(d, "indexes", "holds something that is no index spec", err);
        if (put_index(d, c, spec.value, spec.value_len, err) != PITR_OK)
            return err->rc;
    }
}

/* Leaves the _id index alone. */
static enum pitr_rc
drop_all_indexes(struct replay_coll *c, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf kept = {0};
    struct belem id;
    bool found;

    if (bindex_find(&c->indexes, "_id_", 4, &found, &id, err) != PITR_OK ||
        bdoc_empty(&kept, err) != PITR_OK ||
        (found && bindex_put(&kept, id.value, id.value_len, err) != PITR_OK))
        return err->rc;
    buf_clear(&c->indexes);
    return buf_append(&c->indexes, kept.data, kept.len, err);
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
        return bad_field(d, "index", "missing, or no index name", err);
    if (len == 1 && name[0] == '*')
        return drop_all_indexes(c, err);
    return bindex_remove(&c->indexes, name, len, err);
}

static enum pitr_rc
do_coll_mod(const struct ddl *d, struct pitr_err *err)
{
    struct replay_coll *c;

    if (ddl_coll(d, &c, err) != PITR_OK)
        return err->rc;
    return c == NULL ? PITR_OK : replay_coll_mod(d, c, err);
}

/* No supported server logs it, as they copy into a new collection instead. */
static enum pitr_rc
do_convert_to_capped(const struct ddl *d, struct pitr_err *err)
{
    static const uint8_t yes = 1;
    struct replay_coll *c;
    struct belem size;
    int64_t bytes;
    bool found;

    if (ddl_coll(d, &c, err) != PITR_OK)
        return err->rc;
    if (bson_find(d->e->o, d->e->o_len, "size", &found, &size, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_int64(&size, &bytes) || bytes <= 0)
        return bad_field(d, "size", "missing, or no size", err);
    if (c == NULL)
        return PITR_OK;
    if (bdoc_set(&c->options, BSON_BOOLEAN, "capped", &yes, 1, err) != PITR_OK ||
        bdoc_set(&c->options, size.type, "size", size.value, size.value_len, err) != PITR_OK)
        return err->rc;
    return drop_all_indexes(c, err);
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
cannot_follow(const struct ddl *d, const char *what, struct pitr_err *err)
{
    char when[TS_TEXT_LEN];

    ts_format(when, d->ctx->ts);
    return pitr_fail(err, PITR_GAP,
                     "oplog entry %s (%s): %s; restore a time before it, or take a new snapshot",
                     when, d->first.name, what);
}

static enum pitr_rc
do_import_collection(const struct ddl *d, struct pitr_err *err)
{
    struct belem dry;
    bool found;

    if (bson_find(d->e->o, d->e->o_len, "dryRun", &found, &dry, err) != PITR_OK)
        return err->rc;
    if (found && dry.type != BSON_BOOLEAN)
        return bad_field(d, "dryRun", "no boolean", err);
    if (found && belem_truthy(&dry))
        return PITR_OK;
    return cannot_follow(d, "a collection was imported, whose data is not in the oplog", err);
}

/* Which documents are in the range of record numbers is not in the oplog. The server truncates its
 * own collections in this way. */
static enum pitr_rc
do_truncate_range(const struct ddl *d, struct pitr_err *err)
{
    return cannot_follow(d, "documents were removed that the oplog does not name", err);
}

static enum pitr_rc
do_viewless_timeseries(const struct ddl *d, struct pitr_err *err)
{
    return cannot_follow(d, "a time-series collection changed its form", err);
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
    {"convertToCapped", do_convert_to_capped},
    {"emptycapped", do_empty_capped},
    {"importCollection", do_import_collection},
    {"truncateRange", do_truncate_range},
    {"upgradeDowngradeViewlessTimeseries", do_viewless_timeseries},
    /* No effect on documents or catalog as clients see them. */
    {"dbCheck", do_nothing},
    {"createDatabaseMetadata", do_nothing},
    {"dropDatabaseMetadata", do_nothing},
    {"modifyCollectionShardingIndexCatalog", do_nothing},
    {"createGlobalIndex", do_nothing},
    {"dropGlobalIndex", do_nothing},
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

    d.db_len = dot != NULL ? (size_t)(dot - e->ns) : e->ns_len;
    if (replay_is_server(d.db, d.db_len, "$cmd"))
        return PITR_OK;
    if (biter_init(&it, e->o, e->o_len, err) != PITR_OK ||
        biter_next(&it, &d.first, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (d.first.type == BSON_EOD || !belem_is(&d.first, commands[i].name))
            continue;
        if (dot == NULL && commands[i].run != do_nothing)
            return replay_refuse(err, e, "field ns: no namespace");
        r->operations++;
        return commands[i].run(&d, err);
    }
    return replay_refuse(err, e, "a command this version does not know");
}
