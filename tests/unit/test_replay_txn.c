/* Claims about oplog/replay.h: transactions, and other entries of several operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/replay_fixture.h"

static void
a_transaction_of_several_entries_takes_effect_at_its_last(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 5, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    fixture_ok(f, 30, APPLY(PREV("5"), "{\"_id\":2}", ",\"partialTxn\":true"));
    fixture_ok(f, 31, INSERT(UUID_A, "shop.orders", "{\"_id\":9}"));
    fixture_ok(f, 32, APPLY(PREV("30"), "{\"_id\":3}", ",\"count\":{\"$numberLong\":\"3\"}"));
    assert_string_equal(fixture_catalog(f),
                        ORDERS "{ \"_id\" : 9 }{ \"_id\" : 1 }{ \"_id\" : 2 }{ \"_id\" "
                               ": 3 }\n");
}

static void
a_transaction_without_its_first_piece_stops(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fixture_feed(f, 30, APPLY(PREV("4"), "{\"_id\":2}", "")), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "capture starts after"));
}

static void
a_transaction_with_a_wrong_count_stops(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    assert_int_equal(
        fixture_feed(f, 32, APPLY(PREV("30"), "{\"_id\":3}", ",\"count\":{\"$numberLong\":\"7\"}")),
        PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "count"));
}

static void
a_transaction_that_never_ends_has_no_effect(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
a_prepared_transaction_counts_if_it_commits(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    assert_int_equal(replay_pending(f->r), 1);
    fixture_ok(f, 40, COMMIT(PREV("30"), "30"));
    assert_int_equal(replay_pending(f->r), 0);
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }\n");
}

static void
a_commit_after_the_moment_counts_by_its_commit_timestamp(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    fixture_ok(f, FIXTURE_MOMENT + 5, COMMIT(PREV("30"), "30"));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }\n");
}

static void
a_commit_timestamp_after_the_moment_does_not_count(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    fixture_ok(f, FIXTURE_MOMENT + 5, COMMIT(PREV("30"), "103"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
an_aborted_transaction_has_no_effect(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    fixture_ok(f, 40,
               "\"op\":\"c\",\"ns\":\"admin.$cmd\"," LSID
               "," PREV("30") ",\"o\":{\"abortTransaction\":1}");
    assert_int_equal(replay_pending(f->r), 0);
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
a_transaction_of_one_entry_takes_effect_there(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ""));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }\n");
}

static void
internal_chains_have_no_session(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               APPLY_OPS("", NO_PREV, "{" INSERT(UUID_A, "shop.orders", "{\"_id\":1}") "}",
                         ",\"partialTxn\":true"));
    fixture_ok(
        f, 31,
        APPLY_OPS("", PREV("30"), "{" INSERT(UUID_A, "shop.orders", "{\"_id\":2}") "}", COUNT(2)));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }{ \"_id\" : 2 }\n");
}

static void
a_transaction_committed_before_the_base_is_part_of_it(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 3, APPLY(PREV("2"), "{\"_id\":1}", ",\"partialTxn\":true"));
    fixture_ok(f, 4, APPLY(PREV("3"), "{\"_id\":2}", COUNT(3)));
    fixture_ok(f, 5, APPLY(NO_PREV, "{\"_id\":3}", ",\"prepare\":true"));
    fixture_ok(f, 6, COMMIT(PREV("5"), "5"));
    fixture_ok(f, 7, COMMIT(PREV("1"), "1"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
a_prepared_transaction_may_be_older_than_the_base(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 4, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    fixture_ok(f, 5, APPLY(PREV("4"), "{\"_id\":2}", ",\"prepare\":true" COUNT(2)));
    fixture_ok(f, 30, COMMIT(PREV("5"), "15"));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }{ \"_id\" : 2 }\n");
}

static void
a_base_may_hold_a_prepared_transaction_before_its_commit_entry(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    fixture_ok(f, 30, COMMIT(PREV("15"), "16"));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }\n");
    assert_string_equal(fixture_document(f, "{\"_id\":1}"), "gone");
}

static void
a_commit_without_its_prepare_stops(void **state)
{
    struct fixture *f = *state;

    fixture_refused(f, 30, COMMIT(PREV("5"), "5"), PITR_CORRUPT, "capture starts after",
                    "commitTransaction");
}

static void
only_a_prepared_transaction_is_committed_by_command(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    fixture_refused(f, 31, COMMIT(PREV("30"), "30"), PITR_CORRUPT, "not prepared",
                    "commitTransaction");
}

static void
nothing_goes_on_after_a_prepare(void **state)
{
    static const char *const flags[] = {"", ",\"prepare\":true", ",\"partialTxn\":true"};
    struct fixture *f = *state;
    char entry[1024];

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (flags[i][0] == '\0' && i > 0)
            continue;
        snprintf(entry, sizeof entry, APPLY(PREV("30"), "{\"_id\":2}", "%s"), flags[i]);
        fixture_refused(f, 31, entry, PITR_CORRUPT, "prepared already", "applyOps");
        if (i == 0) { /* a refused commit has used the chain up */
            fixture_teardown(state);
            assert_int_equal(fixture_setup(state), 0);
            f = *state;
            fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
        }
    }
}

