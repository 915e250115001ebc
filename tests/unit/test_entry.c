#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <bson/bson.h>
#include <cmocka.h>
#include <string.h>

#include "oplog/entry.h"

/* Entries are written as extended JSON; the fixture owns the bytes the parsed entry points into. */
struct fixture {
    bson_t *doc;
    struct oplog_entry e;
    struct pitr_err err;
};

static void
release(struct fixture *f)
{
    if (f->doc != NULL)
        bson_destroy(f->doc);
    f->doc = NULL;
}

static enum pitr_rc
parse_as(struct fixture *f, const char *json, bool inner)
{
    bson_error_t cause;

    release(f);
    f->doc = bson_new_from_json((const uint8_t *)json, -1, &cause);
    if (f->doc == NULL)
        fail_msg("%s: %s", json, cause.message);
    if (inner)
        return oplog_entry_parse_inner(&f->e, bson_get_data(f->doc), f->doc->len, &f->err);
    return oplog_entry_parse(&f->e, bson_get_data(f->doc), f->doc->len, &f->err);
}

static void
refuse(struct fixture *f, const char *json, const char *message)
{
    assert_int_equal(parse_as(f, json, false), PITR_CORRUPT);
    if (strncmp(f->err.msg, message, strlen(message)) != 0 ||
        strncmp(f->err.msg + strlen(message), ": {", 3) != 0)
        fail_msg("expected \"%s\" and the entry, not \"%s\"", message, f->err.msg);
}

#define TIMES "\"ts\":{\"$timestamp\":{\"t\":7,\"i\":3}},\"t\":{\"$numberLong\":\"2\"},\"v\":2"
#define UUID_JSON "{\"$binary\":{\"base64\":\"AAECAwQFBgcICQoLDA0ODw==\",\"subType\":\"04\"}}"

static void
an_update_gives_all_its_fields(void **state)
{
    PITR_AUTO(release) struct fixture f = {0};

    (void)state;
    assert_int_equal(
        parse_as(&f,
                 "{\"lsid\":{\"id\":1},\"txnNumber\":{\"$numberLong\":\"5\"},"
                 "\"op\":\"u\",\"ns\":\"a.b\",\"ui\":" UUID_JSON
                 ",\"o\":{\"$v\":2},\"o2\":{\"_id\":1},\"b\":true,\"stmtId\":[0,1]," TIMES
                 ",\"wall\":{\"$date\":{\"$numberLong\":\"1500\"}},\"multiOpType\":1,"
                 "\"prevOpTime\":{\"ts\":{\"$timestamp\":{\"t\":6,\"i\":1}},\"t\":1}}",
                 false),
        PITR_OK);
    assert_int_equal(f.e.ts, ts_make(7, 3));
    assert_int_equal(f.e.term, 2);
    assert_int_equal(f.e.wall_ms, 1500);
    assert_int_equal(f.e.op, 'u');
    assert_true(f.e.upsert);
    assert_string_equal(f.e.ns, "a.b");
    assert_int_equal(f.e.ns_len, 3);
    assert_int_equal(f.e.uuid[15], 15);
    assert_int_equal(bson_len(f.e.o), f.e.o_len);
    assert_int_equal(bson_len(f.e.o2), f.e.o2_len);
    assert_int_equal(bson_len(f.e.lsid), f.e.lsid_len);
    assert_int_equal(f.e.txn_number, 5);
    assert_int_equal(f.e.multi_op_type, 1);
    assert_true(f.e.has_prev);
    assert_int_equal(f.e.prev.ts, ts_make(6, 1));
    assert_int_equal(f.e.prev.term, 1);
    assert_ptr_equal(f.e.raw, bson_get_data(f.doc));
}

