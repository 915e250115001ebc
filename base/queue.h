/*
 * queue.h - a bounded queue of pointers between threads, with close and abort.
 *
 * Bounded memory between the stages of a pipeline is the queue's capacity times the size of what
 * it carries. queue_close(): no more pushes; pops drain what is there, then report the end.
 * queue_abort(): all waiting and later calls return at once; what is still inside stays owned by
 * the queue and is handed to `drop` by queue_free(). Any number of producers and consumers.
 */
#ifndef PITR_BASE_QUEUE_H
#define PITR_BASE_QUEUE_H

#include <stdbool.h>

#include "base/err.h"

struct queue;

/* `drop` frees an item left inside at queue_free(); may be NULL if items need no freeing. */
PITR_MUST enum pitr_rc queue_new(struct queue **out, size_t capacity, void (*drop)(void *item),
                                 struct pitr_err *err);
void queue_free(struct queue *q);
void queue_freep(struct queue **q);

/* Wait for room. False after close or abort: the caller keeps the item. */
PITR_MUST bool queue_push(struct queue *q, void *item);
/* Wait for an item. NULL after abort, or when closed and drained. */
PITR_MUST void *queue_pop(struct queue *q);
void queue_close(struct queue *q);
void queue_abort(struct queue *q);
bool queue_is_aborted(struct queue *q);

#endif
