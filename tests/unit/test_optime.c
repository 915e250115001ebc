#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oplog/optime.h"

static void
text_and_number_are_the_same(void **state)
{
    char text[TS_TEXT_LEN];
    uint64_t ts;

    (void)state;
    ts_format(text, ts_make(1795470186, 7));
    assert_string_equal(text, "1795470186,7");
    assert_true(ts_parse(&ts, text));
    assert_int_equal(ts, ts_make(1795470186, 7));
    assert_true(ts_parse(&ts, "1795470186:7"));
    assert_int_equal(ts, ts_make(1795470186, 7));
}

static void
the_largest_timestamp_fits(void **state)
{
    char text[TS_TEXT_LEN];
    uint64_t ts;

    (void)state;
    ts_format(text, UINT64_MAX);
    assert_string_equal(text, "4294967295,4294967295");
    assert_true(ts_parse(&ts, text));
    assert_true(ts == UINT64_MAX);
}

static void
anything_else_is_no_timestamp(void **state)
{
    static const char *const bad[] = {"",
                                      "1",
                                      "1,",
                                      ",1",
                                      "1,2,3",
                                      " 1,2",
                                      "1, 2",
                                      "1,2 ",
                                      "-1,2",
                                      "+1,2",
                                      "1.2",
                                      "4294967296,1",
                                      "1,4294967296",
                                      "a,1",
                                      "1,b",
                                      "1;2",
                                      "0x1,2",
                                      "1,2x",
                                      "1,2\n",
                                      "99999999999999999999,1"};
    uint64_t ts;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (ts_parse(&ts, bad[i]))
            fail_msg("\"%s\" was accepted", bad[i]);
    }
}

static void
numbers_order_as_times_do(void **state)
{
    (void)state;
    assert_true(ts_make(2, 0) > ts_make(1, UINT32_MAX));
    assert_true(ts_make(2, 1) > ts_make(2, 0));
    assert_int_equal(ts_secs(ts_make(5, 9)), 5);
    assert_int_equal(ts_inc(ts_make(5, 9)), 9);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_number_are_the_same),
        cmocka_unit_test(the_largest_timestamp_fits),
        cmocka_unit_test(anything_else_is_no_timestamp),
        cmocka_unit_test(numbers_order_as_times_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
