#include "mongo/extjson.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "mongo/bsonio.h"
#include "mongo/extjson_typed.h"

/* Nesting of JSON; a typed value nests up to three objects for one of BSON. */
enum { DEPTH_MAX = 200, NUMBER_MAX = 400 };

struct parser {
    const char *text, *at, *end;
    struct buf *out;
    unsigned depth;
    struct pitr_err *err;
};

static enum pitr_rc parse_value(struct parser *p, size_t type_at);

static enum pitr_rc
bad(struct parser *p, const char *what)
{
    return pitr_fail(p->err, PITR_CORRUPT, "JSON at byte %zu: %s", (size_t)(p->at - p->text), what);
}

static char
peek(struct parser *p)
{
    while (p->at < p->end && strchr(" \t\r\n", *p->at) != NULL && *p->at != '\0')
        p->at++;
    return p->at < p->end ? *p->at : '\0';
}

static bool
take(struct parser *p, char c)
{
    if (peek(p) != c || p->at == p->end)
        return false;
    p->at++;
    return true;
}

static bool
take_hex4(struct parser *p, uint32_t *out)
{
    uint8_t raw[2];
    char digits[5];

    if (p->end - p->at < 4)
        return false;
    memcpy(digits, p->at, 4);
    digits[4] = '\0';
    if (!hex_decode(raw, sizeof raw, digits))
        return false;
    p->at += 4;
    *out = (uint32_t)raw[0] << 8 | raw[1];
    return true;
}

