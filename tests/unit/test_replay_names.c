/* Claims about oplog/replay.h: which namespaces are state, and which were left out by the operator.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/replay_fixture.h"

static void
a_change_of_feature_compatibility_version_wants_a_new_base(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(
        fixture_feed(f, 30,
                     "\"op\":\"u\",\"ns\":\"admin.system.version\",\"ui\":" UUID_B
                     ",\"o2\":{\"_id\":\"featureCompatibilityVersion\"},\"o\":{\"$v\":2,"
                     "\"diff\":{\"u\":{\"version\":\"6.0\"}}}"),
        PITR_GAP);
}

static void
the_rest_of_the_version_collection_is_ignored(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               UPDATE(UUID_B, "admin.system.version", "{\"_id\":\"authSchema\"}", SET("\"a\":5")));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
server_bookkeeping_is_not_replayed(void **state)
{
    static const char *const names[] = {
        "config.transactions",      "config.image_collection", "config.system.sessions",
        "config.system.preimages",  "config.rangeDeletions",   "config.system.indexBuilds",
        "config.cache.collections", "config.settings",         "local.anything",
        "admin.system.keys",        "admin.system.new_users",  "admin.system.backup_users",
        "shop.system.profile",      "shop.system.drop.1i1.x",
    };
    struct fixture *f = *state;
    char entry[512];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *dot = strchr(names[i], '.');
        int db = (int)(dot - names[i]);

        snprintf(entry, sizeof entry,
                 "\"op\":\"c\",\"ns\":\"%.*s.$cmd\",\"ui\":" UUID_B ",\"o\":{\"create\":\"%s\"}",
                 db, names[i], dot + 1);
        fixture_ok(f, 30, entry);
        snprintf(entry, sizeof entry,
                 "\"op\":\"i\",\"ns\":\"%s\",\"ui\":" UUID_B ",\"o\":{\"_id\":1}", names[i]);
        fixture_ok(f, 31, entry);
        snprintf(entry, sizeof entry,
                 "\"op\":\"c\",\"ns\":\"%.*s.$cmd\",\"ui\":" UUID_B ",\"o\":{\"drop\":\"%s\"}", db,
                 names[i], dot + 1);
        fixture_ok(f, 32, entry);
    }
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
commands_on_bookkeeping_databases_are_passed_over_whatever_they_are(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30,
               "\"op\":\"c\",\"ns\":\"config.$cmd\",\"ui\":" UUID_B
               ",\"o\":{\"truncateRange\":\"config.system.preimages\"}");
    fixture_ok(f, 31, "\"op\":\"c\",\"ns\":\"config.$cmd\",\"o\":{\"newThing\":1}");
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
users_roles_views_scripts_and_buckets_are_ordinary(void **state)
{
    static const char *const names[] = {"admin.system.users",    "admin.system.roles",
                                        "shop.system.views",     "shop.system.js",
                                        "shop.system.buckets.s", "shop.enxcol_.c.esc",
                                        "shop.x.system.profile", "shop.x.system.drop.y"};
    struct fixture *f = *state;
    char entry[256];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *dot = strchr(names[i], '.');
        char db[16];

        snprintf(db, sizeof db, "%.*s", (int)(dot - names[i]), names[i]);
        fixture_base(f, db, dot + 1, (uint8_t)(16 + i), "{}", false);
        snprintf(entry, sizeof entry,
                 "\"op\":\"i\",\"ns\":\"%s\",\"ui\":{\"$binary\":{\"base64\":"
                 "\"AAAAAAAAAAAAAAAAAAAAE%c==\",\"subType\":\"04\"}},\"o\":{\"_id\":1}",
                 names[i], "AQgw"[i % 4]);
        if (i < 4) /* 16 to 19, which have one last digit of base64 */
            fixture_ok(f, 30, entry);
    }
    fixture_catalog(f);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_non_null(strstr(f->text, names[i]));
    for (size_t i = 0; i < 4; i++)
        assert_false(net_is_empty(replay_at(f->r, 1 + i)->net));
}

static void
a_users_collection_may_end_like_bookkeeping(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "a.system.profile", ""));
    fixture_ok(f, 31, INSERT(UUID_B, "shop.a.system.profile", "{\"_id\":1}"));
    assert_string_equal(fixture_catalog(f),
                        ORDERS "\nshop.a.system.profile new { } { \"0\" : " ID_INDEX
                               " } { \"_id\" : 1 }\n");
}

static void
a_resharding_leaves_nothing_under_its_own_name(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "system.resharding.x", ""));
    fixture_ok(f, 31, INSERT(UUID_B, "shop.system.resharding.x", "{\"_id\":1}"));
    fixture_ok(f, 32, CREATE(UUID_C, "system.resharding.y", ""));
    fixture_ok(f, 33, RENAME(UUID_B, "shop.system.resharding.x", "shop.y", ""));
    assert_string_equal(fixture_catalog(f),
                        ORDERS "\nshop.y new { } { \"0\" : " ID_INDEX " } { \"_id\" : 1 }\n");
}

