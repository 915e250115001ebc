/*
 * Extended JSON to BSON: libbson prints what was read, in canonical form.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bson/bson.h>
#include <string.h>

#include "mongo/bsonio.h"
#include "mongo/extjson.h"

/* `text` means the document that libbson prints as `canonical`. */
static void
expect(const char *text, const char *canonical)
{
    struct buf out = {0};
    struct pitr_err err;
    bson_t view;
    char *have;

    if (extjson_parse(&out, text, strlen(text), &err) != PITR_OK)
        fail_msg("%s: %s", text, err.msg);
    if (bson_check(out.data, out.len, &err) != PITR_OK)
        fail_msg("%s: %s", text, err.msg);
    assert_true(bson_init_static(&view, out.data, out.len));
    have = bson_as_canonical_extended_json(&view, NULL);
    assert_string_equal(have, canonical);
    bson_free(have);
    buf_release(&out);
}

static void
typed_values_are_themselves_again(void **state)
{
    static const char *const texts[] = {
        "{ \"a\" : { \"$oid\" : \"0102030405060708090a0b0c\" } }",
        "{ \"a\" : { \"$numberInt\" : \"-2147483648\" }, \"b\" : { \"$numberLong\" : \"7\" } }",
        "{ \"a\" : { \"$numberDouble\" : \"1.5\" }, \"b\" : { \"$numberDouble\" : \"-Infinity\" } "
        "}",
        "{ \"a\" : { \"$numberDouble\" : \"NaN\" }, \"b\" : { \"$numberDecimal\" : \"1.50\" } }",
        "{ \"a\" : { \"$binary\" : { \"base64\" : \"AQIDBA==\", \"subType\" : \"80\" } } }",
        "{ \"a\" : { \"$binary\" : { \"base64\" : \"\", \"subType\" : \"00\" } } }",
        "{ \"a\" : { \"$date\" : { \"$numberLong\" : \"-5\" } } }",
        "{ \"a\" : { \"$timestamp\" : { \"t\" : 4294967295, \"i\" : 2 } } }",
        "{ \"a\" : { \"$regularExpression\" : { \"pattern\" : \"^a\", \"options\" : \"im\" } } }",
        "{ \"a\" : { \"$code\" : \"f()\" }, \"b\" : { \"$symbol\" : \"s\" } }",
        "{ \"a\" : { \"$code\" : \"f()\", \"$scope\" : { \"x\" : { \"$numberInt\" : \"1\" } } } }",
        "{ \"a\" : { \"$dbPointer\" : { \"$ref\" : \"d.c\", \"$id\" : { \"$oid\" : "
        "\"0102030405060708090a0b0c\" } } } }",
        "{ \"a\" : [ { \"$minKey\" : 1 }, { \"$maxKey\" : 1 }, { \"$undefined\" : true }, null ] }",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect(texts[i], texts[i]);
}

static void
operators_are_not_taken_for_types(void **state)
{
    (void)state;
    expect("{\"a\":{\"$type\":[\"string\"]}}", "{ \"a\" : { \"$type\" : [ \"string\" ] } }");
    expect("{\"a\":{\"$regex\":\"x\",\"$options\":\"i\"}}",
           "{ \"a\" : { \"$regex\" : \"x\", \"$options\" : \"i\" } }");
    expect("{\"a\":{\"$date\":\"$x\"}}", "{ \"a\" : { \"$date\" : \"$x\" } }");
    expect("{\"a\":{\"$binary\":\"!\",\"$type\":\"00\"}}",
           "{ \"a\" : { \"$binary\" : \"!\", \"$type\" : \"00\" } }");
    expect("{\"$oid\":\"0102030405060708090a0b0c\"}",
           "{ \"$oid\" : \"0102030405060708090a0b0c\" }");
    expect("{\"a\":{\"$oid\":\"0102030405060708090a0b0c\",\"b\":true}}",
           "{ \"a\" : { \"$oid\" : \"0102030405060708090a0b0c\", \"b\" : true } }");
}

static void
relaxed_and_old_forms_are_read(void **state)
{
    (void)state;
    expect("{\"a\":1,\"b\":2147483648,\"c\":1e2,\"d\":-0.5}",
           "{ \"a\" : { \"$numberInt\" : \"1\" }, \"b\" : { \"$numberLong\" : \"2147483648\" }, "
           "\"c\" : { \"$numberDouble\" : \"100.0\" }, \"d\" : { \"$numberDouble\" : \"-0.5\" } }");
    expect("{\"a\":{\"$date\":\"2020-02-03T04:05:06.789Z\"}}",
           "{ \"a\" : { \"$date\" : { \"$numberLong\" : \"1580702706789\" } } }");
    expect("{\"a\":{\"$date\":\"2020-02-03T04:05:06+01:30\"}}",
           "{ \"a\" : { \"$date\" : { \"$numberLong\" : \"1580697306000\" } } }");
    expect("{\"a\":{\"$binary\":\"AQI=\",\"$type\":\"0\"}}",
           "{ \"a\" : { \"$binary\" : { \"base64\" : \"AQI=\", \"subType\" : \"00\" } } }");
    expect("{\"a\":{\"$uuid\":\"00112233-4455-6677-8899-aabbccddeeff\"}}",
           "{ \"a\" : { \"$binary\" : { \"base64\" : \"ABEiM0RVZneImaq7zN3u/w==\", \"subType\" : "
           "\"04\" } } }");
}

static void
keys_and_strings_are_kept_as_they_are(void **state)
{
    (void)state;
    expect(" { \"\" : { } , \"a.b\":[],\"$c\" :\"\\\"\\\\\\/\\n\\u00e4\\ud83d\\ude00\" } ",
           "{ \"\" : {  }, \"a.b\" : [  ], \"$c\" : \"\\\"\\\\/\\n\xc3\xa4\xf0\x9f\x98\x80\" }");
    expect("{\"b\":true,\"a\":false,\"b\":\"x\\u0000y\"}",
           "{ \"b\" : true, \"a\" : false, \"b\" : \"x\\u0000y\" }");
}

static void
expect_corrupt(const char *text, const char *message)
{
    struct buf out = {0};
    struct pitr_err err;

    assert_int_equal(extjson_parse(&out, text, strlen(text), &err), PITR_CORRUPT);
    if (message != NULL)
        assert_string_equal(err.msg, message);
    buf_release(&out);
}

static void
malformed_text_is_corrupt(void **state)
{
    (void)state;
    expect_corrupt("", "JSON at byte 0: an object is expected");
    expect_corrupt("[]", "JSON at byte 0: an object is expected");
    expect_corrupt("{} x", "JSON at byte 3: something follows the object");
    expect_corrupt("{\"a\" 1}", "JSON at byte 5: a colon is expected");
    expect_corrupt("{\"a\":1 \"b\":2}",
                   "JSON at byte 7: a comma or the end of an object or array is expected");
    expect_corrupt("{\"a\":nul}", "JSON at byte 5: a value is expected");
    expect_corrupt("{\"a\":1x}", NULL);
    expect_corrupt("{\"a\":\"\\q\"}", "JSON at byte 8: unknown escape");
    expect_corrupt("{\"a\":\"\\ud800x\"}", "JSON at byte 12: half a surrogate pair");
    expect_corrupt("{\"a\\u0000\":1}", "JSON at byte 10: a key with a NUL");
}

static void
any_truncation_is_corrupt(void **state)
{
    static const char text[] =
        "{\"a\":[{\"b\":{\"$numberInt\":\"1\"}},\"\\u00e4\",-1.5e3,true,null],\"c\":{}}";
    struct pitr_err err;

    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        struct buf out = {0};

        assert_int_equal(extjson_parse(&out, text, len, &err), PITR_CORRUPT);
        buf_release(&out);
    }
}

static void
deep_nesting_is_corrupt(void **state)
{
    char text[5000];
    struct buf out = {0};
    struct pitr_err err;

    (void)state;
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', sizeof text - 5);
    assert_int_equal(extjson_parse(&out, text, sizeof text, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "nested too deeply"));
    buf_release(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typed_values_are_themselves_again),
        cmocka_unit_test(operators_are_not_taken_for_types),
        cmocka_unit_test(relaxed_and_old_forms_are_read),
        cmocka_unit_test(keys_and_strings_are_kept_as_they_are),
        cmocka_unit_test(malformed_text_is_corrupt),
        cmocka_unit_test(any_truncation_is_corrupt),
        cmocka_unit_test(deep_nesting_is_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
