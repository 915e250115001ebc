/* Whether the target's user may do what the restore is going to do: asked before anything is
 * touched. */
#include <string.h>

#include "engine/check.h"
#include "engine/restore_internal.h"

struct right {
    const char *action;
    bool to_verify; /* only when what was restored is read back */
};

static const struct right rights[] = {
    {"listCollections", false}, {"createCollection", false},
    {"insert", false},          {"bypassDocumentValidation", false},
    {"createIndex", false},     {"find", true},
    {"listIndexes", true},
};

static enum pitr_rc
check_namespace(const bson_t *status, bool verifies, const char *db, const char *name,
                struct pitr_err *err)
{
    for (size_t i = 0; i < sizeof rights / sizeof rights[0]; i++) {
        const struct right *r = &rights[i];

        if ((r->to_verify && !verifies) || privileges_allow(status, r->action, db, name))
            continue;
        return pitr_fail(err, PITR_DB,
                         "target: the user lacks the privilege %s on %s.%s, and nothing was "
                         "touched; grant it the role %s",
                         r->action, db, name,
                         r->to_verify ? "backup as well, or read nothing back (--no-verify)"
                                      : "restore");
    }
    return PITR_OK;
}

/* System collections are covered by resources of their own kind; the server decides. */
static bool
is_ordinary(const char *name)
{
    return strncmp(name, "system.", strlen("system.")) != 0;
}

static enum pitr_rc
check_dropped(const bson_t *status, const struct fs_names *dropped, struct pitr_err *err)
{
    for (size_t i = 0; i < dropped->len; i++) {
        PITR_AUTO(str_freep) char *db = strdup(dropped->at[i]);
        char *dot = db == NULL ? NULL : strchr(db, '.');

        if (db == NULL)
            return pitr_fail(err, PITR_NOMEM, "namespace %s", dropped->at[i]);
        if (dot == NULL || !is_ordinary(dot + 1))
            continue;
        *dot = '\0';
        if (!privileges_allow(status, "dropCollection", db, dot + 1))
            return pitr_fail(err, PITR_DB,
                             "target: the user lacks the privilege dropCollection on %s, and "
                             "nothing was touched; grant it the role restore",
                             dropped->at[i]);
    }
    return PITR_OK;
}

/* With --drop, the target's accounts are looked at even if none are to be restored. */
static enum pitr_rc
check_accounts(const bson_t *status, const struct load_job *j, struct pitr_err *err)
{
    uint64_t accounts = 0;

    if (!selection_is_whole(j->sel))
        return PITR_OK;
    for (size_t i = 0; i < j->state->ncolls; i++)
        if (j->state->colls[i].kind == STATE_USERS || j->state->colls[i].kind == STATE_ROLES)
            accounts += j->state->colls[i].print.documents;
    if (j->exact && (!privileges_allow(status, "find", "admin", "system.users") ||
                     !privileges_allow(status, "find", "admin", "system.roles")))
        return pitr_fail(err, PITR_DB,
                         "target: the user may not read users and roles, and nothing was touched; "
                         "grant it the roles restore and backup, or restore without accounts "
                         "(--ns '*.*')");
    if (accounts > 0 && !privileges_allow(status, "insert", "admin", "system.users"))
        return pitr_fail(err, PITR_DB,
                         "target: the user may not restore users and roles, and nothing was "
                         "touched; grant it the role restore, or restore without accounts "
                         "(--ns '*.*')");
    return PITR_OK;
}

enum pitr_rc
restore_check_rights(const struct load_job *j, const struct fs_names *dropped, struct pitr_err *err)
{
    bson_t status;
    enum pitr_rc rc;

    if (target_privileges(j->target, &status, err) != PITR_OK)
        return err->rc;
    rc = check_dropped(&status, dropped, err);
    if (rc == PITR_OK)
        rc = check_accounts(&status, j, err);
    for (size_t i = 0; rc == PITR_OK && i < j->state->ncolls; i++) {
        const struct state_coll *c = &j->state->colls[i];

        if (c->kind == STATE_DATA && is_ordinary(c->load.name))
            rc = check_namespace(&status, j->verify, c->load.db, c->load.name, err);
    }
    bson_destroy(&status);
    return rc;
}
