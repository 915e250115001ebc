#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/queue.h"
#include "chunkstore/idset.h"
#include "chunkstore/store_internal.h"

/* Full packs waiting while one is being synced: enough to keep the compressors going. */
enum { PACKS_WAITING = 1, SPARE_BUFS = 8 };

struct store_writer {
    struct store *store;       /* borrowed */
    struct sealer *toc_sealer; /* of the publisher thread */
    struct queue *full;        /* of struct pack_writer, to the publisher */
    pthread_t publisher;
    bool running;         /* the publisher has to be joined */
    pthread_mutex_t lock; /* guards everything below; never held while waiting for the queue */
    struct pack_writer *pack;
    /* Put by this writer, or being put, but not yet in the index. Who adds an id has to store it;
     * who finds it there relies on that, and on finish() to fail if it did not happen. */
    struct idset claimed;
    struct buf spare[SPARE_BUFS]; /* memory for sealed frames, to be used again */
    size_t spares;
    struct store_stats stats;
    bool failed, delivered; /* `first` is set; a store_put() has returned it */
    struct pitr_err first;
};

static void
drop_pack(void *pack)
{
    pack_writer_free(pack);
}

/* The publisher failed: the next store_put() tells. Later failures are consequences. */
static void
fail_publish(struct store_writer *w, const struct pitr_err *err)
{
    pthread_mutex_lock(&w->lock);
    if (!w->failed)
        w->first = *err;
    w->failed = true;
    pthread_mutex_unlock(&w->lock);
    queue_abort(w->full);
}

/* What a store_put() returns after the writer has failed. */
static enum pitr_rc
deliver_failure(struct store_writer *w, struct pitr_err *err)
{
    pthread_mutex_lock(&w->lock);
    assert(w->failed);
    if (w->delivered)
        pitr_fail(err, PITR_ABORTED, "the store stopped after an earlier failure");
    else
        *err = w->first;
    w->delivered = true;
    pthread_mutex_unlock(&w->lock);
    return err->rc;
}

/* A store_put() failed by itself, with *err. */
static enum pitr_rc
fail_put(struct store_writer *w, struct pitr_err *err)
{
    pthread_mutex_lock(&w->lock);
    if (!w->failed)
        w->first = *err;
    w->failed = true;
    pthread_mutex_unlock(&w->lock);
    queue_abort(w->full);
    return deliver_failure(w, err);
}

static enum pitr_rc
publish_pack(struct store_writer *w, struct pack_writer *pack, struct pitr_err *err)
{
    const struct pack_entry *entries;
    size_t count;

    if (pack_writer_finish(pack, w->toc_sealer, err) != PITR_OK)
        return err->rc;
    entries = pack_writer_entries(pack, &count);
    if (store_index_put(w->store, pack_writer_id(pack), pack_writer_size(pack), entries, count,
                        err) != PITR_OK)
        return err->rc;
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < count; i++)
        idset_remove(&w->claimed, &entries[i].id, entries[i].type);
    w->stats.packs++;
    pthread_mutex_unlock(&w->lock);
    return PITR_OK;
}

static void *
publish_all(void *arg)
{
    struct store_writer *w = arg;
    struct pack_writer *pack;
    struct pitr_err err;

    while ((pack = queue_pop(w->full)) != NULL) {
        enum pitr_rc rc = publish_pack(w, pack, &err);

        pack_writer_free(pack);
        if (rc != PITR_OK)
            fail_publish(w, &err);
    }
    return NULL;
}

enum pitr_rc
store_writer_new(struct store_writer **out, struct store *s, struct pitr_err *err)
{
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;

    if (s->read_only)
        return pitr_fail(err, PITR_USAGE, "the store is open for reading only");
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return pitr_fail(err, PITR_NOMEM, "store writer");
    pthread_mutex_init(&w->lock, NULL);
    w->store = s;
    if (sealer_new(&w->toc_sealer, &s->keys, CODEC_ZSTD, 0, err) != PITR_OK ||
        queue_new(&w->full, PACKS_WAITING, drop_pack, err) != PITR_OK)
        return err->rc;
    if (pthread_create(&w->publisher, NULL, publish_all, w) != 0)
        return pitr_fail(err, PITR_NOMEM, "store writer: no thread");
    w->running = true;
    *out = w;
    w = NULL;
    return PITR_OK;
}

static void
join_publisher(struct store_writer *w)
{
    if (w->running)
        pthread_join(w->publisher, NULL);
    w->running = false;
}

