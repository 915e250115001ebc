/* Claims about nets that share a memory budget; that they give what a net in memory gives is the
 * business of tests/prop/prop_net.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bson/bson.h>

#include "oplog/net.h"
#include "tests/support/ejson.h"

enum { BUDGET = 1 << 20, THREADS = 4 };

struct fixture {
    struct spill *spill;
    struct net *net;
    struct pitr_err err;
    bson_t doc;
    size_t in_use; /* by malloc, at the start */
};

static size_t
in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static int
setup(void **state)
{
    struct fixture *f = bson_aligned_alloc0(BSON_ALIGNOF(struct fixture), sizeof *f);

    *state = f;
    bson_init(&f->doc);
    f->in_use = in_use();
    return spill_new(&f->spill, BUDGET, &f->err) != PITR_OK ||
           net_new(&f->net, FIELD_ORDER_NUMERIC, f->spill, &f->err) != PITR_OK;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    net_free(f->net);
    spill_free(f->spill);
    bson_destroy(&f->doc);
    bson_free(f);
    return 0;
}

/* {_id: id, n: n, pad: "..."}. */
static void
make(struct fixture *f, int id, int n, size_t pad)
{
    char *text = calloc(1, pad + 1);

    assert_non_null(text);
    memset(text, 'x', pad);
    bson_reinit(&f->doc);
    BSON_APPEND_INT32(&f->doc, "_id", id);
    BSON_APPEND_INT32(&f->doc, "n", n);
    BSON_APPEND_UTF8(&f->doc, "pad", text);
    free(text);
}

static enum pitr_rc
insert(struct fixture *f, struct net *n, int id, size_t pad)
{
    make(f, id, 0, pad);
    return net_insert(n, bson_get_data(&f->doc), f->doc.len, OP_STRICT, &f->err);
}

static enum pitr_rc
update(struct fixture *f, struct net *n, int id, int value)
{
    bson_t o = BSON_INITIALIZER, diff, u;
    enum pitr_rc rc;

    BSON_APPEND_INT32(&o, "$v", 2);
    BSON_APPEND_DOCUMENT_BEGIN(&o, "diff", &diff);
    BSON_APPEND_DOCUMENT_BEGIN(&diff, "u", &u);
    BSON_APPEND_INT32(&u, "n", value);
    bson_append_document_end(&diff, &u);
    bson_append_document_end(&o, &diff);
    make(f, id, 0, 0);
    rc = net_update(n, bson_get_data(&f->doc), f->doc.len, bson_get_data(&o), o.len, false,
                    OP_STRICT, &f->err);
    bson_destroy(&o);
    return rc;
}

static enum pitr_rc
erase(struct fixture *f, struct net *n, int id)
{
    make(f, id, 0, 0);
    return net_delete(n, bson_get_data(&f->doc), f->doc.len, OP_STRICT, &f->err);
}

struct tally {
    size_t docs, bytes;
    int32_t last; /* _id */
    bool ordered;
};

static enum pitr_rc
tally(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct tally *t = arg;
    bson_t b;
    bson_iter_t it;

    (void)err;
    assert_true(bson_init_static(&b, doc, len));
    assert_true(bson_iter_init_find(&it, &b, "_id"));
    t->ordered = (t->docs == 0 || t->ordered) && (t->docs == 0 || bson_iter_int32(&it) > t->last);
    t->last = bson_iter_int32(&it);
    t->docs++;
    t->bytes += len;
    return PITR_OK;
}

/* What is held, as accounted for and as malloc sees it (which knows a little more: buffers that
 * are reused, and what a test needs). */
static void
assert_within_budget(const struct fixture *f)
{
    assert_true(spill_held(f->spill) <= BUDGET);
    assert_true(in_use() <= f->in_use + BUDGET + BUDGET / 8);
}

static void
one_big_net_stays_within_the_budget(void **state)
{
    struct fixture *f = *state;
    struct tally t = {.docs = 0};

    for (int id = 0; id < 20000; id++) {
        assert_int_equal(insert(f, f->net, id, 300), PITR_OK);
        assert_within_budget(f);
    }
    assert_int_equal(net_seal(f->net, &f->err), PITR_OK);
    assert_within_budget(f);
    assert_int_equal(net_rest(f->net, tally, &t, &f->err), PITR_OK);
    assert_int_equal(t.docs, 20000);
    assert_true(t.ordered);
}

