#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "chunkstore/pack.h"
#include "tests/support/blob_mem.h"

static const struct repo_keys keys = {.id_key = {1, 2, 3}};

/* A pack in memory and what it takes to read it. */
struct fixture {
    struct blob *blob;
    struct sealer *sealer;
    struct opener *opener;
    char name[PACK_NAME_LEN];
    struct buf *bytes; /* the pack's, in `blob` */
};

static void
fixture_release(struct fixture *f)
{
    sealer_free(f->sealer);
    opener_free(f->opener);
    blob_free(f->blob);
}

static void
nth_text(char text[96], size_t i)
{
    snprintf(text, 96, "chunk number %zu, chunk number %zu, chunk", i, i);
}

static struct fixture
pack_of(size_t frames)
{
    PITR_AUTO(pack_writer_freep) struct pack_writer *w = NULL;
    PITR_AUTO(buf_release) struct buf frame = {0};
    struct fixture f = {0};
    struct pitr_err err;
    uint64_t size;

    assert_int_equal(blob_mem_new(&f.blob, &err), PITR_OK);
    assert_int_equal(sealer_new(&f.sealer, &keys, CODEC_ZSTD, 0, &err), PITR_OK);
    assert_int_equal(opener_new(&f.opener, &keys, &err), PITR_OK);
    assert_int_equal(pack_writer_new(&w, f.blob, &err), PITR_OK);
    for (size_t i = 0; i < frames; i++) {
        struct chunk_id id;
        char text[96];

        nth_text(text, i);
        buf_clear(&frame);
        assert_int_equal(
            sealer_seal_whole(f.sealer, FRAME_DATA, text, strlen(text), &id, &frame, &err),
            PITR_OK);
        assert_int_equal(pack_writer_add(w, frame.data, frame.len, &err), PITR_OK);
    }
    pack_name(f.name, pack_writer_id(w));
    assert_int_equal(blob_size(f.blob, f.name, &size, &err), PITR_NOTFOUND);
    assert_int_equal(pack_writer_finish(w, f.sealer, &err), PITR_OK);
    f.bytes = blob_mem_object(f.blob, f.name);
    assert_non_null(f.bytes);
    assert_int_equal(pack_writer_size(w), f.bytes->len);
    return f;
}

static enum pitr_rc
open_pack(const struct fixture *f, struct pitr_err *err)
{
    PITR_AUTO(pack_reader_freep) struct pack_reader *r = NULL;

    return pack_reader_open(&r, f->blob, f->name, f->opener, err);
}

static void
assert_corrupt(const struct fixture *f, const char *why)
{
    struct pitr_err err = {0};

    assert_int_equal(open_pack(f, &err), PITR_CORRUPT);
    if (strstr(err.msg, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.msg, why);
    assert_non_null(strstr(err.msg, f->name));
}

static void
a_pack_lists_its_frames_and_they_open(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 7, 300};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        PITR_AUTO(fixture_release) struct fixture f = pack_of(sizes[s]);
        PITR_AUTO(pack_reader_freep) struct pack_reader *r = NULL;
        PITR_AUTO(buf_release) struct buf out = {0};
        const struct pack_entry *e;
        struct pitr_err err;
        size_t count, used;

        assert_int_equal(pack_reader_open(&r, f.blob, f.name, f.opener, &err), PITR_OK);
        e = pack_reader_entries(r, &count);
        assert_int_equal(count, sizes[s]);
        for (size_t i = 0; i < count; i++) {
            struct frame_head head;
            char text[96];

            nth_text(text, i);
            assert_int_equal(opener_open(f.opener, e[i].type, f.bytes->data + e[i].offset,
                                         e[i].frame_len, &head, &out, &used, &err),
                             PITR_OK);
            assert_int_equal(used, e[i].frame_len);
            assert_int_equal(out.len, strlen(text));
            assert_int_equal(e[i].raw_len, out.len);
            assert_int_equal(e[i].codec, head.codec);
            assert_memory_equal(out.data, text, out.len);
            assert_memory_equal(e[i].id.b, head.id.b, CHUNK_ID_LEN);
        }
    }
}

