#include <string.h>

#include "base/bytes.h"
#include "oplog/docid.h"
#include "oplog/replay_internal.h"

/* applyOps inside applyOps, as deep as anything sensible goes. */
enum { APPLY_OPS_DEPTH = 8 };

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

/* Whether the operation is about the one document that the caller asked for. */
static enum pitr_rc
is_only(struct replay *r, const struct oplog_entry *e, bool *wanted, struct pitr_err *err)
{
    const uint8_t *doc = e->op == 'u' ? e->o2 : e->o;
    size_t len = e->op == 'u' ? e->o2_len : e->o_len;
    struct belem id;
    bool found;

    if (bson_find(doc, len, "_id", &found, &id, err) != PITR_OK)
        return err->rc;
    if (!found)
        return replay_refuse(err, e, "the operation names no _id");
    buf_clear(&r->key);
    if (docid_append(&r->key, &id, err) != PITR_OK)
        return err->rc;
    *wanted =
        r->key.len == r->opts.only->len && memcmp(r->key.data, r->opts.only->data, r->key.len) == 0;
    return PITR_OK;
}

static enum pitr_rc
apply_crud(struct replay *r, const struct oplog_entry *e, const struct op_context *ctx, bool upsert,
           struct pitr_err *err)
{
    struct replay_coll *c;
    enum pitr_rc rc;
    bool wanted = false;
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
    if (r->opts.only != NULL) {
        if (is_only(r, e, &wanted, err) != PITR_OK)
            return err->rc;
        if (!wanted)
            return PITR_OK;
    }
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

enum pitr_rc
replay_entry(struct replay *r, const struct oplog_entry *e, struct pitr_err *err)
{
    if (e->ts > r->opts.to)
        return entry_after(r, e, err);
    if (e->ts > r->opts.t_end && !r->window_closed && replay_close_window(r, err) != PITR_OK)
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