static void
absent_fields_have_their_absent_values(void **state)
{
    PITR_AUTO(release) struct fixture f = {0};

    (void)state;
    assert_int_equal(parse_as(&f,
                              "{\"op\":\"n\",\"ns\":\"\",\"o\":{\"msg\":\"periodic noop\"},\"v\":2,"
                              "\"ts\":{\"$timestamp\":{\"t\":7,\"i\":3}}}",
                              false),
                     PITR_OK);
    assert_int_equal(f.e.term, -1);
    assert_int_equal(f.e.wall_ms, 0);
    assert_int_equal(f.e.txn_number, -1);
    assert_int_equal(f.e.multi_op_type, 0);
    assert_string_equal(f.e.ns, "");
    assert_null(f.e.uuid);
    assert_null(f.e.o2);
    assert_null(f.e.lsid);
    assert_false(f.e.has_prev);
    assert_false(f.e.upsert);
}

static void
an_inner_operation_has_no_times(void **state)
{
    PITR_AUTO(release) struct fixture f = {0};
    const char *json = "{\"op\":\"i\",\"ns\":\"a.b\",\"ui\":" UUID_JSON ",\"o\":{\"_id\":1}}";

    (void)state;
    assert_int_equal(parse_as(&f, json, true), PITR_OK);
    assert_int_equal(f.e.ts, 0);
    assert_int_equal(f.e.term, -1);
    assert_int_equal(parse_as(&f, json, false), PITR_CORRUPT);
    assert_int_equal(parse_as(&f, "{\"op\":\"x\",\"ns\":\"a.b\",\"o\":{}}", true), PITR_CORRUPT);
    assert_string_equal(f.err.msg, "operation in applyOps: oplog entry: field op: an operation "
                                   "this version of pitr does not know: { \"op\" : \"x\", \"ns\" "
                                   ": \"a.b\", \"o\" : {  } }");
}

static void
what_replay_would_not_understand_is_corrupt(void **state)
{
    PITR_AUTO(release) struct fixture f = {0};

    (void)state;
    refuse(&f, "{\"op\":\"zz\",\"ns\":\"a.b\",\"o\":{}," TIMES "}",
           "oplog entry 7,3: field op: an operation this version of pitr does not know");
    refuse(&f, "{\"op\":\"i\",\"ns\":\"a.b\",\"o\":{},\"tid\":1," TIMES "}",
           "oplog entry 7,3: field tid: entries of serverless tenants are not supported");
    refuse(&f,
           "{\"op\":\"i\",\"ns\":\"a.b\",\"o\":{},\"ts\":{\"$timestamp\":{\"t\":7,\"i\":3}},"
           "\"v\":1}",
           "oplog entry 7,3: field v: missing, or not 2");
}

static void
a_missing_or_mistyped_field_is_named(void **state)
{
    PITR_AUTO(release) struct fixture f = {0};

    (void)state;
    refuse(&f, "{\"op\":\"i\",\"ns\":\"a.b\",\"o\":{},\"v\":2}",
           "oplog entry: field ts: missing, or no timestamp");
    refuse(&f, "{\"ns\":\"a.b\",\"o\":{}," TIMES "}",
           "oplog entry 7,3: field op: missing, or no string");
    refuse(&f, "{\"op\":\"i\",\"o\":{}," TIMES "}",
           "oplog entry 7,3: field ns: missing, or no string");
    refuse(&f, "{\"op\":\"i\",\"ns\":\"a\\u0000b\",\"o\":{}," TIMES "}",
           "oplog entry 7,3: field ns: holds a NUL");
    refuse(&f, "{\"op\":\"i\",\"ns\":\"a.b\"," TIMES "}", "oplog entry 7,3: field o: missing");
    refuse(&f, "{\"op\":\"i\",\"ns\":\"a.b\",\"o\":1," TIMES "}",
           "oplog entry 7,3: field o: no document");
    refuse(&f, "{\"op\":\"i\",\"ns\":\"a.b\",\"o\":{},\"ui\":1," TIMES "}",
           "oplog entry 7,3: field ui: no UUID");
    refuse(&f, "{\"op\":\"i\",\"ns\":\"a.b\",\"o\":{},\"prevOpTime\":{}," TIMES "}",
           "oplog entry 7,3: field prevOpTime: no optime");
    refuse(&f, "{\"op\":\"i\",\"ns\":\"a.b\",\"o\":{},\"wall\":1," TIMES "}",
           "oplog entry 7,3: field wall: no date");
    refuse(&f, "{\"op\":\"u\",\"ns\":\"a.b\",\"o\":{},\"b\":1," TIMES "}",
           "oplog entry 7,3: field b: no boolean");
    refuse(&f, "{\"op\":\"i\",\"ns\":\"a.b\",\"o\":{},\"txnNumber\":\"1\"," TIMES "}",
           "oplog entry 7,3: field txnNumber: no integer");
}

