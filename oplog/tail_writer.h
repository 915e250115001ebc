/*
 * tail_writer.h - turn the entries that a tailer takes into published segments, beside its reading.
 *
 * Sealing entries costs about as much as getting them from the server, so during a catch-up both
 * run at once: entries are gathered in batches of 512 KiB, and full batches go to a thread that
 * compresses, hashes and publishes them. The thread starts with the first full batch: a tailer that
 * keeps up never has one, and seals its few entries itself. A segment ends when it is full, which
 * shows when its last batch is worked at, or where the caller wants it to.
 *
 * Everything happens in the order of the calls, so a segment is published only after the one it
 * follows. After a failure nothing is published any more, and every call but tail_writer_start()
 * returns that failure.
 *
 * Memory: BATCHES batches, a segment's sealed bytes (16 MiB at most, unless one entry has more),
 * and the frame being sealed. An entry larger than a batch is not copied: its caller waits until
 * the thread has nothing to do, and seals it itself.
 *
 * All calls come from one thread.
 */
#ifndef PITR_OPLOG_TAIL_WRITER_H
#define PITR_OPLOG_TAIL_WRITER_H

#include "oplog/segment.h"

struct tail_writer;

struct tail_writer_opts {
    struct blob *blob; /* borrowed, like all below */
    const struct repo_keys *keys;
    enum frame_codec codec;
    uint64_t max_bytes; /* a segment ends with the entry that makes it so long */
    /* A segment is durable. Called in the order of the chain, by whichever thread sealed it, never
     * by two at once, and never after tail_writer_flush() returned. */
    void (*published)(void *arg, const struct segment_info *info);
    void *arg;
};

/* Fails: NOMEM, INTERNAL. */
PITR_MUST enum pitr_rc tail_writer_new(struct tail_writer **out,
                                       const struct tail_writer_opts *opts, struct pitr_err *err);
void tail_writer_free(struct tail_writer *w); /* what is not published yet may never be */
void tail_writer_freep(struct tail_writer **w);

/* The next entry begins a segment of `timeline` that follows *prev, or starts a chain when prev is
 * NULL. Entries that are not published yet are dropped, and a failure is forgotten. */
void tail_writer_start(struct tail_writer *w, uint32_t timeline, const struct segment_info *prev);

/* Fails: NOMEM, and what sealing and publishing fail with. Then the entry was not added, or will
 * never be published. */
PITR_MUST enum pitr_rc tail_writer_add(struct tail_writer *w, const uint8_t *data, size_t len,
                                       const struct oplog_stamp *stamp, struct pitr_err *err);
/* entry_hash() of the entry added last; unchanged when none was since tail_writer_start(). */
void tail_writer_last_hash(const struct tail_writer *w, uint8_t hash[ENTRY_HASH_LEN]);
/* The segment ends here, and everything added is published when this returns. */
PITR_MUST enum pitr_rc tail_writer_flush(struct tail_writer *w, struct pitr_err *err);
/* The failure, if there was one: for who adds nothing for a while. */
PITR_MUST enum pitr_rc tail_writer_check(const struct tail_writer *w, struct pitr_err *err);
/* Its sealer, for records beside the segments; only right after tail_writer_flush(). */
struct sealer *tail_writer_sealer(struct tail_writer *w);

#endif
