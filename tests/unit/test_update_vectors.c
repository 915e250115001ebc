/*
 * Every update that a real server made, byte for byte: each line of a vector file holds the stored
 * document before an oplog entry, the entry, and the stored document after it. The fuzzy files hold
 * entries applied to documents they were not made for.
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

#include "base/buf.h"
#include "mongo/bsonio.h"
#include "oplog/update.h"

static void
free_bson(bson_t **b)
{
    bson_destroy(*b);
}

static void
free_line(char **line)
{
    free(*line);
}

static FILE *
open_vectors(const char *file)
{
    const char *dir = getenv("PITR_TEST_VECTORS");
    char path[4096];
    FILE *f;

    if (dir == NULL)
        dir = PITR_SOURCE_DIR "/tests/vectors";
    assert_true((size_t)snprintf(path, sizeof path, "%s/%s", dir, file) < sizeof path);
    f = fopen(path, "r");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    return f;
}

/* The document at a dotted path of a vector; it must be there. */
static struct belem
part(const bson_t *vector, const char *path)
{
    struct belem e = {0};
    bson_iter_t it, at;
    const uint8_t *data;
    uint32_t len;

    assert_true(bson_iter_init(&it, vector));
    assert_true(bson_iter_find_descendant(&it, path, &at));
    bson_iter_document(&at, &len, &data);
    e.value = data;
    e.value_len = len;
    return e;
}

static const char *
vector_name(const bson_t *vector)
{
    bson_iter_t it;

    assert_true(bson_iter_init_find(&it, vector, "name"));
    return bson_iter_utf8(&it, NULL);
}

static void
assert_same_doc(const char *name, const char *what, const struct buf *got, const uint8_t *want,
                size_t want_len)
{
    bson_t g, w;

    if (got->len == want_len && memcmp(got->data, want, want_len) == 0)
        return;
    assert_true(bson_init_static(&g, got->data, got->len));
    assert_true(bson_init_static(&w, want, want_len));
    fail_msg("%s: %s\n got  %s\n want %s", name, what, bson_as_canonical_extended_json(&g, NULL),
             bson_as_canonical_extended_json(&w, NULL));
}

static void
check_vector(const bson_t *vector, enum update_field_order order, bool strict)
{
    PITR_AUTO(buf_release) struct buf once = {0};
    PITR_AUTO(buf_release) struct buf twice = {0};
    struct belem pre = part(vector, "pre"), o = part(vector, "op.o"), post = part(vector, "post");
    const char *name = vector_name(vector);
    struct pitr_err err;

    assert_int_equal(bson_check(pre.value, pre.value_len, &err), PITR_OK);
    assert_int_equal(bson_check(o.value, o.value_len, &err), PITR_OK);
    if (update_apply(&once, pre.value, pre.value_len, o.value, o.value_len, order, strict, &err) !=
        PITR_OK)
        fail_msg("%s: %s", name, err.msg);
    assert_same_doc(name, "result", &once, post.value, post.value_len);
    if (update_apply(&twice, once.data, once.len, o.value, o.value_len, order, strict, &err) !=
        PITR_OK)
        fail_msg("%s again: %s", name, err.msg);
    assert_same_doc(name, "result of applying twice", &twice, once.data, once.len);
}

/* Run all lines of a file; the count guards against a file that lost some. */
static void
check_file(const char *file, size_t count, enum update_field_order order, bool strict)
{
    PITR_AUTO(free_line) char *line = NULL;
    FILE *f = open_vectors(file);
    size_t cap = 0, n = 0;
    ssize_t len;

    while ((len = getline(&line, &cap, f)) > 0) {
        bson_error_t parse_err;
        PITR_AUTO(free_bson)
        bson_t *vector = bson_new_from_json((const uint8_t *)line, len, &parse_err);

        if (vector == NULL)
            fail_msg("%s line %zu: %s", file, n + 1, parse_err.message);
        check_vector(vector, order, strict);
        n++;
    }
    assert_int_equal(fclose(f), 0);
    assert_int_equal(n, count);
}

static void
deltas_give_the_stored_bytes(void **state)
{
    (void)state;
    check_file("oplog-vectors.jsonl", 439, FIELD_ORDER_NUMERIC, true);
}

static void
deltas_on_other_documents_give_the_stored_bytes(void **state)
{
    (void)state;
    check_file("oplog-vectors-fuzzy.jsonl", 400, FIELD_ORDER_NUMERIC, false);
}

static void
modifiers_give_the_stored_bytes(void **state)
{
    (void)state;
    check_file("oplog-vectors-v1.jsonl", 342, FIELD_ORDER_BYTES, true);
}

static void
modifiers_on_other_documents_give_the_stored_bytes(void **state)
{
    (void)state;
    check_file("oplog-vectors-v1-fuzzy.jsonl", 266, FIELD_ORDER_BYTES, false);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deltas_give_the_stored_bytes),
        cmocka_unit_test(deltas_on_other_documents_give_the_stored_bytes),
        cmocka_unit_test(modifiers_give_the_stored_bytes),
        cmocka_unit_test(modifiers_on_other_documents_give_the_stored_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
