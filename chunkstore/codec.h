/*
 * codec.h - frames: seal and open one run of bytes (compress, then encrypt).
 *
 * Everything pitr stores is a sequence of frames: chunks in packs, oplog entries in segments,
 * manifests, the repository's description. A frame describes itself (docs/format.md, "Frame"), so
 * a file whose tail is lost can still be read forward. The tag covers header and stored bytes: a
 * bare XXH3-128 against accidents where cipher is none, the AEAD tag where it is not. After
 * opening, the plaintext is checked against the id, which is keyed.
 *
 * A sealer and an opener belong to one thread.
 */
#ifndef PITR_CHUNKSTORE_CODEC_H
#define PITR_CHUNKSTORE_CODEC_H

#include "base/buf.h"
#include "chunkstore/chunk_id.h"

/* What a frame holds. A reader refuses a frame of another type than it asked for. */
enum frame_type {
    FRAME_DATA = 1,     /* whole BSON documents of one collection */
    FRAME_PART = 2,     /* one piece of a document longer than the maximum chunk */
    FRAME_LIST = 3,     /* part of a run's list of chunks */
    FRAME_NODE = 4,     /* BSON: a collection or database node of a snapshot */
    FRAME_MANIFEST = 5, /* BSON: root of a snapshot */
    FRAME_REPO = 6,     /* BSON: description of the repository */
    FRAME_TOC = 7,      /* table of contents of a pack */
    FRAME_SEGMENT = 8,  /* BSON: head of an oplog segment */
    FRAME_ENTRIES = 9,  /* whole oplog entries, in order */
    FRAME_SEGEND = 10,  /* BSON: foot of an oplog segment */
    FRAME_GAP = 11,     /* BSON: gap record */
    FRAME_NOTE = 12,    /* BSON: small state files (intents, last results, markers) */
};

enum frame_codec { CODEC_NONE = 0, CODEC_LZ4 = 1, CODEC_ZSTD = 2, CODEC_ZLIB = 3 };
enum frame_cipher { CIPHER_NONE = 0, CIPHER_AES256_GCM = 1 };

enum { FRAME_HEAD_LEN = 88, FRAME_TAG_LEN = 16, FRAME_SESSION_LEN = 16 };
/* A frame's plaintext: the largest BSON document plus the server's envelope for oplog entries fits
 * many times; anything longer is corrupt. */
#define FRAME_RAW_MAX ((uint32_t)64 << 20)

struct frame_head {
    enum frame_type type;
    enum frame_codec codec;
    enum frame_cipher cipher;
    uint32_t raw_len, stored_len; /* bytes before compression, and after this header */
    struct chunk_id id;
    uint8_t session[FRAME_SESSION_LEN]; /* names the writer's subkey; zero without cipher */
    uint64_t counter;                   /* nonce under that subkey; zero without cipher */
    uint8_t tag[FRAME_TAG_LEN];
};

/* Parse and check the header at data[0..len). Fails: CORRUPT (also for an unknown version, type,
 * codec, cipher or a length beyond the limits; the message says which). Does not look at the stored
 * bytes. */
PITR_MUST enum pitr_rc frame_head_parse(struct frame_head *head, const uint8_t *data, size_t len,
                                        struct pitr_err *err);

/* Check the tag of a whole frame (header and stored bytes in data[0..len)) without decoding. Fails:
 * CORRUPT. */
PITR_MUST enum pitr_rc frame_check(const uint8_t *data, size_t len, const struct frame_head *head,
                                   struct pitr_err *err);

struct sealer;
/* `level` is the codec's own; 0 takes the default of pitr (zstd 1, lz4 fast, zlib 6). Borrows
 * nothing: keys are copied. Fails: NOMEM, USAGE (no such level), INTERNAL. */
PITR_MUST enum pitr_rc sealer_new(struct sealer **out, const struct repo_keys *keys,
                                  enum frame_codec codec, int level, struct pitr_err *err);
void sealer_free(struct sealer *s);
void sealer_freep(struct sealer **s);
PITR_MUST enum pitr_rc sealer_id(struct sealer *s, const void *data, size_t len,
                                 struct chunk_id *id, struct pitr_err *err);
/*
 * Append the frame of data[0..len), whose id the caller got from sealer_id(), to `out`. Bytes that
 * compression would not shrink are stored with CODEC_NONE. The frame is decoded once and compared
 * before the call returns, so a frame that was sealed can be opened. Fails: NOMEM, USAGE (too
 * long), INTERNAL.
 */
PITR_MUST enum pitr_rc sealer_seal(struct sealer *s, enum frame_type type,
                                   const struct chunk_id *id, const void *data, size_t len,
                                   struct buf *out, struct pitr_err *err);
/* sealer_id() and sealer_seal() in one. */
PITR_MUST enum pitr_rc sealer_seal_whole(struct sealer *s, enum frame_type type, const void *data,
                                         size_t len, struct chunk_id *id, struct buf *out,
                                         struct pitr_err *err);

struct opener;
PITR_MUST enum pitr_rc opener_new(struct opener **out, const struct repo_keys *keys,
                                  struct pitr_err *err);
void opener_free(struct opener *o);
void opener_freep(struct opener **o);
/*
 * Open the frame at data[0..len): check header, type and tag, decode, check the id. The plaintext
 * replaces the content of `out`; *used is the frame's whole length (more frames may follow in
 * data). `head` may be NULL. Fails: CORRUPT, NOMEM.
 */
PITR_MUST enum pitr_rc opener_open(struct opener *o, enum frame_type want, const uint8_t *data,
                                   size_t len, struct frame_head *head, struct buf *out,
                                   size_t *used, struct pitr_err *err);

/* "zstd", "lz4", "zlib", "none". codec_parse fails: USAGE, naming the choices. */
const char *codec_name(enum frame_codec codec);
PITR_MUST enum pitr_rc codec_parse(enum frame_codec *out, const char *name, struct pitr_err *err);

#endif
