/* Claims about oplog/replay.h: documents at a moment, the fuzzy window, entries it does not
 * understand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/replay_fixture.h"

static void
entries_up_to_t_start_are_not_applied(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 5, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_ok(f, FIXTURE_T_START, INSERT(UUID_A, "shop.orders", "{\"_id\":2}"));
    fixture_ok(f, 11, INSERT(UUID_A, "shop.orders", "{\"_id\":3}"));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 3 }\n");
}

static void
entries_after_the_moment_are_not_applied(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, FIXTURE_MOMENT, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_ok(f, FIXTURE_MOMENT + 1, INSERT(UUID_A, "shop.orders", "{\"_id\":2}"));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }\n");
    assert_int_equal(ts_secs(replay_last(f->r)), FIXTURE_MOMENT);
}

static void
an_unknown_collection_in_the_window_must_be_dropped_in_it(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, INSERT(UUID_B, "shop.gone", "{\"_id\":1}"));
    fixture_ok(f, 16, COMMAND(UUID_B, "{\"drop\":\"gone\"}"));
    fixture_ok(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_ok(f, FIXTURE_T_END + 11, INSERT(UUID_A, "shop.orders", "{\"_id\":2}"));
}

static void
an_unknown_collection_left_by_the_window_is_corruption(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, INSERT(UUID_B, "shop.gone", "{\"_id\":1}"));
    assert_int_equal(fixture_feed(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":1}")),
                     PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "never drops"));
}

static void
an_unknown_collection_after_the_window_is_corruption(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fixture_feed(f, 30, INSERT(UUID_B, "shop.gone", "{\"_id\":1}")), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "shop.gone"));
}

static void
create_in_the_window_starts_a_known_collection_over(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, CREATE(UUID_A, "orders", ",\"capped\":true,\"size\":4096"));
    fixture_ok(f, 16, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    assert_string_equal(fixture_catalog(f),
                        "shop.orders new { \"capped\" : true, \"size\" : 4096 } { "
                        "\"0\" : " ID_INDEX " } { \"_id\" : 1 }\n");
}

static void
create_of_a_known_collection_after_the_window_is_corruption(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fixture_feed(f, 30, CREATE(UUID_A, "orders", "")), PITR_CORRUPT);
}

static void
an_unknown_collection_that_is_replaced_in_the_window_is_resolved(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 14, COMMAND(UUID_B, "{\"collMod\":\"gone\",\"validationLevel\":\"off\"}"));
    fixture_ok(f, 15, INSERT(UUID_B, "shop.gone", "{\"_id\":1}"));
    fixture_ok(f, 16, RENAME(UUID_A, "shop.orders", "shop.gone", ",\"dropTarget\":" UUID_B));
    assert_string_equal(fixture_catalog(f), "shop.gone base { } { \"0\" : " ID_INDEX " } \n");
}

static void
an_unknown_collection_that_is_renamed_in_the_window_must_be_dropped_too(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, RENAME(UUID_B, "shop.gone", "shop.away", ""));
    assert_int_equal(replay_finish(f->r, &f->err), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "never drops"));
}

static void
an_insert_in_the_window_replaces_the_document_of_the_base(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, INSERT(UUID_A, "shop.orders", "{\"_id\":1,\"a\":1}"));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1, \"a\" : 1 }\n");
    assert_string_equal(fixture_document(f, "{\"_id\":1,\"a\":2}"), "gone");
}

static void
an_insert_after_the_window_over_a_document_of_the_base_is_corruption(void **state)
{
    struct fixture *f = *state;
    struct buf doc = {0}, out = {0}, scratch = {0};
    enum net_verdict verdict;

    fixture_ok(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":1,\"a\":1}"));
    fixture_catalog(f);
    assert_int_equal(buf_append(&doc, "\x0e\0\0\0\x10_id\0\1\0\0\0", 14, &f->err), PITR_OK);
    assert_int_equal(
        net_filter(replay_at(f->r, 0)->net, doc.data, doc.len, &verdict, &out, &scratch, &f->err),
        PITR_CORRUPT);
    buf_release(&doc);
    buf_release(&out);
    buf_release(&scratch);
}

static void
two_inserts_of_one_document_are_corruption(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_refused(f, 31, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"), PITR_CORRUPT,
                    "replay of shop.orders at 31,1: insert", "exists");
}

static void
a_delete_in_the_window_of_no_document_is_nothing(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, DELETE(UUID_A, "shop.orders", "{\"_id\":1,\"shard\":7}"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
    assert_string_equal(fixture_document(f, "{\"_id\":1}"), "gone");
}

static enum pitr_rc
ignore_document(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    (void)arg;
    (void)doc;
    (void)len;
    (void)err;
    return PITR_OK;
}

/* Finish, with a base of no documents, and the failure's text. */
static const char *
finish_over_nothing(struct fixture *f)
{
    if (replay_finish(f->r, &f->err) == PITR_OK &&
        net_rest(replay_at(f->r, 0)->net, ignore_document, NULL, &f->err) == PITR_OK)
        return "no failure";
    return f->err.msg;
}

