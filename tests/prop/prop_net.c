/*
 * A net that spills gives what a net in memory gives, whatever the budget: the same verdicts, the
 * same documents in the same order, and an error where that has one. And where the operations are
 * those of a server, both give the server's documents.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bson/bson.h>

#include "oplog/docid.h"
#include "oplog/net.h"

enum { CASES = 150, IDS_MAX = 3000, OPS_MAX = 5000 };

struct rng {
    uint64_t state;
};

static uint64_t
draw(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static size_t
below(struct rng *r, size_t n)
{
    return (size_t)(draw(r) % n);
}

static bool
chance(struct rng *r, size_t percent)
{
    return below(r, 100) < percent;
}

static struct rng
seeded(void)
{
    const char *text = getenv("SEED");
    struct rng r = {text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL)};

    print_message("SEED=%llu\n", (unsigned long long)r.state);
    return r;
}

/* What the server has under one _id, and what the scan found there. */
struct doc {
    struct buf now, base;
    size_t scanned_at; /* operations before it */
};

struct world {
    struct rng *rng;
    struct doc *docs;
    size_t ndocs, nops, window; /* the first `window` operations are in the base's window */
    bool lenient, upserts, anomalies, big;
    bool modifiers; /* a server logs these or deltas, not both */
    struct net *plain, *spilled;
    bool plain_failed, spilled_failed;
    struct pitr_err err;
    bson_t o;
    struct buf work;
};

static void
append_id(bson_t *b, size_t id, bool other_type)
{
    char text[128];

    if (id % 3 != 0) {
        if (other_type)
            BSON_APPEND_DOUBLE(b, "_id", (double)id);
        else
            BSON_APPEND_INT32(b, "_id", (int32_t)id);
        return;
    }
    snprintf(text, sizeof text, "%0*zu", (int)(id % 100 + 1), id);
    BSON_APPEND_UTF8(b, "_id", text);
}

static void
append_pad(struct world *w, bson_t *b, const char *name)
{
    size_t len = w->big && chance(w->rng, 2) ? below(w->rng, 40000) : below(w->rng, 60);
    char *text = calloc(1, len + 1);

    assert_non_null(text);
    memset(text, 'a' + (int)below(w->rng, 26), len);
    BSON_APPEND_UTF8(b, name, text);
    free(text);
}

static void
set_buf(struct buf *b, const uint8_t *data, size_t len)
{
    struct pitr_err err;

    buf_clear(b);
    assert_int_equal(buf_append(b, data, len, &err), PITR_OK);
}

static bool
has(const struct buf *doc, const char *name)
{
    struct belem e;
    struct pitr_err err;
    bool found;

    assert_int_equal(bson_find(doc->data, doc->len, name, &found, &e, &err), PITR_OK);
    return found;
}

static const char *const names[] = {"a", "b", "c", "d"};

/* A delta that this server would log for the document. */
static void
make_delta(struct world *w, const struct buf *doc)
{
    bson_t diff, d, u, i;
    int what[4];

    for (size_t k = 0; k < 4; k++)
        what[k] = !chance(w->rng, 40) ? 0 : !has(doc, names[k]) ? 3 : chance(w->rng, 30) ? 1 : 2;
    if (what[0] + what[1] + what[2] + what[3] == 0)
        what[0] = has(doc, names[0]) ? 2 : 3;
    bson_reinit(&w->o);
    BSON_APPEND_INT32(&w->o, "$v", 2);
    BSON_APPEND_DOCUMENT_BEGIN(&w->o, "diff", &diff);
    bson_init(&d);
    bson_init(&u);
    bson_init(&i);
    for (size_t k = 0; k < 4; k++) {
        if (what[k] == 1)
            BSON_APPEND_BOOL(&d, names[k], false);
        else if (what[k] == 2)
            BSON_APPEND_INT32(&u, names[k], (int32_t)below(w->rng, 1000));
        else if (what[k] == 3)
            append_pad(w, &i, names[k]);
    }
    if (!bson_empty(&d))
        BSON_APPEND_DOCUMENT(&diff, "d", &d);
    if (!bson_empty(&u))
        BSON_APPEND_DOCUMENT(&diff, "u", &u);
    if (!bson_empty(&i))
        BSON_APPEND_DOCUMENT(&diff, "i", &i);
    bson_append_document_end(&w->o, &diff);
    bson_destroy(&d);
    bson_destroy(&u);
    bson_destroy(&i);
}

static void
make_document(struct world *w, size_t id)
{
    bson_reinit(&w->o);
    append_id(&w->o, id, false);
    append_pad(w, &w->o, "a");
    BSON_APPEND_INT32(&w->o, "n", (int32_t)below(w->rng, 1000));
    if (chance(w->rng, 50))
        append_pad(w, &w->o, "c");
}