static void
many_small_nets_stay_within_the_budget(void **state)
{
    enum { NETS = 500 };
    struct fixture *f = *state;
    struct net *nets[NETS];

    for (int i = 0; i < NETS; i++)
        assert_int_equal(net_new(&nets[i], FIELD_ORDER_NUMERIC, f->spill, &f->err), PITR_OK);
    f->in_use = in_use();
    for (int id = 0; id < 20000; id++) {
        assert_int_equal(insert(f, nets[id % NETS], id, 200), PITR_OK);
        assert_within_budget(f);
    }
    for (int i = 0; i < NETS; i++) {
        struct tally t = {.docs = 0};

        assert_int_equal(net_seal(nets[i], &f->err), PITR_OK);
        assert_int_equal(net_rest(nets[i], tally, &t, &f->err), PITR_OK);
        assert_int_equal(t.docs, 20000 / NETS);
        assert_true(t.ordered);
        net_free(nets[i]);
    }
    assert_int_equal(spill_held(f->spill), 0);
}

static void
a_document_that_changes_all_the_time_costs_as_one_that_changed_once(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 50000; i++) {
        assert_int_equal(update(f, f->net, 1, i), PITR_OK);
        assert_true(spill_held(f->spill) < 16 << 10);
    }
    assert_int_equal(insert(f, f->net, 2, 100), PITR_OK);
    for (int i = 0; i < 50000; i++) {
        assert_int_equal(update(f, f->net, 2, i), PITR_OK);
        assert_true(spill_held(f->spill) < 32 << 10);
    }
}

static void
documents_larger_than_the_budget_pass(void **state)
{
    struct fixture *f = *state;
    struct tally t = {.docs = 0};

    for (int id = 0; id < 5; id++)
        assert_int_equal(insert(f, f->net, id, 3 * BUDGET), PITR_OK);
    for (int id = 0; id < 5; id++)
        assert_int_equal(update(f, f->net, id, 7), PITR_OK);
    assert_int_equal(net_seal(f->net, &f->err), PITR_OK);
    assert_int_equal(net_rest(f->net, tally, &t, &f->err), PITR_OK);
    assert_int_equal(t.docs, 5);
    assert_true(t.ordered);
    assert_true(t.bytes > 15 * (size_t)BUDGET);
}

static void
a_contradiction_across_spills_is_found_when_the_net_is_sealed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(erase(f, f->net, 20000), PITR_OK);
    for (int id = 0; id < 10000; id++)
        assert_int_equal(insert(f, f->net, id, 300), PITR_OK);
    if (erase(f, f->net, 20000) == PITR_OK)
        assert_int_equal(net_seal(f->net, &f->err), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "delete of a document that is deleted already"));
}

static void
what_the_base_must_hold_is_demanded_after_a_spill_too(void **state)
{
    struct fixture *f = *state;
    struct tally t = {.docs = 0};
    struct buf out = {0}, scratch = {0};
    enum net_verdict verdict;

    assert_int_equal(update(f, f->net, 20000, 1), PITR_OK);
    for (int id = 0; id < 10000; id++)
        assert_int_equal(insert(f, f->net, id, 300), PITR_OK);
    assert_int_equal(net_seal(f->net, &f->err), PITR_OK);
    assert_int_equal(net_rest(f->net, tally, &t, &f->err), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "changes a document that the snapshot lacks"));
    make(f, 5, 0, 0);
    assert_int_equal(
        net_filter(f->net, bson_get_data(&f->doc), f->doc.len, &verdict, &out, &scratch, &f->err),
        PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "inserts a document that the snapshot has already"));
    make(f, 20000, 0, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(net_filter(f->net, bson_get_data(&f->doc), f->doc.len, &verdict, &out,
                                    &scratch, &f->err),
                         i == 0 ? PITR_OK : PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "the snapshot holds a document twice"));
    assert_int_equal(net_rest(f->net, tally, &t, &f->err), PITR_OK);
    assert_int_equal(t.docs, 10000);
    buf_release(&out);
    buf_release(&scratch);
}

