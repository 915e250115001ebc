#include "chunkstore/pack.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/crypto.h"

/* Byte layout: docs/format.md, "Pack". */
enum { AT_PACK_ID = 8, TRAILER_N = 12, TRAILER_SUM = 16, TRAILER_MAGIC = 24, MAGIC_LEN = 8 };
static const char head_magic[] = "PITRPK01";
static const char trailer_magic[] = "PITRPKZ1";
_Static_assert(AT_PACK_ID + PACK_ID_LEN == PACK_HEAD_LEN, "header");
_Static_assert(TRAILER_MAGIC + MAGIC_LEN == PACK_TRAILER_LEN, "trailer");
_Static_assert((uint64_t)PACK_FRAMES_MAX *PACK_TOC_ENTRY_LEN <= FRAME_RAW_MAX, "table in a frame");

struct pack_writer {
    struct blob_writer *out;
    struct pack_id id;
    char name[PACK_NAME_LEN];
    uint64_t size;
    struct pack_entry *entries; /* owned */
    size_t count, cap;
};

struct pack_reader {
    struct pack_id id;
    uint64_t size;
    size_t count;
    struct pack_entry *entries; /* owned */
};

void
pack_name(char out[PACK_NAME_LEN], const struct pack_id *id)
{
    char hex[2 * PACK_ID_LEN + 1];

    hex_encode(hex, id->b, sizeof id->b);
    snprintf(out, PACK_NAME_LEN, PACK_FOLDER "%.2s/%s.pack", hex, hex);
}

bool
pack_name_parse(struct pack_id *id, const char *name)
{
    const size_t skip = sizeof PACK_FOLDER - 1 + 3;
    char hex[2 * PACK_ID_LEN + 1] = "", again[PACK_NAME_LEN];

    if (strlen(name) != PACK_NAME_LEN - 1)
        return false;
    memcpy(hex, name + skip, sizeof hex - 1);
    if (!hex_decode(id->b, sizeof id->b, hex))
        return false;
    pack_name(again, id);
    return strcmp(again, name) == 0;
}

static enum pitr_rc
write_head(struct pack_writer *w, struct pitr_err *err)
{
    uint8_t head[PACK_HEAD_LEN];

    memcpy(head, head_magic, MAGIC_LEN);
    memcpy(head + AT_PACK_ID, w->id.b, sizeof w->id.b);
    w->size = sizeof head;
    return blob_write(w->out, head, sizeof head, err);
}

enum pitr_rc
pack_writer_new(struct pack_writer **out, struct blob *blob, struct pitr_err *err)
{
    PITR_AUTO(pack_writer_freep) struct pack_writer *w = calloc(1, sizeof *w);

    if (w == NULL)
        return pitr_fail(err, PITR_NOMEM, "pack writer");
    if (crypto_random(w->id.b, sizeof w->id.b, err) != PITR_OK)
        return err->rc;
    pack_name(w->name, &w->id);
    if (blob_create(blob, w->name, &w->out, err) != PITR_OK || write_head(w, err) != PITR_OK)
        return err->rc;
    *out = w;
    w = NULL;
    return PITR_OK;
}

void
pack_writer_free(struct pack_writer *w)
{
    if (w == NULL)
        return;
    blob_writer_free(w->out);
    free(w->entries);
    free(w);
}

void
pack_writer_freep(struct pack_writer **w)
{
    pack_writer_free(*w);
    *w = NULL;
}

static enum pitr_rc
reserve_entry(struct pack_writer *w, struct pitr_err *err)
{
    struct pack_entry *entries;
    size_t cap;

    if (w->count < w->cap)
        return PITR_OK;
    if (w->count >= PACK_FRAMES_MAX)
        return pitr_fail(err, PITR_FULL, "pack %s: more than %d frames", w->name, PACK_FRAMES_MAX);
    cap = w->cap == 0 ? 256 : 2 * w->cap;
    entries = reallocarray(w->entries, cap, sizeof *entries);
    if (entries == NULL)
        return pitr_fail(err, PITR_NOMEM, "pack %s: table of %zu frames", w->name, cap);
    w->entries = entries;
    w->cap = cap;
    return PITR_OK;
}

static struct pack_entry
entry_of(const struct frame_head *head, uint64_t offset)
{
    return (struct pack_entry){
        .id = head->id,
        .offset = offset,
        .frame_len = (uint32_t)FRAME_HEAD_LEN + head->stored_len,
        .raw_len = head->raw_len,
        .type = head->type,
        .codec = head->codec,
    };
}

