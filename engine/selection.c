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

bool
selection_covers(const struct selection *s, const char *ns)
{
    for (size_t i = 0; i < s->nrenames; i++)
        if (pattern_match(s->renames[i].to, ns))
            return true;
    return !is_renamed(s, ns) && selection_takes(s, ns);
}
