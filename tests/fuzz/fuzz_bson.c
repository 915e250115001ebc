/*
 * libFuzzer target: any bytes are either refused by bson_check() or can be walked to the end, every
 * element in its place, and have an _id key.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mongo/bsonio.h"
#include "oplog/docid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool ok)
{
    if (!ok)
        abort();
}

/* Walk without recursion only one level: bson_check() has been through the others. */
static void
walk(const uint8_t *doc, size_t len, bool checked)
{
    PITR_AUTO(buf_release) struct buf key = {0};
    struct pitr_err err;
    struct biter it;
    struct belem e;
    const uint8_t *at = doc + 4, *uuid;
    const char *text;
    size_t text_len;
    int64_t number;

    if (biter_init(&it, doc, len, &err) != PITR_OK) {
        require(!checked);
        return;
    }
    for (;; at = e.end) {
        if (biter_next(&it, &e, &err) != PITR_OK) {
            require(!checked && err.rc == PITR_CORRUPT && err.msg[0] != '\0');
            return;
        }
        require(e.start == at);
        if (e.type == BSON_EOD) {
            require(e.end == doc + len - 1);
            return;
        }
        require(e.end == e.value + e.value_len && e.end < doc + len);
        require(strlen(e.name) == e.name_len);
        belem_int64(&e, &number);
        belem_truthy(&e);
        belem_uuid(&e, &uuid);
        if (belem_string(&e, &text, &text_len))
            require(text[text_len] == '\0');
        buf_clear(&key);
        require(docid_append(&key, &e, &err) == PITR_OK || (!checked && key.len == 0));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pitr_err err;
    struct belem e;
    bool found;
    bool ok = bson_check(data, size, &err) == PITR_OK;

    walk(data, size, ok);
    require(bson_find(data, size, "_id", &found, &e, &err) == PITR_OK || !ok);
    return 0;
}