static void
an_aborted_pack_is_never_visible(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(1);
    PITR_AUTO(buf_release) struct buf frame = {0};
    struct pack_writer *w = NULL;
    struct chunk_id id;
    struct pitr_err err;
    char name[PACK_NAME_LEN];

    (void)state;
    assert_int_equal(pack_writer_new(&w, f.blob, &err), PITR_OK);
    assert_int_equal(sealer_seal_whole(f.sealer, FRAME_DATA, "x", 1, &id, &frame, &err), PITR_OK);
    assert_int_equal(pack_writer_add(w, frame.data, frame.len, &err), PITR_OK);
    pack_name(name, pack_writer_id(w));
    pack_writer_free(w);
    assert_null(blob_mem_object(f.blob, name));
}

static void
names_of_packs_parse_back_and_others_do_not(void **state)
{
    const struct pack_id id = {{0xab, 0xcd, 1}};
    struct pack_id back;
    char name[PACK_NAME_LEN];

    (void)state;
    pack_name(name, &id);
    assert_string_equal(name, "packs/ab/abcd0100000000000000000000000000.pack");
    assert_true(pack_name_parse(&back, name));
    assert_memory_equal(back.b, id.b, PACK_ID_LEN);
    assert_false(pack_name_parse(&back, "packs/ac/abcd0100000000000000000000000000.pack"));
    assert_false(pack_name_parse(&back, "packs/ab/ABcd0100000000000000000000000000.pack"));
    assert_false(pack_name_parse(&back, "packs/ab/abcd0100000000000000000000000000.pac_"));
    assert_false(pack_name_parse(&back, "packs/ab/abcd01000000000000000000000000.pack"));
    assert_false(pack_name_parse(&back, ""));
}

/* Header, table and trailer: everything but the frames, which prove themselves. */
static void
every_flipped_bit_outside_the_frames_is_corrupt(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(3);
    size_t toc = (size_t)get_le64(f.bytes->data + f.bytes->len - PACK_TRAILER_LEN);
    struct pitr_err err;

    (void)state;
    for (size_t at = 0; at < f.bytes->len; at = at + 1 == PACK_HEAD_LEN ? toc : at + 1)
        for (int bit = 0; bit < 8; bit++) {
            f.bytes->data[at] ^= (uint8_t)(1 << bit);
            if (open_pack(&f, &err) != PITR_CORRUPT)
                fail_msg("bit %d of byte %zu was not noticed", bit, at);
            f.bytes->data[at] ^= (uint8_t)(1 << bit);
        }
    assert_int_equal(open_pack(&f, &err), PITR_OK);
}

static void
every_truncation_and_any_extension_is_corrupt(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(3);
    size_t whole = f.bytes->len;
    struct pitr_err err;

    (void)state;
    for (f.bytes->len = 0; f.bytes->len < whole; f.bytes->len++)
        assert_int_equal(open_pack(&f, &err), PITR_CORRUPT);
    assert_int_equal(buf_append_u8(f.bytes, 0, &err), PITR_OK);
    assert_corrupt(&f, "no trailer at the end");
}

static void
an_empty_pack_says_how_short_it_is(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(1);

    (void)state;
    f.bytes->len = 5;
    assert_corrupt(&f, "only 5 bytes");
}

static void
a_newer_version_says_so(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(1);

    (void)state;
    f.bytes->data[7] = '2';
    assert_corrupt(&f, "unknown version of the pack format");
}

static void
a_pack_under_another_name_is_corrupt(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(1);
    struct pack_id id = {{7}};
    struct pitr_err err;

    (void)state;
    pack_name(f.name, &id);
    assert_int_equal(blob_put(f.blob, f.name, f.bytes->data, f.bytes->len, false, &err), PITR_OK);
    assert_corrupt(&f, "another pack's id");
}

