#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/crypto.h"
#include "chunkstore/codec.h"

static const struct repo_keys keys = {.id_key = {1, 2, 3}};
static const enum frame_codec all_codecs[] = {CODEC_NONE, CODEC_LZ4, CODEC_ZSTD, CODEC_ZLIB};
enum { CODECS = sizeof all_codecs / sizeof *all_codecs };

static struct sealer *
sealer_of(enum frame_codec codec)
{
    struct sealer *s = NULL;
    struct pitr_err err;

    assert_int_equal(sealer_new(&s, &keys, codec, 0, &err), PITR_OK);
    return s;
}

static struct opener *
an_opener(void)
{
    struct opener *o = NULL;
    struct pitr_err err;

    assert_int_equal(opener_new(&o, &keys, &err), PITR_OK);
    return o;
}

/* `len` bytes of which every sixteenth is a surprise. */
static void
make_text(struct buf *out, size_t len)
{
    struct pitr_err err;
    uint32_t x = 2463534242;

    assert_int_equal(buf_reserve(out, len, &err), PITR_OK);
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        out->data[i] = (uint8_t)(i % 16 == 0 ? x : 'a' + i % 16);
    }
    out->len = len;
}

static void
seal_text(struct buf *frame, struct buf *plain, enum frame_codec codec, size_t len)
{
    PITR_AUTO(sealer_freep) struct sealer *s = sealer_of(codec);
    struct chunk_id id;
    struct pitr_err err;

    make_text(plain, len);
    assert_int_equal(sealer_seal_whole(s, FRAME_DATA, plain->data, plain->len, &id, frame, &err),
                     PITR_OK);
}

/* Put the right tag on a frame that was changed by hand. */
static void
retag(struct buf *frame)
{
    PITR_AUTO(buf_release) struct buf covered = {0};
    XXH128_canonical_t tag;
    struct pitr_err err;

    assert_int_equal(buf_append(&covered, frame->data, 72, &err), PITR_OK);
    assert_int_equal(buf_append(&covered, frame->data + 88, frame->len - 88, &err), PITR_OK);
    XXH128_canonicalFromHash(&tag, XXH3_128bits(covered.data, covered.len));
    memcpy(frame->data + 72, tag.digest, 16);
}

