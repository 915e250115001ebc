#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/load_internal.h"
#include "mongo/cleanup.h"

/*
 * Users and roles cannot be written like documents: the server checks them, and the connection
 * itself depends on them. So they are put into two collections of their own, and the server takes
 * them over from there in one command.
 */
#define USERS_TEMP "pitr.tmp.users"
#define ROLES_TEMP "pitr.tmp.roles"

static enum pitr_rc
next_doc(const struct buf *docs, size_t *at, const uint8_t **doc, size_t *len, struct pitr_err *err)
{
    *doc = NULL;
    if (*at == docs->len)
        return PITR_OK;
    *len = docs->len - *at < 4 ? 0 : bson_len(docs->data + *at);
    if (*len < 5 || *len > docs->len - *at)
        return pitr_fail(err, PITR_CORRUPT, "a user or role of %zu bytes", *len);
    *doc = docs->data + *at;
    *at += *len;
    return bson_check(*doc, *len, err);
}

static enum pitr_rc
drop_temp(struct target *t, struct conn *c, const char *name, struct pitr_err *err)
{
    uint32_t code;

    if (target_simple(
            t, c, "admin",
            BCON_NEW("drop", BCON_UTF8(name), "writeConcern", "{", "w", BCON_INT32(1), "}"), NULL,
            &code, "drop temporary collection", err) != PITR_OK &&
        code != CODE_NAMESPACE_NOT_FOUND)
        return err->rc;
    return PITR_OK;
}

static enum pitr_rc
fill_temp(struct target *t, struct conn *c, const char *name, const struct buf *docs,
          struct insert_batch *batch, struct pitr_err *err)
{
    enum { BATCH_BYTES = 1 << 20 };
    const uint8_t *doc;
    size_t at = 0, len;

