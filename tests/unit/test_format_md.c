#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/fs.h"
#include "chunkstore/pack.h"
#include "tests/support/blob_mem.h"

/* The examples of docs/format.md are read from the page itself. */
static const uint8_t document[] = {0x0c, 0, 0, 0, 0x10, 'a', 0, 1, 0, 0, 0, 0};

static struct repo_keys
example_keys(void)
{
    struct repo_keys keys = {0};

    for (unsigned i = 0; i < ID_KEY_LEN; i++)
        keys.id_key[i] = (uint8_t)i;
    return keys;
}

/* The bytes of the block that starts with "```hexdump <name>". */
static struct buf
hexdump(const char *name)
{
    PITR_AUTO(buf_release) struct buf page = {0};
    struct buf bytes = {0};
    struct pitr_err err;
    char fence[64];
    const char *at;

    assert_int_equal(fs_read_file(&page, PITR_SOURCE_DIR "/docs/format.md", 1 << 20, &err),
                     PITR_OK);
    assert_int_equal(buf_append_u8(&page, 0, &err), PITR_OK);
    snprintf(fence, sizeof fence, "\n```hexdump %s\n", name);
    at = strstr((const char *)page.data, fence);
    if (at == NULL)
        fail_msg("docs/format.md has no hexdump \"%s\"", name);
    at += strlen(fence);
    while (strncmp(at, "```", 3) != 0) {
        size_t line = strcspn(at, "\n");
        char *rest;

        assert_int_equal(strtoul(at, &rest, 16), bytes.len);
        while (rest < at + line) {
            unsigned long byte = strtoul(rest, &rest, 16);

            assert_in_range(byte, 0, 255);
            assert_int_equal(buf_append_u8(&bytes, (uint8_t)byte, &err), PITR_OK);
        }
        assert_ptr_equal(rest, at + line);
        at += line + 1;
    }
    return bytes;
}

static void
the_example_frame_opens(void **state)
{
    const struct repo_keys keys = example_keys();
    PITR_AUTO(buf_release) struct buf frame = hexdump("frame");
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(opener_freep) struct opener *o = NULL;
    struct frame_head head;
    struct pitr_err err = {0};
    size_t used = 0;

    (void)state;
    assert_int_equal(opener_new(&o, &keys, &err), PITR_OK);
    if (opener_open(o, FRAME_DATA, frame.data, frame.len, &head, &out, &used, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(used, frame.len);
    assert_int_equal(head.codec, CODEC_NONE);
    assert_int_equal(out.len, sizeof document);
    assert_memory_equal(out.data, document, sizeof document);
}

static void
sealing_the_example_gives_the_same_bytes(void **state)
{
    const struct repo_keys keys = example_keys();
    PITR_AUTO(buf_release) struct buf want = hexdump("frame");
    PITR_AUTO(buf_release) struct buf got = {0};
    PITR_AUTO(sealer_freep) struct sealer *s = NULL;
    struct chunk_id id;
    struct pitr_err err;

    (void)state;
    assert_int_equal(sealer_new(&s, &keys, CODEC_NONE, 0, &err), PITR_OK);
    assert_int_equal(sealer_seal_whole(s, FRAME_DATA, document, sizeof document, &id, &got, &err),
                     PITR_OK);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, want.len);
}

static void
the_example_pack_opens_and_holds_the_example_frame(void **state)
{
    const struct repo_keys keys = example_keys();
    PITR_AUTO(buf_release) struct buf bytes = hexdump("pack");
    PITR_AUTO(buf_release) struct buf frame = hexdump("frame");
    PITR_AUTO(blob_freep) struct blob *blob = NULL;
    PITR_AUTO(opener_freep) struct opener *o = NULL;
    PITR_AUTO(pack_reader_freep) struct pack_reader *r = NULL;
    const struct pack_entry *entries;
    struct pack_id id;
    char name[PACK_NAME_LEN];
    struct pitr_err err = {0};
    size_t count = 0;

    (void)state;
    assert_true(bytes.len > PACK_HEAD_LEN);
    memcpy(id.b, bytes.data + 8, PACK_ID_LEN);
    pack_name(name, &id);
    assert_int_equal(blob_mem_new(&blob, &err), PITR_OK);
    assert_int_equal(blob_put(blob, name, bytes.data, bytes.len, false, &err), PITR_OK);
    assert_int_equal(opener_new(&o, &keys, &err), PITR_OK);
    if (pack_reader_open(&r, blob, name, o, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    entries = pack_reader_entries(r, &count);
    assert_int_equal(count, 1);
    assert_int_equal(entries[0].offset, PACK_HEAD_LEN);
    assert_int_equal(entries[0].frame_len, frame.len);
    assert_memory_equal(bytes.data + entries[0].offset, frame.data, frame.len);
}

static void
the_example_stamp_has_its_fields_and_checksum(void **state)
{
    PITR_AUTO(buf_release) struct buf stamp = hexdump("stamp");

    (void)state;
    assert_int_equal(stamp.len, 32);
    assert_memory_equal(stamp.data, "PITRIX01", 8);
    assert_int_equal(get_le64(stamp.data + 8), 32768);
    assert_true(get_le64(stamp.data + 16) == UINT64_C(0x0123456789abcdef));
    assert_true(get_le64(stamp.data + 24) == XXH64(stamp.data, 24, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_frame_opens),
        cmocka_unit_test(sealing_the_example_gives_the_same_bytes),
        cmocka_unit_test(the_example_pack_opens_and_holds_the_example_frame),
        cmocka_unit_test(the_example_stamp_has_its_fields_and_checksum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
