#include "engine/pipeline.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/queue.h"
#include "chunkstore/chunker.h"

/* Enough that the workers have something to do while a reader waits for its next reply. */
enum { RING = 32 };

/* A collection that keeps vanishing under its cursor, and a server that keeps going away. */
enum { LOOK_AGAIN_MAX = 50, LOOK_AGAIN_MS = 20, LOST_MAX = 6, LOST_FIRST_MS = 500 };

enum slot_state { SLOT_FREE, SLOT_QUEUED, SLOT_DONE };

struct lane;

struct slot {
    struct lane *lane;
    struct buf data;
    struct chunk_entry entry;
    enum slot_state state; /* under lane->lock while QUEUED */
};

/* A reader and its ring: slots [tail, head) are with the workers, slot `head` is being filled. */
struct lane {
    struct pipe *pipe;
    pthread_t thread;
    struct sealer *sealer;
    struct chunker chunker;
    struct fingerprint print;
    struct list_writer *list;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_waiting;
    size_t head, tail;
    struct slot ring[RING];
};

struct pipe {
    const struct pipeline_opts *opts;
    struct queue *queue; /* of filled slots; has room for all there are */
    struct source_list *list;
    atomic_size_t next; /* first collection no reader has taken */
    struct lane *lanes;
    size_t nlanes;
    pthread_mutex_t lock; /* for the rest */
    struct pipeline_result *out;
    struct pitr_err first; /* rc PITR_OK while all is well */
    atomic_bool failed;
    atomic_uint_fast64_t chunks_new, bytes_new;
};

/* Record the first error and wake everybody. ABORTED only says that somebody else failed. */
static void
pipe_fail(struct pipe *p, const struct pitr_err *err)
{
    pthread_mutex_lock(&p->lock);
    if (p->first.rc == PITR_OK || p->first.rc == PITR_ABORTED)
        p->first = *err;
    pthread_mutex_unlock(&p->lock);
    atomic_store(&p->failed, true);
    queue_abort(p->queue);
    for (size_t i = 0; i < p->nlanes; i++) {
        pthread_mutex_lock(&p->lanes[i].lock);
        pthread_cond_broadcast(&p->lanes[i].done);
        pthread_mutex_unlock(&p->lanes[i].lock);
    }
}

static enum pitr_rc
store_slot(struct pipe *p, struct sealer *sealer, struct slot *s, struct pitr_err *err)
{
    uint32_t stored;

    if (store_put(p->opts->writer, sealer, s->entry.type, s->data.data, s->data.len, &s->entry.id,
                  &stored, err) != PITR_OK)
        return err->rc;
    if (stored > 0) {
        atomic_fetch_add_explicit(&p->chunks_new, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&p->bytes_new, s->data.len, memory_order_relaxed);
        atomic_fetch_add_explicit(&p->opts->job->bytes_stored, stored, memory_order_relaxed);
    }
    return PITR_OK;
}

static void *
work(void *arg)
{
    struct pipe *p = arg;
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    struct pitr_err err;
    struct slot *s;

    if (sealer_new(&sealer, p->opts->keys, p->opts->codec, p->opts->level, &err) != PITR_OK) {
        pipe_fail(p, &err);
        return NULL;
    }
    while ((s = queue_pop(p->queue)) != NULL) {
        struct lane *lane = s->lane;

        if (store_slot(p, sealer, s, &err) != PITR_OK) {
            pipe_fail(p, &err);
            return NULL;
        }
        pthread_mutex_lock(&lane->lock);
        s->state = SLOT_DONE;
        if (lane->is_waiting)
            pthread_cond_signal(&lane->done);
        pthread_mutex_unlock(&lane->lock);
    }
    return NULL;
}

/* Wait for the oldest slot in flight, put its chunk on the list, and free it. */
static enum pitr_rc
lane_retire(struct lane *l, struct pitr_err *err)
{
    struct slot *s = &l->ring[l->tail % RING];

    pthread_mutex_lock(&l->lock);
    l->is_waiting = true;
    while (s->state != SLOT_DONE && !atomic_load(&l->pipe->failed))
        pthread_cond_wait(&l->done, &l->lock);
    l->is_waiting = false;
    pthread_mutex_unlock(&l->lock);
    if (atomic_load(&l->pipe->failed))
        return pitr_fail(err, PITR_ABORTED, "scan: another thread failed");
    s->state = SLOT_FREE;
    buf_clear(&s->data);
    l->tail++;
    return list_writer_add(l->list, &s->entry, err);
}

