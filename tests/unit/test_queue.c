#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/queue.h"

static struct queue *
queue_of(size_t capacity, void (*drop)(void *item))
{
    struct pitr_err err;
    struct queue *q = NULL;

    assert_int_equal(queue_new(&q, capacity, drop, &err), PITR_OK);
    return q;
}

static void
count_drop(void *item)
{
    (*(int *)item)++;
}

static void
items_come_out_in_the_order_they_went_in(void **state)
{
    PITR_AUTO(queue_freep) struct queue *q = queue_of(3, NULL);
    int items[7];

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            assert_true(queue_push(q, &items[i + round]));
        for (int i = 0; i < 3; i++)
            assert_ptr_equal(queue_pop(q), &items[i + round]);
    }
}

static void
after_close_pops_drain_and_pushes_are_refused(void **state)
{
    PITR_AUTO(queue_freep) struct queue *q = queue_of(2, NULL);
    int a, b;

    (void)state;
    assert_true(queue_push(q, &a));
    queue_close(q);
    assert_false(queue_push(q, &b));
    assert_false(queue_is_aborted(q));
    assert_ptr_equal(queue_pop(q), &a);
    assert_null(queue_pop(q));
}

static void
after_abort_nothing_moves_and_the_rest_is_dropped_once(void **state)
{
    struct queue *q = queue_of(2, count_drop);
    int a = 0, b = 0;

    (void)state;
    assert_true(queue_push(q, &a));
    queue_abort(q);
    assert_true(queue_is_aborted(q));
    assert_false(queue_push(q, &b));
    assert_null(queue_pop(q));
    queue_free(q);
    assert_int_equal(a, 1);
    assert_int_equal(b, 0);
}

static void
an_absurd_capacity_is_nomem(void **state)
{
    struct queue *q = NULL;
    struct pitr_err err;

    (void)state;
    assert_int_equal(queue_new(&q, SIZE_MAX / 4, NULL, &err), PITR_NOMEM);
    assert_null(q);
}

enum { ITEMS = 2000, THREADS = 3 };

struct traffic {
    struct queue *q;
    int numbers[ITEMS];
    atomic_int next, sum, refused;
};

static void *
produce(void *arg)
{
    struct traffic *t = arg;

    for (;;) {
        int i = atomic_fetch_add(&t->next, 1);

        if (i >= ITEMS)
            return NULL;
        if (!queue_push(t->q, &t->numbers[i]))
            atomic_fetch_add(&t->refused, 1);
    }
}

static void *
consume(void *arg)
{
    struct traffic *t = arg;
    int *item;

    while ((item = queue_pop(t->q)) != NULL)
        atomic_fetch_add(&t->sum, *item);
    return NULL;
}

static void
many_threads_lose_and_double_nothing(void **state)
{
    static struct traffic t;
    pthread_t makers[THREADS], takers[THREADS];

    (void)state;
    t.q = queue_of(4, NULL);
    for (int i = 0; i < ITEMS; i++)
        t.numbers[i] = i;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&makers[i], NULL, produce, &t), 0);
        assert_int_equal(pthread_create(&takers[i], NULL, consume, &t), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(makers[i], NULL), 0);
    queue_close(t.q);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(takers[i], NULL), 0);
    assert_int_equal(t.sum, ITEMS * (ITEMS - 1) / 2);
    assert_int_equal(t.refused, 0);
    queue_free(t.q);
}

static void *
abort_it(void *arg)
{
    queue_abort(arg);
    return NULL;
}

static void
abort_wakes_a_push_that_waits_for_room(void **state)
{
    PITR_AUTO(queue_freep) struct queue *q = queue_of(1, NULL);
    pthread_t thread;
    int a, b;

    (void)state;
    assert_true(queue_push(q, &a));
    assert_int_equal(pthread_create(&thread, NULL, abort_it, q), 0);
    assert_false(queue_push(q, &b));
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
abort_wakes_a_pop_that_waits_for_an_item(void **state)
{
    PITR_AUTO(queue_freep) struct queue *q = queue_of(1, NULL);
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, abort_it, q), 0);
    assert_null(queue_pop(q));
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_out_in_the_order_they_went_in),
        cmocka_unit_test(after_close_pops_drain_and_pushes_are_refused),
        cmocka_unit_test(after_abort_nothing_moves_and_the_rest_is_dropped_once),
        cmocka_unit_test(an_absurd_capacity_is_nomem),
        cmocka_unit_test(many_threads_lose_and_double_nothing),
        cmocka_unit_test(abort_wakes_a_push_that_waits_for_room),
        cmocka_unit_test(abort_wakes_a_pop_that_waits_for_an_item),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
