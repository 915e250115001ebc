#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "chunkstore/store_internal.h"

struct store_reader {
    struct store *store; /* borrowed */
    struct opener *opener;
    struct buf frame;    /* sealed bytes of the last chunk */
    struct pack_id pack; /* whose size is known; repeated checks are mostly of one pack */
    uint64_t pack_size;  /* 0: none */
};

enum pitr_rc
store_reader_new(struct store_reader **out, struct store *s, struct pitr_err *err)
{
    PITR_AUTO(store_reader_freep) struct store_reader *r = calloc(1, sizeof *r);

    if (r == NULL)
        return pitr_fail(err, PITR_NOMEM, "store reader");
    r->store = s;
    if (opener_new(&r->opener, &s->keys, err) != PITR_OK)
        return err->rc;
    *out = r;
    r = NULL;
    return PITR_OK;
}

void
store_reader_free(struct store_reader *r)
{
    if (r == NULL)
        return;
    opener_free(r->opener);
    buf_release(&r->frame);
    free(r);
}

void
store_reader_freep(struct store_reader **r)
{
    store_reader_free(*r);
    *r = NULL;
}

/* The sealed bytes `where` points to, into r->frame. */
static enum pitr_rc
read_frame(struct store_reader *r, const struct cindex_value *where, struct pitr_err *err)
{
    char name[PACK_NAME_LEN];

    buf_clear(&r->frame);
    if (where->frame_len < FRAME_HEAD_LEN || where->frame_len - FRAME_HEAD_LEN > FRAME_RAW_MAX)
        return pitr_fail(err, PITR_CORRUPT, "index: frame of %" PRIu32 " bytes", where->frame_len);
    if (buf_reserve(&r->frame, where->frame_len, err) != PITR_OK)
        return err->rc;
    pack_name(name, &where->pack);
    if (blob_read(r->store->blob, name, where->offset, r->frame.data, where->frame_len, err) !=
        PITR_OK)
        return err->rc;
    r->frame.len = where->frame_len;
    return PITR_OK;
}

/* The pack at `name` disagrees with what the index says of it. */
static enum pitr_rc
wrong_frame(const struct cindex_value *where, struct pitr_err *err)
{
    char name[PACK_NAME_LEN];

    pack_name(name, &where->pack);
    return pitr_fail(err, PITR_CORRUPT, "%s: another frame at %" PRIu64, name, where->offset);
}

static enum pitr_rc
open_at(struct store_reader *r, enum frame_type type, const struct chunk_id *id,
        const struct cindex_value *where, struct buf *out, struct pitr_err *err)
{
    struct frame_head head = {0};
    size_t used = 0;

    if (read_frame(r, where, err) != PITR_OK)
        return err->rc;
    if (opener_open(r->opener, type, r->frame.data, r->frame.len, &head, out, &used, err) !=
        PITR_OK) {
        char name[PACK_NAME_LEN];

        pack_name(name, &where->pack);
        return pitr_wrap(err, "%s: at %" PRIu64, name, where->offset);
    }
    if (used != r->frame.len || memcmp(head.id.b, id->b, sizeof id->b) != 0)
        return wrong_frame(where, err);
    return PITR_OK;
}

/* As open_at(), for store_check() with `deep`: the tag and the id, nothing decoded. */
static enum pitr_rc
check_at(struct store_reader *r, const struct chunk_id *id, const struct cindex_value *where,
         struct pitr_err *err)
{
    struct frame_head head = {0};

    if (read_frame(r, where, err) != PITR_OK ||
        frame_head_parse(&head, r->frame.data, r->frame.len, err) != PITR_OK ||
        frame_check(r->frame.data, r->frame.len, &head, err) != PITR_OK)
        return err->rc;
    if (r->frame.len != (size_t)FRAME_HEAD_LEN + head.stored_len ||
        memcmp(head.id.b, id->b, sizeof id->b) != 0)
        return wrong_frame(where, err);
    return PITR_OK;
}

static enum pitr_rc
check_bounds(struct store_reader *r, const struct cindex_value *where, struct pitr_err *err)
{
    char name[PACK_NAME_LEN];

    pack_name(name, &where->pack);
    if (r->pack_size == 0 || memcmp(r->pack.b, where->pack.b, PACK_ID_LEN) != 0) {
        r->pack_size = 0;
        if (blob_size(r->store->blob, name, &r->pack_size, err) != PITR_OK)
            return err->rc;
        r->pack = where->pack;
    }
    if (where->frame_len > r->pack_size || where->offset > r->pack_size - where->frame_len)
        return pitr_fail(err, PITR_CORRUPT, "%s: only %" PRIu64 " bytes", name, r->pack_size);
    return PITR_OK;
}

/* What to do with a chunk once the index has said where it is. */
struct request {
    enum frame_type type; /* 0: any */
    const struct chunk_id *id;
    struct buf *out; /* plaintext; NULL: only check */
    bool deep;
};

static enum pitr_rc
no_pack(struct store *s, struct pitr_err *err)
{
    char damaged[STORE_NAME_LEN];

    store_index_damage(s, damaged);
    if (damaged[0] == '\0')
        return pitr_fail(err, PITR_CORRUPT, "no pack holds it");
    return pitr_fail(err, PITR_CORRUPT,
                     "no pack holds it, and %s is damaged; 'pitr verify --data' tells all that is",
                     damaged);
}

static enum pitr_rc
try_request(struct store_reader *r, const struct request *q, uint64_t *epoch, struct pitr_err *err)
{
    struct cindex_value where;
    bool found = false;

    if (store_index_get(r->store, q->id, q->type, &found, &where, epoch, err) != PITR_OK)
        return err->rc;
    if (!found)
        return no_pack(r->store, err);
    if (q->out != NULL)
        return open_at(r, q->type, q->id, &where, q->out, err);
    return q->deep ? check_at(r, q->id, &where, err) : check_bounds(r, &where, err);
}

static enum pitr_rc
serve(struct store_reader *r, const struct request *q, struct pitr_err *err)
{
    char hex[2 * CHUNK_ID_LEN + 1];
    struct pitr_err why;
    uint64_t epoch = 0;
    bool changed;

    for (;;) {
        if (try_request(r, q, &epoch, err) == PITR_OK)
            return PITR_OK;
        hex_encode(hex, q->id->b, sizeof q->id->b);
        if (err->rc != PITR_CORRUPT && err->rc != PITR_NOTFOUND)
            return pitr_wrap(err, "chunk %s", hex);
        changed = false;
        r->pack_size = 0;
        if (store_index_recover(r->store, epoch, &changed, &why) != PITR_OK) {
            *err = why;
            return pitr_wrap(err, "chunk %s", hex);
        }
        if (changed)
            continue;
        err->rc = PITR_CORRUPT; /* a pack that is missing is damage too */
        return pitr_wrap(err, "chunk %s", hex);
    }
}

enum pitr_rc
store_get(struct store_reader *r, enum frame_type type, const struct chunk_id *id, struct buf *out,
          struct pitr_err *err)
{
    const struct request q = {.type = type, .id = id, .out = out};

    return serve(r, &q, err);
}

enum pitr_rc
store_check(struct store_reader *r, const struct chunk_id *id, bool deep, struct pitr_err *err)
{
    const struct request q = {.id = id, .deep = deep};

    return serve(r, &q, err);
}
