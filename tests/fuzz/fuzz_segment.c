/*
 * Any bytes as a segment. Tags would stop nearly all of them at once, so the first byte chooses
 * what is fuzzed: the whole object, or the plaintext of its head, entries or foot in authentic
 * frames.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "oplog/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAME "oplog/00000001/0000000000000000-0000006400000001-0000006900000001.seg"

/* One object, just enough of a driver to read it. */
struct one_blob {
    struct blob base;
    struct buf object;
};

static enum pitr_rc
one_read(struct blob *b, const char *name, uint64_t offset, void *data, size_t len,
         struct pitr_err *err)
{
    const struct buf *o = &((struct one_blob *)b)->object;

    if (offset > o->len || len > o->len - offset)
        return pitr_fail(err, PITR_CORRUPT, "%s: a range beyond its end", name);
    if (len > 0)
        memcpy(data, o->data + offset, len);
    return PITR_OK;
}

static enum pitr_rc
one_size(struct blob *b, const char *name, uint64_t *size, struct pitr_err *err)
{
    (void)name;
    (void)err;
    *size = ((struct one_blob *)b)->object.len;
    return PITR_OK;
}

static const struct blob_ops one_ops = {.driver = "one", .read = one_read, .size = one_size};

static void
must(enum pitr_rc rc)
{
    if (rc != PITR_OK)
        abort();
}

/* The example segment's frames, with the plaintext of number `which` (0 head, 1 entries, 2 foot)
 * replaced by the fuzzed bytes; without entries otherwise, as no hash could match anyway. */
static void
frame_up(struct buf *out, int which, const uint8_t *data, size_t size)
{
    static const enum frame_type types[] = {FRAME_SEGMENT, FRAME_ENTRIES, FRAME_SEGEND};
    static const uint8_t empty[] = {5, 0, 0, 0, 0};
    struct repo_keys keys = {.cut_key = 1};
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    struct chunk_id id;
    struct pitr_err err;
    uint8_t trailer[16] = {0};
    size_t foot_at = 0;
    int i;

    must(sealer_new(&sealer, &keys, CODEC_NONE, 0, &err));
    must(buf_append(out, "PITRSG01\0\0\0\0\0\0\0", 16, &err));
    for (i = 0; i < 3; i++) {
        foot_at = out->len;
        must(sealer_seal_whole(sealer, types[i], i == which ? data : empty,
                               i == which ? size : sizeof empty, &id, out, &err));
    }
    put_le32(trailer, (uint32_t)(out->len - foot_at));
    memcpy(trailer + 8, "PITRSGZ1", 8);
    must(buf_append(out, trailer, sizeof trailer, &err));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct one_blob blob = {.base.ops = &one_ops};
    PITR_AUTO(segment_reader_freep) struct segment_reader *r = NULL;
    struct repo_keys keys = {.cut_key = 1};
    struct segment_info info;
    struct pitr_err err;
    const uint8_t *entry = data;
    size_t len;

    if (size == 0 || size > 1 << 16)
        return 0;
    if (data[0] % 4 == 3)
        must(buf_append(&blob.object, data + 1, size - 1, &err));
    else
        frame_up(&blob.object, data[0] % 4, data + 1, size - 1);
    if (segment_reader_open(&r, &blob.base, &keys, NAME, &info, &err) == PITR_OK) {
        while (entry != NULL && segment_reader_next(r, &entry, &len, &err) == PITR_OK)
            continue;
    }
    buf_release(&blob.object);
    return 0;
}
