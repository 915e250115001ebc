#include "mongo/bsonio.h"

#include <string.h>

#include "base/bytes.h"

enum { DOC_MIN_LEN = 5, STRING_MIN_LEN = 5, ID_LEN = 12 };

/* Length of a string value at p (its prefix and closing NUL included), or 0 if it is malformed. */
static size_t
string_len(const uint8_t *p, size_t avail)
{
    size_t len;

    if (avail < STRING_MIN_LEN)
        return 0;
    len = get_le32(p);
    if (len < 1 || len > avail - 4 || p[4 + len - 1] != 0)
        return 0;
    return 4 + len;
}

/* Length of an embedded document or array at p, or 0 if it is malformed. */
static size_t
embedded_len(const uint8_t *p, size_t avail)
{
    size_t len;

    if (avail < DOC_MIN_LEN)
        return 0;
    len = get_le32(p);
    if (len < DOC_MIN_LEN || len > avail || p[len - 1] != 0)
        return 0;
    return len;
}

static size_t
regex_len(const uint8_t *p, size_t avail)
{
    const uint8_t *pattern_end = memchr(p, 0, avail);
    const uint8_t *options_end;

    if (pattern_end == NULL)
        return 0;
    options_end = memchr(pattern_end + 1, 0, avail - (size_t)(pattern_end + 1 - p));
    return options_end == NULL ? 0 : (size_t)(options_end + 1 - p);
}

/* int32 of the whole value, the code as a string, the scope as a document. */
static size_t
scoped_code_len(const uint8_t *p, size_t avail)
{
    size_t len, code;

    if (avail < 4 + STRING_MIN_LEN + DOC_MIN_LEN)
        return 0;
    len = get_le32(p);
    if (len < 4 + STRING_MIN_LEN + DOC_MIN_LEN || len > avail)
        return 0;
    code = string_len(p + 4, len - 4);
    if (code == 0 || embedded_len(p + 4 + code, len - 4 - code) != len - 4 - code)
        return 0;
    return len;
}

/* Length of a value whose type gives it no fixed one, or 0 if it is malformed or unknown. */
static size_t
variable_len(uint8_t type, const uint8_t *p, size_t avail)
{
    size_t len;

    switch (type) {
    case BSON_STRING:
    case BSON_JSCODE:
    case BSON_SYM:
        return string_len(p, avail);
    case BSON_DOC:
    case BSON_ARRAY:
        return embedded_len(p, avail);
    case BSON_BIN:
        if (avail < 5)
            return 0;
        len = get_le32(p);
        return len > avail - 5 ? 0 : 5 + len;
    case BSON_REGEXP:
        return regex_len(p, avail);
    case BSON_DBPTR:
        len = string_len(p, avail);
        return len == 0 || avail - len < ID_LEN ? 0 : len + ID_LEN;
    case BSON_JSSCOPE:
        return scoped_code_len(p, avail);
    default:
        return 0;
    }
}

/* Length of the value of `type` at p into *len; false if it is malformed, too long or unknown. */
static bool
value_len(uint8_t type, const uint8_t *p, size_t avail, size_t *len)
{
    switch (type) {
    case BSON_UNDEF:
    case BSON_NIL:
    case BSON_MAX:
    case BSON_MIN:
        *len = 0;
        return true;
    case BSON_BOOLEAN:
        *len = 1;
        return avail >= 1;
    case BSON_INT:
        *len = 4;
        return avail >= 4;
    case BSON_DOUBLE:
    case BSON_DATE:
    case BSON_TS:
    case BSON_LONG:
        *len = 8;
        return avail >= 8;
    case BSON_ID:
        *len = ID_LEN;
        return avail >= ID_LEN;
    case BSON_DEC128:
        *len = 16;
        return avail >= 16;
    default:
        *len = variable_len(type, p, avail);
        return *len != 0;
    }
}

static bool
is_known_type(uint8_t type)
{
    return (type >= BSON_DOUBLE && type <= BSON_DEC128) || type == BSON_MAX || type == BSON_MIN;
}

static enum pitr_rc
bad_value(const struct belem *e, struct pitr_err *err)
{
    if (!is_known_type(e->type))
        return pitr_fail(err, PITR_CORRUPT, "bson field %.60s: unknown type 0x%02x", e->name,
                         e->type);
    return pitr_fail(err, PITR_CORRUPT, "bson field %.60s: bad length of its value of type 0x%02x",
                     e->name, e->type);
}

size_t
bson_len(const uint8_t *doc)
{
    return get_le32(doc);
}

enum pitr_rc
biter_init(struct biter *it, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    if (len < DOC_MIN_LEN || bson_len(doc) != len)
        return pitr_fail(err, PITR_CORRUPT, "bson document: length field does not match %zu bytes",
                         len);
    if (doc[len - 1] != 0)
        return pitr_fail(err, PITR_CORRUPT, "bson document of %zu bytes: no closing NUL", len);
    *it = (struct biter){.at = doc + 4, .end = doc + len - 1};
    return PITR_OK;
}

