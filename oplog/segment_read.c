#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crypto.h"
#include "oplog/segment_format.h"

enum { BSON_DOC_MIN = 5 };

struct segment_reader {
    struct blob *blob;
    struct opener *opener;
    struct hmac *hmac;
    char name[SEGMENT_NAME_LEN];
    struct segment_info info; /* what head and foot say */
    struct segment_info seen; /* what the entries read so far say */
    uint64_t at, foot_at;     /* offsets of the next frame and of the foot's */
    struct buf raw;           /* the current frame as stored */
    struct buf plain;         /* the current frame's entries */
    size_t plain_at, last_at; /* next and last entry in `plain` */
    struct buf hashed;
    bool is_done;
};

static enum pitr_rc
read_raw(struct segment_reader *r, uint64_t at, size_t len, struct pitr_err *err)
{
    buf_clear(&r->raw);
    if (buf_reserve(&r->raw, len, err) != PITR_OK ||
        blob_read(r->blob, r->name, at, r->raw.data, len, err) != PITR_OK)
        return err->rc;
    r->raw.len = len;
    return PITR_OK;
}

/* Open the frame at r->at into `plain`, which must end at or before `limit`; move behind it. */
static enum pitr_rc
open_frame(struct segment_reader *r, enum frame_type type, uint64_t limit, struct chunk_id *id,
           struct pitr_err *err)
{
    struct frame_head head;
    size_t used;

    if (limit - r->at < FRAME_HEAD_LEN)
        return pitr_fail(err, PITR_CORRUPT, "no room for a frame at %" PRIu64, r->at);
    if (read_raw(r, r->at, FRAME_HEAD_LEN, err) != PITR_OK ||
        frame_head_parse(&head, r->raw.data, r->raw.len, err) != PITR_OK)
        return err->rc;
    if (head.stored_len > limit - r->at - FRAME_HEAD_LEN)
        return pitr_fail(err, PITR_CORRUPT, "the frame at %" PRIu64 " is too long", r->at);
    if (read_raw(r, r->at, FRAME_HEAD_LEN + (size_t)head.stored_len, err) != PITR_OK ||
        opener_open(r->opener, type, r->raw.data, r->raw.len, &head, &r->plain, &used, err) !=
            PITR_OK)
        return pitr_wrap(err, "frame at %" PRIu64, r->at);
    *id = head.id;
    r->at += used;
    return PITR_OK;
}

static enum pitr_rc
read_start(struct segment_reader *r, struct pitr_err *err)
{
    uint8_t expected[SEGMENT_START_LEN] = {0};

    memcpy(expected, SEGMENT_MAGIC, SEGMENT_MAGIC_LEN);
    if (read_raw(r, 0, SEGMENT_START_LEN, err) != PITR_OK)
        return err->rc;
    if (memcmp(r->raw.data, expected, sizeof expected) != 0)
        return pitr_fail(err, PITR_CORRUPT, "it does not start as a segment of this version");
    return PITR_OK;
}

static enum pitr_rc
read_foot(struct segment_reader *r, uint64_t size, struct pitr_err *err)
{
    struct chunk_id id;
    uint32_t len;

    if (read_raw(r, size - SEGMENT_TRAILER_LEN, SEGMENT_TRAILER_LEN, err) != PITR_OK)
        return err->rc;
    len = get_le32(r->raw.data);
    if (get_le32(r->raw.data + 4) != 0 ||
        memcmp(r->raw.data + 8, SEGMENT_END_MAGIC, SEGMENT_MAGIC_LEN) != 0)
        return pitr_fail(err, PITR_CORRUPT, "it does not end as a segment of this version");
    if (len > SEGMENT_FOOT_MAX || len > size - SEGMENT_TRAILER_LEN - SEGMENT_START_LEN)
        return pitr_fail(err, PITR_CORRUPT, "a foot of %" PRIu32 " bytes", len);
    r->foot_at = size - SEGMENT_TRAILER_LEN - len;
    r->at = r->foot_at;
    if (open_frame(r, FRAME_SEGEND, size - SEGMENT_TRAILER_LEN, &id, err) != PITR_OK)
        return pitr_wrap(err, "foot");
    if (r->at != size - SEGMENT_TRAILER_LEN)
        return pitr_fail(err, PITR_CORRUPT, "bytes between the foot and the trailer");
    if (segment_foot_decode(&r->info, &r->plain, err) != PITR_OK)
        return pitr_wrap(err, "foot");
    return PITR_OK;
}

