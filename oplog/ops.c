#include "oplog/ops.h"

#include <stdlib.h>
#include <string.h>

#include "oplog/txn.h"
#include "oplog/txn_entry.h"

static const char lost_note[] = "earlier operations of this transaction are not captured";
static const char commit_note[] = "commits a transaction whose operations are not captured";

/* Of open transactions; what they have beyond it waits in a temporary file. */
enum { TXN_MEMORY = 64 << 20 };

struct ops {
    ops_visit *visit;
    ops_earlier *earlier;
    void *arg;
    struct spill *spill;
    struct txn_table *txns; /* its pieces are whole entries, which tell their timestamps */
    struct optime *lost;    /* owned; last known pieces of transactions that began too early */
    size_t nlost;
};

/* What operations of one entry or transaction have in common. */
struct run {
    struct ops *o;
    struct op op; /* ts, logged, wall_ms, txn; index of the operation before */
    bool *stop;
    struct pitr_err *err;
};

enum pitr_rc
ops_new(struct ops **out, ops_visit *visit, ops_earlier *earlier, void *arg, struct pitr_err *err)
{
    struct ops *o = calloc(1, sizeof *o);

    if (o == NULL)
        return pitr_fail(err, PITR_NOMEM, "reading operations");
    *o = (struct ops){.visit = visit, .earlier = earlier, .arg = arg};
    if (spill_new(&o->spill, TXN_MEMORY, err) != PITR_OK ||
        txn_table_new(&o->txns, o->spill, err) != PITR_OK) {
        ops_free(o);
        return err->rc;
    }
    *out = o;
    return PITR_OK;
}

void
ops_free(struct ops *o)
{
    if (o == NULL)
        return;
    txn_table_free(o->txns);
    spill_free(o->spill);
    free(o->lost);
    free(o);
}

void
ops_freep(struct ops **o)
{
    ops_free(*o);
    *o = NULL;
}

size_t
ops_prepared(const struct ops *o)
{
    return txn_prepared(o->txns);
}

static enum pitr_rc walk_array(struct run *r, const struct belem *array, int depth);

static enum pitr_rc
give(struct run *r, const struct oplog_entry *e)
{
    struct op op = r->op;

    op.e = e;
    op.raw = e->raw;
    op.raw_len = e->raw_len;
    op.index = r->op.txn == NULL ? 0 : ++r->op.index;
    return r->o->visit(r->o->arg, &op, r->stop, r->err);
}

static enum pitr_rc
give_unknown(struct run *r, const uint8_t *raw, size_t len, const char *note)
{
    struct op op = r->op;

    op.note = note;
    op.raw = raw;
    op.raw_len = len;
    op.index = r->op.txn == NULL ? 0 : ++r->op.index;
    return r->o->visit(r->o->arg, &op, r->stop, r->err);
}

static enum pitr_rc
walk_inner(struct run *r, const struct belem *e, int depth)
{
    struct oplog_entry inner;
    struct belem array;
    struct pitr_err why;
    bool found;

    if (e->type != BSON_DOC)
        return give_unknown(r, NULL, 0, "applyOps holds something that is no operation");
    if (oplog_entry_parse_inner(&inner, e->value, e->value_len, &why) != PITR_OK)
        return give_unknown(r, e->value, e->value_len, why.msg);
    if (inner.op != 'c')
        return give(r, &inner);
    if (bson_find(inner.o, inner.o_len, "applyOps", &found, &array, r->err) != PITR_OK)
        return r->err->rc;
    if (!found)
        return give(r, &inner);
    if (depth >= APPLY_OPS_DEPTH)
        return give_unknown(r, e->value, e->value_len, "applyOps nested too deeply");
    return walk_array(r, &array, depth + 1);
}

/* Recursion is bounded by APPLY_OPS_DEPTH. */
static enum pitr_rc
walk_array(struct run *r, const struct belem *array, int depth)
{
    struct biter it;
    struct belem e;

    if (array->type != BSON_ARRAY)
        return give_unknown(r, NULL, 0, "applyOps is no array");
    if (biter_init(&it, array->value, array->value_len, r->err) != PITR_OK)
        return r->err->rc;
    while (!*r->stop) {
        if (biter_next(&it, &e, r->err) != PITR_OK)
            return r->err->rc;
        if (e.type == BSON_EOD)
            break;
        if (walk_inner(r, &e, depth) != PITR_OK)
            return r->err->rc;
    }
    return PITR_OK;
}

/* The value of applyOps; false for any other entry. */
static bool
apply_ops_of(const struct oplog_entry *e, struct belem *array)
{
    struct pitr_err ignored;
    struct biter it;

    return e->op == 'c' && biter_init(&it, e->o, e->o_len, &ignored) == PITR_OK &&
           biter_next(&it, array, &ignored) == PITR_OK && array->type != BSON_EOD &&
           belem_is(array, "applyOps");
}