static void
make_modifiers(struct world *w)
{
    bson_t set;

    bson_reinit(&w->o);
    BSON_APPEND_INT32(&w->o, "$v", 1);
    BSON_APPEND_DOCUMENT_BEGIN(&w->o, "$set", &set);
    BSON_APPEND_INT32(&set, names[below(w->rng, 4)], (int32_t)below(w->rng, 1000));
    bson_append_document_end(&w->o, &set);
}

/* Both nets get the operation, and must agree on it; that which spills may learn later. */
static void
compare_rc(struct world *w, enum pitr_rc plain, enum pitr_rc spilled)
{
    w->plain_failed = w->plain_failed || plain != PITR_OK;
    w->spilled_failed = w->spilled_failed || spilled != PITR_OK;
    if (plain != PITR_OK)
        assert_int_equal(plain, PITR_CORRUPT);
    if (spilled != PITR_OK)
        assert_int_equal(spilled, PITR_CORRUPT);
    if (w->spilled_failed && !w->plain_failed)
        fail_msg("only with a budget: %s", w->err.msg);
}

static void
feed(struct world *w, char op, size_t id, bool upsert, enum op_mode mode)
{
    struct net *nets[2] = {w->plain, w->spilled};
    enum pitr_rc rc[2] = {PITR_OK, PITR_OK};
    const uint8_t *o = bson_get_data(&w->o);
    bson_t key = BSON_INITIALIZER;

    append_id(&key, id, chance(w->rng, 50));
    for (size_t i = 0; i < 2; i++) {
        if (i == 0 ? w->plain_failed : w->spilled_failed)
            continue;
        if (op == 'i')
            rc[i] = net_insert(nets[i], o, w->o.len, mode, &w->err);
        else if (op == 'u')
            rc[i] = net_update(nets[i], bson_get_data(&key), key.len, o, w->o.len, upsert, mode,
                               &w->err);
        else
            rc[i] = net_delete(nets[i], bson_get_data(&key), key.len, mode, &w->err);
    }
    bson_destroy(&key);
    compare_rc(w, rc[0], rc[1]);
}

static void
apply(struct world *w, struct doc *d, bool strict)
{
    buf_clear(&w->work);
    if (update_apply(&w->work, d->now.data, d->now.len, bson_get_data(&w->o), w->o.len,
                     FIELD_ORDER_NUMERIC, strict, &w->err) != PITR_OK)
        fail_msg("%s", w->err.msg);
    set_buf(&d->now, w->work.data, w->work.len);
}

static void
do_update(struct world *w, size_t id, enum op_mode mode)
{
    struct doc *d = &w->docs[id];
    bool upsert = w->upserts && chance(w->rng, 20);
    size_t kind = below(w->rng, 10);

    if (kind == 0)
        make_document(w, id);
    else if (w->modifiers)
        make_modifiers(w);
    else
        make_delta(w, &d->now);
    feed(w, 'u', id, upsert, mode);
    apply(w, d, mode == OP_STRICT);
}

/* What a server would not do, or only leniently; it has no effect on the server unless it is. */
static void
do_nonsense(struct world *w, size_t id, enum op_mode mode)
{
    struct doc *d = &w->docs[id];
    size_t kind = below(w->rng, 6);
    bool upsert = kind == 2 || (w->upserts && chance(w->rng, 50));

    make_document(w, id);
    if (kind < 2) {
        feed(w, "id"[kind], id, false, mode);
        if (mode == OP_LENIENT)
            set_buf(&d->now, bson_get_data(&w->o), kind == 0 ? w->o.len : 0);
        return;
    }
    if (kind < 5)
        make_modifiers(w);
    feed(w, 'u', id, upsert, mode);
    if (mode != OP_LENIENT || (d->now.len == 0 && !upsert))
        return;
    if (d->now.len == 0) {
        bson_t seed = BSON_INITIALIZER;

        append_id(&seed, id, false);
        set_buf(&d->now, bson_get_data(&seed), seed.len);
        bson_destroy(&seed);
    }
    apply(w, d, false);
}

static void
scan_reaches(struct world *w, size_t op)
{
    for (size_t i = 0; i < w->ndocs; i++)
        if (w->docs[i].scanned_at == op)
            set_buf(&w->docs[i].base, w->docs[i].now.data, w->docs[i].now.len);
}

