/* Claims about cli/doc_id.h: an _id from the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/doc_id.h"
#include "oplog/docid.h"
#include "tests/support/ejson.h"

/* The key of the _id in a document that libbson has read. */
static void
key_of(struct buf *key, const char *doc_text)
{
    PITR_AUTO(buf_release) struct buf doc = {0};
    struct pitr_err err;
    struct belem id;
    bool found;

    ejson(&doc, doc_text);
    assert_int_equal(bson_find(doc.data, doc.len, "_id", &found, &id, &err), PITR_OK);
    assert_true(found);
    assert_int_equal(docid_append(key, &id, &err), PITR_OK);
}

static void
same(const char *text, const char *doc_text)
{
    PITR_AUTO(buf_release) struct buf got = {0}, want = {0};
    struct pitr_err err;

    if (doc_id_parse(&got, text, &err) != PITR_OK)
        fail_msg("%s: %s", text, err.msg);
    key_of(&want, doc_text);
    if (got.len != want.len || memcmp(got.data, want.data, got.len) != 0)
        fail_msg("%s is not the _id of %s", text, doc_text);
}

static void
refused(const char *text, const char *says)
{
    PITR_AUTO(buf_release) struct buf got = {0};
    struct pitr_err err;

    assert_int_equal(doc_id_parse(&got, text, &err), PITR_USAGE);
    if (strstr(err.msg, says) == NULL)
        fail_msg("%s: %s", text, err.msg);
}

static void
hexadecimal_digits_are_an_object_id(void **state)
{
    (void)state;
    same("507f1f77bcf86cd799439011", "{\"_id\":{\"$oid\":\"507f1f77bcf86cd799439011\"}}");
    same("507F1F77BCF86CD799439011", "{\"_id\":{\"$oid\":\"507f1f77bcf86cd799439011\"}}");
    same("{\"$oid\":\"507f1f77bcf86cd799439011\"}",
         "{\"_id\":{\"$oid\":\"507f1f77bcf86cd799439011\"}}");
    same("111111111111111111111111", "{\"_id\":{\"$oid\":\"111111111111111111111111\"}}");
    same("507f1f77bcf86cd79943901", "{\"_id\":\"507f1f77bcf86cd79943901\"}");
}

static void
numbers_are_the_same_by_value(void **state)
{
    (void)state;
    same("42", "{\"_id\":42}");
    same("42", "{\"_id\":{\"$numberDouble\":\"42.0\"}}");
    same("42.0", "{\"_id\":{\"$numberLong\":\"42\"}}");
    same("-7", "{\"_id\":-7}");
    same("-0", "{\"_id\":0}");
    same("1.5", "{\"_id\":{\"$numberDecimal\":\"1.50\"}}");
    same("1e3", "{\"_id\":1000}");
    same("9223372036854775807", "{\"_id\":{\"$numberLong\":\"9223372036854775807\"}}");
    same("{\"$numberDecimal\":\"0.1\"}", "{\"_id\":{\"$numberDecimal\":\"0.10\"}}");
    same("{\"$numberDouble\":\"NaN\"}", "{\"_id\":{\"$numberDouble\":\"NaN\"}}");
}

static void
what_json_takes_for_no_number_is_a_string(void **state)
{
    static const char *const words[] = {"007",  "+5", ".5",   "5.",   "1-2",     "2026-11-23",
                                        "0x10", "-",  "1e",   "NaN",  " 42",     "Infinity",
                                        "1,2",  "",   "a\tb", "True", "order 66"};
    char doc[64];

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        snprintf(doc, sizeof doc, "{\"_id\":\"%s\"}", strchr(words[i], '\t') ? "a\\tb" : words[i]);
        same(words[i], doc);
    }
}

static void
words_of_json_are_json(void **state)
{
    (void)state;
    same("true", "{\"_id\":true}");
    same("null", "{\"_id\":null}");
    same("\"true\"", "{\"_id\":\"true\"}");
    same("\"42\"", "{\"_id\":\"42\"}");
}

static void
quoted_strings_are_read_as_json(void **state)
{
    (void)state;
    same("\"it's \\\"so\\\" \\u00e9\"", "{\"_id\":\"it's \\\"so\\\" \\u00e9\"}");
    same("it's \"so\"", "{\"_id\":\"it's \\\"so\\\"\"}");
    same("  \"x\" ", "{\"_id\":\"x\"}");
}

static void
typed_values_and_documents_are_read(void **state)
{
    (void)state;
    same("{\"$uuid\":\"00112233-4455-6677-8899-aabbccddeeff\"}",
         "{\"_id\":{\"$binary\":{\"base64\":\"ABEiM0RVZneImaq7zN3u/w==\",\"subType\":\"04\"}}}");
    same("{\"$date\":\"2026-11-23T14:03:07Z\"}",
         "{\"_id\":{\"$date\":{\"$numberLong\":\"1795442587000\"}}}");
    same("{\"region\": \"eu\", \"n\": 1}", "{\"_id\":{\"region\":\"eu\",\"n\":1.0}}");
    same("{}", "{\"_id\":{}}");
}

static void
what_begins_like_json_must_be_json(void **state)
{
    (void)state;
    refused("{guid}", "the _id {guid} (a string that begins like this needs quotes of JSON): JSON "
                      "at byte 1");
    refused("\"x", "a string has no end");
    refused("\"x\", \"y\": 1", "something follows the value");
    refused("{\"a\":1} {\"b\":1}", "something follows the value");
}

static void
what_no_document_can_have_is_refused(void **state)
{
    (void)state;
    refused("[1, 2]", "no document has an array");
    refused("{\"$oid\": \"507f\"}", "this is no value of Extended JSON");
    refused("{\"$oid\": \"507f1f77bcf86cd799439011\", \"x\": 1}", "no value of Extended JSON");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hexadecimal_digits_are_an_object_id),
        cmocka_unit_test(numbers_are_the_same_by_value),
        cmocka_unit_test(what_json_takes_for_no_number_is_a_string),
        cmocka_unit_test(words_of_json_are_json),
        cmocka_unit_test(quoted_strings_are_read_as_json),
        cmocka_unit_test(typed_values_and_documents_are_read),
        cmocka_unit_test(what_begins_like_json_must_be_json),
        cmocka_unit_test(what_no_document_can_have_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
