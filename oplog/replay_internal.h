/*
 * replay_internal.h - shared by replay.c (collections by UUID), replay_entry.c (entries, documents,
 * transactions), replay_ddl.c (commands) and replay_collmod.c.
 */
#ifndef PITR_OPLOG_REPLAY_INTERNAL_H
#define PITR_OPLOG_REPLAY_INTERNAL_H

#include "oplog/replay.h"
#include "oplog/txn.h"

struct replay {
    struct replay_opts opts;
    struct replay_coll **colls; /* owned, in order of appearance */
    size_t ncolls, cap;
    size_t *by_uuid; /* open addressing: index into colls + 1, 0 empty; a power of two */
    size_t nslots;
    struct replay_coll *recent;      /* the last one looked up: entries come in runs */
    uint8_t (*unresolved)[UUID_LEN]; /* UUIDs the window mentions and nobody knows yet */
    size_t nunresolved, unresolved_cap;
    struct txn_table *txns;
    struct buf key;     /* canonical _id of the operation, where opts.only is given */
    bool window_closed; /* the first entry after t_end was seen */
    uint64_t operations, last;
};

/* How one operation is to be taken: where its entry stands, and what kind of entry brought it. */
struct op_context {
    uint64_t ts;
    enum op_mode mode; /* of documents */
    bool fuzzy;        /* of commands: anomalies may still be resolved */
    bool inner;        /* stands in applyOps: a collection may be named without its UUID */
};

/* A command in hand: its entry, its first element, its database. */
struct ddl {
    struct replay *r;
    const struct oplog_entry *e;
    const struct op_context *ctx;
    struct belem first;
    const char *db;
    size_t db_len;
};

/* NULL if unknown. */
struct replay_coll *replay_find(struct replay *r, const uint8_t uuid[UUID_LEN]);
struct replay_coll *replay_find_name(struct replay *r, const char *db, size_t db_len,
                                     const char *name);
PITR_MUST enum pitr_rc replay_add(struct replay *r, const char *db, size_t db_len, const char *name,
                                  const uint8_t uuid[UUID_LEN], struct replay_coll **out,
                                  struct pitr_err *err);
/* The collection that `e` is about: by UUID, or by name where the entry may lack one. *out NULL:
 * unknown. */
PITR_MUST enum pitr_rc replay_of_entry(struct replay *r, const struct oplog_entry *e,
                                       const struct op_context *ctx, const char *db, size_t db_len,
                                       const char *name, struct replay_coll **out,
                                       struct pitr_err *err);
/* Give it another name; bytes are copied. */
PITR_MUST enum pitr_rc replay_coll_name(struct replay_coll *c, const char *db, size_t db_len,
                                        const char *name, struct pitr_err *err);
/* The collection was born under its name: whether its documents are captured. */
void replay_coll_born(const struct replay *r, struct replay_coll *c);
/* Called after a change of name, with the old one. */
PITR_MUST enum pitr_rc replay_coll_renamed(const struct replay *r, struct replay_coll *c,
                                           const char *old_ns, uint64_t ts, struct pitr_err *err);
void replay_coll_drop(struct replay_coll *c);

/* A collection that is the server's bookkeeping and no part of any state. */
bool replay_is_server(const char *db, size_t db_len, const char *name);

/* collMod. */
PITR_MUST enum pitr_rc replay_coll_mod(const struct ddl *d, struct replay_coll *c,
                                       struct pitr_err *err);

/* A command (op 'c') other than applyOps, commitTransaction and abortTransaction. */
PITR_MUST enum pitr_rc replay_command(struct replay *r, const struct oplog_entry *e,
                                      const struct op_context *ctx, struct pitr_err *err);

/* The window mentions a UUID nobody knows: legal if it is dropped before t_end. */
PITR_MUST enum pitr_rc replay_unresolved_add(struct replay *r, const uint8_t uuid[UUID_LEN],
                                             struct pitr_err *err);
void replay_unresolved_remove(struct replay *r, const uint8_t uuid[UUID_LEN]);

/* The fuzzy window is over: everything it left open must be resolved. Fails: CORRUPT. */
PITR_MUST enum pitr_rc replay_close_window(struct replay *r, struct pitr_err *err);

/* CORRUPT with `what` and the entry as oplog_entry_show() has it. */
enum pitr_rc replay_refuse(struct pitr_err *err, const struct oplog_entry *e, const char *what);

#endif
