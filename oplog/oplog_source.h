/*
 * oplog_source.h - where entries come from: a mongod, or an array in a test.
 */
#ifndef PITR_OPLOG_OPLOG_SOURCE_H
#define PITR_OPLOG_OPLOG_SOURCE_H

#include "oplog/optime.h"

struct oplog_source;

struct oplog_source_ops {
    /*
     * (Re)start a forward read at the first entry with ts >= from, majority-committed entries only.
     * The server silently starts later when `from` is no longer there: the caller compares.
     */
    enum pitr_rc (*seek)(struct oplog_source *s, uint64_t from, struct pitr_err *err);
    /* Next entry, valid until the next call. *data NULL: nothing new within a fraction of a second,
     * ask again. DB_LOST: reconnect with seek(). */
    enum pitr_rc (*next)(struct oplog_source *s, const uint8_t **data, size_t *len,
                         struct pitr_err *err);
    /* Optime of the oldest entry still in the oplog, and the majority-commit point, both of the
     * node that seek() last chose. The read goes on where it was. */
    enum pitr_rc (*bounds)(struct oplog_source *s, struct optime *oldest, struct optime *majority,
                           struct pitr_err *err);
    /* Where a fresh capture must begin: min(majority optime X, start of the oldest transaction
     * open after X), so that every piece of a transaction that commits later is captured: later
     * than any majority point that bounds() gives from now on. */
    enum pitr_rc (*begin)(struct oplog_source *s, struct optime *begin, struct pitr_err *err);
    void (*free)(struct oplog_source *s);
};

struct oplog_source {
    const struct oplog_source_ops *ops;
};

#endif
