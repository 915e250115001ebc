/*
 * pack.h - packs: immutable objects of many frames, the unit of writing and upload.
 *
 * The frames lie end to end. The table of contents comes last, as a writer learns offsets only
 * while it streams, and is a frame itself:
 *
 *     0        24                     toc_offset                size-32
 *     | header | frame | frame | ...  | frame of FRAME_TOC      | trailer |
 *
 * Invariants: no byte changes once written; frames lie in the order of the table without gaps; a
 * pack is published whole by pack_writer_finish() or not at all; its name is made of the random id
 * in its header, so a pack under another name is refused. docs/format.md, "Pack", gives every byte.
 *
 * A writer, a reader and a scan belong to one thread at a time.
 */
#ifndef PITR_CHUNKSTORE_PACK_H
#define PITR_CHUNKSTORE_PACK_H

#include "chunkstore/blob.h"
#include "chunkstore/codec.h"

enum { PACK_ID_LEN = 16, PACK_HEAD_LEN = 24, PACK_TRAILER_LEN = 32, PACK_TOC_ENTRY_LEN = 52 };
/* "packs/", two digits, '/', 32 digits, ".pack", NUL. */
enum { PACK_NAME_LEN = 6 + 2 + 1 + 2 * PACK_ID_LEN + 5 + 1 };
/* Frames of one pack: keeps the table far below the longest frame. */
enum { PACK_FRAMES_MAX = 1 << 20 };
#define PACK_FOLDER "packs/"

struct pack_id {
    uint8_t b[PACK_ID_LEN];
};

/* One frame of a pack, as its table of contents lists it. */
struct pack_entry {
    struct chunk_id id;
    uint64_t offset;             /* of the frame's header, from the start of the pack */
    uint32_t frame_len, raw_len; /* header included; plaintext */
    enum frame_type type;
    enum frame_codec codec;
};

void pack_name(char out[PACK_NAME_LEN], const struct pack_id *id);
/* False if `name` is not the name of a pack. */
bool pack_name_parse(struct pack_id *id, const char *name);

struct pack_writer;
/* Start a pack under a new random id. Borrows `blob`. Fails as blob_create(). */
PITR_MUST enum pitr_rc pack_writer_new(struct pack_writer **out, struct blob *blob,
                                       struct pitr_err *err);
void pack_writer_free(struct pack_writer *w); /* aborts unless finished */
void pack_writer_freep(struct pack_writer **w);
/* Append the sealed frame in frame[0..len). Fails as blob_write(); FULL beyond PACK_FRAMES_MAX. A
 * writer that failed can only be freed. */
PITR_MUST enum pitr_rc pack_writer_add(struct pack_writer *w, const uint8_t *frame, size_t len,
                                       struct pitr_err *err);
uint64_t pack_writer_size(const struct pack_writer *w); /* bytes so far */
const struct pack_id *pack_writer_id(const struct pack_writer *w);
/* Borrowed until the next call for this writer. */
const struct pack_entry *pack_writer_entries(const struct pack_writer *w, size_t *count);
/* Write table and trailer, and publish: durable on success. `sealer` seals the table. Entries, id
 * and size (then that of the whole object) can still be asked for afterwards. */
PITR_MUST enum pitr_rc pack_writer_finish(struct pack_writer *w, struct sealer *sealer,
                                          struct pitr_err *err);

struct pack_reader;
/*
 * Open pack `name`: checks header, trailer and table, and that the listed frames tile the pack
 * exactly, but reads no frame. Nothing is borrowed. Fails: NOTFOUND, CORRUPT, IO, NOMEM.
 */
PITR_MUST enum pitr_rc pack_reader_open(struct pack_reader **out, struct blob *blob,
                                        const char *name, struct opener *opener,
                                        struct pitr_err *err);
void pack_reader_free(struct pack_reader *r);
void pack_reader_freep(struct pack_reader **r);
const struct pack_entry *pack_reader_entries(const struct pack_reader *r, size_t *count);

/*
 * Walk a pack forward without trusting its end: for packs whose tail is lost. `visit` gets every
 * frame whose tag fits, and its whole bytes; frames that are damaged but have a sound header are
 * counted and passed over. The walk ends at the table of contents (*complete is true), or where no
 * header can be read. What `visit` returns stops the walk if it is not OK. Fails: CORRUPT (the
 * pack's own header), NOTFOUND, IO, NOMEM.
 */
typedef enum pitr_rc pack_visit(void *arg, const struct pack_entry *entry, const uint8_t *frame,
                                struct pitr_err *err);
struct pack_scan_result {
    uint64_t frames;  /* visited */
    uint64_t damaged; /* passed over */
    uint64_t end;     /* where the walk ended */
    bool complete;
};
PITR_MUST enum pitr_rc pack_scan(struct blob *blob, const char *name, pack_visit *visit, void *arg,
                                 struct pack_scan_result *result, struct pitr_err *err);

#endif
