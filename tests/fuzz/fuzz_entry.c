/* Any bytes as an oplog entry: parsing must not read outside them, and what it accepts is inside.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oplog/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
inside(const uint8_t *data, size_t size, const void *p, size_t len)
{
    if (p == NULL || len == 0)
        return;
    if ((const uint8_t *)p < data || len > size || (const uint8_t *)p + len > data + size)
        abort();
}

static void
check(const struct oplog_entry *e, const uint8_t *data, size_t size)
{
    inside(data, size, e->o, e->o_len);
    inside(data, size, e->o2, e->o2_len);
    inside(data, size, e->lsid, e->lsid_len);
    inside(data, size, e->uuid, UUID_LEN);
    if (e->ns == NULL || strlen(e->ns) != e->ns_len || (e->o == NULL && e->op != 'n'))
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oplog_entry e;
    struct oplog_stamp stamp;
    struct pitr_err err;

    if (oplog_entry_parse(&e, data, size, &err) == PITR_OK) {
        check(&e, data, size);
        if (oplog_entry_stamp(&stamp, data, size, &err) != PITR_OK || stamp.ts != e.ts ||
            stamp.term != e.term)
            abort();
    }
    if (oplog_entry_parse_inner(&e, data, size, &err) == PITR_OK)
        check(&e, data, size);
    return 0;
}
