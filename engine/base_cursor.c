#include "engine/base_cursor.h"

#include <stdlib.h>

#include "mongo/bsonio.h"

enum { BSON_MIN_LEN = 5 };

struct base_cursor {
    const struct coll_node *node;
    struct store_reader *reader;
    size_t list; /* next list to read */
    struct chunk_entry *entries;
    size_t nentries, entry; /* of the current list; next entry to read */
    struct buf chunk;       /* documents of the current chunk */
    size_t at;
    struct buf large; /* a document longer than a chunk, as its parts come in */
};

void
base_cursor_free(struct base_cursor *c)
{
    if (c == NULL)
        return;
    store_reader_free(c->reader);
    free(c->entries);
    buf_release(&c->chunk);
    buf_release(&c->large);
    free(c);
}

void
base_cursor_freep(struct base_cursor **c)
{
    base_cursor_free(*c);
    *c = NULL;
}

enum pitr_rc
base_cursor_open(struct base_cursor **out, struct store *store, const struct coll_node *node,
                 struct pitr_err *err)
{
    PITR_AUTO(base_cursor_freep) struct base_cursor *c = calloc(1, sizeof *c);

    if (c == NULL)
        return pitr_fail(err, PITR_NOMEM, "cursor on %s.%s", node->db, node->name);
    c->node = node;
    if (store_reader_new(&c->reader, store, err) != PITR_OK)
        return err->rc;
    *out = c;
    c = NULL;
    return PITR_OK;
}

/* The next chunk's place into *e; false at the end of the last list. */
static enum pitr_rc
next_entry(struct base_cursor *c, const struct chunk_entry **e, struct pitr_err *err)
{
    *e = NULL;
    while (c->entry == c->nentries) {
        if (c->list == c->node->nlists)
            return PITR_OK;
        free(c->entries);
        c->entries = NULL;
        c->nentries = c->entry = 0;
        if (list_read(c->reader, &c->node->lists[c->list], &c->entries, &c->nentries, err) !=
            PITR_OK)
            return err->rc;
        c->list++;
    }
    *e = &c->entries[c->entry++];
    return PITR_OK;
}

/* Gather the parts of one large document; `e` is the first. */
static enum pitr_rc
read_large(struct base_cursor *c, const struct chunk_entry *e, struct pitr_err *err)
{
    buf_clear(&c->large);
    for (;;) {
        if (store_get(c->reader, FRAME_PART, &e->id, &c->chunk, err) != PITR_OK ||
            buf_append(&c->large, c->chunk.data, c->chunk.len, err) != PITR_OK)
            return err->rc;
        if (c->large.len > FRAME_RAW_MAX)
            return pitr_fail(err, PITR_CORRUPT, "a document of more than %u bytes", FRAME_RAW_MAX);
        if (e->documents != 0)
            break;
        if (next_entry(c, &e, err) != PITR_OK)
            return err->rc;
        if (e == NULL || e->type != FRAME_PART)
            return pitr_fail(err, PITR_CORRUPT, "a large document lacks its last part");
    }
    buf_clear(&c->chunk);
    c->at = 0;
    return PITR_OK;
}

static enum pitr_rc
check_length(const uint8_t *doc, size_t left, size_t *len, struct pitr_err *err)
{
    if (left < BSON_MIN_LEN)
        return pitr_fail(err, PITR_CORRUPT, "%zu stray bytes after the last document", left);
    *len = bson_len(doc);
    if (*len < BSON_MIN_LEN || *len > left || doc[*len - 1] != 0)
        return pitr_fail(err, PITR_CORRUPT, "a document claims %zu bytes of %zu", *len, left);
    return PITR_OK;
}

static enum pitr_rc
next_document(struct base_cursor *c, const uint8_t **doc, size_t *len, struct pitr_err *err)
{
    const struct chunk_entry *e;

    while (c->at == c->chunk.len) {
        if (next_entry(c, &e, err) != PITR_OK)
            return err->rc;
        if (e == NULL) {
            *doc = NULL;
            *len = 0;
            return PITR_OK;
        }
        if (e->type == FRAME_PART) {
            if (read_large(c, e, err) != PITR_OK)
                return err->rc;
            *doc = c->large.data;
            return check_length(c->large.data, c->large.len, len, err);
        }
        if (store_get(c->reader, FRAME_DATA, &e->id, &c->chunk, err) != PITR_OK)
            return err->rc;
        c->at = 0;
    }
    *doc = c->chunk.data + c->at;
    if (check_length(*doc, c->chunk.len - c->at, len, err) != PITR_OK)
        return err->rc;
    c->at += *len;
    return PITR_OK;
}

enum pitr_rc
base_cursor_next(struct base_cursor *c, const uint8_t **doc, size_t *len, struct pitr_err *err)
{
    if (next_document(c, doc, len, err) != PITR_OK)
        return pitr_wrap(err, "%s.%s", c->node->db, c->node->name);
    return PITR_OK;
}

enum pitr_rc
base_check_chunks(struct store *store, const struct coll_node *node, bool deep,
                  struct pitr_err *err)
{
    PITR_AUTO(base_cursor_freep) struct base_cursor *c = NULL;
    const struct chunk_entry *e;

    if (base_cursor_open(&c, store, node, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (next_entry(c, &e, err) != PITR_OK)
            return pitr_wrap(err, "%s.%s", node->db, node->name);
        if (e == NULL)
            return PITR_OK;
        if (store_check(c->reader, &e->id, deep, err) != PITR_OK)
            return pitr_wrap(err, "%s.%s", node->db, node->name);
    }
}
