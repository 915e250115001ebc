#include <pthread.h>
#include <stdlib.h>

#include "base/queue.h"
#include "engine/load_internal.h"

/*
 * A batch travels: idle -> a caller fills it -> full queue -> an insert thread -> idle. There is
 * one more batch than can be on its way only when callers hold so many half-filled ones that
 * nothing would ever come back.
 *
 * Two locks are never held at once: the pool's and the queue's own.
 */
/* The server commits a few hundred documents at a time: larger batches gain nothing measurable. */
enum {
    BATCH_BYTES = 1 << 20,
    BATCH_DOCUMENTS = 2000,
};

struct load_batch {
    struct insert_batch insert;
    const struct load_coll *coll;
    struct load_batch *next; /* in the idle list */
};

struct loader {
    struct target *target;
    struct queue *full;
    pthread_t *threads;
    unsigned started;
    bool finished;

    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t changed;
    struct load_batch *idle;
    size_t batches;   /* in existence */
    size_t in_flight; /* queued or being inserted */
    struct pitr_err first;
};

static void
batch_free(struct load_batch *b)
{
    if (b != NULL)
        insert_batch_release(&b->insert);
    free(b);
}

static void
batch_drop(void *item)
{
    batch_free(item);
}

static void
fail(struct loader *l, const struct pitr_err *err)
{
    pthread_mutex_lock(&l->lock);
    if (l->first.rc == PITR_OK)
        l->first = *err;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    queue_abort(l->full);
}

static enum pitr_rc
first_failure(struct loader *l, struct pitr_err *err)
{
    pthread_mutex_lock(&l->lock);
    if (l->first.rc != PITR_OK)
        *err = l->first;
    else
        pitr_fail(err, PITR_ABORTED, "loading was given up");
    pthread_mutex_unlock(&l->lock);
    return err->rc;
}

static void
batch_back(struct loader *l, struct load_batch *b, bool was_in_flight)
{
    insert_batch_clear(&b->insert);
    pthread_mutex_lock(&l->lock);
    b->next = l->idle;
    l->idle = b;
    l->in_flight -= was_in_flight;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

static enum pitr_rc
insert_one(struct loader *l, struct conn *c, struct load_batch *b, struct pitr_err *err)
{
    size_t documents = b->insert.documents, bytes = b->insert.bytes;

    if (job_check(l->target->job, err) != PITR_OK ||
        insert_batch_send(&b->insert, l->target, c, err) != PITR_OK)
        return err->rc;
    job_advance(l->target->job, documents, bytes);
    return PITR_OK;
}

static void *
insert_thread(void *arg)
{
    struct loader *l = arg;
    PITR_AUTO(conn_givep) struct conn *c = NULL;
    struct load_batch *b;
    struct pitr_err err;

    if (conn_take(&c, l->target->mongo, &err) != PITR_OK) {
        fail(l, &err);
        return NULL;
    }
    while ((b = queue_pop(l->full)) != NULL) {
        if (insert_one(l, c, b, &err) != PITR_OK)
            fail(l, &err);
        batch_back(l, b, true);
    }
    return NULL;
}

enum pitr_rc
loader_new(struct loader **out, struct target *t, struct pitr_err *err)
{
    PITR_AUTO(loader_freep) struct loader *l = calloc(1, sizeof *l);

    if (l == NULL)
        return pitr_fail(err, PITR_NOMEM, "loader");
    l->target = t;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    l->threads = calloc(t->connections, sizeof *l->threads);
    if (l->threads == NULL)
        return pitr_fail(err, PITR_NOMEM, "%u insert threads", t->connections);
    if (queue_new(&l->full, 2 * (size_t)t->connections, batch_drop, err) != PITR_OK)
        return err->rc;
    while (l->started < t->connections) {
        int failed = pthread_create(&l->threads[l->started], NULL, insert_thread, l);

        if (failed != 0)
            return pitr_fail_errno(err, failed, "insert thread");
        l->started++;
    }
    *out = l;
    l = NULL;
    return PITR_OK;
}

static void
join_all(struct loader *l)
{
    while (l->started > 0)
        pthread_join(l->threads[--l->started], NULL);
}

void
loader_free(struct loader *l)
{
    if (l == NULL)
        return;
    if (l->full != NULL)
        queue_abort(l->full);
    join_all(l);
    queue_free(l->full);
    while (l->idle != NULL) {
        struct load_batch *next = l->idle->next;

        batch_free(l->idle);
        l->idle = next;
    }
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l->threads);
    free(l);
}

void
loader_freep(struct loader **l)
{
    loader_free(*l);
    *l = NULL;
}

