#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "oplog/segment_format.h"

enum { DEFAULT_FRAME_TARGET = 1 << 20 };

/* The object's name holds its last timestamp, so the sealed frames wait in memory for the end; the
 * caller bounds them by segment_writer_held(). */
struct segment_writer {
    struct blob *blob;
    struct sealer *sealer;
    struct segment_info info; /* of what was added so far */
    size_t frame_target;
    struct buf frame;  /* entries of the open frame */
    size_t last_at;    /* where in `frame` the last entry starts */
    struct buf stored; /* the object so far */
    struct buf hashed; /* see segment_hash_start() */
};

/* Seal `plain` as the next frame of the object. Every frame but the foot is part of the hash. */
static enum pitr_rc
append_frame(struct segment_writer *w, enum frame_type type, const uint8_t *plain, size_t len,
             struct pitr_err *err)
{
    struct chunk_id id;

    if (sealer_seal_whole(w->sealer, type, plain, len, &id, &w->stored, err) != PITR_OK)
        return err->rc;
    return type == FRAME_SEGEND ? PITR_OK : segment_hash_frame(&w->hashed, &id, err);
}

static enum pitr_rc
append_start(struct segment_writer *w, struct pitr_err *err)
{
    uint8_t start[SEGMENT_START_LEN] = {0};

    memcpy(start, SEGMENT_MAGIC, SEGMENT_MAGIC_LEN);
    if (buf_append(&w->stored, start, sizeof start, err) != PITR_OK ||
        segment_hash_start(&w->hashed, &w->info, err) != PITR_OK ||
        segment_head_encode(&w->frame, &w->info, clock_wall_ms(), err) != PITR_OK ||
        append_frame(w, FRAME_SEGMENT, w->frame.data, w->frame.len, err) != PITR_OK)
        return err->rc;
    buf_clear(&w->frame);
    return PITR_OK;
}

enum pitr_rc
segment_writer_new(struct segment_writer **out, const struct segment_writer_opts *opts,
                   struct pitr_err *err)
{
    PITR_AUTO(segment_writer_freep) struct segment_writer *w = calloc(1, sizeof *w);

    if (w == NULL)
        return pitr_fail(err, PITR_NOMEM, "oplog segment");
    w->blob = opts->blob;
    w->sealer = opts->sealer;
    w->frame_target = opts->frame_target != 0 ? opts->frame_target : DEFAULT_FRAME_TARGET;
    w->info.timeline = opts->timeline;
    w->info.prev.term = -1;
    if (opts->prev != NULL) {
        w->info.prev = opts->prev->last;
        memcpy(w->info.prev_hash, opts->prev->hash, sizeof w->info.prev_hash);
    }
    if (append_start(w, err) != PITR_OK)
        return pitr_wrap(err, "oplog segment");
    *out = w;
    w = NULL;
    return PITR_OK;
}

void
segment_writer_free(struct segment_writer *w)
{
    if (w == NULL)
        return;
    buf_release(&w->frame);
    buf_release(&w->stored);
    buf_release(&w->hashed);
    free(w);
}

void
segment_writer_freep(struct segment_writer **w)
{
    segment_writer_free(*w);
    *w = NULL;
}

static enum pitr_rc
flush_frame(struct segment_writer *w, struct pitr_err *err)
{
    if (w->frame.len == 0)
        return PITR_OK;
    if (append_frame(w, FRAME_ENTRIES, w->frame.data, w->frame.len, err) != PITR_OK)
        return err->rc;
    entry_hash(w->info.last_entry, w->frame.data + w->last_at, w->frame.len - w->last_at);
    buf_clear(&w->frame);
    return PITR_OK;
}

static void
count_entry(struct segment_info *info, size_t len, const struct oplog_stamp *stamp)
{
    info->last = (struct optime){.ts = stamp->ts, .term = stamp->term};
    if (info->entries == 0)
        info->first = info->last;
    info->entries++;
    info->operations += stamp->is_noop ? 0 : 1;
    info->bytes_raw += len;
    info->last_wall_ms = stamp->wall_ms;
}

/* An entry that is a frame by itself is sealed where it is: copies of the largest ones cost more
 * memory than everything else. */
static enum pitr_rc
add_bytes(struct segment_writer *w, const uint8_t *data, size_t len, struct pitr_err *err)
{
    if (len < w->frame_target) {
        w->last_at = w->frame.len;
        return buf_append(&w->frame, data, len, err);
    }
    entry_hash(w->info.last_entry, data, len);
    return append_frame(w, FRAME_ENTRIES, data, len, err);
}

enum pitr_rc
segment_writer_add(struct segment_writer *w, const uint8_t *data, size_t len,
                   const struct oplog_stamp *stamp, struct pitr_err *err)
{
    const struct optime *before = w->info.entries > 0 ? &w->info.last : &w->info.prev;
    char a[TS_TEXT_LEN], b[TS_TEXT_LEN];

    if (stamp->ts <= before->ts || stamp->term < before->term) {
        ts_format(a, stamp->ts);
        ts_format(b, before->ts);
        return pitr_fail(err, PITR_INTERNAL,
                         "oplog segment: entry %s of term %" PRId64 " after %s of term %" PRId64, a,
                         stamp->term, b, before->term);
    }
    if (w->frame.len > 0 && w->frame.len + len > w->frame_target && flush_frame(w, err) != PITR_OK)
        return pitr_wrap(err, "oplog segment");
    if (add_bytes(w, data, len, err) != PITR_OK)
        return pitr_wrap(err, "oplog segment");
    count_entry(&w->info, len, stamp);
    return PITR_OK;
}

size_t
segment_writer_held(const struct segment_writer *w)
{
    return w->stored.len + w->frame.len;
}

static enum pitr_rc
append_end(struct segment_writer *w, struct pitr_err *err)
{
    uint8_t trailer[SEGMENT_TRAILER_LEN] = {0};
    size_t foot_at = w->stored.len;
    struct chunk_id hash;

    w->info.sealed_ms = clock_wall_ms();
    if (segment_hash_close(&w->hashed, &w->info, err) != PITR_OK ||
        sealer_id(w->sealer, w->hashed.data, w->hashed.len, &hash, err) != PITR_OK)
        return err->rc;
    memcpy(w->info.hash, hash.b, sizeof w->info.hash);
    if (segment_foot_encode(&w->frame, &w->info, err) != PITR_OK ||
        append_frame(w, FRAME_SEGEND, w->frame.data, w->frame.len, err) != PITR_OK)
        return err->rc;
    put_le32(trailer, (uint32_t)(w->stored.len - foot_at));
    memcpy(trailer + 8, SEGMENT_END_MAGIC, SEGMENT_MAGIC_LEN);
    return buf_append(&w->stored, trailer, sizeof trailer, err);
}

enum pitr_rc
segment_writer_finish(struct segment_writer *w, struct segment_info *info, struct pitr_err *err)
{
    char name[SEGMENT_NAME_LEN];

    if (w->info.entries == 0)
        return pitr_fail(err, PITR_INTERNAL, "oplog segment: finished without an entry");
    segment_name(name, &w->info);
    if (flush_frame(w, err) != PITR_OK || append_end(w, err) != PITR_OK)
        return pitr_wrap(err, "%s", name);
    if (blob_put(w->blob, name, w->stored.data, w->stored.len, false, err) != PITR_OK)
        return err->rc;
    *info = w->info;
    return PITR_OK;
}
