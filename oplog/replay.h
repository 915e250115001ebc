/*
 * replay.h - the state of a whole cluster at one moment: a base catalog plus oplog entries.
 *
 * Collections are known by UUID; names are attributes that DDL changes. Replay keeps, for every
 * collection that exists at the moment, its name, options and indexes, and a net (oplog/net.h) of
 * its documents over the base. It never looks at documents of the base.
 *
 * The base is a fuzzy scan: valid only from t_end on. Entries in [begin, t_start] are only looked
 * at for pieces of transactions; entries in (t_start, t_end] are fuzzy (anomalies are legal if
 * they are resolved by t_end); later ones are strict. Transactions take effect at the
 * entry that commits them. docs/oplog.md has the rules, by command.
 *
 * What replay does not understand stops it with CORRUPT and the entry in the message. Changes it
 * knows it cannot follow (a change of feature compatibility version, data brought in from outside
 * the oplog) stop it with GAP: a newer base is needed. A collection that was renamed out of the
 * excluded names is only marked: it matters to those who want it.
 *
 * Belongs to one thread until replay_finish(); afterwards only the nets are used.
 */
#ifndef PITR_OPLOG_REPLAY_H
#define PITR_OPLOG_REPLAY_H

#include "oplog/entry.h"
#include "oplog/net.h"

struct replay;

/* One collection. Owned by the replay. */
struct replay_coll {
    uint8_t uuid[UUID_LEN];
    char *db, *name;
    struct buf options; /* BSON as listCollections gives it */
    struct buf indexes; /* BSON array of index specs */
    size_t base; /* the caller's number of the base collection; REPLAY_NO_BASE: born in the oplog,
                    or emptied */
    struct net *net;
    bool excluded; /* its name at the moment is one the operator leaves out */
    /* Its catalog entry or documents were never captured: it stood under an excluded name when they
     * would have been. If it is not excluded at the moment, it cannot be restored, and the two
     * fields below say why. */
    bool unseen;
    char *unseen_as;    /* that name, "db.coll"; owned, NULL if `excluded` */
    uint64_t unseen_ts; /* when a rename took it away */
    bool dropped;
};
#define REPLAY_NO_BASE SIZE_MAX

struct replay_opts {
    uint64_t t_start, t_end; /* of the base */
    uint64_t to;             /* the moment: entries after it only complete prepared transactions */
    enum update_field_order order;
    /* Servers from 6.0 on: a collMod that does not say recordPreImages takes it away. */
    bool mod_drops_preimages;
    char *const *exclude; /* patterns the base was taken without; borrowed */
    size_t nexclude;
    struct spill *spill; /* memory of nets and open transactions; borrowed, NULL: no limit */
    /* Canonical _id (oplog/docid.h) of the only document of interest, or NULL: operations on others
     * are counted and checked for sense, but not kept. Borrowed. */
    const struct buf *only;
};

PITR_MUST enum pitr_rc replay_new(struct replay **out, const struct replay_opts *opts,
                                  struct pitr_err *err);
void replay_free(struct replay *r);
void replay_freep(struct replay **r);

/* Name a collection of the base. `excluded`: known by UUID only. Bytes are copied. */
PITR_MUST enum pitr_rc replay_add_base(struct replay *r, const char *db, const char *name,
                                       const uint8_t uuid[UUID_LEN], const struct buf *options,
                                       const struct buf *indexes, size_t base, bool excluded,
                                       struct pitr_err *err);

/* The next entry in oplog order, from `begin` on. After the moment only replay_pending() tells
 * whether more are wanted. */
PITR_MUST enum pitr_rc replay_entry(struct replay *r, const struct oplog_entry *e,
                                    struct pitr_err *err);
/* Transactions that are prepared at the moment: their outcome stands in entries after it. */
size_t replay_pending(const struct replay *r);
/* No more entries: check that everything the fuzzy window left open is resolved, drop temporary
 * collections. */
PITR_MUST enum pitr_rc replay_finish(struct replay *r, struct pitr_err *err);

size_t replay_count(const struct replay *r); /* collections, dropped ones included */
struct replay_coll *replay_at(const struct replay *r, size_t i);
uint64_t replay_operations(const struct replay *r); /* operations applied, inner ones counted */
uint64_t
replay_last(const struct replay *r); /* ts of the last entry not after the moment; 0: none */

#endif