enum pitr_rc
pack_writer_add(struct pack_writer *w, const uint8_t *frame, size_t len, struct pitr_err *err)
{
    struct frame_head head = {0};

    if (frame_head_parse(&head, frame, len, err) != PITR_OK)
        return pitr_wrap(err, "pack %s", w->name);
    assert(len == (size_t)FRAME_HEAD_LEN + head.stored_len && head.type != FRAME_TOC);
    if (reserve_entry(w, err) != PITR_OK || blob_write(w->out, frame, len, err) != PITR_OK)
        return err->rc;
    w->entries[w->count++] = entry_of(&head, w->size);
    w->size += len;
    return PITR_OK;
}

uint64_t
pack_writer_size(const struct pack_writer *w)
{
    return w->size;
}

const struct pack_id *
pack_writer_id(const struct pack_writer *w)
{
    return &w->id;
}

const struct pack_entry *
pack_writer_entries(const struct pack_writer *w, size_t *count)
{
    *count = w->count;
    return w->entries;
}

static void
put_toc_entry(uint8_t p[PACK_TOC_ENTRY_LEN], const struct pack_entry *e)
{
    memcpy(p, e->id.b, CHUNK_ID_LEN);
    put_le64(p + 32, e->offset);
    put_le32(p + 40, e->frame_len);
    put_le32(p + 44, e->raw_len);
    p[48] = (uint8_t)e->type;
    p[49] = (uint8_t)e->codec;
    put_le16(p + 50, 0);
}

static bool
get_toc_entry(struct pack_entry *e, const uint8_t p[PACK_TOC_ENTRY_LEN])
{
    memcpy(e->id.b, p, CHUNK_ID_LEN);
    e->offset = get_le64(p + 32);
    e->frame_len = get_le32(p + 40);
    e->raw_len = get_le32(p + 44);
    e->type = (enum frame_type)p[48];
    e->codec = (enum frame_codec)p[49];
    return get_le16(p + 50) == 0 && e->frame_len >= FRAME_HEAD_LEN &&
           e->frame_len - FRAME_HEAD_LEN <= FRAME_RAW_MAX && e->raw_len <= FRAME_RAW_MAX &&
           e->type >= FRAME_DATA && e->type <= FRAME_NOTE && e->type != FRAME_TOC &&
           e->codec <= CODEC_ZLIB;
}

/* Checksum of the trailer's numbers and the pack id, so that no trailer fits another pack. */
static uint64_t
trailer_sum(const uint8_t trailer[PACK_TRAILER_LEN], const struct pack_id *id)
{
    uint8_t both[TRAILER_SUM + PACK_ID_LEN];

    memcpy(both, trailer, TRAILER_SUM);
    memcpy(both + TRAILER_SUM, id->b, PACK_ID_LEN);
    return XXH64(both, sizeof both, 0);
}

