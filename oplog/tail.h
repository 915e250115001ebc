/*
 * tail.h - follow an oplog_source and seal what it says into segments.
 *
 * A run resumes at the last entry of the last published segment, never at the last one read by a
 * run before. On every (re)start of the read, the first entry must be exactly the last one
 * captured: same ts and term, and the same bytes by hash. If it is not:
 *  - the oplog's oldest entry is newer: entries were lost. A gap record is written, capture goes on
 *    at the oldest entry still there, and a new base snapshot is wanted;
 *  - the timestamp exists with another term or other bytes, or is missing although the oplog spans
 *    it: history diverged (a rollback beyond majority, a restored file system). The timeline ends
 *    with a gap record whose `before` is zero; a new one begins, at the oldest entry;
 *  - nothing is there yet: the node is behind. If the entry at the node's majority point is the one
 *    captured there, wait; if not, history diverged.
 * A segment is sealed when it holds `max_bytes` (or 16 MiB sealed), `interval_ms` after its first
 * entry at the latest, when someone asks (tail_want, tail_request), and at the end. Idle time needs
 * no special case: the server's periodic no-ops are entries like others and prove coverage.
 *
 * A lost source (DB_LOST) is tried again at once, then with backoff (1 s doubling to 30 s, with
 * jitter); meanwhile what was read is sealed when it is due. Other errors of the source, and all
 * errors of the repository, end the run.
 *
 * One tailer per repository: the caller holds the repository's tail lock. A tailer belongs to one
 * thread; tail_stop(), tail_want() and tail_durable() may be called from any.
 */
#ifndef PITR_OPLOG_TAIL_H
#define PITR_OPLOG_TAIL_H

#include "base/log.h"
#include "oplog/chain.h"
#include "oplog/oplog_source.h"

struct tail;

struct tail_opts {
    struct blob *blob; /* borrowed, like all below */
    const struct repo_keys *keys;
    struct oplog_source *source;
    const struct log *log;
    enum frame_codec codec;   /* CODEC_LZ4 unless told otherwise */
    int64_t interval_ms;      /* 60,000 by default */
    uint64_t max_bytes;       /* raw bytes a segment; 64 MiB by default */
    const char *request_path; /* file another process touches to ask for a seal, or NULL */
    int64_t retry_ms;         /* give up (DB) after this long without the source; < 0: never */
    /* Lowest timeline to capture into; 0: go on with the newest. A caller who knows that history
     * was cut (a restore into the set, another replicaSetId) passes the newest plus one. */
    uint32_t timeline;
};

struct tail_result {
    uint32_t timeline;         /* captured into at the end; 0 when no position was found */
    struct optime first, last; /* captured durably by this run; ts 0 when nothing was */
    uint64_t entries, operations, bytes, segments;
    uint64_t gaps;        /* gaps and divergences found by this run */
    char gap_reason[160]; /* of the last of them */
};

/* Reads nothing yet. Fails: NOMEM, INTERNAL. */
PITR_MUST enum pitr_rc tail_new(struct tail **out, const struct tail_opts *opts,
                                struct pitr_err *err);
void tail_free(struct tail *t);
void tail_freep(struct tail **t);

/*
 * Capture until tail_stop(), or, if `until` is not NULL, until everything up to *until (an optime
 * the source has already majority-committed) is durable. Seals before it returns, also when
 * stopped. *result is filled in either case.
 */
PITR_MUST enum pitr_rc tail_run(struct tail *t, const struct optime *until,
                                struct tail_result *result, struct pitr_err *err);
/* Ask tail_run() to seal and return; async-signal-safe. */
void tail_stop(struct tail *t);
/* Ask the running tailer of this process to seal what it has once it reached `ts`. */
void tail_want(struct tail *t, uint64_t ts);
/* The same, and tail_run() returns as soon as everything up to `ts` is durable. */
void tail_end_at(struct tail *t, uint64_t ts);
/* Timestamp up to which the unbroken capture that this run goes on with, or started, is durable; 0
 * until the source was compared with it. */
uint64_t tail_durable(struct tail *t);

/* Ask the tailer of another process, through its request file, to seal once it reached `ts`. It
 * looks every 100 to 200 ms. The file holds one request: who waits repeats it every second or so,
 * in case another process asked for less in between. Fails: IO, DENIED, FULL. */
PITR_MUST enum pitr_rc tail_request(const char *request_path, uint64_t ts, struct pitr_err *err);

#endif
