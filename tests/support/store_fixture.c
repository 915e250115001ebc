#include "tests/support/store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/fs.h"
#include "tests/support/blob_mem.h"
#include "tests/support/tmpdir.h"

static const struct repo_keys keys = {.id_key = {1, 2, 3}};

int
store_fixture_setup(void **state)
{
    struct store_fixture *f = calloc(1, sizeof *f);
    void *dir = NULL;
    struct pitr_err err;

    *state = f;
    if (f == NULL || tmpdir_setup(&dir) != 0)
        return -1;
    f->dir = dir;
    return blob_mem_new(&f->blob, &err) == PITR_OK ? 0 : -1;
}

int
store_fixture_teardown(void **state)
{
    struct store_fixture *f = *state;
    void *dir = f->dir;

    blob_free(f->blob);
    free(f);
    return tmpdir_teardown(&dir);
}

struct store_opts
store_fixture_opts(const struct store_fixture *f, bool read_only)
{
    return (struct store_opts){.blob = f->blob,
                               .index_dir = f->dir,
                               .keys = &keys,
                               .read_only = read_only,
                               .pack_target = 64 << 10};
}

struct store *
store_fixture_open(const struct store_fixture *f, bool read_only)
{
    struct store_opts opts = store_fixture_opts(f, read_only);
    struct store *s = NULL;
    struct pitr_err err = {0};

    if (store_open(&s, &opts, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    return s;
}

void
store_fixture_chunk(uint8_t data[STORE_CHUNK_LEN], unsigned i)
{
    uint64_t x = i * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (size_t at = 0; at + 8 <= STORE_CHUNK_LEN; at += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        put_le64(data + at, x);
    }
}

struct sealer *
store_fixture_sealer(void)
{
    struct sealer *s = NULL;
    struct pitr_err err;

    assert_int_equal(sealer_new(&s, &keys, CODEC_ZSTD, 0, &err), PITR_OK);
    return s;
}

struct chunk_id
store_fixture_id(unsigned i)
{
    PITR_AUTO(sealer_freep) struct sealer *s = store_fixture_sealer();
    uint8_t data[STORE_CHUNK_LEN];
    struct chunk_id id;
    struct pitr_err err;

    store_fixture_chunk(data, i);
    assert_int_equal(sealer_id(s, data, sizeof data, &id, &err), PITR_OK);
    return id;
}

void
store_fixture_put(struct store_writer *w, struct sealer *sealer, unsigned i)
{
    uint8_t data[STORE_CHUNK_LEN];
    struct chunk_id id;
    struct pitr_err err = {0};

    store_fixture_chunk(data, i);
    if (store_put(w, sealer, FRAME_DATA, data, sizeof data, &id, NULL, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

struct store_stats
store_fixture_put_run(struct store *s, unsigned from, unsigned to)
{
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = store_fixture_sealer();
    struct store_stats stats;
    struct pitr_err err = {0};

    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    for (unsigned i = from; i < to; i++)
        store_fixture_put(w, sealer, i);
    if (store_writer_finish(w, &stats, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    return stats;
}

enum pitr_rc
store_fixture_get(struct store *s, unsigned i, struct pitr_err *err)
{
    PITR_AUTO(store_reader_freep) struct store_reader *r = NULL;
    PITR_AUTO(buf_release) struct buf out = {0};
    struct chunk_id id = store_fixture_id(i);
    uint8_t want[STORE_CHUNK_LEN];

    assert_int_equal(store_reader_new(&r, s, err), PITR_OK);
    if (store_get(r, FRAME_DATA, &id, &out, err) != PITR_OK)
        return err->rc;
    store_fixture_chunk(want, i);
    assert_int_equal(out.len, sizeof want);
    assert_memory_equal(out.data, want, sizeof want);
    return PITR_OK;
}

void
store_fixture_assert_readable(struct store *s, unsigned from, unsigned to)
{
    struct pitr_err err = {0};

    for (unsigned i = from; i < to; i++)
        if (store_fixture_get(s, i, &err) != PITR_OK)
            fail_msg("%s", err.msg);
}

static enum pitr_rc
first_pack_name(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    char *out = arg;

    (void)size;
    (void)err;
    if (*out == '\0')
        snprintf(out, PACK_NAME_LEN, "%s", name);
    return PITR_OK;
}

void
store_fixture_first_pack(const struct store_fixture *f, char name[PACK_NAME_LEN])
{
    struct pitr_err err;

    *name = '\0';
    assert_int_equal(blob_list(f->blob, PACK_FOLDER, first_pack_name, name, &err), PITR_OK);
    assert_int_not_equal(*name, '\0');
}

static void
note_report(void *arg, const char *what)
{
    struct store_reports *r = arg;

    r->calls++;
    snprintf(r->last, sizeof r->last, "%s", what);
}

uint64_t
store_fixture_verify(struct store *s, bool deep, struct store_reports *r, uint64_t *frames)
{
    uint64_t bytes, bad = 0;
    struct pitr_err err;

    *r = (struct store_reports){0};
    assert_int_equal(store_verify(s, deep, note_report, r, frames, &bytes, &bad, &err), PITR_OK);
    assert_int_equal(r->calls, bad);
    return bad;
}

void
store_fixture_use_files(struct store_fixture *f)
{
    PITR_AUTO(str_freep) char *root = tmpdir_path(f->dir, "repo");
    PITR_AUTO(str_freep) char *index = tmpdir_path(f->dir, "index");
    struct pitr_err err;

    assert_int_equal(fs_mkdir(root, &err), PITR_OK);
    assert_int_equal(blob_fs_new(&f->blob, root, &err), PITR_OK);
    f->dir = index;
    index = NULL;
}

void
store_fixture_release_files(struct store_fixture *f)
{
    blob_free(f->blob);
    free(f->dir);
}
