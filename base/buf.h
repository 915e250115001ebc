/*
 * buf.h - a growable run of bytes.
 *
 * A zeroed struct buf is empty and valid. Growth doubles, so appending is
 * amortised O(1). Not thread-safe; the owner releases it.
 */
#ifndef PITR_BASE_BUF_H
#define PITR_BASE_BUF_H

#include <stdint.h>

#include "base/err.h"

struct buf {
    uint8_t *data; /* owned; NULL while cap is 0 */
    size_t len;
    size_t cap;
};

void buf_release(struct buf *b); /* frees, and leaves an empty buf */
void buf_clear(struct buf *b);   /* len = 0, memory kept */

/* Make room for `extra` more bytes after len. Fails: NOMEM, with *b unchanged. */
PITR_MUST enum pitr_rc buf_reserve(struct buf *b, size_t extra, struct pitr_err *err);
PITR_MUST enum pitr_rc buf_append(struct buf *b, const void *data, size_t len,
                                  struct pitr_err *err);
PITR_MUST enum pitr_rc buf_append_u8(struct buf *b, uint8_t v, struct pitr_err *err);
PITR_MUST enum pitr_rc buf_append_le32(struct buf *b, uint32_t v, struct pitr_err *err);
PITR_MUST enum pitr_rc buf_append_le64(struct buf *b, uint64_t v, struct pitr_err *err);

#endif