static void
what_a_server_evicts_silently_is_not_demanded_after_a_spill(void **state)
{
    struct fixture *f = *state;
    struct buf key = {0}, o = {0};
    struct tally t = {.docs = 0};

    ejson(&key, "{\"_id\":20000}");
    ejson(&o, "{\"$v\":1,\"$set\":{\"a\":1}}");
    net_allow_evictions(f->net);
    assert_int_equal(
        net_update(f->net, key.data, key.len, o.data, o.len, false, OP_LENIENT, &f->err), PITR_OK);
    for (int id = 0; id < 10000; id++)
        assert_int_equal(insert(f, f->net, id, 300), PITR_OK);
    assert_int_equal(net_seal(f->net, &f->err), PITR_OK);
    assert_int_equal(net_rest(f->net, tally, &t, &f->err), PITR_OK);
    assert_int_equal(t.docs, 10000);
    buf_release(&key);
    buf_release(&o);
}

static void
a_cleared_net_forgets_its_file_too(void **state)
{
    struct fixture *f = *state;
    struct tally t = {.docs = 0};

    for (int round = 0; round < 3; round++) {
        for (int id = 0; id < 10000; id++)
            assert_int_equal(insert(f, f->net, id, 300), PITR_OK);
        assert_false(net_is_empty(f->net));
        if (round < 2)
            net_clear(f->net);
        else
            assert_int_equal(net_seal(f->net, &f->err), PITR_OK);
        assert_true(net_is_empty(f->net) == (round < 2));
    }
    assert_int_equal(net_rest(f->net, tally, &t, &f->err), PITR_OK);
    assert_int_equal(t.docs, 10000);
}

struct worker {
    struct fixture *f;
    int number;
    size_t changed;
    pthread_t thread;
    struct pitr_err err;
};

/* Every fourth document of the base. */
static void *
work(void *arg)
{
    struct worker *w = arg;
    struct buf out = {0}, scratch = {0};
    bson_t doc = BSON_INITIALIZER;

    for (int id = w->number; id < 20000; id += THREADS) {
        enum net_verdict verdict;

        bson_reinit(&doc);
        BSON_APPEND_INT32(&doc, "_id", id);
        BSON_APPEND_INT32(&doc, "n", -1);
        if (net_filter(w->f->net, bson_get_data(&doc), doc.len, &verdict, &out, &scratch,
                       &w->err) != PITR_OK)
            break;
        w->changed += verdict == NET_CHANGED;
    }
    bson_destroy(&doc);
    buf_release(&out);
    buf_release(&scratch);
    return NULL;
}

static void
filter_with_threads(struct fixture *f)
{
    struct worker workers[THREADS];
    size_t changed = 0;

    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.f = f, .number = i, .err = {.rc = PITR_OK}};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        if (workers[i].err.rc != PITR_OK)
            fail_msg("%s", workers[i].err.msg);
        changed += workers[i].changed;
    }
    assert_int_equal(changed, 10000);
}

static void
threads_can_share_the_base(void **state)
{
    struct fixture *f = *state;
    struct tally t = {.docs = 0};

    for (int id = 0; id < 20000; id += 2)
        assert_int_equal(update(f, f->net, id, id), PITR_OK);
    for (int id = 20000; id < 25000; id++)
        assert_int_equal(insert(f, f->net, id, 300), PITR_OK);
    assert_int_equal(net_seal(f->net, &f->err), PITR_OK);
    filter_with_threads(f);
    assert_int_equal(net_rest(f->net, tally, &t, &f->err), PITR_OK);
    assert_int_equal(t.docs, 5000);
    filter_with_threads(f);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_big_net_stays_within_the_budget),
        T(many_small_nets_stay_within_the_budget),
        T(a_document_that_changes_all_the_time_costs_as_one_that_changed_once),
        T(documents_larger_than_the_budget_pass),
        T(a_contradiction_across_spills_is_found_when_the_net_is_sealed),
        T(what_the_base_must_hold_is_demanded_after_a_spill_too),
        T(what_a_server_evicts_silently_is_not_demanded_after_a_spill),
        T(a_cleared_net_forgets_its_file_too),
        T(threads_can_share_the_base),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