static enum pitr_rc
write_tail(struct pack_writer *w, struct sealer *sealer, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf toc = {0}, tail = {0};
    uint8_t trailer[PACK_TRAILER_LEN];
    struct chunk_id id;

    if (buf_reserve(&toc, w->count * PACK_TOC_ENTRY_LEN, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < w->count; i++)
        put_toc_entry(toc.data + i * PACK_TOC_ENTRY_LEN, &w->entries[i]);
    toc.len = w->count * PACK_TOC_ENTRY_LEN;
    if (sealer_seal_whole(sealer, FRAME_TOC, toc.data, toc.len, &id, &tail, err) != PITR_OK)
        return err->rc;
    put_le64(trailer, w->size);
    put_le32(trailer + 8, (uint32_t)tail.len);
    put_le32(trailer + TRAILER_N, (uint32_t)w->count);
    put_le64(trailer + TRAILER_SUM, trailer_sum(trailer, &w->id));
    memcpy(trailer + TRAILER_MAGIC, trailer_magic, MAGIC_LEN);
    if (buf_append(&tail, trailer, sizeof trailer, err) != PITR_OK)
        return err->rc;
    w->size += tail.len;
    return blob_write(w->out, tail.data, tail.len, err);
}

enum pitr_rc
pack_writer_finish(struct pack_writer *w, struct sealer *sealer, struct pitr_err *err)
{
    if (write_tail(w, sealer, err) != PITR_OK || blob_commit(w->out, false, err) != PITR_OK)
        return pitr_wrap(err, "pack %s", w->name);
    return PITR_OK;
}

static enum pitr_rc
check_pack_head(const uint8_t head[PACK_HEAD_LEN], const struct pack_id *id, struct pitr_err *err)
{
    if (memcmp(head, head_magic, MAGIC_LEN - 2) != 0)
        return pitr_fail(err, PITR_CORRUPT, "bad magic");
    if (memcmp(head, head_magic, MAGIC_LEN) != 0)
        return pitr_fail(err, PITR_CORRUPT, "unknown version of the pack format");
    if (memcmp(head + AT_PACK_ID, id->b, PACK_ID_LEN) != 0)
        return pitr_fail(err, PITR_CORRUPT, "the header holds another pack's id");
    return PITR_OK;
}

struct tail {
    uint64_t toc_offset;
    uint32_t toc_len, count;
};

/* Header and trailer: where the table is. */
static enum pitr_rc
read_ends(struct pack_reader *r, struct tail *t, struct blob *blob, const char *name,
          struct pitr_err *err)
{
    uint8_t head[PACK_HEAD_LEN], trailer[PACK_TRAILER_LEN];

    if (blob_size(blob, name, &r->size, err) != PITR_OK)
        return err->rc;
    if (r->size < PACK_HEAD_LEN + FRAME_HEAD_LEN + PACK_TRAILER_LEN)
        return pitr_fail(err, PITR_CORRUPT, "only %" PRIu64 " bytes", r->size);
    if (blob_read(blob, name, 0, head, sizeof head, err) != PITR_OK ||
        blob_read(blob, name, r->size - sizeof trailer, trailer, sizeof trailer, err) != PITR_OK ||
        check_pack_head(head, &r->id, err) != PITR_OK)
        return err->rc;
    if (memcmp(trailer + TRAILER_MAGIC, trailer_magic, MAGIC_LEN) != 0)
        return pitr_fail(err, PITR_CORRUPT, "no trailer at the end");
    if (get_le64(trailer + TRAILER_SUM) != trailer_sum(trailer, &r->id))
        return pitr_fail(err, PITR_CORRUPT, "trailer checksum");
    t->toc_offset = get_le64(trailer);
    t->toc_len = get_le32(trailer + 8);
    t->count = get_le32(trailer + TRAILER_N);
    /* The checksum fits, but nothing stops a made-up file: bound before subtracting. */
    if (t->toc_offset < PACK_HEAD_LEN || t->toc_offset > r->size - PACK_TRAILER_LEN ||
        t->toc_len != r->size - PACK_TRAILER_LEN - t->toc_offset ||
        t->toc_len > FRAME_HEAD_LEN + FRAME_RAW_MAX || t->count > PACK_FRAMES_MAX)
        return pitr_fail(err, PITR_CORRUPT,
                         "table of %" PRIu32 " frames at %" PRIu64 ", %" PRIu32 " bytes long",
                         t->count, t->toc_offset, t->toc_len);
    return PITR_OK;
}

static enum pitr_rc
read_toc(struct pack_reader *r, const struct tail *t, struct blob *blob, const char *name,
         struct opener *opener, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf frame = {0}, toc = {0};
    uint64_t at = PACK_HEAD_LEN;
    size_t used = 0;

    if (buf_reserve(&frame, t->toc_len, err) != PITR_OK ||
        blob_read(blob, name, t->toc_offset, frame.data, t->toc_len, err) != PITR_OK ||
        opener_open(opener, FRAME_TOC, frame.data, t->toc_len, NULL, &toc, &used, err) != PITR_OK)
        return pitr_wrap(err, "table of contents");
    if (used != t->toc_len || toc.len != (size_t)t->count * PACK_TOC_ENTRY_LEN)
        return pitr_fail(err, PITR_CORRUPT, "table of contents: %zu bytes for %" PRIu32 " frames",
                         toc.len, t->count);
    r->entries = calloc(t->count == 0 ? 1 : t->count, sizeof *r->entries);
    if (r->entries == NULL)
        return pitr_fail(err, PITR_NOMEM, "table of %" PRIu32 " frames", t->count);
    for (r->count = 0; r->count < t->count; r->count++) {
        struct pack_entry *e = &r->entries[r->count];

        if (!get_toc_entry(e, toc.data + r->count * PACK_TOC_ENTRY_LEN) || e->offset != at)
            return pitr_fail(err, PITR_CORRUPT, "table of contents: entry %zu is not valid",
                             r->count);
        at += e->frame_len;
    }
    if (at != t->toc_offset)
        return pitr_fail(err, PITR_CORRUPT,
                         "table of contents: its frames end at %" PRIu64 ", not %" PRIu64, at,
                         t->toc_offset);
    return PITR_OK;
}

enum pitr_rc
pack_reader_open(struct pack_reader **out, struct blob *blob, const char *name,
                 struct opener *opener, struct pitr_err *err)
{
    PITR_AUTO(pack_reader_freep) struct pack_reader *r = calloc(1, sizeof *r);
    struct tail t = {0};

    if (r == NULL)
        return pitr_fail(err, PITR_NOMEM, "pack %s", name);
    if (!pack_name_parse(&r->id, name))
        return pitr_fail(err, PITR_CORRUPT, "pack %s: not the name of a pack", name);
    if (read_ends(r, &t, blob, name, err) != PITR_OK ||
        read_toc(r, &t, blob, name, opener, err) != PITR_OK)
        return pitr_wrap(err, "pack %s", name);
    *out = r;
    r = NULL;
    return PITR_OK;
}

void
pack_reader_free(struct pack_reader *r)
{
    if (r == NULL)
        return;
    free(r->entries);
    free(r);
}

void
pack_reader_freep(struct pack_reader **r)
{
    pack_reader_free(*r);
    *r = NULL;
}

const struct pack_entry *
pack_reader_entries(const struct pack_reader *r, size_t *count)
{
    *count = r->count;
    return r->entries;
}

/* Next frame at result->end into `frame`. *more is false where the walk ends. */
static enum pitr_rc
scan_frame(struct blob *blob, const char *name, uint64_t size, struct buf *frame,
           struct frame_head *head, struct pack_scan_result *result, bool *more,
           struct pitr_err *err)
{
    uint64_t left = size - result->end;
    struct pitr_err ignored;

    *more = false;
    if (left < FRAME_HEAD_LEN)
        return PITR_OK;
    if (buf_reserve(frame, FRAME_HEAD_LEN, err) != PITR_OK ||
        blob_read(blob, name, result->end, frame->data, FRAME_HEAD_LEN, err) != PITR_OK)
        return err->rc;
    if (frame_head_parse(head, frame->data, FRAME_HEAD_LEN, &ignored) != PITR_OK ||
        head->stored_len > left - FRAME_HEAD_LEN)
        return PITR_OK;
    frame->len = FRAME_HEAD_LEN;
    if (buf_reserve(frame, head->stored_len, err) != PITR_OK ||
        blob_read(blob, name, result->end + FRAME_HEAD_LEN, frame->data + FRAME_HEAD_LEN,
                  head->stored_len, err) != PITR_OK)
        return err->rc;
    frame->len += head->stored_len;
    *more = true;
    return PITR_OK;
}

enum pitr_rc
pack_scan(struct blob *blob, const char *name, pack_visit *visit, void *arg,
          struct pack_scan_result *result, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf frame = {0};
    uint8_t raw_head[PACK_HEAD_LEN];
    struct frame_head head = {0};
    struct pack_id id;
    uint64_t size = 0;
    bool more;

    *result = (struct pack_scan_result){.end = PACK_HEAD_LEN};
    if (!pack_name_parse(&id, name))
        return pitr_fail(err, PITR_CORRUPT, "pack %s: not the name of a pack", name);
    if (blob_size(blob, name, &size, err) != PITR_OK ||
        blob_read(blob, name, 0, raw_head, sizeof raw_head, err) != PITR_OK ||
        check_pack_head(raw_head, &id, err) != PITR_OK)
        return pitr_wrap(err, "pack %s", name);
    for (;;) {
        struct pack_entry entry;

        if (scan_frame(blob, name, size, &frame, &head, result, &more, err) != PITR_OK)
            return pitr_wrap(err, "pack %s", name);
        if (!more)
            return PITR_OK;
        entry = entry_of(&head, result->end);
        if (frame_check(frame.data, frame.len, &head, err) != PITR_OK) {
            if (err->rc != PITR_CORRUPT)
                return err->rc;
            result->damaged++;
        } else if (head.type == FRAME_TOC) {
            result->complete = true;
            return PITR_OK;
        } else {
            if (visit(arg, &entry, frame.data, err) != PITR_OK)
                return err->rc;
            result->frames++;
        }
        result->end += entry.frame_len;
    }
}
