/*
 * segment.h - sealed runs of oplog entries.
 *
 * A segment holds every entry of (prev, last] of one timeline, in order, majority-committed, byte
 * for byte as the server sent them. A segment without `prev` starts a chain (the first of a
 * timeline, or the first after a gap): it holds [first, last]. Consecutive segments join by optime
 * and by hash: each names its predecessor's last optime and hash, so nothing can be missing,
 * swapped or altered between them unseen. docs/format.md, "Oplog segment", gives the bytes.
 *
 * Objects: "oplog/<timeline, 8 hex>/<prev>-<first>-<last>.seg", timestamps as 16 hex digits, prev
 * all zeros at a start.
 */
#ifndef PITR_OPLOG_SEGMENT_H
#define PITR_OPLOG_SEGMENT_H

#include "chunkstore/blob.h"
#include "chunkstore/codec.h"
#include "oplog/entry.h"

enum { SEGMENT_HASH_LEN = 32, SEGMENT_NAME_LEN = 96, ENTRY_HASH_LEN = 16 };

struct segment_info {
    uint32_t timeline;
    struct optime prev; /* ts 0: starts a chain */
    uint8_t prev_hash[SEGMENT_HASH_LEN];
    struct optime first, last;
    uint64_t entries;                   /* all of them */
    uint64_t operations;                /* without no-ops */
    uint64_t bytes_raw;                 /* BSON bytes of the entries */
    int64_t last_wall_ms;               /* wall clock of the last entry, 0 if none had one */
    int64_t sealed_ms;                  /* when pitr sealed it */
    uint8_t last_entry[ENTRY_HASH_LEN]; /* entry_hash() of the last entry */
    uint8_t hash[SEGMENT_HASH_LEN];
};

/* What the tailer compares to know the last captured entry again: XXH3-128 of its bytes. It only
 * has to tell different histories apart; the segment's own hash is what protects stored bytes. */
void entry_hash(uint8_t out[ENTRY_HASH_LEN], const uint8_t *data, size_t len);

void segment_name(char out[SEGMENT_NAME_LEN], const struct segment_info *info);
/* Timeline and prev/first/last timestamps out of an object name; false for other objects. Terms and
 * the rest stay unset. */
bool segment_name_parse(struct segment_info *info, const char *name);

struct segment_writer;
/* Nothing is visible before segment_writer_finish(). `prev` NULL starts a chain. Borrows blob and
 * sealer until freed. */
struct segment_writer_opts {
    struct blob *blob;
    struct sealer *sealer;
    uint32_t timeline;
    const struct segment_info *prev; /* predecessor, or NULL; copied */
    size_t frame_target;             /* raw bytes of entries a frame; 0: 1 MiB */
};
PITR_MUST enum pitr_rc segment_writer_new(struct segment_writer **out,
                                          const struct segment_writer_opts *opts,
                                          struct pitr_err *err);
void segment_writer_free(struct segment_writer *w); /* aborts unless finished */
void segment_writer_freep(struct segment_writer **w);
/* Add the entry data[0..len), whose stamp the caller has read from it. Entries must rise in ts and
 * not fall in term; INTERNAL otherwise. A writer that failed for another reason can only be freed.
 */
PITR_MUST enum pitr_rc segment_writer_add(struct segment_writer *w, const uint8_t *data, size_t len,
                                          const struct oplog_stamp *stamp, struct pitr_err *err);
/* Bytes held in memory until the end: the name needs the last timestamp, so the object cannot be
 * started earlier. Bounded by the caller, who finishes in time. */
size_t segment_writer_held(const struct segment_writer *w);
/* Publish; the segment is durable on success. At least one entry must have been added. */
PITR_MUST enum pitr_rc segment_writer_finish(struct segment_writer *w, struct segment_info *info,
                                             struct pitr_err *err);

struct segment_reader;
/* Reads head and foot, so *info is complete; entries are checked as they are read. Borrows blob. */
PITR_MUST enum pitr_rc segment_reader_open(struct segment_reader **out, struct blob *blob,
                                           const struct repo_keys *keys, const char *name,
                                           struct segment_info *info, struct pitr_err *err);
void segment_reader_free(struct segment_reader *r);
void segment_reader_freep(struct segment_reader **r);
/* Next entry's bytes, valid until the next call; *data NULL at the end, where count, bytes and hash
 * have been compared with the foot. Fails: CORRUPT. */
PITR_MUST enum pitr_rc segment_reader_next(struct segment_reader *r, const uint8_t **data,
                                           size_t *len, struct pitr_err *err);

#endif
