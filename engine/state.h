/*
 * state.h - the state of selected collections at one moment: catalog, and a stream of final
 * documents.
 *
 * Made from a snapshot plus the netted oplog, or from a mongodump directory. Names are selected and
 * renamed here, on the state at the moment: a pattern sees the name a collection had then, whatever
 * it was called before. Time-series collections are selected and renamed by the name users see.
 */
#ifndef PITR_ENGINE_STATE_H
#define PITR_ENGINE_STATE_H

#include "engine/load.h"
#include "engine/selection.h"
#include "engine/window.h"
#include "oplog/replay.h"

enum state_kind {
    STATE_DATA,  /* loaded as a collection */
    STATE_VIEWS, /* a system.views: documents become views */
    STATE_USERS,
    STATE_ROLES,
};

struct dump_coll; /* engine/dumpdir.h */
struct dumpdir;

struct state_coll {
    enum state_kind kind;
    struct load_coll load;          /* target name, options, indexes; owned */
    char *source_ns;                /* at the moment, as users see it; owned */
    char *visible_ns;               /* on the target, as users see it; owned */
    const struct coll_node *node;   /* base documents, or NULL; borrowed from the manifest */
    const struct dump_coll *dumped; /* base documents in a mongodump file, or NULL; borrowed */
    const struct buf *literal;      /* base documents as they are, or NULL; borrowed */
    struct net *net;                /* borrowed from the replay, or NULL */
    const uint8_t *uuid;            /* on the source; UUID_LEN bytes, borrowed, or NULL */
    struct fingerprint print;       /* of the final documents: set by state_prove() */
    uint64_t evicted;               /* oldest documents left out: set by state_trim() */
};

struct state {
    struct state_coll *colls; /* by target namespace; owned */
    size_t ncolls;
    struct manifest manifest; /* of the base snapshot; empty for a dump */
    struct spill *spill;      /* what the replay holds; NULL like it */
    struct replay *replay;    /* NULL for a dump or a snapshot without oplog */
    struct dumpdir *dump;
    struct buf dump_users, dump_roles;
    struct store *store; /* borrowed from the repository */
    uint64_t to, operations, prepared_left_out;
    uint64_t segments; /* of the oplog that were read */
};

/* How a state is made; zeroed: the defaults. */
struct state_opts {
    uint64_t memory; /* bytes that netting may hold before it uses a temporary file; 0: 256 MiB */
    const struct buf *only; /* canonical _id (oplog/docid.h) of the only document that will be asked
                               for, or NULL; borrowed */
};

/* *out must be zeroed, is filled in place (collections borrow from it), and is the caller's to
 * release also after a failure. Read the base's catalog, prove the chain and net it, select and
 * rename. Fails: CORRUPT, GAP, USAGE (two collections would get one name), ... */
PITR_MUST enum pitr_rc state_load(struct state *out, struct repo *repo, const struct history *h,
                                  const struct choice *choice, const struct selection *sel,
                                  const struct state_opts *opts, struct job *job,
                                  struct pitr_err *err);
PITR_MUST enum pitr_rc state_load_dump(struct state *out, const char *dir,
                                       const struct selection *sel, struct pitr_err *err);
void state_release(struct state *s);

/* Where a state comes from. */
struct state_source {
    struct repo *repo;    /* borrowed; NULL if dump_dir is given */
    const char *dump_dir; /* a mongodump directory, or NULL */
    struct moment moment; /* of a repository */
    uint64_t memory;      /* as in state_opts */
};
/*
 * All of the above for one moment, proven: choose the base, load, check that every chunk is there,
 * and state_prove(). A snapshot that turns out to be damaged is no reason to give up while an older
 * one leads to the same moment. *out as in state_load().
 */
PITR_MUST enum pitr_rc state_open(struct state *out, const struct state_source *source,
                                  const struct selection *sel, struct job *job,
                                  struct pitr_err *err);

/* Every final document of one collection, in order; one thread per collection at a time. */
PITR_MUST enum pitr_rc state_stream(struct state *s, const struct state_coll *c, net_visit *visit,
                                    void *arg, struct pitr_err *err);

/* What state_each() calls for one collection, on one of its threads. */
typedef enum pitr_rc state_work(void *arg, struct state_coll *c, struct pitr_err *err);
/* Run `work` over all collections on `threads` threads, largest first; the first failure stops the
 * rest. */
PITR_MUST enum pitr_rc state_each(struct state *s, unsigned threads, state_work *work, void *arg,
                                  struct pitr_err *err);

/*
 * Stream everything once without a target: every chunk is opened, the base compared with its
 * recorded fingerprint, the oplog's expectations of the base checked, the final fingerprints
 * computed.
 */
PITR_MUST enum pitr_rc state_prove(struct state *s, unsigned threads, struct job *job,
                                   struct pitr_err *err);

/*
 * Leave out the oldest documents of capped collections that hold more than their limits allow, as
 * the server would. 4.4 does not log what it evicts, so its collections always want it; others only
 * for a target that cannot be given such a collection. After state_prove().
 */
PITR_MUST enum pitr_rc state_trim(struct state *s, bool all, struct pitr_err *err);

#endif
