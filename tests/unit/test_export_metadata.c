/* What goes into metadata.json, and that it says exactly what it was made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/export_metadata.h"
#include "mongo/bsonedit.h"
#include "mongo/extjson.h"
#include "tests/support/ejson.h"

static struct state_coll
coll_of(const char *name, const char *options, const char *indexes)
{
    static const uint8_t uuid[16] = {0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xcd};
    struct state_coll c = {.load = {.db = "d", .name = (char *)(uintptr_t)name},
                           .source_ns = "d.c",
                           .visible_ns = "d.c",
                           .uuid = uuid};

    ejson(&c.load.options, options);
    ejson(&c.load.indexes, indexes);
    return c;
}

static void
release(struct state_coll *c)
{
    buf_release(&c->load.options);
    buf_release(&c->load.indexes);
}

static void
expect_json(const struct state_coll *c, const char *json)
{
    struct buf text = {0}, have = {0}, want = {0};
    struct pitr_err err;

    if (export_collection_json(&text, c, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(extjson_parse(&have, (const char *)text.data, text.len, &err), PITR_OK);
    ejson(&want, json);
    assert_int_equal(have.len, want.len);
    assert_memory_equal(have.data, want.data, want.len);
    buf_release(&text);
    buf_release(&have);
    buf_release(&want);
}

static void
metadata_has_what_a_dump_has(void **state)
{
    struct state_coll c = coll_of(
        "c", "{\"capped\":true,\"size\":{\"$numberInt\":\"4096\"},\"temp\":true,\"idIndex\":{}}",
        "{\"0\":{\"v\":2,\"key\":{\"_id\":1},\"name\":\"_id_\"}}");

    (void)state;
    expect_json(&c, "{\"options\":{\"capped\":true,\"size\":4096},"
                    "\"indexes\":[{\"v\":2,\"key\":{\"_id\":1},\"name\":\"_id_\"}],"
                    "\"uuid\":\"ab0102030405060708090a0b0c0d0ecd\",\"collectionName\":\"c\","
                    "\"type\":\"collection\"}");
    release(&c);
}

static void
a_copy_under_another_name_has_no_uuid(void **state)
{
    struct state_coll c = coll_of("copy", "{}", "{}");

    (void)state;
    c.visible_ns = "d.copy";
    expect_json(&c, "{\"options\":{},\"indexes\":[],\"uuid\":\"\",\"collectionName\":\"copy\","
                    "\"type\":\"collection\"}");
    release(&c);
}

static void
a_time_series_collection_is_described_as_users_see_it(void **state)
{
    struct state_coll c =
        coll_of("system.buckets.s",
                "{\"validator\":{\"x\":1},\"clusteredIndex\":true,\"expireAfterSeconds\":5,"
                "\"timeseries\":{\"timeField\":\"t\",\"metaField\":\"m\"}}",
                "{\"0\":{\"v\":2,\"key\":{\"meta.a\":-1,\"control.min.t\":1,\"control.max.t\":1},"
                "\"name\":\"i\"}}");

    (void)state;
    expect_json(&c, "{\"options\":{\"expireAfterSeconds\":5,"
                    "\"timeseries\":{\"timeField\":\"t\",\"metaField\":\"m\"}},"
                    "\"indexes\":[{\"v\":2,\"key\":{\"m.a\":-1,\"t\":1},\"name\":\"i\"}],"
                    "\"uuid\":\"\",\"collectionName\":\"s\","
                    "\"type\":\"timeseries\"}");
    release(&c);
}

static void
a_view_keeps_pipeline_and_collation(void **state)
{
    struct buf doc = {0}, text = {0}, have = {0}, want = {0};
    struct pitr_err err;

    (void)state;
    ejson(&doc, "{\"_id\":\"d.v.w\",\"viewOn\":\"c\",\"pipeline\":[{\"$match\":{\"a\":"
                "{\"$type\":\"string\"}}}],\"collation\":{\"locale\":\"fr\"}}");
    assert_int_equal(export_view_json(&text, "v.w", doc.data, doc.len, &err), PITR_OK);
    assert_int_equal(extjson_parse(&have, (const char *)text.data, text.len, &err), PITR_OK);
    ejson(&want, "{\"options\":{\"viewOn\":\"c\",\"pipeline\":[{\"$match\":{\"a\":"
                 "{\"$type\":\"string\"}}}],\"collation\":{\"locale\":\"fr\"}},\"indexes\":[],"
                 "\"collectionName\":\"v.w\",\"type\":\"view\"}");
    assert_int_equal(have.len, want.len);
    assert_memory_equal(have.data, want.data, want.len);
    buf_release(&doc);
    buf_release(&text);
    buf_release(&have);
    buf_release(&want);
}

/* One element as raw bytes, with its type. */
struct raw_case {
    const char *what;
    uint8_t type;
    const void *value;
    size_t len;
};

#define RAW(what, type, text)                                                                      \
    {                                                                                              \
        what, type, text, sizeof text - 1                                                          \
    }