void
store_writer_free(struct store_writer *w)
{
    if (w == NULL)
        return;
    if (w->full != NULL)
        queue_abort(w->full);
    join_publisher(w);
    queue_free(w->full);
    pack_writer_free(w->pack);
    idset_release(&w->claimed);
    for (size_t i = 0; i < w->spares; i++)
        buf_release(&w->spare[i]);
    sealer_free(w->toc_sealer);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void
store_writer_freep(struct store_writer **w)
{
    store_writer_free(*w);
    *w = NULL;
}

/* *mine: the caller has to find out whether the bytes are stored, and store them if not. */
static enum pitr_rc
claim(struct store_writer *w, const struct chunk_id *id, enum frame_type type, size_t len,
      bool *mine, struct buf *frame, struct pitr_err *err)
{
    enum pitr_rc rc;

    pthread_mutex_lock(&w->lock);
    w->stats.chunks++;
    w->stats.bytes_raw += len;
    rc = idset_add(&w->claimed, id, type, mine, err);
    if (rc == PITR_OK && *mine && w->spares > 0)
        *frame = w->spare[--w->spares];
    pthread_mutex_unlock(&w->lock);
    return rc;
}

static void
give_back(struct store_writer *w, struct buf *frame)
{
    buf_clear(frame);
    pthread_mutex_lock(&w->lock);
    if (w->spares < SPARE_BUFS) {
        w->spare[w->spares++] = *frame;
        *frame = (struct buf){0};
    }
    pthread_mutex_unlock(&w->lock);
}

static enum pitr_rc
add_to_pack(struct store_writer *w, const struct buf *frame, struct pack_writer **full,
            struct pitr_err *err)
{
    size_t count;

    if (w->pack == NULL && pack_writer_new(&w->pack, w->store->blob, err) != PITR_OK)
        return err->rc;
    if (pack_writer_add(w->pack, frame->data, frame->len, err) != PITR_OK)
        return err->rc;
    (void)pack_writer_entries(w->pack, &count);
    if (pack_writer_size(w->pack) >= w->store->pack_target || count >= PACK_FRAMES_MAX) {
        *full = w->pack;
        w->pack = NULL;
    }
    return PITR_OK;
}

/* Put the sealed frame into the open pack, and send that off if it is full. */
static enum pitr_rc
store_frame(struct store_writer *w, const struct buf *frame, size_t raw_len, struct pitr_err *err)
{
    struct pack_writer *full = NULL;
    enum pitr_rc rc;

    pthread_mutex_lock(&w->lock);
    rc = add_to_pack(w, frame, &full, err);
    if (rc == PITR_OK) {
        w->stats.chunks_new++;
        w->stats.bytes_new += raw_len;
        w->stats.bytes_stored += frame->len;
    }
    pthread_mutex_unlock(&w->lock);
    if (rc != PITR_OK)
        return fail_put(w, err);
    if (full != NULL && !queue_push(w->full, full)) {
        pack_writer_free(full);
        return deliver_failure(w, err);
    }
    return PITR_OK;
}

/* Is it in the index? A damaged entry is as good as none. */
static enum pitr_rc
is_indexed(struct store_writer *w, const struct chunk_id *id, enum frame_type type, bool *found,
           struct pitr_err *err)
{
    struct cindex_value value;
    uint64_t epoch;

    if (store_index_get(w->store, id, type, found, &value, &epoch, err) == PITR_OK)
        return PITR_OK;
    if (err->rc != PITR_CORRUPT)
        return err->rc;
    log_event(w->store->log, LOG_WARNING, "store", "%s; storing the chunk again", err->msg);
    *found = false;
    return PITR_OK;
}

static enum pitr_rc
put_claimed(struct store_writer *w, struct sealer *sealer, enum frame_type type, const void *data,
            size_t len, const struct chunk_id *id, struct buf *frame, struct pitr_err *err)
{
    bool found = false;

    if (is_indexed(w, id, type, &found, err) != PITR_OK)
        return fail_put(w, err);
    if (found) {
        pthread_mutex_lock(&w->lock);
        idset_remove(&w->claimed, id, type);
        pthread_mutex_unlock(&w->lock);
        return PITR_OK;
    }
    if (sealer_seal(sealer, type, id, data, len, frame, err) != PITR_OK)
        return fail_put(w, err);
    return store_frame(w, frame, len, err);
}

enum pitr_rc
store_put(struct store_writer *w, struct sealer *sealer, enum frame_type type, const void *data,
          size_t len, struct chunk_id *id, uint32_t *stored, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf frame = {0};
    bool mine = false;

    if (stored != NULL)
        *stored = 0;
    if (queue_is_aborted(w->full))
        return deliver_failure(w, err);
    if (sealer_id(sealer, data, len, id, err) != PITR_OK ||
        claim(w, id, type, len, &mine, &frame, err) != PITR_OK)
        return fail_put(w, err);
    if (!mine)
        return PITR_OK;
    if (put_claimed(w, sealer, type, data, len, id, &frame, err) != PITR_OK)
        return err->rc;
    if (stored != NULL)
        *stored = (uint32_t)frame.len;
    give_back(w, &frame);
    return PITR_OK;
}

enum pitr_rc
store_writer_finish(struct store_writer *w, struct store_stats *stats, struct pitr_err *err)
{
    assert(w->running);
    /* Refused only if the writer failed, and then the pack is dropped with it. */
    if (w->pack != NULL && queue_push(w->full, w->pack))
        w->pack = NULL;
    queue_close(w->full);
    join_publisher(w);
    if (w->failed) {
        *err = w->first;
        return err->rc;
    }
    if (stats != NULL)
        *stats = w->stats;
    return PITR_OK;
}

void
store_writer_stats(struct store_writer *w, struct store_stats *stats)
{
    pthread_mutex_lock(&w->lock);
    *stats = w->stats;
    pthread_mutex_unlock(&w->lock);
}