static void
a_missing_pack_is_notfound(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(1);
    struct pitr_err err;

    (void)state;
    assert_int_equal(blob_remove(f.blob, f.name, &err), PITR_OK);
    assert_int_equal(open_pack(&f, &err), PITR_NOTFOUND);
}

/* Put a table and trailer of our own choice, with right checksums, behind the frames. */
static void
replace_toc(struct fixture *f, const uint8_t *toc, size_t len, uint32_t count)
{
    PITR_AUTO(buf_release) struct buf frame = {0};
    size_t at = (size_t)get_le64(f->bytes->data + f->bytes->len - PACK_TRAILER_LEN);
    uint8_t trailer[PACK_TRAILER_LEN], both[32];
    struct chunk_id id;
    struct pitr_err err;

    assert_int_equal(sealer_seal_whole(f->sealer, FRAME_TOC, toc, len, &id, &frame, &err), PITR_OK);
    put_le64(trailer, at);
    put_le32(trailer + 8, (uint32_t)frame.len);
    put_le32(trailer + 12, count);
    memcpy(both, trailer, 16);
    memcpy(both + 16, f->bytes->data + 8, 16);
    put_le64(trailer + 16, XXH64(both, sizeof both, 0));
    memcpy(trailer + 24, "PITRPKZ1", 8);
    f->bytes->len = at;
    assert_int_equal(buf_append(f->bytes, frame.data, frame.len, &err), PITR_OK);
    assert_int_equal(buf_append(f->bytes, trailer, sizeof trailer, &err), PITR_OK);
}

static void
tables_that_do_not_tile_the_pack_are_corrupt(void **state)
{
    static const struct {
        size_t at; /* byte of the table to change */
        uint8_t value;
        const char *why;
    } lies[] = {
        {32, 25, "entry 0 is not valid"},       /* offset */
        {40 + 3, 0x7f, "entry 0 is not valid"}, /* frame_len beyond the limit */
        {40, 1, "is not valid"},                /* frame_len below a header */
        {44 + 3, 0x7f, "entry 0 is not valid"}, /* raw_len */
        {48, 0, "entry 0 is not valid"},        /* type */
        {48, FRAME_TOC, "entry 0 is not valid"},
        {49, 9, "entry 0 is not valid"}, /* codec */
        {50, 1, "entry 0 is not valid"}, /* reserved */
        {52 + 32, 0, "entry 1 is not valid"},
        {52 + 40, 200, "its frames end at"},
    };
    struct pitr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        PITR_AUTO(fixture_release) struct fixture f = pack_of(2);
        PITR_AUTO(buf_release) struct buf toc = {0};
        size_t at = (size_t)get_le64(f.bytes->data + f.bytes->len - PACK_TRAILER_LEN), used;

        assert_int_equal(opener_open(f.opener, FRAME_TOC, f.bytes->data + at, f.bytes->len - at,
                                     NULL, &toc, &used, &err),
                         PITR_OK);
        assert_int_equal(toc.len, 2 * PACK_TOC_ENTRY_LEN);
        replace_toc(&f, toc.data, toc.len, 2);
        assert_int_equal(open_pack(&f, &err), PITR_OK);
        toc.data[lies[i].at] = lies[i].value;
        replace_toc(&f, toc.data, toc.len, 2);
        assert_corrupt(&f, lies[i].why);
    }
}

static void
a_table_of_another_length_than_the_trailer_says_is_corrupt(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(2);
    static const uint8_t toc[3 * PACK_TOC_ENTRY_LEN];

    (void)state;
    replace_toc(&f, toc, sizeof toc, 2);
    assert_corrupt(&f, "156 bytes for 2 frames");
    replace_toc(&f, toc, 0, 0);
    assert_corrupt(&f, "its frames end at 24, not ");
    replace_toc(&f, toc, sizeof toc, UINT32_MAX);
    assert_corrupt(&f, "table of 4294967295 frames");
}

