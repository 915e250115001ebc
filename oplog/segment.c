/* Names, head, foot and hash of segments; segment_write.c and segment_read.c do the rest. */
#include "oplog/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "oplog/record.h"
#include "oplog/segment_format.h"

#define HASH_MAGIC "PITRSGH1"

void
entry_hash(uint8_t out[ENTRY_HASH_LEN], const uint8_t *data, size_t len)
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len));
    memcpy(out, canonical.digest, ENTRY_HASH_LEN);
}

void
segment_name(char out[SEGMENT_NAME_LEN], const struct segment_info *info)
{
    snprintf(out, SEGMENT_NAME_LEN,
             "oplog/%08" PRIx32 "/%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64 ".seg", info->timeline,
             info->prev.ts, info->first.ts, info->last.ts);
}

/* Exactly `digits` lower-case hexadecimal digits at *p, which moves behind them. */
static bool
take_hex(uint64_t *out, const char **p, int digits)
{
    uint64_t v = 0;
    int i;

    for (i = 0; i < digits; i++) {
        char c = (*p)[i];

        if (c >= '0' && c <= '9')
            v = v << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *p += digits;
    *out = v;
    return true;
}

static bool
take_text(const char **p, const char *text)
{
    size_t len = strlen(text);

    if (strncmp(*p, text, len) != 0)
        return false;
    *p += len;
    return true;
}

bool
segment_name_parse(struct segment_info *info, const char *name)
{
    const char *p = name;
    uint64_t timeline, prev, first, last;

    if (!take_text(&p, "oplog/") || !take_hex(&timeline, &p, 8) || !take_text(&p, "/") ||
        !take_hex(&prev, &p, 16) || !take_text(&p, "-") || !take_hex(&first, &p, 16) ||
        !take_text(&p, "-") || !take_hex(&last, &p, 16) || strcmp(p, ".seg") != 0)
        return false;
    if (first == 0 || prev >= first || last < first)
        return false;
    *info = (struct segment_info){
        .timeline = (uint32_t)timeline,
        .prev = {.ts = prev, .term = -1},
        .first = {.ts = first, .term = -1},
        .last = {.ts = last, .term = -1},
    };
    return true;
}

static enum pitr_rc
append_record(struct buf *out, const bson_t *b, bool complete, struct pitr_err *err)
{
    if (!complete)
        return pitr_fail(err, PITR_INTERNAL, "oplog segment: its record does not fit into BSON");
    return buf_append(out, bson_get_data(b), b->len, err);
}

enum pitr_rc
segment_head_encode(struct buf *out, const struct segment_info *info, int64_t created_ms,
                    struct pitr_err *err)
{
    bson_t b = BSON_INITIALIZER;
    enum pitr_rc rc;
    bool ok;

    ok = BSON_APPEND_INT64(&b, "timeline", info->timeline) &&
         record_append_optime(&b, "prev", &info->prev) &&
         record_append_bytes(&b, "prev_hash", info->prev_hash, sizeof info->prev_hash) &&
         BSON_APPEND_DATE_TIME(&b, "created", created_ms);
    rc = append_record(out, &b, ok, err);
    bson_destroy(&b);
    return rc;
}

enum pitr_rc
segment_foot_encode(struct buf *out, const struct segment_info *info, struct pitr_err *err)
{
    bson_t b = BSON_INITIALIZER;
    enum pitr_rc rc;
    bool ok;

    ok = record_append_optime(&b, "first", &info->first) &&
         record_append_optime(&b, "last", &info->last) &&
         BSON_APPEND_INT64(&b, "entries", (int64_t)info->entries) &&
         BSON_APPEND_INT64(&b, "operations", (int64_t)info->operations) &&
         BSON_APPEND_INT64(&b, "bytes_raw", (int64_t)info->bytes_raw) &&
         BSON_APPEND_DATE_TIME(&b, "last_wall", info->last_wall_ms) &&
         BSON_APPEND_DATE_TIME(&b, "sealed", info->sealed_ms) &&
         record_append_bytes(&b, "last_entry", info->last_entry, sizeof info->last_entry) &&
         record_append_bytes(&b, "hash", info->hash, sizeof info->hash);
    rc = append_record(out, &b, ok, err);
    bson_destroy(&b);
    return rc;
}

enum pitr_rc
segment_head_decode(struct segment_info *info, const struct buf *head, struct pitr_err *err)
{
    int64_t timeline;

    if (record_int64(head, "timeline", &timeline, err) != PITR_OK ||
        record_optime(head, "prev", &info->prev, err) != PITR_OK ||
        record_bytes(head, "prev_hash", info->prev_hash, sizeof info->prev_hash, err) != PITR_OK)
        return err->rc;
    if (timeline < 0 || timeline > UINT32_MAX)
        return pitr_fail(err, PITR_CORRUPT, "timeline %" PRId64 " is out of range", timeline);
    info->timeline = (uint32_t)timeline;
    return PITR_OK;
}

enum pitr_rc
segment_foot_decode(struct segment_info *info, const struct buf *foot, struct pitr_err *err)
{
    if (record_optime(foot, "first", &info->first, err) != PITR_OK ||
        record_optime(foot, "last", &info->last, err) != PITR_OK ||
        record_count(foot, "entries", &info->entries, err) != PITR_OK ||
        record_count(foot, "operations", &info->operations, err) != PITR_OK ||
        record_count(foot, "bytes_raw", &info->bytes_raw, err) != PITR_OK ||
        record_date(foot, "last_wall", &info->last_wall_ms, err) != PITR_OK ||
        record_date(foot, "sealed", &info->sealed_ms, err) != PITR_OK ||
        record_bytes(foot, "last_entry", info->last_entry, sizeof info->last_entry, err) != PITR_OK)
        return err->rc;
    return record_bytes(foot, "hash", info->hash, sizeof info->hash, err);
}

enum pitr_rc
segment_hash_start(struct buf *out, const struct segment_info *info, struct pitr_err *err)
{
    buf_clear(out);
    if (buf_append(out, HASH_MAGIC, SEGMENT_MAGIC_LEN, err) != PITR_OK)
        return err->rc;
    return buf_append(out, info->prev_hash, sizeof info->prev_hash, err);
}

enum pitr_rc
segment_hash_frame(struct buf *out, const struct chunk_id *id, struct pitr_err *err)
{
    return buf_append(out, id->b, sizeof id->b, err);
}

enum pitr_rc
segment_hash_close(struct buf *out, const struct segment_info *info, struct pitr_err *err)
{
    const uint64_t numbers[] = {
        info->first.ts,
        (uint64_t)info->first.term,
        info->last.ts,
        (uint64_t)info->last.term,
        info->entries,
        info->operations,
        info->bytes_raw,
        (uint64_t)info->last_wall_ms,
        (uint64_t)info->sealed_ms,
    };
    size_t i;

    for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (buf_append_le64(out, numbers[i], err) != PITR_OK)
            return err->rc;
    }
    return buf_append(out, info->last_entry, sizeof info->last_entry, err);
}
