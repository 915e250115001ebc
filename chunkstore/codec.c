#include "chunkstore/codec.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/crypto.h"

/* Byte layout: docs/format.md, "Frame". */
enum {
    AT_MAGIC = 0,
    AT_TYPE = 4,
    AT_CODEC = 5,
    AT_CIPHER = 6,
    AT_FLAGS = 7,
    AT_RAW_LEN = 8,
    AT_STORED_LEN = 12,
    AT_ID = 16,
    AT_SESSION = 48,
    AT_COUNTER = 64,
    AT_TAG = 72,
};
_Static_assert(AT_ID + CHUNK_ID_LEN == AT_SESSION, "id");
_Static_assert(AT_SESSION + FRAME_SESSION_LEN == AT_COUNTER, "session");
_Static_assert(AT_TAG + FRAME_TAG_LEN == FRAME_HEAD_LEN, "tag");
_Static_assert((int)SHA256_LEN == (int)CHUNK_ID_LEN, "the id is a whole HMAC-SHA256");

/* What turns stored bytes back into plaintext; a sealer has one too, to check itself. */
struct decoder {
    ZSTD_DCtx *zstd;
    XXH3_state_t *tag;
};

struct sealer {
    struct hmac *hmac;
    enum frame_codec codec;
    int level;
    ZSTD_CCtx *zstd; /* only for CODEC_ZSTD */
    void *lz4;       /* only for CODEC_LZ4 */
    struct decoder decoder;
    struct buf check; /* the frame decoded again */
};

struct opener {
    struct hmac *hmac;
    struct decoder decoder;
};

static const char *const codec_names[] = {
    [CODEC_NONE] = "none",
    [CODEC_LZ4] = "lz4",
    [CODEC_ZSTD] = "zstd",
    [CODEC_ZLIB] = "zlib",
};

const char *
codec_name(enum frame_codec codec)
{
    return (size_t)codec < sizeof codec_names / sizeof *codec_names ? codec_names[codec] : "?";
}

enum pitr_rc
codec_parse(enum frame_codec *out, const char *name, struct pitr_err *err)
{
    for (size_t i = 0; i < sizeof codec_names / sizeof *codec_names; i++)
        if (strcmp(name, codec_names[i]) == 0) {
            *out = (enum frame_codec)i;
            return PITR_OK;
        }
    return pitr_fail(err, PITR_USAGE, "codec \"%s\": choose zstd, lz4, zlib or none", name);
}

static enum pitr_rc
check_head(const struct frame_head *head, struct pitr_err *err)
{
    if (head->type < FRAME_DATA || head->type > FRAME_NOTE)
        return pitr_fail(err, PITR_CORRUPT, "frame: unknown type %u", (unsigned)head->type);
    if (head->codec > CODEC_ZLIB)
        return pitr_fail(err, PITR_CORRUPT, "frame: unknown codec %u", (unsigned)head->codec);
    if (head->cipher == CIPHER_AES256_GCM)
        return pitr_fail(err, PITR_CORRUPT, "frame: encrypted; needs a newer pitr");
    if (head->cipher != CIPHER_NONE)
        return pitr_fail(err, PITR_CORRUPT, "frame: unknown cipher %u", (unsigned)head->cipher);
    if (head->raw_len > FRAME_RAW_MAX)
        return pitr_fail(err, PITR_CORRUPT, "frame: raw length %u beyond the limit of %u",
                         head->raw_len, FRAME_RAW_MAX);
    if (head->codec == CODEC_NONE ? head->stored_len != head->raw_len
                                  : head->stored_len >= head->raw_len)
        return pitr_fail(err, PITR_CORRUPT, "frame: stored length %u of %u raw bytes with codec %s",
                         head->stored_len, head->raw_len, codec_name(head->codec));
    return PITR_OK;
}

enum pitr_rc
frame_head_parse(struct frame_head *head, const uint8_t *data, size_t len, struct pitr_err *err)
{
    static const uint8_t zero[FRAME_SESSION_LEN];

    if (len < FRAME_HEAD_LEN)
        return pitr_fail(err, PITR_CORRUPT, "frame: header of %zu bytes, %d expected", len,
                         FRAME_HEAD_LEN);
    if (memcmp(data + AT_MAGIC, "PFR", 3) != 0)
        return pitr_fail(err, PITR_CORRUPT, "frame: bad magic");
    if (data[AT_MAGIC + 3] != '1')
        return pitr_fail(err, PITR_CORRUPT, "frame: version 0x%02x; needs a newer pitr",
                         data[AT_MAGIC + 3]);
    if (data[AT_FLAGS] != 0)
        return pitr_fail(err, PITR_CORRUPT, "frame: unknown flags 0x%02x", data[AT_FLAGS]);
    *head = (struct frame_head){
        .type = (enum frame_type)data[AT_TYPE],
        .codec = (enum frame_codec)data[AT_CODEC],
        .cipher = (enum frame_cipher)data[AT_CIPHER],
        .raw_len = get_le32(data + AT_RAW_LEN),
        .stored_len = get_le32(data + AT_STORED_LEN),
        .counter = get_le64(data + AT_COUNTER),
    };
    memcpy(head->id.b, data + AT_ID, sizeof head->id.b);
    memcpy(head->session, data + AT_SESSION, sizeof head->session);
    memcpy(head->tag, data + AT_TAG, sizeof head->tag);
    if (check_head(head, err) != PITR_OK)
        return err->rc;
    if (memcmp(head->session, zero, sizeof zero) != 0 || head->counter != 0)
        return pitr_fail(err, PITR_CORRUPT, "frame: a session without cipher");
    return PITR_OK;
}

