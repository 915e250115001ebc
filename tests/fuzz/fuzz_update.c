/*
 * libFuzzer target: one byte of flags (1: bytewise order, 2: strict), a document, an update. If the
 * update applies, the result is valid BSON with the document's _id in front, and applying it again
 * changes nothing; if it does not, the output is as it was.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "mongo/bsonio.h"
#include "oplog/docid.h"
#include "oplog/update.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *pre, *o;
    size_t pre_len, o_len;
    enum update_field_order order;
    bool strict;
};

static void
require(bool ok)
{
    if (!ok)
        abort();
}

static bool
input_split(struct input *in, const uint8_t *data, size_t size)
{
    if (size < 1 + 5 + 5)
        return false;
    in->order = (data[0] & 1) != 0 ? FIELD_ORDER_BYTES : FIELD_ORDER_NUMERIC;
    in->strict = (data[0] & 2) != 0;
    in->pre = data + 1;
    in->pre_len = bson_len(in->pre);
    if (in->pre_len < 5 || in->pre_len > size - 1 - 5)
        return false;
    in->o = in->pre + in->pre_len;
    in->o_len = size - 1 - in->pre_len;
    return true;
}

/* Of two fields with one name `$unset` removes the first, so that the next time it removes the
 * other. */
static bool
has_twins(const uint8_t *doc, size_t len)
{
    struct pitr_err err;
    struct biter it, rest;
    struct belem e, other;

    if (biter_init(&it, doc, len, &err) != PITR_OK)
        return true;
    for (;;) {
        if (biter_next(&it, &e, &err) != PITR_OK)
            return true;
        if (e.type == BSON_EOD)
            return false;
        for (rest = it;;) {
            if (biter_next(&rest, &other, &err) != PITR_OK)
                return true;
            if (other.type == BSON_EOD)
                break;
            if (strcmp(other.name, e.name) == 0)
                return true;
        }
        if ((e.type == BSON_DOC || e.type == BSON_ARRAY) && has_twins(e.value, e.value_len))
            return true;
    }
}

static enum pitr_rc
run(const struct input *in, struct buf *out, const uint8_t *pre, size_t pre_len,
    struct pitr_err *err)
{
    size_t before = out->len;
    enum pitr_rc rc = update_apply(out, pre, pre_len, in->o, in->o_len, in->order, in->strict, err);

    if (rc != PITR_OK) {
        require(rc == PITR_CORRUPT && err->rc == rc && err->msg[0] != '\0');
        require(out->len == before);
    }
    return rc;
}

static void
require_same_id(const struct input *in, const struct buf *out)
{
    PITR_AUTO(buf_release) struct buf before = {0};
    PITR_AUTO(buf_release) struct buf after = {0};
    struct pitr_err err;
    struct belem id, first;
    struct biter it;
    bool found;

    require(bson_find(in->pre, in->pre_len, "_id", &found, &id, &err) == PITR_OK && found);
    require(biter_init(&it, out->data, out->len, &err) == PITR_OK);
    require(biter_next(&it, &first, &err) == PITR_OK && belem_is(&first, "_id"));
    require(docid_append(&before, &id, &err) == PITR_OK);
    require(docid_append(&after, &first, &err) == PITR_OK);
    require(before.len == after.len && memcmp(before.data, after.data, after.len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PITR_AUTO(buf_release) struct buf once = {0};
    PITR_AUTO(buf_release) struct buf twice = {0};
    struct pitr_err err;
    struct input in;

    if (!input_split(&in, data, size) || run(&in, &once, in.pre, in.pre_len, &err) != PITR_OK)
        return 0;
    if (bson_check(in.pre, in.pre_len, &err) != PITR_OK ||
        bson_check(in.o, in.o_len, &err) != PITR_OK)
        return 0;
    if (bson_check(once.data, once.len, &err) != PITR_OK)
        require(strstr(err.msg, "nested deeper") != NULL);
    require_same_id(&in, &once);
    if (has_twins(in.pre, in.pre_len))
        return 0;
    require(run(&in, &twice, once.data, once.len, &err) == PITR_OK);
    require(twice.len == once.len && memcmp(twice.data, once.data, once.len) == 0);
    return 0;
}
