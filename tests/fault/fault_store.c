#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "chunkstore/store.h"
#include "tests/support/alloc_faulty.h"
#include "tests/support/blob_faulty.h"
#include "tests/support/blob_mem.h"
#include "tests/support/tmpdir.h"

/*
 * A repository that lives through one failure after the other. It holds BASE chunks that a finished
 * run has stored; each round tries to store a few more and to read some back while the k-th call or
 * allocation fails, then has to find everything that was finished, and to finish the next run.
 */
static const struct repo_keys keys = {.id_key = {7}};
enum { CHUNK_LEN = 700, BASE = 30, MORE = 12 };

struct fixture {
    char *dir;
    struct blob *inner, *faulty;
};

static int
set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    void *dir = NULL;
    struct pitr_err err;

    if (f == NULL || tmpdir_setup(&dir) != 0 || blob_mem_new(&f->inner, &err) != PITR_OK ||
        blob_faulty_new(&f->faulty, f->inner, &err) != PITR_OK)
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

    blob_free(f->faulty);
    blob_free(f->inner);
    free(f);
    return tmpdir_teardown(&dir);
}

static void
nth_chunk(uint8_t data[CHUNK_LEN], uint64_t i)
{
    uint64_t x = i * UINT64_C(0x9e3779b97f4a7c15) + 1;

    memset(data, 'x', CHUNK_LEN);
    for (size_t at = 0; at + 8 <= CHUNK_LEN / 2; at += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        put_le64(data + at, x);
    }
}

static enum pitr_rc
put_chunks(struct store *s, uint64_t from, uint64_t count, struct pitr_err *err)
{
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;

    if (store_writer_new(&w, s, err) != PITR_OK ||
        sealer_new(&sealer, &keys, CODEC_LZ4, 0, err) != PITR_OK)
        return err->rc;
    for (uint64_t i = from; i < from + count; i++) {
        uint8_t data[CHUNK_LEN];
        struct chunk_id id;

        nth_chunk(data, i);
        if (store_put(w, sealer, FRAME_DATA, data, sizeof data, &id, NULL, err) != PITR_OK)
            return err->rc;
    }
    return store_writer_finish(w, NULL, err);
}

static enum pitr_rc
get_chunks(struct store *s, uint64_t from, uint64_t count, struct pitr_err *err)
{
    PITR_AUTO(store_reader_freep) struct store_reader *r = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    PITR_AUTO(buf_release) struct buf out = {0};

    if (store_reader_new(&r, s, err) != PITR_OK ||
        sealer_new(&sealer, &keys, CODEC_NONE, 0, err) != PITR_OK)
        return err->rc;
    for (uint64_t i = from; i < from + count; i++) {
        uint8_t want[CHUNK_LEN];
        struct chunk_id id;

        nth_chunk(want, i);
        if (sealer_id(sealer, want, sizeof want, &id, err) != PITR_OK ||
            store_get(r, FRAME_DATA, &id, &out, err) != PITR_OK ||
            store_check(r, &id, true, err) != PITR_OK)
            return err->rc;
        assert_int_equal(out.len, sizeof want);
        assert_memory_equal(out.data, want, sizeof want);
    }
    return PITR_OK;
}

/* Open, store chunks [from, from + MORE), read them and some old ones, close. */
static enum pitr_rc
one_run(const struct fixture *f, uint64_t from, struct pitr_err *err)
{
    const struct store_opts opts = {
        .blob = f->faulty, .index_dir = f->dir, .keys = &keys, .pack_target = 3000};
    PITR_AUTO(store_freep) struct store *s = NULL;

    if (store_open(&s, &opts, err) != PITR_OK || put_chunks(s, from, MORE, err) != PITR_OK ||
        get_chunks(s, 0, 3, err) != PITR_OK || get_chunks(s, from, MORE, err) != PITR_OK)
        return err->rc;
    return PITR_OK;
}

