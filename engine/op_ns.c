#include "engine/op_ns.h"

#include <stdio.h>
#include <string.h>

#include "base/pattern.h"
#include "mongo/ns.h"

/* The string `e` as a C string; server names never hold NUL. */
static bool
text_of(const struct belem *e, const char **out)
{
    size_t len;

    return belem_string(e, out, &len) && strlen(*out) == len;
}

static void
set_rename(struct op_ns *out, const struct oplog_entry *e, const char *from)
{
    struct pitr_err ignored;
    struct belem to;
    const char *text;
    bool found;

    snprintf(out->ns, sizeof out->ns, "%s", from);
    if (bson_find(e->o, e->o_len, "to", &found, &to, &ignored) == PITR_OK && found &&
        text_of(&to, &text))
        snprintf(out->to, sizeof out->to, "%s", text);
}

/* A command is its first element; the value names the collection, without its database. */
static void
set_command(struct op_ns *out, const struct oplog_entry *e, int db_len)
{
    struct pitr_err ignored;
    struct biter it;
    struct belem first;
    const char *name;

    out->is_database = true;
    snprintf(out->ns, sizeof out->ns, "%.*s", db_len, e->ns);
    if (biter_init(&it, e->o, e->o_len, &ignored) != PITR_OK ||
        biter_next(&it, &first, &ignored) != PITR_OK || first.type == BSON_EOD ||
        !text_of(&first, &name))
        return;
    out->is_database = false;
    if (belem_is(&first, "renameCollection"))
        set_rename(out, e, name);
    else if (belem_is(&first, "importCollection") || belem_is(&first, "dbCheck"))
        snprintf(out->ns, sizeof out->ns, "%s", name);
    else
        snprintf(out->ns, sizeof out->ns, "%.*s.%s", db_len, e->ns, name);
}

void
op_ns_of(struct op_ns *out, const struct oplog_entry *e)
{
    static const char suffix[] = ".$cmd";
    const char *dot = strchr(e->ns, '.');

    out->to[0] = '\0';
    out->is_database = false;
    if (e->op == 'c' && dot != NULL && strcmp(dot, suffix) == 0 && e->o != NULL)
        set_command(out, e, (int)(dot - e->ns));
    else
        snprintf(out->ns, sizeof out->ns, "%s", e->ns);
}

static bool
matches_name(const char *pattern, const char *ns)
{
    static const char buckets[] = ".system.buckets.";
    const char *dot = strchr(ns, '.');
    char visible[OP_NS_LEN];

    if (pattern_match(pattern, ns))
        return true;
    if (dot == NULL || strncmp(dot, buckets, sizeof buckets - 1) != 0)
        return false;
    snprintf(visible, sizeof visible, "%.*s.%s", (int)(dot - ns), ns, ns_visible_name(dot + 1));
    return pattern_match(pattern, visible);
}

/* Whether `pattern` can match a collection of the database: some beginning of it matches "db.". A
 * star at the end of that beginning may go on. */
static bool
reaches_into(const char *pattern, const char *db_dot)
{
    char head[OP_NS_LEN];
    size_t len = strlen(pattern);

    for (size_t n = 1; n <= len && n < sizeof head; n++) {
        memcpy(head, pattern, n);
        head[n] = '\0';
        if ((n < len || pattern[n - 1] == '*') && pattern_match(head, db_dot))
            return true;
    }
    return false;
}

/* Whether `pattern` matches every collection of the database: what stands before its closing stars
 * matches "db.". */
static bool
covers(const char *pattern, const char *db_dot)
{
    char head[OP_NS_LEN];
    size_t len = strlen(pattern), n = len;

    while (n > 0 && pattern[n - 1] == '*')
        n--;
    if (n == len || n >= sizeof head)
        return false;
    memcpy(head, pattern, n);
    head[n] = '\0';
    return pattern_match(head, db_dot);
}

static void
with_dot(char out[OP_NS_LEN], const char *db)
{
    snprintf(out, OP_NS_LEN, "%.*s.", OP_NS_LEN - 2, db);
}

bool
op_ns_matches(const struct op_ns *names, char *const *patterns, size_t n)
{
    char db_dot[OP_NS_LEN];

    if (names->is_database)
        with_dot(db_dot, names->ns);
    for (size_t i = 0; i < n; i++)
        if (names->is_database ? reaches_into(patterns[i], db_dot)
                               : matches_name(patterns[i], names->ns) ||
                                     (names->to[0] != '\0' && matches_name(patterns[i], names->to)))
            return true;
    return false;
}

static bool
any_matches(char *const *patterns, size_t n, const char *ns)
{
    for (size_t i = 0; i < n; i++)
        if (matches_name(patterns[i], ns))
            return true;
    return false;
}

bool
op_ns_excluded(const struct op_ns *names, char *const *patterns, size_t n)
{
    char db_dot[OP_NS_LEN];

    if (!names->is_database)
        return any_matches(patterns, n, names->ns) &&
               (names->to[0] == '\0' || any_matches(patterns, n, names->to));
    with_dot(db_dot, names->ns);
    for (size_t i = 0; i < n; i++)
        if (covers(patterns[i], db_dot))
            return true;
    return false;
}
