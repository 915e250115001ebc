#include "oplog/replay_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "mongo/ns.h"

enum pitr_rc
replay_new(struct replay **out, const struct replay_opts *opts, struct pitr_err *err)
{
    PITR_AUTO(replay_freep) struct replay *r = calloc(1, sizeof *r);

    if (r == NULL)
        return pitr_fail(err, PITR_NOMEM, "replay");
    r->opts = *opts;
    if (txn_table_new(&r->txns, opts->spill, err) != PITR_OK)
        return err->rc;
    *out = r;
    r = NULL;
    return PITR_OK;
}

static void
coll_free(struct replay_coll *c)
{
    if (c == NULL)
        return;
    net_free(c->net);
    buf_release(&c->options);
    buf_release(&c->indexes);
    free(c->db);
    free(c->name);
    free(c->unseen_as);
    free(c);
}

static void
coll_freep(struct replay_coll **c)
{
    coll_free(*c);
    *c = NULL;
}

void
replay_free(struct replay *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->ncolls; i++)
        coll_free(r->colls[i]);
    free(r->colls);
    free(r->by_uuid);
    free(r->unresolved);
    txn_table_free(r->txns);
    buf_release(&r->key);
    free(r);
}

void
replay_freep(struct replay **r)
{
    replay_free(*r);
    *r = NULL;
}

/* UUIDs are random: any eight of their bytes are a hash. */
static size_t
uuid_slot(const struct replay *r, const uint8_t uuid[UUID_LEN])
{
    size_t i = (size_t)get_le64(uuid) & (r->nslots - 1);

    while (r->by_uuid[i] != 0 && memcmp(r->colls[r->by_uuid[i] - 1]->uuid, uuid, UUID_LEN) != 0)
        i = (i + 1) & (r->nslots - 1);
    return i;
}

struct replay_coll *
replay_find(struct replay *r, const uint8_t uuid[UUID_LEN])
{
    size_t slot;

    if (r->recent != NULL && memcmp(r->recent->uuid, uuid, UUID_LEN) == 0)
        return r->recent;
    if (r->nslots == 0)
        return NULL;
    slot = uuid_slot(r, uuid);
    if (r->by_uuid[slot] == 0)
        return NULL;
    r->recent = r->colls[r->by_uuid[slot] - 1];
    return r->recent;
}

