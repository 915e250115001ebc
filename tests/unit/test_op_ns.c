/* Claims about engine/op_ns.h: which namespaces an operation is about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/op_ns.h"
#include "tests/support/ejson.h"

static struct op_ns
names_of(char op, const char *ns, const char *o)
{
    PITR_AUTO(buf_release) struct buf doc = {0};
    struct oplog_entry e = {.op = op, .ns = ns, .ns_len = strlen(ns)};
    struct op_ns names;

    ejson(&doc, o);
    e.o = doc.data;
    e.o_len = doc.len;
    op_ns_of(&names, &e);
    return names;
}

static bool
matches(const struct op_ns *names, const char *pattern)
{
    char *patterns[] = {"nothing.at_all", (char *)(uintptr_t)pattern};

    return op_ns_matches(names, patterns, 2);
}

static bool
excluded(const struct op_ns *names, const char *pattern)
{
    char *patterns[] = {(char *)(uintptr_t)pattern, "nothing.at_all"};

    return op_ns_excluded(names, patterns, 2);
}

static void
a_document_belongs_to_its_collection(void **state)
{
    struct op_ns names = names_of('i', "shop.orders", "{\"drop\":\"x\"}");

    (void)state;
    assert_string_equal(names.ns, "shop.orders");
    assert_true(matches(&names, "shop.orders") && matches(&names, "shop.*"));
    assert_false(matches(&names, "shop.order") || excluded(&names, "shop.x"));
    assert_true(excluded(&names, "*.orders"));
}

static void
a_bucket_belongs_to_what_users_see(void **state)
{
    struct op_ns names = names_of('i', "shop.system.buckets.w", "{}");

    (void)state;
    assert_true(matches(&names, "shop.w") && matches(&names, "shop.system.buckets.w"));
    assert_true(excluded(&names, "shop.w"));
    assert_false(matches(&names, "shop.x"));
}

static void
a_command_is_about_the_collection_it_names(void **state)
{
    static const char *const commands[] = {
        "{\"create\":\"c.d\",\"idIndex\":{}}", "{\"drop\":\"c.d\"}", "{\"createIndexes\":\"c.d\"}",
        "{\"collMod\":\"c.d\"}", "{\"a command of tomorrow\":\"c.d\"}"};

    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        struct op_ns names = names_of('c', "shop.$cmd", commands[i]);

        assert_string_equal(names.ns, "shop.c.d");
        assert_false(names.is_database);
        assert_true(matches(&names, "shop.c.d"));
        assert_false(matches(&names, "shop.c"));
    }
}

static void
a_rename_is_about_both_names(void **state)
{
    struct op_ns names =
        names_of('c', "shop.$cmd", "{\"renameCollection\":\"shop.old\",\"to\":\"attic.new\"}");

    (void)state;
    assert_string_equal(names.ns, "shop.old");
    assert_string_equal(names.to, "attic.new");
    assert_true(matches(&names, "shop.old") && matches(&names, "attic.*"));
    assert_false(matches(&names, "shop.new"));
    assert_false(excluded(&names, "shop.old") || excluded(&names, "attic.new"));
    assert_true(excluded(&names, "*.*"));
}

static void
drop_database_is_about_whatever_may_be_in_it(void **state)
{
    static const char *const meant[] = {"shop.x", "shop.*", "*.x", "sh*p.x.y",
                                        "*x.y",   "*.*",    "s*.*"};
    static const char *const not_meant[] = {"shopping.x", "sho.x", "shop",
                                            "x.shop.*",   "s.*",   "shop."};
    static const char *const covering[] = {"shop.*", "*.*", "s*.*", "shop.**"};
    static const char *const partial[] = {"shop.a*", "shop.*a", "*.x", "shopping.*", "shop"};
    struct op_ns names = names_of('c', "shop.$cmd", "{\"dropDatabase\":1}");

    (void)state;
    assert_string_equal(names.ns, "shop");
    assert_true(names.is_database);
    for (size_t i = 0; i < sizeof meant / sizeof meant[0]; i++)
        if (!matches(&names, meant[i]))
            fail_msg("%s may be in shop", meant[i]);
    for (size_t i = 0; i < sizeof not_meant / sizeof not_meant[0]; i++)
        if (matches(&names, not_meant[i]))
            fail_msg("%s cannot be in shop", not_meant[i]);
    for (size_t i = 0; i < sizeof covering / sizeof covering[0]; i++)
        if (!excluded(&names, covering[i]))
            fail_msg("%s is all of shop", covering[i]);
    for (size_t i = 0; i < sizeof partial / sizeof partial[0]; i++)
        if (excluded(&names, partial[i]))
            fail_msg("%s is not all of shop", partial[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_belongs_to_its_collection),
        cmocka_unit_test(a_bucket_belongs_to_what_users_see),
        cmocka_unit_test(a_command_is_about_the_collection_it_names),
        cmocka_unit_test(a_rename_is_about_both_names),
        cmocka_unit_test(drop_database_is_about_whatever_may_be_in_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
