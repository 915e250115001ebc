#include "engine/selection.h"

#include <stdlib.h>
#include <string.h>

static bool
matches_any(char *const *patterns, size_t n, const char *ns)
{
    for (size_t i = 0; i < n; i++)
        if (pattern_match(patterns[i], ns))
            return true;
    return false;
}

static bool
is_renamed(const struct selection *s, const char *ns)
{
    for (size_t i = 0; i < s->nrenames; i++)
        if (pattern_match(s->renames[i].from, ns))
            return true;
    return false;
}

bool
selection_is_whole(const struct selection *s)
{
    return s->nns == 0 && s->nexclude_ns == 0 && s->nrenames == 0;
}

bool
selection_takes(const struct selection *s, const char *ns)
{
    if (matches_any(s->exclude_ns, s->nexclude_ns, ns))
        return false;
    if (s->nns != 0)
        return matches_any(s->ns, s->nns, ns);
    return s->nrenames == 0 || is_renamed(s, ns);
}

enum pitr_rc
selection_target(const struct selection *s, const char *ns, char **out, struct pitr_err *err)
{
    for (size_t i = 0; i < s->nrenames; i++) {
        if (rename_apply(&s->renames[i], ns, out, err) != PITR_OK)
            return err->rc;
        if (*out != NULL)
            return PITR_OK;
    }
    *out = strdup(ns);
    return *out == NULL ? pitr_fail(err, PITR_NOMEM, "namespace %s", ns) : PITR_OK;
}

enum { NS_MAX = 255, DB_MAX = 63 };

static bool
is_server_db(const char *ns, size_t db_len)
{
    return (db_len == 5 && memcmp(ns, "local", 5) == 0) ||
           (db_len == 6 && memcmp(ns, "config", 6) == 0);
}

/* NULL, or why not. */
static const char *
why_no_namespace(const char *ns, size_t prefix_len)
{
    const char *dot = strchr(ns, '.');
    size_t db_len;

    if (dot == NULL || dot == ns || dot[1] == '\0')
        return "which is no namespace";
    db_len = (size_t)(dot - ns);
    if (strlen(ns) + prefix_len > NS_MAX)
        return "a name longer than the 255 bytes that MongoDB allows";
    if (db_len > DB_MAX)
        return "whose database name is longer than the 63 bytes that MongoDB allows";
    if (strcspn(ns, "/\\ \"$") < db_len)
        return "whose database name has a character that MongoDB does not allow there";
    if (is_server_db(ns, db_len))
        return "which is in a database of the server's own";
    if (dot[1] == '.' || strchr(dot + 1, '$') != NULL)
        return "whose collection name MongoDB does not allow";
    if (strncmp(dot + 1, "system.", strlen("system.")) == 0 && strcmp(dot + 1, "system.js") != 0)
        return "whose collection name is reserved for the server";
    return NULL;
}

enum pitr_rc
selection_check_target(const char *ns, const char *target, size_t prefix_len, struct pitr_err *err)
{
    const char *why = strcmp(ns, target) == 0 ? NULL : why_no_namespace(target, prefix_len);

    if (why == NULL)
        return PITR_OK;
    return pitr_fail(err, PITR_USAGE, "--rename makes \"%.255s\" of \"%.255s\", %s", target, ns,
                     why);
}

bool
selection_covers(const struct selection *s, const char *ns)
{
    for (size_t i = 0; i < s->nrenames; i++)
        if (pattern_match(s->renames[i].to, ns))
            return true;
    return !is_renamed(s, ns) && selection_takes(s, ns);
}
