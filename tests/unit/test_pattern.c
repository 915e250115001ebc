#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/pattern.h"

static void
a_pattern_without_star_matches_only_itself(void **state)
{
    (void)state;
    assert_true(pattern_match("shop.orders", "shop.orders"));
    assert_false(pattern_match("shop.orders", "shop.orders2"));
    assert_false(pattern_match("shop.orders", "shop.order"));
    assert_false(pattern_match("shop.orders", "xshop.orders"));
}

static void
a_star_stands_for_any_run_dots_and_nothing_included(void **state)
{
    (void)state;
    assert_true(pattern_match("shop.*", "shop.orders"));
    assert_true(pattern_match("shop.*", "shop.a.b.c"));
    assert_true(pattern_match("shop.orders*", "shop.orders"));
    assert_true(pattern_match("*.orders", "shop.orders"));
    assert_true(pattern_match("*.orders", "shop.eu.orders"));
    assert_true(pattern_match("s*p.o*s", "shop.orders"));
    assert_true(pattern_match("**.**", "a.b"));
    assert_false(pattern_match("shop.*", "shop2.orders"));
    assert_false(pattern_match("shop.*x", "shop.orders"));
}

static void
pieces_must_not_overlap(void **state)
{
    (void)state;
    assert_false(pattern_match("a.ab*ba", "a.aba"));
    assert_true(pattern_match("a.ab*ba", "a.abba"));
    assert_true(pattern_match("a.*ab*ab", "a.xabyabab"));
    assert_false(pattern_match("a.*ab*ab", "a.xab"));
}

static void
no_other_character_is_special(void **state)
{
    (void)state;
    assert_false(pattern_match("a.b?", "a.bc"));
    assert_false(pattern_match("a.[bc]", "a.b"));
    assert_true(pattern_match("a.$x\\", "a.$x\\"));
}

/* The definition, spelled out: the slow reference for the test below. */
static bool
slow_match(const char *p, const char *s)
{
    if (*p == '\0')
        return *s == '\0';
    if (*p == '*')
        return slow_match(p + 1, s) || (*s != '\0' && slow_match(p, s + 1));
    return *p == *s && slow_match(p + 1, s + 1);
}

static void
matching_agrees_with_its_definition_on_all_short_strings(void **state)
{
    static const char alphabet[] = "ab*";
    char p[6], s[6];
    int hits = 0;

    (void)state;
    for (int i = 0; i < 3 * 3 * 3 * 3 * 3; i++) {
        int v = i;

        for (int k = 0; k < 5; k++, v /= 3)
            p[k] = alphabet[v % 3];
        p[5] = '\0';
        for (int j = 0; j < 1 << 5; j++) {
            for (int len = 0; len <= 5; len++) {
                for (int k = 0; k < len; k++)
                    s[k] = (j >> k & 1) != 0 ? 'a' : 'b';
                s[len] = '\0';
                assert_int_equal(pattern_match(p, s), slow_match(p, s));
                hits += slow_match(p, s);
            }
        }
    }
    assert_true(hits > 1000);
}

static void
a_pattern_needs_both_sides_of_a_dot(void **state)
{
    struct pitr_err err;

    (void)state;
    assert_int_equal(pattern_check("shop.orders", &err), PITR_OK);
    assert_int_equal(pattern_check("*.*", &err), PITR_OK);
    assert_int_equal(pattern_check("shop", &err), PITR_USAGE);
    assert_string_equal(err.msg,
                        "pattern \"shop\": no dot; write DB.COLLECTION, or shop.* for a database");
    assert_int_equal(pattern_check(".orders", &err), PITR_USAGE);
    assert_int_equal(pattern_check("shop.", &err), PITR_USAGE);
    assert_int_equal(pattern_check("", &err), PITR_USAGE);
}

static void
check_rename(const char *rule_text, const char *ns, const char *want)
{
    struct rename_rule rule;
    struct pitr_err err;
    PITR_AUTO(str_freep) char *got = NULL;

    assert_int_equal(rename_parse(&rule, rule_text, &err), PITR_OK);
    assert_int_equal(rename_apply(&rule, ns, &got, &err), PITR_OK);
    rename_release(&rule);
    if (want == NULL) {
        assert_null(got);
    } else {
        assert_non_null(got);
        assert_string_equal(got, want);
    }
}

static void
a_rename_maps_the_stars_in_order(void **state)
{
    (void)state;
    check_rename("shop.orders=test.o", "shop.orders", "test.o");
    check_rename("shop.*=test.*", "shop.orders", "test.orders");
    check_rename("shop.*=test.old_*_x", "shop.a.b", "test.old_a.b_x");
    check_rename("*.*=copy_*.*", "shop.eu.orders", "copy_shop.eu.orders");
    check_rename("a*.b*=x*.y*", "a1.b2", "x1.y2");
    check_rename("shop.*=test.*", "shop2.orders", NULL);
    check_rename("shop.orders*=shop.o*", "shop.orders", "shop.o");
}

static void
a_rename_with_unequal_stars_is_refused(void **state)
{
    struct rename_rule rule = {0};
    struct pitr_err err;

    (void)state;
    assert_int_equal(rename_parse(&rule, "a.*=b.c", &err), PITR_USAGE);
    assert_string_equal(err.msg,
                        "rename \"a.*=b.c\": both sides need the same number of '*', not 1 and 0");
    assert_int_equal(rename_parse(&rule, "a.b", &err), PITR_USAGE);
    assert_int_equal(rename_parse(&rule, "a.b=c.d=e.f", &err), PITR_USAGE);
    assert_int_equal(rename_parse(&rule, "a.b=c", &err), PITR_USAGE);
    assert_non_null(strstr(err.msg, "no dot"));
    assert_null(rule.from);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_without_star_matches_only_itself),
        cmocka_unit_test(a_star_stands_for_any_run_dots_and_nothing_included),
        cmocka_unit_test(pieces_must_not_overlap),
        cmocka_unit_test(no_other_character_is_special),
        cmocka_unit_test(matching_agrees_with_its_definition_on_all_short_strings),
        cmocka_unit_test(a_pattern_needs_both_sides_of_a_dot),
        cmocka_unit_test(a_rename_maps_the_stars_in_order),
        cmocka_unit_test(a_rename_with_unequal_stars_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
