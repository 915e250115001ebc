#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "mongo/bsonio.h"

/* A document under construction; element by element, then doc_close(). */
static void
doc_open(struct buf *b)
{
    struct pitr_err err;

    buf_clear(b);
    assert_int_equal(buf_append_le32(b, 0, &err), PITR_OK);
}

static void
doc_add(struct buf *b, uint8_t type, const char *name, const void *value, size_t len)
{
    struct pitr_err err;

    assert_int_equal(buf_append_u8(b, type, &err), PITR_OK);
    assert_int_equal(buf_append(b, name, strlen(name) + 1, &err), PITR_OK);
    assert_int_equal(buf_append(b, value, len, &err), PITR_OK);
}

static void
doc_close(struct buf *b)
{
    struct pitr_err err;

    assert_int_equal(buf_append_u8(b, 0, &err), PITR_OK);
    put_le32(b->data, (uint32_t)b->len);
}

/* One element and its name, "x". */
static void
doc_of(struct buf *b, uint8_t type, const void *value, size_t len)
{
    doc_open(b);
    doc_add(b, type, "x", value, len);
    doc_close(b);
}

static struct belem
only_element(const struct buf *b)
{
    struct pitr_err err;
    struct belem e;
    bool found;

    assert_int_equal(bson_find(b->data, b->len, "x", &found, &e, &err), PITR_OK);
    assert_true(found);
    return e;
}

/* Values of every type that the specification has, with their lengths. */
static const struct sample {
    uint8_t type;
    size_t len;
    const char *value;
} samples[] = {
    {BSON_DOUBLE, 8, "\0\0\0\0\0\0\xf0\x3f"},
    {BSON_STRING, 8, "\4\0\0\0a\0b\0"},
    {BSON_DOC, 12, "\x0c\0\0\0\x10y\0\1\0\0\0\0"},
    {BSON_ARRAY, 8, "\x08\0\0\0\x0a\x30\0\0"},
    {BSON_BIN, 7, "\2\0\0\0\0ab"},
    {BSON_UNDEF, 0, ""},
    {BSON_ID, 12, "abcdefghijkl"},
    {BSON_BOOLEAN, 1, "\1"},
    {BSON_DATE, 8, "abcdefgh"},
    {BSON_NIL, 0, ""},
    {BSON_REGEXP, 5, "ab\0i\0"},
    {BSON_DBPTR, 18, "\2\0\0\0a\0abcdefghijkl"},
    {BSON_JSCODE, 6, "\2\0\0\0a\0"},
    {BSON_SYM, 6, "\2\0\0\0a\0"},
    {BSON_JSSCOPE, 18, "\x12\0\0\0\2\0\0\0f\0\x08\0\0\0\x0ay\0\0"},
    {BSON_INT, 4, "\5\0\0\0"},
    {BSON_TS, 8, "abcdefgh"},
    {BSON_LONG, 8, "\6\0\0\0\0\0\0\0"},
    {BSON_DEC128, 16, "abcdefghijklmnop"},
    {BSON_MAX, 0, ""},
    {BSON_MIN, 0, ""},
};

enum { SAMPLES = sizeof samples / sizeof samples[0] };

static void
doc_of_all_samples(struct buf *b)
{
    char name[2] = "a";

    doc_open(b);
    for (size_t i = 0; i < SAMPLES; i++, name[0]++)
        doc_add(b, samples[i].type, name, samples[i].value, samples[i].len);
    doc_close(b);
}

