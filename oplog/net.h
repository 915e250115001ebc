/*
 * net.h - the net effect of many operations on the documents of one collection.
 *
 * For every _id the oplog names, a net keeps what the final document is: a whole document, nothing
 * (deleted), or the updates still to be applied to the document of the base. Restore then streams
 * the base once through net_filter() and appends what net_rest() gives; the operations themselves
 * are never sent anywhere.
 *
 * What is legal depends on where the entry stands. The oplog itself is consistent, so an insert
 * over an existing document, or an update or delete of one that this oplog has deleted, is always
 * corruption. Between the oplog and the base it depends: inside the fuzzy window of the base
 * (OP_FUZZY) the base may already contain the operation's effect, or a later one; after it
 * (OP_STRICT) the first operation on an _id tells whether the base must hold the document, and
 * net_filter() and net_rest() hold the base to it. OP_LENIENT is for operations the server
 * itself applied that way: prepared transactions, and applyOps commands of users.
 *
 * Memory: nets that share a spill keep within its budget; what does not fit goes to its file,
 * sorted, and the result is the same to the last byte and in the same order. A net without a spill
 * keeps everything in memory. Updates that wait for their document of the base are composed into as
 * few as can be (oplog/update_compose.h), so a document that changes all the time costs no more
 * than one that changed once.
 *
 * Not thread-safe while operations are added. After net_seal() net_filter() and net_final() may be
 * called by several threads, each document of the base by one of them.
 */
#ifndef PITR_OPLOG_NET_H
#define PITR_OPLOG_NET_H

#include "oplog/spill.h"
#include "oplog/update.h"

struct net;

enum op_mode { OP_FUZZY, OP_STRICT, OP_LENIENT };

/* Borrows `spill`, which may be NULL. */
PITR_MUST enum pitr_rc net_new(struct net **out, enum update_field_order order, struct spill *spill,
                               struct pitr_err *err);
void net_free(struct net *n);
void net_freep(struct net **n);

/* Forget everything: the collection was emptied, or born anew. */
void net_clear(struct net *n);

/* `doc` has an _id. Fails: CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc net_insert(struct net *n, const uint8_t *doc, size_t len, enum op_mode mode,
                                  struct pitr_err *err);
/* `key` holds the _id (an entry's o2); `o` is the update. With `upsert` a missing document is made
 * from {_id}. */
PITR_MUST enum pitr_rc net_update(struct net *n, const uint8_t *key, size_t key_len,
                                  const uint8_t *o, size_t o_len, bool upsert, enum op_mode mode,
                                  struct pitr_err *err);
/* `key` holds the _id (an entry's o). */
PITR_MUST enum pitr_rc net_delete(struct net *n, const uint8_t *key, size_t key_len,
                                  enum op_mode mode, struct pitr_err *err);

/* The server evicts documents without a word (capped collections of 4.4), so the base may lack some
 * that were updated while it was read. */
void net_allow_evictions(struct net *n);

bool net_is_empty(const struct net *n);

/* No more operations: bring what was spilled into the form that the functions below read. They may
 * only be called after it. Fails: NOMEM, IO, FULL, CORRUPT (operations that contradict what was
 * spilled before them may be found only here). */
PITR_MUST enum pitr_rc net_seal(struct net *n, struct pitr_err *err);

enum net_verdict {
    NET_KEEP,    /* the base's document stands */
    NET_CHANGED, /* *out holds its new form, in its place */
    NET_DROP,    /* gone, or comes again from net_rest() */
};
/*
 * What became of one document of the base. `out` (cleared first) and `scratch` are the calling
 * thread's. Fails: CORRUPT (the operations do not fit this base), NOMEM, IO.
 */
PITR_MUST enum pitr_rc net_filter(struct net *n, const uint8_t *doc, size_t len,
                                  enum net_verdict *verdict, struct buf *out, struct buf *scratch,
                                  struct pitr_err *err);

/*
 * After the whole base went through net_filter(): every document that is not in the base's order,
 * in order of insertion. Fails: CORRUPT (an operation needed a document that the base did not
 * have), NOMEM, IO, what visit returns. Marks of net_filter() are forgotten at the end, so the base
 * can be streamed again.
 */
typedef enum pitr_rc net_visit(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err);
PITR_MUST enum pitr_rc net_rest(struct net *n, net_visit *visit, void *arg, struct pitr_err *err);

/*
 * The final document of one _id, which the document `key` holds. `base` is the base's document of
 * that _id, or NULL if it has none. *doc is NULL when the document does not exist finally;
 * otherwise it points to `base`, or into `out`, or into the net. Does not count as the base having
 * it, and does not hold the base to what the operations need.
 */
PITR_MUST enum pitr_rc net_final(struct net *n, const uint8_t *key, size_t key_len,
                                 const uint8_t *base, size_t base_len, const uint8_t **doc,
                                 size_t *len, struct buf *out, struct buf *scratch,
                                 struct pitr_err *err);

/* One _id that operations named and that net_filter() has not met in the base. */
struct net_stranger {
    const uint8_t *key; /* its canonical form (oplog/docid.h) */
    size_t key_len;
    const uint8_t *doc; /* its final document, NULL if it does not exist finally */
    size_t doc_len;
};
/* Every one of them, in no order; net_filter() must have seen the whole base. Marks stay. */
typedef enum pitr_rc net_stranger_visit(void *arg, const struct net_stranger *s,
                                        struct pitr_err *err);
PITR_MUST enum pitr_rc net_strangers(struct net *n, net_stranger_visit *visit, void *arg,
                                     struct pitr_err *err);
/* As net_final() of a document the base does not have, by canonical key. */
PITR_MUST enum pitr_rc net_final_stranger(struct net *n, const uint8_t *key, size_t key_len,
                                          const uint8_t **doc, size_t *len, struct buf *out,
                                          struct buf *scratch, struct pitr_err *err);
/* Forget which documents net_filter() has met, so that the base can be streamed again. net_rest()
 * does so by itself. */
void net_rewind(struct net *n);

#endif
