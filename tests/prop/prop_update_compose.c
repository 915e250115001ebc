/*
 * Random documents, random updates such as a server logs for them, composed in several orders: what
 * remains must make the same bytes of the first document as the updates one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bson/bson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mongo/bsonio.h"
#include "oplog/update_compose.h"

enum { MAX_CHAIN = 20, MAX_LEVELS = 4 };

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

static uint32_t
below(struct rng *r, uint32_t n)
{
    return (uint32_t)(draw(r) % n);
}

static bool
chance(struct rng *r, uint32_t percent)
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

static void
free_bson(bson_t **b)
{
    bson_destroy(*b);
}

static bool
has(const bson_t *doc, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, doc, name);
}

/* Names that mean something to a delta, look like indexes or paths, or hide in each other. */
static const char *
some_name(struct rng *r)
{
    static const char *const names[] = {"",  "a",  "b",  "d",   "i",    "l",  "o",    "s",  "u",
                                        "x", "y",  "z",  "sa",  "ub",   "s1", "u0",   "0",  "1",
                                        "9", "10", "01", "a.b", "$set", "$v", "diff", "été"};

    return names[below(r, sizeof names / sizeof *names)];
}

static void put_value(struct rng *r, bson_t *doc, const char *name, int level);

static void
fill_doc(struct rng *r, bson_t *doc, uint32_t fields, int level)
{
    while (fields-- > 0) {
        const char *name = level > 0 && chance(r, 3) ? "_id" : some_name(r);

        if (!has(doc, name))
            put_value(r, doc, name, level + 1);
    }
}

static void
fill_array(struct rng *r, bson_t *array, uint32_t n, int level)
{
    for (uint32_t i = 0; i < n; i++) {
        char key[16];

        snprintf(key, sizeof key, "%u", i);
        put_value(r, array, key, level + 1);
    }
}

static void
put_binary(struct rng *r, bson_t *doc, const char *name)
{
    uint8_t bytes[24];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)draw(r);
    assert_true(bson_append_binary(doc, name, -1, chance(r, 50) ? 7 : BSON_SUBTYPE_BINARY, bytes,
                                   below(r, sizeof bytes)));
}

static void
put_value(struct rng *r, bson_t *doc, const char *name, int level)
{
    bson_t inner;

    switch (below(r, level < MAX_LEVELS ? 10 : 5)) {
    case 0:
        assert_true(bson_append_int32(doc, name, -1, (int32_t)draw(r)));
        return;
    case 1:
        assert_true(bson_append_utf8(doc, name, -1, "text and text", (int)below(r, 13)));
        return;
    case 2:
        assert_true(bson_append_null(doc, name, -1));
        return;
    case 3:
    case 4:
        put_binary(r, doc, name);
        return;
    case 5:
    case 6:
        assert_true(bson_append_array_begin(doc, name, -1, &inner));
        fill_array(r, &inner, below(r, 6), level);
        assert_true(bson_append_array_end(doc, &inner));
        return;
    default:
        assert_true(bson_append_document_begin(doc, name, -1, &inner));
        fill_doc(r, &inner, below(r, 6), level);
        assert_true(bson_append_document_end(doc, &inner));
    }
}

static bson_t *
some_document(struct rng *r)
{
    bson_t *doc = bson_new();

    assert_true(bson_append_int32(doc, "_id", -1, 1));
    fill_doc(r, doc, 2 + below(r, 8), 0);
    return doc;
}

/* Sub-diffs as large as a few fields at a time, for a document or array that is there. */
static void put_sub(struct rng *r, bson_t *diff, const char *name, const bson_iter_t *old,
                    int level);

static void
put_binary_diff(struct rng *r, bson_t *section, const bson_iter_t *old)
{
    bson_subtype_t subtype;
    const uint8_t *bytes;
    uint32_t len;
    bson_t diff;

    bson_iter_binary(old, &subtype, &len, &bytes);
    assert_true(bson_append_document_begin(section, bson_iter_key(old), -1, &diff));
    assert_true(bson_append_int32(&diff, "o", -1, (int32_t)below(r, len + 1)));
    put_binary(r, &diff, "d");
    assert_true(bson_append_document_end(section, &diff));
}

struct sections {
    bson_t d, u, i, b, s;
};

