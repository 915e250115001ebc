/*
 * BSON to Extended JSON: canonical output is read back to the same bytes, and is always JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <bson/bson.h>

#include "mongo/extjson.h"
#include "mongo/extjson_write.h"

static void
write_text(struct buf *out, const bson_t *doc, enum extjson_form form)
{
    struct pitr_err err;

    assert_int_equal(extjson_write_doc(out, bson_get_data(doc), doc->len, form, 0, &err), PITR_OK);
    assert_int_equal(buf_append_u8(out, 0, &err), PITR_OK);
}

static void
expect(const bson_t *doc, const char *canonical, const char *relaxed)
{
    PITR_AUTO(buf_release) struct buf out = {0}, again = {0};
    struct pitr_err err;

    write_text(&out, doc, EXTJSON_CANONICAL);
    assert_string_equal((char *)out.data, canonical);
    assert_int_equal(extjson_parse(&again, (char *)out.data, out.len - 1, &err), PITR_OK);
    assert_int_equal(again.len, doc->len);
    assert_memory_equal(again.data, bson_get_data(doc), doc->len);
    buf_clear(&out);
    write_text(&out, doc, EXTJSON_RELAXED);
    assert_string_equal((char *)out.data, relaxed);
}

#define EXPECT(doc, canonical, relaxed)                                                            \
    do {                                                                                           \
        bson_t *d = (doc);                                                                         \
                                                                                                   \
        expect(d, canonical, relaxed);                                                             \
        bson_destroy(d);                                                                           \
    } while (0)

static void
numbers_keep_type_and_value(void **state)
{
    (void)state;
    EXPECT(BCON_NEW("a", BCON_INT32(-5), "b", BCON_INT64(INT64_MIN)),
           "{\"a\":{\"$numberInt\":\"-5\"},\"b\":{\"$numberLong\":\"-9223372036854775808\"}}",
           "{\"a\":-5,\"b\":-9223372036854775808}");
    EXPECT(BCON_NEW("a", BCON_DOUBLE(0.1), "b", BCON_DOUBLE(3), "c", BCON_DOUBLE(1e300)),
           "{\"a\":{\"$numberDouble\":\"0.1\"},\"b\":{\"$numberDouble\":\"3.0\"},"
           "\"c\":{\"$numberDouble\":\"1e+300\"}}",
           "{\"a\":0.1,\"b\":3.0,\"c\":1e+300}");
    EXPECT(BCON_NEW("a", BCON_DOUBLE(-0.0), "b", BCON_DOUBLE(1.0 / 3), "c",
                    BCON_DOUBLE(-__builtin_inf())),
           "{\"a\":{\"$numberDouble\":\"-0.0\"},\"b\":{\"$numberDouble\":\"0.3333333333333333\"},"
           "\"c\":{\"$numberDouble\":\"-Infinity\"}}",
           "{\"a\":-0.0,\"b\":0.3333333333333333,\"c\":{\"$numberDouble\":\"-Infinity\"}}");
}

static void
every_other_type_is_kept(void **state)
{
    bson_decimal128_t decimal;
    bson_oid_t oid;
    bson_t scope = BSON_INITIALIZER;

    (void)state;
    assert_true(bson_decimal128_from_string("1.50", &decimal));
    bson_oid_init_from_string(&oid, "507f1f77bcf86cd799439011");
    bson_append_int32(&scope, "x", 1, 1);
    EXPECT(BCON_NEW("a", BCON_DECIMAL128(&decimal), "b", BCON_OID(&oid), "c", BCON_NULL, "d",
                    BCON_UNDEFINED, "e", BCON_BOOL(true), "f", BCON_MINKEY, "g", BCON_MAXKEY),
           "{\"a\":{\"$numberDecimal\":\"1.50\"},\"b\":{\"$oid\":\"507f1f77bcf86cd799439011\"},"
           "\"c\":null,\"d\":{\"$undefined\":true},\"e\":true,\"f\":{\"$minKey\":1},"
           "\"g\":{\"$maxKey\":1}}",
           "{\"a\":{\"$numberDecimal\":\"1.50\"},\"b\":{\"$oid\":\"507f1f77bcf86cd799439011\"},"
           "\"c\":null,\"d\":{\"$undefined\":true},\"e\":true,\"f\":{\"$minKey\":1},"
           "\"g\":{\"$maxKey\":1}}");
    EXPECT(BCON_NEW("a", BCON_REGEX("^\"a\"", "im"), "b", BCON_CODE("f()"), "c", BCON_SYMBOL("s"),
                    "d", BCON_CODEWSCOPE("g()", &scope), "e", BCON_DBPOINTER("db.c", &oid), "f",
                    BCON_TIMESTAMP(1795442587, 7)),
           "{\"a\":{\"$regularExpression\":{\"pattern\":\"^\\\"a\\\"\",\"options\":\"im\"}},"
           "\"b\":{\"$code\":\"f()\"},\"c\":{\"$symbol\":\"s\"},"
           "\"d\":{\"$code\":\"g()\",\"$scope\":{\"x\":{\"$numberInt\":\"1\"}}},"
           "\"e\":{\"$dbPointer\":{\"$ref\":\"db.c\",\"$id\":"
           "{\"$oid\":\"507f1f77bcf86cd799439011\"}}},"
           "\"f\":{\"$timestamp\":{\"t\":1795442587,\"i\":7}}}",
           "{\"a\":{\"$regularExpression\":{\"pattern\":\"^\\\"a\\\"\",\"options\":\"im\"}},"
           "\"b\":{\"$code\":\"f()\"},\"c\":{\"$symbol\":\"s\"},"
           "\"d\":{\"$code\":\"g()\",\"$scope\":{\"x\":1}},"
           "\"e\":{\"$dbPointer\":{\"$ref\":\"db.c\",\"$id\":"
           "{\"$oid\":\"507f1f77bcf86cd799439011\"}}},"
           "\"f\":{\"$timestamp\":{\"t\":1795442587,\"i\":7}}}");
    bson_destroy(&scope);
}

static void
binary_of_every_length_is_base64(void **state)
{
    static const uint8_t bytes[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                      0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

    (void)state;
    EXPECT(BCON_NEW("a", BCON_BIN(BSON_SUBTYPE_USER, bytes, 0), "b",
                    BCON_BIN(BSON_SUBTYPE_BINARY, bytes, 1), "c",
                    BCON_BIN(BSON_SUBTYPE_BINARY, bytes, 2), "d",
                    BCON_BIN(BSON_SUBTYPE_BINARY, bytes, 3)),
           "{\"a\":{\"$binary\":{\"base64\":\"\",\"subType\":\"80\"}},"
           "\"b\":{\"$binary\":{\"base64\":\"AA==\",\"subType\":\"00\"}},"
           "\"c\":{\"$binary\":{\"base64\":\"ABE=\",\"subType\":\"00\"}},"
           "\"d\":{\"$binary\":{\"base64\":\"ABEi\",\"subType\":\"00\"}}}",
           "{\"a\":{\"$binary\":{\"base64\":\"\",\"subType\":\"80\"}},"
           "\"b\":{\"$binary\":{\"base64\":\"AA==\",\"subType\":\"00\"}},"
           "\"c\":{\"$binary\":{\"base64\":\"ABE=\",\"subType\":\"00\"}},"
           "\"d\":{\"$binary\":{\"base64\":\"ABEi\",\"subType\":\"00\"}}}");
    EXPECT(BCON_NEW("u", BCON_BIN(BSON_SUBTYPE_UUID, bytes, 16)),
           "{\"u\":{\"$binary\":{\"base64\":\"ABEiM0RVZneImaq7zN3u/w==\",\"subType\":\"04\"}}}",
           "{\"u\":{\"$uuid\":\"00112233-4455-6677-8899-aabbccddeeff\"}}");
}

static void
dates_within_rfc_3339_are_text_for_people(void **state)
{
    (void)state;
    EXPECT(BCON_NEW("a", BCON_DATE_TIME(1795442587042), "b", BCON_DATE_TIME(-1), "c",
                    BCON_DATE_TIME(253402300800000)),
           "{\"a\":{\"$date\":{\"$numberLong\":\"1795442587042\"}},"
           "\"b\":{\"$date\":{\"$numberLong\":\"-1\"}},"
           "\"c\":{\"$date\":{\"$numberLong\":\"253402300800000\"}}}",
           "{\"a\":{\"$date\":\"2026-11-23T14:03:07.042Z\"},"
           "\"b\":{\"$date\":{\"$numberLong\":\"-1\"}},"
           "\"c\":{\"$date\":{\"$numberLong\":\"253402300800000\"}}}");
}

static void
documents_and_arrays_nest(void **state)
{
    (void)state;
    EXPECT(BCON_NEW("a", "[", "{", "b", "[", "]", "}", BCON_NULL, "]", "", "{", "}"),
           "{\"a\":[{\"b\":[]},null],\"\":{}}", "{\"a\":[{\"b\":[]},null],\"\":{}}");
}

/* A string as the value of "s", whatever its bytes. */
static void
string_is(const char *bytes, size_t len, const char *json)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;

    assert_int_equal(extjson_write_chars(&out, bytes, len, &err), PITR_OK);
    assert_int_equal(out.len, strlen(json));
    assert_memory_equal(out.data, json, out.len);
}