static enum pitr_rc
lane_drain(struct lane *l, struct pitr_err *err)
{
    while (l->tail != l->head)
        if (lane_retire(l, err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

/* The slot being filled is complete: hand it to the workers. */
static enum pitr_rc
lane_submit(struct lane *l, enum frame_type type, struct pitr_err *err)
{
    const struct pipeline_opts *opts = l->pipe->opts;
    struct slot *s = &l->ring[l->head % RING];

    s->entry.type = type;
    s->entry.raw_len = (uint32_t)s->data.len;
    s->state = SLOT_QUEUED;
    job_advance(opts->job, s->entry.documents, s->data.len);
    l->head++;
    if (!queue_push(l->pipe->queue, s))
        return pitr_fail(err, PITR_ABORTED, "scan: another thread failed");
    if (l->head - l->tail == RING && lane_retire(l, err) != PITR_OK)
        return err->rc;
    l->ring[l->head % RING].entry.documents = 0;
    return opts->check != NULL ? opts->check(opts->check_arg, err) : PITR_OK;
}

/* A document too long for a chunk: a run of parts, the last of which counts it. */
static enum pitr_rc
add_long(struct lane *l, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    while (len > 0) {
        struct slot *s = &l->ring[l->head % RING];
        size_t n = chunker_split(&l->chunker.params, l->chunker.key, doc, len);

        if (buf_append(&s->data, doc, n, err) != PITR_OK)
            return err->rc;
        s->entry.documents = n == len;
        if (lane_submit(l, FRAME_PART, err) != PITR_OK)
            return err->rc;
        doc += n;
        len -= n;
    }
    return PITR_OK;
}

static enum pitr_rc
add_doc(struct lane *l, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    uint64_t hash = fingerprint_add(&l->print, doc, len);
    enum chunker_cut cut = chunker_next(&l->chunker, len, hash);
    struct slot *s;

    if (cut == CUT_BEFORE) {
        if (lane_submit(l, FRAME_DATA, err) != PITR_OK)
            return err->rc;
        cut = chunker_next(&l->chunker, len, hash);
    }
    if (cut == CUT_ALONE)
        return add_long(l, doc, len, err);
    assert(cut != CUT_BEFORE); /* the chunk is empty */
    s = &l->ring[l->head % RING];
    if (buf_append(&s->data, doc, len, err) != PITR_OK)
        return err->rc;
    s->entry.documents++;
    return cut == CUT_AFTER ? lane_submit(l, FRAME_DATA, err) : PITR_OK;
}

static enum pitr_rc
read_all(struct lane *l, struct doc_cursor *cursor, struct pitr_err *err)
{
    const struct doc_source_ops *ops = l->pipe->opts->source->ops;
    const uint8_t *doc;
    size_t len;

    for (;;) {
        if (ops->next(cursor, &doc, &len, err) != PITR_OK)
            return err->rc;
        if (doc == NULL)
            return PITR_OK;
        if (add_doc(l, doc, len, err) != PITR_OK)
            return err->rc;
    }
}

/* One pass over a collection. Whatever it ends with, unless the pipeline failed, the ring is empty
 * afterwards. */
static enum pitr_rc
scan_once(struct lane *l, const struct source_coll *coll, struct coll_node *node,
          struct pitr_err *err)
{
    const struct pipeline_opts *opts = l->pipe->opts;
    struct doc_source *source = opts->source;
    struct doc_cursor *cursor;
    struct slot *open;
    struct pitr_err drained;
    enum pitr_rc rc;

    list_writer_freep(&l->list);
    if (list_writer_new(&l->list, opts->writer, l->sealer, err) != PITR_OK)
        return err->rc;
    chunker_init(&l->chunker, &CHUNKER_DEFAULTS, opts->keys->cut_key);
    l->print = (struct fingerprint){0};
    open = &l->ring[l->head % RING];
    open->entry.documents = 0;
    if (source->ops->open(source, coll, &cursor, err) != PITR_OK)
        return err->rc;
    rc = read_all(l, cursor, err);
    source->ops->close(cursor);
    open = &l->ring[l->head % RING];
    if (rc == PITR_OK && open->data.len > 0)
        rc = lane_submit(l, FRAME_DATA, err);
    else
        buf_clear(&open->data);
    if (lane_drain(l, &drained) != PITR_OK &&
        (rc == PITR_OK || rc == PITR_NOTFOUND || rc == PITR_DB_LOST)) {
        *err = drained; /* the pass may not be repeated: the ring is not empty */
        return err->rc;
    }
    if (rc == PITR_OK)
        rc = source->ops->confirm(source, coll, err);
    if (rc == PITR_OK)
        rc = list_writer_finish(l->list, node, err);
    node->print = l->print;
    return rc;
}

/* The node takes what the catalog said about the collection. */
static void
keep_node(struct pipe *p, struct source_coll *coll, struct coll_node *node)
{
    node->db = coll->db;
    node->name = coll->name;
    memcpy(node->uuid, coll->uuid, sizeof node->uuid);
    node->options = coll->options;
    node->indexes = coll->indexes;
    *coll = (struct source_coll){0};
    pthread_mutex_lock(&p->lock);
    p->out->nodes[p->out->nnodes++] = *node;
    pthread_mutex_unlock(&p->lock);
}

/* The cursor died: find out what became of the collection. *gone: it was dropped. */
static enum pitr_rc
look_again(struct pipe *p, struct source_coll *coll, bool *gone, struct pitr_err *err)
{
    struct doc_source *source = p->opts->source;
    struct source_coll now = {0};
    bool found;

    if (source->ops->locate(source, coll->uuid, &now, &found, err) != PITR_OK)
        return err->rc;
    *gone = !found;
    if (found) {
        source_coll_release(coll);
        *coll = now;
    }
    return PITR_OK;
}

static enum pitr_rc
pause_scan(struct pipe *p, int64_t ms, struct pitr_err *err)
{
    const int64_t until = clock_mono_ms() + ms;

    while (clock_mono_ms() < until) {
        if (atomic_load(&p->failed))
            return pitr_fail(err, PITR_ABORTED, "scan: another thread failed");
        if (p->opts->check != NULL && p->opts->check(p->opts->check_arg, err) != PITR_OK)
            return err->rc;
        clock_sleep_ms(20);
    }
    return PITR_OK;
}

/*
 * Scan until one pass went through. A server that went away is waited for (an election takes about
 * ten seconds); chunks of the pass before are stored, so repeating it is mostly reading.
 */
static enum pitr_rc
scan_coll(struct lane *l, struct source_coll *coll, struct pitr_err *err)
{
    int64_t pause = LOST_FIRST_MS;
    int moved = 0, lost = 0;
    bool gone = false;

    for (;;) {
        struct coll_node node = {0};
        enum pitr_rc rc = scan_once(l, coll, &node, err);

        if (rc == PITR_OK) {
            keep_node(l->pipe, coll, &node);
            return PITR_OK;
        }
        if (rc == PITR_DB_LOST && lost++ < LOST_MAX) {
            log_event(l->pipe->opts->job->log, LOG_WARNING, "scan", "%s.%s: trying again: %s",
                      coll->db, coll->name, err->msg);
            if (pause_scan(l->pipe, pause, err) != PITR_OK)
                return err->rc;
            pause *= 2;
            continue;
        }
        if (rc != PITR_NOTFOUND)
            return rc;
        if (moved++ == LOOK_AGAIN_MAX) {
            err->rc = PITR_DB;
            return pitr_wrap(err, "%s.%s kept moving away during %d scans", coll->db, coll->name,
                             moved);
        }
        if (look_again(l->pipe, coll, &gone, err) != PITR_OK)
            return err->rc;
        if (gone)
            return PITR_OK;
        if (pause_scan(l->pipe, LOOK_AGAIN_MS * (moved - 1), err) != PITR_OK)
            return err->rc;
    }
}

static void *
read_colls(void *arg)
{
    struct lane *l = arg;
    struct pipe *p = l->pipe;
    struct pitr_err err;

    while (!atomic_load(&p->failed)) {
        size_t i = atomic_fetch_add(&p->next, 1);

        if (i >= p->list->len)
            break;
        if (scan_coll(l, &p->list->at[i], &err) != PITR_OK) {
            pipe_fail(p, &err);
            break;
        }
    }
    return NULL;
}

static int
by_uuid(const void *a, const void *b)
{
    const struct source_coll *x = a, *y = b;

    return memcmp(x->uuid, y->uuid, sizeof x->uuid);
}

static int
largest_first(const void *a, const void *b)
{
    const struct source_coll *x = a, *y = b;

    return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : by_uuid(a, b);
}

/* A collection that was renamed while the catalog was read may be in it twice. */
static void
arrange(struct source_list *list)
{
    size_t keep = 0;

    if (list->len < 2)
        return;
    qsort(list->at, list->len, sizeof *list->at, by_uuid);
    for (size_t i = 1; i < list->len; i++) {
        if (by_uuid(&list->at[keep], &list->at[i]) == 0) {
            source_coll_release(&list->at[i]);
        } else if (++keep != i) {
            list->at[keep] = list->at[i];
            list->at[i] = (struct source_coll){0};
        }
    }
    list->len = keep + 1;
    qsort(list->at, list->len, sizeof *list->at, largest_first);
}

static void
lanes_free(struct pipe *p)
{
    for (size_t i = 0; p->lanes != NULL && i < p->nlanes; i++) {
        struct lane *l = &p->lanes[i];

        list_writer_free(l->list);
        sealer_free(l->sealer);
        for (size_t k = 0; k < RING; k++)
            buf_release(&l->ring[k].data);
        pthread_mutex_destroy(&l->lock);
        pthread_cond_destroy(&l->done);
    }
    free(p->lanes);
}

static enum pitr_rc
lanes_new(struct pipe *p, size_t n, struct pitr_err *err)
{
    p->lanes = calloc(n + 1, sizeof *p->lanes);
    if (p->lanes == NULL)
        return pitr_fail(err, PITR_NOMEM, "scan: %zu readers", n);
    for (p->nlanes = 0; p->nlanes < n; p->nlanes++) {
        struct lane *l = &p->lanes[p->nlanes];

        l->pipe = p;
        pthread_mutex_init(&l->lock, NULL);
        pthread_cond_init(&l->done, NULL);
        for (size_t k = 0; k < RING; k++)
            l->ring[k].lane = l;
    }
    for (size_t i = 0; i < n; i++)
        if (sealer_new(&p->lanes[i].sealer, p->opts->keys, p->opts->codec, p->opts->level, err) !=
            PITR_OK)
            return err->rc;
    return PITR_OK;
}

/* Start, wait, and leave the outcome in p->first. */
static void
run_threads(struct pipe *p, pthread_t *workers)
{
    struct pitr_err err;
    size_t nworkers = 0, nreaders = 0;
    int rc = 0;

    while (rc == 0 && nworkers < p->opts->workers) {
        rc = pthread_create(&workers[nworkers], NULL, work, p);
        nworkers += rc == 0;
    }
    while (rc == 0 && nreaders < p->nlanes) {
        rc = pthread_create(&p->lanes[nreaders].thread, NULL, read_colls, &p->lanes[nreaders]);
        nreaders += rc == 0;
    }
    if (rc != 0) {
        pitr_fail_errno(&err, rc, "scan: starting threads");
        pipe_fail(p, &err);
    }
    for (size_t i = 0; i < nreaders; i++)
        pthread_join(p->lanes[i].thread, NULL);
    queue_close(p->queue);
    for (size_t i = 0; i < nworkers; i++)
        pthread_join(workers[i], NULL);
}

enum pitr_rc
pipeline_run(const struct pipeline_opts *opts, struct source_list *list,
             struct pipeline_result *out, struct pitr_err *err)
{
    struct pipe p = {.opts = opts, .list = list, .out = out};
    pthread_t *workers = calloc(opts->workers, sizeof *workers);
    size_t nlanes;

    assert(opts->readers > 0 && opts->workers > 0);
    arrange(list);
    nlanes = opts->readers < list->len ? opts->readers : list->len;
    *out = (struct pipeline_result){.nodes = calloc(list->len + 1, sizeof *out->nodes)};
    pthread_mutex_init(&p.lock, NULL);
    if (workers == NULL || out->nodes == NULL)
        pitr_fail(&p.first, PITR_NOMEM, "scan: %zu collections", list->len);
    else if (queue_new(&p.queue, (nlanes + 1) * RING, NULL, &p.first) == PITR_OK &&
             lanes_new(&p, nlanes, &p.first) == PITR_OK)
        run_threads(&p, workers);
    out->chunks_new = atomic_load(&p.chunks_new);
    out->bytes_new = atomic_load(&p.bytes_new);
    lanes_free(&p);
    queue_free(p.queue);
    pthread_mutex_destroy(&p.lock);
    free(workers);
    if (p.first.rc != PITR_OK) {
        pipeline_result_release(out);
        *err = p.first;
        return err->rc;
    }
    return PITR_OK;
}

void
pipeline_result_release(struct pipeline_result *r)
{
    for (size_t i = 0; r->nodes != NULL && i < r->nnodes; i++)
        coll_node_release(&r->nodes[i]);
    free(r->nodes);
    *r = (struct pipeline_result){0};
}
