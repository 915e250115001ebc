/* The examples of docs/format.md, "Oplog segment" and "Gap record", are what the readers read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fs.h"
#include "oplog/gap.h"
#include "tests/support/blob_mem.h"

#ifndef PITR_SOURCE_DIR
#define PITR_SOURCE_DIR "."
#endif

#define SEGMENT "oplog/00000001/0000000000000000-6b04b2b000000001-6b04b2ba00000001.seg"
#define GAP "oplog/00000001/6b04b2ba00000001-6b04c0c000000001.gap"

struct fixture {
    struct blob *blob;
    struct repo_keys keys;
    struct pitr_err err;
};

/* Bytes of the block "```hexdump NAME": lines of an offset and up to 16 bytes. */
static void
read_example(struct buf *out, const char *name)
{
    PITR_AUTO(buf_release) struct buf text = {0};
    struct pitr_err err;
    char fence[64];
    char *at, *end;

    if (fs_read_file(&text, PITR_SOURCE_DIR "/docs/format.md", 1 << 20, &err) != PITR_OK ||
        buf_append_u8(&text, 0, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    snprintf(fence, sizeof fence, "```hexdump %s\n", name);
    at = strstr((char *)text.data, fence);
    if (at == NULL) {
        fail_msg("no example called %s", name);
        return;
    }
    for (at += strlen(fence); strncmp(at, "```", 3) != 0; at = end + 1) {
        const char *p = at + 8;
        uint8_t byte;

        end = strchr(at, '\n');
        if (end == NULL) {
            fail_msg("the example called %s has no end", name);
            return;
        }
        *end = '\0';
        assert_int_equal(strtoul(at, NULL, 16), out->len);
        for (; *p == ' '; p += 2) {
            char digits[3];

            p += strspn(p, " ");
            snprintf(digits, sizeof digits, "%s", p);
            assert_true(hex_decode(&byte, 1, digits));
            assert_int_equal(buf_append_u8(out, byte, &err), PITR_OK);
        }
    }
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    uint8_t i;

    if (f == NULL || blob_mem_new(&f->blob, &f->err) != PITR_OK)
        return -1;
    for (i = 0; i < ID_KEY_LEN; i++)
        f->keys.id_key[i] = i;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    blob_free(f->blob);
    free(f);
    return 0;
}

static void
put_example(struct fixture *f, const char *example, const char *name)
{
    PITR_AUTO(buf_release) struct buf bytes = {0};

    read_example(&bytes, example);
    if (blob_put(f->blob, name, bytes.data, bytes.len, false, &f->err) != PITR_OK)
        fail_msg("%s", f->err.msg);
}

static void
the_segment_of_the_page_is_valid(void **state)
{
    struct fixture *f = *state;
    PITR_AUTO(segment_reader_freep) struct segment_reader *r = NULL;
    struct segment_info info;
    const uint8_t *data;
    size_t len, entries = 0;

    put_example(f, "segment", SEGMENT);
    if (segment_reader_open(&r, f->blob, &f->keys, SEGMENT, &info, &f->err) != PITR_OK)
        fail_msg("%s", f->err.msg);
    for (;; entries++) {
        if (segment_reader_next(r, &data, &len, &f->err) != PITR_OK)
            fail_msg("%s", f->err.msg);
        if (data == NULL)
            break;
    }
    assert_int_equal(entries, 2);
    assert_int_equal(info.entries, 2);
    assert_int_equal(info.operations, 1);
    assert_int_equal(info.last.ts, ts_make(1795470010, 1));
}

static void
the_gap_record_of_the_page_is_valid(void **state)
{
    struct fixture *f = *state;
    struct gap gap;

    put_example(f, "gap", GAP);
    if (gap_read(&gap, f->blob, &f->keys, GAP, &f->err) != PITR_OK)
        fail_msg("%s", f->err.msg);
    assert_int_equal(gap.timeline, 1);
    assert_int_equal(gap.before.ts, ts_make(1795473600, 1));
    assert_string_equal(gap.reason, "the oplog rolled over: entries after 1795470010,1 and before "
                                    "1795473600,1 were lost");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_segment_of_the_page_is_valid, setup, teardown),
        cmocka_unit_test_setup_teardown(the_gap_record_of_the_page_is_valid, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