static enum pitr_rc
append_utf8(struct parser *p, uint32_t c)
{
    uint8_t b[4];
    size_t n;

    if (c < 0x80) {
        b[0] = (uint8_t)c;
        n = 1;
    } else if (c < 0x800) {
        b[0] = (uint8_t)(0xc0 | c >> 6);
        b[1] = (uint8_t)(0x80 | (c & 0x3f));
        n = 2;
    } else if (c < 0x10000) {
        b[0] = (uint8_t)(0xe0 | c >> 12);
        b[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        b[2] = (uint8_t)(0x80 | (c & 0x3f));
        n = 3;
    } else {
        b[0] = (uint8_t)(0xf0 | c >> 18);
        b[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        b[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        b[3] = (uint8_t)(0x80 | (c & 0x3f));
        n = 4;
    }
    return buf_append(p->out, b, n, p->err);
}

/* Behind "\u"; two escapes make one character beyond the first 65,536. */
static enum pitr_rc
parse_unicode(struct parser *p)
{
    uint32_t c, low;

    if (!take_hex4(p, &c))
        return bad(p, "\\u without four hexadecimal digits");
    if (c >= 0xdc00 && c <= 0xdfff)
        return bad(p, "half a surrogate pair");
    if (c >= 0xd800 && c <= 0xdbff) {
        if (p->end - p->at < 2 || p->at[0] != '\\' || p->at[1] != 'u')
            return bad(p, "half a surrogate pair");
        p->at += 2;
        if (!take_hex4(p, &low) || low < 0xdc00 || low > 0xdfff)
            return bad(p, "half a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    return append_utf8(p, c);
}

static enum pitr_rc
parse_escape(struct parser *p)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *known;
    char c;

    if (p->at == p->end)
        return bad(p, "a string has no end");
    c = *p->at++;
    if (c == 'u')
        return parse_unicode(p);
    known = c == '\0' ? NULL : strchr(from, c);
    if (known == NULL)
        return bad(p, "unknown escape");
    return buf_append_u8(p->out, (uint8_t)to[known - from], p->err);
}

/* The characters of a string; the opening quote is next. */
static enum pitr_rc
parse_text(struct parser *p)
{
    if (!take(p, '"'))
        return bad(p, "a string is expected");
    for (;;) {
        const char *run = p->at;

        while (p->at < p->end && *p->at != '"' && *p->at != '\\' && (unsigned char)*p->at >= 0x20)
            p->at++;
        if (buf_append(p->out, run, (size_t)(p->at - run), p->err) != PITR_OK)
            return p->err->rc;
        if (p->at == p->end || (unsigned char)*p->at < 0x20)
            return bad(p, "a string has no end");
        if (*p->at++ == '"')
            return PITR_OK;
        if (parse_escape(p) != PITR_OK)
            return p->err->rc;
    }
}

static enum pitr_rc
parse_string(struct parser *p)
{
    size_t at = p->out->len;

    if (buf_append_le32(p->out, 0, p->err) != PITR_OK || parse_text(p) != PITR_OK ||
        buf_append_u8(p->out, 0, p->err) != PITR_OK)
        return p->err->rc;
    put_le32(p->out->data + at, (uint32_t)(p->out->len - at - 4));
    return PITR_OK;
}

static enum pitr_rc
parse_key(struct parser *p)
{
    size_t at = p->out->len;

    if (parse_text(p) != PITR_OK)
        return p->err->rc;
    if (p->out->len > at && memchr(p->out->data + at, 0, p->out->len - at) != NULL)
        return bad(p, "a key with a NUL");
    return buf_append_u8(p->out, 0, p->err);
}

static enum pitr_rc
parse_number(struct parser *p, size_t type_at)
{
    char text[NUMBER_MAX], *rest;
    size_t len = 0;
    long long whole;
    uint64_t bits;
    double d;

    while (p->at + len < p->end && len < sizeof text - 1 &&
           strchr("+-0123456789.eE", p->at[len]) != NULL && p->at[len] != '\0')
        len++;
    memcpy(text, p->at, len);
    text[len] = '\0';
    errno = 0;
    whole = strtoll(text, &rest, 10);
    if (len > 0 && *rest == '\0' && errno == 0) {
        p->at += len;
        p->out->data[type_at] = whole >= INT32_MIN && whole <= INT32_MAX ? BSON_INT : BSON_LONG;
        if (p->out->data[type_at] == BSON_INT)
            return buf_append_le32(p->out, (uint32_t)whole, p->err);
        return buf_append_le64(p->out, (uint64_t)whole, p->err);
    }
    d = strtod(text, &rest);
    if (len == 0 || *rest != '\0')
        return bad(p, "a value is expected");
    p->at += len;
    memcpy(&bits, &d, sizeof bits);
    p->out->data[type_at] = BSON_DOUBLE;
    return buf_append_le64(p->out, bits, p->err);
}

static bool
take_word(struct parser *p, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(p->end - p->at) < len || memcmp(p->at, word, len) != 0)
        return false;
    p->at += len;
    return true;
}

static enum pitr_rc
parse_member(struct parser *p, bool is_array, unsigned position)
{
    size_t type_at = p->out->len;
    char number[16];

    if (buf_append_u8(p->out, BSON_NIL, p->err) != PITR_OK)
        return p->err->rc;
    if (is_array) {
        snprintf(number, sizeof number, "%u", position);
        if (buf_append(p->out, number, strlen(number) + 1, p->err) != PITR_OK)
            return p->err->rc;
    } else {
        if (parse_key(p) != PITR_OK)
            return p->err->rc;
        if (!take(p, ':'))
            return bad(p, "a colon is expected");
    }
    return parse_value(p, type_at);
}

/* Recursion is bounded by DEPTH_MAX. */
static enum pitr_rc
parse_members(struct parser *p, bool is_array)
{
    const char close = is_array ? ']' : '}';
    size_t at = p->out->len;

    if (p->depth == DEPTH_MAX)
        return bad(p, "nested too deeply");
    p->depth++;
    p->at++;
    if (buf_append_le32(p->out, 0, p->err) != PITR_OK)
        return p->err->rc;
    if (!take(p, close)) {
        for (unsigned i = 0;; i++) {
            if (parse_member(p, is_array, i) != PITR_OK)
                return p->err->rc;
            if (take(p, close))
                break;
            if (!take(p, ','))
                return bad(p, "a comma or the end of an object or array is expected");
        }
    }
    p->depth--;
    if (buf_append_u8(p->out, 0, p->err) != PITR_OK)
        return p->err->rc;
    put_le32(p->out->data + at, (uint32_t)(p->out->len - at));
    return PITR_OK;
}

static enum pitr_rc
parse_value(struct parser *p, size_t type_at)
{
    size_t at = p->out->len;
    char c = peek(p);

    if (c == '{') {
        p->out->data[type_at] = BSON_DOC;
        if (parse_members(p, false) != PITR_OK)
            return p->err->rc;
        return extjson_fold(p->out, type_at, at, p->err);
    }
    if (c == '[') {
        p->out->data[type_at] = BSON_ARRAY;
        return parse_members(p, true);
    }
    if (c == '"') {
        p->out->data[type_at] = BSON_STRING;
        return parse_string(p);
    }
    if (take_word(p, "null"))
        return PITR_OK;
    if (c == 't' || c == 'f') {
        p->out->data[type_at] = BSON_BOOLEAN;
        if (!take_word(p, c == 't' ? "true" : "false"))
            return bad(p, "a value is expected");
        return buf_append_u8(p->out, c == 't', p->err);
    }
    return parse_number(p, type_at);
}

enum pitr_rc
extjson_parse(struct buf *out, const char *text, size_t len, struct pitr_err *err)
{
    struct parser p = {.text = text, .at = text, .end = text + len, .out = out, .err = err};

    if (peek(&p) != '{')
        return bad(&p, "an object is expected");
    if (parse_members(&p, false) != PITR_OK)
        return err->rc;
    if (peek(&p) != '\0' || p.at != p.end)
        return bad(&p, "something follows the object");
    return PITR_OK;
}

enum pitr_rc
extjson_parse_value(struct buf *out, const char *text, size_t len, struct pitr_err *err)
{
    struct parser p = {.text = text, .at = text, .end = text + len, .out = out, .err = err};
    static const uint8_t head[] = {BSON_NIL, '\0'};
    size_t at = out->len;

    if (buf_append_le32(out, 0, err) != PITR_OK ||
        buf_append(out, head, sizeof head, err) != PITR_OK || parse_value(&p, at + 4) != PITR_OK)
        return err->rc;
    if (peek(&p) != '\0' || p.at != p.end)
        return bad(&p, "something follows the value");
    if (buf_append_u8(out, 0, err) != PITR_OK)
        return err->rc;
    put_le32(out->data + at, (uint32_t)(out->len - at));
    return PITR_OK;
}
