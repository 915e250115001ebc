#include "mongo/extjson_typed.h"

#include <bson/bson.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "mongo/bsonio.h"

enum { FIELDS_MAX = 2, TEXT_MAX = 64, UUID_BYTES = 16, ID_BYTES = 12 };

/* The fields of a small document, and where the value it stands for is put together. */
struct fold {
    struct belem field[FIELDS_MAX];
    size_t fields;
    struct buf *value; /* bytes of the value */
    uint8_t type;      /* of the value; BSON_EOD: the document is no typed value */
    struct pitr_err *err;
};

static bool
fields_of(struct belem field[FIELDS_MAX], size_t *n, const uint8_t *doc, size_t len)
{
    struct pitr_err ignored;
    struct biter it;
    struct belem e;

    *n = 0;
    if (biter_init(&it, doc, len, &ignored) != PITR_OK)
        return false;
    for (;;) {
        if (biter_next(&it, &e, &ignored) != PITR_OK)
            return false;
        if (e.type == BSON_EOD)
            return true;
        if (*n == FIELDS_MAX)
            return false;
        field[(*n)++] = e;
    }
}

/* A short string without NULs, as a C string. */
static bool
short_text(const struct belem *e, char out[TEXT_MAX])
{
    const char *text;
    size_t len;

    if (!belem_string(e, &text, &len) || len >= TEXT_MAX || memchr(text, 0, len) != NULL)
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

static enum pitr_rc
give(struct fold *f, uint8_t type, const void *value, size_t len)
{
    f->type = type;
    return buf_append(f->value, value, len, f->err);
}

static enum pitr_rc
give_le32(struct fold *f, uint8_t type, uint32_t v)
{
    f->type = type;
    return buf_append_le32(f->value, v, f->err);
}

static enum pitr_rc
give_le64(struct fold *f, uint8_t type, uint64_t v)
{
    f->type = type;
    return buf_append_le64(f->value, v, f->err);
}

static bool
parse_whole(const char *text, long long *out)
{
    char *rest;

    errno = 0;
    *out = strtoll(text, &rest, 10);
    return *text != '\0' && strchr(" \t\n+", *text) == NULL && *rest == '\0' && errno == 0;
}

static enum pitr_rc
fold_oid(struct fold *f)
{
    uint8_t raw[ID_BYTES];
    char text[TEXT_MAX];

    if (!short_text(&f->field[0], text) || !hex_decode(raw, sizeof raw, text))
        return PITR_OK;
    return give(f, BSON_ID, raw, sizeof raw);
}

static enum pitr_rc
fold_int(struct fold *f)
{
    char text[TEXT_MAX];
    long long v;

    if (!short_text(&f->field[0], text) || !parse_whole(text, &v) || v < INT32_MIN || v > INT32_MAX)
        return PITR_OK;
    return give_le32(f, BSON_INT, (uint32_t)v);
}

static enum pitr_rc
fold_long(struct fold *f)
{
    char text[TEXT_MAX];
    long long v;

    if (!short_text(&f->field[0], text) || !parse_whole(text, &v))
        return PITR_OK;
    return give_le64(f, BSON_LONG, (uint64_t)v);
}

/* strtod reads Infinity and NaN as well; a NaN is given the bits the server uses. */
static enum pitr_rc
fold_double(struct fold *f)
{
    const char *text;
    size_t len;
    char copy[400], *rest;
    uint64_t bits;
    double d;

    if (!belem_string(&f->field[0], &text, &len) || len == 0 || len >= sizeof copy)
        return PITR_OK;
    memcpy(copy, text, len);
    copy[len] = '\0';
    d = strtod(copy, &rest);
    if (*rest != '\0' || strlen(copy) != len)
        return PITR_OK;
    memcpy(&bits, &d, sizeof bits);
    return give_le64(f, BSON_DOUBLE, d != d ? 0x7ff8000000000000ULL : bits);
}

static enum pitr_rc
fold_decimal(struct fold *f)
{
    char text[TEXT_MAX];
    bson_decimal128_t d;

    if (!short_text(&f->field[0], text) || !bson_decimal128_from_string(text, &d))
        return PITR_OK;
    if (give_le64(f, BSON_DEC128, d.low) != PITR_OK)
        return f->err->rc;
    return give_le64(f, BSON_DEC128, d.high);
}

static int
base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : strchr(digits, c);

    return at == NULL ? -1 : (int)(at - digits);
}

/* *ok false: not base64. */
static enum pitr_rc
append_base64(struct fold *f, const char *text, size_t len, bool *ok)
{
    uint32_t bits = 0;
    unsigned n = 0;

    *ok = false;
    while (len > 0 && text[len - 1] == '=')
        len--;
    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(text[i]);

        if (digit < 0)
            return PITR_OK;
        bits = bits << 6 | (uint32_t)digit;
        n += 6;
        if (n >= 8) {
            n -= 8;
            if (buf_append_u8(f->value, (uint8_t)(bits >> n), f->err) != PITR_OK)
                return f->err->rc;
        }
    }
    *ok = n < 6;
    return PITR_OK;
}