static void
change_one(struct rng *r, struct sections *to, const bson_iter_t *old, int level)
{
    const char *name = bson_iter_key(old);
    bool is_container = BSON_ITER_HOLDS_DOCUMENT(old) || BSON_ITER_HOLDS_ARRAY(old);
    char sub[64];

    if (is_container && chance(r, 60)) {
        snprintf(sub, sizeof sub, "s%s", name);
        put_sub(r, &to->s, sub, old, level + 1);
    } else if (BSON_ITER_HOLDS_BINARY(old) && chance(r, 60)) {
        put_binary_diff(r, &to->b, old);
    } else if (chance(r, 50)) {
        put_value(r, &to->u, name, level + 1);
    } else if (chance(r, 60)) {
        assert_true(bson_append_bool(&to->d, name, -1, false));
    } else if (chance(r, 50)) {
        put_value(r, &to->i, name, level + 1);
    } else {
        assert_true(bson_append_value(&to->i, name, -1, bson_iter_value((bson_iter_t *)old)));
    }
}

static void
put_section(bson_t *diff, const char *name, bson_t *section)
{
    if (!bson_empty(section))
        assert_true(bson_append_document(diff, name, -1, section));
    bson_destroy(section);
}

static void
fill_doc_diff(struct rng *r, bson_t *diff, bson_iter_t *old, int level)
{
    uint32_t percent = chance(r, 20) ? 70 : 15;
    bson_iter_t start = *old;
    struct sections to;

    bson_init(&to.d);
    bson_init(&to.u);
    bson_init(&to.i);
    bson_init(&to.b);
    bson_init(&to.s);
    while (bson_iter_next(old)) {
        if (level == 0 && strcmp(bson_iter_key(old), "_id") == 0) {
            if (chance(r, 1))
                assert_true(bson_append_bool(&to.d, "_id", -1, false));
        } else if (chance(r, percent)) {
            change_one(r, &to, old, level);
        }
    }
    if (bson_empty(&to.d) && bson_empty(&to.u) && bson_empty(&to.b) && bson_empty(&to.s))
        percent = 100;
    for (uint32_t tries = 8; tries > 0 && (chance(r, 20) || percent == 100); tries--) {
        const char *name = some_name(r);
        bson_iter_t find = start;

        if (!bson_iter_find(&find, name) && !has(&to.i, name)) {
            put_value(r, &to.i, name, level + 1);
            percent = 0;
        }
    }
    put_section(diff, "d", &to.d);
    put_section(diff, "u", &to.u);
    put_section(diff, "i", &to.i);
    put_section(diff, "b", &to.b);
    assert_true(bson_concat(diff, &to.s));
    bson_destroy(&to.s);
    if (bson_empty(diff)) /* all the names were taken */
        assert_true(BSON_APPEND_DOCUMENT(diff, "d", &(bson_t)BSON_INITIALIZER));
}

static uint32_t
array_length(bson_iter_t it)
{
    uint32_t n = 0;

    while (bson_iter_next(&it))
        n++;
    return n;
}

static void
fill_array_diff(struct rng *r, bson_t *diff, bson_iter_t *old, int level)
{
    uint32_t n = array_length(*old), length = n, index = 0;
    bool resized = chance(r, 25);
    char name[24];

    assert_true(bson_append_bool(diff, "a", -1, true));
    if (resized) {
        length = chance(r, 80) ? below(r, n + 1) : n + below(r, 4);
        assert_true(bson_append_int32(diff, "l", -1, (int32_t)length));
    }
    for (; index < length && bson_iter_next(old); index++) {
        bool is_container = BSON_ITER_HOLDS_DOCUMENT(old) || BSON_ITER_HOLDS_ARRAY(old);

        if (!chance(r, 20))
            continue;
        if (is_container && chance(r, 70)) {
            snprintf(name, sizeof name, "s%u", index);
            put_sub(r, diff, name, old, level + 1);
        } else {
            snprintf(name, sizeof name, "u%u", index);
            put_value(r, diff, name, level + 1);
        }
    }
    for (; resized ? index < length : chance(r, 40); index++) {
        if (!resized && chance(r, 10))
            index += 1 + below(r, 3);
        if (resized && chance(r, 30))
            continue;
        snprintf(name, sizeof name, "u%u", index);
        put_value(r, diff, name, level + 1);
    }
}

static void
put_sub(struct rng *r, bson_t *diff, const char *name, const bson_iter_t *old, int level)
{
    bson_iter_t inner;
    bson_t sub;

    assert_true(bson_iter_recurse(old, &inner));
    assert_true(bson_append_document_begin(diff, name, -1, &sub));
    if (BSON_ITER_HOLDS_ARRAY(old))
        fill_array_diff(r, &sub, &inner, level);
    else
        fill_doc_diff(r, &sub, &inner, level);
    assert_true(bson_append_document_end(diff, &sub));
}

static bson_t *
some_delta(struct rng *r, const bson_t *doc)
{
    bson_t *o = bson_new(), diff;
    bson_iter_t it;

    assert_true(bson_iter_init(&it, doc));
    assert_true(bson_append_int32(o, "$v", -1, 2));
    assert_true(bson_append_document_begin(o, "diff", -1, &diff));
    fill_doc_diff(r, &diff, &it, 0);
    assert_true(bson_append_document_end(o, &diff));
    return o;
}

