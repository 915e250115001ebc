#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/manifest.h"

/* Entries of a list: at least MIN, at most MAX, and between them the list ends after an entry with
 * a chance of 1 in CUT, decided by the entry's id, so that equal runs of chunks give equal lists.
 */
enum { LIST_MIN = 256, LIST_CUT = 2048, LIST_MAX = 8192 };

/* id, raw_len u32, documents u32, type u8 */
enum { ENTRY_LEN = CHUNK_ID_LEN + 4 + 4 + 1 };

struct list_writer {
    struct store_writer *w;
    struct sealer *sealer;
    struct buf open; /* the list under construction */
    struct chunk_id *lists;
    size_t nlists, cap;
    uint64_t chunks;
};

enum pitr_rc
list_writer_new(struct list_writer **out, struct store_writer *w, struct sealer *sealer,
                struct pitr_err *err)
{
    struct list_writer *lw = calloc(1, sizeof *lw);

    if (lw == NULL)
        return pitr_fail(err, PITR_NOMEM, "chunk list");
    lw->w = w;
    lw->sealer = sealer;
    *out = lw;
    return PITR_OK;
}

void
list_writer_free(struct list_writer *lw)
{
    if (lw == NULL)
        return;
    buf_release(&lw->open);
    free(lw->lists);
    free(lw);
}

void
list_writer_freep(struct list_writer **lw)
{
    list_writer_free(*lw);
    *lw = NULL;
}

static enum pitr_rc
store_list(struct list_writer *lw, struct pitr_err *err)
{
    if (lw->nlists == lw->cap) {
        size_t cap = lw->cap == 0 ? 4 : 2 * lw->cap;
        struct chunk_id *grown = realloc(lw->lists, cap * sizeof *grown);

        if (grown == NULL)
            return pitr_fail(err, PITR_NOMEM, "ids of %zu chunk lists", cap);
        lw->lists = grown;
        lw->cap = cap;
    }
    if (store_put(lw->w, lw->sealer, FRAME_LIST, lw->open.data, lw->open.len,
                  &lw->lists[lw->nlists], NULL, err) != PITR_OK)
        return err->rc;
    lw->nlists++;
    buf_clear(&lw->open);
    return PITR_OK;
}

enum pitr_rc
list_writer_add(struct list_writer *lw, const struct chunk_entry *e, struct pitr_err *err)
{
    uint8_t rest[ENTRY_LEN - CHUNK_ID_LEN];
    size_t n;

    put_le32(rest, e->raw_len);
    put_le32(rest + 4, e->documents);
    rest[8] = (uint8_t)e->type;
    if (buf_append(&lw->open, e->id.b, CHUNK_ID_LEN, err) != PITR_OK ||
        buf_append(&lw->open, rest, sizeof rest, err) != PITR_OK)
        return err->rc;
    lw->chunks++;
    n = lw->open.len / ENTRY_LEN;
    if (n == LIST_MAX || (n >= LIST_MIN && get_le32(e->id.b) % LIST_CUT == 0))
        return store_list(lw, err);
    return PITR_OK;
}

enum pitr_rc
list_writer_finish(struct list_writer *lw, struct coll_node *node, struct pitr_err *err)
{
    if (lw->open.len > 0 && store_list(lw, err) != PITR_OK)
        return err->rc;
    node->lists = lw->lists;
    node->nlists = lw->nlists;
    node->chunks = lw->chunks;
    lw->lists = NULL;
    lw->nlists = lw->cap = 0;
    lw->chunks = 0;
    return PITR_OK;
}

static enum pitr_rc
parse_entry(struct chunk_entry *e, const uint8_t *p, struct pitr_err *err)
{
    memcpy(e->id.b, p, CHUNK_ID_LEN);
    e->raw_len = get_le32(p + CHUNK_ID_LEN);
    e->documents = get_le32(p + CHUNK_ID_LEN + 4);
    if (p[CHUNK_ID_LEN + 8] != FRAME_DATA && p[CHUNK_ID_LEN + 8] != FRAME_PART)
        return pitr_fail(err, PITR_CORRUPT, "chunk of type %u", p[CHUNK_ID_LEN + 8]);
    e->type = (enum frame_type)p[CHUNK_ID_LEN + 8];
    if (e->raw_len == 0 || e->raw_len > FRAME_RAW_MAX)
        return pitr_fail(err, PITR_CORRUPT, "chunk of %u bytes", e->raw_len);
    if (e->type == FRAME_DATA ? e->documents == 0 : e->documents > 1)
        return pitr_fail(err, PITR_CORRUPT, "chunk of %u documents", e->documents);
    return PITR_OK;
}

enum pitr_rc
list_read(struct store_reader *reader, const struct chunk_id *list, struct chunk_entry **entries,
          size_t *n, struct pitr_err *err)
{
    struct buf raw = {0};
    struct chunk_entry *at = NULL;
    char hex[2 * CHUNK_ID_LEN + 1];
    size_t count = 0;
    enum pitr_rc rc = store_get(reader, FRAME_LIST, list, &raw, err);

    if (rc == PITR_OK &&
        (raw.len == 0 || raw.len % ENTRY_LEN != 0 || raw.len / ENTRY_LEN > LIST_MAX))
        rc = pitr_fail(err, PITR_CORRUPT, "%zu bytes are no list of chunks", raw.len);
    if (rc == PITR_OK) {
        count = raw.len / ENTRY_LEN;
        at = calloc(count, sizeof *at);
        if (at == NULL)
            rc = pitr_fail(err, PITR_NOMEM, "%zu entries", count);
    }
    for (size_t i = 0; rc == PITR_OK && at != NULL && i < count; i++)
        rc = parse_entry(&at[i], raw.data + i * ENTRY_LEN, err);
    buf_release(&raw);
    if (rc != PITR_OK) {
        free(at);
        hex_encode(hex, list->b, CHUNK_ID_LEN);
        return pitr_wrap(err, "chunk list %.16s", hex);
    }
    *entries = at;
    *n = count;
    return PITR_OK;
}