static enum pitr_rc
give_binary(struct fold *f, const struct belem *base64, const struct belem *subtype)
{
    char hex[TEXT_MAX], padded[3] = "00";
    const char *text;
    size_t len, hex_len;
    uint8_t kind;
    bool ok;

    if (!belem_string(base64, &text, &len) || !short_text(subtype, hex))
        return PITR_OK;
    hex_len = strlen(hex);
    if (hex_len < 1 || hex_len > 2)
        return PITR_OK;
    memcpy(padded + 2 - hex_len, hex, hex_len);
    if (!hex_decode(&kind, 1, padded))
        return PITR_OK;
    if (buf_append_le32(f->value, 0, f->err) != PITR_OK ||
        buf_append_u8(f->value, kind, f->err) != PITR_OK ||
        append_base64(f, text, len, &ok) != PITR_OK)
        return f->err->rc;
    if (!ok)
        return PITR_OK;
    put_le32(f->value->data, (uint32_t)(f->value->len - 5));
    f->type = BSON_BIN;
    return PITR_OK;
}

/* The two fields of `e` by name, in either order. */
static bool
pair(const struct belem *e, const char *a, const char *b, struct belem out[2])
{
    struct belem field[FIELDS_MAX];
    size_t n;

    if (e->type != BSON_DOC || !fields_of(field, &n, e->value, e->value_len) || n != 2)
        return false;
    out[0] = field[belem_is(&field[0], a) ? 0 : 1];
    out[1] = field[belem_is(&field[0], a) ? 1 : 0];
    return belem_is(&out[0], a) && belem_is(&out[1], b);
}

static enum pitr_rc
fold_binary(struct fold *f)
{
    struct belem part[2];

    return pair(&f->field[0], "base64", "subType", part) ? give_binary(f, &part[0], &part[1])
                                                         : PITR_OK;
}

static enum pitr_rc
fold_old_binary(struct fold *f)
{
    return give_binary(f, &f->field[0], &f->field[1]);
}

static enum pitr_rc
fold_uuid(struct fold *f)
{
    static const uint8_t head[] = {UUID_BYTES, 0, 0, 0, 4};
    char text[TEXT_MAX], hex[2 * UUID_BYTES + 1];
    uint8_t raw[UUID_BYTES];
    size_t n = 0;

    if (!short_text(&f->field[0], text) || strlen(text) != 36)
        return PITR_OK;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash != (text[i] == '-'))
            return PITR_OK;
        if (!dash)
            hex[n++] = text[i];
    }
    hex[n] = '\0';
    if (!hex_decode(raw, sizeof raw, hex))
        return PITR_OK;
    if (give(f, BSON_BIN, head, sizeof head) != PITR_OK)
        return f->err->rc;
    return give(f, BSON_BIN, raw, sizeof raw);
}

static enum pitr_rc
fold_symbol(struct fold *f)
{
    if (f->field[0].type != BSON_STRING)
        return PITR_OK;
    return give(f, BSON_SYM, f->field[0].value, f->field[0].value_len);
}

static enum pitr_rc
fold_code(struct fold *f)
{
    if (f->field[0].type != BSON_STRING)
        return PITR_OK;
    return give(f, BSON_JSCODE, f->field[0].value, f->field[0].value_len);
}

static enum pitr_rc
fold_scoped_code(struct fold *f)
{
    const struct belem *code = &f->field[0], *scope = &f->field[1];

    if (code->type != BSON_STRING || scope->type != BSON_DOC)
        return PITR_OK;
    if (give_le32(f, BSON_JSSCOPE, (uint32_t)(4 + code->value_len + scope->value_len)) != PITR_OK ||
        give(f, BSON_JSSCOPE, code->value, code->value_len) != PITR_OK)
        return f->err->rc;
    return give(f, BSON_JSSCOPE, scope->value, scope->value_len);
}

static enum pitr_rc
fold_timestamp(struct fold *f)
{
    struct belem part[2];
    int64_t t, i;

    if (!pair(&f->field[0], "t", "i", part) || !belem_int64(&part[0], &t) ||
        !belem_int64(&part[1], &i) || t < 0 || t > UINT32_MAX || i < 0 || i > UINT32_MAX)
        return PITR_OK;
    return give_le64(f, BSON_TS, (uint64_t)t << 32 | (uint64_t)i);
}

static enum pitr_rc
fold_regex(struct fold *f)
{
    struct belem part[2];
    const char *pattern, *options;
    size_t pattern_len, options_len;

    if (!pair(&f->field[0], "pattern", "options", part) ||
        !belem_string(&part[0], &pattern, &pattern_len) ||
        !belem_string(&part[1], &options, &options_len) || strlen(pattern) != pattern_len ||
        strlen(options) != options_len)
        return PITR_OK;
    if (give(f, BSON_REGEXP, pattern, pattern_len + 1) != PITR_OK)
        return f->err->rc;
    return give(f, BSON_REGEXP, options, options_len + 1);
}

