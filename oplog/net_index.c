#include <stdlib.h>
#include <string.h>

#include "oplog/net_internal.h"

/* A block is what one lookup reads, and a scan reads as many as fit into SCAN_LEN at once. A longer
 * record is alone in its block. */
enum { BLOCK_LEN = 16 << 10, SCAN_LEN = 128 << 10 };

enum pitr_rc
net_index_flush(struct net_index *ix, struct spill *spill, struct pitr_err *err)
{
    struct net_block b = {.hash = ix->first, .len = ix->pending.len};

    if (b.len == 0)
        return PITR_OK;
    if (ix->len == ix->cap) {
        size_t cap = ix->cap == 0 ? 64 : ix->cap * 2;
        struct net_block *grown = realloc(ix->blocks, cap * sizeof *grown);

        if (grown == NULL)
            return pitr_fail(err, PITR_NOMEM, "net: index of %zu blocks", cap);
        ix->blocks = grown;
        ix->cap = cap;
    }
    if (spill_write(spill, ix->pending.data, b.len, &b.at, err) != PITR_OK)
        return err->rc;
    ix->blocks[ix->len++] = b;
    buf_clear(&ix->pending);
    if (ix->pending.cap > 4 * BLOCK_LEN)
        buf_release(&ix->pending);
    return PITR_OK;
}

/* Equal hashes stay in one block, so that a lookup reads only one. */
enum pitr_rc
net_index_add(struct net_index *ix, struct spill *spill, uint64_t hash, const uint8_t *raw,
              size_t len, struct pitr_err *err)
{
    if (ix->pending.len + len > BLOCK_LEN && hash != ix->last &&
        net_index_flush(ix, spill, err) != PITR_OK)
        return err->rc;
    if (ix->pending.len == 0)
        ix->first = hash;
    ix->last = hash;
    return buf_append(&ix->pending, raw, len, err);
}

void
net_index_release(struct net_index *ix)
{
    free(ix->blocks);
    buf_release(&ix->pending);
    *ix = (struct net_index){0};
}

static enum pitr_rc
read_blocks(struct spill *spill, const struct net_block *b, size_t len, struct buf *out,
            struct pitr_err *err)
{
    buf_clear(out);
    if (buf_reserve(out, len, err) != PITR_OK ||
        spill_read(spill, out->data, len, b->at, err) != PITR_OK)
        return err->rc;
    out->len = len;
    return PITR_OK;
}

/* The last block that begins at or before `hash`; NULL: it would stand before the first. */
static const struct net_block *
block_of(const struct net_index *ix, uint64_t hash)
{
    size_t low = 0, high = ix->len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (ix->blocks[mid].hash <= hash)
            low = mid + 1;
        else
            high = mid;
    }
    return low == 0 ? NULL : &ix->blocks[low - 1];
}

enum pitr_rc
net_index_find(const struct net_index *ix, struct spill *spill, uint64_t hash, const uint8_t *key,
               size_t key_len, struct buf *block, bool *found, struct net_record *out,
               struct pitr_err *err)
{
    const struct net_block *b = block_of(ix, hash);

    *found = false;
    if (b == NULL)
        return PITR_OK;
    if (read_blocks(spill, b, b->len, block, err) != PITR_OK)
        return err->rc;
    for (size_t at = 0; at < block->len; at += out->raw_len) {
        int c;

        if (net_record_parse(out, block->data + at, block->len - at, err) != PITR_OK)
            return err->rc;
        c = net_key_compare(out->hash, out->key, out->key_len, hash, key, key_len);
        *found = c == 0;
        if (c >= 0)
            return PITR_OK;
    }
    return PITR_OK;
}

enum pitr_rc
net_index_scan(const struct net_index *ix, struct spill *spill, net_run_sink *sink, void *arg,
               struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf part = {0};

    for (size_t i = 0; i < ix->len;) {
        const struct net_block *b = &ix->blocks[i];
        size_t len = 0;
        struct net_record r;

        do
            len += ix->blocks[i++].len;
        while (i < ix->len && ix->blocks[i].at == b->at + len &&
               len + ix->blocks[i].len <= SCAN_LEN);
        if (read_blocks(spill, b, len, &part, err) != PITR_OK)
            return err->rc;
        for (size_t at = 0; at < len; at += r.raw_len)
            if (net_record_parse(&r, part.data + at, len - at, err) != PITR_OK ||
                sink(arg, &r, err) != PITR_OK)
                return err->rc;
    }
    return PITR_OK;
}
