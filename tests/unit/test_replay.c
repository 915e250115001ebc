/* Claims about oplog/replay.h: catalog and documents at a moment, from a base and oplog entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bson/bson.h>

#include "oplog/replay.h"
#include "tests/support/ejson.h"

/* Time in these tests: the base was scanned in (10, 20], the moment is 100. */
enum { T_START = 10, T_END = 20, MOMENT = 100 };

#define UUID_A "{\"$binary\":{\"base64\":\"AAAAAAAAAAAAAAAAAAAAAQ==\",\"subType\":\"04\"}}"
#define UUID_B "{\"$binary\":{\"base64\":\"AAAAAAAAAAAAAAAAAAAAAg==\",\"subType\":\"04\"}}"
#define UUID_C "{\"$binary\":{\"base64\":\"AAAAAAAAAAAAAAAAAAAAAw==\",\"subType\":\"04\"}}"

struct fixture {
    struct replay *r;
    struct pitr_err err;
    struct buf entry;
    char text[1024];
};

static const uint8_t uuid_a[UUID_LEN] = {[15] = 1};
static const uint8_t uuid_b[UUID_LEN] = {[15] = 2};

static void
base(struct fixture *f, const char *db, const char *name, const uint8_t uuid[UUID_LEN], size_t n,
     const char *options)
{
    struct buf opts = {0}, indexes = {0};

    ejson(&opts, options);
    ejson(&indexes, "{\"0\":{\"v\":2,\"key\":{\"_id\":1},\"name\":\"_id_\"}}");
    assert_int_equal(replay_add_base(f->r, db, name, uuid, &opts, &indexes, n, false, &f->err),
                     PITR_OK);
    buf_release(&opts);
    buf_release(&indexes);
}

static char *const excluded[] = {"shop.tmp_*", "shop.weather"};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct replay_opts opts = {.t_start = ts_make(T_START, 1),
                               .t_end = ts_make(T_END, 1),
                               .to = ts_make(MOMENT, 1),
                               .order = FIELD_ORDER_NUMERIC,
                               .exclude = excluded,
                               .nexclude = 2};

    *state = f;
    if (f == NULL || replay_new(&f->r, &opts, &f->err) != PITR_OK)
        return 1;
    base(f, "shop", "orders", uuid_a, 0, "{}");
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    replay_free(f->r);
    buf_release(&f->entry);
    free(f);
    return 0;
}

/* Feed one entry at second `at`; `rest` are its fields but ts, t, v and wall. */
static enum pitr_rc
feed(struct fixture *f, unsigned at, const char *rest)
{
    struct oplog_entry e;
    char text[4096];
    int n =
        snprintf(text, sizeof text,
                 "{\"ts\":{\"$timestamp\":{\"t\":%u,\"i\":1}},\"t\":{\"$numberLong\":\"1\"},"
                 "\"v\":{\"$numberLong\":\"2\"},\"wall\":{\"$date\":{\"$numberLong\":\"0\"}},%s}",
                 at, rest);

    assert_true(n > 0 && (size_t)n < sizeof text);
    ejson(&f->entry, text);
    if (oplog_entry_parse(&e, f->entry.data, f->entry.len, &f->err) != PITR_OK)
        return f->err.rc;
    return replay_entry(f->r, &e, &f->err);
}

static void
ok(struct fixture *f, unsigned at, const char *rest)
{
    if (feed(f, at, rest) != PITR_OK)
        fail_msg("%s: %s", rest, f->err.msg);
}

static void
append(char *to, size_t cap, const char *text)
{
    size_t used = strlen(to);

    assert_true((size_t)snprintf(to + used, cap - used, "%s", text) < cap - used);
}

static enum pitr_rc
append_doc(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct fixture *f = arg;
    char *text = ejson_text(doc, len);

    (void)err;
    append(f->text, sizeof f->text, text);
    bson_free(text);
    return PITR_OK;
}