static void
every_type_is_walked_element_by_element(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;
    struct biter it;
    struct belem e;
    const uint8_t *at;

    (void)state;
    doc_of_all_samples(&b);
    assert_int_equal(bson_check(b.data, b.len, &err), PITR_OK);
    assert_int_equal(biter_init(&it, b.data, b.len, &err), PITR_OK);
    at = b.data + 4;
    for (size_t i = 0; i < SAMPLES; i++) {
        assert_int_equal(biter_next(&it, &e, &err), PITR_OK);
        assert_int_equal(e.type, samples[i].type);
        assert_ptr_equal(e.start, at);
        assert_int_equal(e.name_len, 1);
        assert_int_equal(e.name[0], 'a' + (int)i);
        assert_int_equal(e.value_len, samples[i].len);
        assert_memory_equal(e.value, samples[i].value, samples[i].len);
        assert_ptr_equal(e.end, e.value + e.value_len);
        at = e.end;
    }
    for (int again = 0; again < 2; again++) {
        assert_int_equal(biter_next(&it, &e, &err), PITR_OK);
        assert_int_equal(e.type, BSON_EOD);
    }
}

static void
any_truncation_is_corrupt(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    (void)state;
    doc_of_all_samples(&b);
    for (size_t len = 0; len < b.len; len++) {
        /* A heap copy of exactly this length lets the sanitizer see any read beyond it. */
        uint8_t *cut = malloc(len + 1);

        assert_non_null(cut);
        memcpy(cut, b.data, len);
        assert_int_equal(bson_check(cut, len, &err), PITR_CORRUPT);
        free(cut);
    }
}

static void
values_that_do_not_fit_are_corrupt(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        for (size_t len = 0; len < samples[i].len; len++) {
            doc_of(&b, samples[i].type, samples[i].value, len);
            assert_int_equal(bson_check(b.data, b.len, &err), PITR_CORRUPT);
        }
    }
}

static void
lengths_that_lie_are_corrupt(void **state)
{
    static const struct {
        uint8_t type;
        size_t len;
        const char *value;
    } bad[] = {
        {BSON_STRING, 6, "\0\0\0\0a\0"}, /* no room for the NUL */
        {BSON_STRING, 6,
         "\xff\xff\xff\xff" /* negative */
         "a\0"},
        {BSON_STRING, 6, "\2\0\0\0ab"},                          /* no NUL */
        {BSON_BIN, 5, "\xff\xff\xff\xff\0"},                     /* negative */
        {BSON_BIN, 6, "\2\0\0\0\0a"},                            /* longer than the document */
        {BSON_DOC, 5, "\4\0\0\0\0"},                             /* shorter than the shortest */
        {BSON_DOC, 5, "\6\0\0\0\0"},                             /* longer than the document */
        {BSON_DOC, 5, "\5\0\0\0\1"},                             /* no closing NUL */
        {BSON_ARRAY, 8, "\x08\0\0\0\x10\x30\0\0"},               /* a bad element inside */
        {BSON_JSSCOPE, 15, "\x0f\0\0\0\3\0\0\0f\0\5\0\0\0\0"},   /* code runs into the scope */
        {BSON_JSSCOPE, 16, "\x10\0\0\0\2\0\0\0f\0\5\0\0\0\0\0"}, /* bytes after the scope */
        {BSON_REGEXP, 3, "a\0b"}, /* options not ended in the document */
    };
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        doc_of(&b, bad[i].type, bad[i].value, bad[i].len);
        if (bson_check(b.data, b.len, &err) != PITR_CORRUPT)
            fail_msg("bad value %zu is accepted", i);
    }
}