static void
excluded_names_are_followed_but_not_restored(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "tmp_x", ""));
    fixture_ok(f, 31, INSERT(UUID_B, "shop.tmp_x", "{\"_id\":1}"));
    fixture_ok(f, 32, COMMAND(UUID_B, "{\"drop\":\"tmp_x\"}"));
    fixture_ok(f, 33, CREATE(UUID_C, "tmp_y", ""));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
buckets_are_excluded_by_the_name_users_see(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "system.buckets.weather", ""));
    fixture_ok(f, 31, INSERT(UUID_B, "shop.system.buckets.weather", "{\"_id\":1}"));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

static void
a_collection_renamed_out_of_the_excluded_names_is_marked(void **state)
{
    struct fixture *f = *state;
    const struct replay_coll *c;

    fixture_base(f, "shop", "tmp_x", 2, "{}", true);
    fixture_ok(f, 30, INSERT(UUID_B, "shop.tmp_x", "{\"_id\":1}"));
    fixture_ok(f, 31, RENAME(UUID_B, "shop.tmp_x", "crm.x", ""));
    assert_int_equal(replay_finish(f->r, &f->err), PITR_OK);
    c = replay_at(f->r, 1);
    assert_false(c->excluded);
    assert_true(c->unseen);
    assert_string_equal(c->unseen_as, "shop.tmp_x");
    assert_int_equal(ts_secs(c->unseen_ts), 31);
}

static void
a_collection_renamed_out_and_back_is_left_out(void **state)
{
    struct fixture *f = *state;

    fixture_base(f, "shop", "tmp_x", 2, "{}", true);
    fixture_ok(f, 30, RENAME(UUID_B, "shop.tmp_x", "shop.x", ""));
    fixture_ok(f, 31, RENAME(UUID_B, "shop.x", "shop.tmp_y", ""));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
    assert_null(replay_at(f->r, 1)->unseen_as);
}

static void
a_known_collection_may_pass_through_an_excluded_name(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, RENAME(UUID_A, "shop.orders", "shop.tmp_swap", ""));
    fixture_ok(f, 31, INSERT(UUID_A, "shop.tmp_swap", "{\"_id\":1}"));
    fixture_ok(f, 32, RENAME(UUID_A, "shop.tmp_swap", "shop.past", ""));
    assert_string_equal(fixture_catalog(f),
                        "shop.past base { } { \"0\" : " ID_INDEX " } { \"_id\" : 1 }\n");
    assert_false(replay_at(f->r, 0)->unseen);
}

static void
the_servers_passing_names_are_followed_though_a_pattern_matches_them(void **state)
{
    static const char *const passing[] = {"tmp.agg_out.1", "tmpAb3dE.renameCollection",
                                          "tmpAb3dE.convertToCapped.x", "tmp.mr.x_1"};
    struct fixture *f = *state;
    char entry[512];

    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        snprintf(entry, sizeof entry, CREATE(UUID_B, "%s", ",\"temp\":true"), passing[i]);
        fixture_ok(f, 30, entry);
        snprintf(entry, sizeof entry, INSERT(UUID_B, "shop.%s", "{\"_id\":1}"), passing[i]);
        fixture_ok(f, 31, entry);
        snprintf(entry, sizeof entry, RENAME(UUID_B, "shop.%s", "shop.out", ""), passing[i]);
        fixture_ok(f, 32, entry);
        assert_false(replay_at(f->r, 1)->unseen);
        if (i + 1 < sizeof passing / sizeof passing[0]) {
            fixture_teardown(state);
            assert_int_equal(fixture_setup(state), 0);
            f = *state;
        }
    }
    assert_string_equal(fixture_catalog(f),
                        ORDERS "\nshop.out new { } { \"0\" : " ID_INDEX " } { \"_id\" : 1 }\n");
}

static void
a_passing_name_that_stays_is_left_out_like_any_other(void **state)
{
    struct fixture *f = *state;

    fixture_ok(f, 30, CREATE(UUID_B, "tmpAb3dE.renameCollection", ""));
    assert_string_equal(fixture_catalog(f), ORDERS "\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_change_of_feature_compatibility_version_wants_a_new_base),
        T(the_rest_of_the_version_collection_is_ignored),
        T(server_bookkeeping_is_not_replayed),
        T(commands_on_bookkeeping_databases_are_passed_over_whatever_they_are),
        T(users_roles_views_scripts_and_buckets_are_ordinary),
        T(a_users_collection_may_end_like_bookkeeping),
        T(a_resharding_leaves_nothing_under_its_own_name),
        T(excluded_names_are_followed_but_not_restored),
        T(buckets_are_excluded_by_the_name_users_see),
        T(a_collection_renamed_out_of_the_excluded_names_is_marked),
        T(a_collection_renamed_out_and_back_is_left_out),
        T(a_known_collection_may_pass_through_an_excluded_name),
        T(the_servers_passing_names_are_followed_though_a_pattern_matches_them),
        T(a_passing_name_that_stays_is_left_out_like_any_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
