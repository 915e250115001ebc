/*
 * net_internal.h - the parts of a net.
 *
 * net_stand.c   what an operation does to what is known of a document, or why it cannot be: pure
 * net_entry.c   the content of one entry: a document, nothing, or updates that wait
 * net.c         the map in memory, where operations are added
 * net_run.c     entries as records in the spill file: sorted runs, and merging them
 * net_index.c   a run of blocks that is read by hash
 * net_seal.c    when the map is spilled, and the form that a spilled net is read in
 * net_read.c    what became of the documents
 *
 * After a first spill an entry in the map may continue one in the file, and is then a function of
 * that older one. It is kept as two: the table `from` of standings, which decides what is legal,
 * and the content, in which what came before is only ever replaced or added to. Both are changed
 * by the same code whether the next thing that happened to the document is an operation or a newer
 * record of the file; so it does not matter for the result where a net was cut into runs.
 */
#ifndef PITR_OPLOG_NET_INTERNAL_H
#define PITR_OPLOG_NET_INTERNAL_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "oplog/net.h"

/* What operations so far make of a document, and what they demand of the base. */
enum net_stand {
    STAND_NONE, /* nothing is known */
    STAND_PUT,  /* exists */
    STAND_PUT_BASE,
    STAND_PUT_NO_BASE,
    STAND_GONE, /* does not exist */
    STAND_GONE_BASE,
    STAND_GONE_NO_BASE,
    STAND_PATCH, /* the base's, changed */
    STAND_PATCH_BASE,
    STAND_PATCH_SEED, /* the base's, changed; or, if it has none, made by an upsert */
    STAND_PATCH_BASE_SEED,
    STANDS, /* how many there are; what follows are dead ends, and why */
    STAND_BAD_INSERT = STANDS,
    STAND_BAD_LACKS,
    STAND_BAD_DELETE,
    STAND_BAD_UPDATE,
    STAND_BAD_PAST,
    STANDS_END
};

enum net_kind { KIND_NONE, KIND_PUT, KIND_GONE, KIND_PATCH };
/* What the first operation after the fuzzy window says about the base. */
enum net_need { NEED_NOTHING, NEED_BASE, NEED_NO_BASE };
struct net_standing {
    enum net_kind kind;
    enum net_need need;
    bool seed;
};
struct net_standing net_standing(uint8_t stand); /* of one that is no dead end */

enum net_op_kind { NET_INSERT, NET_UPDATE, NET_DELETE };
uint8_t net_stand_step(uint8_t stand, enum net_op_kind kind, enum op_mode mode, bool upsert);
/* CORRUPT, with the words for a dead end. */
PITR_MUST enum pitr_rc net_anomaly(struct pitr_err *err, const uint8_t *key, size_t key_len,
                                   uint8_t dead_end);
/* CORRUPT: `what` and the canonical _id. */
PITR_MUST enum pitr_rc net_refuse(struct pitr_err *err, const uint8_t *key, size_t key_len,
                                  const char *what);

/* One update waiting to be applied. */
struct net_op {
    struct net_op *prev, *next;
    uint32_t len;
    uint8_t flags;
    uint8_t o[];
};
enum { NET_OP_STRICT = 1, NET_OP_UPSERT = 2 };

enum net_content {
    CONTENT_UPDATES, /* the older document with `ops` applied; `doc` is what an upsert among them
                        starts from if there is none */
    CONTENT_PUT,     /* `doc` with `ops` applied */
    CONTENT_GONE,
};

struct net_entry {
    uint64_t hash;
    const uint8_t *key; /* canonical _id */
    uint8_t *doc;       /* owned */
    struct net_op *ops, *last_op;
    uint64_t seq; /* order of the operation that brought `doc` */
    size_t ops_len, fold_len;
    uint32_t key_len, doc_len, nops, fold_nops;
    uint8_t content;
    uint8_t from[STANDS]; /* what came of each standing that the document may have had before */
    atomic_bool seen;     /* the base had it; set by net_filter() */
};