enum pitr_rc
biter_next(struct biter *it, struct belem *e, struct pitr_err *err)
{
    const uint8_t *nul, *name;

    if (it->at == it->end) {
        *e = (struct belem){
            .type = BSON_EOD, .start = it->end, .name = "", .value = it->end, .end = it->end};
        return PITR_OK;
    }
    name = it->at + 1;
    nul = memchr(name, 0, (size_t)(it->end - name));
    if (nul == NULL)
        return pitr_fail(err, PITR_CORRUPT, "bson field name without a closing NUL");
    e->type = it->at[0];
    e->start = it->at;
    e->name = (const char *)name;
    e->name_len = (size_t)(nul - name);
    e->value = nul + 1;
    if (!value_len(e->type, e->value, (size_t)(it->end - e->value), &e->value_len))
        return bad_value(e, err);
    e->end = e->value + e->value_len;
    it->at = e->end;
    return PITR_OK;
}

/* The document inside a value that has one: where it starts and how long it is. */
static bool
nested_doc(const struct belem *e, const uint8_t **doc, size_t *len)
{
    size_t skip = 0;

    if (e->type == BSON_JSSCOPE)
        skip = 8 + (size_t)get_le32(e->value + 4);
    else if (e->type != BSON_DOC && e->type != BSON_ARRAY)
        return false;
    *doc = e->value + skip;
    *len = e->value_len - skip;
    return true;
}

enum pitr_rc
bson_check(const uint8_t *data, size_t len, struct pitr_err *err)
{
    const uint8_t *ends[BSON_MAX_DEPTH]; /* closing NULs of the documents around the current one */
    const uint8_t *doc;
    struct biter it;
    struct belem e;
    size_t depth = 0, doc_len;

    if (biter_init(&it, data, len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD) {
            if (depth == 0)
                return PITR_OK;
            it.at = it.end + 1;
            it.end = ends[--depth];
        } else if (nested_doc(&e, &doc, &doc_len)) {
            if (depth == BSON_MAX_DEPTH - 1)
                return pitr_fail(err, PITR_CORRUPT, "bson document nested deeper than %d levels",
                                 BSON_MAX_DEPTH);
            ends[depth++] = it.end;
            it = (struct biter){.at = doc + 4, .end = doc + doc_len - 1};
        }
    }
}

enum pitr_rc
bson_find(const uint8_t *doc, size_t len, const char *name, bool *found, struct belem *e,
          struct pitr_err *err)
{
    struct biter it;

    *found = false;
    if (biter_init(&it, doc, len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, e, err) != PITR_OK)
            return err->rc;
        if (e->type == BSON_EOD)
            return PITR_OK;
        if (belem_is(e, name)) {
            *found = true;
            return PITR_OK;
        }
    }
}

bool
belem_is(const struct belem *e, const char *name)
{
    return strcmp(e->name, name) == 0;
}

static double
double_value(const struct belem *e)
{
    uint64_t bits = get_le64(e->value);
    double d;

    memcpy(&d, &bits, sizeof d);
    return d;
}

bool
belem_int64(const struct belem *e, int64_t *out)
{
    double d;

    switch (e->type) {
    case BSON_INT:
        *out = (int32_t)get_le32(e->value);
        return true;
    case BSON_LONG:
        *out = (int64_t)get_le64(e->value);
        return true;
    case BSON_DOUBLE:
        d = double_value(e);
        /* Written so that NaN fails; the bounds are -2^63 and 2^63, both exact. */
        if (!(d >= -0x1p63 && d < 0x1p63) || (double)(int64_t)d != d)
            return false;
        *out = (int64_t)d;
        return true;
    default:
        return false;
    }
}

/* BID: NaN and infinity are not zero, and neither is a coefficient of 1 to 10^34 - 1. */
static bool
decimal_is_zero(const uint8_t *value)
{
    uint64_t low = get_le64(value), high = get_le64(value + 8);
    uint64_t top = high & 0x1ffffffffffffULL;

    if ((high >> 59 & 15) == 15)
        return false;
    if ((high >> 61 & 3) == 3) /* the long form can only hold non-canonical coefficients: zero */
        return true;
    /* 10^34 - 1 = 0x1ed09bead87c0 378d8e63ffffffff; anything above it is read as zero. */
    if (top > 0x1ed09bead87c0ULL || (top == 0x1ed09bead87c0ULL && low > 0x378d8e63ffffffffULL))
        return true;
    return top == 0 && low == 0;
}

bool
belem_truthy(const struct belem *e)
{
    switch (e->type) {
    case BSON_BOOLEAN:
        return e->value[0] != 0;
    case BSON_INT:
        return get_le32(e->value) != 0;
    case BSON_LONG:
        return get_le64(e->value) != 0;
    case BSON_DOUBLE:
        return (get_le64(e->value) << 1) != 0; /* both zeros differ only in the sign bit */
    case BSON_DEC128:
        return !decimal_is_zero(e->value);
    default:
        return false;
    }
}

bool
belem_string(const struct belem *e, const char **text, size_t *len)
{
    if (e->type != BSON_STRING)
        return false;
    *text = (const char *)e->value + 4;
    *len = e->value_len - 5;
    return true;
}

bool
belem_uuid(const struct belem *e, const uint8_t **uuid)
{
    if (e->type != BSON_BIN || e->value_len != 5 + 16 || e->value[4] != 4)
        return false;
    *uuid = e->value + 5;
    return true;
}
