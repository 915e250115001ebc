/*
 * gap.h - gap records: entries that were lost, or the end of a timeline, made durable.
 *
 * Object "oplog/<timeline, 8 hex>/<after>-<before>.gap", timestamps as 16 hex digits, `before` all
 * zeros where a timeline ends. docs/format.md, "Gap record", gives the bytes.
 */
#ifndef PITR_OPLOG_GAP_H
#define PITR_OPLOG_GAP_H

#include "oplog/segment.h"

struct gap {
    uint32_t timeline;
    struct optime after;  /* last entry before the gap */
    struct optime before; /* first entry after it; ts 0: the timeline ends here, another begins */
    int64_t detected_ms;  /* 0 in a gap without a record */
    char reason[160];
    bool is_recorded; /* false: found by comparing segments; terms are -1 */
    bool is_damaged;  /* its record cannot be read; its name said where it is; terms are -1 */
};

void gap_name(char out[SEGMENT_NAME_LEN], const struct gap *gap);
/* What a name tells: timeline and timestamps, terms -1; false for other objects. */
bool gap_name_parse(struct gap *gap, const char *name);

/* Record a gap durably; recording the same gap again is fine, and the first record stays. */
PITR_MUST enum pitr_rc gap_write(struct blob *blob, struct sealer *sealer, const struct gap *gap,
                                 struct pitr_err *err);
/* Fails: NOTFOUND, CORRUPT (also when it says something else than its name), IO. */
PITR_MUST enum pitr_rc gap_read(struct gap *gap, struct blob *blob, const struct repo_keys *keys,
                                const char *name, struct pitr_err *err);

#endif