/* A whole new document. The _id is where it likes, and of the number type it likes. */
static bson_t *
some_replacement(struct rng *r)
{
    bson_t *o = bson_new();

    if (chance(r, 50))
        fill_doc(r, o, below(r, 4), 0);
    if (chance(r, 70))
        assert_true(bson_append_int32(o, "_id", -1, 1));
    else
        assert_true(bson_append_double(o, "_id", -1, 1.0));
    fill_doc(r, o, below(r, 6), 0);
    return o;
}

/* Few names, so that paths meet. Whether they contradict each other shows when they are applied. */
static bson_t *
some_modifiers(struct rng *r)
{
    static const char *const flat[] = {"a", "b", "n", "x", "9", "10", "1"};
    static const char *const deep[] = {"a.b", "a.0", "a.10.x", "a.9.x", "x.y.z", "x.y", "n.1", "b"};
    bool is_flat = chance(r, 50);
    bson_t *o = bson_new(), set = BSON_INITIALIZER, unset = BSON_INITIALIZER;

    for (uint32_t n = 1 + below(r, 4); n > 0; n--) {
        const char *path = is_flat ? flat[below(r, 7)] : deep[below(r, 8)];

        if (has(&set, path) || has(&unset, path))
            continue;
        if (chance(r, 85))
            put_value(r, &set, path, MAX_LEVELS - 1);
        else
            assert_true(bson_append_bool(&unset, path, -1, true));
    }
    assert_true(bson_append_int32(o, "$v", -1, 1));
    put_section(o, "$unset", &unset);
    put_section(o, "$set", &set);
    return o;
}

struct chain {
    bson_t *pre, *post;
    bson_t *ops[MAX_CHAIN];
    size_t n;
    enum update_field_order order;
};

static void
chain_release(struct chain *c)
{
    bson_destroy(c->pre);
    bson_destroy(c->post);
    for (size_t i = 0; i < c->n; i++)
        bson_destroy(c->ops[i]);
}

static bool
apply(const struct chain *c, bson_t **doc, const bson_t *o, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    const bson_t *pre = *doc;

    if (update_apply(&out, bson_get_data(pre), pre->len, bson_get_data(o), o->len, c->order, true,
                     err) != PITR_OK)
        return false;
    bson_destroy(*doc);
    *doc = bson_new_from_data(out.data, out.len);
    assert_non_null(*doc);
    return true;
}

static void
chain_add(struct chain *c, bson_t *o)
{
    struct pitr_err err;

    if (!apply(c, &c->post, o, &err))
        fail_msg("%s: %s", bson_as_canonical_extended_json(o, NULL), err.msg);
    c->ops[c->n++] = o;
}

static struct chain
some_deltas(struct rng *r, size_t n)
{
    struct chain c = {.pre = some_document(r), .order = FIELD_ORDER_NUMERIC};

    c.post = bson_copy(c.pre);
    while (c.n < n)
        chain_add(&c, chance(r, 3) ? some_replacement(r) : some_delta(r, c.post));
    return c;
}

static struct chain
some_v1(struct rng *r, size_t n)
{
    struct chain c = {.pre = some_document(r),
                      .order = chance(r, 50) ? FIELD_ORDER_BYTES : FIELD_ORDER_NUMERIC};

    c.post = bson_copy(c.pre);
    while (c.n < n) {
        bson_t *o = some_modifiers(r);
        bson_t *probe = bson_copy(c.post);
        struct pitr_err err;

        if (apply(&c, &probe, o, &err))
            chain_add(&c, o);
        else
            bson_destroy(o);
        bson_destroy(probe);
    }
    return c;
}

/* Put the composition of ops[at] and ops[at + 1] in their place, if there is one. */
static bool
join(struct chain *c, size_t at)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    const bson_t *a = c->ops[at], *b = c->ops[at + 1];
    enum update_kind kind;
    struct pitr_err err;
    bool composed;

    assert_int_equal(buf_append(&out, "kept", 4, &err), PITR_OK);
    if (update_compose(&out, bson_get_data(a), a->len, bson_get_data(b), b->len, c->order,
                       &composed, &err) != PITR_OK)
        fail_msg("%s\n%s\n%s", bson_as_canonical_extended_json(a, NULL),
                 bson_as_canonical_extended_json(b, NULL), err.msg);
    assert_memory_equal(out.data, "kept", 4);
    if (!composed) {
        assert_int_equal(out.len, 4);
        return false;
    }
    assert_int_equal(bson_check(out.data + 4, out.len - 4, &err), PITR_OK);
    assert_int_equal(update_classify(out.data + 4, out.len - 4, &kind, &err), PITR_OK);
    bson_destroy(c->ops[at]);
    bson_destroy(c->ops[at + 1]);
    c->ops[at] = bson_new_from_data(out.data + 4, out.len - 4);
    c->n--;
    memmove(c->ops + at + 1, c->ops + at + 2, (c->n - at - 1) * sizeof *c->ops);
    return true;
}