static bool
flag_of(const struct oplog_entry *e, const char *name)
{
    struct pitr_err ignored;
    struct belem flag;
    bool found;

    return bson_find(e->o, e->o_len, name, &found, &flag, &ignored) == PITR_OK && found &&
           belem_truthy(&flag);
}

bool
ops_is_piece(const struct oplog_entry *e)
{
    struct belem array;

    return txn_entry_is_linked(e) && apply_ops_of(e, &array) &&
           (flag_of(e, "partialTxn") || flag_of(e, "prepare"));
}

/* Operations in an applyOps array: for "3 of 7", so that one that cannot be read has none. */
static uint64_t
count_ops(const struct belem *array)
{
    struct pitr_err ignored;
    uint64_t n = 0;

    return array->type == BSON_ARRAY &&
                   txn_count_ops(array->value, array->value_len, &n, &ignored) == PITR_OK
               ? n
               : 0;
}

static bool
is_lost(const struct ops *o, const struct optime *piece)
{
    for (size_t i = 0; i < o->nlost; i++)
        if (o->lost[i].ts == piece->ts && o->lost[i].term == piece->term)
            return true;
    return false;
}

/* The piece at e->prev cannot be had: nor can the transaction be whole that goes on with e. */
static enum pitr_rc
lose(struct ops *o, const struct oplog_entry *e, struct pitr_err *err)
{
    struct optime *lost = realloc(o->lost, (o->nlost + 1) * sizeof *lost);

    if (lost == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu transactions", o->nlost + 1);
    o->lost = lost;
    lost[o->nlost++] = (struct optime){.ts = e->ts, .term = e->term};
    return PITR_OK;
}

/* Make sure that the pieces before `e` are here. *found false: they are not to be had. */
static enum pitr_rc
recover(struct ops *o, const struct oplog_entry *e, bool *found, struct pitr_err *err)
{
    enum pitr_rc rc;

    *found = false;
    if (o->earlier == NULL || is_lost(o, &e->prev))
        return PITR_OK;
    rc = o->earlier(o->arg, o, e, err);
    *found = rc == PITR_OK;
    return rc == PITR_NOTFOUND ? PITR_OK : rc;
}

static enum pitr_rc
add_piece(struct ops *o, const struct oplog_entry *e, struct pitr_err *err)
{
    struct belem array;

    if (!apply_ops_of(e, &array))
        return pitr_fail(err, PITR_INTERNAL, "an entry that is no piece of a transaction");
    return txn_add(o->txns, e, e->raw, e->raw_len, count_ops(&array), flag_of(e, "prepare"), err);
}

enum pitr_rc
ops_recover_piece(struct ops *o, const struct oplog_entry *e, struct pitr_err *err)
{
    return add_piece(o, e, err);
}

static enum pitr_rc
buffer_piece(struct ops *o, const struct oplog_entry *e, struct pitr_err *err)
{
    enum pitr_rc rc = add_piece(o, e, err);
    bool found;

    if (rc == PITR_NOTFOUND) {
        if (recover(o, e, &found, err) != PITR_OK)
            return err->rc;
        rc = found ? add_piece(o, e, err) : PITR_NOTFOUND;
    }
    /* CORRUPT: what it goes on with is another transaction. */
    return rc == PITR_NOTFOUND || rc == PITR_CORRUPT ? lose(o, e, err) : rc;
}

/* The chain that ends at e->prev; *chain NULL if it is lost. */
static enum pitr_rc
take_chain(struct ops *o, const struct oplog_entry *e, struct txn_chain **chain,
           struct pitr_err *err)
{
    bool found;

    txn_take(o->txns, &e->prev, chain);
    if (*chain != NULL)
        return PITR_OK;
    if (recover(o, e, &found, err) != PITR_OK)
        return err->rc;
    if (found)
        txn_take(o->txns, &e->prev, chain);
    return PITR_OK;
}

static enum pitr_rc
walk_chain(struct run *r, const struct txn_chain *chain)
{
    PITR_AUTO(buf_release) struct buf scratch = {0};

    for (size_t i = 0; i < chain->npieces && !*r->stop; i++) {
        struct oplog_entry piece;
        struct belem array;
        const uint8_t *raw;
        size_t len;

        if (txn_chain_piece(chain, i, &scratch, &raw, &len, r->err) != PITR_OK ||
            oplog_entry_parse(&piece, raw, len, r->err) != PITR_OK)
            return r->err->rc;
        if (!apply_ops_of(&piece, &array))
            return pitr_fail(r->err, PITR_INTERNAL, "a transaction's piece without applyOps");
        r->op.logged = piece.ts;
        if (walk_array(r, &array, 0) != PITR_OK)
            return r->err->rc;
    }
    return PITR_OK;
}

static struct run
run_of(struct ops *o, const struct oplog_entry *e, bool *stop, struct pitr_err *err)
{
    return (struct run){.o = o,
                        .op = {.ts = e->ts, .logged = e->ts, .wall_ms = e->wall_ms},
                        .stop = stop,
                        .err = err};
}

static struct ops_txn
txn_of(const struct oplog_entry *e, const struct txn_chain *chain)
{
    return (struct ops_txn){.lsid = e->lsid,
                            .lsid_len = e->lsid_len,
                            .txn_number = e->txn_number,
                            .prepared = chain != NULL && chain->prepared,
                            .committed = e->ts,
                            .count = chain == NULL ? 0 : chain->ops};
}

/* The last piece of an unprepared transaction: it takes effect here. */
static enum pitr_rc
commit_linked(struct ops *o, const struct oplog_entry *e, const struct belem *array, bool *stop,
              struct pitr_err *err)
{
    PITR_AUTO(txn_chain_freep) struct txn_chain *chain = NULL;
    struct run r = run_of(o, e, stop, err);
    struct ops_txn txn;

    if (e->prev.ts != 0 && take_chain(o, e, &chain, err) != PITR_OK)
        return err->rc;
    txn = txn_of(e, chain);
    txn.count += count_ops(array);
    if (chain == NULL && e->prev.ts != 0 && give_unknown(&r, NULL, 0, lost_note) != PITR_OK)
        return err->rc;
    r.op.txn = &txn;
    if (chain != NULL && walk_chain(&r, chain) != PITR_OK)
        return err->rc;
    r.op.logged = e->ts;
    return walk_array(&r, array, 0);
}

static enum pitr_rc
apply_ops(struct ops *o, const struct oplog_entry *e, const struct belem *array, bool *stop,
          struct pitr_err *err)
{
    struct run r = run_of(o, e, stop, err);

    if (!txn_entry_is_linked(e))
        return walk_array(&r, array, 0);
    if (flag_of(e, "partialTxn") || flag_of(e, "prepare"))
        return buffer_piece(o, e, err);
    return commit_linked(o, e, array, stop, err);
}

/* The commit time of a prepared transaction; that of the entry where none is said. */
static uint64_t
commit_time(const struct oplog_entry *e)
{
    struct pitr_err ignored;
    uint64_t at = 0;
    bool found;

    return txn_commit_time(e, &found, &at, &ignored) == PITR_OK && found && at != 0 ? at : e->ts;
}

static enum pitr_rc
commit_chain(struct ops *o, const struct oplog_entry *e, const struct txn_chain *chain, bool *stop,
             struct pitr_err *err)
{
    struct run r = run_of(o, e, stop, err);
    struct ops_txn txn = txn_of(e, chain);

    r.op.ts = commit_time(e);
    r.op.txn = &txn;
    return chain == NULL ? give_unknown(&r, e->raw, e->raw_len, commit_note)
                         : walk_chain(&r, chain);
}

static enum pitr_rc
command(struct ops *o, const struct oplog_entry *e, bool *stop, struct pitr_err *err)
{
    PITR_AUTO(txn_chain_freep) struct txn_chain *chain = NULL;
    struct run r = run_of(o, e, stop, err);
    struct biter it;
    struct belem first;

    if (biter_init(&it, e->o, e->o_len, err) != PITR_OK || biter_next(&it, &first, err) != PITR_OK)
        return err->rc;
    if (first.type == BSON_EOD)
        return give(&r, e);
    if (belem_is(&first, "applyOps"))
        return apply_ops(o, e, &first, stop, err);
    switch (txn_ending_of(&first)) {
    case TXN_IS_COMMITTED:
        if (take_chain(o, e, &chain, err) != PITR_OK)
            return err->rc;
        return commit_chain(o, e, chain, stop, err);
    case TXN_IS_ABORTED:
        txn_take(o->txns, &e->prev, &chain);
        return PITR_OK;
    case TXN_ENDS_NOT:
        break;
    }
    return give(&r, e);
}

enum pitr_rc
ops_entry(struct ops *o, const struct oplog_entry *e, bool *stop, struct pitr_err *err)
{
    struct run r = run_of(o, e, stop, err);

    txn_purge_term(o->txns, e->term);
    return e->op == 'c' ? command(o, e, stop, err) : give(&r, e);
}

enum pitr_rc
ops_entry_after(struct ops *o, const struct oplog_entry *e, uint64_t to, bool *stop,
                struct pitr_err *err)
{
    PITR_AUTO(txn_chain_freep) struct txn_chain *chain = NULL;
    struct biter it;
    struct belem first;
    enum txn_ending ending;

    if (e->op != 'c' || !e->has_prev)
        return PITR_OK;
    if (biter_init(&it, e->o, e->o_len, err) != PITR_OK || biter_next(&it, &first, err) != PITR_OK)
        return err->rc;
    ending = txn_ending_of(&first);
    if (ending == TXN_ENDS_NOT)
        return PITR_OK;
    txn_take(o->txns, &e->prev, &chain);
    if (chain == NULL || ending == TXN_IS_ABORTED || commit_time(e) > to)
        return PITR_OK;
    return commit_chain(o, e, chain, stop, err);
}