static void
do_one(struct world *w, size_t op)
{
    size_t id = chance(w->rng, 50) ? below(w->rng, w->ndocs) : below(w->rng, w->ndocs / 8 + 1);
    struct doc *d = &w->docs[id];
    enum op_mode mode = op < w->window ? OP_FUZZY : OP_STRICT;

    if (w->lenient && chance(w->rng, 10))
        mode = OP_LENIENT;
    if ((w->lenient && mode == OP_LENIENT && chance(w->rng, 50)) ||
        (w->anomalies && below(w->rng, 2000) == 0)) {
        do_nonsense(w, id, mode);
        return;
    }
    if (d->now.len == 0) {
        make_document(w, id);
        feed(w, 'i', id, false, mode);
        set_buf(&d->now, bson_get_data(&w->o), w->o.len);
    } else if (chance(w->rng, 25)) {
        feed(w, 'd', id, false, mode);
        buf_clear(&d->now);
    } else {
        do_update(w, id, mode);
    }
}

static void
start(struct world *w)
{
    for (size_t i = 0; i < w->ndocs; i++) {
        w->docs[i].scanned_at = w->window == 0 ? 0 : below(w->rng, w->window + 1);
        if (!chance(w->rng, 50))
            continue;
        make_document(w, i);
        set_buf(&w->docs[i].now, bson_get_data(&w->o), w->o.len);
    }
    for (size_t op = 0; op < w->nops; op++) {
        if (op <= w->window)
            scan_reaches(w, op);
        do_one(w, op);
    }
    if (w->nops <= w->window)
        scan_reaches(w, w->nops);
    if (!w->plain_failed)
        assert_int_equal(net_seal(w->plain, &w->err), PITR_OK);
    if (!w->spilled_failed)
        w->spilled_failed = net_seal(w->spilled, &w->err) != PITR_OK;
    if (w->spilled_failed != w->plain_failed)
        fail_msg("%s fails, the other does not: %s", w->plain_failed ? "in memory" : "spilled",
                 w->err.msg);
}

struct list {
    struct buf bytes;
    size_t *at, len, cap;
};

static void
list_add(struct list *l, const uint8_t *data, size_t len)
{
    struct pitr_err err;

    if (l->len == l->cap) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->at = realloc(l->at, l->cap * sizeof *l->at);
        assert_non_null(l->at);
    }
    l->at[l->len++] = l->bytes.len;
    assert_int_equal(buf_append(&l->bytes, data, len, &err), PITR_OK);
}

static void
list_release(struct list *l)
{
    buf_release(&l->bytes);
    free(l->at);
}

static enum pitr_rc
collect(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    (void)err;
    list_add(arg, doc, len);
    return PITR_OK;
}

/* A checksum of the set of strangers: they come in no order. */
static enum pitr_rc
add_stranger(void *arg, const struct net_stranger *s, struct pitr_err *err)
{
    uint64_t *sum = arg, h = 1469598103934665603u;

    (void)err;
    for (size_t i = 0; i < s->key_len; i++)
        h = (h ^ s->key[i]) * 1099511628211u;
    h = (h ^ (s->doc != NULL)) * 1099511628211u;
    for (size_t i = 0; i < s->doc_len && s->doc != NULL; i++)
        h = (h ^ s->doc[i]) * 1099511628211u;
    *sum += h;
    return PITR_OK;
}

struct outcome {
    enum pitr_rc rc, strangers_rc;
    uint64_t strangers;
    struct list docs; /* final documents in order; an empty one stands for a refusal */
};

static void
stream(struct world *w, struct net *n, struct outcome *o)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(buf_release) struct buf scratch = {0};

    for (size_t i = 0; i < w->ndocs; i++) {
        const struct buf *base = &w->docs[i].base;
        enum net_verdict verdict;

        if (base->len == 0)
            continue;
        if (net_filter(n, base->data, base->len, &verdict, &out, &scratch, &w->err) != PITR_OK) {
            assert_int_equal(w->err.rc, PITR_CORRUPT);
            list_add(&o->docs, NULL, 0);
        } else if (verdict == NET_KEEP) {
            list_add(&o->docs, base->data, base->len);
        } else if (verdict == NET_CHANGED) {
            list_add(&o->docs, out.data, out.len);
        }
    }
    o->strangers_rc = net_strangers(n, add_stranger, &o->strangers, &w->err);
    o->rc = net_rest(n, collect, &o->docs, &w->err);
}

