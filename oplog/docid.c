#include "oplog/docid.h"

#include <string.h>

#include "base/bytes.h"

/*
 * The key is one value, and every value says where it ends, so that no key is
 * a prefix of another:
 *
 *     number, integral and within int64     BSON_LONG    int64
 *     other number that a double can hold   BSON_DOUBLE  its bits; infinities too, one NaN
 *     other number (decimal128 only)        BSON_DEC128  sign u8, exponent i16, coefficient u128
 *     string, symbol                        BSON_STRING  the value's bytes
 *     sub-document                          BSON_DOC     { type, name, NUL, value } ... 0x00
 *     array                                 BSON_ARRAY   { type, value } ... 0x00
 *     code with scope                       BSON_JSSCOPE the code as a string, then as BSON_DOC
 *     anything else                         its type     the value's bytes
 *
 * Here "type" is the first byte of the value's own key. Integers are
 * little-endian. A number has exactly one form: the first in this list that
 * can hold it exactly. A decimal is reduced first (no trailing zeros in the
 * coefficient); its coefficient is odd * 2^k * 5^m, so it is a double exactly
 * if the denominator is a power of two and the odd part fits 53 bits.
 */

enum {
    DOUBLE_DIGITS = 53,
    DEC_EXP_BIAS = 6176,
    POW5_IN_DOUBLE = 22, /* 5^22 < 2^53 < 5^23 */
    POW5_IN_DEC = 48,    /* 5^48 < 10^34 < 5^49 */
    POW10_IN_INT64 = 18, /* 10^18 < 2^63 < 10^19 */
};

__extension__ typedef unsigned __int128 u128;

static enum pitr_rc
append_tagged(struct buf *out, uint8_t tag, const uint8_t *data, size_t len, struct pitr_err *err)
{
    if (buf_reserve(out, 1 + len, err) != PITR_OK)
        return err->rc;
    out->data[out->len++] = tag;
    memcpy(out->data + out->len, data, len);
    out->len += len;
    return PITR_OK;
}

static enum pitr_rc
append_int64(struct buf *out, int64_t v, struct pitr_err *err)
{
    uint8_t raw[8];

    put_le64(raw, (uint64_t)v);
    return append_tagged(out, BSON_LONG, raw, sizeof raw, err);
}

/* A double that is not an int64. */
static enum pitr_rc
append_double(struct buf *out, double d, struct pitr_err *err)
{
    uint64_t bits = 0x7ff8000000000000ULL;
    uint8_t raw[8];

    if (d == d)
        memcpy(&bits, &d, sizeof bits);
    put_le64(raw, bits);
    return append_tagged(out, BSON_DOUBLE, raw, sizeof raw, err);
}

struct decimal {
    bool negative;
    u128 coefficient; /* never a multiple of 10, unless 0 */
    int exponent;
};

/* Exact, or false. */
static bool
decimal_to_int64(const struct decimal *d, int64_t *out)
{
    u128 v = d->coefficient;
    u128 limit = (u128)INT64_MAX + (d->negative ? 1 : 0);

    if (v == 0) {
        *out = 0;
        return true;
    }
    if (d->exponent < 0 || d->exponent > POW10_IN_INT64 || v > limit)
        return false;
    for (int i = 0; i < d->exponent; i++)
        v *= 10;
    if (v > limit)
        return false;
    *out = d->negative ? (int64_t)(0 - (uint64_t)v) : (int64_t)v;
    return true;
}

/* Exact, or false. All results are far inside the normal range: 2^-48 to 2^135. */
static bool
decimal_to_double(const struct decimal *d, double *out)
{
    u128 odd = d->coefficient;
    int exp2 = d->exponent;

    if (exp2 > POW5_IN_DOUBLE || exp2 < -POW5_IN_DEC)
        return false;
    for (int i = exp2; i < 0; i++) {
        if (odd % 5 != 0)
            return false;
        odd /= 5;
    }
    while ((odd & 1) == 0) {
        odd >>= 1;
        exp2++;
    }
    for (int i = 0; i < d->exponent && odd >> DOUBLE_DIGITS == 0; i++)
        odd *= 5;
    if (odd >> DOUBLE_DIGITS != 0)
        return false;
    *out = (double)(uint64_t)odd;
    for (; exp2 > 0; exp2--)
        *out *= 2;
    for (; exp2 < 0; exp2++)
        *out /= 2;
    if (d->negative)
        *out = -*out;
    return true;
}

/* Coefficient and exponent of a finite decimal128 (BID), reduced. */
static struct decimal
decimal_parse(uint64_t low, uint64_t high)
{
    struct decimal d = {.negative = high >> 63 != 0};
    u128 limit = (u128)100000000000000000ULL * 100000000000000000ULL;

    /* The other form (next two bits set) would hold more than 10^34 - 1: by definition it is zero,
     * as is any other coefficient above that. */
    if ((high >> 61 & 3) != 3) {
        d.coefficient = (u128)(high & 0x1ffffffffffffULL) << 64 | low;
        d.exponent = (int)(high >> 49 & 0x3fff) - DEC_EXP_BIAS;
    }
    if (d.coefficient == 0 || d.coefficient >= limit)
        return (struct decimal){0};
    while (d.coefficient % 10 == 0) {
        d.coefficient /= 10;
        d.exponent++;
    }
    return d;
}

