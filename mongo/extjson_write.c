#include "mongo/extjson_write.h"

#include <bson/bson.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

struct writer {
    struct buf *out;
    enum extjson_form form;
    size_t stop; /* out->len from which on nothing more is needed */
    unsigned depth;
    struct pitr_err *err;
};

/* Milliseconds of 10000-01-01T00:00:00Z, the first moment RFC 3339 cannot write. */
#define YEAR_10000_MS INT64_C(253402300800000)

static enum pitr_rc write_members(struct writer *w, const uint8_t *doc, size_t len, bool is_array);
static enum pitr_rc write_value(struct writer *w, const struct belem *e);

static bool
is_full(const struct writer *w)
{
    return w->out->len >= w->stop;
}

static enum pitr_rc
add(struct writer *w, const char *text)
{
    return buf_append(w->out, text, strlen(text), w->err);
}

/* The character at s[0..len) into *c, and its length; 0 when there is none: overlong forms,
 * surrogates and what lies beyond U+10FFFF are no UTF-8. */
static size_t
utf8_char(const uint8_t *s, size_t len, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;

    if (n == 0 || n > len || s[0] > 0xf4)
        return 0;
    *c = n == 1 ? s[0] : s[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *c = *c << 6 | (s[i] & 0x3f);
    }
    return *c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff) ? 0 : n;
}

/* Characters a terminal acts upon instead of showing them. */
static bool
is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static enum pitr_rc
add_escape(struct writer *w, uint32_t c)
{
    static const char named[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *at = c == 0 || c > 0x7f ? NULL : strchr(named, (int)c);
    char text[8];

    if (at != NULL)
        snprintf(text, sizeof text, "\\%c", letters[at - named]);
    else
        snprintf(text, sizeof text, "\\u%04x", (unsigned)(c & 0xffff));
    return add(w, text);
}

static enum pitr_rc
write_chars(struct writer *w, const char *text, size_t len)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t at = 0, run = 0; /* [run, at) is to be copied as it is */

    while (at < len && w->out->len + (at - run) < w->stop) {
        uint32_t c = 0xfffd;
        size_t n = utf8_char(s + at, len - at, &c);

        if (n != 0 && c != '"' && c != '\\' && !is_control(c)) {
            at += n;
            continue;
        }
        if (buf_append(w->out, s + run, at - run, w->err) != PITR_OK ||
            add_escape(w, n == 0 ? 0xfffd : c) != PITR_OK)
            return w->err->rc;
        at += n == 0 ? 1 : n;
        run = at;
    }
    return buf_append(w->out, s + run, at - run, w->err);
}

static enum pitr_rc
write_string(struct writer *w, const char *text, size_t len)
{
    if (add(w, "\"") != PITR_OK || write_chars(w, text, len) != PITR_OK)
        return w->err->rc;
    return add(w, "\"");
}

/* The bytes of a string value: its length, its characters, a NUL. */
static enum pitr_rc
write_string_value(struct writer *w, const uint8_t *value)
{
    return write_string(w, (const char *)value + 4, get_le32(value) - 1);
}

/* The fewest digits that are read back to the same double; always with a point or an exponent, so
 * that it stays one. */