/* An idle batch, or a new one while there are few, or when waiting would be for ever. */
static enum pitr_rc
batch_take(struct loader *l, struct load_batch **out, struct pitr_err *err)
{
    struct load_batch *b;
    bool failed;

    pthread_mutex_lock(&l->lock);
    while (l->first.rc == PITR_OK && l->idle == NULL && l->in_flight > 0 &&
           l->batches >= 4 * (size_t)l->target->connections)
        pthread_cond_wait(&l->changed, &l->lock);
    failed = l->first.rc != PITR_OK;
    b = failed ? NULL : l->idle;
    if (b != NULL)
        l->idle = b->next;
    else if (!failed)
        l->batches++;
    pthread_mutex_unlock(&l->lock);
    if (failed)
        return first_failure(l, err);
    if (b == NULL)
        b = calloc(1, sizeof *b);
    if (b == NULL)
        return pitr_fail(err, PITR_NOMEM, "batch of documents");
    *out = b;
    return PITR_OK;
}

/* In order means: by the caller itself, one batch after the other. */
static enum pitr_rc
insert_here(struct loader *l, struct load_batch *b, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;
    enum pitr_rc rc = conn_take(&c, l->target->mongo, err);

    if (rc == PITR_OK)
        rc = insert_one(l, c, b, err);
    if (rc != PITR_OK)
        fail(l, err);
    batch_back(l, b, false);
    return rc;
}

static enum pitr_rc
batch_send(struct loader *l, struct load_batch **batch, struct pitr_err *err)
{
    struct load_batch *b = *batch;

    *batch = NULL;
    if (load_is_capped(b->coll))
        return insert_here(l, b, err);
    pthread_mutex_lock(&l->lock);
    l->in_flight++;
    pthread_mutex_unlock(&l->lock);
    if (queue_push(l->full, b))
        return PITR_OK;
    batch_back(l, b, true);
    return first_failure(l, err);
}

/* A document the server would change goes in by itself, after what came before it. */
static enum pitr_rc
add_unchanged(struct loader *l, const struct load_coll *coll, struct load_batch **batch,
              const uint8_t *doc, size_t len, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;

    if (*batch != NULL && (*batch)->insert.documents > 0 && batch_send(l, batch, err) != PITR_OK)
        return err->rc;
    if (job_check(l->target->job, err) != PITR_OK ||
        conn_take(&c, l->target->mongo, err) != PITR_OK ||
        insert_unchanged(l->target, c, coll->db, coll->name, doc, len, err) != PITR_OK)
        return err->rc;
    job_advance(l->target->job, 1, len);
    return PITR_OK;
}

enum pitr_rc
loader_add(struct loader *l, const struct load_coll *coll, struct load_batch **batch,
           const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct insert_batch *insert;
    bool changed;

    if (insert_would_change(&changed, doc, len, err) != PITR_OK)
        return pitr_wrap(err, "%s.%s", coll->db, coll->name);
    if (changed)
        return add_unchanged(l, coll, batch, doc, len, err);
    if (*batch != NULL && (*batch)->insert.bytes + len > BATCH_BYTES &&
        (*batch)->insert.documents > 0 && batch_send(l, batch, err) != PITR_OK)
        return err->rc;
    if (*batch == NULL && batch_take(l, batch, err) != PITR_OK)
        return err->rc;
    insert = &(*batch)->insert;
    if (insert->documents == 0) {
        (*batch)->coll = coll;
        if (insert_batch_begin(insert, coll->db, coll->name, load_is_capped(coll), err) != PITR_OK)
            return err->rc;
    }
    if (insert_batch_add(insert, doc, len, err) != PITR_OK)
        return err->rc;
    if (insert->documents >= BATCH_DOCUMENTS || insert->bytes >= BATCH_BYTES)
        return batch_send(l, batch, err);
    return PITR_OK;
}

enum pitr_rc
loader_flush(struct loader *l, struct load_batch **batch, struct pitr_err *err)
{
    if (*batch == NULL)
        return PITR_OK;
    if ((*batch)->insert.documents > 0)
        return batch_send(l, batch, err);
    loader_discard(l, batch);
    return PITR_OK;
}

void
loader_discard(struct loader *l, struct load_batch **batch)
{
    if (*batch != NULL)
        batch_back(l, *batch, false);
    *batch = NULL;
}

enum pitr_rc
loader_finish(struct loader *l, struct pitr_err *err)
{
    queue_close(l->full);
    join_all(l);
    return l->first.rc == PITR_OK ? PITR_OK : first_failure(l, err);
}
