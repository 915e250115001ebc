/* Claims about cli/op_text.h: what an operation did, for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/op_text.h"
#include "tests/support/ejson.h"

/* An operation `op` whose `o` is this, as text. */
static void
render(struct buf *out, char op, const char *o)
{
    PITR_AUTO(buf_release) struct buf doc = {0};
    struct oplog_entry e = {.op = op};
    struct pitr_err err;

    ejson(&doc, o);
    e.o = doc.data;
    e.o_len = doc.len;
    if (op_text(out, &e, &err) != PITR_OK)
        fail_msg("%s: %s", o, err.msg);
    assert_int_equal(buf_append_u8(out, 0, &err), PITR_OK);
}

static void
says(char op, const char *o, const char *want)
{
    PITR_AUTO(buf_release) struct buf out = {0};

    render(&out, op, o);
    assert_string_equal((char *)out.data, want);
}

static void
a_delta_is_told_by_section(void **state)
{
    (void)state;
    says('u', "{\"$v\":2,\"diff\":{\"d\":{\"c\":false},\"u\":{\"a\":5},\"i\":{\"e\":{\"f\":1}}}}",
         "unset c, set a = 5, add e = {\"f\":1}");
    says('u',
         "{\"$v\":{\"$numberLong\":\"2\"},\"diff\":{\"b\":{\"bin\":{\"o\":3,"
         "\"d\":{\"$binary\":{\"base64\":\"AA==\",\"subType\":\"00\"}}}}}}",
         "patch bin = {\"o\":3,\"d\":{\"$binary\":{\"base64\":\"AA==\",\"subType\":\"00\"}}}");
    says('u', "{\"$v\":2,\"diff\":{}}", "nothing changed");
}

static void
sub_diffs_are_paths(void **state)
{
    (void)state;
    says('u',
         "{\"$v\":2,\"diff\":{\"u\":{\"z\":null},\"sa\":{\"d\":{\"q\":false},\"u\":{\"b\":5},"
         "\"sc\":{\"i\":{\"d\":true}}},\"sx\":{\"u\":{\"y\":1}}}}",
         "set z = null, unset a.q, set a.b = 5, add a.c.d = true, set x.y = 1");
}

static void
array_diffs_are_indexes(void **state)
{
    (void)state;
    says('u',
         "{\"$v\":2,\"diff\":{\"sx\":{\"a\":true,\"l\":4,\"u0\":\"v\",\"s3\":{\"u\":{\"p\":2}},"
         "\"s10\":{\"a\":true,\"u1\":[]}}}}",
         "resize x to 4, set x[0] = \"v\", set x[3].p = 2, set x[10][1] = []");
    /* A field that is called like the mark of an array's diff. */
    says('u', "{\"$v\":2,\"diff\":{\"u\":{\"a\":true},\"sa\":{\"u\":{\"l\":4}}}}",
         "set a = true, set a.l = 4");
}

static void
names_that_could_be_taken_for_paths_are_quoted(void **state)
{
    (void)state;
    says('u',
         "{\"$v\":2,\"diff\":{\"u\":{\"a.b\":1,\"\":2,\"q\\\"\":3},\"sx y\":{\"u\":{\"k\\n\":4}}}}",
         "set \"a.b\" = 1, set \"\" = 2, set \"q\\\"\" = 3, set \"x y\".k\\n = 4");
}

static void
modifiers_are_told_by_path(void **state)
{
    (void)state;
    says('u', "{\"$v\":1,\"$unset\":{\"c.d\":true},\"$set\":{\"a.0\":\"x\",\"b\":{}}}",
         "unset c.d, set a.0 = \"x\", set b = {}");
    says('u', "{\"$set\":{\"a\":1}}", "set a = 1");
}

static void
a_replacement_is_the_document(void **state)
{
    (void)state;
    says('u', "{\"_id\":1,\"$v\":2,\"diff\":{}}", "replaced by {\"_id\":1,\"$v\":2,\"diff\":{}}");
}

static void
an_update_of_unknown_form_is_shown_as_it_is(void **state)
{
    (void)state;
    says('u', "{\"$v\":3,\"news\":1}", "{\"$v\":3,\"news\":1}");
}

static void
other_operations_are_their_document(void **state)
{
    (void)state;
    says('i', "{\"_id\":1,\"s\":\"\\u001b[2J\"}", "{\"_id\":1,\"s\":\"\\u001b[2J\"}");
    says('c', "{\"drop\":\"x\"}", "{\"drop\":\"x\"}");
    says('d', "{\"_id\":1}", "");
}

static void
long_values_are_cut_between_characters(void **state)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    char o[2048] = "{\"_id\":\"x";
    size_t len;

    (void)state;
    /* Two bytes each, so that one of them would be cut in half. */
    len = strlen(o);
    for (int i = 0; i < 400; i++, len += 2)
        memcpy(o + len, "\xc3\xa9", 2);
    memcpy(o + len, "\"}", 3);
    render(&out, 'i', o);
    len = strlen((char *)out.data);
    assert_in_range(len, OP_TEXT_VALUE_MAX, OP_TEXT_VALUE_MAX + 20);
    assert_string_equal((char *)out.data + len - 12, "\xa9... (816 B)");
}

static void
long_lists_of_changes_are_counted(void **state)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    char o[2048] = "{\"$v\":2,\"diff\":{\"u\":{\"f0\":0";

    (void)state;
    for (int i = 1; i < OP_TEXT_CHANGES_MAX + 5; i++)
        snprintf(o + strlen(o), sizeof o - strlen(o), ",\"f%d\":%d", i, i);
    memcpy(o + strlen(o), "}}}", 4);
    render(&out, 'u', o);
    assert_non_null(strstr((char *)out.data, "set f0 = 0, "));
    assert_non_null(strstr((char *)out.data, "set f19 = 19, and 5 more"));
    assert_null(strstr((char *)out.data, "f20"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delta_is_told_by_section),
        cmocka_unit_test(sub_diffs_are_paths),
        cmocka_unit_test(array_diffs_are_indexes),
        cmocka_unit_test(names_that_could_be_taken_for_paths_are_quoted),
        cmocka_unit_test(modifiers_are_told_by_path),
        cmocka_unit_test(a_replacement_is_the_document),
        cmocka_unit_test(an_update_of_unknown_form_is_shown_as_it_is),
        cmocka_unit_test(other_operations_are_their_document),
        cmocka_unit_test(long_values_are_cut_between_characters),
        cmocka_unit_test(long_lists_of_changes_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