static void
pieces_of_two_sessions_are_no_transaction(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    fixture_refused(f, 31,
                    APPLY_OPS(SESSION(1, 2) ",", PREV("30"),
                              "{" INSERT(UUID_A, "shop.orders", "{\"_id\":2}") "}", ""),
                    PITR_CORRUPT, "another session", "prevOpTime");
}

static void
a_prepare_with_a_wrong_count_stops(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    fixture_refused(f, 31, APPLY(PREV("30"), "{\"_id\":2}", ",\"prepare\":true" COUNT(3)),
                    PITR_CORRUPT, "count", "prepare");
}

static void
a_new_term_ends_chains_that_are_not_prepared(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    assert_int_equal(
        fixture_feed_in_term(f, 31, 2, "\"op\":\"n\",\"ns\":\"\",\"o\":{\"msg\":\"new primary\"}"),
        PITR_OK);
    assert_int_equal(fixture_feed_in_term(f, 32, 2, APPLY(PREV("30"), "{\"_id\":2}", "")),
                     PITR_CORRUPT);
}

static void
a_new_term_does_not_end_a_prepared_transaction(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    assert_int_equal(fixture_feed_in_term(f, 32, 2, COMMIT(PREV("30"), "30")), PITR_OK);
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }\n");
}

static void
a_newer_transaction_of_the_session_ends_an_older_chain(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    fixture_ok(f, 31,
               APPLY_OPS(SESSION(1, 2) ",", NO_PREV,
                         "{" INSERT(UUID_A, "shop.orders", "{\"_id\":2}") "}",
                         ",\"partialTxn\":true"));
    fixture_ok(f, 32,
               APPLY_OPS(SESSION(1, 2) ",", PREV("31"),
                         "{" INSERT(UUID_A, "shop.orders", "{\"_id\":3}") "}", COUNT(2)));
    fixture_refused(f, 33, APPLY(PREV("30"), "{\"_id\":4}", ""), PITR_CORRUPT,
                    "capture starts after", "");
}

static void
a_partly_logged_transaction_may_be_aborted(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"partialTxn\":true"));
    fixture_ok(f, 31, ABORT(PREV("30")));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
an_abort_after_the_moment_leaves_the_transaction_out(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    fixture_ok(f, FIXTURE_MOMENT + 1, ABORT(PREV("30")));
    assert_int_equal(replay_pending(f->r), 0);
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
a_transaction_still_prepared_at_the_end_is_left_out_and_counted(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, APPLY(NO_PREV, "{\"_id\":1}", ",\"prepare\":true"));
    fixture_ok(f, FIXTURE_MOMENT + 1, INSERT(UUID_A, "shop.orders", "{\"_id\":9}"));
    assert_int_equal(replay_pending(f->r), 1);
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
transactions_make_collections_and_indexes(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               APPLY_OPS(LSID ",", NO_PREV,
                         "{" CREATE(UUID_B, "n", "") "},{" COMMAND(
                             UUID_B, "{\"createIndexes\":\"n\"," A_SPEC
                                     "}") "},{" INSERT(UUID_B, "shop.n", "{\"_id\":1}") "}",
                         ""));
    assert_string_equal(fixture_catalog(f),
                        ORDERS "\nshop.n new { } " WITH_INDEX(A_INDEX) "{ \"_id\" : 1 }\n");
}

