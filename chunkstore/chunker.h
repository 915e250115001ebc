/*
 * chunker.h - where to cut a stream of documents into chunks. Pure: no I/O, no allocation.
 *
 * Cuts fall at document boundaries and depend on content only, never on read sizes: after each
 * document the chunker is told its length and its content hash, and answers whether the chunk
 * ends there. The chance of a cut after a document is proportional to its length, so the average
 * chunk is about `target` bytes whatever the documents' sizes. As in FastCDC (Xia et al., USENIX
 * ATC 2016) the chance is lower before the target and higher after it, which narrows the
 * distribution; below `min` no cut is made, and a chunk never grows beyond `max` as long as its
 * documents are smaller. An insertion or deletion moves only the boundaries next to it: a cut
 * decision depends on one document and on how far the chunk has grown, and after a few cuts the
 * boundaries are the old ones again.
 *
 * A document longer than `max` becomes a chunk run of its own, split inside by a gear hash over
 * its bytes (chunker_split).
 *
 * The repository's cut key goes into every decision, so that chunk sizes do not reveal known
 * content.
 */
#ifndef PITR_CHUNKSTORE_CHUNKER_H
#define PITR_CHUNKSTORE_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chunker_params {
    size_t min, target, max; /* bytes; min < target < max */
};

/* Largest allowed max; keeps the arithmetic within 64 bits and a chunk within a frame. */
#define CHUNKER_MAX_LIMIT ((size_t)64 << 20)

/* 64 KiB on average: docs/decisions says why. With other targets keep min a quarter and max four
 * times the target: the mean is the target only for this shape. */
#define CHUNKER_DEFAULTS                                                                           \
    ((struct chunker_params){.min = 16 << 10, .target = 64 << 10, .max = 256 << 10})

struct chunker {
    struct chunker_params params;
    uint64_t key;
    size_t fill; /* bytes in the current chunk */
};

enum chunker_cut {
    CUT_NONE,   /* the document belongs to the current chunk, which goes on */
    CUT_AFTER,  /* the document belongs to the current chunk, which ends after it */
    CUT_BEFORE, /* the current chunk ends before the document; ask again for it with the new chunk
                 */
    CUT_ALONE,  /* (only on an empty chunk) longer than max: store it by itself, split by
                   chunker_split */
};

void chunker_init(struct chunker *c, const struct chunker_params *params, uint64_t key);

/* Decide about the next document: its length and the low 64 bits of its XXH3-128 hash. Every cut
 * starts a new chunk; after CUT_ALONE the chunker is where it was. */
enum chunker_cut chunker_next(struct chunker *c, size_t doc_len, uint64_t doc_hash);

/* Length of the first piece of data[0..len), at most `max`, cut by content; `len` when the rest is
 * one piece. The pieces of a document never depend on anything outside it. */
size_t chunker_split(const struct chunker_params *params, uint64_t key, const uint8_t *data,
                     size_t len);

#endif
