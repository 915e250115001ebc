/*
 * ops.h - the operations that oplog entries bring into effect, one by one and in order.
 *
 * Most entries are one operation. The applyOps of a user and vectored writes are several, and those
 * of a transaction come into effect where it commits, whatever entries they were logged in: pieces
 * wait in memory until then, as docs/oplog.md says under Transactions. What was aborted never
 * comes.
 *
 * This is for readers that look at operations; it never fails because of an operation it does not
 * understand, but hands it over with a note. Who wants to change data by them uses oplog/replay.h,
 * which stops there.
 */
#ifndef PITR_OPLOG_OPS_H
#define PITR_OPLOG_OPS_H

#include "oplog/entry.h"

struct ops_txn {
    const uint8_t *lsid; /* NULL for the server's own */
    size_t lsid_len;
    int64_t txn_number;
    bool prepared;
    uint64_t committed; /* timestamp of the entry that committed it */
    uint64_t count;     /* its operations, as far as they are known */
};

struct op {
    const struct oplog_entry *e; /* NULL: not understood, `note` says why */
    const char *note;            /* NULL, unless e is */
    const uint8_t *raw;          /* the operation's bytes as logged; NULL for those that are lost */
    size_t raw_len;
    /* The moment from which its effect is seen: that of its entry, or of its transaction's commit.
     * A prepared transaction has a commit time that is earlier than the entry that commits it. */
    uint64_t ts;
    uint64_t logged;           /* timestamp of the entry it stands in */
    int64_t wall_ms;           /* of the entry that brought it into effect, 0 when absent */
    const struct ops_txn *txn; /* NULL for most */
    uint64_t index;            /* in its transaction, from 1 */
};

/* *stop ends the entry's operations there. */
typedef enum pitr_rc ops_visit(void *arg, const struct op *op, bool *stop, struct pitr_err *err);

struct ops;

/*
 * Earlier pieces of the transaction that `e` goes on with or commits, which were not fed: from its
 * first to the one at e->prev, to be given to ops_recover_piece() in this order. NOTFOUND: they are
 * not to be had.
 */
typedef enum pitr_rc ops_earlier(void *arg, struct ops *o, const struct oplog_entry *e,
                                 struct pitr_err *err);

/* `earlier` may be NULL: what was not fed is not to be had. */
PITR_MUST enum pitr_rc ops_new(struct ops **out, ops_visit *visit, ops_earlier *earlier, void *arg,
                               struct pitr_err *err);
void ops_free(struct ops *o);
void ops_freep(struct ops **o);

/* The next entry of a timeline. Entries must come in order; some may be missing where a gap is.
 * Fails: NOMEM, what visit returns, and what earlier returns but NOTFOUND. */
PITR_MUST enum pitr_rc ops_entry(struct ops *o, const struct oplog_entry *e, bool *stop,
                                 struct pitr_err *err);
/* An entry behind `to`: nothing but the commit of a transaction that was prepared before, if its
 * commit time is not after `to`. */
PITR_MUST enum pitr_rc ops_entry_after(struct ops *o, const struct oplog_entry *e, uint64_t to,
                                       bool *stop, struct pitr_err *err);
PITR_MUST enum pitr_rc ops_recover_piece(struct ops *o, const struct oplog_entry *e,
                                         struct pitr_err *err);
/* Transactions that are prepared and wait for their end. */
size_t ops_prepared(const struct ops *o);

/* Whether the entry is a piece that ops_recover_piece() takes. */
bool ops_is_piece(const struct oplog_entry *e);

#endif