static struct chain
chain_copy(const struct chain *from)
{
    struct chain c = *from;

    c.pre = bson_copy(from->pre);
    c.post = bson_copy(from->post);
    for (size_t i = 0; i < from->n; i++)
        c.ops[i] = bson_copy(from->ops[i]);
    return c;
}

static void
show(const char *what, const bson_t *doc)
{
    char *text = bson_as_canonical_extended_json(doc, NULL);

    print_message("%s %s\n", what, text);
    bson_free(text);
}

static void
check_effect(const struct chain *original, const struct chain *c)
{
    PITR_AUTO(free_bson) bson_t *doc = bson_copy(c->pre);
    struct pitr_err err = {0};
    bool ok = true;

    for (size_t i = 0; ok && i < c->n; i++)
        ok = apply(c, &doc, c->ops[i], &err);
    if (ok && doc->len == c->post->len &&
        memcmp(bson_get_data(doc), bson_get_data(c->post), doc->len) == 0)
        return;
    show("pre ", c->pre);
    for (size_t i = 0; i < original->n; i++)
        show("op  ", original->ops[i]);
    for (size_t i = 0; i < c->n; i++)
        show("is  ", c->ops[i]);
    show("got ", doc);
    show("want", c->post);
    fail_msg("%s", ok ? "other bytes" : err.msg);
}

enum fold { LEFT_TO_RIGHT, RIGHT_TO_LEFT, ANYHOW };

/* Compose until nothing more can be; returns how many times it could not. */
static size_t
fold(struct rng *r, const struct chain *original, enum fold how)
{
    PITR_AUTO(chain_release) struct chain c = chain_copy(original);
    size_t refused = 0;

    if (how == ANYHOW) {
        for (size_t tries = 4 * c.n; tries > 0 && c.n > 1; tries--)
            refused += !join(&c, below(r, (uint32_t)c.n - 1));
    } else if (how == LEFT_TO_RIGHT) {
        for (size_t at = 0; at + 1 < c.n;) {
            if (!join(&c, at)) {
                refused++;
                at++;
            }
        }
    } else {
        for (size_t at = c.n - 1; at > 0; at--)
            refused += !join(&c, at - 1);
    }
    check_effect(original, &c);
    return refused;
}

/* Returns the percentage of neighbours that were composed, from left to right. */
static double
check_chains(struct rng *r, struct chain (*some)(struct rng *, size_t), size_t chains,
             size_t longest)
{
    size_t pairs = 0, refused = 0;

    for (size_t i = 0; i < chains; i++) {
        PITR_AUTO(chain_release)
        struct chain c = some(r, longest == 2 ? 2 : 3 + below(r, (uint32_t)longest - 2));

        pairs += c.n - 1;
        refused += fold(r, &c, LEFT_TO_RIGHT);
        fold(r, &c, RIGHT_TO_LEFT);
        fold(r, &c, ANYHOW);
    }
    print_message("%zu pairs, %zu not composed\n", pairs, refused);
    return 100.0 * (double)(pairs - refused) / (double)pairs;
}

static void
two_deltas_make_one_of_the_same_effect(void **state)
{
    struct rng r = seeded();

    (void)state;
    assert_true(check_chains(&r, some_deltas, 60000, 2) > 95);
}

static void
chains_of_deltas_fold_in_any_order(void **state)
{
    struct rng r = seeded();

    (void)state;
    assert_true(check_chains(&r, some_deltas, 4000, MAX_CHAIN) > 95);
}

static void
two_modifiers_make_one_of_the_same_effect(void **state)
{
    struct rng r = seeded();

    (void)state;
    assert_true(check_chains(&r, some_v1, 60000, 2) > 8);
}

static void
chains_of_modifiers_fold_in_any_order(void **state)
{
    struct rng r = seeded();

    (void)state;
    assert_true(check_chains(&r, some_v1, 4000, MAX_CHAIN) > 8);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_deltas_make_one_of_the_same_effect),
        cmocka_unit_test(chains_of_deltas_fold_in_any_order),
        cmocka_unit_test(two_modifiers_make_one_of_the_same_effect),
        cmocka_unit_test(chains_of_modifiers_fold_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