/* Everything alive, one line each: "db.name base options indexes docs". */
static const char *
catalog(struct fixture *f)
{
    if (replay_finish(f->r, &f->err) != PITR_OK)
        fail_msg("%s", f->err.msg);
    f->text[0] = '\0';
    for (size_t i = 0; i < replay_count(f->r); i++) {
        struct replay_coll *c = replay_at(f->r, i);
        char *options, *indexes;
        size_t used = strlen(f->text);

        if (c->dropped || c->excluded)
            continue;
        options = ejson_text(c->options.data, c->options.len);
        indexes = ejson_text(c->indexes.data, c->indexes.len);
        snprintf(f->text + used, sizeof f->text - used, "%s.%s %s %s %s ", c->db, c->name,
                 c->base == REPLAY_NO_BASE ? "new" : "base", options, indexes);
        bson_free(options);
        bson_free(indexes);
        if (net_rest(c->net, append_doc, f, &f->err) != PITR_OK)
            fail_msg("%s", f->err.msg);
        append(f->text, sizeof f->text, "\n");
    }
    return f->text;
}

#define ID_INDEX "{ \"v\" : 2, \"key\" : { \"_id\" : 1 }, \"name\" : \"_id_\" }"
#define ORDERS "shop.orders base { } { \"0\" : " ID_INDEX " } "
#define INSERT(uuid, ns, doc) "\"op\":\"i\",\"ns\":\"" ns "\",\"ui\":" uuid ",\"o\":" doc
#define COMMAND(uuid, o) "\"op\":\"c\",\"ns\":\"shop.$cmd\",\"ui\":" uuid ",\"o\":" o
#define CREATE(uuid, name, options)                                                                \
    COMMAND(uuid, "{\"create\":\"" name "\"" options                                               \
                  ",\"idIndex\":{\"v\":2,\"key\":{\"_id\":1},\"name\":\"_id_\"}}")

static void
entries_up_to_t_start_are_not_applied(void **state)
{
    struct fixture *f = *state;

    ok(f, 5, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    ok(f, T_START, INSERT(UUID_A, "shop.orders", "{\"_id\":2}"));
    ok(f, 11, INSERT(UUID_A, "shop.orders", "{\"_id\":3}"));
    assert_string_equal(catalog(f), ORDERS "{ \"_id\" : 3 }\n");
}

static void
entries_after_the_moment_are_not_applied(void **state)
{
    struct fixture *f = *state;

    ok(f, MOMENT, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    ok(f, MOMENT + 1, INSERT(UUID_A, "shop.orders", "{\"_id\":2}"));
    assert_string_equal(catalog(f), ORDERS "{ \"_id\" : 1 }\n");
    assert_int_equal(ts_secs(replay_last(f->r)), MOMENT);
}

static void
a_renamed_collection_keeps_documents_and_indexes(void **state)
{
    struct fixture *f = *state;

    ok(f, 30,
       COMMAND(UUID_A,
               "{\"createIndexes\":\"orders\",\"v\":2,\"key\":{\"a\":1},\"name\":\"a_1\"}"));
    ok(f, 31,
       COMMAND(UUID_A,
               "{\"renameCollection\":\"shop.orders\",\"to\":\"crm.past\",\"stayTemp\":false}"));
    assert_string_equal(catalog(f),
                        "crm.past base { } { \"0\" : " ID_INDEX ", \"1\" : { \"v\" : 2, "
                        "\"key\" : { \"a\" : 1 }, \"name\" : \"a_1\" } } \n");
}

static void
a_rename_over_a_target_drops_it(void **state)
{
    struct fixture *f = *state;

    base(f, "shop", "old", uuid_b, 1, "{}");
    ok(f, 30,
       COMMAND(UUID_A, "{\"renameCollection\":\"shop.orders\",\"to\":\"shop.old\","
                       "\"stayTemp\":false,\"dropTarget\":" UUID_B "}"));
    assert_string_equal(catalog(f), "shop.old base { } { \"0\" : " ID_INDEX " } \n");
}

static void
out_leaves_the_new_collection_and_no_temporaries(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, CREATE(UUID_B, "tmp.agg_out.1", ",\"temp\":true"));
    ok(f, 31, INSERT(UUID_B, "shop.tmp.agg_out.1", "{\"_id\":1}"));
    ok(f, 32,
       COMMAND(UUID_B, "{\"renameCollection\":\"shop.tmp.agg_out.1\",\"to\":\"shop.orders\","
                       "\"stayTemp\":false,\"dropTarget\":" UUID_A "}"));
    assert_string_equal(catalog(f),
                        "shop.orders new { } { \"0\" : " ID_INDEX " } { \"_id\" : 1 }\n");
}

static void
a_temporary_collection_is_gone_at_the_moment(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, CREATE(UUID_B, "tmp.agg_out.1", ",\"temp\":true"));
    assert_string_equal(catalog(f), ORDERS "\n");
}

