/* Claims about engine/selection.h: what is taken, its name, and what an exact restore may drop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/selection.h"

static char *one_pattern[] = {"shop.orders*"};
static char *excluded[] = {"shop.orders_tmp"};

static void
an_empty_selection_is_the_whole_and_takes_everything(void **state)
{
    struct selection s = {0};

    (void)state;
    assert_true(selection_is_whole(&s));
    assert_true(selection_takes(&s, "shop.orders"));
    assert_true(selection_covers(&s, "shop.born_later"));
}

static void
patterns_take_what_they_match_and_exclusion_wins(void **state)
{
    struct selection s = {.ns = one_pattern, .nns = 1, .exclude_ns = excluded, .nexclude_ns = 1};

    (void)state;
    assert_false(selection_is_whole(&s));
    assert_true(selection_takes(&s, "shop.orders_2026"));
    assert_false(selection_takes(&s, "shop.orders_tmp"));
    assert_false(selection_takes(&s, "shop.customers"));
    assert_false(selection_covers(&s, "shop.customers"));
    assert_false(selection_covers(&s, "shop.orders_tmp"));
}

static void
renames_alone_take_only_what_they_name(void **state)
{
    struct pitr_err err;
    struct rename_rule rule;
    struct selection s = {.renames = &rule, .nrenames = 1};
    char *target;

    (void)state;
    assert_int_equal(rename_parse(&rule, "shop.*=shop_test.*", &err), PITR_OK);
    assert_true(selection_takes(&s, "shop.orders"));
    assert_false(selection_takes(&s, "crm.people"));
    assert_int_equal(selection_target(&s, "shop.orders", &target, &err), PITR_OK);
    assert_string_equal(target, "shop_test.orders");
    free(target);
    rename_release(&rule);
}

static void
a_renamed_restore_never_covers_the_namespaces_it_came_from(void **state)
{
    struct pitr_err err;
    struct rename_rule rule;
    struct selection s = {.renames = &rule, .nrenames = 1};

    (void)state;
    assert_int_equal(rename_parse(&rule, "shop.*=shop_test.*", &err), PITR_OK);
    assert_false(selection_covers(&s, "shop.orders"));
    assert_false(selection_covers(&s, "crm.people"));
    assert_true(selection_covers(&s, "shop_test.left_over"));
    rename_release(&rule);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_selection_is_the_whole_and_takes_everything),
        cmocka_unit_test(patterns_take_what_they_match_and_exclusion_wins),
        cmocka_unit_test(renames_alone_take_only_what_they_name),
        cmocka_unit_test(a_renamed_restore_never_covers_the_namespaces_it_came_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
