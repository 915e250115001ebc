#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SECONDS_PER_DAY = 86400 };

static int64_t
read_clock_ms(clockid_t id)
{
    struct timespec ts = {0};

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
clock_wall_ms(void)
{
    return read_clock_ms(CLOCK_REALTIME);
}

int64_t
clock_mono_ms(void)
{
    return read_clock_ms(CLOCK_MONOTONIC);
}

void
clock_sleep_ms(int64_t ms)
{
    struct timespec ts;

    if (ms <= 0)
        return;
    ts.tv_sec = (time_t)(ms / 1000);
    ts.tv_nsec = (long)(ms % 1000) * 1000000;
    clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

/* Days from 1970-01-01 to a date of the proleptic Gregorian calendar. Years start in March here, so
 * that the leap day is the last of its year; 400 years have 146097 days. */
static int64_t
days_of_date(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

/* The inverse of days_of_date(). */
static void
date_of_days(int64_t days, int *year, int *month, int *day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;

    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2 ? 1 : 0));
}

void
clock_format(char out[CLOCK_TEXT_LEN], int64_t unix_seconds)
{
    const int64_t first = days_of_date(0, 1, 1) * SECONDS_PER_DAY;
    const int64_t last = days_of_date(10000, 1, 1) * SECONDS_PER_DAY - 1;
    int year, month, day, rest;
    int64_t days;
    char text[64];

    if (unix_seconds < first)
        unix_seconds = first;
    if (unix_seconds > last)
        unix_seconds = last;
    days = unix_seconds / SECONDS_PER_DAY;
    rest = (int)(unix_seconds % SECONDS_PER_DAY);
    if (rest < 0) {
        rest += SECONDS_PER_DAY;
        days--;
    }
    date_of_days(days, &year, &month, &day);
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, day, rest / 3600,
             rest / 60 % 60, rest % 60);
    memcpy(out, text, CLOCK_TEXT_LEN - 1);
    out[CLOCK_TEXT_LEN - 1] = '\0';
}

/* Exactly `width` digits at *at, which moves past them. */
static bool
take_number(const char **at, int width, int *out)
{
    int value = 0;

    for (int i = 0; i < width; i++) {
        char c = (*at)[i];

        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *at += width;
    *out = value;
    return true;
}

static bool
take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

static int
days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static enum pitr_rc
parse_date(const char **at, const char *text, int64_t *days, struct pitr_err *err)
{
    int year, month, day;

    if (!take_number(at, 4, &year) || !take_char(at, '-') || !take_number(at, 2, &month) ||
        !take_char(at, '-') || !take_number(at, 2, &day))
        return pitr_fail(err, PITR_USAGE,
                         "time \"%s\": no date at the start; write 2026-11-23T14:03:07Z", text);
    if (month < 1 || month > 12)
        return pitr_fail(err, PITR_USAGE, "time \"%s\": there is no month %d", text, month);
    if (day < 1 || day > days_in_month(year, month))
        return pitr_fail(err, PITR_USAGE, "time \"%s\": month %d of %d has no day %d", text, month,
                         year, day);
    *days = days_of_date(year, month, day);
    return PITR_OK;
}

static enum pitr_rc
parse_time_of_day(const char **at, const char *text, int *seconds, struct pitr_err *err)
{
    int hour, minute, second;

    if (!take_char(at, 'T') && !take_char(at, 't'))
        return pitr_fail(err, PITR_USAGE,
                         "time \"%s\": no time of day after the date; write 2026-11-23T14:03:07Z",
                         text);
    if (!take_number(at, 2, &hour) || !take_char(at, ':') || !take_number(at, 2, &minute))
        return pitr_fail(err, PITR_USAGE, "time \"%s\": no hour and minute after the T", text);
    if (!take_char(at, ':') || !take_number(at, 2, &second))
        return pitr_fail(err, PITR_USAGE, "time \"%s\": no seconds", text);
    /* Unix time, which the oplog counts in, has no leap seconds. */
    if (hour > 23 || minute > 59 || second > 59)
        return pitr_fail(err, PITR_USAGE, "time \"%s\": there is no %02d:%02d:%02d", text, hour,
                         minute, second);
    if (**at == '.' || **at == ',')
        return pitr_fail(err, PITR_USAGE,
                         "time \"%s\": a fraction of a second is not accepted; name the whole "
                         "second, or an oplog timestamp",
                         text);
    *seconds = hour * 3600 + minute * 60 + second;
    return PITR_OK;
}

static enum pitr_rc
parse_zone(const char **at, const char *text, int *seconds, struct pitr_err *err)
{
    int hour, minute, sign;

    *seconds = 0;
    if (**at == '\0')
        return pitr_fail(err, PITR_USAGE,
                         "time \"%s\": no zone; end it in Z for UTC, or in an offset such as "
                         "+02:00",
                         text);
    if (take_char(at, 'Z') || take_char(at, 'z'))
        return PITR_OK;
    sign = **at == '-' ? -1 : 1;
    if ((!take_char(at, '+') && !take_char(at, '-')) || !take_number(at, 2, &hour) ||
        !take_char(at, ':') || !take_number(at, 2, &minute) || hour > 23 || minute > 59)
        return pitr_fail(err, PITR_USAGE,
                         "time \"%s\": bad zone; end it in Z for UTC, or in an offset such as "
                         "+02:00",
                         text);
    *seconds = sign * (hour * 3600 + minute * 60);
    return PITR_OK;
}

enum pitr_rc
clock_parse(int64_t *unix_seconds, const char *text, struct pitr_err *err)
{
    const char *at = text;
    int seconds = 0, zone = 0;
    int64_t days = 0;

    if (parse_date(&at, text, &days, err) != PITR_OK ||
        parse_time_of_day(&at, text, &seconds, err) != PITR_OK ||
        parse_zone(&at, text, &zone, err) != PITR_OK)
        return err->rc;
    if (*at != '\0')
        return pitr_fail(err, PITR_USAGE, "time \"%s\": \"%s\" after the zone", text, at);
    *unix_seconds = days * SECONDS_PER_DAY + seconds - zone;
    return PITR_OK;
}