/* A sorted sequence of records in the spill file. */
struct net_run {
    uint64_t at, len, count;
    unsigned level; /* how often its records were merged */
};

struct net_sealed;

struct net {
    struct spill_user user; /* first: net_put_out() gets it */
    enum update_field_order order;
    bool evicts;              /* an update need not find its document */
    struct arena arena;       /* entries and keys */
    size_t arena_held;        /* of it, accounted for */
    struct net_entry **slots; /* open addressing, linear probing; a power of two */
    size_t nslots, used;
    uint64_t next_seq;
    size_t npasts;        /* standings an entry may continue: 1 (STAND_NONE) or STANDS */
    struct net_run *runs; /* oldest first; owned */
    size_t nruns, runs_cap;
    struct net_sealed *sealed; /* owned; NULL: everything is in memory */
    size_t sealed_held;        /* memory of it, accounted for */
    struct buf key, seed;      /* scratch of the adding thread */
};

/* net.c */
/* Whether the base must have the document of such a standing. */
bool net_wants_base(const struct net *n, const struct net_standing *s);
void net_clear_map(struct net *n);
size_t net_slot_of(const struct net *n, uint64_t hash, const uint8_t *key, size_t key_len);
/* Canonical _id of the document or key `doc` into `key`, for messages too. */
PITR_MUST enum pitr_rc net_key_of(struct buf *key, const uint8_t *doc, size_t len,
                                  struct pitr_err *err);

/* net_entry.c; memory is accounted for as the net's. On failure an entry stays as it was. */
struct net_update {
    const uint8_t *o;
    uint32_t len;
    uint8_t flags;
    const uint8_t *seed; /* what an upsert starts from */
    uint32_t seed_len;
    uint64_t seq; /* of the upsert */
};
/* An entry that nothing happened to. */
void net_entry_init(struct net_entry *e, size_t npasts);
void net_entry_release(struct net *n, struct net_entry *e);
PITR_MUST enum pitr_rc net_entry_put(struct net *n, struct net_entry *e, const uint8_t *doc,
                                     size_t len, uint64_t seq, struct pitr_err *err);
void net_entry_drop(struct net *n, struct net_entry *e);
PITR_MUST enum pitr_rc net_entry_update(struct net *n, struct net_entry *e,
                                        const struct net_update *u, struct pitr_err *err);

/* Updates in order, from memory or as they stand in a record. */
struct net_ops_cursor {
    const struct net_op *op;
    const uint8_t *at, *end;
};
struct net_op_view {
    const uint8_t *o;
    uint32_t len;
    uint8_t flags;
};
bool net_ops_next(struct net_ops_cursor *c, struct net_op_view *out);
/* `out` gets what they make of `pre`; `between` is for what is between. With `upserted` those
 * before the first upsert are left out. At least one is applied. */
PITR_MUST enum pitr_rc net_ops_apply(const struct net *n, struct net_ops_cursor ops, bool upserted,
                                     const uint8_t *pre, size_t pre_len, struct buf *out,
                                     struct buf *between, struct pitr_err *err);

/* net_run.c */
int net_key_compare(uint64_t hash_a, const uint8_t *a, size_t a_len, uint64_t hash_b,
                    const uint8_t *b, size_t b_len);
struct net_record {
    uint64_t hash, seq, ordinal;
    const uint8_t *key, *doc, *ops; /* doc NULL: none */
    size_t ops_len;
    uint32_t key_len, doc_len, nops;
    uint8_t content;
    uint8_t from[STANDS];
    const uint8_t *raw; /* all of it, as it stands in the file */
    size_t raw_len;
};
/* Append the record; `list`, if not NULL, stands for r->ops. */
PITR_MUST enum pitr_rc net_record_append(struct buf *out, const struct net_record *r,
                                         const struct net_op *list, struct pitr_err *err);
