/*
 * libFuzzer target: one byte of flags (1: bytewise order), two updates. If they compose, the result
 * is a well-formed update; if not, the output is as it was.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "mongo/bsonio.h"
#include "oplog/update_compose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool ok)
{
    if (!ok)
        abort();
}

/* A delta or modifiers that composing made apply to any document, but for the _id they may name and
 * for results that are too large. */
static void
require_applicable(const struct buf *o, enum update_field_order order)
{
    static const uint8_t doc[] = {14, 0, 0, 0, BSON_INT, '_', 'i', 'd', 0, 1, 0, 0, 0, 0};
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;

    if (update_apply(&out, doc, sizeof doc, o->data, o->len, order, false, &err) != PITR_OK)
        require(strstr(err.msg, "change the _id") != NULL || strstr(err.msg, "larger") != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    enum update_field_order order;
    const uint8_t *a, *b;
    size_t a_len, b_len;
    enum update_kind kind;
    struct pitr_err err;
    bool composed = true;

    if (size < 1 + 5 + 5)
        return 0;
    order = (data[0] & 1) != 0 ? FIELD_ORDER_BYTES : FIELD_ORDER_NUMERIC;
    a = data + 1;
    a_len = bson_len(a);
    if (a_len < 5 || a_len > size - 1 - 5)
        return 0;
    b = a + a_len;
    b_len = size - 1 - a_len;
    if (update_compose(&out, a, a_len, b, b_len, order, &composed, &err) != PITR_OK) {
        require(err.rc == PITR_CORRUPT && err.msg[0] != '\0' && !composed);
        require(out.len == 0);
        return 0;
    }
    if (!composed) {
        require(out.len == 0);
        return 0;
    }
    require(update_classify(out.data, out.len, &kind, &err) == PITR_OK);
    if (kind != UPDATE_REPLACE)
        require_applicable(&out, order);
    if (bson_check(a, a_len, &err) == PITR_OK && bson_check(b, b_len, &err) == PITR_OK &&
        bson_check(out.data, out.len, &err) != PITR_OK)
        require(strstr(err.msg, "nested deeper") != NULL);
    return 0;
}
