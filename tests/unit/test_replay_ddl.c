/* Claims about oplog/replay.h: commands that make, name and drop collections and indexes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/replay_fixture.h"

static void
a_renamed_collection_keeps_documents_and_indexes(void **state)
{
    struct fixture *f = *state;

    fixture_ok(
        f, 30,
        COMMAND(UUID_A,
                "{\"createIndexes\":\"orders\",\"v\":2,\"key\":{\"a\":1},\"name\":\"a_1\"}"));
    fixture_ok(
        f, 31,
        COMMAND(UUID_A,
                "{\"renameCollection\":\"shop.orders\",\"to\":\"crm.past\",\"stayTemp\":false}"));
    assert_string_equal(fixture_catalog(f),
                        "crm.past base { } { \"0\" : " ID_INDEX ", \"1\" : { \"v\" : 2, "
                        "\"key\" : { \"a\" : 1 }, \"name\" : \"a_1\" } } \n");
}

static void
a_rename_over_a_target_drops_it(void **state)
{
    struct fixture *f = *state;

    fixture_base(f, "shop", "old", 2, "{}", false);
    fixture_ok(f, 30,
               COMMAND(UUID_A, "{\"renameCollection\":\"shop.orders\",\"to\":\"shop.old\","
                               "\"stayTemp\":false,\"dropTarget\":" UUID_B "}"));
    assert_string_equal(fixture_catalog(f), "shop.old base { } { \"0\" : " ID_INDEX " } \n");
}

static void
out_leaves_the_new_collection_and_no_temporaries(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "tmp.agg_out.1", ",\"temp\":true"));
    fixture_ok(f, 31, INSERT(UUID_B, "shop.tmp.agg_out.1", "{\"_id\":1}"));
    fixture_ok(f, 32,
               COMMAND(UUID_B,
                       "{\"renameCollection\":\"shop.tmp.agg_out.1\",\"to\":\"shop.orders\","
                       "\"stayTemp\":false,\"dropTarget\":" UUID_A "}"));
    assert_string_equal(fixture_catalog(f),
                        "shop.orders new { } { \"0\" : " ID_INDEX " } { \"_id\" : 1 }\n");
}

static void
a_temporary_collection_is_gone_at_the_moment(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "tmp.agg_out.1", ",\"temp\":true"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
a_dropped_database_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, COMMAND(UUID_A, "{\"drop\":\"orders\"}"));
    fixture_ok(f, 31, "\"op\":\"c\",\"ns\":\"shop.$cmd\",\"o\":{\"dropDatabase\":1}");
    assert_string_equal(fixture_catalog(f), "");
}

static void
drop_database_without_its_drops_is_corruption(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(
        fixture_feed(f, 31, "\"op\":\"c\",\"ns\":\"shop.$cmd\",\"o\":{\"dropDatabase\":1}"),
        PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "dropDatabase"));
}

static void
index_builds_count_when_they_commit(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, COMMAND(UUID_A, "{\"startIndexBuild\":\"orders\",\"indexes\":[]}"));
    fixture_ok(
        f, 31,
        COMMAND(UUID_A,
                "{\"commitIndexBuild\":\"orders\",\"indexes\":[{\"v\":2,\"key\":{"
                "\"a\":1},\"name\":\"a_1\"},{\"v\":2,\"key\":{\"b\":1},\"name\":\"b_1\"}]}"));
    fixture_ok(f, 32, COMMAND(UUID_A, "{\"dropIndexes\":\"orders\",\"index\":\"a_1\"}"));
    assert_string_equal(fixture_catalog(f),
                        "shop.orders base { } { \"0\" : " ID_INDEX ", \"1\" : { \"v\" : "
                        "2, \"key\" : { \"b\" : 1 }, \"name\" : \"b_1\" } } \n");
}

static void
create_keeps_the_options_but_not_the_command(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               "\"o2\":{\"catalogId\":7,\"ident\":\"c-7\"}," CREATE(
                   UUID_B, "n", ",\"validator\":{\"a\":1},\"expireAfterSeconds\":5"));
    assert_string_equal(fixture_catalog(f),
                        ORDERS "\nshop.n new { \"validator\" : { \"a\" : 1 }, "
                               "\"expireAfterSeconds\" : 5 } { \"0\" : " ID_INDEX " } \n");
}

static void
a_collection_without_an_id_index_gets_an_old_one_unless_it_is_clustered(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, COMMAND(UUID_B, "{\"create\":\"old\"}"));
    fixture_ok(f, 31, COMMAND(UUID_C, "{\"create\":\"clustered\",\"clusteredIndex\":true}"));
    assert_string_equal(fixture_catalog(f),
                        ORDERS "\nshop.old new { } { \"0\" : { \"v\" : 1, \"key\" : { \"_id\" : 1 "
                               "}, \"name\" : \"_id_\" } } \n"
                               "shop.clustered new { \"clusteredIndex\" : true } { } \n");
}

static void
names_may_collide_in_the_window_but_not_at_the_moment(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, CREATE(UUID_B, "orders", ""));
    assert_int_equal(replay_finish(f->r, &f->err), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "two collections are called shop.orders"));
    fixture_ok(f, 16, COMMAND(UUID_A, "{\"drop\":\"orders\"}"));
    assert_string_equal(fixture_catalog(f), "shop.orders new { } { \"0\" : " ID_INDEX " } \n");
}

static void
dropping_a_database_in_the_window_drops_nothing_by_name(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, "\"op\":\"c\",\"ns\":\"shop.$cmd\",\"o\":{\"dropDatabase\":1}");
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
a_rename_clears_temp_unless_told_not_to(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "x", ",\"temp\":true"));
    fixture_ok(f, 31,
               COMMAND(UUID_B, "{\"renameCollection\":\"shop.x\",\"to\":\"shop.y\","
                               "\"stayTemp\":true}"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
a_rename_across_databases_is_a_copy_with_a_new_uuid(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               "\"op\":\"c\",\"ns\":\"crm.$cmd\",\"ui\":" UUID_B
               ",\"o\":{\"create\":\"tmpAb3dE.renameCollection\",\"idIndex\":{\"v\":2,\"key\":{"
               "\"_id\":1},\"name\":\"_id_\"}}");
    fixture_ok(f, 31, INSERT(UUID_B, "crm.tmpAb3dE.renameCollection", "{\"_id\":1}"));
    fixture_ok(f, 32,
               "\"op\":\"c\",\"ns\":\"crm.$cmd\",\"ui\":" UUID_B
               ",\"o\":{\"createIndexes\":\"tmpAb3dE.renameCollection\"," A_SPEC "}");
    fixture_ok(
        f, 33,
        "\"op\":\"c\",\"ns\":\"crm.$cmd\",\"ui\":" UUID_B
        ",\"o\":{\"renameCollection\":\"crm.tmpAb3dE.renameCollection\",\"to\":\"crm.orders\""
        ",\"stayTemp\":false}");
    fixture_ok(f, 34, COMMAND(UUID_A, "{\"drop\":\"orders\"}"));
    assert_string_equal(fixture_catalog(f),
                        "crm.orders new { } " WITH_INDEX(A_INDEX) "{ \"_id\" : 1 }\n");
}

static void
a_rename_whose_target_is_not_known_is_corruption_after_the_window(void **state)
{
    struct fixture *f = *state;

    fixture_refused(f, 30, RENAME(UUID_A, "shop.orders", "shop.x", ",\"dropTarget\":" UUID_B),
                    PITR_CORRUPT, "it replaces is not known", "dropTarget");
    fixture_refused(f, 31, RENAME(UUID_B, "shop.x", "shop.y", ""), PITR_CORRUPT, "not known",
                    "renameCollection");
}

static void
a_target_may_be_named_by_truth_alone_as_of_old(void **state)
{
    struct fixture *f = *state;

    fixture_base(f, "shop", "old", 2, "{}", false);
    fixture_ok(f, 30, RENAME(UUID_A, "shop.orders", "shop.old", ",\"dropTarget\":true"));
    assert_string_equal(fixture_catalog(f), "shop.old base { } { \"0\" : " ID_INDEX " } \n");
}

static void
two_collections_swap_their_names(void **state)
{
    struct fixture *f = *state;

    fixture_base(f, "shop", "b", 2, "{\"capped\":true}", false);
    fixture_ok(f, 30, RENAME(UUID_A, "shop.orders", "shop.swap", ""));
    fixture_ok(f, 31, RENAME(UUID_B, "shop.b", "shop.orders", ""));
    fixture_ok(f, 32, RENAME(UUID_A, "shop.swap", "shop.b", ""));
    assert_string_equal(fixture_catalog(f),
                        "shop.b base { } { \"0\" : " ID_INDEX " } \n"
                        "shop.orders base { \"capped\" : true } { \"0\" : " ID_INDEX " } \n");
}

static void
an_index_of_the_same_name_is_replaced(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               COMMAND(UUID_A, "{\"createIndexes\":\"orders\",\"v\":2,\"key\":{\"b\":1},"
                               "\"name\":\"a_1\",\"sparse\":true}"));
    fixture_ok(f, 31, COMMAND(UUID_A, "{\"createIndexes\":\"orders\"," A_SPEC "}"));
    fixture_ok(f, 32,
               COMMAND(UUID_A, "{\"commitIndexBuild\":\"orders\",\"indexes\":[{" A_SPEC "}]}"));
    assert_string_equal(fixture_catalog(f), "shop.orders base { } " WITH_INDEX(A_INDEX) "\n");
}

static void
an_index_build_needs_its_commit_only(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 5,
               COMMAND(UUID_A, "{\"startIndexBuild\":\"orders\",\"indexes\":[{" A_SPEC "}]}"));
    fixture_ok(f, 30,
               COMMAND(UUID_A, "{\"commitIndexBuild\":\"orders\",\"indexes\":[{" A_SPEC "}]}"));
    assert_string_equal(fixture_catalog(f), "shop.orders base { } " WITH_INDEX(A_INDEX) "\n");
}

static void
an_index_build_that_aborts_or_never_ends_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               COMMAND(UUID_A, "{\"startIndexBuild\":\"orders\",\"indexes\":[{" A_SPEC "}]}"));
    fixture_ok(f, 31, COMMAND(UUID_A, "{\"abortIndexBuild\":\"orders\",\"cause\":{\"code\":1}}"));
    fixture_ok(f, 32,
               COMMAND(UUID_A, "{\"startIndexBuild\":\"orders\",\"indexes\":[{" A_SPEC "}]}"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
indexes_are_dropped_by_every_name_the_command_ever_had(void **state)
{
    static const char *const names[] = {"dropIndexes", "deleteIndexes", "dropIndex", "deleteIndex"};
    struct fixture *f = *state;
    char entry[256];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        fixture_ok(f, 30, COMMAND(UUID_A, "{\"createIndexes\":\"orders\"," A_SPEC "}"));
        snprintf(entry, sizeof entry, COMMAND(UUID_A, "{\"%s\":\"orders\",\"index\":\"a_1\"}"),
                 names[i]);
        fixture_ok(f, 31, entry);
    }
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
dropping_all_indexes_leaves_the_one_on_id(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, COMMAND(UUID_A, "{\"createIndexes\":\"orders\"," A_SPEC "}"));
    fixture_ok(f, 31, COMMAND(UUID_A, "{\"dropIndexes\":\"orders\",\"index\":\"*\"}"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
dropping_an_index_that_is_not_there_is_nothing(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, COMMAND(UUID_A, "{\"dropIndexes\":\"orders\",\"index\":\"a_1\"}"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
emptying_a_capped_collection_forgets_the_base(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_ok(f, 31, COMMAND(UUID_A, "{\"emptycapped\":\"orders\"}"));
    fixture_ok(f, 32, INSERT(UUID_A, "shop.orders", "{\"_id\":2}"));
    assert_string_equal(fixture_catalog(f),
                        "shop.orders new { } { \"0\" : " ID_INDEX " } { \"_id\" : 2 }\n");
}

static void
a_conversion_to_capped_is_a_copy_that_loses_indexes(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, COMMAND(UUID_A, "{\"createIndexes\":\"orders\"," A_SPEC "}"));
    fixture_ok(f, 31,
               CREATE(UUID_B, "tmpAb3dE.convertToCapped.orders",
                      ",\"capped\":true,\"size\":8192,\"temp\":true"));
    fixture_ok(f, 32,
               "\"fromMigrate\":true," INSERT(UUID_B, "shop.tmpAb3dE.convertToCapped.orders",
                                              "{\"_id\":1}"));
    fixture_ok(f, 33,
               RENAME(UUID_B, "shop.tmpAb3dE.convertToCapped.orders", "shop.orders",
                      ",\"dropTarget\":" UUID_A));
    assert_string_equal(fixture_catalog(f), "shop.orders new { \"capped\" : true, \"size\" : 8192 "
                                            "} { \"0\" : " ID_INDEX " } { \"_id\" : 1 }\n");
}

static void
the_old_conversion_to_capped_sets_options_and_loses_indexes(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, COMMAND(UUID_A, "{\"createIndexes\":\"orders\"," A_SPEC "}"));
    fixture_ok(f, 31, COMMAND(UUID_A, "{\"convertToCapped\":\"orders\",\"size\":8192}"));
    assert_string_equal(
        fixture_catalog(f),
        "shop.orders base { \"capped\" : true, \"size\" : 8192 } { \"0\" : " ID_INDEX " } \n");
}

static void
what_the_oplog_does_not_tell_wants_a_new_snapshot(void **state)
{
    struct fixture *f = *state;

    fixture_refused(f, 30, COMMAND(UUID_B, "{\"importCollection\":\"shop.i\",\"dryRun\":false}"),
                    PITR_GAP, "importCollection", "take a new snapshot");
    fixture_refused(f, 30, COMMAND(UUID_B, "{\"importCollection\":\"shop.i\"}"), PITR_GAP,
                    "importCollection", "30,1");
    fixture_refused(f, 30, COMMAND(UUID_A, "{\"truncateRange\":\"shop.orders\"}"), PITR_GAP,
                    "truncateRange", "does not name");
    fixture_refused(f, 30, COMMAND(UUID_A, "{\"upgradeDowngradeViewlessTimeseries\":\"orders\"}"),
                    PITR_GAP, "upgradeDowngradeViewlessTimeseries", "30,1");
    fixture_ok(f, 30, COMMAND(UUID_B, "{\"importCollection\":\"shop.i\",\"dryRun\":true}"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
commands_without_effect_on_users_data_are_ignored(void **state)
{
    static const char *const names[] = {
        "dbCheck",           "createDatabaseMetadata", "dropDatabaseMetadata",
        "createGlobalIndex", "dropGlobalIndex",        "modifyCollectionShardingIndexCatalog",
        "dropIdent",         "setMultikeyMetadata",    "startIndexBuild",
        "abortIndexBuild"};
    static const char *const places[] = {"shop.$cmd", "shop.orders", "admin.$cmd", "shop"};
    struct fixture *f = *state;
    char entry[256];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (size_t k = 0; k < sizeof places / sizeof places[0]; k++) {
            snprintf(entry, sizeof entry,
                     "\"op\":\"c\",\"ns\":\"%s\",\"o\":{\"%s\":\"orders\",\"type\":\"batch\"}",
                     places[k], names[i]);
            fixture_ok(f, 30, entry);
        }
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_renamed_collection_keeps_documents_and_indexes),
        T(a_rename_over_a_target_drops_it),
        T(out_leaves_the_new_collection_and_no_temporaries),
        T(a_temporary_collection_is_gone_at_the_moment),
        T(a_dropped_database_leaves_nothing),
        T(drop_database_without_its_drops_is_corruption),
        T(index_builds_count_when_they_commit),
        T(create_keeps_the_options_but_not_the_command),
        T(a_collection_without_an_id_index_gets_an_old_one_unless_it_is_clustered),
        T(names_may_collide_in_the_window_but_not_at_the_moment),
        T(dropping_a_database_in_the_window_drops_nothing_by_name),
        T(a_rename_clears_temp_unless_told_not_to),
        T(a_rename_across_databases_is_a_copy_with_a_new_uuid),
        T(a_rename_whose_target_is_not_known_is_corruption_after_the_window),
        T(a_target_may_be_named_by_truth_alone_as_of_old),
        T(two_collections_swap_their_names),
        T(an_index_of_the_same_name_is_replaced),
        T(an_index_build_needs_its_commit_only),
        T(an_index_build_that_aborts_or_never_ends_leaves_nothing),
        T(indexes_are_dropped_by_every_name_the_command_ever_had),
        T(dropping_all_indexes_leaves_the_one_on_id),
        T(dropping_an_index_that_is_not_there_is_nothing),
        T(emptying_a_capped_collection_forgets_the_base),
        T(a_conversion_to_capped_is_a_copy_that_loses_indexes),
        T(the_old_conversion_to_capped_sets_options_and_loses_indexes),
        T(what_the_oplog_does_not_tell_wants_a_new_snapshot),
        T(commands_without_effect_on_users_data_are_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
