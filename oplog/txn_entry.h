/*
 * txn_entry.h - what an entry says of transactions, by docs/oplog.md: the part that replay, which
 * refuses what it does not understand, and readers of operations, which go on, have in common.
 */
#ifndef PITR_OPLOG_TXN_ENTRY_H
#define PITR_OPLOG_TXN_ENTRY_H

#include "oplog/entry.h"

/* applyOps inside applyOps, as deep as anything sensible goes. */
enum { APPLY_OPS_DEPTH = 8 };

/* Of an applyOps entry: it is a part of a transaction, or all of it. Otherwise its operations stand
 * for themselves. */
bool txn_entry_is_linked(const struct oplog_entry *e);

enum txn_ending { TXN_ENDS_NOT, TXN_IS_COMMITTED, TXN_IS_ABORTED };
/* `first` is the first element of a command. */
enum txn_ending txn_ending_of(const struct belem *first);

/* The number of elements of an applyOps array. Fails: CORRUPT. */
PITR_MUST enum pitr_rc txn_count_ops(const uint8_t *array, size_t len, uint64_t *n,
                                     struct pitr_err *err);

/* When the prepared transaction that `e` commits was there for readers. Fails: CORRUPT. */
PITR_MUST enum pitr_rc txn_commit_time(const struct oplog_entry *e, bool *found, uint64_t *ts,
                                       struct pitr_err *err);

#endif