static void
operations_only_the_server_sees_count_as_nothing(void **state)
{
    static const char *const ops[] = {"xi", "xd", "ci", "cu", "cd", "km"};
    PITR_AUTO(release) struct fixture f = {0};
    char json[256];

    (void)state;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        snprintf(json, sizeof json, "{\"op\":\"%s\",\"ns\":1,\"o\":[],\"lsid\":2," TIMES "}",
                 ops[i]);
        assert_int_equal(parse_as(&f, json, false), PITR_OK);
        assert_int_equal(f.e.op, 'n');
    }
}

static void
an_entry_is_shown_without_its_session_and_cut_between_characters(void **state)
{
    PITR_AUTO(release) struct fixture f = {0};
    char json[2048] = "{\"lsid\":{\"id\":1},\"op\":\"i\",\"ns\":\"a.b\",\"o\":{\"_id\":\"";
    char text[ENTRY_TEXT_LEN];

    (void)state;
    for (int i = 0; i < 400; i++)
        memcpy(json + strlen(json), "\xc3\xa4", 3);
    memcpy(json + strlen(json), "\"}," TIMES "}", sizeof "\"}," TIMES "}");
    assert_int_equal(parse_as(&f, json, false), PITR_OK);
    oplog_entry_show(text, f.e.raw, f.e.raw_len);
    assert_ptr_equal(strstr(text, "{ \"op\" : \"i\", \"ns\" : \"a.b\""), text);
    assert_in_range(strlen(text), ENTRY_TEXT_LEN - 3, ENTRY_TEXT_LEN - 1);
    assert_true(bson_utf8_validate(text, strlen(text), false));
    assert_string_equal(text + strlen(text) - 3, "...");
    oplog_entry_show(text, (const uint8_t *)"\1\0", 2);
    assert_string_equal(text, "(not printable)");
}

static void
any_truncation_is_corrupt(void **state)
{
    PITR_AUTO(release) struct fixture f = {0};
    struct oplog_stamp stamp;
    size_t len;

    (void)state;
    assert_int_equal(
        parse_as(&f, "{\"op\":\"i\",\"ns\":\"a.b\",\"o\":{\"_id\":1}," TIMES "}", false), PITR_OK);
    for (len = 0; len < f.doc->len; len++) {
        assert_int_equal(oplog_entry_parse(&f.e, bson_get_data(f.doc), len, &f.err), PITR_CORRUPT);
        assert_int_equal(oplog_entry_stamp(&stamp, bson_get_data(f.doc), len, &f.err),
                         PITR_CORRUPT);
    }
}

static void
an_unknown_operation_still_has_a_stamp(void **state)
{
    PITR_AUTO(release) struct fixture f = {0};
    struct oplog_stamp stamp;

    (void)state;
    assert_int_equal(parse_as(&f, "{\"op\":\"zz\",\"o\":1," TIMES "}", false), PITR_CORRUPT);
    assert_int_equal(oplog_entry_stamp(&stamp, bson_get_data(f.doc), f.doc->len, &f.err), PITR_OK);
    assert_int_equal(stamp.ts, ts_make(7, 3));
    assert_int_equal(stamp.term, 2);
    assert_false(stamp.is_noop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_gives_all_its_fields),
        cmocka_unit_test(absent_fields_have_their_absent_values),
        cmocka_unit_test(an_inner_operation_has_no_times),
        cmocka_unit_test(what_replay_would_not_understand_is_corrupt),
        cmocka_unit_test(a_missing_or_mistyped_field_is_named),
        cmocka_unit_test(operations_only_the_server_sees_count_as_nothing),
        cmocka_unit_test(an_entry_is_shown_without_its_session_and_cut_between_characters),
        cmocka_unit_test(any_truncation_is_corrupt),
        cmocka_unit_test(an_unknown_operation_still_has_a_stamp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