static void
assert_corrupt(const struct buf *frame, const char *why)
{
    PITR_AUTO(opener_freep) struct opener *o = an_opener();
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;
    size_t used;

    assert_int_equal(opener_open(o, FRAME_DATA, frame->data, frame->len, NULL, &out, &used, &err),
                     PITR_CORRUPT);
    if (strstr(err.msg, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.msg, why);
    assert_int_equal(out.len, 0);
}

static void
what_was_sealed_opens_with_every_codec_and_size(void **state)
{
    static const size_t sizes[] = {0,    1,    2,     11,    100,    1000,
                                   4095, 4096, 65536, 65537, 300000, 16 << 20};
    PITR_AUTO(opener_freep) struct opener *o = an_opener();

    (void)state;
    for (size_t c = 0; c < CODECS; c++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            PITR_AUTO(buf_release) struct buf plain = {0}, frame = {0}, out = {0};
            struct frame_head head;
            struct pitr_err err;
            size_t used = 0;

            seal_text(&frame, &plain, all_codecs[c], sizes[i]);
            assert_int_equal(
                opener_open(o, FRAME_DATA, frame.data, frame.len, &head, &out, &used, &err),
                PITR_OK);
            assert_int_equal(used, frame.len);
            assert_int_equal(out.len, plain.len);
            if (plain.len > 0)
                assert_memory_equal(out.data, plain.data, plain.len);
            assert_int_equal(head.raw_len, sizes[i]);
            assert_int_equal(frame_check(frame.data, frame.len, &head, &err), PITR_OK);
            if (sizes[i] >= 4096) {
                assert_int_equal(head.codec, all_codecs[c]);
                if (head.codec != CODEC_NONE)
                    assert_true(frame.len < plain.len * 3 / 4);
            }
        }
}

static void
the_id_is_the_keyed_hash_of_the_plaintext_whatever_the_codec(void **state)
{
    PITR_AUTO(hmac_freep) struct hmac *h = NULL;
    PITR_AUTO(buf_release) struct buf plain = {0};
    uint8_t want[SHA256_LEN];
    struct pitr_err err;

    (void)state;
    make_text(&plain, 5000);
    assert_int_equal(hmac_new(&h, keys.id_key, sizeof keys.id_key, &err), PITR_OK);
    assert_int_equal(hmac_sum(h, plain.data, plain.len, want, &err), PITR_OK);
    for (size_t c = 0; c < CODECS; c++) {
        PITR_AUTO(buf_release) struct buf frame = {0}, again = {0};
        struct frame_head head;

        seal_text(&frame, &again, all_codecs[c], 5000);
        assert_int_equal(frame_head_parse(&head, frame.data, frame.len, &err), PITR_OK);
        assert_memory_equal(head.id.b, want, sizeof want);
        assert_memory_equal(frame.data + 16, want, sizeof want);
    }
}

/* RFC 4231, test case 2. */
static void
hmac_matches_its_published_vector(void **state)
{
    PITR_AUTO(hmac_freep) struct hmac *h = NULL;
    uint8_t sum[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];
    struct pitr_err err;

    (void)state;
    assert_int_equal(hmac_new(&h, (const uint8_t *)"Jefe", 4, &err), PITR_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hmac_sum(h, "what do ya want for nothing?", 28, sum, &err), PITR_OK);
        hex_encode(hex, sum, sizeof sum);
        assert_string_equal(hex,
                            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}

static void
bytes_that_do_not_shrink_are_stored_as_they_are(void **state)
{
    uint8_t noise[1000];
    struct pitr_err err;

    (void)state;
    assert_int_equal(crypto_random(noise, sizeof noise, &err), PITR_OK);
    for (size_t c = 0; c < CODECS; c++) {
        PITR_AUTO(sealer_freep) struct sealer *s = sealer_of(all_codecs[c]);
        PITR_AUTO(buf_release) struct buf frame = {0};
        struct frame_head head;
        struct chunk_id id;

        assert_int_equal(sealer_seal_whole(s, FRAME_DATA, noise, sizeof noise, &id, &frame, &err),
                         PITR_OK);
        assert_int_equal(frame_head_parse(&head, frame.data, frame.len, &err), PITR_OK);
        assert_int_equal(head.codec, CODEC_NONE);
        assert_memory_equal(frame.data + FRAME_HEAD_LEN, noise, sizeof noise);
    }
}

static void
frames_are_appended_and_open_one_by_one(void **state)
{
    PITR_AUTO(sealer_freep) struct sealer *s = sealer_of(CODEC_ZSTD);
    PITR_AUTO(opener_freep) struct opener *o = an_opener();
    PITR_AUTO(buf_release) struct buf frames = {0}, out = {0};
    struct chunk_id id;
    struct pitr_err err;
    size_t at = 0, used = 0;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(
            sealer_seal_whole(s, FRAME_ENTRIES, "entry 0\0entry 1" + i, 8, &id, &frames, &err),
            PITR_OK);
    for (int i = 0; i < 5; i++, at += used) {
        assert_int_equal(opener_open(o, FRAME_ENTRIES, frames.data + at, frames.len - at, NULL,
                                     &out, &used, &err),
                         PITR_OK);
        assert_int_equal(out.len, 8);
        assert_memory_equal(out.data, "entry 0\0entry 1" + i, 8);
    }
    assert_int_equal(at, frames.len);
}

static void
every_flipped_bit_is_corrupt(void **state)
{
    PITR_AUTO(opener_freep) struct opener *o = an_opener();

    (void)state;
    for (size_t c = 0; c < CODECS; c++) {
        PITR_AUTO(buf_release) struct buf plain = {0}, frame = {0}, out = {0};
        struct pitr_err err;
        size_t used;

        seal_text(&frame, &plain, all_codecs[c], 150);
        for (size_t bit = 0; bit < 8 * frame.len; bit++) {
            frame.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(
                opener_open(o, FRAME_DATA, frame.data, frame.len, NULL, &out, &used, &err),
                PITR_CORRUPT);
            frame.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void
every_truncation_is_corrupt(void **state)
{
    PITR_AUTO(opener_freep) struct opener *o = an_opener();
    PITR_AUTO(buf_release) struct buf plain = {0}, frame = {0}, out = {0};
    struct pitr_err err;
    size_t used;

    (void)state;
    seal_text(&frame, &plain, CODEC_ZSTD, 1000);
    for (size_t len = 0; len < frame.len; len++)
        assert_int_equal(opener_open(o, FRAME_DATA, frame.data, len, NULL, &out, &used, &err),
                         PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "cut short"));
}

static void
another_type_than_asked_for_is_corrupt(void **state)
{
    PITR_AUTO(opener_freep) struct opener *o = an_opener();
    PITR_AUTO(buf_release) struct buf plain = {0}, frame = {0}, out = {0};
    struct pitr_err err;
    size_t used;

    (void)state;
    seal_text(&frame, &plain, CODEC_ZSTD, 100);
    assert_int_equal(opener_open(o, FRAME_LIST, frame.data, frame.len, NULL, &out, &used, &err),
                     PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "type 1 where type 3 belongs"));
}

static void
another_repository_key_does_not_open_it(void **state)
{
    const struct repo_keys other = {.id_key = {9}};
    PITR_AUTO(opener_freep) struct opener *o = NULL;
    PITR_AUTO(buf_release) struct buf plain = {0}, frame = {0}, out = {0};
    struct pitr_err err;
    size_t used;

    (void)state;
    seal_text(&frame, &plain, CODEC_ZSTD, 100);
    assert_int_equal(opener_new(&o, &other, &err), PITR_OK);
    assert_int_equal(opener_open(o, FRAME_DATA, frame.data, frame.len, NULL, &out, &used, &err),
                     PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "does not have the id it claims"));
    assert_int_equal(out.len, 0);
}

/* The fields of the header, changed under a tag that fits. */
static void
headers_that_lie_are_corrupt_and_say_how(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        const char *why;
    } lies[] = {
        {0, 'X', "bad magic"},
        {3, '2', "version 0x32; needs a newer pitr"},
        {4, 0, "unknown type 0"},
        {4, 13, "unknown type 13"},
        {5, 4, "unknown codec 4"},
        {6, 1, "encrypted; needs a newer pitr"},
        {6, 2, "unknown cipher 2"},
        {7, 1, "unknown flags 0x01"},
        {11, 0xff, "beyond the limit"},
        {13, 0xff, "stored length"},
        {48, 1, "a session without cipher"},
        {64, 1, "a session without cipher"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        PITR_AUTO(buf_release) struct buf plain = {0}, frame = {0};

        seal_text(&frame, &plain, CODEC_ZSTD, 1000);
        frame.data[lies[i].at] = lies[i].value;
        retag(&frame);
        assert_corrupt(&frame, lies[i].why);
    }
}

/* A stream that decodes to more than the header says must not write beyond the buffer. */
static void
a_stream_of_another_length_than_the_header_says_is_corrupt(void **state)
{
    (void)state;
    for (size_t c = 1; c < CODECS; c++)
        for (int delta = -1; delta <= 1; delta += 2) {
            PITR_AUTO(buf_release) struct buf plain = {0}, frame = {0};

            seal_text(&frame, &plain, all_codecs[c], 1000);
            put_le32(frame.data + 8, (uint32_t)(1000 + delta));
            retag(&frame);
            assert_corrupt(&frame, "no ");
        }
}

static void
a_stream_with_bytes_after_its_end_is_corrupt(void **state)
{
    (void)state;
    for (size_t c = 1; c < CODECS; c++) {
        PITR_AUTO(buf_release) struct buf plain = {0}, frame = {0};
        struct pitr_err err;

        seal_text(&frame, &plain, all_codecs[c], 1000);
        assert_int_equal(buf_append(&frame, "junk", 4, &err), PITR_OK);
        put_le32(frame.data + 12, (uint32_t)(frame.len - FRAME_HEAD_LEN));
        retag(&frame);
        assert_corrupt(&frame, "stream of 1000 bytes");
    }
}

static void
too_long_a_plaintext_is_usage(void **state)
{
    PITR_AUTO(sealer_freep) struct sealer *s = sealer_of(CODEC_NONE);
    PITR_AUTO(buf_release) struct buf frame = {0};
    const struct chunk_id id = {0};
    struct pitr_err err;

    (void)state;
    assert_int_equal(sealer_seal(s, FRAME_DATA, &id, "", (size_t)FRAME_RAW_MAX + 1, &frame, &err),
                     PITR_USAGE);
    assert_non_null(strstr(err.msg, "more than the limit"));
    assert_int_equal(frame.len, 0);
}

static void
levels_are_checked(void **state)
{
    PITR_AUTO(sealer_freep) struct sealer *s = NULL;
    struct pitr_err err;

    (void)state;
    assert_int_equal(sealer_new(&s, &keys, CODEC_ZLIB, 10, &err), PITR_USAGE);
    assert_non_null(strstr(err.msg, "codec zlib has no level 10"));
    assert_int_equal(sealer_new(&s, &keys, CODEC_ZSTD, 23, &err), PITR_USAGE);
    assert_int_equal(sealer_new(&s, &keys, CODEC_LZ4, -1, &err), PITR_USAGE);
    assert_int_equal(sealer_new(&s, &keys, CODEC_ZSTD, -5, &err), PITR_OK);
}

static void
codec_names_parse_back(void **state)
{
    enum frame_codec codec;
    struct pitr_err err;

    (void)state;
    for (size_t c = 0; c < CODECS; c++) {
        assert_int_equal(codec_parse(&codec, codec_name(all_codecs[c]), &err), PITR_OK);
        assert_int_equal(codec, all_codecs[c]);
    }
    assert_int_equal(codec_parse(&codec, "gzip", &err), PITR_USAGE);
    assert_non_null(strstr(err.msg, "choose zstd, lz4, zlib or none"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_opens_with_every_codec_and_size),
        cmocka_unit_test(the_id_is_the_keyed_hash_of_the_plaintext_whatever_the_codec),
        cmocka_unit_test(hmac_matches_its_published_vector),
        cmocka_unit_test(bytes_that_do_not_shrink_are_stored_as_they_are),
        cmocka_unit_test(frames_are_appended_and_open_one_by_one),
        cmocka_unit_test(every_flipped_bit_is_corrupt),
        cmocka_unit_test(every_truncation_is_corrupt),
        cmocka_unit_test(another_type_than_asked_for_is_corrupt),
        cmocka_unit_test(another_repository_key_does_not_open_it),
        cmocka_unit_test(headers_that_lie_are_corrupt_and_say_how),
        cmocka_unit_test(a_stream_of_another_length_than_the_header_says_is_corrupt),
        cmocka_unit_test(a_stream_with_bytes_after_its_end_is_corrupt),
        cmocka_unit_test(too_long_a_plaintext_is_usage),
        cmocka_unit_test(levels_are_checked),
        cmocka_unit_test(codec_names_parse_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
