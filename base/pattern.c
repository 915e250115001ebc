#include "base/pattern.h"

#include <stdlib.h>
#include <string.h>

static size_t
count_stars(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += *text == '*';
    return n;
}

enum pitr_rc
pattern_check(const char *pattern, struct pitr_err *err)
{
    const char *dot = strchr(pattern, '.');

    if (dot == NULL)
        return pitr_fail(err, PITR_USAGE,
                         "pattern \"%s\": no dot; write DB.COLLECTION, or %s.* for a database",
                         pattern, *pattern == '\0' ? "DB" : pattern);
    if (dot == pattern)
        return pitr_fail(err, PITR_USAGE, "pattern \"%s\": no database before the dot", pattern);
    if (dot[1] == '\0')
        return pitr_fail(err, PITR_USAGE, "pattern \"%s\": no collection after the dot", pattern);
    return PITR_OK;
}

/* What one '*' stood for: ns[start, end). */
struct capture {
    size_t start, end;
};

/*
 * Match with every '*' but the last as short as possible. The text between two stars is searched
 * for from the left and never looked at again, so the work is at most |pattern| * |ns|: taking the
 * leftmost place leaves the most room for what follows, so going back could not help. `caps` (may
 * be NULL) gets one entry per star.
 */
static bool
match(const char *pattern, const char *ns, struct capture *caps)
{
    const size_t ns_len = strlen(ns);
    size_t at = strcspn(pattern, "*");
    size_t star = 0;
    const char *piece = pattern + at;

    if (*piece == '\0')
        return strcmp(pattern, ns) == 0;
    if (strncmp(pattern, ns, at) != 0)
        return false;
    while (*piece == '*') {
        const size_t len = strcspn(++piece, "*");
        size_t found = at;

        if (piece[len] == '\0') { /* the last piece must end the name */
            if (ns_len - at < len)
                return false;
            found = ns_len - len;
        }
        while (found + len <= ns_len && memcmp(ns + found, piece, len) != 0)
            found++;
        if (found + len > ns_len)
            return false;
        if (caps != NULL)
            caps[star++] = (struct capture){.start = at, .end = found};
        at = found + len;
        piece += len;
    }
    return true;
}

bool
pattern_match(const char *pattern, const char *ns)
{
    return match(pattern, ns, NULL);
}

enum pitr_rc
rename_parse(struct rename_rule *out, const char *text, struct pitr_err *err)
{
    const char *eq = strchr(text, '=');
    struct rename_rule rule = {0};
    enum pitr_rc rc = PITR_OK;

    if (eq == NULL || strchr(eq + 1, '=') != NULL)
        return pitr_fail(err, PITR_USAGE, "rename \"%s\": write FROM=TO with one '='", text);
    rule.from = strndup(text, (size_t)(eq - text));
    rule.to = strdup(eq + 1);
    if (rule.from == NULL || rule.to == NULL)
        rc = pitr_fail(err, PITR_NOMEM, "rename rule");
    else if (pattern_check(rule.from, err) != PITR_OK || pattern_check(rule.to, err) != PITR_OK)
        rc = pitr_wrap(err, "rename \"%s\"", text);
    else if (count_stars(rule.from) != count_stars(rule.to))
        rc = pitr_fail(err, PITR_USAGE,
                       "rename \"%s\": both sides need the same number of '*', not %zu and %zu",
                       text, count_stars(rule.from), count_stars(rule.to));
    if (rc != PITR_OK) {
        rename_release(&rule);
        return rc;
    }
    *out = rule;
    return PITR_OK;
}

void
rename_release(struct rename_rule *r)
{
    free(r->from);
    free(r->to);
    *r = (struct rename_rule){0};
}

enum pitr_rc
rename_apply(const struct rename_rule *r, const char *ns, char **out, struct pitr_err *err)
{
    const size_t stars = count_stars(r->from);
    size_t len = strlen(r->to), star = 0, at = 0;
    struct capture *caps;
    char *name = NULL;

    *out = NULL;
    caps = calloc(stars + 1, sizeof *caps);
    if (caps == NULL)
        return pitr_fail(err, PITR_NOMEM, "renaming %s", ns);
    if (!match(r->from, ns, caps)) {
        free(caps);
        return PITR_OK;
    }
    for (size_t i = 0; i < stars; i++)
        len += caps[i].end - caps[i].start;
    name = malloc(len + 1);
    if (name == NULL) {
        free(caps);
        return pitr_fail(err, PITR_NOMEM, "renaming %s", ns);
    }
    for (const char *p = r->to; *p != '\0'; p++) {
        if (*p == '*') {
            const size_t n = caps[star].end - caps[star].start;

            memcpy(name + at, ns + caps[star].start, n);
            at += n;
            star++;
        } else {
            name[at++] = *p;
        }
    }
    name[at] = '\0';
    free(caps);
    *out = name;
    return PITR_OK;
}
