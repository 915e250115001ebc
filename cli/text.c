#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "oplog/optime.h"

enum { COLUMNS_MAX = 16 };

void
text_bytes(struct text *t, const char *data, size_t len)
{
    struct pitr_err err;

    if (t->err.rc == PITR_OK && buf_append(&t->buf, data, len, &err) != PITR_OK)
        t->err = err;
}

static void
add_formatted(struct text *t, const char *fmt, va_list ap)
{
    struct pitr_err err;
    va_list again;
    int n;

    if (t->err.rc != PITR_OK)
        return;
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        pitr_fail(&t->err, PITR_INTERNAL, "text does not format: %s", fmt);
    else if (buf_reserve(&t->buf, (size_t)n + 1, &err) != PITR_OK)
        t->err = err;
    else {
        vsnprintf((char *)t->buf.data + t->buf.len, (size_t)n + 1, fmt, again);
        t->buf.len += (size_t)n;
    }
    va_end(again);
}

void
text_add(struct text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_formatted(t, fmt, ap);
    va_end(ap);
}

enum pitr_rc
text_check(const struct text *t, struct pitr_err *err)
{
    if (t->err.rc != PITR_OK)
        return pitr_fail(err, t->err.rc, "output: %s", t->err.msg);
    return PITR_OK;
}

void
text_release(struct text *t)
{
    buf_release(&t->buf);
    t->err.rc = PITR_OK;
}

const char *
format_bytes(char out[AMOUNT_LEN], uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double amount = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(out, AMOUNT_LEN, "%" PRIu64 " B", bytes);
        return out;
    }
    /* 1023.95 would print as 1024.0. */
    while (amount >= 1023.95 && unit + 1 < sizeof units / sizeof units[0]) {
        amount /= 1024;
        unit++;
    }
    snprintf(out, AMOUNT_LEN, "%.1f %s", amount, units[unit]);
    return out;
}

const char *
format_count(char out[AMOUNT_LEN], uint64_t n)
{
    char digits[AMOUNT_LEN];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    char *at = out;

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
    return out;
}

const char *
format_seconds(char out[AMOUNT_LEN], int64_t seconds)
{
    if (seconds < 120)
        snprintf(out, AMOUNT_LEN, "%" PRId64 " s", seconds);
    else if (seconds < 7200)
        snprintf(out, AMOUNT_LEN, "%" PRId64 " min", seconds / 60);
    else if (seconds < 172800)
        snprintf(out, AMOUNT_LEN, "%" PRId64 " h %" PRId64 " min", seconds / 3600,
                 seconds / 60 % 60);
    else
        snprintf(out, AMOUNT_LEN, "%" PRId64 " d %" PRId64 " h", seconds / 86400,
                 seconds / 3600 % 24);
    return out;
}

const char *
format_moment(char out[MOMENT_TEXT_LEN], uint64_t ts)
{
    char when[CLOCK_TEXT_LEN], stamp[TS_TEXT_LEN];

    if (ts == 0) {
        snprintf(out, MOMENT_TEXT_LEN, "-");
        return out;
    }
    clock_format(when, ts_secs(ts));
    ts_format(stamp, ts);
    snprintf(out, MOMENT_TEXT_LEN, "%s (%s)", when, stamp);
    return out;
}

const char *
format_time_ms(char out[AMOUNT_LEN], int64_t unix_ms)
{
    char when[CLOCK_TEXT_LEN];

    clock_format(when, unix_ms / 1000);
    snprintf(out, AMOUNT_LEN, "%s", unix_ms == 0 ? "-" : when);
    return out;
}

void
table_cell(struct table *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_formatted(&t->cells, fmt, ap);
    va_end(ap);
    text_bytes(&t->cells, "", 1);
    t->ncells++;
}

static bool
is_right(const struct table *t, size_t column)
{
    return t->head[column][0] == '>';
}

/* Characters on the screen: UTF-8 continuation bytes take no column of their own. */
static size_t
width_of(const char *cell)
{
    size_t width = 0;

    for (; *cell != '\0'; cell++)
        if (((unsigned char)*cell & 0xc0) != 0x80)
            width++;
    return width;
}

static void
print_cell(struct text *out, const struct table *t, size_t column, size_t width, const char *cell)
{
    bool is_last = column + 1 == t->columns;
    size_t cell_width = width_of(cell);
    int pad = cell_width < width ? (int)(width - cell_width) : 0;

    if (is_right(t, column))
        text_add(out, "%*s%s", pad, "", cell);
    else
        text_add(out, "%s%*s", cell, is_last ? 0 : pad, "");
    text_add(out, is_last ? "\n" : "  ");
}

void
table_print(struct text *out, const struct table *t)
{
    size_t widths[COLUMNS_MAX] = {0};
    const char *cell = (const char *)t->cells.buf.data;

    if (text_check(&t->cells, &out->err) != PITR_OK || t->columns > COLUMNS_MAX)
        return;
    for (size_t i = 0; i < t->columns; i++)
        widths[i] = width_of(t->head[i]) - (is_right(t, i) ? 1 : 0);
    for (size_t i = 0; i < t->ncells; i++, cell += strlen(cell) + 1)
        if (width_of(cell) > widths[i % t->columns])
            widths[i % t->columns] = width_of(cell);
    for (size_t i = 0; i < t->columns; i++)
        print_cell(out, t, i, widths[i], t->head[i] + (is_right(t, i) ? 1 : 0));
    cell = (const char *)t->cells.buf.data;
    for (size_t i = 0; i < t->ncells; i++, cell += strlen(cell) + 1)
        print_cell(out, t, i % t->columns, widths[i % t->columns], cell);
}

void
table_release(struct table *t)
{
    text_release(&t->cells);
    t->ncells = 0;
}