PITR_MUST enum pitr_rc net_record_append_entry(struct buf *out, const struct net_entry *e,
                                               struct pitr_err *err);
/* The record at the beginning of `len` bytes. Fails: CORRUPT. */
PITR_MUST enum pitr_rc net_record_parse(struct net_record *out, const uint8_t *data, size_t len,
                                        struct pitr_err *err);

struct net_run_writer {
    struct spill *spill;
    struct buf pending;
    size_t cap;
    struct net_run run;
};
void net_run_begin(struct net_run_writer *w, struct spill *spill);
PITR_MUST enum pitr_rc net_run_put(struct net_run_writer *w, const uint8_t *raw, size_t len,
                                   struct pitr_err *err);
PITR_MUST enum pitr_rc net_run_end(struct net_run_writer *w, struct net_run *out,
                                   struct pitr_err *err);
void net_run_writer_release(struct net_run_writer *w);

enum { NET_MERGE_MAX = 16 };
typedef enum pitr_rc net_run_sink(void *arg, const struct net_record *r, struct pitr_err *err);
/* The records of at most NET_MERGE_MAX runs, oldest first, in order and one for each key. The runs
 * are gone afterwards. */
PITR_MUST enum pitr_rc net_runs_merge(struct net *n, const struct net_run *runs, size_t nruns,
                                      net_run_sink *sink, void *arg, struct pitr_err *err);
/* The same, as a new run. */
PITR_MUST enum pitr_rc net_runs_join(struct net *n, const struct net_run *runs, size_t nruns,
                                     struct net_run *out, struct pitr_err *err);

/* net_index.c: a run that is read by hash: blocks of about 16 KiB, of which the first hash is
 * known. */
struct net_block {
    uint64_t hash, at;
    size_t len;
};
struct net_index {
    struct net_block *blocks; /* owned */
    size_t len, cap;
    struct buf pending;
    uint64_t first, last; /* hashes in pending */
};
PITR_MUST enum pitr_rc net_index_add(struct net_index *ix, struct spill *spill, uint64_t hash,
                                     const uint8_t *raw, size_t len, struct pitr_err *err);
PITR_MUST enum pitr_rc net_index_flush(struct net_index *ix, struct spill *spill,
                                       struct pitr_err *err);
void net_index_release(struct net_index *ix);
/* *found false: none. The record lies in `block`. */
PITR_MUST enum pitr_rc net_index_find(const struct net_index *ix, struct spill *spill,
                                      uint64_t hash, const uint8_t *key, size_t key_len,
                                      struct buf *block, bool *found, struct net_record *out,
                                      struct pitr_err *err);
/* All records in order. */
PITR_MUST enum pitr_rc net_index_scan(const struct net_index *ix, struct spill *spill,
                                      net_run_sink *sink, void *arg, struct pitr_err *err);

/* net_seal.c */
struct net_sealed {
    /* By hash and key: from[STAND_NONE] is the standing; only updates of the base's documents. */
    struct net_index by_key;
    /* By seq, which stands as hash: documents that are not at the base's place, with the ordinal of
     * their record in by_key and a net_rest_kind as content. */
    struct net_index by_seq;
    uint64_t count;  /* records in by_key: ordinals are below it */
    uint64_t *named; /* bits by hash, so that most documents no operation names cost no read */
    uint32_t nnamed;
    uint64_t *must;         /* bits by ordinal: the base must have it */
    _Atomic uint64_t *seen; /* bits by ordinal: the base had it; set by net_filter() */
};
enum net_rest_kind {
    REST_ALWAYS,
    REST_UNSEEN,     /* only if the base has not got it */
    REST_FAILED = 2, /* a bit: doc is the message of why it cannot be made */
};
bool net_sealed_names(const struct net_sealed *s, uint64_t hash);
enum pitr_rc net_put_out(struct spill_user *u, struct pitr_err *err);
void net_clear_file(struct net *n);

#endif
