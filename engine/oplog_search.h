/*
 * oplog_search.h - find operations in the captured oplog.
 *
 * Goes over everything that is captured between two timestamps, also what no snapshot reaches:
 * timelines one after another, each in the order of its oplog, with gaps where they are. What a
 * transaction did stands where it was committed (oplog/ops.h); pieces that were logged before the
 * range are looked up, a segment at a time. A transaction belongs to the range if its commit time
 * or the entry that commits it does.
 *
 * A namespace is the one at the time of the operation, as the server stores it; patterns also match
 * the name users see of a time-series collection. A command is about the collection it names, a
 * rename about both names, dropDatabase about every collection of the database.
 */
#ifndef PITR_ENGINE_OPLOG_SEARCH_H
#define PITR_ENGINE_OPLOG_SEARCH_H

#include "base/job.h"
#include "oplog/chain.h"
#include "oplog/ops.h"

enum search_kind {
    SEARCH_INSERT = 1 << 0,
    SEARCH_UPDATE = 1 << 1,
    SEARCH_DELETE = 1 << 2,
    SEARCH_COMMAND = 1 << 3,
    SEARCH_NOOP = 1 << 4,
    SEARCH_UNKNOWN = 1 << 5, /* not understood: told by op.note */
    SEARCH_DEFAULT =
        SEARCH_INSERT | SEARCH_UPDATE | SEARCH_DELETE | SEARCH_COMMAND | SEARCH_UNKNOWN,
};

struct search_hit {
    uint32_t timeline;
    enum search_kind kind;
    const struct op *op;
    const char *ns;  /* the collection, or the database; "" for an unknown one */
    struct belem id; /* the document's _id; type BSON_EOD where there is none */
};

/* Results, in order; pointers are valid during the call. found() may end the search by *stop. */
struct search_sink {
    enum pitr_rc (*found)(void *arg, const struct search_hit *hit, bool *stop,
                          struct pitr_err *err);
    enum pitr_rc (*gap)(void *arg, const struct gap *gap, struct pitr_err *err);
    /* Transactions that were prepared in the range and whose end is not captured. */
    enum pitr_rc (*unfinished)(void *arg, uint32_t timeline, size_t n, struct pitr_err *err);
    void *arg;
};

struct search_opts {
    uint64_t from, to; /* both included */
    /* A bound that was asked for: what is not captured there is reported like a gap. */
    bool has_from, has_to;
    char *const *ns; /* patterns; none: all */
    size_t nns;
    char *const *exclude_ns;
    size_t nexclude_ns;
    unsigned kinds;       /* of enum search_kind */
    const struct buf *id; /* key of an _id (oplog/docid.h), or NULL; then only documents match, and
                             what is not understood */
    struct job *job;      /* may be NULL */
};

/* Fails: GAP (nothing of the range is captured; says what is), CORRUPT (a damaged segment, after
 * what stands before it was reported), IO, INTERRUPTED, and what the sink returns. */
PITR_MUST enum pitr_rc oplog_search(const struct chain *chain, struct blob *blob,
                                    const struct repo_keys *keys, const struct search_opts *opts,
                                    const struct search_sink *sink, struct pitr_err *err);

#endif