static enum pitr_rc
count_visit(void *arg, const struct pack_entry *entry, const uint8_t *frame, struct pitr_err *err)
{
    (void)err;
    assert_memory_equal(frame, "PFR1", 4);
    assert_true(entry->frame_len > FRAME_HEAD_LEN);
    ++*(size_t *)arg;
    return PITR_OK;
}

static struct pack_scan_result
scan(const struct fixture *f)
{
    struct pack_scan_result result;
    struct pitr_err err;
    size_t visited = 0;

    assert_int_equal(pack_scan(f->blob, f->name, count_visit, &visited, &result, &err), PITR_OK);
    assert_int_equal(result.frames, visited);
    return result;
}

static void
a_forward_scan_meets_every_frame_of_a_whole_pack(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(20);
    struct pack_scan_result result = scan(&f);

    (void)state;
    assert_true(result.complete);
    assert_int_equal(result.frames, 20);
    assert_int_equal(result.damaged, 0);
    assert_int_equal(result.end, get_le64(f.bytes->data + f.bytes->len - PACK_TRAILER_LEN));
}

static void
a_forward_scan_of_a_pack_without_tail_finds_the_whole_frames(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(5);
    size_t whole = f.bytes->len;
    uint64_t last = 0;

    (void)state;
    for (f.bytes->len = PACK_HEAD_LEN; f.bytes->len < whole; f.bytes->len++) {
        struct pack_scan_result result = scan(&f);

        assert_true(result.frames >= last && result.frames <= 5);
        assert_true(result.end <= f.bytes->len);
        last = result.frames;
    }
    assert_int_equal(last, 5);
}

static void
a_forward_scan_passes_over_a_damaged_frame(void **state)
{
    PITR_AUTO(fixture_release) struct fixture f = pack_of(5);
    PITR_AUTO(pack_reader_freep) struct pack_reader *r = NULL;
    const struct pack_entry *e;
    struct pack_scan_result result;
    struct pitr_err err;
    size_t count;

    (void)state;
    assert_int_equal(pack_reader_open(&r, f.blob, f.name, f.opener, &err), PITR_OK);
    e = pack_reader_entries(r, &count);
    f.bytes->data[e[2].offset + FRAME_HEAD_LEN + 3] ^= 1;
    result = scan(&f);
    assert_true(result.complete);
    assert_int_equal(result.frames, 4);
    assert_int_equal(result.damaged, 1);
    f.bytes->data[e[2].offset] ^= 1; /* no header, no way on */
    result = scan(&f);
    assert_false(result.complete);
    assert_int_equal(result.frames, 2);
    assert_int_equal(result.end, e[2].offset);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pack_lists_its_frames_and_they_open),
        cmocka_unit_test(an_aborted_pack_is_never_visible),
        cmocka_unit_test(names_of_packs_parse_back_and_others_do_not),
        cmocka_unit_test(every_flipped_bit_outside_the_frames_is_corrupt),
        cmocka_unit_test(every_truncation_and_any_extension_is_corrupt),
        cmocka_unit_test(an_empty_pack_says_how_short_it_is),
        cmocka_unit_test(a_newer_version_says_so),
        cmocka_unit_test(a_pack_under_another_name_is_corrupt),
        cmocka_unit_test(a_missing_pack_is_notfound),
        cmocka_unit_test(tables_that_do_not_tile_the_pack_are_corrupt),
        cmocka_unit_test(a_table_of_another_length_than_the_trailer_says_is_corrupt),
        cmocka_unit_test(a_forward_scan_meets_every_frame_of_a_whole_pack),
        cmocka_unit_test(a_forward_scan_of_a_pack_without_tail_finds_the_whole_frames),
        cmocka_unit_test(a_forward_scan_passes_over_a_damaged_frame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