static enum pitr_rc
read_head(struct segment_reader *r, struct pitr_err *err)
{
    struct chunk_id id;

    r->at = SEGMENT_START_LEN;
    if (open_frame(r, FRAME_SEGMENT, r->foot_at, &id, err) != PITR_OK ||
        segment_head_decode(&r->info, &r->plain, err) != PITR_OK)
        return pitr_wrap(err, "head");
    if (segment_hash_start(&r->hashed, &r->info, err) != PITR_OK)
        return err->rc;
    return segment_hash_frame(&r->hashed, &id, err);
}

/* A segment under another segment's name would be believed by all who look at names only. */
static enum pitr_rc
check_name(const struct segment_reader *r, struct pitr_err *err)
{
    char name[SEGMENT_NAME_LEN];

    segment_name(name, &r->info);
    if (strcmp(name, r->name) != 0)
        return pitr_fail(err, PITR_CORRUPT, "it is %s", name);
    return PITR_OK;
}

static enum pitr_rc
read_ends(struct segment_reader *r, struct pitr_err *err)
{
    uint64_t size;

    if (blob_size(r->blob, r->name, &size, err) != PITR_OK)
        return err->rc;
    if (size < SEGMENT_START_LEN + SEGMENT_TRAILER_LEN)
        return pitr_fail(err, PITR_CORRUPT, "only %" PRIu64 " bytes", size);
    if (read_start(r, err) != PITR_OK || read_foot(r, size, err) != PITR_OK ||
        read_head(r, err) != PITR_OK)
        return err->rc;
    buf_clear(&r->plain);
    return check_name(r, err);
}

enum pitr_rc
segment_reader_open(struct segment_reader **out, struct blob *blob, const struct repo_keys *keys,
                    const char *name, struct segment_info *info, struct pitr_err *err)
{
    PITR_AUTO(segment_reader_freep) struct segment_reader *r = NULL;
    struct segment_info parsed;

    if (!segment_name_parse(&parsed, name))
        return pitr_fail(err, PITR_CORRUPT, "%s: not the name of an oplog segment", name);
    r = calloc(1, sizeof *r);
    if (r == NULL)
        return pitr_fail(err, PITR_NOMEM, "%s", name);
    r->blob = blob;
    memcpy(r->name, name, strlen(name) + 1);
    if (opener_new(&r->opener, keys, err) != PITR_OK ||
        hmac_new(&r->hmac, keys->id_key, sizeof keys->id_key, err) != PITR_OK ||
        read_ends(r, err) != PITR_OK)
        return pitr_wrap(err, "%s", name);
    r->seen.last = r->info.prev;
    *info = r->info;
    *out = r;
    r = NULL;
    return PITR_OK;
}

void
segment_reader_free(struct segment_reader *r)
{
    if (r == NULL)
        return;
    opener_free(r->opener);
    hmac_free(r->hmac);
    buf_release(&r->raw);
    buf_release(&r->plain);
    buf_release(&r->hashed);
    free(r);
}

void
segment_reader_freep(struct segment_reader **r)
{
    segment_reader_free(*r);
    *r = NULL;
}

static bool
optime_equal(const struct optime *a, const struct optime *b)
{
    return a->ts == b->ts && a->term == b->term;
}