static void
nothing_in_a_string_reaches_a_terminal_as_a_command(void **state)
{
    (void)state;
    string_is("a\0b\x1b[31m\x7f\n\t\"\\", 13, "a\\u0000b\\u001b[31m\\u007f\\n\\t\\\"\\\\");
    string_is("\xc2\x9b"
              "31m \xe2\x80\xae \xc2\xa0\xc3\xa9",
              14, "\\u009b31m \\u202e \xc2\xa0\xc3\xa9");
}

static void
what_is_no_utf8_becomes_the_replacement_character(void **state)
{
    (void)state;
    string_is("\xff"
              "a\xc3",
              3, "\\ufffda\\ufffd");
    string_is("\xc0\x80\xed\xa0\x80", 5, "\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd");
    string_is("\xf0\x9f\x98\x80\xf4\x90\x80\x80", 8,
              "\xf0\x9f\x98\x80\\ufffd\\ufffd\\ufffd\\ufffd");
}

static void
a_bound_saves_the_work_of_the_rest(void **state)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    bson_t doc = BSON_INITIALIZER;
    static char big[1 << 16];
    struct pitr_err err;

    (void)state;
    memset(big, 'x', sizeof big);
    for (int i = 0; i < 100; i++)
        bson_append_utf8(&doc, "k", 1, big, sizeof big);
    assert_int_equal(
        extjson_write_doc(&out, bson_get_data(&doc), doc.len, EXTJSON_RELAXED, 200, &err), PITR_OK);
    assert_in_range(out.len, 200, 210);
    bson_destroy(&doc);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_type_and_value),
        cmocka_unit_test(every_other_type_is_kept),
        cmocka_unit_test(binary_of_every_length_is_base64),
        cmocka_unit_test(dates_within_rfc_3339_are_text_for_people),
        cmocka_unit_test(documents_and_arrays_nest),
        cmocka_unit_test(nothing_in_a_string_reaches_a_terminal_as_a_command),
        cmocka_unit_test(what_is_no_utf8_becomes_the_replacement_character),
        cmocka_unit_test(a_bound_saves_the_work_of_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
