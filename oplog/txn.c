#include "oplog/txn.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Of each chain, in memory. */
enum { CHAIN_MAX = 1 << 20 };

struct txn_table {
    struct spill_user user; /* first: put_out() gets it */
    struct txn_chain **chains;
    size_t len, cap;
    int64_t term; /* no chain that is not prepared is of an older one */
};

static enum pitr_rc
piece_write(struct txn_chain *c, struct txn_piece *p, const uint8_t *data, struct pitr_err *err)
{
    p->check = XXH3_64bits(data, p->len);
    return spill_write(c->spill, data, p->len, &p->at, err);
}

static enum pitr_rc
piece_put_out(struct txn_chain *c, struct txn_piece *p, struct pitr_err *err)
{
    if (p->data == NULL)
        return PITR_OK;
    if (piece_write(c, p, p->data, err) != PITR_OK)
        return err->rc;
    free(p->data);
    p->data = NULL;
    c->held -= p->len;
    return PITR_OK;
}

static enum pitr_rc
put_out(struct spill_user *u, struct pitr_err *err)
{
    struct txn_table *t = (struct txn_table *)u;

    for (size_t i = 0; i < t->len; i++) {
        struct txn_chain *c = t->chains[i];

        for (size_t k = 0; k < c->npieces; k++) {
            size_t before = c->held;

            if (piece_put_out(c, &c->pieces[k], err) != PITR_OK)
                return err->rc;
            spill_user_release(&t->user, before - c->held);
        }
    }
    return PITR_OK;
}

enum pitr_rc
txn_table_new(struct txn_table **out, struct spill *spill, struct pitr_err *err)
{
    struct txn_table *t = calloc(1, sizeof *t);

    if (t == NULL)
        return pitr_fail(err, PITR_NOMEM, "transaction table");
    t->user.put_out = put_out;
    spill_join(spill, &t->user);
    *out = t;
    return PITR_OK;
}

void
txn_chain_free(struct txn_chain *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->npieces; i++) {
        if (c->pieces[i].data == NULL)
            spill_discard(c->spill, c->pieces[i].at, c->pieces[i].len);
        free(c->pieces[i].data);
    }
    if (c->spill != NULL)
        spill_release(c->spill, c->held);
    free(c->pieces);
    free(c->lsid);
    free(c);
}

void
txn_chain_freep(struct txn_chain **c)
{
    txn_chain_free(*c);
    *c = NULL;
}

void
txn_table_free(struct txn_table *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->len; i++)
        txn_chain_free(t->chains[i]);
    t->user.held = 0; /* given back by the chains */
    spill_leave(&t->user);
    free(t->chains);
    free(t);
}

static size_t
find(const struct txn_table *t, const struct optime *last)
{
    size_t i;

    for (i = 0; i < t->len; i++)
        if (t->chains[i]->last.ts == last->ts && t->chains[i]->last.term == last->term)
            break;
    return i;
}

/* What the chain holds is not the table's to put out any more; the chain gives it back. */
static void
remove_at(struct txn_table *t, size_t i)
{
    t->user.held -= t->chains[i]->held;
    t->chains[i] = t->chains[--t->len];
}

/* A session runs one transaction at a time: a newer one means that an older, unprepared one was
 * given up. */
static void
purge_session(struct txn_table *t, const struct oplog_entry *e)
{
    for (size_t i = 0; e->lsid != NULL && i < t->len;) {
        struct txn_chain *c = t->chains[i];

        if (!c->prepared && c->lsid_len == e->lsid_len &&
            memcmp(c->lsid, e->lsid, e->lsid_len) == 0 && c->txn_number < e->txn_number) {
            remove_at(t, i);
            txn_chain_free(c);
        } else {
            i++;
        }
    }
}

static enum pitr_rc
chain_new(struct txn_chain **out, const struct oplog_entry *e, struct spill *spill,
          struct pitr_err *err)
{
    PITR_AUTO(txn_chain_freep) struct txn_chain *c = calloc(1, sizeof *c);

    if (c == NULL)
        return pitr_fail(err, PITR_NOMEM, "transaction");
    c->spill = spill;
    c->txn_number = e->txn_number;
    if (e->lsid != NULL) {
        c->lsid = malloc(e->lsid_len);
        if (c->lsid == NULL)
            return pitr_fail(err, PITR_NOMEM, "transaction");
        memcpy(c->lsid, e->lsid, e->lsid_len);
        c->lsid_len = e->lsid_len;
    }
    *out = c;
    c = NULL;
    return PITR_OK;
}

static size_t
chain_max(const struct spill *s)
{
    uint64_t max = spill_budget(s) / 16;

    return max > CHAIN_MAX ? CHAIN_MAX : (size_t)max;
}

