#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bson/bson.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oplog/docid.h"

static void
free_bson(bson_t **b)
{
    bson_destroy(*b);
}

/* The document {'x': <value>}; 'single quotes' stand for double ones. */
static bson_t *
doc(const char *value)
{
    char text[4096];
    bson_error_t err;
    bson_t *b;

    assert_true((size_t)snprintf(text, sizeof text, "{'x':%s}", value) < sizeof text);
    for (char *p = text; *p != '\0'; p++) {
        if (*p == '\'')
            *p = '"';
    }
    b = bson_new_from_json((const uint8_t *)text, -1, &err);
    if (b == NULL)
        fail_msg("%s: %s", value, err.message);
    return b;
}

static void
key_of_doc(struct buf *key, const bson_t *b)
{
    struct pitr_err err;
    struct belem e;
    bool found;

    assert_int_equal(bson_find(bson_get_data(b), b->len, "x", &found, &e, &err), PITR_OK);
    assert_true(found);
    buf_clear(key);
    assert_int_equal(docid_append(key, &e, &err), PITR_OK);
}

static void
key_of(struct buf *key, const char *value)
{
    PITR_AUTO(free_bson) bson_t *b = doc(value);

    key_of_doc(key, b);
}

static bool
same_bytes(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* Values of one class are equal to each other and to none of another class. */
static void
check_classes(const char *const (*classes)[6], size_t n)
{
    struct buf first[16] = {0};

    assert_true(n <= sizeof first / sizeof first[0]);
    for (size_t i = 0; i < n; i++) {
        PITR_AUTO(buf_release) struct buf key = {0};

        key_of(&first[i], classes[i][0]);
        for (size_t k = 1; k < 6 && classes[i][k] != NULL; k++) {
            key_of(&key, classes[i][k]);
            if (!same_bytes(&key, &first[i]))
                fail_msg("%s and %s differ", classes[i][0], classes[i][k]);
        }
        for (size_t k = 0; k < i; k++) {
            if (same_bytes(&first[k], &first[i]))
                fail_msg("%s and %s are equal", classes[k][0], classes[i][0]);
        }
    }
    for (size_t i = 0; i < n; i++)
        buf_release(&first[i]);
}

#define CHECK_CLASSES(classes) check_classes(classes, sizeof(classes) / sizeof((classes)[0]))

static void
whole_numbers_are_equal_across_types(void **state)
{
    static const char *const classes[][6] = {
        {"{'$numberInt':'1'}", "{'$numberLong':'1'}", "{'$numberDouble':'1.0'}",
         "{'$numberDecimal':'1'}", "{'$numberDecimal':'1.00'}", "{'$numberDecimal':'10E-1'}"},
        {"{'$numberInt':'0'}", "{'$numberLong':'0'}", "{'$numberDouble':'-0.0'}",
         "{'$numberDecimal':'-0'}", "{'$numberDecimal':'0E+40'}", "{'$numberDouble':'0.0'}"},
        {"{'$numberInt':'1000'}", "{'$numberDecimal':'1E3'}", "{'$numberDecimal':'1000.000'}"},
        {"{'$numberInt':'-7'}", "{'$numberDecimal':'-7'}", "{'$numberDouble':'-7.0'}"},
        {"{'$numberLong':'9223372036854775807'}", "{'$numberDecimal':'9223372036854775807'}"},
        {"{'$numberLong':'-9223372036854775808'}", "{'$numberDecimal':'-9223372036854775808'}",
         "{'$numberDouble':'-9223372036854775808'}"},
        {"{'$numberDouble':'9223372036854775808'}", "{'$numberDecimal':'9223372036854775808'}"},
        {"{'$numberDecimal':'9223372036854775809'}"},
    };

    (void)state;
    CHECK_CLASSES(classes);
}

static void
numbers_are_equal_only_if_exactly_equal(void **state)
{
    static const char *const classes[][6] = {
        {"{'$numberLong':'9007199254740993'}", "{'$numberDecimal':'9007199254740993'}"},
        {"{'$numberDouble':'9007199254740992'}", "{'$numberLong':'9007199254740992'}"},
        {"{'$numberDouble':'0.1'}"},
        {"{'$numberDecimal':'0.1'}", "{'$numberDecimal':'0.100'}"},
        {"{'$numberDouble':'0.5'}", "{'$numberDecimal':'0.5'}", "{'$numberDecimal':'5E-1'}",
         "{'$numberDecimal':'0.50'}"},
        {"{'$numberDouble':'-0.5'}", "{'$numberDecimal':'-0.5'}"},
        {"{'$numberDecimal':'-0.1'}"},
        {"{'$numberDouble':'1e20'}", "{'$numberDecimal':'1E20'}",
         "{'$numberDecimal':'100000000000000000000'}"},
        {"{'$numberDouble':'1e23'}"},
        {"{'$numberDecimal':'1E23'}"},
        {"{'$numberDouble':'3.552713678800501e-15'}", /* 2^-48 */
         "{'$numberDecimal':'3.552713678800500929355621337890625E-15'}"},
        {"{'$numberDouble':'1.7763568394002505e-15'}"}, /* 2^-49: 35 digits, no decimal */
        {"{'$numberDecimal':'1E+6111'}", "{'$numberDecimal':'10E+6110'}"},
        {"{'$numberDecimal':'1E-6176'}"},
    };

    (void)state;
    CHECK_CLASSES(classes);
}

static void
infinities_and_nan_have_one_form_each(void **state)
{
    static const char *const classes[][6] = {
        {"{'$numberDouble':'Infinity'}", "{'$numberDecimal':'Infinity'}"},
        {"{'$numberDouble':'-Infinity'}", "{'$numberDecimal':'-Infinity'}"},
        {"{'$numberDouble':'NaN'}", "{'$numberDecimal':'NaN'}"},
    };
    PITR_AUTO(free_bson) bson_t *b = doc("{'$numberDecimal':'NaN'}");
    PITR_AUTO(free_bson) bson_t *d = bson_new();
    PITR_AUTO(buf_release) struct buf a = {0};
    PITR_AUTO(buf_release) struct buf c = {0};
    uint64_t bits = 0xfff8000000000123ULL;
    double payload;

    (void)state;
    CHECK_CLASSES(classes);
    memcpy(&payload, &bits, sizeof payload);
    assert_true(BSON_APPEND_DOUBLE(d, "x", payload));
    key_of_doc(&a, b);
    key_of_doc(&c, d);
    assert_true(same_bytes(&a, &c));
}

static void
coefficients_beyond_34_digits_count_as_zero(void **state)
{
    /* 10^34 in the short form, then anything in the long form. */
    static const bson_decimal128_t bad[] = {
        {.low = 0x378d8e6400000000ULL, .high = 0x3041ed09bead87c0ULL},
        {.low = 12345, .high = 0x6c10000000000000ULL},
    };
    PITR_AUTO(buf_release) struct buf zero = {0};
    PITR_AUTO(buf_release) struct buf key = {0};

    (void)state;
    key_of(&zero, "0");
    for (size_t i = 0; i < 2; i++) {
        PITR_AUTO(free_bson) bson_t *b = bson_new();

        assert_true(BSON_APPEND_DECIMAL128(b, "x", &bad[i]));
        key_of_doc(&key, b);
        assert_true(same_bytes(&key, &zero));
    }
}

static void
numbers_inside_documents_and_arrays_compare_by_value(void **state)
{
    static const char *const classes[][6] = {
        {"{'a':{'$numberInt':'1'},'b':[{'$numberDouble':'2.0'}]}",
         "{'a':{'$numberLong':'1'},'b':[{'$numberDecimal':'2'}]}"},
        {"{'b':[2],'a':1}"},
        {"{'a':1,'b':[2,2]}"},
        {"{'a':1,'b':{'0':2}}"},
        {"{'a':1,'c':[2]}"},
        {"{'a':1}"},
        {"[1]", "[{'$numberDouble':'1.0'}]"},
        {"[[1]]"},
        {"[1,[]]"},
        {"[[],1]"},
        {"{}"},
        {"[]"},
    };

    (void)state;
    CHECK_CLASSES(classes);
}

static void
the_scope_of_code_compares_by_value(void **state)
{
    static const char *const classes[][6] = {
        {"{'$code':'f','$scope':{'a':{'$numberInt':'1'}}}",
         "{'$code':'f','$scope':{'a':{'$numberDouble':'1.0'}}}"},
        {"{'$code':'f','$scope':{'a':{'$numberInt':'2'}}}"},
        {"{'$code':'g','$scope':{'a':{'$numberInt':'1'}}}"},
        {"{'$code':'f'}"},
    };

    (void)state;
    CHECK_CLASSES(classes);
}

static void
a_symbol_is_a_string(void **state)
{
    static const char *const classes[][6] = {
        {"'abc'", "{'$symbol':'abc'}"},
        {"'abcd'"},
        {"''"},
        {"'ab\\u0000c'"},
    };

    (void)state;
    CHECK_CLASSES(classes);
}

static void
other_values_keep_type_and_bytes(void **state)
{
    static const char *const classes[][6] = {
        {"true"},
        {"false"},
        {"1"},
        {"null"},
        {"{'$oid':'0102030405060708090a0b0c'}"},
        {"{'$binary':{'base64':'AQIDBAUGBwgJCgsMDQ4PEA==','subType':'04'}}"},
        {"{'$binary':{'base64':'AQIDBAUGBwgJCgsMDQ4PEA==','subType':'03'}}"},
        {"{'$date':{'$numberLong':'1'}}"},
        {"{'$timestamp':{'t':0,'i':1}}"},
        {"{'$regularExpression':{'pattern':'a','options':'i'}}"},
        {"{'$minKey':1}"},
        {"{'$maxKey':1}"},
        {"'1'"},
        {"{'$undefined':true}"},
    };

    (void)state;
    CHECK_CLASSES(classes);
}

static void
keys_are_appended(void **state)
{
    PITR_AUTO(free_bson) bson_t *b = doc("{'$oid':'0102030405060708090a0b0c'}");
    PITR_AUTO(buf_release) struct buf key = {0};
    struct pitr_err err;
    struct belem e;
    bool found;

    (void)state;
    assert_int_equal(bson_find(bson_get_data(b), b->len, "x", &found, &e, &err), PITR_OK);
    assert_int_equal(buf_append(&key, "ns", 2, &err), PITR_OK);
    assert_int_equal(docid_append(&key, &e, &err), PITR_OK);
    assert_int_equal(key.len, 2 + 1 + 12);
    assert_memory_equal(key.data, "ns\x07\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c", key.len);
}

/* Documents in each other, `levels` in all, around a number. */
static bson_t *
nested(int levels)
{
    bson_t *inner = doc("1");

    for (int i = 0; i < levels; i++) {
        bson_t *outer = bson_new();

        assert_true(BSON_APPEND_DOCUMENT(outer, "x", inner));
        bson_destroy(inner);
        inner = outer;
    }
    return inner;
}

static void
nesting_is_bounded(void **state)
{
    PITR_AUTO(free_bson) bson_t *fits = nested(BSON_MAX_DEPTH);
    PITR_AUTO(free_bson) bson_t *deep = nested(BSON_MAX_DEPTH + 1);
    PITR_AUTO(buf_release) struct buf key = {0};
    struct pitr_err err;
    struct belem e;
    bool found;

    (void)state;
    key_of_doc(&key, fits);
    buf_clear(&key);
    assert_int_equal(bson_find(bson_get_data(deep), deep->len, "x", &found, &e, &err), PITR_OK);
    assert_int_equal(docid_append(&key, &e, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "_id nested deeper than 250 levels");
    assert_int_equal(key.len, 0);
}

static uint32_t
random_u32(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33);
}

/* A number in a random one of its forms; *value says which number it is. */
static bool
random_number(bson_t *b, uint64_t *seed, double *value)
{
    int mantissa = (int)(random_u32(seed) % 4001) - 2000, shift = (int)(random_u32(seed) % 30);
    bson_decimal128_t dec;
    char text[64];

    *value = (double)mantissa / (double)(1 << shift);
    switch (random_u32(seed) % 3) {
    case 0:
        return BSON_APPEND_DOUBLE(b, "x", *value);
    case 1: /* an exact decimal expansion: 2^-29 has 29 digits after the point */
        snprintf(text, sizeof text, "%.29f", *value);
        /* libbson refuses what needs more than 34 digits; the double then stands for it. */
        if (!bson_decimal128_from_string(text, &dec))
            return BSON_APPEND_DOUBLE(b, "x", *value);
        return BSON_APPEND_DECIMAL128(b, "x", &dec);
    default:
        if (*value != (double)(int32_t)*value)
            return BSON_APPEND_DOUBLE(b, "x", *value);
        return BSON_APPEND_INT64(b, "x", (int64_t)*value);
    }
}

static void
random_numbers_have_equal_keys_iff_they_are_equal(void **state)
{
    const char *env = getenv("SEED");
    uint64_t seed = env == NULL ? 20240607U : strtoull(env, NULL, 10);

    (void)state;
    print_message("SEED=%" PRIu64 "\n", seed);
    for (int i = 0; i < 20000; i++) {
        PITR_AUTO(free_bson) bson_t *a = bson_new();
        PITR_AUTO(free_bson) bson_t *b = bson_new();
        PITR_AUTO(buf_release) struct buf ka = {0};
        PITR_AUTO(buf_release) struct buf kb = {0};
        double x, y;

        assert_true(random_number(a, &seed, &x));
        /* Half of the pairs are one number in two forms. */
        if (i % 2 == 0) {
            y = x;
            assert_true(BSON_APPEND_DOUBLE(b, "x", x));
        } else {
            assert_true(random_number(b, &seed, &y));
        }
        key_of_doc(&ka, a);
        key_of_doc(&kb, b);
        if (same_bytes(&ka, &kb) != (x == y))
            fail_msg("%.30g and %.30g", x, y);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_equal_across_types),
        cmocka_unit_test(numbers_are_equal_only_if_exactly_equal),
        cmocka_unit_test(infinities_and_nan_have_one_form_each),
        cmocka_unit_test(coefficients_beyond_34_digits_count_as_zero),
        cmocka_unit_test(numbers_inside_documents_and_arrays_compare_by_value),
        cmocka_unit_test(the_scope_of_code_compares_by_value),
        cmocka_unit_test(a_symbol_is_a_string),
        cmocka_unit_test(other_values_keep_type_and_bytes),
        cmocka_unit_test(keys_are_appended),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(random_numbers_have_equal_keys_iff_they_are_equal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
