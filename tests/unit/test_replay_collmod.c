/* Claims about oplog/replay.h: collMod. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/replay_fixture.h"

static void
coll_mod_hides_and_shows_an_index(void **state)
{
    struct fixture *f = *state;

    fixture_ok(
        f, 30,
        COMMAND(UUID_A, "{\"createIndexes\":\"orders\",\"v\":2,\"key\":{\"a\":1},\"name\":\"a\"}"));
    fixture_ok(
        f, 31,
        COMMAND(UUID_A, "{\"collMod\":\"orders\",\"index\":{\"name\":\"a\",\"hidden\":true}}"));
    fixture_ok(
        f, 32,
        COMMAND(UUID_A,
                "{\"collMod\":\"orders\",\"index\":{\"name\":\"a\",\"expireAfterSeconds\":5}}"));
    fixture_ok(
        f, 33,
        COMMAND(UUID_A, "{\"collMod\":\"orders\",\"index\":{\"name\":\"a\",\"hidden\":false}}"));
    assert_string_equal(fixture_catalog(f),
                        "shop.orders base { } { \"0\" : " ID_INDEX ", \"1\" : { \"v\" : "
                        "2, \"key\" : { \"a\" : 1 }, \"name\" : \"a\", "
                        "\"expireAfterSeconds\" : 5 } } \n");
}

static void
coll_mod_of_a_validator_sets_level_and_action(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, COMMAND(UUID_A, "{\"collMod\":\"orders\",\"validator\":{\"a\":1}}"));
    assert_string_equal(fixture_catalog(f),
                        "shop.orders base { \"validator\" : { \"a\" : 1 }, "
                        "\"validationLevel\" : \"strict\", \"validationAction\" : "
                        "\"error\" } { \"0\" : " ID_INDEX " } \n");
}

#define MOD(change) COMMAND(UUID_A, "{\"collMod\":\"orders\"," change "}")
#define OPTIONS(options) "shop.orders base " options " { \"0\" : " ID_INDEX " } \n"

static void
an_empty_validator_removes_it_and_leaves_level_and_action(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, MOD("\"validator\":{\"a\":1}"));
    fixture_ok(f, 31, MOD("\"validationAction\":\"warn\""));
    fixture_ok(f, 32, MOD("\"validator\":{}"));
    assert_string_equal(fixture_catalog(f), OPTIONS("{ \"validationLevel\" : \"strict\", "
                                                    "\"validationAction\" : \"warn\" }"));
}

static void
an_index_that_becomes_unique_is_no_longer_prepared_for_it(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, COMMAND(UUID_A, "{\"createIndexes\":\"orders\"," A_SPEC "}"));
    fixture_ok(f, 31, MOD("\"index\":{\"name\":\"a_1\",\"prepareUnique\":true}"));
    fixture_ok(f, 32, MOD("\"index\":{\"name\":\"a_1\",\"unique\":true}"));
    assert_string_equal(fixture_catalog(f),
                        "shop.orders base { } " WITH_INDEX(
                            "{ \"v\" : 2, \"key\" : { \"a\" : 1 }, \"name\" : \"a_1\", "
                            "\"unique\" : true }") "\n");
}

static void
an_unknown_index_is_passed_over_in_the_window_only(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 15, MOD("\"index\":{\"name\":\"a_1\",\"hidden\":true}"));
    fixture_refused(f, 30, MOD("\"index\":{\"name\":\"a_1\",\"hidden\":true}"), PITR_CORRUPT,
                    "the index is not known", "a_1");
}

static void
capped_limits_go_by_their_names_in_the_catalog(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, MOD("\"cappedSize\":8192,\"cappedMax\":10"));
    assert_string_equal(fixture_catalog(f), OPTIONS("{ \"size\" : 8192, \"max\" : 10 }"));
}

static void
expiry_is_set_by_a_number_and_removed_by_a_word(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, MOD("\"expireAfterSeconds\":5"));
    assert_string_equal(fixture_catalog(f), OPTIONS("{ \"expireAfterSeconds\" : 5 }"));
    fixture_ok(f, 31, MOD("\"expireAfterSeconds\":\"off\""));
    assert_string_equal(fixture_catalog(f), OPTIONS("{ }"));
}

static void
a_granularity_brings_its_span(void **state)
{
    static const struct {
        const char *granularity, *span;
    } rows[] = {{"seconds", "3600"}, {"minutes", "86400"}, {"hours", "2592000"}};
    struct fixture *f = *state;
    char entry[512], want[512];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(entry, sizeof entry,
                 CREATE(UUID_B, "s%zu", ",\"timeseries\":{\"timeField\":\"t\"}"), i);
        fixture_ok(f, 30, entry);
        snprintf(entry, sizeof entry,
                 COMMAND(UUID_B, "{\"collMod\":\"s\",\"timeseries\":{\"granularity\":\"%s\"}}"),
                 rows[i].granularity);
        fixture_ok(f, 31, entry);
        snprintf(want, sizeof want,
                 "{ \"timeseries\" : { \"timeField\" : \"t\", \"granularity\" : \"%s\", "
                 "\"bucketMaxSpanSeconds\" : %s } }",
                 rows[i].granularity, rows[i].span);
        assert_non_null(strstr(fixture_catalog(f), want));
        fixture_ok(f, 32, COMMAND(UUID_B, "{\"drop\":\"s\"}"));
        fixture_teardown(state);
        assert_int_equal(fixture_setup(state), 0);
        f = *state;
    }
}

static void
spans_of_ones_own_choice_are_set(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "s", ",\"timeseries\":{\"timeField\":\"t\"}"));
    fixture_ok(f, 31,
               COMMAND(UUID_B, "{\"collMod\":\"s\",\"timeseries\":{\"bucketMaxSpanSeconds\":60,"
                               "\"bucketRoundingSeconds\":60}}"));
    assert_non_null(strstr(fixture_catalog(f), "\"bucketMaxSpanSeconds\" : 60, "
                                               "\"bucketRoundingSeconds\" : 60 }"));
}

static void
image_options_are_set_and_inner_flags_are_left_out(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               MOD("\"changeStreamPreAndPostImages\":{\"enabled\":true},\"recordPreImages\":false,"
                   "\"timeseriesBucketsMayHaveMixedSchemaData\":true,"
                   "\"_removeLegacyTimeseriesBucketingParametersHaveChanged\":true"));
    assert_string_equal(fixture_catalog(f),
                        OPTIONS("{ \"changeStreamPreAndPostImages\" : { \"enabled\" : true }, "
                                "\"recordPreImages\" : false }"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(coll_mod_hides_and_shows_an_index),
        T(coll_mod_of_a_validator_sets_level_and_action),
        T(an_empty_validator_removes_it_and_leaves_level_and_action),
        T(an_index_that_becomes_unique_is_no_longer_prepared_for_it),
        T(an_unknown_index_is_passed_over_in_the_window_only),
        T(capped_limits_go_by_their_names_in_the_catalog),
        T(expiry_is_set_by_a_number_and_removed_by_a_word),
        T(a_granularity_brings_its_span),
        T(spans_of_ones_own_choice_are_set),
        T(image_options_are_set_and_inner_flags_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