static void
a_delete_after_the_window_of_no_document_is_corruption(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, DELETE(UUID_A, "shop.orders", "{\"_id\":1}"));
    assert_non_null(strstr(finish_over_nothing(f), "the snapshot lacks"));
}

static void
an_update_after_the_window_of_no_document_is_corruption(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, UPDATE(UUID_A, "shop.orders", "{\"_id\":1}", SET("\"a\":1")));
    assert_non_null(strstr(finish_over_nothing(f), "the snapshot lacks"));
}

static void
an_update_in_the_window_of_no_document_must_be_resolved(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, UPDATE(UUID_A, "shop.orders", "{\"_id\":1}", SET("\"a\":1")));
    assert_non_null(strstr(finish_over_nothing(f), "never found its document"));
}

static void
an_insert_after_the_window_does_not_resolve_what_the_window_left(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, UPDATE(UUID_A, "shop.orders", "{\"_id\":1}", SET("\"a\":1")));
    fixture_refused(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"), PITR_CORRUPT,
                    "shop.orders at 30,1", "the base lacks");
}

static void
a_missing_document_is_resolved_by_delete_insert_or_drop(void **state)
{
    struct fixture *f = *state;

    fixture_base(f, "shop", "doomed", 2, "{}", false);
    fixture_ok(f, 15, UPDATE(UUID_A, "shop.orders", "{\"_id\":1}", SET("\"a\":1")));
    fixture_ok(f, 15, UPDATE(UUID_A, "shop.orders", "{\"_id\":2}", SET("\"a\":1")));
    fixture_ok(f, 15, UPDATE(UUID_B, "shop.doomed", "{\"_id\":3}", SET("\"a\":1")));
    fixture_ok(f, 16, DELETE(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_ok(f, 16, INSERT(UUID_A, "shop.orders", "{\"_id\":2}"));
    fixture_ok(f, 16, COMMAND(UUID_B, "{\"drop\":\"doomed\"}"));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 2 }\n");
}

static void
a_document_is_known_by_its_id_whatever_the_type_of_number(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":{\"$numberLong\":\"7\"}}"));
    fixture_ok(f, 31, UPDATE(UUID_A, "shop.orders", "{\"_id\":7.0}", SET("\"a\":1")));
    fixture_ok(f, 32,
               UPDATE(UUID_A, "shop.orders", "{\"_id\":{\"$numberDecimal\":\"7\"},\"shard\":1}",
                      SET("\"b\":2")));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 7, \"a\" : 1, \"b\" : 2 }\n");
}

static void
an_upsert_makes_a_missing_document(void **state)
{
    struct fixture *f = *state;

    fixture_ok(
        f, 30,
        "\"b\":true," UPDATE(UUID_A, "shop.orders", "{\"_id\":1,\"shard\":1}", SET("\"a\":1")));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1, \"a\" : 1 }\n");
}

static void
buckets_grow_by_binary_sections(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               INSERT(UUID_A, "shop.orders",
                      "{\"_id\":1,\"control\":{\"count\":1},\"data\":{\"v\":{\"$binary\":{"
                      "\"base64\":\"AQIDBA==\",\"subType\":\"07\"}}}}"));
    fixture_ok(f, 31,
               UPDATE(UUID_A, "shop.orders", "{\"_id\":1}",
                      "{\"$v\":2,\"diff\":{\"scontrol\":{\"u\":{\"count\":2}},\"sdata\":{\"b\":{"
                      "\"v\":{\"o\":2,\"d\":{\"$binary\":{\"base64\":\"BQYH\",\"subType\":\"00\"}"
                      "}}}}}}"));
    assert_string_equal(fixture_catalog(f),
                        ORDERS "{ \"_id\" : 1, \"control\" : { \"count\" : 2 }, \"data\" : { \"v\" "
                               ": { \"$binary\" : { \"base64\" : \"AQIFBgc=\", \"subType\" : "
                               "\"07\" } } } }\n");
}