/* Everything ever finished can be read, with a fresh look at the index as well. */
static void
assert_sound(const struct fixture *f, uint64_t finished, bool from_scratch)
{
    const struct store_opts opts = {
        .blob = f->inner, .index_dir = f->dir, .keys = &keys, .read_only = true};
    PITR_AUTO(store_freep) struct store *s = NULL;
    struct pitr_err err = {0};
    uint64_t packs, chunks;

    if (store_open(&s, &opts, &err) != PITR_OK ||
        (from_scratch && store_rebuild_index(s, &packs, &chunks, &err) != PITR_OK) ||
        get_chunks(s, 0, finished, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

static void
make_base(const struct fixture *f)
{
    const struct store_opts opts = {
        .blob = f->inner, .index_dir = f->dir, .keys = &keys, .pack_target = 3000};
    PITR_AUTO(store_freep) struct store *s = NULL;
    struct pitr_err err = {0};

    if (store_open(&s, &opts, &err) != PITR_OK || put_chunks(s, 0, BASE, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

/* After a run that failed (or did not): what was finished is there, and the same run works now. */
static void
assert_recovers(const struct fixture *f, uint64_t from, uint64_t k)
{
    struct pitr_err err = {0};

    blob_faulty_arm(f->faulty, FAULT_NONE, 0, PITR_OK);
    assert_sound(f, BASE, k % 4 == 0);
    if (one_run(f, from, &err) != PITR_OK)
        fail_msg("run after failure %llu: %s", (unsigned long long)k, err.msg);
}

static void
fail_every_blob_call(const struct fixture *f, enum blob_fault fault, enum pitr_rc code,
                     uint64_t series)
{
    uint64_t k;

    for (k = 1;; k++) {
        uint64_t from = BASE + (series * 1000 + k) * MORE;
        struct pitr_err err = {0};
        enum pitr_rc rc;

        blob_faulty_arm(f->faulty, fault, k, code);
        rc = one_run(f, from, &err);
        if (!blob_faulty_fired(f->faulty)) {
            assert_int_equal(rc, PITR_OK);
            break;
        }
        if (rc == PITR_OK)
            fail_msg("blob call %llu failed and nobody was told", (unsigned long long)k);
        assert_int_equal(rc, err.rc);
        assert_int_equal(rc, fault == FAULT_ONCE ? code : PITR_IO);
        assert_non_null(strstr(err.msg, "injected"));
        assert_recovers(f, from, k);
    }
    print_message("%llu blob calls\n", (unsigned long long)(k - 1));
    assert_true(k > 20);
}

static void
any_blob_call_may_report_a_full_disk(void **state)
{
    make_base(*state);
    fail_every_blob_call(*state, FAULT_ONCE, PITR_FULL, 1);
}

static void
any_blob_call_may_report_an_io_error(void **state)
{
    make_base(*state);
    fail_every_blob_call(*state, FAULT_ONCE, PITR_IO, 2);
}

static void
a_crash_may_keep_the_last_put(void **state)
{
    make_base(*state);
    fail_every_blob_call(*state, FAULT_CRASH_KEEP, PITR_OK, 3);
}

static void
a_crash_may_drop_the_last_put(void **state)
{
    make_base(*state);
    fail_every_blob_call(*state, FAULT_CRASH_DROP, PITR_OK, 4);
}

static void
a_crash_may_truncate_the_last_put(void **state)
{
    make_base(*state);
    fail_every_blob_call(*state, FAULT_CRASH_TRUNCATE, PITR_OK, 5);
}

/* The index lost, so that its rebuild meets the failures as well. */
static void
lose_index(const struct fixture *f)
{
    char command[200];

    snprintf(command, sizeof command, "rm -rf '%s'/g-*", f->dir);
    assert_int_equal(system(command), 0);
}

/* A repository of its own for each round: the number of allocations must not grow with k. Returns
 * false once no allocation failed. */
static bool
one_failing_allocation(uint64_t k, bool without_index, uint64_t *told)
{
    struct pitr_err err = {0};
    void *state = NULL;
    struct fixture *f;
    enum pitr_rc rc;
    bool failed;

    assert_int_equal(set_up(&state), 0);
    f = state;
    make_base(f);
    if (without_index)
        lose_index(f);
    alloc_faulty_arm(k);
    rc = one_run(f, BASE, &err);
    failed = alloc_faulty_disarm();
    /* What is only done for the sake of speed (the stamp, say) may fail in silence. */
    if (rc != PITR_OK && (!failed || rc != PITR_NOMEM))
        fail_msg("allocation %llu: %s", (unsigned long long)k, err.msg);
    if (failed)
        assert_recovers(f, BASE, k);
    *told += rc != PITR_OK;
    assert_int_equal(tear_down(&state), 0);
    return failed;
}

static void
any_allocation_may_fail(void **state)
{
    (void)state;
    for (int without_index = 0; without_index < 2; without_index++) {
        uint64_t k = 1, told = 0;

        while (one_failing_allocation(k, without_index, &told))
            k++;
        print_message("%llu allocations, %llu failures told\n", (unsigned long long)(k - 1),
                      (unsigned long long)told);
        assert_true(told > (k - 1) * 3 / 4);
    }
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(any_blob_call_may_report_a_full_disk), CASE(any_blob_call_may_report_an_io_error),
        CASE(a_crash_may_keep_the_last_put),        CASE(a_crash_may_drop_the_last_put),
        CASE(a_crash_may_truncate_the_last_put),    cmocka_unit_test(any_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