    for (;;) {
        if (next_doc(docs, &at, &doc, &len, err) != PITR_OK)
            return err->rc;
        if (doc == NULL)
            return insert_batch_send(batch, t, c, err);
        if (batch->documents == 0 && insert_batch_begin(batch, "admin", name, true, err) != PITR_OK)
            return err->rc;
        if (insert_batch_add(batch, doc, len, err) != PITR_OK)
            return err->rc;
        if (batch->bytes >= BATCH_BYTES && insert_batch_send(batch, t, c, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
has_any(struct target *t, struct conn *c, const char *name, bool *out, struct pitr_err *err)
{
    bson_t reply;
    bson_iter_t it;

    if (target_simple(t, c, "admin",
                      BCON_NEW("count", BCON_UTF8(name), "limit", BCON_INT32(1), "query", "{", "}"),
                      &reply, NULL, "count users and roles", err) != PITR_OK)
        return err->rc;
    *out = bson_iter_init_find(&it, &reply, "n") && bson_iter_as_int64(&it) > 0;
    bson_destroy(&reply);
    return PITR_OK;
}

/* _id of the user this connection is authenticated as ("db.user"); "" for none, and for users that
 * are kept outside of the server. */
static enum pitr_rc
own_user(struct target *t, struct conn *c, char *out, size_t size, struct pitr_err *err)
{
    bson_t reply;
    bson_iter_t it, user, db;

    out[0] = '\0';
    if (target_simple(t, c, "admin", BCON_NEW("connectionStatus", BCON_INT32(1)), &reply, NULL,
                      "connectionStatus", err) != PITR_OK)
        return err->rc;
    if (bson_iter_init(&it, &reply) &&
        bson_iter_find_descendant(&it, "authInfo.authenticatedUsers.0.user", &user) &&
        bson_iter_init(&it, &reply) &&
        bson_iter_find_descendant(&it, "authInfo.authenticatedUsers.0.db", &db) &&
        BSON_ITER_HOLDS_UTF8(&user) && BSON_ITER_HOLDS_UTF8(&db))
        snprintf(out, size, "%s.%s", bson_iter_utf8(&db, NULL), bson_iter_utf8(&user, NULL));
    bson_destroy(&reply);
    return PITR_OK;
}

/* The user `id` as the target has it, into `out`; nothing if it is kept elsewhere. */
static enum pitr_rc
read_user(struct conn *c, const char *id, struct buf *out, struct pitr_err *err)
{
    PITR_AUTO(collection_freep) mongoc_collection_t *coll = NULL;
    PITR_AUTO(cursor_freep) mongoc_cursor_t *cursor = NULL;
    PITR_AUTO(bson_freep) bson_t *filter = NULL;
    const bson_t *doc;
    bson_error_t cause;

    coll = mongoc_client_get_collection(conn_client(c), "admin", "system.users");
    filter = BCON_NEW("_id", BCON_UTF8(id));
    cursor = mongoc_collection_find_with_opts(coll, filter, NULL, NULL);
    if (mongoc_cursor_next(cursor, &doc))
        return buf_append(out, bson_get_data(doc), doc->len, err);
    if (mongoc_cursor_error(cursor, &cause))
        return conn_fail(c, &cause, NULL, "read the user this restore runs as", err);
    return PITR_OK;
}

static enum pitr_rc
is_user(const uint8_t *doc, size_t len, const char *id, bool *out, struct pitr_err *err)
{
    struct belem e;
    const char *text;
    size_t text_len;
    bool found;

    if (bson_find(doc, len, "_id", &found, &e, err) != PITR_OK)
        return err->rc;
    *out = found && belem_string(&e, &text, &text_len) && text_len == strlen(id) &&
           memcmp(text, id, text_len) == 0;
    return PITR_OK;
}

/* `doc` with the userId of `own`, if that has one. */
static enum pitr_rc
append_with_user_id(struct buf *out, const uint8_t *doc, size_t len, const struct buf *own,
                    struct pitr_err *err)
{
    struct belem theirs, ours;
    bool have_theirs, have_ours;
    size_t at = out->len;

    if (bson_find(doc, len, "userId", &have_theirs, &theirs, err) != PITR_OK ||
        bson_find(own->data, own->len, "userId", &have_ours, &ours, err) != PITR_OK)
        return err->rc;
    if (!have_theirs || !have_ours)
        return buf_append(out, doc, len, err);
    if (buf_append(out, doc, (size_t)(theirs.start - doc), err) != PITR_OK ||
        buf_append(out, ours.start, (size_t)(ours.end - ours.start), err) != PITR_OK ||
        buf_append(out, theirs.end, (size_t)(doc + len - theirs.end), err) != PITR_OK)
        return err->rc;
    put_le32(out->data + at, (uint32_t)(out->len - at));
    return PITR_OK;
}

/*
 * The users to restore, changed so that this restore can end what it began. Without the user it
 * runs as, if all others go, the merge would take that away; and if that user got the userId of
 * another server, this server would take it for another user, and all connections of it would be
 * nobody's.
 */
static enum pitr_rc
keep_own_user(struct target *t, struct conn *c, const struct buf *users, bool exact,
              struct buf *kept, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf own = {0};
    char id[512];
    bool is_present = false, is_own = false;
    const uint8_t *doc;
    size_t at = 0, len;

    if (own_user(t, c, id, sizeof id, err) != PITR_OK ||
        (id[0] != '\0' && read_user(c, id, &own, err) != PITR_OK))
        return err->rc;
    if (own.len == 0)
        return buf_append(kept, users->data, users->len, err);
    for (;;) {
        if (next_doc(users, &at, &doc, &len, err) != PITR_OK)
            return err->rc;
        if (doc == NULL)
            break;
        if (is_user(doc, len, id, &is_own, err) != PITR_OK ||
            (is_own ? append_with_user_id(kept, doc, len, &own, err)
                    : buf_append(kept, doc, len, err)) != PITR_OK)
            return err->rc;
        is_present = is_present || is_own;
    }
    if (is_present || !exact)
        return PITR_OK;
    log_event(t->job->log, LOG_WARNING, "load",
              "user %s is not in what is restored; it is kept because this restore runs as it", id);
    return buf_append(kept, own.data, own.len, err);
}

static enum pitr_rc
merge(struct target *t, struct conn *c, const struct buf *users, const struct buf *roles,
      bool exact, struct pitr_err *err)
{
    struct insert_batch batch = {0};
    enum pitr_rc rc = fill_temp(t, c, USERS_TEMP, users, &batch, err);

    if (rc == PITR_OK)
        rc = fill_temp(t, c, ROLES_TEMP, roles, &batch, err);
    insert_batch_release(&batch);
    if (rc != PITR_OK)
        return rc;
    return target_simple(t, c, "admin",
                         BCON_NEW("_mergeAuthzCollections", BCON_INT32(1), "tempUsersCollection",
                                  BCON_UTF8("admin." USERS_TEMP), "tempRolesCollection",
                                  BCON_UTF8("admin." ROLES_TEMP), "drop", BCON_BOOL(exact), "db",
                                  BCON_UTF8(""), "writeConcern", "{", "w", BCON_UTF8("majority"),
                                  "}"),
                         NULL, NULL, "_mergeAuthzCollections", err);
}

/* Whether the target would be the same afterwards. */
static enum pitr_rc
nothing_to_do(struct target *t, struct conn *c, const struct buf *users, const struct buf *roles,
              bool exact, bool *out, struct pitr_err *err)
{
    bool has_users = false, has_roles = false;

    *out = false;
    if (users->len > 0 || roles->len > 0)
        return PITR_OK;
    if (exact && (has_any(t, c, "system.users", &has_users, err) != PITR_OK ||
                  has_any(t, c, "system.roles", &has_roles, err) != PITR_OK))
        return err->rc;
    *out = !has_users && !has_roles;
    return PITR_OK;
}

enum pitr_rc
load_users(struct target *t, const struct buf *users, const struct buf *roles, bool exact,
           struct pitr_err *err)
{
    static const char *const temporary[] = {USERS_TEMP, ROLES_TEMP};
    PITR_AUTO(conn_givep) struct conn *c = NULL;
    PITR_AUTO(buf_release) struct buf kept = {0};
    struct pitr_err ignored;
    enum pitr_rc rc;
    bool nothing;

    if (conn_take(&c, t->mongo, err) != PITR_OK ||
        nothing_to_do(t, c, users, roles, exact, &nothing, err) != PITR_OK)
        return pitr_wrap(err, "users and roles");
    if (nothing)
        return PITR_OK;
    if (keep_own_user(t, c, users, exact, &kept, err) != PITR_OK ||
        drop_temp(t, c, USERS_TEMP, err) != PITR_OK || drop_temp(t, c, ROLES_TEMP, err) != PITR_OK)
        return pitr_wrap(err, "users and roles");
    rc = merge(t, c, &kept, roles, exact, err);
    if (rc != PITR_OK)
        pitr_wrap(err, "users and roles");
    /* Both are dropped whatever went wrong before; the first reason is the one that counts. */
    for (size_t i = 0; i < sizeof temporary / sizeof temporary[0]; i++) {
        if (drop_temp(t, c, temporary[i], rc == PITR_OK ? err : &ignored) != PITR_OK &&
            rc == PITR_OK)
            rc = err->rc;
    }
    return rc;
}