static void
dropping_a_role_is_an_internal_transaction(void **state)
{
    struct fixture *f = *state;

    fixture_base(f, "admin", "system.roles", 2, "{}", false);
    fixture_ok(f, 30,
               APPLY_OPS(LSID ",", NO_PREV,
                         "{" DELETE(UUID_B, "admin.system.roles", "{\"_id\":\"admin.r\"}") "}",
                         ""));
    assert_int_equal(replay_finish(f->r, &f->err), PITR_OK);
    assert_false(net_is_empty(replay_at(f->r, 1)->net));
}

static void
server_namespaces_are_filtered_inside_transactions_too(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               APPLY_OPS(LSID ",", NO_PREV,
                         "{" INSERT(UUID_B, "config.x", "{\"_id\":1}") "},{" INSERT(
                             UUID_A, "shop.orders", "{\"_id\":1}") "}",
                         ""));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }\n");
}

static void
a_vectored_insert_is_no_transaction(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, "\"multiOpType\":1,\"stmtId\":[0,1]," APPLY(PREV("3"), "{\"_id\":1}", ""));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }\n");
}

static void
a_batch_of_the_servers_own_is_held_to_what_the_oplog_says(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_refused(f, 31,
                    "\"op\":\"c\",\"ns\":\"admin.$cmd\",\"o\":{\"applyOps\":[{" INSERT(
                        UUID_A, "shop.orders", "{\"_id\":1}") "}]}",
                    PITR_CORRUPT, "shop.orders at 31,1", "exists");
}

#define USERS_COMMAND(ops, more)                                                                   \
    "\"op\":\"c\",\"ns\":\"admin.$cmd\",\"o\":{\"applyOps\":[" ops "]" more                        \
    ",\"lsid\":{\"id\":1},"                                                                        \
    "\"$db\":\"admin\"}"

static void
a_users_command_replaces_documents_and_misses_none(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_ok(f, 31,
               USERS_COMMAND("{" INSERT(UUID_A, "shop.orders", "{\"_id\":1,\"a\":1}") "},{" DELETE(
                                 UUID_A, "shop.orders", "{\"_id\":2}") "}",
                             ""));
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1, \"a\" : 1 }\n");
}

static void
updates_of_a_users_command_make_missing_documents(void **state)
{
    struct fixture *f = *state;

    fixture_ok(
        f, 30,
        USERS_COMMAND("{" UPDATE(UUID_A, "shop.orders", "{\"_id\":1}",
                                 "{\"$v\":2,\"diff\":{\"u\":{\"a\":1},\"i\":{\"b\":2}}}") "}",
                      ""));
    fixture_ok(
        f, 31,
        USERS_COMMAND("{" UPDATE(UUID_A, "shop.orders", "{\"_id\":2}", "{\"$set\":{\"c\":1}}") "}",
                      ",\"alwaysUpsert\":true"));
    assert_string_equal(fixture_catalog(f),
                        ORDERS "{ \"_id\" : 1, \"a\" : 1, \"b\" : 2 }{ \"_id\" : 2, \"c\" : 1 }\n");
}