static void
put_head(uint8_t *p, const struct frame_head *head)
{
    memcpy(p + AT_MAGIC, "PFR1", 4);
    p[AT_TYPE] = (uint8_t)head->type;
    p[AT_CODEC] = (uint8_t)head->codec;
    p[AT_CIPHER] = (uint8_t)head->cipher;
    p[AT_FLAGS] = 0;
    put_le32(p + AT_RAW_LEN, head->raw_len);
    put_le32(p + AT_STORED_LEN, head->stored_len);
    memcpy(p + AT_ID, head->id.b, sizeof head->id.b);
    memcpy(p + AT_SESSION, head->session, sizeof head->session);
    put_le64(p + AT_COUNTER, head->counter);
}

/* The tag of the frame at p, whose header without tag and stored bytes are in place. */
static enum pitr_rc
compute_tag(XXH3_state_t *state, const uint8_t *p, size_t stored_len, uint8_t tag[FRAME_TAG_LEN],
            struct pitr_err *err)
{
    XXH128_canonical_t canonical;

    if (XXH3_128bits_reset(state) != XXH_OK || XXH3_128bits_update(state, p, AT_TAG) != XXH_OK ||
        XXH3_128bits_update(state, p + FRAME_HEAD_LEN, stored_len) != XXH_OK)
        return pitr_fail(err, PITR_INTERNAL, "frame: tag");
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    memcpy(tag, canonical.digest, FRAME_TAG_LEN);
    return PITR_OK;
}

static enum pitr_rc
check_tag(XXH3_state_t *state, const uint8_t *data, size_t len, const struct frame_head *head,
          struct pitr_err *err)
{
    uint8_t tag[FRAME_TAG_LEN];

    if (len < FRAME_HEAD_LEN || len - FRAME_HEAD_LEN < head->stored_len)
        return pitr_fail(err, PITR_CORRUPT, "frame: cut short, %zu of %zu bytes", len,
                         (size_t)FRAME_HEAD_LEN + head->stored_len);
    if (compute_tag(state, data, head->stored_len, tag, err) != PITR_OK)
        return err->rc;
    if (memcmp(tag, head->tag, sizeof tag) != 0)
        return pitr_fail(err, PITR_CORRUPT, "frame: damaged, the tag does not fit the bytes");
    return PITR_OK;
}

enum pitr_rc
frame_check(const uint8_t *data, size_t len, const struct frame_head *head, struct pitr_err *err)
{
    XXH3_state_t *state = XXH3_createState();
    enum pitr_rc rc;

    if (state == NULL)
        return pitr_fail(err, PITR_NOMEM, "frame: tag");
    rc = check_tag(state, data, len, head, err);
    XXH3_freeState(state);
    return rc;
}

static enum pitr_rc
decoder_init(struct decoder *d, struct pitr_err *err)
{
    d->zstd = ZSTD_createDCtx();
    d->tag = XXH3_createState();
    if (d->zstd == NULL || d->tag == NULL)
        return pitr_fail(err, PITR_NOMEM, "frame decoder");
    return PITR_OK;
}

static void
decoder_release(struct decoder *d)
{
    ZSTD_freeDCtx(d->zstd);
    XXH3_freeState(d->tag);
}

/* Exactly raw_len bytes into dst, or false. The bound on raw_len is what stops a bomb: no codec
 * here writes beyond the capacity it is given. */
