/*
 * txn_pieces.h - the pieces of one transaction, looked up in the captured oplog by their links.
 *
 * For a reader that comes upon a transaction in the middle. Costs the decoding of the segments from
 * the transaction's first piece on; segments without a piece that is linked are not read.
 */
#ifndef PITR_ENGINE_TXN_PIECES_H
#define PITR_ENGINE_TXN_PIECES_H

#include "base/buf.h"
#include "oplog/chain.h"

struct txn_piece {
    struct buf raw; /* the whole entry */
    struct optime at, prev;
};
struct txn_pieces {
    struct txn_piece *at; /* in order; owned */
    size_t n;
};

/* All pieces from the first to the one at e->prev, e being a later entry of the transaction on
 * `timeline`. *out needs a release in any case. Fails: NOTFOUND (one of them is not captured),
 * NOMEM, as chain_walk(). */
PITR_MUST enum pitr_rc txn_pieces_find(struct txn_pieces *out, const struct chain *chain,
                                       struct blob *blob, const struct repo_keys *keys,
                                       uint32_t timeline, const struct oplog_entry *e,
                                       struct pitr_err *err);
void txn_pieces_release(struct txn_pieces *p);

#endif
