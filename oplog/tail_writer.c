#include "oplog/tail_writer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/queue.h"

enum {
    BATCHES = 6, /* what the thread may fall behind, while it waits for the disk */
    BATCH_BYTES = 1 << 19,
    BATCH_ENTRIES = 2048,
    STORED_MAX = 16 << 20, /* sealed bytes wait in memory, see segment_writer_held() */
};

struct batch {
    struct buf bytes; /* entries end to end */
    size_t last_at;   /* where the last of them starts */
    size_t entries;
    struct oplog_stamp stamps[BATCH_ENTRIES];
};

/*
 * A batch belongs to the caller (open), to the thread, or to one of the queues. When all of them
 * are back in `empty`, the thread waits for the next one, and what is marked as the worker's is the
 * caller's: the queues' lock is what makes its last changes visible.
 */
struct tail_writer {
    struct tail_writer_opts opts;
    struct batch *open;                /* NULL: none has entries */
    bool has_last;                     /* an entry was handed over since the start; */
    uint8_t last_hash[ENTRY_HASH_LEN]; /* of the last one that was */
    struct queue *full, *empty;
    bool has_thread;
    pthread_t thread;

    /* The worker's. */
    struct sealer *sealer;
    uint32_t timeline;
    bool has_prev;
    struct segment_info prev;
    struct segment_writer *segment; /* NULL: the next entry begins one */
    uint64_t segment_bytes;         /* of entries, in it */
    struct pitr_err failure;        /* constant once `failed` */
    atomic_bool failed;
};

static void
batch_drop(void *item)
{
    struct batch *b = item;

    buf_release(&b->bytes);
    free(b);
}

/* The queue is as large as there are batches, and never closed: this cannot fail or wait. */
static void
give_back(struct tail_writer *w, struct batch *b)
{
    buf_clear(&b->bytes);
    b->entries = 0;
    if (!queue_push(w->empty, b))
        batch_drop(b);
}

static enum pitr_rc
make_batches(struct tail_writer *w, struct pitr_err *err)
{
    if (queue_new(&w->full, BATCHES, batch_drop, err) != PITR_OK ||
        queue_new(&w->empty, BATCHES, batch_drop, err) != PITR_OK)
        return err->rc;
    for (int i = 0; i < BATCHES; i++) {
        struct batch *b = malloc(sizeof *b); /* untouched until it is used: most stay so */

        if (b == NULL)
            return pitr_fail(err, PITR_NOMEM, "batch of oplog entries");
        b->bytes = (struct buf){0};
        give_back(w, b);
    }
    return PITR_OK;
}

enum pitr_rc
tail_writer_new(struct tail_writer **out, const struct tail_writer_opts *opts, struct pitr_err *err)
{
    PITR_AUTO(tail_writer_freep) struct tail_writer *w = calloc(1, sizeof *w);

    if (w == NULL)
        return pitr_fail(err, PITR_NOMEM, "writer of oplog segments");
    w->opts = *opts;
    if (sealer_new(&w->sealer, opts->keys, opts->codec, 0, err) != PITR_OK ||
        make_batches(w, err) != PITR_OK)
        return err->rc;
    *out = w;
    w = NULL;
    return PITR_OK;
}

void
tail_writer_free(struct tail_writer *w)
{
    if (w == NULL)
        return;
    if (w->has_thread) {
        queue_abort(w->full);
        pthread_join(w->thread, NULL);
    }
    if (w->open != NULL)
        batch_drop(w->open);
    queue_free(w->full);
    queue_free(w->empty);
    segment_writer_free(w->segment);
    sealer_free(w->sealer);
    free(w);
}

void
tail_writer_freep(struct tail_writer **w)
{
    tail_writer_free(*w);
    *w = NULL;
}

static enum pitr_rc
publish(struct tail_writer *w, struct pitr_err *err)
{
    PITR_AUTO(segment_writer_freep) struct segment_writer *segment = w->segment;

    /* Whether it can be published or not, nothing may be added to it any more. */
    w->segment = NULL;
    if (segment == NULL)
        return PITR_OK;
    if (segment_writer_finish(segment, &w->prev, err) != PITR_OK)
        return err->rc;
    w->has_prev = true;
    w->opts.published(w->opts.arg, &w->prev);
    return PITR_OK;
}

static enum pitr_rc
take(struct tail_writer *w, const uint8_t *data, size_t len, const struct oplog_stamp *stamp,
     struct pitr_err *err)
{
    if (w->segment != NULL && segment_writer_held(w->segment) + len > STORED_MAX &&
        publish(w, err) != PITR_OK)
        return err->rc;
    if (w->segment == NULL) {
        struct segment_writer_opts opts = {.blob = w->opts.blob,
                                           .sealer = w->sealer,
                                           .timeline = w->timeline,
                                           .prev = w->has_prev ? &w->prev : NULL};

        w->segment_bytes = 0;
        if (segment_writer_new(&w->segment, &opts, err) != PITR_OK)
            return err->rc;
    }
    w->segment_bytes += len;
    if (segment_writer_add(w->segment, data, len, stamp, err) != PITR_OK)
        return err->rc;
    return w->segment_bytes < w->opts.max_bytes ? PITR_OK : publish(w, err);
}

static enum pitr_rc
take_batch(struct tail_writer *w, const struct batch *b, struct pitr_err *err)
{
    const uint8_t *at = b->bytes.data;

    for (size_t i = 0; i < b->entries; i++) {
        size_t len = bson_len(at);

        if (take(w, at, len, &b->stamps[i], err) != PITR_OK)
            return err->rc;
        at += len;
    }
    return PITR_OK;
}