static bool
decode(struct decoder *d, const struct frame_head *head, const uint8_t *stored, uint8_t *dst)
{
    uLongf dst_len = head->raw_len;
    uLong used = head->stored_len;

    switch (head->codec) {
    case CODEC_NONE:
        if (head->raw_len > 0)
            memcpy(dst, stored, head->raw_len);
        return true;
    case CODEC_LZ4:
        return LZ4_decompress_safe((const char *)stored, (char *)dst, (int)head->stored_len,
                                   (int)head->raw_len) == (int)head->raw_len;
    case CODEC_ZSTD:
        return ZSTD_decompressDCtx(d->zstd, dst, head->raw_len, stored, head->stored_len) ==
               head->raw_len;
    case CODEC_ZLIB:
        return uncompress2(dst, &dst_len, stored, &used) == Z_OK && dst_len == head->raw_len &&
               used == head->stored_len;
    }
    return false;
}

static enum pitr_rc
set_up_codec(struct sealer *s, enum frame_codec codec, int level, struct pitr_err *err)
{
    static const int default_level[] = {
        [CODEC_NONE] = 0, [CODEC_LZ4] = 1, [CODEC_ZSTD] = 1, [CODEC_ZLIB] = 6};
    const int lowest = codec == CODEC_ZSTD ? ZSTD_minCLevel() : 0;
    const int highest[] = {
        [CODEC_NONE] = 0, [CODEC_LZ4] = 65537, [CODEC_ZSTD] = ZSTD_maxCLevel(), [CODEC_ZLIB] = 9};

    if (level < lowest || level > highest[codec])
        return pitr_fail(err, PITR_USAGE, "codec %s has no level %d", codec_name(codec), level);
    s->codec = codec;
    s->level = level == 0 ? default_level[codec] : level;
    if (codec == CODEC_ZSTD) {
        s->zstd = ZSTD_createCCtx();
        if (s->zstd == NULL)
            return pitr_fail(err, PITR_NOMEM, "zstd context");
        if (ZSTD_isError(ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, s->level)))
            return pitr_fail(err, PITR_INTERNAL, "zstd: level %d", s->level);
    }
    if (codec == CODEC_LZ4) {
        s->lz4 = malloc((size_t)LZ4_sizeofState());
        if (s->lz4 == NULL)
            return pitr_fail(err, PITR_NOMEM, "lz4 context");
    }
    return PITR_OK;
}

enum pitr_rc
sealer_new(struct sealer **out, const struct repo_keys *keys, enum frame_codec codec, int level,
           struct pitr_err *err)
{
    PITR_AUTO(sealer_freep) struct sealer *s = calloc(1, sizeof *s);

    if (s == NULL)
        return pitr_fail(err, PITR_NOMEM, "sealer");
    if (hmac_new(&s->hmac, keys->id_key, sizeof keys->id_key, err) != PITR_OK ||
        decoder_init(&s->decoder, err) != PITR_OK || set_up_codec(s, codec, level, err) != PITR_OK)
        return err->rc;
    *out = s;
    s = NULL;
    return PITR_OK;
}

void
sealer_free(struct sealer *s)
{
    if (s == NULL)
        return;
    hmac_free(s->hmac);
    ZSTD_freeCCtx(s->zstd);
    free(s->lz4);
    decoder_release(&s->decoder);
    buf_release(&s->check);
    free(s);
}

void
sealer_freep(struct sealer **s)
{
    sealer_free(*s);
    *s = NULL;
}

enum pitr_rc
sealer_id(struct sealer *s, const void *data, size_t len, struct chunk_id *id, struct pitr_err *err)
{
    return hmac_sum(s->hmac, data, len, id->b, err);
}

static size_t
stored_bound(enum frame_codec codec, size_t len)
{
    switch (codec) {
    case CODEC_NONE:
        return len;
    case CODEC_LZ4:
        return (size_t)LZ4_compressBound((int)len);
    case CODEC_ZSTD:
        return ZSTD_compressBound(len);
    case CODEC_ZLIB:
        return compressBound(len);
    }
    return len;
}

/* Stored length in dst, or 0 if the codec could not: the bytes are then stored as they are. */
static size_t
compress_into(struct sealer *s, const void *data, size_t len, uint8_t *dst, size_t cap)
{
    uLongf zlib_len = cap;
    size_t n;
    int n_lz4;

    switch (s->codec) {
    case CODEC_NONE:
        return 0;
    case CODEC_LZ4:
        n_lz4 = LZ4_compress_fast_extState(s->lz4, data, (char *)dst, (int)len, (int)cap, s->level);
        return n_lz4 > 0 ? (size_t)n_lz4 : 0;
    case CODEC_ZSTD:
        n = ZSTD_compress2(s->zstd, dst, cap, data, len);
        return ZSTD_isError(n) ? 0 : n;
    case CODEC_ZLIB:
        return compress2(dst, &zlib_len, data, len, s->level) == Z_OK ? zlib_len : 0;
    }
    return 0;
}