static void
a_dropped_database_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, COMMAND(UUID_A, "{\"drop\":\"orders\"}"));
    ok(f, 31, "\"op\":\"c\",\"ns\":\"shop.$cmd\",\"o\":{\"dropDatabase\":1}");
    assert_string_equal(catalog(f), "");
}

static void
drop_database_without_its_drops_is_corruption(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(feed(f, 31, "\"op\":\"c\",\"ns\":\"shop.$cmd\",\"o\":{\"dropDatabase\":1}"),
                     PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "dropDatabase"));
}

static void
create_in_the_window_starts_a_known_collection_over(void **state)
{
    struct fixture *f = *state;

    ok(f, 15, CREATE(UUID_A, "orders", ",\"capped\":true,\"size\":4096"));
    ok(f, 16, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    assert_string_equal(catalog(f), "shop.orders new { \"capped\" : true, \"size\" : 4096 } { "
                                    "\"0\" : " ID_INDEX " } { \"_id\" : 1 }\n");
}

static void
create_of_a_known_collection_after_the_window_is_corruption(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(feed(f, 30, CREATE(UUID_A, "orders", "")), PITR_CORRUPT);
}

static void
an_unknown_collection_in_the_window_must_be_dropped_in_it(void **state)
{
    struct fixture *f = *state;

    ok(f, 15, INSERT(UUID_B, "shop.gone", "{\"_id\":1}"));
    ok(f, 16, COMMAND(UUID_B, "{\"drop\":\"gone\"}"));
    ok(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    ok(f, T_END + 11, INSERT(UUID_A, "shop.orders", "{\"_id\":2}"));
}

static void
an_unknown_collection_left_by_the_window_is_corruption(void **state)
{
    struct fixture *f = *state;

    ok(f, 15, INSERT(UUID_B, "shop.gone", "{\"_id\":1}"));
    assert_int_equal(feed(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":1}")), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "never drops"));
}

static void
an_unknown_collection_after_the_window_is_corruption(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(feed(f, 30, INSERT(UUID_B, "shop.gone", "{\"_id\":1}")), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "shop.gone"));
}

static void
index_builds_count_when_they_commit(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, COMMAND(UUID_A, "{\"startIndexBuild\":\"orders\",\"indexes\":[]}"));
    ok(f, 31,
       COMMAND(UUID_A,
               "{\"commitIndexBuild\":\"orders\",\"indexes\":[{\"v\":2,\"key\":{"
               "\"a\":1},\"name\":\"a_1\"},{\"v\":2,\"key\":{\"b\":1},\"name\":\"b_1\"}]}"));
    ok(f, 32, COMMAND(UUID_A, "{\"dropIndexes\":\"orders\",\"index\":\"a_1\"}"));
    assert_string_equal(catalog(f),
                        "shop.orders base { } { \"0\" : " ID_INDEX ", \"1\" : { \"v\" : "
                        "2, \"key\" : { \"b\" : 1 }, \"name\" : \"b_1\" } } \n");
}

static void
coll_mod_hides_and_shows_an_index(void **state)
{
    struct fixture *f = *state;

    ok(f, 30,
       COMMAND(UUID_A, "{\"createIndexes\":\"orders\",\"v\":2,\"key\":{\"a\":1},\"name\":\"a\"}"));
    ok(f, 31,
       COMMAND(UUID_A, "{\"collMod\":\"orders\",\"index\":{\"name\":\"a\",\"hidden\":true}}"));
    ok(f, 32,
       COMMAND(UUID_A,
               "{\"collMod\":\"orders\",\"index\":{\"name\":\"a\",\"expireAfterSeconds\":5}}"));
    ok(f, 33,
       COMMAND(UUID_A, "{\"collMod\":\"orders\",\"index\":{\"name\":\"a\",\"hidden\":false}}"));
    assert_string_equal(catalog(f),
                        "shop.orders base { } { \"0\" : " ID_INDEX ", \"1\" : { \"v\" : "
                        "2, \"key\" : { \"a\" : 1 }, \"name\" : \"a\", "
                        "\"expireAfterSeconds\" : 5 } } \n");
}

