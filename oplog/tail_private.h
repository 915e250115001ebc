/*
 * tail_private.h - the state of a tailer, shared by tail.c (the run: read, seal, retry) and
 * tail_check.c (where to read, and whether the source still has what was captured).
 */
#ifndef PITR_OPLOG_TAIL_PRIVATE_H
#define PITR_OPLOG_TAIL_PRIVATE_H

#include <stdatomic.h>

#include "oplog/tail.h"
#include "oplog/tail_writer.h"

enum tail_state {
    TAIL_SEEK,   /* the read has to be (re)started at the position */
    TAIL_CHECK,  /* it was; its first entry has not come yet */
    TAIL_FOLLOW, /* the source has proved to hold the position; entries are taken as they come */
};

struct tail {
    struct tail_opts opts;
    struct tail_writer *writer;
    atomic_bool stop;
    _Atomic uint64_t wanted, durable; /* see tail_want(), tail_durable() */
    _Atomic uint64_t end_at;          /* see tail_end_at(); 0: not asked */
    uint64_t requested;               /* last request read from the file */

    enum tail_state state;
    uint32_t timeline;
    uint32_t newest_timeline;         /* of the repository */
    bool has_pos;                     /* false: a chain is to be started */
    bool from_oldest;                 /* start it at the oldest entry, not at begin() */
    struct optime pos;                /* last entry taken, published or not */
    uint8_t pos_hash[ENTRY_HASH_LEN]; /* its entry_hash(), as of the last seek */
    uint64_t begin;                   /* where a chain that is being started should begin */
    bool is_behind;                   /* the source ends before pos, but is of the same history */

    uint64_t resumed;  /* end of the chain this run goes on with; 0: it starts one */
    bool has_pending;  /* entries were taken since the last seal; the writer may have been faster */
    int64_t opened_ms; /* monotonic, when the first of them was */

    struct tail_result *result; /* its counts are the writer's until it was flushed */
    int64_t now_ms;    /* monotonic, as of the last step: a look at the clock is not free */
    int64_t lost_ms;   /* monotonic, since when the source is lost; -1: it is not */
    unsigned attempt;  /* since then */
    int64_t quiet_ms;  /* monotonic, last sign of life from the oplog */
    int64_t behind_ms; /* monotonic, next time to ask whether the source is behind */
    int64_t poll_ms;   /* monotonic, next look at the request file */
    int64_t window_ms; /* monotonic, next look at the oplog's window */
    bool warned_window, warned_lag;
};

/* tail_check.c: one step in the states TAIL_SEEK and TAIL_CHECK. */
PITR_MUST enum pitr_rc tail_seek(struct tail *t, struct pitr_err *err);
PITR_MUST enum pitr_rc tail_check(struct tail *t, struct pitr_err *err);
/* Compare the oplog's window with the position, and warn when it gets tight. */
PITR_MUST enum pitr_rc tail_check_window(struct tail *t, struct pitr_err *err);

/* tail.c: the source answered after it was lost; it had nothing (too long: it is read anew). */
void tail_found(struct tail *t);
void tail_quiet(struct tail *t);
/* Take one entry; publish what was taken, durably. */
PITR_MUST enum pitr_rc tail_take(struct tail *t, const uint8_t *data, size_t len,
                                 struct pitr_err *err);
PITR_MUST enum pitr_rc tail_seal(struct tail *t, struct pitr_err *err);

#endif
