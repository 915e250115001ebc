/* JSON that is always valid, and amounts as people read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "cli/json.h"
#include "cli/progress.h"
#include "oplog/optime.h"

static void
expect(struct text *out, const char *wanted)
{
    struct pitr_err err;

    text_bytes(out, "", 1);
    assert_int_equal(text_check(out, &err), PITR_OK);
    assert_string_equal((const char *)out->buf.data, wanted);
    text_release(out);
}

static void
nesting_places_its_own_commas(void **state)
{
    struct text out = {0};
    struct json j = {.out = &out};

    (void)state;
    json_object(&j, NULL);
    json_array(&j, "empty");
    json_array_end(&j);
    json_array(&j, "list");
    json_int(&j, NULL, -1);
    json_object(&j, NULL);
    json_object_end(&j);
    json_null(&j, NULL);
    json_array_end(&j);
    json_bool(&j, "yes", true);
    json_bool(&j, "no", false);
    json_object_end(&j);
    expect(&out, "{\"empty\":[],\"list\":[-1,{},null],\"yes\":true,\"no\":false}");
}

static void
integers_are_whole_and_doubles_have_three_decimals(void **state)
{
    struct text out = {0};
    struct json j = {.out = &out};

    (void)state;
    json_array(&j, NULL);
    json_int(&j, NULL, INT64_MIN);
    json_count(&j, NULL, UINT64_MAX);
    json_double(&j, NULL, 1.23456);
    json_double(&j, NULL, NAN);
    json_array_end(&j);
    expect(&out, "[-9223372036854775808,18446744073709551615,1.235,null]");
}

static void
text_is_escaped_and_made_utf8(void **state)
{
    struct text out = {0};
    struct json j = {.out = &out};

    (void)state;
    json_array(&j, NULL);
    json_text(&j, NULL, "a\"b\\c\n\x01");
    json_text(&j, NULL, "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    json_text(&j, NULL, "\xff \xc3 \xed\xa0\x80 \xc0\x80");
    json_text(&j, NULL, NULL);
    json_array_end(&j);
    expect(&out, "[\"a\\\"b\\\\c\\u000a\\u0001\","
                 "\"h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\","
                 "\"\\ufffd \\ufffd \\ufffd\\ufffd\\ufffd \\ufffd\\ufffd\",null]");
}

static void
timestamps_are_objects_and_times_are_rfc3339(void **state)
{
    struct text out = {0};
    struct json j = {.out = &out};

    (void)state;
    json_object(&j, NULL);
    json_ts(&j, "to", ts_make(1700000000, 7));
    json_ts(&j, "none", 0);
    json_time_ms(&j, "at", 1700000000123);
    json_time_ms(&j, "never", 0);
    json_object_end(&j);
    expect(&out, "{\"to\":{\"t\":1700000000,\"i\":7},\"none\":null,"
                 "\"at\":\"2023-11-14T22:13:20Z\",\"never\":null}");
}

static void
amounts_read_as_people_say_them(void **state)
{
    char a[AMOUNT_LEN];

    (void)state;
    assert_string_equal(format_bytes(a, 0), "0 B");
    assert_string_equal(format_bytes(a, 1023), "1023 B");
    assert_string_equal(format_bytes(a, 1024), "1.0 KiB");
    assert_string_equal(format_bytes(a, 1048575), "1.0 MiB");
    assert_string_equal(format_bytes(a, UINT64_MAX), "16.0 EiB");
    assert_string_equal(format_count(a, 999), "999");
    assert_string_equal(format_count(a, 1234567), "1,234,567");
    assert_string_equal(format_count(a, UINT64_MAX), "18,446,744,073,709,551,615");
    assert_string_equal(format_seconds(a, 42), "42 s");
    assert_string_equal(format_seconds(a, 3600), "60 min");
    assert_string_equal(format_seconds(a, 12000), "3 h 20 min");
    assert_string_equal(format_seconds(a, 200000), "2 d 7 h");
}

static void
columns_align_by_what_is_seen(void **state)
{
    static const char *const head[] = {"NAME", ">N", "NOTE"};
    struct table t = {.head = head, .columns = 3};
    struct text out = {0};

    (void)state;
    table_cell(&t, "caf\xc3\xa9s");
    table_cell(&t, "%d", 12345);
    table_cell(&t, "x");
    table_cell(&t, "a");
    table_cell(&t, "7");
    table_cell(&t, "%s", "");
    table_print(&out, &t);
    table_release(&t);
    expect(&out, "NAME       N  NOTE\ncaf\xc3\xa9s  12345  x\na          7  \n");
}

static void
a_progress_line_fits_the_terminal(void **state)
{
    struct job job = {0};
    char line[PROGRESS_LINE_LEN];

    (void)state;
    progress_line(line, &job, 0);
    assert_string_equal(line, "starting");
    job_phase(&job, "scan", 0, 4 << 20);
    job_advance(&job, 1234, 1 << 20);
    progress_line(line, &job, 2000);
    assert_string_equal(line, "scan   25%  1,234 docs  1.0 MiB  512.0 KiB/s  6 s left");
    job_phase(&job, "a phase with a name that is much longer than any other one", 0, UINT64_MAX);
    job_advance(&job, UINT64_MAX / 2, UINT64_MAX / 2);
    progress_line(line, &job, 1000);
    assert_int_equal(strlen(line), PROGRESS_LINE_LEN - 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting_places_its_own_commas),
        cmocka_unit_test(integers_are_whole_and_doubles_have_three_decimals),
        cmocka_unit_test(text_is_escaped_and_made_utf8),
        cmocka_unit_test(timestamps_are_objects_and_times_are_rfc3339),
        cmocka_unit_test(amounts_read_as_people_say_them),
        cmocka_unit_test(columns_align_by_what_is_seen),
        cmocka_unit_test(a_progress_line_fits_the_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