static void
coll_mod_of_a_validator_sets_level_and_action(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, COMMAND(UUID_A, "{\"collMod\":\"orders\",\"validator\":{\"a\":1}}"));
    assert_string_equal(catalog(f), "shop.orders base { \"validator\" : { \"a\" : 1 }, "
                                    "\"validationLevel\" : \"strict\", \"validationAction\" : "
                                    "\"error\" } { \"0\" : " ID_INDEX " } \n");
}

static void
an_unknown_command_stops_with_the_entry_shown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(feed(f, 30, COMMAND(UUID_A, "{\"transmogrify\":\"orders\"}")), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "transmogrify"));
    assert_int_equal(feed(f, 31, COMMAND(UUID_A, "{\"collMod\":\"orders\",\"newThing\":1}")),
                     PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "newThing"));
}

#define LSID "\"lsid\":{\"id\":1},\"txnNumber\":{\"$numberLong\":\"1\"}"
#define PREV(t)                                                                                    \
    "\"prevOpTime\":{\"ts\":{\"$timestamp\":{\"t\":" t ",\"i\":1}},\"t\":{\"$numberLong\":\"1\"}}"
#define NO_PREV                                                                                    \
    "\"prevOpTime\":{\"ts\":{\"$timestamp\":{\"t\":0,\"i\":0}},\"t\":{\"$numberLong\":\"-1\"}}"
#define APPLY(prev, doc, flags)                                                                    \
    "\"op\":\"c\",\"ns\":\"admin.$cmd\"," LSID "," prev                                            \
    ",\"o\":{\"applyOps\":[{" INSERT(UUID_A, "shop.orders", doc) "}]" flags "}"

static void
a_transaction_of_several_entries_takes_effect_at_its_last(void **state)
{
    struct fixture *f = *state;

    ok(f, 5, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    ok(f, 30, APPLY(PREV("5"), "{\"_id\":2}", ",\"partialTxn\":true"));
    ok(f, 31, INSERT(UUID_A, "shop.orders", "{\"_id\":9}"));
    ok(f, 32, APPLY(PREV("30"), "{\"_id\":3}", ",\"count\":{\"$numberLong\":\"3\"}"));
    assert_string_equal(catalog(f), ORDERS "{ \"_id\" : 9 }{ \"_id\" : 1 }{ \"_id\" : 2 }{ \"_id\" "
                                           ": 3 }\n");
}

static void
a_transaction_without_its_first_piece_stops(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(feed(f, 30, APPLY(PREV("4"), "{\"_id\":2}", "")), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "capture starts after"));
}

static void
a_transaction_with_a_wrong_count_stops(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    assert_int_equal(
        feed(f, 32, APPLY(PREV("30"), "{\"_id\":3}", ",\"count\":{\"$numberLong\":\"7\"}")),
        PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "count"));
}

static void
a_transaction_that_never_ends_has_no_effect(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    assert_string_equal(catalog(f), ORDERS "\n");
}

#define COMMIT(prev, at)                                                                           \
    "\"op\":\"c\",\"ns\":\"admin.$cmd\"," LSID "," prev                                            \
    ",\"o\":{\"commitTransaction\":1,\"commitTimestamp\":{\"$timestamp\":{\"t\":" at ",\"i\":1}}}"

static void
a_prepared_transaction_counts_if_it_commits(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    assert_int_equal(replay_pending(f->r), 1);
    ok(f, 40, COMMIT(PREV("30"), "30"));
    assert_int_equal(replay_pending(f->r), 0);
    assert_string_equal(catalog(f), ORDERS "{ \"_id\" : 1 }\n");
}

static void
a_commit_after_the_moment_counts_by_its_commit_timestamp(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    ok(f, MOMENT + 5, COMMIT(PREV("30"), "30"));
    assert_string_equal(catalog(f), ORDERS "{ \"_id\" : 1 }\n");
}

static void
a_commit_timestamp_after_the_moment_does_not_count(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    ok(f, MOMENT + 5, COMMIT(PREV("30"), "103"));
    assert_string_equal(catalog(f), ORDERS "\n");
}

static void
an_aborted_transaction_has_no_effect(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    ok(f, 40,
       "\"op\":\"c\",\"ns\":\"admin.$cmd\"," LSID "," PREV("30") ",\"o\":{\"abortTransaction\":1}");
    assert_int_equal(replay_pending(f->r), 0);
    assert_string_equal(catalog(f), ORDERS "\n");
}

