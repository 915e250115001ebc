/* What a backup user must be allowed, against what connectionStatus says it is. */
#include <stdio.h>
#include <string.h>

#include "engine/check.h"

struct need {
    const char *action, *db, *coll; /* db and coll "": every one that is not a system collection */
};

/* All of it is part of the built-in roles backup and clusterMonitor. */
static const struct need needs[] = {
    {"find", "", ""},
    {"listCollections", "", ""},
    {"listIndexes", "", ""},
    {"collStats", "", ""},
    {"find", "local", "oplog.rs"},
    {"find", "config", "transactions"},
    {"find", "admin", "system.users"},
    {"find", "admin", "system.roles"},
};

/* An empty name in a resource stands for every name, but not for system collections. */
static bool
covers(const char *granted, const char *wanted, bool is_coll)
{
    if (granted[0] == '\0')
        return !is_coll || strncmp(wanted, "system.", 7) != 0;
    return strcmp(granted, wanted) == 0;
}

static const char *
text_at(const bson_t *doc, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_UTF8(&it)
               ? bson_iter_utf8(&it, NULL)
               : NULL;
}

static bool
view_of(bson_t *out, const bson_iter_t *it)
{
    const uint8_t *data;
    uint32_t len;

    if (BSON_ITER_HOLDS_DOCUMENT(it))
        bson_iter_document(it, &len, &data);
    else if (BSON_ITER_HOLDS_ARRAY(it))
        bson_iter_array(it, &len, &data);
    else
        return false;
    return bson_init_static(out, data, len);
}

static bool
child(bson_t *out, const bson_t *doc, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, doc, name) && view_of(out, &it);
}

static bool
resource_covers(const bson_t *privilege, const struct need *need)
{
    const char *db, *coll;
    bson_iter_t it;
    bson_t resource;

    if (!child(&resource, privilege, "resource"))
        return false;
    if (bson_iter_init_find(&it, &resource, "anyResource"))
        return bson_iter_as_bool(&it);
    db = text_at(&resource, "db");
    coll = text_at(&resource, "collection");
    return db != NULL && coll != NULL && covers(db, need->db, false) &&
           covers(coll, need->coll, true);
}

static bool
has_action(const bson_t *privilege, const char *action)
{
    bson_iter_t it;
    bson_t actions;

    if (!child(&actions, privilege, "actions") || !bson_iter_init(&it, &actions))
        return false;
    while (bson_iter_next(&it))
        if (BSON_ITER_HOLDS_UTF8(&it) && strcmp(bson_iter_utf8(&it, NULL), action) == 0)
            return true;
    return false;
}

static bool
is_met(const bson_t *privileges, const struct need *need)
{
    bson_iter_t it;
    bson_t privilege;

    if (!bson_iter_init(&it, privileges))
        return false;
    while (bson_iter_next(&it))
        if (view_of(&privilege, &it) && has_action(&privilege, need->action) &&
            resource_covers(&privilege, need))
            return true;
    return false;
}

static size_t
list_missing(char *out, size_t size, const bson_t *privileges)
{
    size_t missing = 0;

    out[0] = '\0';
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
        size_t used = strlen(out);

        if (is_met(privileges, &needs[i]))
            continue;
        snprintf(out + used, size - used, "%s%s on %s%s%s", missing == 0 ? "" : ", ",
                 needs[i].action, needs[i].db[0] == '\0' ? "every database" : needs[i].db,
                 needs[i].coll[0] == '\0' ? "" : ".", needs[i].coll);
        missing++;
    }
    return missing;
}

bool
privileges_allow(const bson_t *status, const char *action, const char *db, const char *coll)
{
    const struct need need = {action, db, coll};
    bson_t info, users, privileges;

    return !child(&info, status, "authInfo") || !child(&users, &info, "authenticatedUsers") ||
           bson_empty(&users) || !child(&privileges, &info, "authenticatedUserPrivileges") ||
           is_met(&privileges, &need);
}

enum pitr_rc
check_privileges(struct check_item *out, const bson_t *status, struct pitr_err *err)
{
    bson_t info, users, privileges;
    char missing[300];

    if (!child(&info, status, "authInfo") || !child(&users, &info, "authenticatedUsers") ||
        !child(&privileges, &info, "authenticatedUserPrivileges"))
        return pitr_fail(err, PITR_CORRUPT, "connectionStatus: the reply lacks authInfo");
    out->name = "privileges";
    out->state = CHECK_OK;
    if (bson_empty(&users)) {
        /* Whether the server lets everybody in is not in the reply; the oplog check finds out. */
        snprintf(out->detail, sizeof out->detail,
                 "no user: access control is off, or the URI names nobody");
    } else if (list_missing(missing, sizeof missing, &privileges) > 0) {
        out->state = CHECK_PROBLEM;
        snprintf(out->detail, sizeof out->detail,
                 "the user lacks %s; grant it the roles backup and clusterMonitor on admin",
                 missing);
    } else {
        snprintf(out->detail, sizeof out->detail, "the user may read all that a backup needs");
    }
    return PITR_OK;
}