static void
fields_without_meaning_for_replay_change_nothing(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               "\"fromMigrate\":true,\"stmtId\":0,\"needsRetryImage\":\"preImage\",\"rid\":5,"
               "\"o2\":{\"_id\":1}," LSID "," INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_ok(f, 31,
               "\"stmtId\":[0,1,2]," PREV(
                   "30") ",\"preImageOpTime\":{\"ts\":{\"$timestamp\":{"
                         "\"t\":29,\"i\":1}},\"t\":1},\"checkExistenceForDiffInsert\":true,"
                         "\"versionContext\""
                         ":{}," UPDATE(UUID_A, "shop.orders", "{\"_id\":1}", SET("\"a\":1")));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1, \"a\" : 1 }\n");
}

static void
images_of_retryable_writes_are_no_documents(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               LSID ",\"stmtId\":0,\"op\":\"n\",\"ns\":\"shop.orders\",\"ui\":" UUID_A
                    ",\"o\":{\"_id\":5,\"a\":1}");
    fixture_ok(f, 31, "\"op\":\"n\",\"ns\":\"\",\"o\":{\"msg\":\"new primary\"}");
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
operations_on_what_only_the_server_sees_are_no_documents(void **state)
{
    static const char *const ops[] = {"xi", "xd", "ci", "cu", "cd", "km"};
    struct fixture *f = *state;
    char entry[256];

    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        snprintf(entry, sizeof entry,
                 "\"op\":\"%s\",\"ns\":\"shop.orders\",\"ui\":" UUID_A ",\"o\":{\"_id\":1}",
                 ops[i]);
        fixture_ok(f, 30, entry);
    }
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
a_document_that_4_4_evicted_silently_may_come_again(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "ring", ",\"capped\":true,\"size\":4096,\"max\":1"));
    fixture_ok(f, 31, INSERT(UUID_B, "shop.ring", "{\"_id\":1}"));
    fixture_ok(f, 32, INSERT(UUID_B, "shop.ring", "{\"_id\":2}"));
    fixture_ok(f, 33, INSERT(UUID_B, "shop.ring", "{\"_id\":1,\"a\":1}"));
    assert_string_equal(fixture_catalog(f),
                        ORDERS "\nshop.ring new { \"capped\" : true, \"size\" : 4096, \"max\" : 1 "
                               "} { \"0\" : " ID_INDEX " } { \"_id\" : 2 }{ \"_id\" : 1, \"a\" : "
                               "1 }\n");
}

static void
what_4_4_evicted_silently_may_come_again_in_the_window_too(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 12, CREATE(UUID_B, "ring", ",\"capped\":true,\"size\":4096,\"max\":1"));
    fixture_ok(f, 13, INSERT(UUID_B, "shop.ring", "{\"_id\":1}"));
    fixture_ok(f, 14, INSERT(UUID_B, "shop.ring", "{\"_id\":2}"));
    fixture_ok(f, 15, INSERT(UUID_B, "shop.ring", "{\"_id\":1,\"a\":1}"));
    assert_non_null(strstr(fixture_catalog(f), "} { \"_id\" : 2 }{ \"_id\" : 1, \"a\" : 1 }\n"));
}

static void
what_4_4_evicted_before_it_was_read_needs_no_base(void **state)
{
    struct fixture *f = *state;

    fixture_base(f, "shop", "ring", 2, "{\"capped\":true}", false);
    fixture_ok(f, 15, UPDATE(UUID_B, "shop.ring", "{\"_id\":1}", "{\"$v\":1,\"$set\":{\"a\":1}}"));
    assert_non_null(strstr(fixture_catalog(f), "shop.ring base { \"capped\" : true }"));
}

static void
logged_evictions_are_ordinary_deletes(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "ring", ",\"capped\":true,\"size\":4096,\"max\":1"));
    fixture_ok(f, 31, INSERT(UUID_B, "shop.ring", "{\"_id\":1}"));
    fixture_ok(f, 32, INSERT(UUID_B, "shop.ring", "{\"_id\":2}"));
    fixture_ok(f, 32, DELETE(UUID_B, "shop.ring", "{\"_id\":1}"));
    assert_non_null(strstr(fixture_catalog(f), "} { \"_id\" : 2 }\n"));
}