/* All frames were read: the foot must say what the entries said. */
static enum pitr_rc
check_foot(struct segment_reader *r, struct pitr_err *err)
{
    const struct segment_info *foot = &r->info, *seen = &r->seen;
    uint8_t hash[SHA256_LEN];

    if (seen->entries != foot->entries || seen->operations != foot->operations ||
        seen->bytes_raw != foot->bytes_raw)
        return pitr_fail(err, PITR_CORRUPT,
                         "%" PRIu64 " entries of %" PRIu64 " bytes, but its foot says %" PRIu64
                         " of %" PRIu64,
                         seen->entries, seen->bytes_raw, foot->entries, foot->bytes_raw);
    if (!optime_equal(&seen->first, &foot->first) || !optime_equal(&seen->last, &foot->last) ||
        seen->last_wall_ms != foot->last_wall_ms)
        return pitr_fail(err, PITR_CORRUPT, "its foot names another first or last entry");
    if (memcmp(seen->last_entry, foot->last_entry, ENTRY_HASH_LEN) != 0)
        return pitr_fail(err, PITR_CORRUPT, "its foot does not match its last entry");
    if (segment_hash_close(&r->hashed, foot, err) != PITR_OK ||
        hmac_sum(r->hmac, r->hashed.data, r->hashed.len, hash, err) != PITR_OK)
        return err->rc;
    if (memcmp(hash, foot->hash, sizeof hash) != 0)
        return pitr_fail(err, PITR_CORRUPT, "its hash does not match its frames");
    return PITR_OK;
}

static enum pitr_rc
next_frame(struct segment_reader *r, struct pitr_err *err)
{
    struct chunk_id id;

    if (r->plain.len > 0)
        entry_hash(r->seen.last_entry, r->plain.data + r->last_at, r->plain.len - r->last_at);
    buf_clear(&r->plain);
    r->plain_at = 0;
    if (r->at == r->foot_at) {
        r->is_done = true;
        return check_foot(r, err);
    }
    if (open_frame(r, FRAME_ENTRIES, r->foot_at, &id, err) != PITR_OK)
        return err->rc;
    if (r->plain.len == 0)
        return pitr_fail(err, PITR_CORRUPT, "a frame without entries");
    return segment_hash_frame(&r->hashed, &id, err);
}

/* Take the entry at plain_at into account: in order, and of the length it says. */
static enum pitr_rc
check_entry(struct segment_reader *r, size_t *len, struct pitr_err *err)
{
    struct segment_info *seen = &r->seen;
    const uint8_t *data = r->plain.data + r->plain_at;
    size_t left = r->plain.len - r->plain_at;
    struct oplog_stamp stamp;

    if (left < BSON_DOC_MIN || bson_len(data) < BSON_DOC_MIN || bson_len(data) > left)
        return pitr_fail(err, PITR_CORRUPT, "an entry does not end within its frame");
    *len = bson_len(data);
    if (oplog_entry_stamp(&stamp, data, *len, err) != PITR_OK)
        return err->rc;
    if (stamp.ts <= seen->last.ts || stamp.term < seen->last.term)
        return pitr_fail(err, PITR_CORRUPT, "entries out of order");
    seen->last = (struct optime){.ts = stamp.ts, .term = stamp.term};
    if (seen->entries == 0)
        seen->first = seen->last;
    seen->entries++;
    seen->operations += stamp.is_noop ? 0 : 1;
    seen->bytes_raw += *len;
    seen->last_wall_ms = stamp.wall_ms;
    return PITR_OK;
}

enum pitr_rc
segment_reader_next(struct segment_reader *r, const uint8_t **data, size_t *len,
                    struct pitr_err *err)
{
    *data = NULL;
    *len = 0;
    if (!r->is_done && r->plain_at == r->plain.len && next_frame(r, err) != PITR_OK)
        return pitr_wrap(err, "%s", r->name);
    if (r->is_done)
        return PITR_OK;
    if (check_entry(r, len, err) != PITR_OK)
        return pitr_wrap(err, "%s", r->name);
    *data = r->plain.data + r->plain_at;
    r->last_at = r->plain_at;
    r->plain_at += *len;
    return PITR_OK;
}
