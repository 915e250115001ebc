#include "oplog/replay_internal.h"

#include <bson/bson.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/pattern.h"

/* applyOps inside applyOps, as deep as anything sensible goes. */
enum { APPLY_OPS_DEPTH = 8 };

enum pitr_rc
replay_new(struct replay **out, const struct replay_opts *opts, struct pitr_err *err)
{
    PITR_AUTO(replay_freep) struct replay *r = calloc(1, sizeof *r);

    if (r == NULL)
        return pitr_fail(err, PITR_NOMEM, "replay");
    r->opts = *opts;
    if (txn_table_new(&r->txns, err) != PITR_OK)
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
    free(c);
}

static void
coll_freep(struct replay_coll **c)
{
    coll_free(*c);
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
    free(r);
}

void
replay_freep(struct replay **r)
{
    replay_free(*r);
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
replay_add(struct replay *r, const char *db, size_t db_len, const char *name,
           const uint8_t uuid[UUID_LEN], struct replay_coll **out, struct pitr_err *err)
{
    PITR_AUTO(coll_freep) struct replay_coll *c = calloc(1, sizeof *c);

    if (c == NULL)
        return pitr_fail(err, PITR_NOMEM, "collection %s", name);
    memcpy(c->uuid, uuid, UUID_LEN);
    c->base = REPLAY_NO_BASE;
    c->db = strndup(db, db_len);
    c->name = strdup(name);
    if (c->db == NULL || c->name == NULL)
        return pitr_fail(err, PITR_NOMEM, "collection %s", name);
    if (net_new(&c->net, r->opts.order, err) != PITR_OK ||
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
    struct replay_coll *c;

    if (replay_find(r, uuid) != NULL)
        return pitr_fail(err, PITR_CORRUPT, "snapshot: %s.%s has the UUID of another collection",
                         db, name);
    if (replay_add(r, db, strlen(db), name, uuid, &c, err) != PITR_OK)
        return err->rc;
    c->base = base;
    c->excluded = excluded;
    if (excluded)
        return PITR_OK;
    if (buf_append(&c->options, options->data, options->len, err) != PITR_OK)
        return err->rc;
    return buf_append(&c->indexes, indexes->data, indexes->len, err);
}

bool
replay_is_excluded(const struct replay *r, const struct replay_coll *c)
{
    char ns[512];

    snprintf(ns, sizeof ns, "%s.%s", c->db, c->name);
    for (size_t i = 0; i < r->opts.nexclude; i++)
        if (pattern_match(r->opts.exclude[i], ns))
            return true;
    return false;
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
    bson_t doc;
    char *json = NULL;
    char when[TS_TEXT_LEN];

    if (bson_init_static(&doc, e->raw, e->raw_len))
        json = bson_as_relaxed_extended_json(&doc, NULL);
    ts_format(when, e->ts);
    pitr_fail(err, PITR_CORRUPT, "oplog entry %s: %s: %.600s", when, what,
              json == NULL ? "(not printable)" : json);
    bson_free(json);
    return err->rc;
}

static bool
starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool
ends_with(const char *s, size_t len, const char *suffix)
{
    size_t n = strlen(suffix);

    return len >= n && memcmp(s + len - n, suffix, n) == 0;
}

/* Namespaces that are not state of the user's data: bookkeeping of the server itself. */
static bool
is_server_ns(const char *ns, size_t len)
{
    if (starts_with(ns, "config.") || starts_with(ns, "local."))
        return true;
    if (starts_with(ns, "admin.system."))
        return strcmp(ns, "admin.system.users") != 0 && strcmp(ns, "admin.system.roles") != 0;
    return ends_with(ns, len, ".system.profile");
}

static bool
is_fcv_change(const struct oplog_entry *e)
{
    static const char fcv[] = "featureCompatibilityVersion";
    const uint8_t *key = e->o2 != NULL ? e->o2 : e->o;
    size_t key_len = e->o2 != NULL ? e->o2_len : e->o_len;
    struct belem id;
    struct pitr_err ignored;
    const char *text;
    size_t len;
    bool found;

    return strcmp(e->ns, "admin.system.version") == 0 &&
           bson_find(key, key_len, "_id", &found, &id, &ignored) == PITR_OK && found &&
           belem_string(&id, &text, &len) && len == sizeof fcv - 1 && memcmp(text, fcv, len) == 0;
}

/* The collection a document operation is about; *out NULL: nothing to do. */
static enum pitr_rc
crud_coll(struct replay *r, const struct oplog_entry *e, const struct op_context *ctx,
          struct replay_coll **out, struct pitr_err *err)
{
    const char *dot = strchr(e->ns, '.');
    struct replay_coll *c;

    *out = NULL;
    if (dot == NULL)
        return replay_refuse(err, e, "namespace without a dot");
    c = e->uuid != NULL ? replay_find(r, e->uuid)
                        : replay_find_name(r, e->ns, (size_t)(dot - e->ns), dot + 1);
    if (c != NULL && !c->dropped) {
        *out = c->excluded ? NULL : c;
        return PITR_OK;
    }
    if (ctx->fuzzy && e->uuid != NULL && c == NULL)
        return replay_unresolved_add(r, e->uuid, err);
    return replay_refuse(err, e, "the collection is not known at this point");
}

static enum pitr_rc
apply_crud(struct replay *r, const struct oplog_entry *e, const struct op_context *ctx, bool upsert,
           struct pitr_err *err)
{
    struct replay_coll *c;
    enum pitr_rc rc;
    char when[TS_TEXT_LEN];

    if (is_server_ns(e->ns, e->ns_len)) {
        if (is_fcv_change(e))
            return pitr_fail(
                err, PITR_GAP,
                "the feature compatibility version was changed at %u,%u: replay from a "
                "snapshot older than that is not possible; choose a time before it, or "
                "take a new snapshot",
                ts_secs(ctx->ts), ts_inc(ctx->ts));
        return PITR_OK;
    }
    if (crud_coll(r, e, ctx, &c, err) != PITR_OK)
        return err->rc;
    r->operations++;
    if (c == NULL)
        return PITR_OK;
    if (e->op == 'i')
        rc = net_insert(c->net, e->o, e->o_len, ctx->mode, err);
    else if (e->op == 'd')
        rc = net_delete(c->net, e->o, e->o_len, ctx->mode, err);
    else
        rc = net_update(c->net, e->o2, e->o2_len, e->o, e->o_len, upsert || e->upsert, ctx->mode,
                        err);
    if (rc == PITR_OK)
        return PITR_OK;
    ts_format(when, ctx->ts);
    return pitr_wrap(err, "replay of %s.%s at %s", c->db, c->name, when);
}

static enum pitr_rc apply_array(struct replay *r, const struct oplog_entry *outer,
                                const uint8_t *array, size_t len, const struct op_context *ctx,
                                bool upsert, int depth, struct pitr_err *err);

/* Whether updates inside a user's applyOps command make missing documents: the server's default. */
static enum pitr_rc
always_upserts(const struct oplog_entry *e, bool *upsert, struct pitr_err *err)
{
    struct belem flag;
    bool found;

    if (bson_find(e->o, e->o_len, "alwaysUpsert", &found, &flag, err) != PITR_OK)
        return err->rc;
    *upsert = !found || belem_truthy(&flag);
    return PITR_OK;
}

static enum pitr_rc
apply_inner(struct replay *r, const struct oplog_entry *outer, const struct oplog_entry *e,
            const struct op_context *ctx, bool upsert, int depth, struct pitr_err *err)
{
    struct belem first;
    bool found;

    switch (e->op) {
    case 'n':
        return PITR_OK;
    case 'c':
        if (bson_find(e->o, e->o_len, "applyOps", &found, &first, err) != PITR_OK)
            return err->rc;
        if (!found)
            return replay_command(r, e, ctx, err);
        if (depth >= APPLY_OPS_DEPTH || first.type != BSON_ARRAY)
            return replay_refuse(err, outer, "applyOps nested too deeply");
        return apply_array(r, outer, first.value, first.value_len, ctx, upsert, depth + 1, err);
    default:
        return apply_crud(r, e, ctx, upsert, err);
    }
}

static enum pitr_rc
apply_array(struct replay *r, const struct oplog_entry *outer, const uint8_t *array, size_t len,
            const struct op_context *ctx, bool upsert, int depth, struct pitr_err *err)
{
    struct oplog_entry inner;
    struct biter it;
    struct belem op;

    if (biter_init(&it, array, len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &op, err) != PITR_OK)
            return err->rc;
        if (op.type == BSON_EOD)
            return PITR_OK;
        if (op.type != BSON_DOC)
            return replay_refuse(err, outer, "applyOps holds something that is no operation");
        if (oplog_entry_parse_inner(&inner, op.value, op.value_len, err) != PITR_OK)
            return err->rc;
        inner.ts = ctx->ts;
        if (apply_inner(r, outer, &inner, ctx, upsert, depth, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
count_ops(const uint8_t *array, size_t len, uint64_t *n, struct pitr_err *err)
{
    struct biter it;
    struct belem op;

    *n = 0;
    if (biter_init(&it, array, len, err) != PITR_OK)
        return err->rc;
    for (;; (*n)++) {
        if (biter_next(&it, &op, err) != PITR_OK)
            return err->rc;
        if (op.type == BSON_EOD)
            return PITR_OK;
    }
}

static bool
is_before_base(const struct replay *r, const struct oplog_entry *e)
{
    return e->ts <= r->opts.t_start;
}

static struct op_context
context_of(const struct replay *r, const struct oplog_entry *e)
{
    bool fuzzy = e->ts <= r->opts.t_end;

    return (struct op_context){.ts = e->ts, .fuzzy = fuzzy, .mode = fuzzy ? OP_FUZZY : OP_STRICT};
}

static enum pitr_rc
apply_chain(struct replay *r, const struct oplog_entry *e, const struct txn_chain *chain,
            const struct op_context *ctx, struct pitr_err *err)
{
    for (size_t i = 0; i < chain->npieces; i++)
        if (apply_array(r, e, chain->pieces[i].data, chain->pieces[i].len, ctx, false, 0, err) !=
            PITR_OK)
            return err->rc;
    return PITR_OK;
}

/* `count` stands on the last entry of a transaction of several entries and tells all its
 * operations. */
static enum pitr_rc
check_count(const struct oplog_entry *e, uint64_t have, struct pitr_err *err)
{
    struct belem count;
    bool found;
    int64_t want;

    if (bson_find(e->o, e->o_len, "count", &found, &count, err) != PITR_OK)
        return err->rc;
    if (found && belem_int64(&count, &want) && want >= 0 && (uint64_t)want != have)
        return replay_refuse(err, e, "the transaction's pieces do not add up to its count");
    return PITR_OK;
}

/* The last piece of an unprepared transaction: it takes effect here. */
static enum pitr_rc
commit_linked(struct replay *r, const struct oplog_entry *e, const struct belem *array,
              uint64_t ops, struct pitr_err *err)
{
    PITR_AUTO(txn_chain_freep) struct txn_chain *chain = NULL;
    struct op_context ctx = context_of(r, e);

    if (e->prev.ts != 0) {
        txn_take(r->txns, &e->prev, &chain);
        if (chain == NULL && !is_before_base(r, e))
            return replay_refuse(err, e, "the capture starts after this transaction's first piece");
        if (chain != NULL && check_count(e, chain->ops + ops, err) != PITR_OK)
            return err->rc;
    }
    if (is_before_base(r, e))
        return PITR_OK;
    if (chain != NULL && apply_chain(r, e, chain, &ctx, err) != PITR_OK)
        return err->rc;
    return apply_array(r, e, array->value, array->value_len, &ctx, false, 0, err);
}

static enum pitr_rc
buffer_piece(struct replay *r, const struct oplog_entry *e, const struct belem *array, uint64_t ops,
             bool prepared, struct pitr_err *err)
{
    enum pitr_rc rc = txn_add(r->txns, e, array->value, array->value_len, ops, prepared, err);

    if (rc == PITR_NOTFOUND) {
        if (is_before_base(r, e))
            return PITR_OK;
        return replay_refuse(err, e, "the capture starts after this transaction's first piece");
    }
    return rc;
}

static enum pitr_rc
flag_of(const struct oplog_entry *e, const char *name, bool *out, struct pitr_err *err)
{
    struct belem flag;
    bool found;

    if (bson_find(e->o, e->o_len, name, &found, &flag, err) != PITR_OK)
        return err->rc;
    *out = found && belem_truthy(&flag);
    return PITR_OK;
}

/* multiOpType of vectored writes: the operations stand for themselves, whatever prevOpTime says. */
enum { MULTI_OP_SEPARATE = 1 };

static enum pitr_rc
apply_ops_entry(struct replay *r, const struct oplog_entry *e, const struct belem *array,
                struct pitr_err *err)
{
    struct op_context ctx = context_of(r, e);
    bool partial = false, prepare = false, upsert = false;
    uint64_t ops;

    if (array->type != BSON_ARRAY)
        return replay_refuse(err, e, "applyOps is no array");
    if (e->has_prev && e->multi_op_type != MULTI_OP_SEPARATE) {
        if (flag_of(e, "partialTxn", &partial, err) != PITR_OK ||
            flag_of(e, "prepare", &prepare, err) != PITR_OK ||
            count_ops(array->value, array->value_len, &ops, err) != PITR_OK)
            return err->rc;
        if (partial || prepare)
            return buffer_piece(r, e, array, ops, prepare, err);
        return commit_linked(r, e, array, ops, err);
    }
    if (is_before_base(r, e))
        return PITR_OK;
    if (e->multi_op_type != MULTI_OP_SEPARATE) {
        ctx.mode = OP_LENIENT;
        if (always_upserts(e, &upsert, err) != PITR_OK)
            return err->rc;
    }
    return apply_array(r, e, array->value, array->value_len, &ctx, upsert, 0, err);
}

/* commitTransaction or abortTransaction of a prepared (or partly logged) transaction. */
static enum pitr_rc
end_transaction(struct replay *r, const struct oplog_entry *e, bool commit, struct pitr_err *err)
{
    PITR_AUTO(txn_chain_freep) struct txn_chain *chain = NULL;
    struct op_context ctx = context_of(r, e);

    txn_take(r->txns, &e->prev, &chain);
    if (!commit || is_before_base(r, e))
        return PITR_OK;
    if (chain == NULL)
        return replay_refuse(err, e, "the capture starts after this transaction was prepared");
    ctx.mode = OP_LENIENT;
    return apply_chain(r, e, chain, &ctx, err);
}

static enum pitr_rc
command_entry(struct replay *r, const struct oplog_entry *e, struct pitr_err *err)
{
    struct op_context ctx = context_of(r, e);
    struct biter it;
    struct belem first;

    if (biter_init(&it, e->o, e->o_len, err) != PITR_OK || biter_next(&it, &first, err) != PITR_OK)
        return err->rc;
    if (belem_is(&first, "applyOps"))
        return apply_ops_entry(r, e, &first, err);
    if (belem_is(&first, "commitTransaction"))
        return end_transaction(r, e, true, err);
    if (belem_is(&first, "abortTransaction"))
        return end_transaction(r, e, false, err);
    if (is_before_base(r, e))
        return PITR_OK;
    return replay_command(r, e, &ctx, err);
}

/* Past the moment: a transaction prepared before it counts if its commit timestamp is not after it.
 */
static enum pitr_rc
entry_after(struct replay *r, const struct oplog_entry *e, struct pitr_err *err)
{
    PITR_AUTO(txn_chain_freep) struct txn_chain *chain = NULL;
    struct op_context ctx = context_of(r, e);
    struct belem at;
    bool found, commit;

    if (e->op != 'c' || !e->has_prev)
        return PITR_OK;
    if (bson_find(e->o, e->o_len, "commitTransaction", &commit, &at, err) != PITR_OK ||
        bson_find(e->o, e->o_len, "abortTransaction", &found, &at, err) != PITR_OK)
        return err->rc;
    if (!commit && !found)
        return PITR_OK;
    txn_take(r->txns, &e->prev, &chain);
    if (!commit || chain == NULL)
        return PITR_OK;
    if (bson_find(e->o, e->o_len, "commitTimestamp", &found, &at, err) != PITR_OK)
        return err->rc;
    if (!found || at.type != BSON_TS)
        return replay_refuse(err, e, "commitTransaction without commitTimestamp");
    if (get_le64(at.value) > r->opts.to)
        return PITR_OK;
    ctx.mode = OP_LENIENT;
    return apply_chain(r, e, chain, &ctx, err);
}

static enum pitr_rc
close_window(struct replay *r, struct pitr_err *err)
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

enum pitr_rc
replay_entry(struct replay *r, const struct oplog_entry *e, struct pitr_err *err)
{
    if (e->ts > r->opts.to)
        return entry_after(r, e, err);
    if (e->ts > r->opts.t_end && !r->window_closed && close_window(r, err) != PITR_OK)
        return err->rc;
    r->last = e->ts;
    txn_purge_term(r->txns, e->term);
    switch (e->op) {
    case 'n':
        return PITR_OK;
    case 'c':
        return command_entry(r, e, err);
    default: {
        struct op_context ctx = context_of(r, e);

        return is_before_base(r, e) ? PITR_OK : apply_crud(r, e, &ctx, false, err);
    }
    }
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
    if (!r->window_closed && close_window(r, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < r->ncolls; i++) {
        struct replay_coll *c = r->colls[i];

        if (!c->dropped && drop_temporary(c, err) != PITR_OK)
            return err->rc;
        if (!c->dropped && c->was_excluded && !c->excluded)
            return pitr_fail(err, PITR_GAP,
                             "%s.%s was renamed out of the excluded namespaces, so its documents "
                             "were never captured; take a new snapshot, or restore an earlier time",
                             c->db, c->name);
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
