#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "engine/dump_name.h"

static void
expect_name(const char *name, const char *file)
{
    char out[DUMP_NAME_LEN], back[DUMP_NAME_LEN];
    struct pitr_err err;

    assert_int_equal(dump_name_encode(out, name, &err), PITR_OK);
    assert_string_equal(out, file);
    memcpy(back, out, sizeof back);
    dump_name_decode(back);
    assert_string_equal(back, name);
}

static void
names_come_back_from_their_files(void **state)
{
    (void)state;
    expect_name("orders", "orders");
    expect_name("Az09-_.~", "Az09-_.~");
    expect_name("a b+c", "a%20b%2Bc");
    expect_name("a/b\\c", "a%2Fb%5Cc");
    expect_name("$100%", "%24100%25");
    expect_name("%2F", "%252F");
    expect_name("..", "..");
    expect_name("\xd0\xba\n", "%D0%BA%0A");
}

static void
every_byte_but_NUL_comes_back(void **state)
{
    char name[128], out[DUMP_NAME_LEN];
    struct pitr_err err;

    (void)state;
    for (int half = 0; half < 4; half++) {
        size_t n = 0;

        for (int c = half * 64; c < half * 64 + 64; c++)
            if (c != 0)
                name[n++] = (char)c;
        name[n] = '\0';
        assert_int_equal(dump_name_encode(out, name, &err), PITR_OK);
        assert_null(strchr(out, '/'));
        dump_name_decode(out);
        assert_string_equal(out, name);
    }
}

/* The cut names are those that mongodump makes. */
static void
a_name_too_long_for_a_file_is_cut(void **state)
{
    char name[256], out[DUMP_NAME_LEN];
    struct pitr_err err;

    (void)state;
    memset(name, 'n', 250);
    name[238] = '\0';
    assert_int_equal(dump_name_encode(out, name, &err), PITR_OK);
    assert_string_equal(out, name);
    assert_false(dump_name_is_cut(out));
    name[238] = 'n';
    name[250] = '\0';
    assert_int_equal(dump_name_encode(out, name, &err), PITR_OK);
    assert_int_equal(strlen(out), DUMP_NAME_MAX);
    assert_memory_equal(out, name, 208);
    assert_string_equal(out + 208, "%24udz1YGHQ1BzDY4ZwByanxr-ghfk");
    assert_true(dump_name_is_cut(out));
    for (int i = 0; i < 60; i++)
        memcpy(name + 2 * i, "\xd0\xba", 3);
    assert_int_equal(dump_name_encode(out, name, &err), PITR_OK);
    assert_string_equal(out + 208, "%24EqPM8mrgxVfUS_XCwqGpvrEN4Ao");
}

static void
what_no_server_allows_is_refused(void **state)
{
    char name[257], out[DUMP_NAME_LEN];
    struct pitr_err err;

    (void)state;
    memset(name, 'n', 256);
    name[256] = '\0';
    assert_int_equal(dump_name_encode(out, name, &err), PITR_USAGE);
    assert_string_equal(err.msg,
                        "collection name nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
                        "nnnnnnnnn...: 256 bytes are too long");
}

static void
what_is_no_code_stays(void **state)
{
    char text[] = "%zz%4%%00%41+%";

    (void)state;
    dump_name_decode(text);
    assert_string_equal(text, "%zz%4%%00A %");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_back_from_their_files),
        cmocka_unit_test(every_byte_but_NUL_comes_back),
        cmocka_unit_test(a_name_too_long_for_a_file_is_cut),
        cmocka_unit_test(what_no_server_allows_is_refused),
        cmocka_unit_test(what_is_no_code_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