static void
updates_of_a_users_command_may_be_told_not_to(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 29, INSERT(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_ok(f, 30, DELETE(UUID_A, "shop.orders", "{\"_id\":1}"));
    fixture_ok(f, 31,
               USERS_COMMAND("{" UPDATE(UUID_A, "shop.orders", "{\"_id\":1}", SET("\"a\":1")) "}",
                             ",\"alwaysUpsert\":false"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
operations_of_a_users_command_may_name_collections_without_uuids(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               USERS_COMMAND("{\"op\":\"i\",\"ns\":\"shop.orders\",\"o\":{\"_id\":1}},"
                             "{\"op\":\"c\",\"ns\":\"shop.$cmd\",\"o\":{\"renameCollection\":"
                             "\"shop.orders\",\"to\":\"shop.b\",\"stayTemp\":false}},"
                             "{\"op\":\"i\",\"ns\":\"shop.b\",\"o\":{\"_id\":2}},"
                             "{\"op\":\"n\",\"ns\":\"shop.b\",\"o\":{\"_id\":3}}",
                             ""));
    fixture_refused(f, 31,
                    USERS_COMMAND("{\"op\":\"i\",\"ns\":\"shop.orders\",\"o\":{\"_id\":1}}", ""),
                    PITR_CORRUPT, "not known", "shop.orders");
    assert_string_equal(fixture_catalog(f), "shop.b base { } { \"0\" : " ID_INDEX " } { \"_id\" : "
                                            "1 }{ \"_id\" : 2 }\n");
}

static void
commands_nest_to_a_depth(void **state)
{
    struct fixture *f = *state;
    char ops[4096] = "{" INSERT(UUID_A, "shop.orders", "{\"_id\":1}") "}", next[4096];
    char entry[4096];

    for (int depth = 0; depth < 10; depth++) {
        snprintf(entry, sizeof entry, USERS_COMMAND("%s", ""), ops);
        if (depth == 2)
            fixture_ok(f, 30, entry);
        snprintf(next, sizeof next,
                 "{\"op\":\"c\",\"ns\":\"admin.$cmd\",\"o\":{\"applyOps\":[%s]}}", ops);
        memcpy(ops, next, sizeof ops);
    }
    fixture_refused(f, 31, entry, PITR_CORRUPT, "nested too deeply", "applyOps");
    assert_string_equal(fixture_catalog(f), ORDERS "{ \"_id\" : 1 }\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_transaction_of_several_entries_takes_effect_at_its_last),
        T(a_transaction_without_its_first_piece_stops),
        T(a_transaction_with_a_wrong_count_stops),
        T(a_transaction_that_never_ends_has_no_effect),
        T(a_prepared_transaction_counts_if_it_commits),
        T(a_commit_after_the_moment_counts_by_its_commit_timestamp),
        T(a_commit_timestamp_after_the_moment_does_not_count),
        T(an_aborted_transaction_has_no_effect),
        T(a_transaction_of_one_entry_takes_effect_there),
        T(internal_chains_have_no_session),
        T(a_transaction_committed_before_the_base_is_part_of_it),
        T(a_prepared_transaction_may_be_older_than_the_base),
        T(a_base_may_hold_a_prepared_transaction_before_its_commit_entry),
        T(a_commit_without_its_prepare_stops),
        T(only_a_prepared_transaction_is_committed_by_command),
        T(nothing_goes_on_after_a_prepare),
        T(pieces_of_two_sessions_are_no_transaction),
        T(a_prepare_with_a_wrong_count_stops),
        T(a_new_term_ends_chains_that_are_not_prepared),
        T(a_new_term_does_not_end_a_prepared_transaction),
        T(a_newer_transaction_of_the_session_ends_an_older_chain),
        T(a_partly_logged_transaction_may_be_aborted),
        T(an_abort_after_the_moment_leaves_the_transaction_out),
        T(a_transaction_still_prepared_at_the_end_is_left_out_and_counted),
        T(transactions_make_collections_and_indexes),
        T(dropping_a_role_is_an_internal_transaction),
        T(server_namespaces_are_filtered_inside_transactions_too),
        T(a_vectored_insert_is_no_transaction),
        T(a_batch_of_the_servers_own_is_held_to_what_the_oplog_says),
        T(a_users_command_replaces_documents_and_misses_none),
        T(updates_of_a_users_command_make_missing_documents),
        T(updates_of_a_users_command_may_be_told_not_to),
        T(operations_of_a_users_command_may_name_collections_without_uuids),
        T(commands_nest_to_a_depth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
