#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"

static int64_t
parsed(const char *text)
{
    struct pitr_err err = {0};
    int64_t seconds = INT64_MIN;

    if (clock_parse(&seconds, text, &err) != PITR_OK)
        fail_msg("%s: %s", text, err.msg);
    return seconds;
}

static void
assert_refused(const char *text, const char *why)
{
    struct pitr_err err = {0};
    int64_t seconds = 42;

    if (clock_parse(&seconds, text, &err) != PITR_USAGE)
        fail_msg("%s was accepted", text);
    if (strstr(err.msg, why) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", text, err.msg, why);
    assert_non_null(strstr(err.msg, text));
    assert_int_equal(seconds, 42);
}

static void
known_instants_parse_and_print(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } known[] = {
        {0, "1970-01-01T00:00:00Z"},
        {-1, "1969-12-31T23:59:59Z"},
        {951782400, "2000-02-29T00:00:00Z"},
        {1709164800, "2024-02-29T00:00:00Z"},
        {1709251199, "2024-02-29T23:59:59Z"},
        {4107542400, "2100-03-01T00:00:00Z"},
        {4294967295, "2106-02-07T06:28:15Z"},
        {1795442587, "2026-11-23T14:03:07Z"},
        {253402300799, "9999-12-31T23:59:59Z"},
    };
    char text[CLOCK_TEXT_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_int_equal(parsed(known[i].text), known[i].seconds);
        clock_format(text, known[i].seconds);
        assert_string_equal(text, known[i].text);
    }
}

static void
every_day_of_four_centuries_survives_the_round_trip(void **state)
{
    char text[CLOCK_TEXT_LEN];

    (void)state;
    for (int64_t day = -146097; day < 146097; day++) {
        int64_t seconds = day * 86400 + (day & 0xffff);

        clock_format(text, seconds);
        assert_int_equal(parsed(text), seconds);
    }
}

static void
times_beyond_four_digit_years_are_clamped(void **state)
{
    char text[CLOCK_TEXT_LEN];

    (void)state;
    clock_format(text, INT64_MAX);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
    clock_format(text, INT64_MIN);
    assert_string_equal(text, "0000-01-01T00:00:00Z");
}

static void
leap_days_exist_only_in_leap_years(void **state)
{
    (void)state;
    assert_int_equal(parsed("2000-02-29T00:00:00Z"), parsed("2000-03-01T00:00:00Z") - 86400);
    assert_refused("2023-02-29T00:00:00Z", "month 2 of 2023 has no day 29");
    assert_refused("2100-02-29T00:00:00Z", "month 2 of 2100 has no day 29");
    assert_refused("1900-02-29T00:00:00Z", "has no day 29");
    assert_refused("2024-02-30T00:00:00Z", "has no day 30");
}

static void
zones_are_subtracted(void **state)
{
    int64_t utc = parsed("2026-11-23T14:03:07Z");

    (void)state;
    assert_int_equal(parsed("2026-11-23T16:03:07+02:00"), utc);
    assert_int_equal(parsed("2026-11-23T09:03:07-05:00"), utc);
    assert_int_equal(parsed("2026-11-23T19:33:07+05:30"), utc);
    assert_int_equal(parsed("2026-11-24T00:03:07+10:00"), utc);
    assert_int_equal(parsed("2026-11-23T14:03:07-00:00"), utc);
}

static void
lower_case_t_and_z_are_accepted(void **state)
{
    (void)state;
    assert_int_equal(parsed("2026-11-23t14:03:07z"), parsed("2026-11-23T14:03:07Z"));
}

static void
what_is_missing_is_named(void **state)
{
    (void)state;
    assert_refused("2026-11-23T14:03:07", "no zone");
    assert_refused("2026-11-23T14:03Z", "no seconds");
    assert_refused("2026-11-23", "no time of day");
    assert_refused("2026-11-23 14:03:07Z", "no time of day");
    assert_refused("2026-11-23TZ", "no hour and minute");
    assert_refused("14:03:07Z", "no date");
    assert_refused("", "no date");
    assert_refused("latest", "no date");
}

static void
fractions_are_refused(void **state)
{
    (void)state;
    assert_refused("2026-11-23T14:03:07.5Z", "a fraction of a second is not accepted");
    assert_refused("2026-11-23T14:03:07,000Z", "a fraction of a second is not accepted");
}

static void
what_no_clock_shows_is_refused(void **state)
{
    (void)state;
    assert_refused("2016-12-31T23:59:60Z", "there is no 23:59:60");
    assert_refused("2026-11-23T24:00:00Z", "there is no 24:00:00");
    assert_refused("2026-11-23T14:60:00Z", "there is no 14:60:00");
    assert_refused("2026-13-01T00:00:00Z", "no month 13");
    assert_refused("2026-00-01T00:00:00Z", "no month 0");
    assert_refused("2026-11-00T00:00:00Z", "no day 0");
    assert_refused("2026-11-31T00:00:00Z", "no day 31");
}

static void
bad_zones_and_trailing_text_are_refused(void **state)
{
    (void)state;
    assert_refused("2026-11-23T14:03:07+0200", "bad zone");
    assert_refused("2026-11-23T14:03:07+24:00", "bad zone");
    assert_refused("2026-11-23T14:03:07+02:60", "bad zone");
    assert_refused("2026-11-23T14:03:07 CET", "bad zone");
    assert_refused("2026-11-23T14:03:07Zx", "\"x\" after the zone");
    assert_refused("2026-11-23T14:03:07+02:00 ", "after the zone");
    assert_refused("-026-11-23T14:03:07Z", "no date");
}

static void
the_monotonic_clock_advances_by_a_sleep(void **state)
{
    int64_t before = clock_mono_ms();

    (void)state;
    clock_sleep_ms(20);
    assert_true(clock_mono_ms() - before >= 19);
    clock_sleep_ms(-5);
    assert_true(clock_wall_ms() > 1700000000000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_instants_parse_and_print),
        cmocka_unit_test(every_day_of_four_centuries_survives_the_round_trip),
        cmocka_unit_test(times_beyond_four_digit_years_are_clamped),
        cmocka_unit_test(leap_days_exist_only_in_leap_years),
        cmocka_unit_test(zones_are_subtracted),
        cmocka_unit_test(lower_case_t_and_z_are_accepted),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(fractions_are_refused),
        cmocka_unit_test(what_no_clock_shows_is_refused),
        cmocka_unit_test(bad_zones_and_trailing_text_are_refused),
        cmocka_unit_test(the_monotonic_clock_advances_by_a_sleep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
