#include "base/queue.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct queue {
    pthread_mutex_t lock; /* guards everything below but the constants */
    pthread_cond_t has_room, has_item;
    bool closed, aborted;
    size_t head, len; /* ring: items[head], `len` of them */
    size_t capacity;  /* constant */
    void (*drop)(void *item);
    void *items[];
};

enum pitr_rc
queue_new(struct queue **out, size_t capacity, void (*drop)(void *item), struct pitr_err *err)
{
    struct queue *q;
    size_t size;

    assert(capacity > 0);
    if (__builtin_mul_overflow(capacity, sizeof q->items[0], &size) ||
        __builtin_add_overflow(size, sizeof *q, &size))
        return pitr_fail(err, PITR_NOMEM, "queue of %zu items", capacity);
    q = calloc(1, size);
    if (q == NULL)
        return pitr_fail(err, PITR_NOMEM, "queue of %zu items", capacity);
    q->capacity = capacity;
    q->drop = drop;
    /* With default attributes these three cannot fail on Linux. */
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->has_room, NULL);
    pthread_cond_init(&q->has_item, NULL);
    *out = q;
    return PITR_OK;
}

static void *
take(struct queue *q)
{
    void *item = q->items[q->head];

    q->head = (q->head + 1) % q->capacity;
    q->len--;
    return item;
}

void
queue_free(struct queue *q)
{
    if (q == NULL)
        return;
    while (q->len > 0) {
        void *item = take(q);

        if (q->drop != NULL)
            q->drop(item);
    }
    pthread_cond_destroy(&q->has_item);
    pthread_cond_destroy(&q->has_room);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

void
queue_freep(struct queue **q)
{
    queue_free(*q);
    *q = NULL;
}

bool
queue_push(struct queue *q, void *item)
{
    bool accepted;

    assert(item != NULL);
    pthread_mutex_lock(&q->lock);
    while (q->len == q->capacity && !q->closed && !q->aborted)
        pthread_cond_wait(&q->has_room, &q->lock);
    accepted = !q->closed && !q->aborted;
    if (accepted) {
        q->items[(q->head + q->len) % q->capacity] = item;
        q->len++;
        pthread_cond_signal(&q->has_item);
    }
    pthread_mutex_unlock(&q->lock);
    return accepted;
}

void *
queue_pop(struct queue *q)
{
    void *item = NULL;

    pthread_mutex_lock(&q->lock);
    while (q->len == 0 && !q->closed && !q->aborted)
        pthread_cond_wait(&q->has_item, &q->lock);
    if (q->len > 0 && !q->aborted) {
        item = take(q);
        pthread_cond_signal(&q->has_room);
    }
    pthread_mutex_unlock(&q->lock);
    return item;
}

static void
stop(struct queue *q, bool *which)
{
    pthread_mutex_lock(&q->lock);
    *which = true;
    pthread_cond_broadcast(&q->has_room);
    pthread_cond_broadcast(&q->has_item);
    pthread_mutex_unlock(&q->lock);
}

void
queue_close(struct queue *q)
{
    stop(q, &q->closed);
}

void
queue_abort(struct queue *q)
{
    stop(q, &q->aborted);
}

bool
queue_is_aborted(struct queue *q)
{
    bool aborted;

    pthread_mutex_lock(&q->lock);
    aborted = q->aborted;
    pthread_mutex_unlock(&q->lock);
    return aborted;
}
