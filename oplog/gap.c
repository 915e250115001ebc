/* Gap records: the objects that chain.h calls gaps, one frame of BSON each. */
#include "oplog/gap.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "oplog/record.h"

enum { GAP_OBJECT_MAX = 64 << 10 }; /* pitr writes about 300 bytes */

void
gap_name(char out[SEGMENT_NAME_LEN], const struct gap *gap)
{
    snprintf(out, SEGMENT_NAME_LEN, "oplog/%08" PRIx32 "/%016" PRIx64 "-%016" PRIx64 ".gap",
             gap->timeline, gap->after.ts, gap->before.ts);
}

bool
gap_name_parse(struct gap *gap, const char *name)
{
    struct gap g = {.after = {.term = -1}, .before = {.term = -1}, .is_recorded = true};
    char again[SEGMENT_NAME_LEN];

    if (sscanf(name, "oplog/%8" SCNx32 "/%16" SCNx64 "-%16" SCNx64 ".gap", &g.timeline, &g.after.ts,
               &g.before.ts) != 3)
        return false;
    /* sscanf forgives too much; the canonical form is the only one. */
    gap_name(again, &g);
    if (strcmp(again, name) != 0 || (g.before.ts != 0 && g.before.ts <= g.after.ts))
        return false;
    *gap = g;
    return true;
}

enum pitr_rc
gap_write(struct blob *blob, struct sealer *sealer, const struct gap *gap, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf frame = {0};
    char name[SEGMENT_NAME_LEN];
    bson_t b = BSON_INITIALIZER;
    struct chunk_id id;
    enum pitr_rc rc = PITR_OK;

    gap_name(name, gap);
    if (!BSON_APPEND_INT64(&b, "timeline", gap->timeline) ||
        !record_append_optime(&b, "after", &gap->after) ||
        !record_append_optime(&b, "before", &gap->before) ||
        !BSON_APPEND_DATE_TIME(&b, "detected", gap->detected_ms) ||
        !BSON_APPEND_UTF8(&b, "reason", gap->reason))
        rc = pitr_fail(err, PITR_INTERNAL, "%s: does not fit into BSON", name);
    if (rc == PITR_OK)
        rc = sealer_seal_whole(sealer, FRAME_GAP, bson_get_data(&b), b.len, &id, &frame, err);
    bson_destroy(&b);
    if (rc != PITR_OK)
        return pitr_wrap(err, "%s", name);
    rc = blob_put(blob, name, frame.data, frame.len, false, err);
    return rc == PITR_EXISTS ? PITR_OK : rc;
}

static enum pitr_rc
gap_decode(struct gap *gap, const struct buf *rec, struct pitr_err *err)
{
    int64_t timeline;

    if (record_int64(rec, "timeline", &timeline, err) != PITR_OK ||
        record_optime(rec, "after", &gap->after, err) != PITR_OK ||
        record_optime(rec, "before", &gap->before, err) != PITR_OK ||
        record_date(rec, "detected", &gap->detected_ms, err) != PITR_OK ||
        record_text(rec, "reason", gap->reason, sizeof gap->reason, err) != PITR_OK)
        return err->rc;
    if (timeline < 0 || timeline > UINT32_MAX)
        return pitr_fail(err, PITR_CORRUPT, "timeline %" PRId64 " is out of range", timeline);
    gap->timeline = (uint32_t)timeline;
    return PITR_OK;
}

enum pitr_rc
gap_read(struct gap *gap, struct blob *blob, const struct repo_keys *keys, const char *name,
         struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf raw = {0}, plain = {0};
    PITR_AUTO(opener_freep) struct opener *opener = NULL;
    struct gap g = {.is_recorded = true};
    char again[SEGMENT_NAME_LEN];
    size_t used;

    if (blob_get(blob, name, GAP_OBJECT_MAX, &raw, err) != PITR_OK)
        return err->rc;
    if (opener_new(&opener, keys, err) != PITR_OK ||
        opener_open(opener, FRAME_GAP, raw.data, raw.len, NULL, &plain, &used, err) != PITR_OK ||
        gap_decode(&g, &plain, err) != PITR_OK)
        return pitr_wrap(err, "%s", name);
    if (used != raw.len)
        return pitr_fail(err, PITR_CORRUPT, "%s: bytes after its frame", name);
    gap_name(again, &g);
    if (strcmp(again, name) != 0)
        return pitr_fail(err, PITR_CORRUPT, "%s: it is %s", name, again);
    *gap = g;
    return PITR_OK;
}