/* The worker's part may be half done: what comes after it must not be published. */
static enum pitr_rc
fail(struct tail_writer *w, const struct pitr_err *cause)
{
    segment_writer_freep(&w->segment);
    w->failure = *cause;
    atomic_store(&w->failed, true);
    return cause->rc;
}

static void
work(struct tail_writer *w, const struct batch *b)
{
    struct pitr_err err;

    if (!atomic_load(&w->failed) && take_batch(w, b, &err) != PITR_OK)
        fail(w, &err);
}

static void *
run(void *arg)
{
    struct tail_writer *w = arg;
    struct batch *b;

    while ((b = queue_pop(w->full)) != NULL) {
        work(w, b);
        give_back(w, b);
    }
    return NULL;
}

static void
remember(struct tail_writer *w, const uint8_t *data, size_t len)
{
    entry_hash(w->last_hash, data, len);
    w->has_last = true;
}

static void
remember_batch(struct tail_writer *w, const struct batch *b)
{
    if (b->entries > 0)
        remember(w, b->bytes.data + b->last_at, b->bytes.len - b->last_at);
}

/* Hand the open batch to the thread. */
static enum pitr_rc
hand_over(struct tail_writer *w, struct pitr_err *err)
{
    int rc;

    if (!w->has_thread) {
        rc = pthread_create(&w->thread, NULL, run, w);
        if (rc != 0)
            return pitr_fail_errno(err, rc, "starting the writer of oplog segments");
        w->has_thread = true;
    }
    remember_batch(w, w->open);
    if (!queue_push(w->full, w->open))
        batch_drop(w->open);
    w->open = NULL;
    return PITR_OK;
}

/* Return when the thread has nothing to do: then all batches but the open one are back. */
static void
wait_until_idle(struct tail_writer *w)
{
    struct batch *back[BATCHES];
    int n = w->open == NULL ? BATCHES : BATCHES - 1;

    for (int i = 0; i < n; i++)
        back[i] = queue_pop(w->empty);
    for (int i = 0; i < n; i++)
        give_back(w, back[i]);
}

/* Do what the thread would do with the open batch. */
static void
work_here(struct tail_writer *w)
{
    wait_until_idle(w);
    if (w->open == NULL)
        return;
    work(w, w->open);
    remember_batch(w, w->open);
    give_back(w, w->open);
    w->open = NULL;
}

void
tail_writer_start(struct tail_writer *w, uint32_t timeline, const struct segment_info *prev)
{
    wait_until_idle(w);
    if (w->open != NULL)
        give_back(w, w->open);
    w->open = NULL;
    w->has_last = false;
    segment_writer_freep(&w->segment);
    w->timeline = timeline;
    w->has_prev = prev != NULL;
    if (prev != NULL)
        w->prev = *prev;
    atomic_store(&w->failed, false);
}

enum pitr_rc
tail_writer_check(const struct tail_writer *w, struct pitr_err *err)
{
    if (!atomic_load(&w->failed))
        return PITR_OK;
    *err = w->failure;
    return err->rc;
}

static enum pitr_rc
add_large(struct tail_writer *w, const uint8_t *data, size_t len, const struct oplog_stamp *stamp,
          struct pitr_err *err)
{
    work_here(w);
    if (tail_writer_check(w, err) != PITR_OK)
        return err->rc;
    if (take(w, data, len, stamp, err) != PITR_OK)
        return fail(w, err);
    remember(w, data, len);
    return PITR_OK;
}

enum pitr_rc
tail_writer_add(struct tail_writer *w, const uint8_t *data, size_t len,
                const struct oplog_stamp *stamp, struct pitr_err *err)
{
    struct batch *b;
    size_t at;

    if (tail_writer_check(w, err) != PITR_OK)
        return err->rc;
    if (len > BATCH_BYTES)
        return add_large(w, data, len, stamp, err);
    if (w->open != NULL &&
        (w->open->bytes.len + len > BATCH_BYTES || w->open->entries == BATCH_ENTRIES) &&
        hand_over(w, err) != PITR_OK)
        return err->rc;
    if (w->open == NULL)
        w->open = queue_pop(w->empty);
    b = w->open;
    at = b->bytes.len;
    if (buf_append(&b->bytes, data, len, err) != PITR_OK)
        return pitr_wrap(err, "oplog entry of %zu bytes", len);
    b->last_at = at;
    b->stamps[b->entries++] = *stamp;
    return PITR_OK;
}

void
tail_writer_last_hash(const struct tail_writer *w, uint8_t hash[ENTRY_HASH_LEN])
{
    const struct batch *b = w->open;

    if (b != NULL && b->entries > 0)
        entry_hash(hash, b->bytes.data + b->last_at, b->bytes.len - b->last_at);
    else if (w->has_last)
        memcpy(hash, w->last_hash, ENTRY_HASH_LEN);
}

enum pitr_rc
tail_writer_flush(struct tail_writer *w, struct pitr_err *err)
{
    work_here(w);
    if (tail_writer_check(w, err) != PITR_OK)
        return err->rc;
    return publish(w, err) == PITR_OK ? PITR_OK : fail(w, err);
}

struct sealer *
tail_writer_sealer(struct tail_writer *w)
{
    return w->sealer;
}
