/* Documents as commands print them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cli/document.h"
#include "cli/moment_word.h"
#include "tests/support/ejson.h"

static void
expect(struct text *out, const char *wanted)
{
    struct pitr_err err;

    text_bytes(out, "", 1);
    assert_int_equal(text_check(out, &err), PITR_OK);
    assert_string_equal((const char *)out->buf.data, wanted);
    text_release(out);
}

static void
expect_changes(const char *before, const char *after, const char *wanted)
{
    struct buf a = {0}, b = {0};
    struct text out = {0};

    ejson(&a, before);
    ejson(&b, after);
    document_print_changes(&out, a.data, a.len, b.data, b.len);
    expect(&out, wanted);
    buf_release(&a);
    buf_release(&b);
}

static void
changes_are_one_line(void **state)
{
    (void)state;
    expect_changes("{\"_id\":1,\"n\":1,\"o\":{\"x\":\"a\"},\"gone\":true}",
                   "{\"_id\":1,\"n\":2,\"o\":{\"x\":\"a\",\"y\":[]}}",
                   "n: 1 -> 2; o.y: added []; gone: removed true");
    expect_changes("{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", "the same fields in another order");
}

static void
values_that_read_alike_show_their_type(void **state)
{
    (void)state;
    expect_changes("{\"n\":{\"$numberInt\":\"1\"}}", "{\"n\":{\"$numberLong\":\"1\"}}",
                   "n: {\"$numberInt\":\"1\"} -> {\"$numberLong\":\"1\"}");
}

static void
long_values_and_long_lists_are_cut(void **state)
{
    static const char head[] = "sssssssssssssssssssssssssssssssssssssssssssssssssssssssssss";
    struct text before = {0}, after = {0}, wanted = {0};

    (void)state;
    text_add(&before, "{\"s\":\"%s%s\"}", head, head);
    text_add(&after, "{\"s\":\"%s%s!\"}", head, head);
    text_add(&wanted, "s: \"%s... (123 bytes) -> \"%s... (124 bytes)", head, head);
    text_bytes(&before, "", 1);
    text_bytes(&after, "", 1);
    text_bytes(&wanted, "", 1);
    expect_changes((const char *)before.buf.data, (const char *)after.buf.data,
                   (const char *)wanted.buf.data);
    text_release(&before);
    text_release(&after);
    text_release(&wanted);
    expect_changes("{}",
                   "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,"
                   "\"j\":1}",
                   "a: added 1; b: added 1; c: added 1; d: added 1; e: added 1; f: added 1; "
                   "g: added 1; h: added 1; and more");
}

static void
a_cut_never_splits_a_character(void **state)
{
    struct buf doc = {0};
    struct text out = {0};

    (void)state;
    ejson(&doc, "{\"_id\":\"ééééééééééééééééééééééééééééééééééééé\"}");
    document_print_id(&out, doc.data, doc.len);
    expect(&out, "\"ééééééééééééééééééééééééééééé...");
    buf_release(&doc);
}

static void
a_document_is_laid_out_on_lines_and_typed_values_stay_on_one(void **state)
{
    struct buf doc = {0};
    struct text out = {0};

    (void)state;
    ejson(&doc, "{\"_id\":{\"$oid\":\"507f1f77bcf86cd799439011\"},\"s\":\"a{[\\\"\",\"e\":{},"
                "\"a\":[1,{\"b\":[]}]}");
    document_print(&out, doc.data, doc.len, 2);
    expect(&out, "  {\n"
                 "    \"_id\": {\"$oid\": \"507f1f77bcf86cd799439011\"},\n"
                 "    \"s\": \"a{[\\\"\",\n"
                 "    \"e\": {},\n"
                 "    \"a\": [\n"
                 "      1,\n"
                 "      {\n"
                 "        \"b\": []\n"
                 "      }\n"
                 "    ]\n"
                 "  }\n");
    buf_release(&doc);
}

static void
json_members_keep_every_type(void **state)
{
    struct buf doc = {0};
    struct text out = {0};
    struct json j = {.out = &out};

    (void)state;
    ejson(&doc, "{\"_id\":7,\"d\":1.0}");
    json_object(&j, NULL);
    document_json(&j, "before", NULL, 0);
    document_id_json(&j, doc.data, doc.len);
    document_json(&j, "after", doc.data, doc.len);
    json_bool(&j, "more", true);
    json_object_end(&j);
    expect(&out, "{\"id\":{\"$numberInt\":\"7\"},"
                 "\"after\":{\"_id\":{\"$numberInt\":\"7\"},\"d\":{\"$numberDouble\":\"1.0\"}},"
                 "\"more\":true}");
    buf_release(&doc);
}

static void
a_malformed_document_fails_the_text(void **state)
{
    uint8_t bad[] = {12, 0, 0, 0, 0x02, 'a', 0, 9, 0, 0, 0, 0};
    struct text out = {0};
    struct pitr_err err;

    (void)state;
    document_print(&out, bad, sizeof bad, 0);
    assert_int_equal(text_check(&out, &err), PITR_CORRUPT);
    text_release(&out);
}

static enum moment_kind
kind_of(const char *word)
{
    struct moment m;
    struct pitr_err err;

    assert_int_equal(moment_word(&m, word, &err), PITR_OK);
    return m.kind;
}

static void
a_word_is_a_time_or_a_snapshot(void **state)
{
    struct moment m;
    struct pitr_err err;

    (void)state;
    assert_int_equal(kind_of("latest"), MOMENT_LATEST);
    assert_int_equal(kind_of("1795442587,3"), MOMENT_TS);
    assert_int_equal(kind_of("2026-11-23T14:03:07Z"), MOMENT_SECOND);
    assert_int_equal(kind_of("20261123T140307Z-1f2e3d"), MOMENT_SNAPSHOT);
    assert_int_equal(kind_of("20261123"), MOMENT_SNAPSHOT);
    assert_int_equal(moment_word(&m, "yesterday", &err), PITR_USAGE);
    assert_non_null(strstr(err.msg, "yesterday"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_one_line),
        cmocka_unit_test(values_that_read_alike_show_their_type),
        cmocka_unit_test(long_values_and_long_lists_are_cut),
        cmocka_unit_test(a_cut_never_splits_a_character),
        cmocka_unit_test(a_document_is_laid_out_on_lines_and_typed_values_stay_on_one),
        cmocka_unit_test(json_members_keep_every_type),
        cmocka_unit_test(a_malformed_document_fails_the_text),
        cmocka_unit_test(a_word_is_a_time_or_a_snapshot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
