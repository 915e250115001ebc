/* Privileges as connectionStatus lists them, against what a backup needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "engine/check.h"

/* A reply with these users and these privileges, as extended JSON. */
static void
judge(struct check_item *item, const char *users, const char *privileges)
{
    bson_t *reply;
    char json[4096];
    bson_error_t cause;
    struct pitr_err err;

    snprintf(json, sizeof json,
             "{\"authInfo\": {\"authenticatedUsers\": [%s], \"authenticatedUserPrivileges\": "
             "[%s]}}",
             users, privileges);
    reply = bson_new_from_json((const uint8_t *)json, -1, &cause);
    if (reply == NULL)
        fail_msg("%s", cause.message);
    assert_int_equal(check_privileges(item, reply, &err), PITR_OK);
    bson_destroy(reply);
}

#define USER "{\"user\": \"u\", \"db\": \"admin\"}"
#define EVERYWHERE                                                                                 \
    "{\"resource\": {\"db\": \"\", \"collection\": \"\"}, \"actions\": [\"find\", "                \
    "\"listCollections\", \"listIndexes\", \"collStats\"]}"
#define SYSTEM_COLLECTIONS                                                                         \
    "{\"resource\": {\"db\": \"admin\", \"collection\": \"system.users\"}, \"actions\": "          \
    "[\"find\"]}, {\"resource\": {\"db\": \"admin\", \"collection\": \"system.roles\"}, "          \
    "\"actions\": [\"find\"]}"

static void
without_a_user_there_is_nothing_to_lack(void **state)
{
    struct check_item item;

    (void)state;
    judge(&item, "", "");
    assert_int_equal(item.state, CHECK_OK);
    assert_string_equal(item.detail, "no user: access control is off, or the URI names nobody");
}

static void
any_resource_covers_everything(void **state)
{
    struct check_item item;

    (void)state;
    judge(&item, USER,
          "{\"resource\": {\"anyResource\": true}, \"actions\": [\"find\", \"listCollections\", "
          "\"listIndexes\", \"collStats\"]}");
    assert_int_equal(item.state, CHECK_OK);
}

static void
every_namespace_does_not_include_system_collections(void **state)
{
    struct check_item item;

    (void)state;
    judge(&item, USER, EVERYWHERE);
    assert_int_equal(item.state, CHECK_PROBLEM);
    assert_string_equal(item.detail,
                        "the user lacks find on admin.system.users, find on admin.system.roles; "
                        "grant it the roles backup and clusterMonitor on admin");
    judge(&item, USER, EVERYWHERE ", " SYSTEM_COLLECTIONS);
    assert_int_equal(item.state, CHECK_OK);
}

static void
one_database_is_not_every_database(void **state)
{
    struct check_item item;

    (void)state;
    judge(&item, USER,
          "{\"resource\": {\"db\": \"shop\", \"collection\": \"\"}, \"actions\": [\"find\", "
          "\"listCollections\", \"listIndexes\", \"collStats\"]}, " SYSTEM_COLLECTIONS);
    assert_int_equal(item.state, CHECK_PROBLEM);
    assert_non_null(strstr(item.detail, "find on every database"));
    assert_non_null(strstr(item.detail, "find on local.oplog.rs"));
}

static void
a_reply_without_privileges_is_corrupt(void **state)
{
    bson_t reply = BSON_INITIALIZER;
    struct check_item item;
    struct pitr_err err;

    (void)state;
    assert_int_equal(check_privileges(&item, &reply, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "connectionStatus: the reply lacks authInfo");
    bson_destroy(&reply);
}

static void
only_problems_make_a_report_bad(void **state)
{
    struct check_report r = {.len = 2};

    (void)state;
    r.items[0].state = CHECK_OK;
    r.items[1].state = CHECK_WARNING;
    assert_true(check_is_ok(&r));
    r.items[0].state = CHECK_PROBLEM;
    assert_false(check_is_ok(&r));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_user_there_is_nothing_to_lack),
        cmocka_unit_test(any_resource_covers_everything),
        cmocka_unit_test(every_namespace_does_not_include_system_collections),
        cmocka_unit_test(one_database_is_not_every_database),
        cmocka_unit_test(a_reply_without_privileges_is_corrupt),
        cmocka_unit_test(only_problems_make_a_report_bad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
