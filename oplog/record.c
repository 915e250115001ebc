#include "oplog/record.h"

#include <string.h>

#include "base/bytes.h"

bool
record_append_optime(bson_t *b, const char *name, const struct optime *at)
{
    bson_t child;
    bool ok;

    if (!bson_append_document_begin(b, name, -1, &child))
        return false;
    ok = BSON_APPEND_TIMESTAMP(&child, "ts", ts_secs(at->ts), ts_inc(at->ts)) &&
         BSON_APPEND_INT64(&child, "t", at->term);
    return bson_append_document_end(b, &child) && ok;
}

bool
record_append_bytes(bson_t *b, const char *name, const uint8_t *data, size_t len)
{
    return BSON_APPEND_BINARY(b, name, BSON_SUBTYPE_BINARY, data, (uint32_t)len);
}

/* The field `name` of document doc[0..len), whose type must be `type`. */
static enum pitr_rc
find_typed(const uint8_t *doc, size_t len, const char *name, uint8_t type, struct belem *e,
           struct pitr_err *err)
{
    bool found;

    if (bson_find(doc, len, name, &found, e, err) != PITR_OK)
        return err->rc;
    if (!found)
        return pitr_fail(err, PITR_CORRUPT, "field %s is missing", name);
    if (e->type != type)
        return pitr_fail(err, PITR_CORRUPT, "field %s has type 0x%02x, not 0x%02x", name, e->type,
                         type);
    return PITR_OK;
}

enum pitr_rc
record_optime(const struct buf *rec, const char *name, struct optime *out, struct pitr_err *err)
{
    struct belem doc, ts, t;

    if (find_typed(rec->data, rec->len, name, BSON_DOC, &doc, err) != PITR_OK)
        return err->rc;
    if (find_typed(doc.value, doc.value_len, "ts", BSON_TS, &ts, err) != PITR_OK ||
        find_typed(doc.value, doc.value_len, "t", BSON_LONG, &t, err) != PITR_OK)
        return pitr_wrap(err, "field %s", name);
    out->ts = get_le64(ts.value);
    out->term = (int64_t)get_le64(t.value);
    return PITR_OK;
}

enum pitr_rc
record_int64(const struct buf *rec, const char *name, int64_t *out, struct pitr_err *err)
{
    struct belem e;

    if (find_typed(rec->data, rec->len, name, BSON_LONG, &e, err) != PITR_OK)
        return err->rc;
    *out = (int64_t)get_le64(e.value);
    return PITR_OK;
}

enum pitr_rc
record_count(const struct buf *rec, const char *name, uint64_t *out, struct pitr_err *err)
{
    int64_t v = 0;

    if (record_int64(rec, name, &v, err) != PITR_OK)
        return err->rc;
    if (v < 0)
        return pitr_fail(err, PITR_CORRUPT, "field %s is negative", name);
    *out = (uint64_t)v;
    return PITR_OK;
}

enum pitr_rc
record_date(const struct buf *rec, const char *name, int64_t *ms, struct pitr_err *err)
{
    struct belem e;

    if (find_typed(rec->data, rec->len, name, BSON_DATE, &e, err) != PITR_OK)
        return err->rc;
    *ms = (int64_t)get_le64(e.value);
    return PITR_OK;
}

enum pitr_rc
record_bytes(const struct buf *rec, const char *name, uint8_t *out, size_t len,
             struct pitr_err *err)
{
    struct belem e;

    if (find_typed(rec->data, rec->len, name, BSON_BIN, &e, err) != PITR_OK)
        return err->rc;
    if (e.value_len != 5 + len || e.value[4] != BSON_SUBTYPE_BINARY)
        return pitr_fail(err, PITR_CORRUPT, "field %s is no binary of %zu bytes", name, len);
    memcpy(out, e.value + 5, len);
    return PITR_OK;
}

enum pitr_rc
record_text(const struct buf *rec, const char *name, char *out, size_t size, struct pitr_err *err)
{
    struct belem e;
    const char *text;
    size_t len;

    if (find_typed(rec->data, rec->len, name, BSON_STRING, &e, err) != PITR_OK)
        return err->rc;
    if (!belem_string(&e, &text, &len))
        return pitr_fail(err, PITR_CORRUPT, "field %s is no string", name);
    len = strnlen(text, len);
    if (len > size - 1)
        len = size - 1;
    memcpy(out, text, len);
    out[len] = '\0';
    return PITR_OK;
}