static void
finals(struct world *w, struct net *n, struct list *docs)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(buf_release) struct buf scratch = {0};
    bson_t key = BSON_INITIALIZER;

    for (size_t i = 0; i < 2 * w->ndocs; i++) {
        const struct buf *base = &w->docs[i / 2].base;
        const uint8_t *doc;
        size_t len, base_len = i % 2 == 0 ? base->len : 0;

        bson_reinit(&key);
        append_id(&key, i / 2, i % 2 == 0);
        if (net_final(n, bson_get_data(&key), key.len, base_len == 0 ? NULL : base->data, base_len,
                      &doc, &len, &out, &scratch, &w->err) != PITR_OK)
            list_add(docs, (const uint8_t *)"!", 1);
        else
            list_add(docs, doc, doc == NULL ? 0 : len);
    }
    bson_destroy(&key);
}

static void
assert_same(const struct list *a, const struct list *b)
{
    assert_int_equal(a->len, b->len);
    assert_int_equal(a->bytes.len, b->bytes.len);
    assert_memory_equal(a->at, b->at, a->len * sizeof *a->at);
    assert_memory_equal(a->bytes.data, b->bytes.data, a->bytes.len);
}

/* Every document that the server has, and nothing else: compared as a set by way of net_final(). */
static void
assert_is_the_servers(struct world *w, const struct outcome *o, const struct list *final)
{
    size_t want = 0;

    assert_int_equal(o->rc, PITR_OK);
    for (size_t i = 0; i < w->ndocs; i++) {
        size_t start = final->at[2 * i], end = final->at[2 * i + 1];
        const struct buf *now = &w->docs[i].now;

        assert_int_equal(end - start, now->len);
        if (now->len != 0)
            assert_memory_equal(final->bytes.data + start, now->data, now->len);
        want += now->len != 0;
    }
    assert_int_equal(o->docs.len, want);
}

static void
compare(struct world *w)
{
    struct list final[2] = {{.len = 0}, {.len = 0}};

    for (int pass = 0; pass < 2; pass++) {
        struct outcome plain = {.rc = PITR_OK}, spilled = {.rc = PITR_OK};

        stream(w, w->plain, &plain);
        stream(w, w->spilled, &spilled);
        assert_int_equal(plain.rc, spilled.rc);
        assert_int_equal(plain.strangers_rc, spilled.strangers_rc);
        if (plain.strangers_rc == PITR_OK)
            assert_true(plain.strangers == spilled.strangers);
        assert_same(&plain.docs, &spilled.docs);
        if (pass == 0) {
            finals(w, w->plain, &final[0]);
            finals(w, w->spilled, &final[1]);
            assert_same(&final[0], &final[1]);
            if (!w->anomalies && !w->lenient)
                assert_is_the_servers(w, &plain, &final[0]);
        }
        list_release(&plain.docs);
        list_release(&spilled.docs);
    }
    list_release(&final[0]);
    list_release(&final[1]);
}

static void
one_case(struct rng *r)
{
    static const uint64_t budgets[] = {4096, 4096, 16384, 65536, 262144, 1 << 20, 256 << 20};
    PITR_AUTO(spill_freep) struct spill *spill = NULL;
    uint64_t budget = budgets[below(r, sizeof budgets / sizeof budgets[0])];
    struct world w = {.rng = r,
                      .ndocs = chance(r, 50) ? 1 + below(r, 12) : 1 + below(r, IDS_MAX),
                      .nops = below(r, OPS_MAX),
                      .lenient = chance(r, 40),
                      .upserts = chance(r, 40),
                      .anomalies = chance(r, 20),
                      .big = chance(r, 30),
                      .modifiers = chance(r, 30)};

    if (budget <= 16384)
        w.nops /= 4;
    w.window = chance(r, 30) ? 0 : below(r, w.nops + 1);
    w.docs = calloc(w.ndocs, sizeof *w.docs);
    assert_non_null(w.docs);
    bson_init(&w.o);
    assert_int_equal(spill_new(&spill, budget, &w.err), PITR_OK);
    assert_int_equal(net_new(&w.plain, FIELD_ORDER_NUMERIC, NULL, &w.err), PITR_OK);
    assert_int_equal(net_new(&w.spilled, FIELD_ORDER_NUMERIC, spill, &w.err), PITR_OK);
    start(&w);
    if (!w.plain_failed)
        compare(&w);
    net_free(w.plain);
    net_free(w.spilled);
    assert_int_equal(spill_held(spill), 0);
    for (size_t i = 0; i < w.ndocs; i++) {
        buf_release(&w.docs[i].now);
        buf_release(&w.docs[i].base);
    }
    free(w.docs);
    bson_destroy(&w.o);
    buf_release(&w.work);
}

static void
a_net_that_spills_gives_what_a_net_in_memory_gives(void **state)
{
    struct rng r = seeded();

    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct rng own = {draw(&r)};

        one_case(&own);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_net_that_spills_gives_what_a_net_in_memory_gives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