static void
errors_name_the_field_and_the_type(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    (void)state;
    doc_of(&b, 0x14, "abcd", 4);
    assert_int_equal(bson_check(b.data, b.len, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "bson field x: unknown type 0x14");
    doc_of(&b, BSON_INT, "abc", 3);
    assert_int_equal(bson_check(b.data, b.len, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "bson field x: bad length of its value of type 0x10");
    assert_int_equal(bson_check(b.data, b.len - 1, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "bson document: length field does not match 10 bytes");
    b.data[b.len - 1] = 1;
    assert_int_equal(bson_check(b.data, b.len, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "bson document of 11 bytes: no closing NUL");
}

static void
a_name_must_end_inside_the_document(void **state)
{
    static const uint8_t doc[] = {8, 0, 0, 0, BSON_NIL, 'a', 'b', 0};
    struct pitr_err err;

    (void)state;
    assert_int_equal(bson_check(doc, sizeof doc, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "bson field name without a closing NUL");
}

static void
a_nul_before_the_end_is_corrupt(void **state)
{
    static const uint8_t doc[] = {7, 0, 0, 0, 0, 0, 0};
    struct pitr_err err;

    (void)state;
    assert_int_equal(bson_check(doc, sizeof doc, &err), PITR_CORRUPT);
}

/* Documents inside each other, `levels` in all. */
static void
nested(struct buf *b, int levels)
{
    PITR_AUTO(buf_release) struct buf inner = {0};

    doc_open(b);
    doc_close(b);
    for (int i = 1; i < levels; i++) {
        struct buf swap = inner;

        inner = *b;
        *b = swap;
        doc_of(b, i % 2 == 0 ? BSON_DOC : BSON_ARRAY, inner.data, inner.len);
    }
}

static void
nesting_is_bounded(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    (void)state;
    nested(&b, BSON_MAX_DEPTH);
    assert_int_equal(bson_check(b.data, b.len, &err), PITR_OK);
    nested(&b, BSON_MAX_DEPTH + 1);
    assert_int_equal(bson_check(b.data, b.len, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "bson document nested deeper than 250 levels");
}

static void
the_scope_of_code_is_checked_too(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    (void)state;
    /* The scope's element has an unknown type. */
    doc_of(&b, BSON_JSSCOPE, "\x12\0\0\0\2\0\0\0f\0\x08\0\0\0\x66y\0\0", 18);
    assert_int_equal(bson_check(b.data, b.len, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "bson field y: unknown type 0x66");
}

static void
find_returns_the_first_of_a_name(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;
    struct belem e;
    int64_t v = 0;
    bool found;

    (void)state;
    doc_open(&b);
    doc_add(&b, BSON_INT, "xy", "\1\0\0\0", 4);
    doc_add(&b, BSON_INT, "x", "\2\0\0\0", 4);
    doc_add(&b, BSON_INT, "x", "\3\0\0\0", 4);
    doc_close(&b);
    assert_int_equal(bson_find(b.data, b.len, "x", &found, &e, &err), PITR_OK);
    assert_true(found && belem_int64(&e, &v));
    assert_int_equal(v, 2);
    assert_int_equal(bson_find(b.data, b.len, "y", &found, &e, &err), PITR_OK);
    assert_false(found);
    assert_int_equal(bson_find(b.data, b.len, "", &found, &e, &err), PITR_OK);
    assert_false(found);
}

static struct belem
double_element(struct buf *b, double d)
{
    doc_of(b, BSON_DOUBLE, &d, sizeof d);
    return only_element(b);
}

static void
integers_of_all_types_are_read(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct belem e;
    int64_t v = 0;

    (void)state;
    doc_of(&b, BSON_INT, "\xfe\xff\xff\xff", 4);
    e = only_element(&b);
    assert_true(belem_int64(&e, &v) && v == -2);
    doc_of(&b, BSON_LONG, "\0\0\0\0\0\0\0\x80", 8);
    e = only_element(&b);
    assert_true(belem_int64(&e, &v) && v == INT64_MIN);
    e = double_element(&b, -0x1p63);
    assert_true(belem_int64(&e, &v) && v == INT64_MIN);
    e = double_element(&b, -0.0);
    assert_true(belem_int64(&e, &v) && v == 0);
}

static void
what_is_no_integer_is_not_read_as_one(void **state)
{
    static const double others[] = {0.5, 0x1p63, -0x1.8p63, NAN, INFINITY, -INFINITY};
    PITR_AUTO(buf_release) struct buf b = {0};
    struct belem e;
    int64_t v = 0;

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        e = double_element(&b, others[i]);
        assert_false(belem_int64(&e, &v));
    }
    doc_of(&b, BSON_DATE, "\1\0\0\0\0\0\0\0", 8);
    e = only_element(&b);
    assert_false(belem_int64(&e, &v));
}

static void
truth_is_true_or_a_number_that_is_not_zero(void **state)
{
    static const struct {
        uint8_t type;
        bool truth;
        size_t len;
        const char *value;
    } cases[] = {
        {BSON_BOOLEAN, true, 1, "\1"},
        {BSON_BOOLEAN, false, 1, "\0"},
        {BSON_INT, true, 4, "\0\0\1\0"},
        {BSON_INT, false, 4, "\0\0\0\0"},
        {BSON_LONG, true, 8, "\0\0\0\0\0\0\0\1"},
        {BSON_LONG, false, 8, "\0\0\0\0\0\0\0\0"},
        {BSON_DOUBLE, true, 8, "\1\0\0\0\0\0\0\0"},
        {BSON_DOUBLE, false, 8, "\0\0\0\0\0\0\0\x80"},
        {BSON_DOUBLE, true, 8, "\0\0\0\0\0\0\xf8\x7f"},
        {BSON_DEC128, true, 16, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\x30"},
        {BSON_DEC128, false, 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\xb0"},
        {BSON_DEC128, true, 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x7c"},
        {BSON_DEC128, true, 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xf8"},
        {BSON_DEC128, false, 16, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x6c"}, /* not canonical */
        {BSON_STRING, false, 6, "\2\0\0\0a\0"},
        {BSON_NIL, false, 0, ""},
    };
    PITR_AUTO(buf_release) struct buf b = {0};
    struct belem e;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        doc_of(&b, cases[i].type, cases[i].value, cases[i].len);
        e = only_element(&b);
        if (belem_truthy(&e) != cases[i].truth)
            fail_msg("case %zu", i);
    }
}

static void
strings_may_hold_nul(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct belem e;
    const char *text;
    size_t len;

    (void)state;
    doc_of(&b, BSON_STRING, "\4\0\0\0a\0b\0", 8);
    e = only_element(&b);
    assert_true(belem_string(&e, &text, &len));
    assert_int_equal(len, 3);
    assert_memory_equal(text, "a\0b", 4);
    doc_of(&b, BSON_SYM, "\2\0\0\0a\0", 6);
    e = only_element(&b);
    assert_false(belem_string(&e, &text, &len));
}

static void
only_subtype_four_of_sixteen_bytes_is_a_uuid(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct belem e;
    const uint8_t *uuid;

    (void)state;
    doc_of(&b, BSON_BIN, "\x10\0\0\0\4abcdefghijklmnop", 21);
    e = only_element(&b);
    assert_true(belem_uuid(&e, &uuid));
    assert_memory_equal(uuid, "abcdefghijklmnop", 16);
    doc_of(&b, BSON_BIN, "\x10\0\0\0\3abcdefghijklmnop", 21);
    e = only_element(&b);
    assert_false(belem_uuid(&e, &uuid));
    doc_of(&b, BSON_BIN, "\x0f\0\0\0\4abcdefghijklmno", 20);
    e = only_element(&b);
    assert_false(belem_uuid(&e, &uuid));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_walked_element_by_element),
        cmocka_unit_test(any_truncation_is_corrupt),
        cmocka_unit_test(values_that_do_not_fit_are_corrupt),
        cmocka_unit_test(lengths_that_lie_are_corrupt),
        cmocka_unit_test(errors_name_the_field_and_the_type),
        cmocka_unit_test(a_name_must_end_inside_the_document),
        cmocka_unit_test(a_nul_before_the_end_is_corrupt),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(the_scope_of_code_is_checked_too),
        cmocka_unit_test(find_returns_the_first_of_a_name),
        cmocka_unit_test(integers_of_all_types_are_read),
        cmocka_unit_test(what_is_no_integer_is_not_read_as_one),
        cmocka_unit_test(truth_is_true_or_a_number_that_is_not_zero),
        cmocka_unit_test(strings_may_hold_nul),
        cmocka_unit_test(only_subtype_four_of_sixteen_bytes_is_a_uuid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