static enum pitr_rc
chain_append(struct txn_chain *c, const uint8_t *array, size_t len, struct pitr_err *err)
{
    struct txn_piece *pieces = realloc(c->pieces, (c->npieces + 1) * sizeof *pieces);
    struct txn_piece *p;

    if (pieces == NULL)
        return pitr_fail(err, PITR_NOMEM, "transaction of %zu entries", c->npieces + 1);
    c->pieces = pieces;
    p = &pieces[c->npieces];
    *p = (struct txn_piece){.len = len};
    if (c->spill != NULL && c->held + len > chain_max(c->spill)) {
        if (piece_write(c, p, array, err) != PITR_OK)
            return err->rc;
    } else {
        p->data = malloc(len);
        if (p->data == NULL)
            return pitr_fail(err, PITR_NOMEM, "piece of %zu bytes of a transaction", len);
        memcpy(p->data, array, len);
        c->held += len;
        if (c->spill != NULL)
            spill_hold(c->spill, len);
    }
    c->npieces++;
    return PITR_OK;
}

enum pitr_rc
txn_chain_piece(const struct txn_chain *c, size_t i, struct buf *scratch, const uint8_t **array,
                size_t *len, struct pitr_err *err)
{
    const struct txn_piece *p = &c->pieces[i];

    *array = p->data;
    *len = p->len;
    if (p->data != NULL)
        return PITR_OK;
    buf_clear(scratch);
    if (buf_reserve(scratch, p->len, err) != PITR_OK ||
        spill_read(c->spill, scratch->data, p->len, p->at, err) != PITR_OK)
        return err->rc;
    if (XXH3_64bits(scratch->data, p->len) != p->check)
        return spill_damaged(err);
    *array = scratch->data;
    return PITR_OK;
}

static enum pitr_rc
table_add(struct txn_table *t, struct txn_chain *c, struct pitr_err *err)
{
    if (t->len == t->cap) {
        size_t cap = t->cap == 0 ? 16 : t->cap * 2;
        struct txn_chain **chains = realloc(t->chains, cap * sizeof(struct txn_chain *));

        if (chains == NULL)
            return pitr_fail(err, PITR_NOMEM, "%zu open transactions", cap);
        t->chains = chains;
        t->cap = cap;
    }
    t->chains[t->len++] = c;
    return PITR_OK;
}

enum pitr_rc
txn_add(struct txn_table *t, const struct oplog_entry *e, const uint8_t *array, size_t len,
        uint64_t ops, bool prepared, struct pitr_err *err)
{
    PITR_AUTO(txn_chain_freep) struct txn_chain *fresh = NULL;
    struct txn_chain *c;
    size_t before;

    if (e->prev.ts == 0) {
        purge_session(t, e);
        if (chain_new(&fresh, e, t->user.spill, err) != PITR_OK)
            return err->rc;
        c = fresh;
    } else {
        size_t i = find(t, &e->prev);

        if (i == t->len)
            return pitr_fail(err, PITR_NOTFOUND, "no earlier piece of this transaction");
        c = t->chains[i];
        if (c->txn_number != e->txn_number)
            return pitr_fail(err, PITR_CORRUPT, "transaction number differs from its chain's");
    }
    before = c->held;
    if (chain_append(c, array, len, err) != PITR_OK)
        return err->rc;
    c->last = (struct optime){.ts = e->ts, .term = e->term};
    c->prepared = prepared;
    c->ops += ops;
    if (e->term < t->term)
        t->term = e->term;
    if (fresh != NULL) {
        if (table_add(t, fresh, err) != PITR_OK)
            return err->rc;
        fresh = NULL;
    }
    t->user.held += c->held - before; /* the chain has told the spill */
    if (t->user.spill != NULL && spill_is_over(t->user.spill))
        return spill_relieve(t->user.spill, err);
    return PITR_OK;
}

const struct txn_chain *
txn_peek(const struct txn_table *t, const struct optime *last)
{
    size_t i = find(t, last);

    return i < t->len ? t->chains[i] : NULL;
}

void
txn_take(struct txn_table *t, const struct optime *last, struct txn_chain **out)
{
    size_t i = find(t, last);

    *out = NULL;
    if (i < t->len) {
        *out = t->chains[i];
        remove_at(t, i);
    }
}

void
txn_purge_term(struct txn_table *t, int64_t term)
{
    if (term <= t->term)
        return; /* asked at every entry */
    t->term = term;
    for (size_t i = 0; i < t->len;) {
        if (!t->chains[i]->prepared && t->chains[i]->last.term < term) {
            struct txn_chain *c = t->chains[i];

            remove_at(t, i);
            txn_chain_free(c);
        } else {
            i++;
        }
    }
}

size_t
txn_prepared(const struct txn_table *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->len; i++)
        n += t->chains[i]->prepared;
    return n;
}