struct replay_coll *
replay_find_name(struct replay *r, const char *db, size_t db_len, const char *name)
{
    for (size_t i = 0; i < r->ncolls; i++) {
        struct replay_coll *c = r->colls[i];

        if (!c->dropped && strlen(c->db) == db_len && memcmp(c->db, db, db_len) == 0 &&
            strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

static enum pitr_rc
table_grow(struct replay *r, struct pitr_err *err)
{
    size_t nslots = r->nslots == 0 ? 64 : r->nslots * 2;
    size_t cap = nslots / 2;
    struct replay_coll **colls = realloc(r->colls, cap * sizeof(struct replay_coll *));
    size_t *slots;

    if (colls == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu collections", cap);
    r->colls = colls;
    r->cap = cap;
    slots = calloc(nslots, sizeof *slots);
    if (slots == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu collections", cap);
    free(r->by_uuid);
    r->by_uuid = slots;
    r->nslots = nslots;
    for (size_t i = 0; i < r->ncolls; i++)
        slots[uuid_slot(r, r->colls[i]->uuid)] = i + 1;
    return PITR_OK;
}

enum pitr_rc
replay_coll_name(struct replay_coll *c, const char *db, size_t db_len, const char *name,
                 struct pitr_err *err)
{
    free(c->db);
    free(c->name);
    c->db = strndup(db, db_len);
    c->name = strdup(name);
    if (c->db == NULL || c->name == NULL)
        return pitr_fail(err, PITR_NOMEM, "collection %s", name);
    return PITR_OK;
}

enum pitr_rc
replay_add(struct replay *r, const char *db, size_t db_len, const char *name,
           const uint8_t uuid[UUID_LEN], struct replay_coll **out, struct pitr_err *err)
{
    PITR_AUTO(coll_freep) struct replay_coll *c = calloc(1, sizeof *c);

    if (c == NULL)
        return pitr_fail(err, PITR_NOMEM, "collection %s", name);
    memcpy(c->uuid, uuid, UUID_LEN);
    c->base = REPLAY_NO_BASE;
    if (replay_coll_name(c, db, db_len, name, err) != PITR_OK ||
        net_new(&c->net, r->opts.order, r->opts.spill, err) != PITR_OK ||
        (r->ncolls * 2 >= r->nslots && table_grow(r, err) != PITR_OK))
        return err->rc;
    r->by_uuid[uuid_slot(r, uuid)] = r->ncolls + 1;
    r->colls[r->ncolls++] = c;
    *out = c;
    c = NULL;
    return PITR_OK;
}

enum pitr_rc
replay_add_base(struct replay *r, const char *db, const char *name, const uint8_t uuid[UUID_LEN],
                const struct buf *options, const struct buf *indexes, size_t base, bool excluded,
                struct pitr_err *err)
{
    struct replay_coll *c = NULL;

    if (replay_find(r, uuid) != NULL)
        return pitr_fail(err, PITR_CORRUPT, "snapshot: %s.%s has the UUID of another collection",
                         db, name);
    if (replay_add(r, db, strlen(db), name, uuid, &c, err) != PITR_OK)
        return err->rc;
    c->base = base;
    c->excluded = c->unseen = excluded;
    if (excluded)
        return PITR_OK;
    if (buf_append(&c->options, options->data, options->len, err) != PITR_OK)
        return err->rc;
    return buf_append(&c->indexes, indexes->data, indexes->len, err);
}

static bool
starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool
replay_is_server(const char *db, size_t db_len, const char *name)
{
    const bool admin = db_len == 5 && memcmp(db, "admin", 5) == 0;

    if ((db_len == 6 && memcmp(db, "config", 6) == 0) ||
        (db_len == 5 && memcmp(db, "local", 5) == 0))
        return true;
    if (!starts_with(name, "system."))
        return false;
    name += strlen("system.");
    if (starts_with(name, "buckets.") || strcmp(name, "views") == 0 || strcmp(name, "js") == 0)
        return false;
    if (admin && (strcmp(name, "users") == 0 || strcmp(name, "roles") == 0))
        return false;
    /* Becomes an ordinary collection by a rename. */
    return !starts_with(name, "resharding.");
}

/* Names that the server gives for the time of one command: $out, mapReduce, and renames between
 * databases and conversions, whose names have five random characters after "tmp". */
static bool
is_passing_name(const char *name)
{
    enum { RANDOM_END = 8 };

    if (starts_with(name, "tmp.agg_out.") || starts_with(name, "tmp.mr."))
        return true;
    return starts_with(name, "tmp") && strlen(name) > RANDOM_END &&
           (strcmp(name + RANDOM_END, ".renameCollection") == 0 ||
            starts_with(name + RANDOM_END, ".convertToCapped."));
}

static bool
is_left_out(const struct replay *r, const struct replay_coll *c)
{
    return ns_is_excluded(r->opts.exclude, r->opts.nexclude, c->db, c->name);
}

void
replay_coll_born(const struct replay *r, struct replay_coll *c)
{
    c->excluded = is_left_out(r, c);
    /* A name that passes says nothing about the one that the operator thought of. */
    c->unseen = c->excluded && !is_passing_name(c->name);
    free(c->unseen_as);
    c->unseen_as = NULL;
}

enum pitr_rc
replay_coll_renamed(const struct replay *r, struct replay_coll *c, const char *old_ns, uint64_t ts,
                    struct pitr_err *err)
{
    bool was_excluded = c->excluded;

    c->excluded = is_left_out(r, c);
    if (!c->unseen || c->excluded == was_excluded)
        return PITR_OK;
    free(c->unseen_as);
    c->unseen_as = NULL;
    if (c->excluded)
        return PITR_OK;
    c->unseen_ts = ts;
    c->unseen_as = strdup(old_ns);
    return c->unseen_as == NULL ? pitr_fail(err, PITR_NOMEM, "namespace %s", old_ns) : PITR_OK;
}

void
replay_coll_drop(struct replay_coll *c)
{
    c->dropped = true;
    c->base = REPLAY_NO_BASE;
    net_clear(c->net);
}

enum pitr_rc
replay_unresolved_add(struct replay *r, const uint8_t uuid[UUID_LEN], struct pitr_err *err)
{
    for (size_t i = 0; i < r->nunresolved; i++)
        if (memcmp(r->unresolved[i], uuid, UUID_LEN) == 0)
            return PITR_OK;
    if (r->nunresolved == r->unresolved_cap) {
        size_t cap = r->unresolved_cap == 0 ? 8 : r->unresolved_cap * 2;
        void *grown = realloc(r->unresolved, cap * sizeof *r->unresolved);

        if (grown == NULL)
            return pitr_fail(err, PITR_NOMEM, "%zu unresolved collections", cap);
        r->unresolved = grown;
        r->unresolved_cap = cap;
    }
    memcpy(r->unresolved[r->nunresolved++], uuid, UUID_LEN);
    return PITR_OK;
}

void
replay_unresolved_remove(struct replay *r, const uint8_t uuid[UUID_LEN])
{
    for (size_t i = 0; i < r->nunresolved; i++) {
        if (memcmp(r->unresolved[i], uuid, UUID_LEN) != 0)
            continue;
        memmove(r->unresolved[i], r->unresolved[--r->nunresolved], UUID_LEN);
        return;
    }
}

enum pitr_rc
replay_refuse(struct pitr_err *err, const struct oplog_entry *e, const char *what)
{
    char when[TS_TEXT_LEN], text[ENTRY_TEXT_LEN];

    ts_format(when, e->ts);
    oplog_entry_show(text, e->raw, e->raw_len);
    return pitr_fail(err, PITR_CORRUPT, "oplog entry %s: %s: %s", when, what, text);
}

enum pitr_rc
replay_of_entry(struct replay *r, const struct oplog_entry *e, const struct op_context *ctx,
                const char *db, size_t db_len, const char *name, struct replay_coll **out,
                struct pitr_err *err)
{
    *out = NULL;
    if (e->uuid == NULL && !ctx->inner)
        return replay_refuse(err, e, "field ui: missing");
    *out = e->uuid != NULL ? replay_find(r, e->uuid) : replay_find_name(r, db, db_len, name);
    return PITR_OK;
}

enum pitr_rc
replay_close_window(struct replay *r, struct pitr_err *err)
{
    char hex[2 * UUID_LEN + 1];

    r->window_closed = true;
    if (r->nunresolved == 0)
        return PITR_OK;
    hex_encode(hex, r->unresolved[0], UUID_LEN);
    return pitr_fail(err, PITR_CORRUPT,
                     "the snapshot lacks %zu collection(s) that its oplog window writes to and "
                     "never drops (UUID %s)",
                     r->nunresolved, hex);
}

size_t
replay_pending(const struct replay *r)
{
    return txn_prepared(r->txns);
}

static int
by_name(const void *a, const void *b)
{
    const struct replay_coll *x = *(struct replay_coll *const *)a;
    const struct replay_coll *y = *(struct replay_coll *const *)b;
    int c = strcmp(x->db, y->db);

    return c != 0 ? c : strcmp(x->name, y->name);
}

/* $out and friends leave collections flagged temporary while they run; a server drops them when it
 * becomes primary. */
static enum pitr_rc
drop_temporary(struct replay_coll *c, struct pitr_err *err)
{
    struct belem temp;
    bool found = false;

    if (c->options.len != 0 &&
        bson_find(c->options.data, c->options.len, "temp", &found, &temp, err) != PITR_OK)
        return err->rc;
    if (found && belem_truthy(&temp))
        replay_coll_drop(c);
    return PITR_OK;
}

static enum pitr_rc
check_names(const struct replay *r, struct pitr_err *err)
{
    struct replay_coll **alive = malloc((r->ncolls + 1) * sizeof(struct replay_coll *));
    size_t n = 0;

    if (alive == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu collections", r->ncolls);
    for (size_t i = 0; i < r->ncolls; i++)
        if (!r->colls[i]->dropped)
            alive[n++] = r->colls[i];
    if (n > 1)
        qsort(alive, n, sizeof(struct replay_coll *), by_name);
    err->rc = PITR_OK;
    for (size_t i = 1; i < n && err->rc == PITR_OK; i++)
        if (by_name(&alive[i - 1], &alive[i]) == 0)
            pitr_fail(err, PITR_CORRUPT, "two collections are called %s.%s", alive[i]->db,
                      alive[i]->name);
    free(alive);
    return err->rc;
}

enum pitr_rc
replay_finish(struct replay *r, struct pitr_err *err)
{
    if (!r->window_closed && replay_close_window(r, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < r->ncolls; i++) {
        struct replay_coll *c = r->colls[i];

        if (!c->dropped && drop_temporary(c, err) != PITR_OK)
            return err->rc;
        c->excluded |= starts_with(c->name, "system.resharding.");
        if (!c->dropped && net_seal(c->net, err) != PITR_OK)
            return pitr_wrap(err, "replay of %s.%s", c->db, c->name);
    }
    return check_names(r, err);
}

size_t
replay_count(const struct replay *r)
{
    return r->ncolls;
}

struct replay_coll *
replay_at(const struct replay *r, size_t i)
{
    return r->colls[i];
}

uint64_t
replay_operations(const struct replay *r)
{
    return r->operations;
}

uint64_t
replay_last(const struct replay *r)
{
    return r->last;
}
