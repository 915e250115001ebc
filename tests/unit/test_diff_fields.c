/* Which fields changed: paths down to the values that differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/diff_fields.h"
#include "tests/support/ejson.h"

struct seen {
    char text[1000];
    unsigned most; /* stop after so many; 0: never */
    unsigned n;
};

static enum pitr_rc
see(void *arg, const struct field_change *c, bool *stop, struct pitr_err *err)
{
    struct seen *s = arg;
    size_t at = strlen(s->text);

    (void)err;
    snprintf(s->text + at, sizeof s->text - at, "%c%s ",
             c->before == NULL  ? '+'
             : c->after == NULL ? '-'
                                : '~',
             c->path);
    *stop = ++s->n == s->most;
    return PITR_OK;
}

static void
expect_most(const char *before, const char *after, unsigned most, const char *wanted)
{
    struct buf a = {0}, b = {0};
    struct seen seen = {.most = most};
    struct pitr_err err;

    ejson(&a, before);
    ejson(&b, after);
    assert_int_equal(diff_fields(a.data, a.len, b.data, b.len, see, &seen, &err), PITR_OK);
    assert_string_equal(seen.text, wanted);
    buf_release(&a);
    buf_release(&b);
}

static void
expect(const char *before, const char *after, const char *wanted)
{
    expect_most(before, after, 0, wanted);
}

static void
equal_documents_have_no_changes(void **state)
{
    (void)state;
    expect("{}", "{}", "");
    expect("{\"a\":1,\"b\":{\"c\":[1,{}]}}", "{\"a\":1,\"b\":{\"c\":[1,{}]}}", "");
}

static void
the_order_of_fields_is_no_change(void **state)
{
    (void)state;
    expect("{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":3,\"a\":1,\"b\":2}", "");
    expect("{\"o\":{\"a\":1,\"b\":2}}", "{\"o\":{\"b\":2,\"a\":1}}", "");
}

static void
fields_are_changed_removed_and_added(void **state)
{
    (void)state;
    expect("{\"a\":1,\"b\":2,\"c\":3}", "{\"d\":4,\"a\":1,\"c\":5}", "-b ~c +d ");
    expect("{}", "{\"x\":{\"y\":1}}", "+x ");
    expect("{\"x\":[1]}", "{}", "-x ");
}

static void
changes_inside_of_documents_and_arrays_have_their_path(void **state)
{
    (void)state;
    expect("{\"o\":{\"x\":1,\"y\":{\"z\":[1,2,{\"k\":3}]}}}",
           "{\"o\":{\"x\":1,\"y\":{\"z\":[1,2,{\"k\":4,\"l\":5}]}}}", "~o.y.z.2.k +o.y.z.2.l ");
    expect("{\"a\":[1,2]}", "{\"a\":[1,2,3]}", "+a.2 ");
    expect("{\"a\":[1,2]}", "{\"a\":[2]}", "~a.0 -a.1 ");
}

static void
a_value_of_another_type_is_a_change(void **state)
{
    (void)state;
    expect("{\"n\":{\"$numberInt\":\"1\"}}", "{\"n\":{\"$numberLong\":\"1\"}}", "~n ");
    expect("{\"o\":{\"0\":1}}", "{\"o\":[1]}", "~o ");
    expect("{\"o\":null}", "{\"o\":{}}", "~o ");
}

static void
a_comparison_can_be_stopped(void **state)
{
    (void)state;
    expect_most("{\"a\":1,\"b\":{\"c\":1,\"d\":1},\"e\":1}", "{\"b\":{}}", 2, "-a -b.c ");
    expect_most("{}", "{\"a\":1,\"b\":1}", 1, "+a ");
}

static void
a_malformed_document_is_corrupt(void **state)
{
    uint8_t bad[] = {12, 0, 0, 0, 0x02, 'a', 0, 9, 0, 0, 0, 0};
    uint8_t good[] = {5, 0, 0, 0, 0};
    struct seen seen = {0};
    struct pitr_err err;

    (void)state;
    assert_int_equal(diff_fields(bad, sizeof bad, good, sizeof good, see, &seen, &err),
                     PITR_CORRUPT);
    assert_int_equal(diff_fields(good, sizeof good, bad, sizeof bad, see, &seen, &err),
                     PITR_CORRUPT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_documents_have_no_changes),
        cmocka_unit_test(the_order_of_fields_is_no_change),
        cmocka_unit_test(fields_are_changed_removed_and_added),
        cmocka_unit_test(changes_inside_of_documents_and_arrays_have_their_path),
        cmocka_unit_test(a_value_of_another_type_is_a_change),
        cmocka_unit_test(a_comparison_can_be_stopped),
        cmocka_unit_test(a_malformed_document_is_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