static enum pitr_rc
try_case(const struct raw_case *r, struct pitr_err *err)
{
    struct state_coll c = {
        .load = {.db = "d", .name = "c"}, .source_ns = "d.c", .visible_ns = "d.c"};
    struct buf text = {0};
    enum pitr_rc rc;
    size_t at;

    assert_int_equal(bdoc_begin(&c.load.options, &at, err), PITR_OK);
    assert_int_equal(bdoc_append_raw(&c.load.options, r->type, "x", r->value, r->len, err),
                     PITR_OK);
    assert_int_equal(bdoc_append_raw(&c.load.options, r->type, "x", r->value, r->len, err),
                     PITR_OK);
    assert_int_equal(bdoc_end(&c.load.options, at, err), PITR_OK);
    rc = export_collection_json(&text, &c, err);
    buf_release(&c.load.options);
    buf_release(&text);
    return rc;
}

/* export_collection_json() compares bytes itself; each field stands there twice, as keys may. */
static void
every_type_survives_json(void **state)
{
    static const struct raw_case cases[] = {
        RAW("double", BSON_DOUBLE, "\x9a\x99\x99\x99\x99\x99\xb9\x3f"),
        RAW("whole double", BSON_DOUBLE, "\0\0\0\0\0\0\xf0\x3f"),
        RAW("minus zero", BSON_DOUBLE, "\0\0\0\0\0\0\0\x80"),
        RAW("smallest double", BSON_DOUBLE, "\x01\0\0\0\0\0\0\0"),
        RAW("largest double", BSON_DOUBLE, "\xff\xff\xff\xff\xff\xff\xef\x7f"),
        RAW("infinity", BSON_DOUBLE, "\0\0\0\0\0\0\xf0\x7f"),
        RAW("not a number", BSON_DOUBLE, "\0\0\0\0\0\0\xf8\x7f"),
        RAW("string with NUL", BSON_STRING, "\x05\0\0\0a\0\xc3\xa9\0"),
        RAW("string of controls", BSON_STRING, "\x08\0\0\0\x01\x1f\"\\/\n\x7f\0"),
        RAW("beyond the first plane", BSON_STRING, "\x05\0\0\0\xf0\x9f\x98\x80\0"),
        RAW("empty document", BSON_DOC, "\x05\0\0\0\0"),
        RAW("document like a type", BSON_DOC, "\x15\0\0\0\x02$oid\0\x06\0\0\0hello\0\0"),
        RAW("array", BSON_ARRAY,
            "\x0c\0\0\0\x10"
            "0\0\x01\0\0\0\0"),
        RAW("binary", BSON_BIN, "\x03\0\0\0\0abc"),
        RAW("UUID", BSON_BIN,
            "\x10\0\0\0\x04"
            "0123456789abcdef"),
        RAW("binary of users", BSON_BIN, "\x01\0\0\0\x80z"),
        RAW("undefined", BSON_UNDEF, ""),
        RAW("ObjectId", BSON_ID, "abcdefghijkl"),
        RAW("true", BSON_BOOLEAN, "\x01"),
        RAW("date", BSON_DATE, "\xff\xff\xff\xff\xff\xff\xff\xff"),
        RAW("far date", BSON_DATE, "\0\0\0\0\0\0\0\x80"),
        RAW("null", BSON_NIL, ""),
        RAW("regular expression", BSON_REGEXP, "a\"/\0im\0"),
        RAW("DBPointer", BSON_DBPTR, "\x04\0\0\0d.c\0abcdefghijkl"),
        RAW("code", BSON_JSCODE, "\x03\0\0\0f)\0"),
        RAW("symbol", BSON_SYM, "\x02\0\0\0s\0"),
        RAW("code with scope", BSON_JSSCOPE,
            "\x18\0\0\0\x03\0\0\0f)\0\x0d\0\0\0\x10"
            "aa\0\x01\0\0\0\0"),
        RAW("int32", BSON_INT, "\0\0\0\x80"),
        RAW("timestamp", BSON_TS, "\xff\xff\xff\xff\x01\0\0\0"),
        RAW("int64", BSON_LONG, "\0\0\0\0\0\0\0\x80"),
        RAW("decimal", BSON_DEC128, "\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\x30"),
        RAW("decimal with zeros", BSON_DEC128, "\x64\0\0\0\0\0\0\0\0\0\0\0\0\0\x3c\xb0"),
        RAW("MinKey", BSON_MIN, ""),
        RAW("MaxKey", BSON_MAX, ""),
    };
    struct pitr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (try_case(&cases[i], &err) != PITR_OK)
            fail_msg("%s: %s", cases[i].what, err.msg);
}

/* Better no metadata than metadata that says something else. */
static void
what_json_would_change_is_refused(void **state)
{
    static const struct raw_case cases[] = {
        RAW("a document that reads as an ObjectId", BSON_DOC,
            "\x28\0\0\0\x02$oid\0\x19\0\0\0"
            "0123456789abcdef01234567\0\0"),
        RAW("a binary with two lengths", BSON_BIN, "\x07\0\0\0\x02\x03\0\0\0abc"),
        RAW("a string that is not UTF-8", BSON_STRING, "\x02\0\0\0\xff\0"),
    };
    struct pitr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(try_case(&cases[i], &err), PITR_USAGE);
        assert_string_equal(err.msg, "its options or indexes cannot be written as JSON without a "
                                     "change; leave it out with --exclude-ns");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_has_what_a_dump_has),
        cmocka_unit_test(a_copy_under_another_name_has_no_uuid),
        cmocka_unit_test(a_time_series_collection_is_described_as_users_see_it),
        cmocka_unit_test(a_view_keeps_pipeline_and_collation),
        cmocka_unit_test(every_type_survives_json),
        cmocka_unit_test(what_json_would_change_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
