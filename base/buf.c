#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { BUF_MIN_CAP = 64 };

void
buf_release(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

void
buf_clear(struct buf *b)
{
    b->len = 0;
}

enum pitr_rc
buf_reserve(struct buf *b, size_t extra, struct pitr_err *err)
{
    size_t need, cap = b->cap;
    uint8_t *data;

    if (extra <= b->cap - b->len)
        return PITR_OK;
    if (__builtin_add_overflow(b->len, extra, &need))
        return pitr_fail(err, PITR_NOMEM, "buffer of %zu + %zu bytes", b->len, extra);
    if (cap < BUF_MIN_CAP)
        cap = BUF_MIN_CAP;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    data = realloc(b->data, cap);
    if (data == NULL)
        return pitr_fail(err, PITR_NOMEM, "buffer of %zu bytes", cap);
    b->data = data;
    b->cap = cap;
    return PITR_OK;
}

enum pitr_rc
buf_append(struct buf *b, const void *data, size_t len, struct pitr_err *err)
{
    if (len == 0)
        return PITR_OK;
    if (buf_reserve(b, len, err) != PITR_OK)
        return err->rc;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    return PITR_OK;
}

enum pitr_rc
buf_append_u8(struct buf *b, uint8_t v, struct pitr_err *err)
{
    return buf_append(b, &v, 1, err);
}

enum pitr_rc
buf_append_le32(struct buf *b, uint32_t v, struct pitr_err *err)
{
    uint8_t raw[4];

    put_le32(raw, v);
    return buf_append(b, raw, sizeof raw, err);
}

enum pitr_rc
buf_append_le64(struct buf *b, uint64_t v, struct pitr_err *err)
{
    uint8_t raw[8];

    put_le64(raw, v);
    return buf_append(b, raw, sizeof raw, err);
}
