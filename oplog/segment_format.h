/*
 * segment_format.h - what writer and reader of segments share: constants, head, foot and hash.
 *
 * docs/format.md, "Oplog segment", describes the bytes. Private to segment*.c.
 */
#ifndef PITR_OPLOG_SEGMENT_FORMAT_H
#define PITR_OPLOG_SEGMENT_FORMAT_H

#include "oplog/segment.h"

enum {
    SEGMENT_MAGIC_LEN = 8,
    SEGMENT_START_LEN = 16,   /* magic and zeros */
    SEGMENT_TRAILER_LEN = 16, /* length of the foot's frame, zeros, magic */
    SEGMENT_FOOT_MAX = 4096,  /* longest frame of a foot; pitr writes about 400 bytes */
};

#define SEGMENT_MAGIC "PITRSG01"
#define SEGMENT_END_MAGIC "PITRSGZ1"

/* Head and foot as BSON; appended to *out. Fails: NOMEM, INTERNAL. */
PITR_MUST enum pitr_rc segment_head_encode(struct buf *out, const struct segment_info *info,
                                           int64_t created_ms, struct pitr_err *err);
PITR_MUST enum pitr_rc segment_foot_encode(struct buf *out, const struct segment_info *info,
                                           struct pitr_err *err);
/* Fill in the fields that head or foot tell. Fails: CORRUPT. */
PITR_MUST enum pitr_rc segment_head_decode(struct segment_info *info, const struct buf *head,
                                           struct pitr_err *err);
PITR_MUST enum pitr_rc segment_foot_decode(struct segment_info *info, const struct buf *foot,
                                           struct pitr_err *err);

/*
 * The bytes whose keyed hash is the segment's: started with the predecessor's hash, then the id of
 * every frame in order, closed with the foot's fields. 32 bytes a frame, so 2 KiB for 64 MiB of
 * entries.
 */
PITR_MUST enum pitr_rc segment_hash_start(struct buf *out, const struct segment_info *info,
                                          struct pitr_err *err);
PITR_MUST enum pitr_rc segment_hash_frame(struct buf *out, const struct chunk_id *id,
                                          struct pitr_err *err);
PITR_MUST enum pitr_rc segment_hash_close(struct buf *out, const struct segment_info *info,
                                          struct pitr_err *err);

#endif