static void
a_whole_entry_without_a_uuid_is_refused(void **state)
{
    struct fixture *f = *state;

    fixture_refused(f, 30, "\"op\":\"i\",\"ns\":\"shop.orders\",\"o\":{\"_id\":1}", PITR_CORRUPT,
                    "field ui: missing", "shop.orders");
    fixture_refused(f, 30, "\"op\":\"c\",\"ns\":\"shop.$cmd\",\"o\":{\"drop\":\"orders\"}",
                    PITR_CORRUPT, "field ui: missing", "drop");
}

static void
an_unknown_command_stops_with_the_entry_shown(void **state)
{
    struct fixture *f = *state;

    fixture_refused(f, 30, COMMAND(UUID_A, "{\"transmogrify\":\"orders\"}"), PITR_CORRUPT,
                    "oplog entry 30,1: a command this version does not know",
                    "\"o\" : { \"transmogrify\" : \"orders\" }");
    fixture_refused(f, 31, COMMAND(UUID_A, "{\"collMod\":\"orders\",\"newThing\":1}"), PITR_CORRUPT,
                    "collMod changes something", "newThing");
    fixture_refused(f, 32, COMMAND(UUID_A, "{}"), PITR_CORRUPT, "does not know", "shop.$cmd");
}

static void
an_unknown_operation_stops_with_the_entry_shown(void **state)
{
    struct fixture *f = *state;

    fixture_refused(f, 30, "\"op\":\"zz\",\"ns\":\"shop.orders\",\"o\":{\"strange\":1}",
                    PITR_CORRUPT, "oplog entry 30,1: field op", "strange");
}

static void
a_long_entry_is_shown_in_part(void **state)
{
    struct fixture *f = *state;
    char entry[4096];
    int n = snprintf(entry, sizeof entry,
                     "\"op\":\"c\",\"ns\":\"shop.$cmd\"," LSID ",\"ui\":" UUID_A
                     ",\"o\":{\"transmogrify\":\"%0*d\"}",
                     2000, 7);

    assert_in_range(n, 2000, sizeof entry - 1);
    fixture_refused(f, 30, entry, PITR_CORRUPT, "transmogrify", "0000...");
    assert_null(strstr(f->err.msg, "lsid"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(entries_up_to_t_start_are_not_applied),
        T(entries_after_the_moment_are_not_applied),
        T(an_unknown_collection_in_the_window_must_be_dropped_in_it),
        T(an_unknown_collection_left_by_the_window_is_corruption),
        T(an_unknown_collection_after_the_window_is_corruption),
        T(create_in_the_window_starts_a_known_collection_over),
        T(create_of_a_known_collection_after_the_window_is_corruption),
        T(an_unknown_collection_that_is_replaced_in_the_window_is_resolved),
        T(an_unknown_collection_that_is_renamed_in_the_window_must_be_dropped_too),
        T(an_insert_in_the_window_replaces_the_document_of_the_base),
        T(an_insert_after_the_window_over_a_document_of_the_base_is_corruption),
        T(two_inserts_of_one_document_are_corruption),
        T(a_delete_in_the_window_of_no_document_is_nothing),
        T(a_delete_after_the_window_of_no_document_is_corruption),
        T(an_update_after_the_window_of_no_document_is_corruption),
        T(an_update_in_the_window_of_no_document_must_be_resolved),
        T(an_insert_after_the_window_does_not_resolve_what_the_window_left),
        T(a_missing_document_is_resolved_by_delete_insert_or_drop),
        T(a_document_is_known_by_its_id_whatever_the_type_of_number),
        T(an_upsert_makes_a_missing_document),
        T(buckets_grow_by_binary_sections),
        T(fields_without_meaning_for_replay_change_nothing),
        T(images_of_retryable_writes_are_no_documents),
        T(operations_on_what_only_the_server_sees_are_no_documents),
        cmocka_unit_test_setup_teardown(what_4_4_evicted_silently_may_come_again_in_the_window_too,
                                        fixture_setup_44, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_4_4_evicted_before_it_was_read_needs_no_base,
                                        fixture_setup_44, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_document_that_4_4_evicted_silently_may_come_again,
                                        fixture_setup_44, fixture_teardown),
        T(logged_evictions_are_ordinary_deletes),
        T(a_whole_entry_without_a_uuid_is_refused),
        T(an_unknown_command_stops_with_the_entry_shown),
        T(an_unknown_operation_stops_with_the_entry_shown),
        T(a_long_entry_is_shown_in_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
