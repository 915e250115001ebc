#include "cli/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "oplog/optime.h"

/* Bytes of the UTF-8 sequence at s, or 0 when there is none: overlong forms, surrogates and what
 * lies beyond U+10FFFF are not UTF-8. The closing NUL stops every sequence. */
static size_t
utf8_length(const unsigned char *s)
{
    size_t len = s[0] < 0x80                    ? 1
                 : s[0] >= 0xc2 && s[0] <= 0xdf ? 2
                 : s[0] >= 0xe0 && s[0] <= 0xef ? 3
                 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                : 0;

    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

static void
add_string(struct text *out, const char *value)
{
    const unsigned char *s = (const unsigned char *)value, *run = s; /* [run, s) stays as it is */

    text_bytes(out, "\"", 1);
    while (*s != '\0') {
        size_t len = utf8_length(s);

        if (len != 0 && *s != '"' && *s != '\\' && *s >= 0x20 && *s != 0x7f) {
            s += len;
            continue;
        }
        text_bytes(out, (const char *)run, (size_t)(s - run));
        if (*s == '"' || *s == '\\')
            text_add(out, "\\%c", *s);
        else
            text_add(out, "\\u%04x", len == 0 ? 0xfffdU : *s);
        run = ++s;
    }
    text_bytes(out, (const char *)run, (size_t)(s - run));
    text_bytes(out, "\"", 1);
}

/* Comma and key: what stands before every value. */
static void
begin_value(struct json *j, const char *key)
{
    if (j->wants_comma)
        text_bytes(j->out, ",", 1);
    j->wants_comma = true;
    if (key != NULL) {
        add_string(j->out, key);
        text_bytes(j->out, ":", 1);
    }
}

static void
open_with(struct json *j, const char *key, const char *bracket)
{
    begin_value(j, key);
    text_bytes(j->out, bracket, 1);
    j->wants_comma = false;
}

static void
close_with(struct json *j, const char *bracket)
{
    text_bytes(j->out, bracket, 1);
    j->wants_comma = true;
}

void
json_object(struct json *j, const char *key)
{
    open_with(j, key, "{");
}

void
json_object_end(struct json *j)
{
    close_with(j, "}");
}

void
json_array(struct json *j, const char *key)
{
    open_with(j, key, "[");
}

void
json_array_end(struct json *j)
{
    close_with(j, "]");
}

void
json_text(struct json *j, const char *key, const char *value)
{
    if (value == NULL) {
        json_null(j, key);
        return;
    }
    begin_value(j, key);
    add_string(j->out, value);
}

void
json_int(struct json *j, const char *key, int64_t value)
{
    begin_value(j, key);
    text_add(j->out, "%" PRId64, value);
}

void
json_count(struct json *j, const char *key, uint64_t value)
{
    begin_value(j, key);
    text_add(j->out, "%" PRIu64, value);
}

void
json_double(struct json *j, const char *key, double value)
{
    if (!isfinite(value)) {
        json_null(j, key);
        return;
    }
    begin_value(j, key);
    text_add(j->out, "%.3f", value);
}

void
json_bool(struct json *j, const char *key, bool value)
{
    begin_value(j, key);
    text_add(j->out, value ? "true" : "false");
}

void
json_null(struct json *j, const char *key)
{
    begin_value(j, key);
    text_add(j->out, "null");
}

void
json_raw(struct json *j, const char *key, const char *value, size_t len)
{
    begin_value(j, key);
    text_bytes(j->out, value, len);
}

void
json_ts(struct json *j, const char *key, uint64_t ts)
{
    if (ts == 0) {
        json_null(j, key);
        return;
    }
    json_object(j, key);
    json_count(j, "t", ts_secs(ts));
    json_count(j, "i", ts_inc(ts));
    json_object_end(j);
}

void
json_time_ms(struct json *j, const char *key, int64_t unix_ms)
{
    char text[AMOUNT_LEN];

    json_text(j, key, unix_ms == 0 ? NULL : format_time_ms(text, unix_ms));
}
