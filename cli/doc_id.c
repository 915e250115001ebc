#include "cli/doc_id.h"

#include <string.h>

#include "base/bytes.h"
#include "mongo/extjson.h"
#include "oplog/docid.h"

enum { OID_LEN = 12 };

static const char *
skip_digits(const char *s)
{
    return s + strspn(s, "0123456789");
}

/* By the grammar of JSON, which has no leading zeros, no plus and no bare point. */
static bool
is_json_number(const char *s)
{
    const char *digits;

    if (*s == '-')
        s++;
    digits = s;
    s = skip_digits(s);
    if (s == digits || (*digits == '0' && s > digits + 1))
        return false;
    if (*s == '.') {
        digits = ++s;
        s = skip_digits(s);
        if (s == digits)
            return false;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        if (*s == '+' || *s == '-')
            s++;
        digits = s;
        s = skip_digits(s);
        if (s == digits)
            return false;
    }
    return *s == '\0';
}

static bool
is_json(const char *text)
{
    const char *first = text + strspn(text, " \t\r\n");

    if (*first != '\0' && strchr("{[\"", *first) != NULL)
        return true;
    return strcmp(text, "true") == 0 || strcmp(text, "false") == 0 || strcmp(text, "null") == 0 ||
           is_json_number(text);
}

/* A server stores no _id that is an array or a regular expression, and none with a field that
 * begins with '$': that is a typed value with a mistake in it. */
static enum pitr_rc
check_storable(const struct belem *id, const char *text, struct pitr_err *err)
{
    struct biter it;
    struct belem first;

    if (id->type == BSON_ARRAY || id->type == BSON_REGEXP || id->type == BSON_UNDEF)
        return pitr_fail(err, PITR_USAGE,
                         "the _id %.100s: no document has an array, a regular expression or "
                         "undefined for its _id",
                         text);
    if (id->type != BSON_DOC)
        return PITR_OK;
    if (biter_init(&it, id->value, id->value_len, err) != PITR_OK ||
        biter_next(&it, &first, err) != PITR_OK)
        return err->rc;
    if (first.type != BSON_EOD && first.name[0] == '$')
        return pitr_fail(err, PITR_USAGE,
                         "the _id %.100s: this is no value of Extended JSON; write for example "
                         "{\"$oid\": \"507f1f77bcf86cd799439011\"} or {\"$numberLong\": \"42\"}",
                         text);
    return PITR_OK;
}

static enum pitr_rc
append_json(struct buf *key, const char *text, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf doc = {0};
    struct biter it;
    struct belem id;

    if (extjson_parse_value(&doc, text, strlen(text), err) != PITR_OK) {
        if (err->rc != PITR_CORRUPT)
            return err->rc;
        err->rc = PITR_USAGE;
        return pitr_wrap(
            err, "the _id %.100s (a string that begins like this needs quotes of JSON)", text);
    }
    if (biter_init(&it, doc.data, doc.len, err) != PITR_OK ||
        biter_next(&it, &id, err) != PITR_OK || check_storable(&id, text, err) != PITR_OK)
        return err->rc;
    return docid_append(key, &id, err);
}

static enum pitr_rc
append_string(struct buf *key, const char *text, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf value = {0};
    struct belem id = {.type = BSON_STRING};
    size_t len = strlen(text) + 1;

    if (buf_append_le32(&value, (uint32_t)len, err) != PITR_OK ||
        buf_append(&value, text, len, err) != PITR_OK)
        return err->rc;
    id.value = value.data;
    id.value_len = value.len;
    return docid_append(key, &id, err);
}

enum pitr_rc
doc_id_parse(struct buf *key, const char *text, struct pitr_err *err)
{
    uint8_t oid[OID_LEN];
    struct belem id = {.type = BSON_ID, .value = oid, .value_len = sizeof oid};

    if (hex_decode(oid, sizeof oid, text))
        return docid_append(key, &id, err);
    return is_json(text) ? append_json(key, text, err) : append_string(key, text, err);
}
