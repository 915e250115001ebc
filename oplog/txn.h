/*
 * txn.h - transactions whose pieces are spread over several oplog entries.
 *
 * A piece names its predecessor by optime (prevOpTime); a chain is known by the optime of its last
 * piece. Pieces wait here until the entry that commits them, or are dropped; in memory up to a
 * sixteenth of the spill's budget (at most 1 MiB) for each chain, the rest in the spill's file.
 */
#ifndef PITR_OPLOG_TXN_H
#define PITR_OPLOG_TXN_H

#include "base/buf.h"
#include "oplog/entry.h"
#include "oplog/spill.h"

struct txn_table;

/* An applyOps array, in memory or in the file. */
struct txn_piece {
    uint8_t *data; /* owned; NULL: in the file */
    size_t len;
    uint64_t at, check; /* in the file: where, and the hash of its bytes */
};

/* One waiting chain. */
struct txn_chain {
    struct optime last; /* optime of its last piece */
    bool prepared;
    uint64_t ops;  /* inner operations in pieces */
    uint8_t *lsid; /* owned; NULL for internal writes */
    size_t lsid_len;
    int64_t txn_number;
    struct txn_piece *pieces; /* in order; owned */
    size_t npieces;
    struct spill *spill; /* borrowed, or NULL */
    size_t held;         /* bytes of pieces in memory */
};

/* Borrows `spill`, which may be NULL: everything stays in memory. */
PITR_MUST enum pitr_rc txn_table_new(struct txn_table **out, struct spill *spill,
                                     struct pitr_err *err);
void txn_table_free(struct txn_table *t);

/* Append the applyOps array of entry `e` to the chain e->prev ends, or start one. NOTFOUND: its
 * earlier pieces are not here. */
PITR_MUST enum pitr_rc txn_add(struct txn_table *t, const struct oplog_entry *e,
                               const uint8_t *array, size_t len, uint64_t ops, bool prepared,
                               struct pitr_err *err);
/* Take the chain whose last piece is `last` out of the table; *out NULL if there is none. The
 * caller frees it, before the spill. */
void txn_take(struct txn_table *t, const struct optime *last, struct txn_chain **out);
/* The same chain, left where it is; NULL if there is none. */
const struct txn_chain *txn_peek(const struct txn_table *t, const struct optime *last);
/* One applyOps array; what is read from the file comes into `scratch`. Fails: NOMEM, IO,
 * CORRUPT. */
PITR_MUST enum pitr_rc txn_chain_piece(const struct txn_chain *c, size_t i, struct buf *scratch,
                                       const uint8_t **array, size_t *len, struct pitr_err *err);
void txn_chain_free(struct txn_chain *c);
void txn_chain_freep(struct txn_chain **c);
/* A new term abandons chains that are neither complete nor prepared. */
void txn_purge_term(struct txn_table *t, int64_t term);
size_t txn_prepared(const struct txn_table *t);

#endif
