#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fs.h"
#include "chunkstore/pack.h"
#include "chunkstore/store.h"
#include "tests/support/blob_faulty.h"
#include "tests/support/blob_mem.h"
#include "tests/support/tmpdir.h"

static const struct repo_keys keys = {.id_key = {1, 2, 3}};
enum { CHUNK_LEN = 3000 };

/* Packs in memory, the index in a folder of the test's own. */
struct fixture {
    char *dir;
    struct blob *blob;
};

static int
set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    void *dir = NULL;
    struct pitr_err err;

    if (f == NULL || tmpdir_setup(&dir) != 0 || blob_mem_new(&f->blob, &err) != PITR_OK)
        return -1;
    f->dir = dir;
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;
    void *dir = f->dir;

    blob_free(f->blob);
    free(f);
    return tmpdir_teardown(&dir);
}

static struct store_opts
opts_of(const struct fixture *f, bool read_only)
{
    return (struct store_opts){.blob = f->blob,
                               .index_dir = f->dir,
                               .keys = &keys,
                               .read_only = read_only,
                               .pack_target = 64 << 10};
}

static struct store *
open_store(const struct fixture *f, bool read_only)
{
    struct store_opts opts = opts_of(f, read_only);
    struct store *s = NULL;
    struct pitr_err err = {0};

    if (store_open(&s, &opts, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    return s;
}

/* Chunk i: unlike every other, and hard to compress. */
static void
nth_chunk(uint8_t data[CHUNK_LEN], unsigned i)
{
    uint64_t x = i * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (size_t at = 0; at + 8 <= CHUNK_LEN; at += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        put_le64(data + at, x);
    }
}

static struct chunk_id
put(struct store_writer *w, struct sealer *sealer, unsigned i)
{
    uint8_t data[CHUNK_LEN];
    struct chunk_id id;
    struct pitr_err err = {0};

    nth_chunk(data, i);
    if (store_put(w, sealer, FRAME_DATA, data, sizeof data, &id, NULL, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    return id;
}

static struct sealer *
a_sealer(void)
{
    struct sealer *s = NULL;
    struct pitr_err err;

    assert_int_equal(sealer_new(&s, &keys, CODEC_ZSTD, 0, &err), PITR_OK);
    return s;
}

static struct chunk_id
nth_id(unsigned i)
{
    PITR_AUTO(sealer_freep) struct sealer *s = a_sealer();
    uint8_t data[CHUNK_LEN];
    struct chunk_id id;
    struct pitr_err err;

    nth_chunk(data, i);
    assert_int_equal(sealer_id(s, data, sizeof data, &id, &err), PITR_OK);
    return id;
}

/* Store chunks [from, to) in one run. */
static struct store_stats
put_run(struct store *s, unsigned from, unsigned to)
{
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = a_sealer();
    struct store_stats stats;
    struct pitr_err err = {0};

    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    for (unsigned i = from; i < to; i++)
        put(w, sealer, i);
    if (store_writer_finish(w, &stats, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    return stats;
}

static enum pitr_rc
get(struct store *s, unsigned i, struct pitr_err *err)
{
    PITR_AUTO(store_reader_freep) struct store_reader *r = NULL;
    PITR_AUTO(buf_release) struct buf out = {0};
    struct chunk_id id = nth_id(i);
    uint8_t want[CHUNK_LEN];

    assert_int_equal(store_reader_new(&r, s, err), PITR_OK);
    if (store_get(r, FRAME_DATA, &id, &out, err) != PITR_OK)
        return err->rc;
    nth_chunk(want, i);
    assert_int_equal(out.len, sizeof want);
    assert_memory_equal(out.data, want, sizeof want);
    return PITR_OK;
}

static void
assert_readable(struct store *s, unsigned from, unsigned to)
{
    struct pitr_err err = {0};

    for (unsigned i = from; i < to; i++)
        if (get(s, i, &err) != PITR_OK)
            fail_msg("%s", err.msg);
}

static void
what_was_put_can_be_read_in_this_run_and_the_next(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    struct store_stats stats = put_run(s, 0, 100);

    assert_int_equal(stats.chunks, 100);
    assert_int_equal(stats.chunks_new, 100);
    assert_int_equal(stats.bytes_raw, 100 * CHUNK_LEN);
    assert_int_equal(stats.bytes_new, 100 * CHUNK_LEN);
    assert_true(stats.bytes_stored > 90 * CHUNK_LEN);
    assert_true(stats.packs >= 4);
    assert_readable(s, 0, 100);
    store_freep(&s);
    s = open_store(f, true);
    assert_readable(s, 0, 100);
}

static void
the_same_bytes_are_stored_once(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = a_sealer();
    uint8_t data[CHUNK_LEN];
    struct chunk_id first, second;
    struct store_stats stats;
    uint32_t stored;
    struct pitr_err err;

    nth_chunk(data, 0);
    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    assert_int_equal(store_put(w, sealer, FRAME_DATA, data, sizeof data, &first, &stored, &err),
                     PITR_OK);
    assert_true(stored > FRAME_HEAD_LEN);
    assert_int_equal(store_put(w, sealer, FRAME_DATA, data, sizeof data, &second, &stored, &err),
                     PITR_OK);
    assert_int_equal(stored, 0);
    assert_memory_equal(first.b, second.b, CHUNK_ID_LEN);
    assert_int_equal(store_writer_finish(w, &stats, &err), PITR_OK);
    assert_int_equal(stats.chunks, 2);
    assert_int_equal(stats.chunks_new, 1);
    store_freep(&s);
    s = open_store(f, false);
    stats = put_run(s, 0, 10);
    assert_int_equal(stats.chunks_new, 9);
    stats = put_run(s, 0, 10);
    assert_int_equal(stats.chunks_new, 0);
    assert_int_equal(stats.packs, 0);
}

static void
the_same_bytes_of_two_types_can_both_be_read(void **state)
{
    PITR_AUTO(store_freep) struct store *s = open_store(*state, false);
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    PITR_AUTO(store_reader_freep) struct store_reader *r = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = a_sealer();
    PITR_AUTO(buf_release) struct buf out = {0};
    struct chunk_id id;
    struct pitr_err err;

    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    assert_int_equal(store_put(w, sealer, FRAME_DATA, "bytes", 5, &id, NULL, &err), PITR_OK);
    assert_int_equal(store_put(w, sealer, FRAME_NODE, "bytes", 5, &id, NULL, &err), PITR_OK);
    assert_int_equal(store_writer_finish(w, NULL, &err), PITR_OK);
    assert_int_equal(store_reader_new(&r, s, &err), PITR_OK);
    assert_int_equal(store_get(r, FRAME_DATA, &id, &out, &err), PITR_OK);
    assert_int_equal(store_get(r, FRAME_NODE, &id, &out, &err), PITR_OK);
    assert_int_equal(store_get(r, FRAME_LIST, &id, &out, &err), PITR_CORRUPT);
}

static void
an_unfinished_run_leaves_nothing_that_harms(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    struct store_writer *w = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = a_sealer();
    struct pitr_err err;

    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    put(w, sealer, 0);
    store_writer_free(w);
    assert_int_equal(get(s, 0, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "no pack holds it"));
    put_run(s, 0, 1);
    assert_readable(s, 0, 1);
}

static void
a_second_writer_is_busy(void **state)
{
    const struct fixture *f = *state;
    struct store_opts opts = opts_of(f, false);
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    struct store *other = NULL;
    struct pitr_err err;

    assert_int_equal(store_open(&other, &opts, &err), PITR_BUSY);
    assert_non_null(strstr(err.msg, "locked by process"));
}

static void
a_store_for_reading_does_not_write(void **state)
{
    PITR_AUTO(store_freep) struct store *s = open_store(*state, true);
    struct store_writer *w = NULL;
    struct pitr_err err;

    assert_int_equal(store_writer_new(&w, s, &err), PITR_USAGE);
    assert_null(w);
}

static void
run(const char *format, const char *dir)
{
    char *command = NULL;

    /* The formats are this file's own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    assert_true(asprintf(&command, format, dir) > 0);
#pragma GCC diagnostic pop
    assert_int_equal(system(command), 0);
    free(command);
}

/* Ways to lose the index, as shell commands. */
static const char *const losses[] = {
    "rm -r '%s'/*",
    "rm -r '%s'/g-*",
    "rm '%s'/current",
    "rm '%s'/g-*/stamp",
    "rm '%s'/g-*/data.mdb",
    "for f in '%s'/g-*/data.mdb; do : > $f; done",
    "for f in '%s'/g-*/data.mdb; do truncate -s 5000 $f; done",
    "for f in '%s'/g-*/data.mdb; do truncate -s 12288 $f; done",
    "for f in '%s'/g-*/data.mdb; do printf x | dd of=$f bs=1 seek=9000 conv=notrunc status=none; "
    "done",
    "for f in '%s'/g-*/data.mdb; do head -c 40000 /dev/urandom > $f; done",
    "for f in '%s'/*; do test -f $f && head -c 100 /dev/urandom > $f; done; true",
};

static void
any_loss_of_the_index_is_repaired_for_writers(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);

    put_run(s, 0, 60);
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        struct store_stats stats;

        store_freep(&s);
        run(losses[i], f->dir);
        s = open_store(f, false);
        stats = put_run(s, 0, 61 + (unsigned)i);
        assert_int_equal(stats.chunks_new, 1);
        assert_readable(s, 0, 61 + (unsigned)i);
    }
}

static void
any_loss_of_the_index_is_repaired_for_readers(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);

    put_run(s, 0, 60);
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        PITR_AUTO(str_freep) char *current = tmpdir_path(f->dir, "current");
        struct pitr_err err;
        bool there = false;

        store_freep(&s);
        run(losses[i], f->dir);
        s = open_store(f, true);
        assert_readable(s, 0, 60);
        assert_int_equal(fs_exists(&there, current, &err), PITR_OK);
        assert_true(there); /* made where the next one finds it */
    }
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

static void
first_pack(const struct fixture *f, char name[PACK_NAME_LEN])
{
    struct pitr_err err;

    *name = '\0';
    assert_int_equal(blob_list(f->blob, PACK_FOLDER, first_pack_name, name, &err), PITR_OK);
    assert_int_not_equal(*name, '\0');
}

static void
a_writer_does_not_believe_an_index_of_packs_that_are_gone(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    char name[PACK_NAME_LEN];
    struct store_stats stats;
    struct pitr_err err;

    put_run(s, 0, 60);
    store_freep(&s);
    first_pack(f, name);
    assert_int_equal(blob_remove(f->blob, name, &err), PITR_OK);
    s = open_store(f, false);
    stats = put_run(s, 0, 60);
    assert_true(stats.chunks_new > 0 && stats.chunks_new < 60);
    assert_readable(s, 0, 60);
}

static void
packs_that_were_copied_in_are_used(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    PITR_AUTO(buf_release) struct buf copy = {0};
    char name[PACK_NAME_LEN];
    struct store_stats stats;
    struct pitr_err err;

    put_run(s, 0, 10);
    store_freep(&s);
    first_pack(f, name);
    assert_int_equal(blob_get(f->blob, name, 1 << 26, &copy, &err), PITR_OK);
    assert_int_equal(blob_remove(f->blob, name, &err), PITR_OK);
    s = open_store(f, false);
    put_run(s, 100, 101);
    store_freep(&s);
    assert_int_equal(blob_put(f->blob, name, copy.data, copy.len, false, &err), PITR_OK);
    s = open_store(f, false);
    stats = put_run(s, 0, 10);
    assert_int_equal(stats.chunks_new, 0);
}

/* The first chunk's frame, and whatever else is wrong with its pack. */
static void
a_damaged_frame_is_corrupt_and_the_others_can_be_read(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    PITR_AUTO(store_reader_freep) struct store_reader *r = NULL;
    struct chunk_id id = nth_id(0);
    char name[PACK_NAME_LEN];
    struct pitr_err err;

    put_run(s, 0, 20); /* one pack */
    first_pack(f, name);
    blob_mem_object(f->blob, name)->data[PACK_HEAD_LEN + FRAME_HEAD_LEN + 50] ^= 1;
    assert_int_equal(get(s, 0, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "the tag does not fit"));
    assert_non_null(strstr(err.msg, name));
    assert_readable(s, 1, 20);
    assert_int_equal(store_reader_new(&r, s, &err), PITR_OK);
    assert_int_equal(store_check(r, &id, false, &err), PITR_OK);
    assert_int_equal(store_check(r, &id, true, &err), PITR_CORRUPT);
    id = nth_id(1);
    assert_int_equal(store_check(r, &id, true, &err), PITR_OK);
    id = nth_id(1000);
    assert_int_equal(store_check(r, &id, false, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "no pack holds it"));
}

static void
chunks_of_a_pack_without_tail_can_be_read(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    char name[PACK_NAME_LEN];

    put_run(s, 0, 20);
    store_freep(&s);
    first_pack(f, name);
    blob_mem_object(f->blob, name)->len -= 40;
    s = open_store(f, false);
    assert_readable(s, 0, 20);
    store_freep(&s);
    s = open_store(f, false); /* known now, if damaged: no rebuild each time */
    assert_readable(s, 0, 20);
}

static void
a_missing_pack_is_corrupt_for_shallow_checks_too(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    PITR_AUTO(store_reader_freep) struct store_reader *r = NULL;
    struct chunk_id id = nth_id(0);
    char name[PACK_NAME_LEN];
    struct pitr_err err;

    put_run(s, 0, 20);
    first_pack(f, name);
    assert_int_equal(blob_remove(f->blob, name, &err), PITR_OK);
    assert_int_equal(store_reader_new(&r, s, &err), PITR_OK);
    assert_int_equal(store_check(r, &id, false, &err), PITR_CORRUPT);
    assert_int_equal(get(s, 0, &err), PITR_CORRUPT);
}

/* Readers that opened the index before it knew of a pack find it after a rebuild of their own. */
static void
a_reader_finds_what_its_index_does_not_know(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    PITR_AUTO(buf_release) struct buf copy = {0};
    char name[PACK_NAME_LEN];
    struct pitr_err err;

    put_run(s, 0, 20);
    store_freep(&s);
    first_pack(f, name);
    assert_int_equal(blob_get(f->blob, name, 1 << 26, &copy, &err), PITR_OK);
    assert_int_equal(blob_remove(f->blob, name, &err), PITR_OK);
    s = open_store(f, false);
    store_freep(&s);
    s = open_store(f, true);
    assert_int_equal(blob_put(f->blob, name, copy.data, copy.len, false, &err), PITR_OK);
    assert_readable(s, 0, 20);
}

struct reports {
    unsigned calls;
    char last[1200];
};

static void
note_report(void *arg, const char *what)
{
    struct reports *r = arg;

    r->calls++;
    snprintf(r->last, sizeof r->last, "%s", what);
}

static uint64_t
verified_bad(struct store *s, bool deep, struct reports *r, uint64_t *frames)
{
    uint64_t bytes, bad = 0;
    struct pitr_err err;

    *r = (struct reports){0};
    assert_int_equal(store_verify(s, deep, note_report, r, frames, &bytes, &bad, &err), PITR_OK);
    assert_int_equal(r->calls, bad);
    return bad;
}

static void
verify_counts_every_frame_and_names_the_damaged_ones(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    char name[PACK_NAME_LEN];
    struct reports r;
    struct buf *pack;
    uint64_t frames;

    put_run(s, 0, 20);
    first_pack(f, name);
    pack = blob_mem_object(f->blob, name);
    for (int deep = 0; deep < 2; deep++) {
        assert_int_equal(verified_bad(s, deep, &r, &frames), 0);
        assert_int_equal(frames, 20);
        pack->data[PACK_HEAD_LEN + FRAME_HEAD_LEN + 50] ^= 1;
        assert_int_equal(verified_bad(s, deep, &r, &frames), 1);
        assert_int_equal(frames, 19);
        assert_non_null(strstr(r.last, name));
        assert_non_null(strstr(r.last, "at 24: "));
        pack->data[PACK_HEAD_LEN + FRAME_HEAD_LEN + 50] ^= 1;
        pack->len -= 10;
        assert_int_equal(verified_bad(s, deep, &r, &frames), 1);
        assert_int_equal(frames, 20);
        assert_non_null(strstr(r.last, "read forward: 20 frames, 0 damaged"));
        pack->len += 10;
    }
}

static void
usage_counts_packs_and_chunks(void **state)
{
    PITR_AUTO(store_freep) struct store *s = open_store(*state, false);
    struct store_stats stats = put_run(s, 0, 100);
    struct store_usage usage;
    struct pitr_err err;
    uint64_t packs, chunks;

    assert_int_equal(store_usage(s, &usage, &err), PITR_OK);
    assert_int_equal(usage.packs, stats.packs);
    assert_int_equal(usage.chunks, 100);
    assert_true(usage.pack_bytes > stats.bytes_stored);
    assert_int_equal(store_rebuild_index(s, &packs, &chunks, &err), PITR_OK);
    assert_int_equal(packs, stats.packs);
    assert_int_equal(chunks, 100);
    assert_readable(s, 0, 100);
}

struct crowd {
    struct store_writer *writer;
    unsigned first;
    unsigned failures, aborted;
};

static void *
put_many(void *arg)
{
    struct crowd *c = arg;
    struct sealer *sealer = a_sealer();
    struct chunk_id id;
    uint8_t data[CHUNK_LEN];
    struct pitr_err err;

    for (unsigned i = 0; i < 300; i++) {
        nth_chunk(data, c->first + i);
        if (store_put(c->writer, sealer, FRAME_DATA, data, sizeof data, &id, NULL, &err) == PITR_OK)
            continue;
        if (err.rc == PITR_ABORTED)
            c->aborted++;
        else
            c->failures++;
    }
    sealer_free(sealer);
    return NULL;
}

enum { THREADS = 4 };

/* Four threads whose chunks overlap by two thirds. */
static void
put_in_parallel(struct store_writer *w, struct crowd crowds[THREADS])
{
    pthread_t threads[THREADS];

    for (unsigned t = 0; t < THREADS; t++) {
        crowds[t] = (struct crowd){.writer = w, .first = 100 * t};
        assert_int_equal(pthread_create(&threads[t], NULL, put_many, &crowds[t]), 0);
    }
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
}

static void
threads_that_put_the_same_chunks_store_them_once(void **state)
{
    PITR_AUTO(store_freep) struct store *s = open_store(*state, false);
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    struct crowd crowds[THREADS];
    struct store_stats stats;
    struct pitr_err err;

    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    put_in_parallel(w, crowds);
    assert_int_equal(store_writer_finish(w, &stats, &err), PITR_OK);
    assert_int_equal(stats.chunks, THREADS * 300);
    assert_int_equal(stats.chunks_new, 600);
    assert_readable(s, 0, 600);
}

static void
the_first_failure_is_returned_once_and_by_finish(void **state)
{
    struct fixture *f = *state;
    PITR_AUTO(blob_freep) struct blob *faulty = NULL;
    struct store_opts opts = opts_of(f, false);
    PITR_AUTO(store_freep) struct store *s = NULL;
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    struct crowd crowds[THREADS];
    unsigned failures = 0, aborted = 0;
    struct pitr_err err;

    assert_int_equal(blob_faulty_new(&faulty, f->blob, &err), PITR_OK);
    opts.blob = faulty;
    assert_int_equal(store_open(&s, &opts, &err), PITR_OK);
    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    blob_faulty_arm(faulty, FAULT_ONCE, 60, PITR_FULL);
    put_in_parallel(w, crowds);
    for (unsigned t = 0; t < THREADS; t++) {
        failures += crowds[t].failures;
        aborted += crowds[t].aborted;
    }
    assert_int_equal(failures, 1);
    assert_true(aborted > 100);
    assert_int_equal(store_writer_finish(w, NULL, &err), PITR_FULL);
    assert_non_null(strstr(err.msg, "injected failure"));
}

static void
read_without_rights(const struct fixture *f, const char *tmp)
{
    struct store_opts opts = opts_of(f, true);
    struct store *s = NULL;
    struct pitr_err err = {0};

    setenv("TMPDIR", tmp, 1);
    if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0))
        _exit(2);
    if (store_open(&s, &opts, &err) != PITR_OK || get(s, 5, &err) != PITR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        _exit(3);
    }
    store_free(s);
    _exit(0);
}

static void
an_index_that_cannot_be_made_in_place_is_made_privately_and_removed(void **state)
{
    const struct fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = open_store(f, false);
    PITR_AUTO(fs_names_release) struct fs_names left = {0};
    void *tmp = NULL;
    struct pitr_err err;
    int status;
    pid_t child;

    put_run(s, 0, 20);
    store_freep(&s);
    run("rm '%s'/g-*/stamp", f->dir);
    run("chmod -R a=rX '%s'", f->dir);
    assert_int_equal(tmpdir_setup(&tmp), 0);
    run("chmod 777 '%s'", tmp);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        read_without_rights(f, tmp);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(fs_list(&left, tmp, &err), PITR_OK);
    assert_int_equal(left.len, 0);
    assert_int_equal(tmpdir_teardown(&tmp), 0);
}

/* As the fixture, but with packs in files, which another process can see. */
static void
use_files(struct fixture *f)
{
    PITR_AUTO(str_freep) char *root = tmpdir_path(f->dir, "repo");
    PITR_AUTO(str_freep) char *index = tmpdir_path(f->dir, "index");
    struct pitr_err err;

    assert_int_equal(fs_mkdir(root, &err), PITR_OK);
    assert_int_equal(blob_fs_new(&f->blob, root, &err), PITR_OK);
    f->dir = index;
    index = NULL;
}

static void
release_files(struct fixture *f)
{
    blob_free(f->blob);
    free(f->dir);
}

/* Child: opens while the parent writes, and goes on reading when the parent has written more. */
static void
read_along(const struct fixture *f, int ready, int go)
{
    struct store *s = open_store(f, true);
    char byte = 0;

    assert_readable(s, 0, 60);
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
        _exit(1);
    assert_readable(s, 0, 200);
    store_free(s);
    _exit(0);
}

static void
another_process_reads_what_a_writer_adds(void **state)
{
    PITR_AUTO(release_files) struct fixture files = *(struct fixture *)*state;
    PITR_AUTO(store_freep) struct store *s = NULL;
    int ready[2], go[2], status;
    char byte = 0;
    pid_t child;

    use_files(&files);
    s = open_store(&files, false);
    put_run(s, 0, 60);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        read_along(&files, ready[1], go[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    put_run(s, 60, 200);
    assert_int_equal(write(go[1], &byte, 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
}

static void
a_killed_writer_leaves_a_store_that_works(void **state)
{
    PITR_AUTO(release_files) struct fixture files = *(struct fixture *)*state;
    unsigned next = 60;

    use_files(&files);
    for (useconds_t wait = 0; wait < 40000; wait += 4000) {
        PITR_AUTO(store_freep) struct store *s = NULL;
        struct reports r;
        uint64_t frames;
        pid_t child;
        int status;

        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            s = open_store(&files, false);
            put_run(s, next, next + 5000);
            _exit(0);
        }
        usleep(wait);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        s = open_store(&files, false);
        put_run(s, 0, 60);
        assert_readable(s, 0, 60);
        assert_int_equal(verified_bad(s, true, &r, &frames), 0);
        next += 5000;
    }
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_was_put_can_be_read_in_this_run_and_the_next),
        CASE(the_same_bytes_are_stored_once),
        CASE(the_same_bytes_of_two_types_can_both_be_read),
        CASE(an_unfinished_run_leaves_nothing_that_harms),
        CASE(a_second_writer_is_busy),
        CASE(a_store_for_reading_does_not_write),
        CASE(any_loss_of_the_index_is_repaired_for_writers),
        CASE(any_loss_of_the_index_is_repaired_for_readers),
        CASE(a_writer_does_not_believe_an_index_of_packs_that_are_gone),
        CASE(packs_that_were_copied_in_are_used),
        CASE(a_damaged_frame_is_corrupt_and_the_others_can_be_read),
        CASE(chunks_of_a_pack_without_tail_can_be_read),
        CASE(a_missing_pack_is_corrupt_for_shallow_checks_too),
        CASE(a_reader_finds_what_its_index_does_not_know),
        CASE(verify_counts_every_frame_and_names_the_damaged_ones),
        CASE(usage_counts_packs_and_chunks),
        CASE(threads_that_put_the_same_chunks_store_them_once),
        CASE(the_first_failure_is_returned_once_and_by_finish),
        CASE(another_process_reads_what_a_writer_adds),
        CASE(a_killed_writer_leaves_a_store_that_works),
        CASE(an_index_that_cannot_be_made_in_place_is_made_privately_and_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
