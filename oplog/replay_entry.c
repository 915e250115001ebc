#include <stdio.h>
#include <string.h>

#include "oplog/docid.h"
#include "oplog/replay_internal.h"
#include "oplog/txn_entry.h"

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
          const char *dot, struct replay_coll **out, struct pitr_err *err)
{
    struct replay_coll *c;

    *out = NULL;
    if (replay_of_entry(r, e, ctx, e->ns, (size_t)(dot - e->ns), dot + 1, &c, err) != PITR_OK)
        return err->rc;
    if (c != NULL && !c->dropped) {
        *out = c->unseen ? NULL : c;
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

/* 4.4 evicts from capped collections without a word, so a document may come twice, in the window
 * as after it, or be gone before the base was read. */
static enum pitr_rc
document_mode(const struct replay *r, struct replay_coll *c, const struct op_context *ctx,
              enum op_mode *mode, struct pitr_err *err)
{
    struct belem capped;
    bool found = false;

    *mode = ctx->mode;
    if (r->opts.order != FIELD_ORDER_BYTES || c->options.len == 0)
        return PITR_OK;
    if (bson_find(c->options.data, c->options.len, "capped", &found, &capped, err) != PITR_OK)
        return err->rc;
    if (found && belem_truthy(&capped)) {
        *mode = OP_LENIENT;
        net_allow_evictions(c->net);
    }
    return PITR_OK;
}

static enum pitr_rc
apply_to(struct replay *r, struct replay_coll *c, const struct oplog_entry *e,
         const struct op_context *ctx, bool upsert, struct pitr_err *err)
{
    enum op_mode mode;
    bool wanted = true;

    if (r->opts.only != NULL && is_only(r, e, &wanted, err) != PITR_OK)
        return err->rc;
    if (!wanted)
        return PITR_OK;
    if (document_mode(r, c, ctx, &mode, err) != PITR_OK)
        return err->rc;
    if (e->op == 'i')
        return net_insert(c->net, e->o, e->o_len, mode, err);
    if (e->op == 'd')
        return net_delete(c->net, e->o, e->o_len, mode, err);
    return net_update(c->net, e->o2, e->o2_len, e->o, e->o_len, upsert || e->upsert, mode, err);
}

static enum pitr_rc
apply_crud(struct replay *r, const struct oplog_entry *e, const struct op_context *ctx, bool upsert,
           struct pitr_err *err)
{
    const char *dot = strchr(e->ns, '.');
    struct replay_coll *c;
    char when[TS_TEXT_LEN];

    if (dot == NULL)
        return replay_refuse(err, e, "field ns: no namespace");
    if (replay_is_server(e->ns, (size_t)(dot - e->ns), dot + 1)) {
        if (!is_fcv_change(e))
            return PITR_OK;
        ts_format(when, ctx->ts);
        return pitr_fail(
            err, PITR_GAP,
            "the feature compatibility version was changed at %s: replay from a snapshot older "
            "than that is not possible; choose a time before it, or take a new snapshot",
            when);
    }
    if (crud_coll(r, e, ctx, dot, &c, err) != PITR_OK)
        return err->rc;
    r->operations++;
    if (c == NULL)
        return PITR_OK;
    if (e->op == 'u' && e->o2 == NULL)
        return replay_refuse(err, e, "field o2: missing");
    if (apply_to(r, c, e, ctx, upsert, err) == PITR_OK)
        return PITR_OK;
    ts_format(when, ctx->ts);
    return pitr_wrap(err, "replay of %s.%s at %s: %s", c->db, c->name, when,
                     e->op == 'i'   ? "insert"
                     : e->op == 'd' ? "delete"
                                    : "update");
}

static enum pitr_rc apply_array(struct replay *r, const struct oplog_entry *outer,
                                const uint8_t *array, size_t len, const struct op_context *ctx,
                                bool upsert, int depth, struct pitr_err *err);

/* A boolean of the entry's `o`; *out stays as it is where there is none. */
static enum pitr_rc
read_flag(const struct oplog_entry *e, const char *name, bool *out, struct pitr_err *err)
{
    struct belem flag;
    bool found;
    char what[64];

    if (bson_find(e->o, e->o_len, name, &found, &flag, err) != PITR_OK)
        return err->rc;
    if (!found)
        return PITR_OK;
    if (flag.type != BSON_BOOLEAN) {
        snprintf(what, sizeof what, "field %s: no boolean", name);
        return replay_refuse(err, e, what);
    }
    *out = belem_truthy(&flag);
    return PITR_OK;
}

/*
 * A user's applyOps command is logged with all the fields it came with, of which every command has
 * `$db`. The server took its operations leniently, and made documents that its updates missed
 * unless it was told not to. Other entries of several operations are batches of the server's own.
 */
static enum pitr_rc
users_command(const struct oplog_entry *e, struct op_context *ctx, bool *upsert,
              struct pitr_err *err)
{
    struct belem field;
    bool has_db, has_flag;

    if (bson_find(e->o, e->o_len, "$db", &has_db, &field, err) != PITR_OK ||
        bson_find(e->o, e->o_len, "alwaysUpsert", &has_flag, &field, err) != PITR_OK)
        return err->rc;
    if (!has_db && !has_flag)
        return PITR_OK;
    ctx->mode = OP_LENIENT;
    *upsert = true;
    return read_flag(e, "alwaysUpsert", upsert, err);
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
        if (first.type != BSON_ARRAY)
            return replay_refuse(err, outer, "field applyOps: no array");
        if (depth >= APPLY_OPS_DEPTH)
            return replay_refuse(err, outer, "applyOps nested too deeply");
        if (read_flag(e, "alwaysUpsert", &upsert, err) != PITR_OK)
            return err->rc;
        return apply_array(r, outer, first.value, first.value_len, ctx, upsert, depth + 1, err);
    default:
        return apply_crud(r, e, ctx, upsert, err);
    }
}

static enum pitr_rc
apply_array(struct replay *r, const struct oplog_entry *outer, const uint8_t *array, size_t len,
            const struct op_context *ctx, bool upsert, int depth, struct pitr_err *err)
{
    struct op_context within = *ctx;
    struct oplog_entry inner;
    struct biter it;
    struct belem op;
    char when[TS_TEXT_LEN];

    within.inner = true;
    if (biter_init(&it, array, len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &op, err) != PITR_OK)
            return err->rc;
        if (op.type == BSON_EOD)
            return PITR_OK;
        if (op.type != BSON_DOC)
            return replay_refuse(err, outer, "applyOps holds something that is no operation");
        if (oplog_entry_parse_inner(&inner, op.value, op.value_len, err) != PITR_OK) {
            ts_format(when, ctx->ts);
            return pitr_wrap(err, "at %s", when);
        }
        inner.ts = ctx->ts;
        if (apply_inner(r, outer, &inner, &within, upsert, depth, err) != PITR_OK)
            return err->rc;
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
    PITR_AUTO(buf_release) struct buf scratch = {0};

    for (size_t i = 0; i < chain->npieces; i++) {
        const uint8_t *array;
        size_t len;

        if (txn_chain_piece(chain, i, &scratch, &array, &len, err) != PITR_OK ||
            apply_array(r, e, array, len, ctx, false, 0, err) != PITR_OK)
            return err->rc;
    }
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
    if (!found)
        return PITR_OK;
    if (!belem_int64(&count, &want))
        return replay_refuse(err, e, "field count: no integer");
    if (want < 0 || (uint64_t)want != have)
        return replay_refuse(err, e, "the transaction's pieces do not add up to its count");
    return PITR_OK;
}

/* Chains are found by optime; the session is a second witness. */
static enum pitr_rc
check_chain(const struct oplog_entry *e, const struct txn_chain *chain, bool prepared,
            struct pitr_err *err)
{
    if (chain->txn_number != e->txn_number || chain->lsid_len != e->lsid_len ||
        (e->lsid_len != 0 && memcmp(chain->lsid, e->lsid, e->lsid_len) != 0))
        return replay_refuse(err, e, "field prevOpTime: names a transaction of another session");
    if (chain->prepared != prepared)
        return replay_refuse(err, e,
                             prepared ? "field prevOpTime: names a transaction that is not prepared"
                                      : "goes on with a transaction that is prepared already");
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
        if (chain != NULL && (check_chain(e, chain, false, err) != PITR_OK ||
                              check_count(e, chain->ops + ops, err) != PITR_OK))
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
    const struct txn_chain *chain = e->prev.ts == 0 ? NULL : txn_peek(r->txns, &e->prev);

    if (e->prev.ts != 0 && chain == NULL) {
        if (is_before_base(r, e))
            return PITR_OK;
        return replay_refuse(err, e, "the capture starts after this transaction's first piece");
    }
    if (chain != NULL && check_chain(e, chain, false, err) != PITR_OK)
        return err->rc;
    if (prepared && check_count(e, ops + (chain != NULL ? chain->ops : 0), err) != PITR_OK)
        return err->rc;
    return txn_add(r->txns, e, array->value, array->value_len, ops, prepared, err);
}

static enum pitr_rc
apply_ops_entry(struct replay *r, const struct oplog_entry *e, const struct belem *array,
                struct pitr_err *err)
{
    struct op_context ctx = context_of(r, e);
    bool partial = false, prepare = false, upsert = false;
    uint64_t ops;

    if (array->type != BSON_ARRAY)
        return replay_refuse(err, e, "field applyOps: no array");
    if (txn_entry_is_linked(e)) {
        if (read_flag(e, "partialTxn", &partial, err) != PITR_OK ||
            read_flag(e, "prepare", &prepare, err) != PITR_OK ||
            txn_count_ops(array->value, array->value_len, &ops, err) != PITR_OK)
            return err->rc;
        if (partial || prepare)
            return buffer_piece(r, e, array, ops, prepare, err);
        return commit_linked(r, e, array, ops, err);
    }
    if (is_before_base(r, e))
        return PITR_OK;
    if (users_command(e, &ctx, &upsert, err) != PITR_OK)
        return err->rc;
    return apply_array(r, e, array->value, array->value_len, &ctx, upsert, 0, err);
}

/* commitTransaction or abortTransaction of a prepared transaction, or the latter of a partly logged
 * one. Past the moment a transaction counts if its commit timestamp is not after it. */
static enum pitr_rc
end_transaction(struct replay *r, const struct oplog_entry *e, bool commit, struct pitr_err *err)
{
    PITR_AUTO(txn_chain_freep) struct txn_chain *chain = NULL;
    struct op_context ctx = context_of(r, e);
    const bool is_after = e->ts > r->opts.to;
    uint64_t at = 0;
    bool found;

    if (!e->has_prev)
        return replay_refuse(err, e, "field prevOpTime: missing");
    txn_take(r->txns, &e->prev, &chain);
    if (!commit)
        return PITR_OK;
    if (txn_commit_time(e, &found, &at, err) != PITR_OK)
        return err->rc;
    if (!found)
        return replay_refuse(err, e, "field commitTimestamp: missing, or no timestamp");
    if (is_before_base(r, e) || (is_after && (chain == NULL || at > r->opts.to)))
        return PITR_OK;
    if (chain == NULL)
        return replay_refuse(err, e, "the capture starts after this transaction was prepared");
    if (check_chain(e, chain, true, err) != PITR_OK)
        return err->rc;
    ctx.mode = OP_LENIENT;
    return apply_chain(r, e, chain, &ctx, err);
}

static enum pitr_rc
command_entry(struct replay *r, const struct oplog_entry *e, struct pitr_err *err)
{
    struct op_context ctx = context_of(r, e);
    enum txn_ending ending;
    struct biter it;
    struct belem first;

    if (biter_init(&it, e->o, e->o_len, err) != PITR_OK || biter_next(&it, &first, err) != PITR_OK)
        return err->rc;
    if (belem_is(&first, "applyOps"))
        return apply_ops_entry(r, e, &first, err);
    ending = txn_ending_of(&first);
    if (ending != TXN_ENDS_NOT)
        return end_transaction(r, e, ending == TXN_IS_COMMITTED, err);
    if (is_before_base(r, e))
        return PITR_OK;
    return replay_command(r, e, &ctx, err);
}

/* Past the moment only the outcome of transactions that are prepared at it matters. */
static enum pitr_rc
entry_after(struct replay *r, const struct oplog_entry *e, struct pitr_err *err)
{
    enum txn_ending ending;
    struct biter it;
    struct belem first;

    if (e->op != 'c' || !e->has_prev || txn_peek(r->txns, &e->prev) == NULL)
        return PITR_OK;
    if (biter_init(&it, e->o, e->o_len, err) != PITR_OK || biter_next(&it, &first, err) != PITR_OK)
        return err->rc;
    ending = txn_ending_of(&first);
    return ending == TXN_ENDS_NOT ? PITR_OK
                                  : end_transaction(r, e, ending == TXN_IS_COMMITTED, err);
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