static enum pitr_rc
fold_pointer(struct fold *f)
{
    struct belem part[2];

    if (!pair(&f->field[0], "$ref", "$id", part) || part[0].type != BSON_STRING ||
        part[1].type != BSON_ID)
        return PITR_OK;
    if (give(f, BSON_DBPTR, part[0].value, part[0].value_len) != PITR_OK)
        return f->err->rc;
    return give(f, BSON_DBPTR, part[1].value, part[1].value_len);
}

/* "2020-01-01T00:00:00[.fff](Z|+hh:mm|+hhmm)" in milliseconds since 1970. */
static bool
parse_date(const char *text, int64_t *out)
{
    struct tm tm = {0};
    const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t ms = 0, unit = 100, offset = 0;
    char sign, *rest;

    if (at == NULL)
        return false;
    if (*at == '.') {
        for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10)
            ms += unit * (*at - '0');
    }
    sign = *at;
    if (sign == '+' || sign == '-') {
        long zone = strtol(at + 1, &rest, 10);

        if (*rest == ':' && rest == at + 3)
            zone = zone * 100 + strtol(rest + 1, &rest, 10);
        offset = (zone / 100 * 60 + zone % 100) * 60000;
        at = rest;
    } else if (sign == 'Z') {
        at++;
    } else {
        return false;
    }
    *out = (int64_t)timegm(&tm) * 1000 + ms - (sign == '-' ? -offset : offset);
    return *at == '\0';
}

static enum pitr_rc
fold_date(struct fold *f)
{
    char text[TEXT_MAX];
    int64_t ms;

    if (f->field[0].type != BSON_LONG && f->field[0].type != BSON_INT &&
        (!short_text(&f->field[0], text) || !parse_date(text, &ms)))
        return PITR_OK;
    if (f->field[0].type != BSON_STRING && !belem_int64(&f->field[0], &ms))
        return PITR_OK;
    return give_le64(f, BSON_DATE, (uint64_t)ms);
}

static enum pitr_rc
fold_bare(struct fold *f, uint8_t type)
{
    if (f->field[0].type == BSON_INT || f->field[0].type == BSON_BOOLEAN)
        f->type = type;
    return PITR_OK;
}

static enum pitr_rc
fold_min(struct fold *f)
{
    return fold_bare(f, BSON_MIN);
}

static enum pitr_rc
fold_max(struct fold *f)
{
    return fold_bare(f, BSON_MAX);
}

static enum pitr_rc
fold_undefined(struct fold *f)
{
    return fold_bare(f, BSON_UNDEF);
}

struct typed {
    const char *key, *second; /* second NULL: one field */
    enum pitr_rc (*fold)(struct fold *f);
};

static const struct typed typed[] = {
    {"$oid", NULL, fold_oid},
    {"$numberInt", NULL, fold_int},
    {"$numberLong", NULL, fold_long},
    {"$numberDouble", NULL, fold_double},
    {"$numberDecimal", NULL, fold_decimal},
    {"$binary", NULL, fold_binary},
    {"$binary", "$type", fold_old_binary},
    {"$uuid", NULL, fold_uuid},
    {"$symbol", NULL, fold_symbol},
    {"$code", NULL, fold_code},
    {"$code", "$scope", fold_scoped_code},
    {"$timestamp", NULL, fold_timestamp},
    {"$regularExpression", NULL, fold_regex},
    {"$dbPointer", NULL, fold_pointer},
    {"$date", NULL, fold_date},
    {"$minKey", NULL, fold_min},
    {"$maxKey", NULL, fold_max},
    {"$undefined", NULL, fold_undefined},
};

static const struct typed *
find_typed(const struct fold *f)
{
    for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++) {
        const struct typed *t = &typed[i];

        if (f->fields == (t->second == NULL ? 1 : 2) && belem_is(&f->field[0], t->key) &&
            (t->second == NULL || belem_is(&f->field[1], t->second)))
            return t;
    }
    return NULL;
}

enum pitr_rc
extjson_fold(struct buf *out, size_t type_at, size_t at, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf value = {0};
    struct fold f = {.value = &value, .type = BSON_EOD, .err = err};
    const struct typed *t;

    if (!fields_of(f.field, &f.fields, out->data + at, out->len - at))
        return PITR_OK;
    t = find_typed(&f);
    if (t == NULL)
        return PITR_OK;
    if (t->fold(&f) != PITR_OK)
        return err->rc;
    if (f.type == BSON_EOD)
        return PITR_OK;
    out->data[type_at] = f.type;
    out->len = at;
    return buf_append(out, value.data, value.len, err);
}