static enum pitr_rc
write_double(struct writer *w, const uint8_t *value)
{
    uint64_t bits = get_le64(value);
    char text[40];
    double d;

    memcpy(&d, &bits, sizeof d);
    if (!isfinite(d)) {
        snprintf(text, sizeof text, "{\"$numberDouble\":\"%s\"}",
                 isnan(d) ? "NaN"
                 : d > 0  ? "Infinity"
                          : "-Infinity");
        return add(w, text);
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    if (strpbrk(text, ".e") == NULL)
        strncat(text, ".0", sizeof text - strlen(text) - 1);
    if (w->form == EXTJSON_RELAXED)
        return add(w, text);
    if (add(w, "{\"$numberDouble\":\"") != PITR_OK || add(w, text) != PITR_OK)
        return w->err->rc;
    return add(w, "\"}");
}

static enum pitr_rc
write_whole(struct writer *w, const char *type, int64_t v)
{
    char text[64];

    if (w->form == EXTJSON_RELAXED)
        snprintf(text, sizeof text, "%" PRId64, v);
    else
        snprintf(text, sizeof text, "{\"%s\":\"%" PRId64 "\"}", type, v);
    return add(w, text);
}

static enum pitr_rc
write_decimal(struct writer *w, const uint8_t *value)
{
    bson_decimal128_t d = {.low = get_le64(value), .high = get_le64(value + 8)};
    char digits[BSON_DECIMAL128_STRING], text[BSON_DECIMAL128_STRING + 32];

    bson_decimal128_to_string(&d, digits);
    snprintf(text, sizeof text, "{\"$numberDecimal\":\"%s\"}", digits);
    return add(w, text);
}

static enum pitr_rc
write_date(struct writer *w, const uint8_t *value)
{
    int64_t ms = (int64_t)get_le64(value);
    char when[CLOCK_TEXT_LEN], text[64];

    if (w->form == EXTJSON_RELAXED && ms >= 0 && ms < YEAR_10000_MS) {
        clock_format(when, ms / 1000);
        when[strcspn(when, "Z")] = '\0';
        if (ms % 1000 == 0)
            snprintf(text, sizeof text, "{\"$date\":\"%sZ\"}", when);
        else
            snprintf(text, sizeof text, "{\"$date\":\"%s.%03dZ\"}", when, (int)(ms % 1000));
    } else {
        snprintf(text, sizeof text, "{\"$date\":{\"$numberLong\":\"%" PRId64 "\"}}", ms);
    }
    return add(w, text);
}

static enum pitr_rc
write_base64(struct writer *w, const uint8_t *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < len && !is_full(w); i += 3) {
        uint32_t b = (uint32_t)data[i] << 16 | (i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0) |
                     (i + 2 < len ? data[i + 2] : 0);
        char four[4] = {digits[b >> 18], digits[b >> 12 & 63], digits[b >> 6 & 63], digits[b & 63]};

        if (i + 1 >= len)
            four[2] = '=';
        if (i + 2 >= len)
            four[3] = '=';
        if (buf_append(w->out, four, sizeof four, w->err) != PITR_OK)
            return w->err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
write_uuid(struct writer *w, const uint8_t *uuid)
{
    char hex[33], text[64];

    hex_encode(hex, uuid, 16);
    snprintf(text, sizeof text, "{\"$uuid\":\"%.8s-%.4s-%.4s-%.4s-%.12s\"}", hex, hex + 8, hex + 12,
             hex + 16, hex + 20);
    return add(w, text);
}

/* Subtype 2 has the length once more inside; its bytes are written as they are stored. */
static enum pitr_rc
write_binary(struct writer *w, const uint8_t *value)
{
    size_t len = get_le32(value);
    char text[32];

    if (value[4] == 4 && len == 16 && w->form == EXTJSON_RELAXED)
        return write_uuid(w, value + 5);
    snprintf(text, sizeof text, "\",\"subType\":\"%02x\"}}", value[4]);
    if (add(w, "{\"$binary\":{\"base64\":\"") != PITR_OK ||
        write_base64(w, value + 5, len) != PITR_OK)
        return w->err->rc;
    return add(w, text);
}

static enum pitr_rc
write_regex(struct writer *w, const uint8_t *value)
{
    const char *pattern = (const char *)value;
    const char *options = pattern + strlen(pattern) + 1;

    if (add(w, "{\"$regularExpression\":{\"pattern\":") != PITR_OK ||
        write_string(w, pattern, strlen(pattern)) != PITR_OK ||
        add(w, ",\"options\":") != PITR_OK || write_string(w, options, strlen(options)) != PITR_OK)
        return w->err->rc;
    return add(w, "}}");
}

static enum pitr_rc
write_oid(struct writer *w, const uint8_t *oid)
{
    char hex[25], text[48];

    hex_encode(hex, oid, 12);
    snprintf(text, sizeof text, "{\"$oid\":\"%s\"}", hex);
    return add(w, text);
}

static enum pitr_rc
write_pointer(struct writer *w, const uint8_t *value)
{
    if (add(w, "{\"$dbPointer\":{\"$ref\":") != PITR_OK ||
        write_string_value(w, value) != PITR_OK || add(w, ",\"$id\":") != PITR_OK ||
        write_oid(w, value + 4 + get_le32(value)) != PITR_OK)
        return w->err->rc;
    return add(w, "}}");
}

static enum pitr_rc
write_tagged(struct writer *w, const char *before, const uint8_t *string, const char *after)
{
    if (add(w, before) != PITR_OK || write_string_value(w, string) != PITR_OK)
        return w->err->rc;
    return add(w, after);
}

static enum pitr_rc
write_scoped_code(struct writer *w, const struct belem *e)
{
    const uint8_t *code = e->value + 4;
    const uint8_t *scope = code + 4 + get_le32(code);

    if (write_tagged(w, "{\"$code\":", code, ",\"$scope\":") != PITR_OK ||
        write_members(w, scope, (size_t)(e->value + e->value_len - scope), false) != PITR_OK)
        return w->err->rc;
    return add(w, "}");
}

static enum pitr_rc
write_timestamp(struct writer *w, const uint8_t *value)
{
    char text[64];

    snprintf(text, sizeof text, "{\"$timestamp\":{\"t\":%" PRIu32 ",\"i\":%" PRIu32 "}}",
             get_le32(value + 4), get_le32(value));
    return add(w, text);
}

static enum pitr_rc
write_value(struct writer *w, const struct belem *e)
{
    switch ((enum bson_kind)e->type) {
    case BSON_DOUBLE:
        return write_double(w, e->value);
    case BSON_STRING:
        return write_string_value(w, e->value);
    case BSON_DOC:
    case BSON_ARRAY:
        return write_members(w, e->value, e->value_len, e->type == BSON_ARRAY);
    case BSON_BIN:
        return write_binary(w, e->value);
    case BSON_UNDEF:
        return add(w, "{\"$undefined\":true}");
    case BSON_ID:
        return write_oid(w, e->value);
    case BSON_BOOLEAN:
        return add(w, e->value[0] != 0 ? "true" : "false");
    case BSON_DATE:
        return write_date(w, e->value);
    case BSON_NIL:
        return add(w, "null");
    case BSON_REGEXP:
        return write_regex(w, e->value);
    case BSON_DBPTR:
        return write_pointer(w, e->value);
    case BSON_JSCODE:
        return write_tagged(w, "{\"$code\":", e->value, "}");
    case BSON_SYM:
        return write_tagged(w, "{\"$symbol\":", e->value, "}");
    case BSON_JSSCOPE:
        return write_scoped_code(w, e);
    case BSON_INT:
        return write_whole(w, "$numberInt", (int32_t)get_le32(e->value));
    case BSON_TS:
        return write_timestamp(w, e->value);
    case BSON_LONG:
        return write_whole(w, "$numberLong", (int64_t)get_le64(e->value));
    case BSON_DEC128:
        return write_decimal(w, e->value);
    case BSON_MAX:
        return add(w, "{\"$maxKey\":1}");
    case BSON_MIN:
        return add(w, "{\"$minKey\":1}");
    case BSON_EOD:
        break;
    }
    return pitr_fail(w->err, PITR_CORRUPT, "BSON value of unknown type 0x%02x", e->type);
}

/* Recursion is bounded by BSON_MAX_DEPTH. */
static enum pitr_rc
write_members(struct writer *w, const uint8_t *doc, size_t len, bool is_array)
{
    struct biter it;
    struct belem e;

    if (w->depth == BSON_MAX_DEPTH)
        return pitr_fail(w->err, PITR_CORRUPT, "BSON nested deeper than %d levels", BSON_MAX_DEPTH);
    w->depth++;
    if (biter_init(&it, doc, len, w->err) != PITR_OK || add(w, is_array ? "[" : "{") != PITR_OK)
        return w->err->rc;
    for (bool is_first = true; !is_full(w); is_first = false) {
        if (biter_next(&it, &e, w->err) != PITR_OK)
            return w->err->rc;
        if (e.type == BSON_EOD)
            break;
        if (!is_first && add(w, ",") != PITR_OK)
            return w->err->rc;
        if (!is_array && (write_string(w, e.name, e.name_len) != PITR_OK || add(w, ":") != PITR_OK))
            return w->err->rc;
        if (write_value(w, &e) != PITR_OK)
            return w->err->rc;
    }
    w->depth--;
    return add(w, is_array ? "]" : "}");
}

static struct writer
writer_of(struct buf *out, enum extjson_form form, size_t most, struct pitr_err *err)
{
    bool is_bounded = most != 0 && most < SIZE_MAX - out->len;

    return (struct writer){
        .out = out, .form = form, .stop = is_bounded ? out->len + most : SIZE_MAX, .err = err};
}

enum pitr_rc
extjson_write_doc(struct buf *out, const uint8_t *doc, size_t len, enum extjson_form form,
                  size_t most, struct pitr_err *err)
{
    struct writer w = writer_of(out, form, most, err);

    return write_members(&w, doc, len, false);
}

enum pitr_rc
extjson_write_value(struct buf *out, const struct belem *e, enum extjson_form form, size_t most,
                    struct pitr_err *err)
{
    struct writer w = writer_of(out, form, most, err);

    return write_value(&w, e);
}

enum pitr_rc
extjson_write_chars(struct buf *out, const char *text, size_t len, struct pitr_err *err)
{
    struct writer w = writer_of(out, EXTJSON_RELAXED, 0, err);

    return write_chars(&w, text, len);
}
