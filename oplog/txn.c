#include "oplog/txn.h"

#include <stdlib.h>
#include <string.h>

struct txn_table {
    struct txn_chain **chains;
    size_t len, cap;
};

enum pitr_rc
txn_table_new(struct txn_table **out, struct pitr_err *err)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? pitr_fail(err, PITR_NOMEM, "transaction table") : PITR_OK;
}

void
txn_chain_free(struct txn_chain *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->npieces; i++)
        buf_release(&c->pieces[i]);
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

static void
remove_at(struct txn_table *t, size_t i)
{
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
            txn_chain_free(c);
            remove_at(t, i);
        } else {
            i++;
        }
    }
}

static enum pitr_rc
chain_new(struct txn_chain **out, const struct oplog_entry *e, struct pitr_err *err)
{
    PITR_AUTO(txn_chain_freep) struct txn_chain *c = calloc(1, sizeof *c);

    if (c == NULL)
        return pitr_fail(err, PITR_NOMEM, "transaction");
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

static enum pitr_rc
chain_append(struct txn_chain *c, const uint8_t *array, size_t len, struct pitr_err *err)
{
    struct buf *pieces = realloc(c->pieces, (c->npieces + 1) * sizeof *pieces);

    if (pieces == NULL)
        return pitr_fail(err, PITR_NOMEM, "transaction of %zu entries", c->npieces + 1);
    c->pieces = pieces;
    pieces[c->npieces] = (struct buf){0};
    if (buf_append(&pieces[c->npieces], array, len, err) != PITR_OK)
        return err->rc;
    c->npieces++;
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

    if (e->prev.ts == 0) {
        purge_session(t, e);
        if (chain_new(&fresh, e, err) != PITR_OK)
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
    if (chain_append(c, array, len, err) != PITR_OK)
        return err->rc;
    c->last = (struct optime){.ts = e->ts, .term = e->term};
    c->prepared = prepared;
    c->ops += ops;
    if (fresh != NULL) {
        if (table_add(t, fresh, err) != PITR_OK)
            return err->rc;
        fresh = NULL;
    }
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
    for (size_t i = 0; i < t->len;) {
        if (!t->chains[i]->prepared && t->chains[i]->last.term < term) {
            txn_chain_free(t->chains[i]);
            remove_at(t, i);
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