static void
a_vectored_insert_is_no_transaction(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, "\"multiOpType\":1," APPLY(PREV("3"), "{\"_id\":1}", ""));
    assert_string_equal(catalog(f), ORDERS "{ \"_id\" : 1 }\n");
}

static void
server_bookkeeping_is_not_replayed(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, INSERT(UUID_B, "config.transactions", "{\"_id\":1}"));
    ok(f, 31, INSERT(UUID_B, "admin.system.keys", "{\"_id\":1}"));
    ok(f, 32, "\"op\":\"n\",\"ns\":\"shop.orders\",\"ui\":" UUID_A ",\"o\":{\"_id\":5}");
    assert_string_equal(catalog(f), ORDERS "\n");
}

static void
a_change_of_feature_compatibility_version_wants_a_new_base(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(feed(f, 30,
                          "\"op\":\"u\",\"ns\":\"admin.system.version\",\"ui\":" UUID_B
                          ",\"o2\":{\"_id\":\"featureCompatibilityVersion\"},\"o\":{\"$v\":2,"
                          "\"diff\":{\"u\":{\"version\":\"6.0\"}}}"),
                     PITR_GAP);
}

static void
excluded_names_are_followed_but_not_restored(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, CREATE(UUID_B, "tmp_x", ""));
    ok(f, 31, INSERT(UUID_B, "shop.tmp_x", "{\"_id\":1}"));
    ok(f, 32, COMMAND(UUID_B, "{\"drop\":\"tmp_x\"}"));
    ok(f, 33, CREATE(UUID_C, "tmp_y", ""));
    assert_string_equal(catalog(f), ORDERS "\n");
}

static void
buckets_are_excluded_by_the_name_users_see(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, CREATE(UUID_B, "system.buckets.weather", ""));
    ok(f, 31, INSERT(UUID_B, "shop.system.buckets.weather", "{\"_id\":1}"));
    assert_string_equal(catalog(f), ORDERS "\n");
}

static void
a_rename_out_of_the_excluded_names_is_refused(void **state)
{
    struct fixture *f = *state;

    ok(f, 30, CREATE(UUID_B, "tmp_x", ""));
    ok(f, 31,
       COMMAND(UUID_B,
               "{\"renameCollection\":\"shop.tmp_x\",\"to\":\"shop.x\",\"stayTemp\":false}"));
    assert_int_equal(replay_finish(f->r, &f->err), PITR_GAP);
    assert_non_null(strstr(f->err.msg, "excluded"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(entries_up_to_t_start_are_not_applied),
        T(entries_after_the_moment_are_not_applied),
        T(a_renamed_collection_keeps_documents_and_indexes),
        T(a_rename_over_a_target_drops_it),
        T(out_leaves_the_new_collection_and_no_temporaries),
        T(a_temporary_collection_is_gone_at_the_moment),
        T(a_dropped_database_leaves_nothing),
        T(drop_database_without_its_drops_is_corruption),
        T(create_in_the_window_starts_a_known_collection_over),
        T(create_of_a_known_collection_after_the_window_is_corruption),
        T(an_unknown_collection_in_the_window_must_be_dropped_in_it),
        T(an_unknown_collection_left_by_the_window_is_corruption),
        T(an_unknown_collection_after_the_window_is_corruption),
        T(index_builds_count_when_they_commit),
        T(coll_mod_hides_and_shows_an_index),
        T(coll_mod_of_a_validator_sets_level_and_action),
        T(an_unknown_command_stops_with_the_entry_shown),
        T(a_transaction_of_several_entries_takes_effect_at_its_last),
        T(a_transaction_without_its_first_piece_stops),
        T(a_transaction_with_a_wrong_count_stops),
        T(a_transaction_that_never_ends_has_no_effect),
        T(a_prepared_transaction_counts_if_it_commits),
        T(a_commit_after_the_moment_counts_by_its_commit_timestamp),
        T(a_commit_timestamp_after_the_moment_does_not_count),
        T(an_aborted_transaction_has_no_effect),
        T(a_vectored_insert_is_no_transaction),
        T(server_bookkeeping_is_not_replayed),
        T(a_change_of_feature_compatibility_version_wants_a_new_base),
        T(excluded_names_are_followed_but_not_restored),
        T(buckets_are_excluded_by_the_name_users_see),
        T(a_rename_out_of_the_excluded_names_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
