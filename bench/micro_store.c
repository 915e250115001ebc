/*
 * micro_store - from documents to a pack, on one thread: fingerprint, cut, id, seal, append.
 *
 * The data is a sample of shop.h in memory; TMPDIR says where the packs go (a memory file system
 * keeps the disk out of the measurement). "cut" is everything before the id, "id" adds the keyed
 * hash, "lz4" and "zstd" are the whole way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fingerprint.h"
#include "bench/bench.h"
#include "bench/shop.h"
#include "chunkstore/chunker.h"
#include "chunkstore/pack.h"

enum { ROUNDS = 5, SAMPLE_BYTES = 96 << 20, SAMPLE_PART = 24 << 20 };

enum depth { CUT_ONLY, WITH_ID, WHOLE };

struct bench {
    struct buf sample; /* documents end to end */
    struct blob *blob;
    struct repo_keys keys;
    struct sealer *sealer;
    struct pack_writer *pack;
    struct buf frame;
    enum depth depth;
};

static void
sample_make(struct buf *out)
{
    struct shop_words *words = malloc(sizeof *words);
    struct shop_maker *m = malloc(sizeof *m);
    struct pitr_err err;
    bson_oid_t id;

    if (words == NULL || m == NULL)
        bench_die("out of memory");
    shop_words_make(words, 1);
    for (size_t k = 0; k < SHOP_KINDS; k++) {
        m->words = words;
        m->state = k;
        for (uint64_t n = 0; out->len < (k + 1) * SAMPLE_PART; n++) {
            bson_t doc = BSON_INITIALIZER;

            put_le64(id.bytes, n / 1000);
            put_le32(id.bytes + 8, (uint32_t)n);
            BSON_APPEND_OID(&doc, "_id", &id);
            shop_kind(k)->make(m, &doc, n);
            bench_must(buf_append(out, bson_get_data(&doc), doc.len, &err), &err);
            bson_destroy(&doc);
        }
    }
    free(m);
    free(words);
}

static void
chunk_end(struct bench *b, const uint8_t *data, size_t len)
{
    struct chunk_id id;
    struct pitr_err err;

    if (b->depth == CUT_ONLY)
        return;
    bench_must(sealer_id(b->sealer, data, len, &id, &err), &err);
    if (b->depth == WITH_ID)
        return;
    buf_clear(&b->frame);
    bench_must(sealer_seal(b->sealer, FRAME_DATA, &id, data, len, &b->frame, &err), &err);
    bench_must(pack_writer_add(b->pack, b->frame.data, b->frame.len, &err), &err);
}

static void
run_once(struct bench *b)
{
    struct chunker chunker;
    struct fingerprint print = {0};
    size_t start = 0, at = 0;
    struct pitr_err err;

    chunker_init(&chunker, &CHUNKER_DEFAULTS, b->keys.cut_key);
    if (b->depth == WHOLE)
        bench_must(pack_writer_new(&b->pack, b->blob, &err), &err);
    while (at < b->sample.len) {
        const uint8_t *doc = b->sample.data + at;
        size_t len = get_le32(doc);
        uint64_t hash = fingerprint_add(&print, doc, len);
        enum chunker_cut cut = chunker_next(&chunker, len, hash);

        if (cut == CUT_BEFORE) {
            chunk_end(b, b->sample.data + start, at - start);
            start = at;
            cut = chunker_next(&chunker, len, hash);
        }
        at += len;
        if (cut == CUT_AFTER) {
            chunk_end(b, b->sample.data + start, at - start);
            start = at;
        }
    }
    if (at > start)
        chunk_end(b, b->sample.data + start, at - start);
    if (b->depth == WHOLE)
        bench_must(pack_writer_finish(b->pack, b->sealer, &err), &err);
}

static void
measure(struct bench *b, const char *name, enum depth depth, enum frame_codec codec)
{
    double seconds[ROUNDS];
    struct pitr_err err;

    b->depth = depth;
    bench_must(sealer_new(&b->sealer, &b->keys, codec, 0, &err), &err);
    for (int i = 0; i < ROUNDS; i++) {
        double start = bench_now();

        run_once(b);
        seconds[i] = bench_now() - start;
        pack_writer_freep(&b->pack);
    }
    sealer_freep(&b->sealer);
    bench_print(name, "bytes", (double)b->sample.len, seconds, ROUNDS);
}

int
main(void)
{
    struct bench b = {.keys.cut_key = 1};
    char *folder = bench_folder();
    struct pitr_err err;

    sample_make(&b.sample);
    bench_must(blob_fs_new(&b.blob, folder, &err), &err);
    measure(&b, "store-cut", CUT_ONLY, CODEC_NONE);
    measure(&b, "store-id", WITH_ID, CODEC_NONE);
    measure(&b, "store-lz4", WHOLE, CODEC_LZ4);
    measure(&b, "store-zstd", WHOLE, CODEC_ZSTD);
    blob_free(b.blob);
    buf_release(&b.sample);
    buf_release(&b.frame);
    bench_folder_remove(folder);
    return 0;
}