static enum pitr_rc
check_sealed(struct sealer *s, const struct frame_head *head, const uint8_t *frame,
             const void *data, struct pitr_err *err)
{
    if (head->codec == CODEC_NONE)
        return PITR_OK; /* copied a moment ago: there is nothing to decode */
    if (buf_reserve(&s->check, head->raw_len, err) != PITR_OK)
        return err->rc;
    if (!decode(&s->decoder, head, frame + FRAME_HEAD_LEN, s->check.data) ||
        memcmp(s->check.data, data, head->raw_len) != 0)
        return pitr_fail(err, PITR_INTERNAL,
                         "frame: %u bytes sealed with %s do not decode to what they were",
                         head->raw_len, codec_name(head->codec));
    return PITR_OK;
}

enum pitr_rc
sealer_seal(struct sealer *s, enum frame_type type, const struct chunk_id *id, const void *data,
            size_t len, struct buf *out, struct pitr_err *err)
{
    struct frame_head head = {.type = type, .codec = s->codec, .id = *id};
    size_t bound, stored;
    uint8_t *frame;

    if (len > FRAME_RAW_MAX)
        return pitr_fail(err, PITR_USAGE, "frame: %zu bytes are more than the limit of %u", len,
                         FRAME_RAW_MAX);
    bound = stored_bound(s->codec, len);
    if (bound < len)
        bound = len;
    if (buf_reserve(out, FRAME_HEAD_LEN + bound, err) != PITR_OK)
        return err->rc;
    frame = out->data + out->len;
    stored = compress_into(s, data, len, frame + FRAME_HEAD_LEN, bound);
    if (stored == 0 || stored >= len) {
        head.codec = CODEC_NONE;
        stored = len;
        if (len > 0)
            memcpy(frame + FRAME_HEAD_LEN, data, len);
    }
    head.raw_len = (uint32_t)len;
    head.stored_len = (uint32_t)stored;
    put_head(frame, &head);
    if (compute_tag(s->decoder.tag, frame, stored, frame + AT_TAG, err) != PITR_OK ||
        check_sealed(s, &head, frame, data, err) != PITR_OK)
        return err->rc;
    out->len += FRAME_HEAD_LEN + stored;
    return PITR_OK;
}

enum pitr_rc
sealer_seal_whole(struct sealer *s, enum frame_type type, const void *data, size_t len,
                  struct chunk_id *id, struct buf *out, struct pitr_err *err)
{
    if (sealer_id(s, data, len, id, err) != PITR_OK)
        return err->rc;
    return sealer_seal(s, type, id, data, len, out, err);
}

enum pitr_rc
opener_new(struct opener **out, const struct repo_keys *keys, struct pitr_err *err)
{
    PITR_AUTO(opener_freep) struct opener *o = calloc(1, sizeof *o);

    if (o == NULL)
        return pitr_fail(err, PITR_NOMEM, "opener");
    if (hmac_new(&o->hmac, keys->id_key, sizeof keys->id_key, err) != PITR_OK ||
        decoder_init(&o->decoder, err) != PITR_OK)
        return err->rc;
    *out = o;
    o = NULL;
    return PITR_OK;
}

void
opener_free(struct opener *o)
{
    if (o == NULL)
        return;
    hmac_free(o->hmac);
    decoder_release(&o->decoder);
    free(o);
}

void
opener_freep(struct opener **o)
{
    opener_free(*o);
    *o = NULL;
}

enum pitr_rc
opener_open(struct opener *o, enum frame_type want, const uint8_t *data, size_t len,
            struct frame_head *head, struct buf *out, size_t *used, struct pitr_err *err)
{
    struct frame_head h;
    struct chunk_id id;

    if (frame_head_parse(&h, data, len, err) != PITR_OK)
        return err->rc;
    if (h.type != want)
        return pitr_fail(err, PITR_CORRUPT, "frame: type %u where type %u belongs",
                         (unsigned)h.type, (unsigned)want);
    if (check_tag(o->decoder.tag, data, len, &h, err) != PITR_OK)
        return err->rc;
    buf_clear(out);
    if (buf_reserve(out, h.raw_len, err) != PITR_OK)
        return err->rc;
    if (!decode(&o->decoder, &h, data + FRAME_HEAD_LEN, out->data))
        return pitr_fail(err, PITR_CORRUPT, "frame: the stored bytes are no %s stream of %u bytes",
                         codec_name(h.codec), h.raw_len);
    if (hmac_sum(o->hmac, out->data, h.raw_len, id.b, err) != PITR_OK)
        return err->rc;
    if (memcmp(id.b, h.id.b, sizeof id.b) != 0)
        return pitr_fail(err, PITR_CORRUPT, "frame: the content does not have the id it claims");
    out->len = h.raw_len;
    if (head != NULL)
        *head = h;
    *used = (size_t)FRAME_HEAD_LEN + h.stored_len;
    return PITR_OK;
}