static enum pitr_rc
append_decimal(struct buf *out, const uint8_t *value, struct pitr_err *err)
{
    uint64_t low = get_le64(value), high = get_le64(value + 8);
    struct decimal d;
    uint8_t raw[19];
    int64_t as_int;
    double as_double;

    if ((high >> 58 & 31) == 31)
        return append_double(out, __builtin_nan(""), err);
    if ((high >> 58 & 31) == 30)
        return append_double(out, high >> 63 ? -__builtin_inf() : __builtin_inf(), err);
    d = decimal_parse(low, high);
    if (decimal_to_int64(&d, &as_int))
        return append_int64(out, as_int, err);
    if (decimal_to_double(&d, &as_double))
        return append_double(out, as_double, err);
    raw[0] = d.negative;
    put_le16(raw + 1, (uint16_t)d.exponent);
    put_le64(raw + 3, (uint64_t)d.coefficient);
    put_le64(raw + 11, (uint64_t)(d.coefficient >> 64));
    return append_tagged(out, BSON_DEC128, raw, sizeof raw, err);
}

static enum pitr_rc
append_number(struct buf *out, const struct belem *e, struct pitr_err *err)
{
    uint64_t bits;
    int64_t as_int;
    double d;

    if (e->type == BSON_DEC128)
        return append_decimal(out, e->value, err);
    if (belem_int64(e, &as_int))
        return append_int64(out, as_int, err);
    bits = get_le64(e->value);
    memcpy(&d, &bits, sizeof d);
    return append_double(out, d, err);
}

/* A value that holds no document. */
static enum pitr_rc
append_scalar(struct buf *out, const struct belem *e, struct pitr_err *err)
{
    switch (e->type) {
    case BSON_INT:
    case BSON_LONG:
    case BSON_DOUBLE:
    case BSON_DEC128:
        return append_number(out, e, err);
    case BSON_SYM:
        return append_tagged(out, BSON_STRING, e->value, e->value_len, err);
    default:
        return append_tagged(out, e->type, e->value, e->value_len, err);
    }
}

/* Open documents and arrays, the innermost last. */
struct nesting {
    struct level {
        struct biter it;
        bool named; /* a document's elements have names, an array's do not */
    } levels[BSON_MAX_DEPTH];
    size_t depth;
};

static bool
is_nested(const struct belem *e)
{
    return e->type == BSON_DOC || e->type == BSON_ARRAY || e->type == BSON_JSSCOPE;
}

/* Write the head of a document, array or scoped code and step into it. */
static enum pitr_rc
nesting_enter(struct nesting *n, struct buf *out, const struct belem *e, struct pitr_err *err)
{
    size_t code = 0;

    if (n->depth == BSON_MAX_DEPTH)
        return pitr_fail(err, PITR_CORRUPT, "_id nested deeper than %d levels", BSON_MAX_DEPTH);
    if (e->type == BSON_JSSCOPE) {
        code = 4 + (size_t)get_le32(e->value + 4);
        if (append_tagged(out, BSON_JSSCOPE, e->value + 4, code, err) != PITR_OK)
            return err->rc;
        code += 4;
    } else if (buf_append_u8(out, e->type, err) != PITR_OK) {
        return err->rc;
    }
    n->levels[n->depth].named = e->type != BSON_ARRAY;
    if (biter_init(&n->levels[n->depth].it, e->value + code, e->value_len - code, err) != PITR_OK)
        return err->rc;
    n->depth++;
    return PITR_OK;
}

/* The value's tag comes before the name, as in BSON; the name goes in between afterwards. */
static enum pitr_rc
insert_name(struct buf *out, size_t tag_at, const struct belem *e, struct pitr_err *err)
{
    size_t len = e->name_len + 1, rest;

    if (buf_reserve(out, len, err) != PITR_OK)
        return err->rc;
    rest = out->len - (tag_at + 1);
    memmove(out->data + tag_at + 1 + len, out->data + tag_at + 1, rest);
    memcpy(out->data + tag_at + 1, e->name, len);
    out->len += len;
    return PITR_OK;
}

static enum pitr_rc
append_nested(struct buf *out, const struct belem *id, struct pitr_err *err)
{
    struct nesting n;
    struct belem e;

    n.depth = 0;
    if (nesting_enter(&n, out, id, err) != PITR_OK)
        return err->rc;
    while (n.depth > 0) {
        struct level *level = &n.levels[n.depth - 1];
        size_t tag_at = out->len;

        if (biter_next(&level->it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD) {
            if (buf_append_u8(out, 0, err) != PITR_OK)
                return err->rc;
            n.depth--;
            continue;
        }
        if ((is_nested(&e) ? nesting_enter(&n, out, &e, err) : append_scalar(out, &e, err)) !=
            PITR_OK)
            return err->rc;
        if (level->named && insert_name(out, tag_at, &e, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

enum pitr_rc
docid_append(struct buf *out, const struct belem *id, struct pitr_err *err)
{
    size_t start = out->len;
    enum pitr_rc rc;

    if (!is_nested(id))
        return append_scalar(out, id, err);
    rc = append_nested(out, id, err);
    if (rc != PITR_OK)
        out->len = start;
    return rc;
}
