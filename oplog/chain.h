/*
 * chain.h - what the captured oplog covers, and the proof that nothing is missing from A to B.
 *
 * Built from object names alone (one listing), so it stays cheap with a month of one-minute
 * segments; the proof of a range reads the segments themselves. A span is a maximal run of segments
 * of one timeline that join; between spans of a timeline stands a gap record. Two spans of a
 * timeline without a gap record between them mean that a segment was lost: also a gap, reported
 * with that reason. A record that segments contradict (the tailer died before it went on, and the
 * next one found the missing entries elsewhere) is left out.
 */
#ifndef PITR_OPLOG_CHAIN_H
#define PITR_OPLOG_CHAIN_H

#include "oplog/gap.h"
#include "oplog/segment.h"

struct chain_span {
    uint32_t timeline;
    uint64_t prev;        /* last entry before its first, which need not be stored; 0: unknown */
    uint64_t first, last; /* timestamps of its first and last entry */
    size_t seg, segs;     /* its segments: chain.segments[seg .. seg + segs) */
};

struct chain {
    struct segment_info *segments; /* by timeline, then first; only the fields a name tells */
    size_t nsegments;
    struct chain_span *spans;
    size_t nspans;
    struct gap *gaps; /* by timeline, then after; recorded ones and those found by comparing */
    size_t ngaps;
};

/* Fails: IO, NOMEM; a damaged gap record is no failure. *out needs a release in either case. */
PITR_MUST enum pitr_rc chain_load(struct chain *out, struct blob *blob,
                                  const struct repo_keys *keys, struct pitr_err *err);
void chain_release(struct chain *c);

/* The span of `timeline` that holds every entry of [from, to], or NULL. */
const struct chain_span *chain_covering(const struct chain *c, uint32_t timeline, uint64_t from,
                                        uint64_t to);
/* The newest span of the newest timeline, or NULL for an empty chain. */
const struct chain_span *chain_head(const struct chain *c);

/*
 * Walk every entry of [from, to] of one span in order, proving on the way that segments join by
 * optime and hash. The last segment is read to its end, as only its end proves it. `visit` may stop
 * the walk without error by setting *stop, and then forgoes that proof. Fails: GAP (the span does
 * not cover the range), CORRUPT, what visit returns.
 */
typedef enum pitr_rc chain_visit(void *arg, const struct oplog_entry *e, bool *stop,
                                 struct pitr_err *err);
PITR_MUST enum pitr_rc chain_walk(const struct chain *c, struct blob *blob,
                                  const struct repo_keys *keys, uint32_t timeline, uint64_t from,
                                  uint64_t to, chain_visit *visit, void *arg, struct pitr_err *err);

/* The same for readers that can do without understanding every entry: one whose operation this
 * version does not know goes to `unknown`, with the reason, and the walk goes on. */
typedef enum pitr_rc chain_visit_unknown(void *arg, const uint8_t *data, size_t len,
                                         const struct oplog_stamp *stamp, const char *why,
                                         bool *stop, struct pitr_err *err);
struct chain_visitor {
    chain_visit *entry;
    chain_visit_unknown *unknown; /* NULL: such an entry is CORRUPT */
    void *arg;
};
PITR_MUST enum pitr_rc chain_walk_with(const struct chain *c, struct blob *blob,
                                       const struct repo_keys *keys, uint32_t timeline,
                                       uint64_t from, uint64_t to, const struct chain_visitor *v,
                                       struct pitr_err *err);

#endif
