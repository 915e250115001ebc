/*
 * Every allocation fails once, and the file for what does not fit into memory cannot be written:
 * netting says so and leaves nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/bytes.h"
#include "oplog/net.h"
#include "oplog/txn.h"
#include "tests/support/alloc_faulty.h"

enum { IDS = 60, STEPS_MAX = 200000 };

/* {_id: id, a: "xx..."}, or with `delta` the update that sets it. */
static size_t
make(uint8_t *out, uint32_t id, size_t pad, bool delta)
{
    size_t at = 4;

    if (delta) {
        memcpy(out + at,
               "\x10$v\0\x02\0\0\0\x03"
               "diff\0",
               14);
        at += 14;
        memcpy(out + at + 4, "\x03u\0", 3);
        at += 7;
    } else {
        memcpy(out + at, "\x10_id\0", 5);
        put_le32(out + at + 5, id);
        at += 9;
    }
    if (delta)
        at += 4;
    memcpy(out + at,
           "\x02"
           "a\0",
           3);
    put_le32(out + at + 3, (uint32_t)pad + 1);
    memset(out + at + 7, 'x', pad);
    out[at + 7 + pad] = 0;
    at += 8 + pad;
    out[at++] = 0;
    if (delta) {
        put_le32(out + 25, (uint32_t)(at - 25));
        out[at++] = 0;
        put_le32(out + 18, (uint32_t)(at - 18));
        out[at++] = 0;
    }
    put_le32(out, (uint32_t)at);
    return at;
}

static size_t
make_key(uint8_t *out, uint32_t id)
{
    memcpy(out, "\x0e\0\0\0\x10_id\0", 9);
    put_le32(out + 9, id);
    out[13] = 0;
    return 14;
}

/* Documents below IDS / 2 are the base's: some deleted, the others updated many times. The rest
 * are inserted, updated, some deleted and made by upserts. */
static enum pitr_rc
add_all(struct net *n, struct pitr_err *err)
{
    uint8_t key[14], doc[512];

    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t id = 0; id < IDS; id++) {
            size_t key_len = make_key(key, id), len;
            bool first = round == 0, base = id < IDS / 2;
            enum pitr_rc rc;

            if (first && ((base && id % 5 == 0) || id % 7 == 0)) {
                len = make(doc, id, id % 90, false);
                rc = net_insert(n, doc, len, OP_LENIENT, err);
            } else if (id % 5 == 0 && round % 5 == 4) {
                rc = net_delete(n, key, key_len, OP_LENIENT, err);
            } else {
                len = make(doc, id, (id + round) % 90, true);
                rc = net_update(n, key, key_len, doc, len, !base,
                                base && id % 5 != 0 ? OP_STRICT : OP_LENIENT, err);
            }
            if (rc != PITR_OK)
                return rc;
        }
    }
    return net_seal(n, err);
}

static enum pitr_rc
ignore(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    (void)arg;
    (void)doc;
    (void)len;
    (void)err;
    return PITR_OK;
}

static enum pitr_rc
ignore_stranger(void *arg, const struct net_stranger *s, struct pitr_err *err)
{
    (void)arg;
    (void)s;
    (void)err;
    return PITR_OK;
}

static enum pitr_rc
read_all(struct net *n, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(buf_release) struct buf scratch = {0};
    uint8_t base[512];

    for (uint32_t id = 0; id < IDS / 2; id++) {
        size_t len = make(base, id, 5, false), final_len;
        enum net_verdict verdict;
        const uint8_t *doc;

        if (net_filter(n, base, len, &verdict, &out, &scratch, err) != PITR_OK ||
            net_final(n, base, len, NULL, 0, &doc, &final_len, &out, &scratch, err) != PITR_OK)
            return err->rc;
    }
    if (net_strangers(n, ignore_stranger, NULL, err) != PITR_OK)
        return err->rc;
    return net_rest(n, ignore, NULL, err);
}

static enum pitr_rc
whole_story(uint64_t budget, struct pitr_err *err)
{
    PITR_AUTO(spill_freep) struct spill *spill = NULL;
    PITR_AUTO(net_freep) struct net *n = NULL;

    if (spill_new(&spill, budget, err) != PITR_OK ||
        net_new(&n, FIELD_ORDER_NUMERIC, spill, err) != PITR_OK || add_all(n, err) != PITR_OK)
        return err->rc;
    return read_all(n, err);
}

static void
fails_once_at_every_allocation(uint64_t budget)
{
    struct pitr_err err;
    bool fired = true;
    uint64_t k = 0;

    assert_int_equal(whole_story(budget, &err), PITR_OK);
    while (fired && ++k < STEPS_MAX) {
        enum pitr_rc rc;

        alloc_faulty_arm(k);
        rc = whole_story(budget, &err);
        fired = alloc_faulty_disarm();
        if (rc != (fired ? PITR_NOMEM : PITR_OK))
            fail_msg("allocation %d: %d %s", (int)k, (int)rc, err.msg);
        /* Deep inside, one step in ten is as good as any. */
        if (k > 400)
            k += 9;
    }
    assert_true(k > 100);
    assert_true(k < STEPS_MAX);
}

static void
netting_in_memory_reports_every_failed_allocation(void **state)
{
    (void)state;
    fails_once_at_every_allocation(64 << 20);
}

static void
netting_with_spills_reports_every_failed_allocation(void **state)
{
    (void)state;
    fails_once_at_every_allocation(16 << 10);
}

static void
a_full_file_system_is_reported_with_the_folder(void **state)
{
    struct rlimit old, small;
    struct pitr_err err;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 0; limit <= 20000; limit += 4000) {
        enum pitr_rc rc;

        small = (struct rlimit){.rlim_cur = limit, .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        rc = whole_story(16 << 10, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(rc, PITR_FULL);
        assert_non_null(strstr(err.msg, "TMPDIR names the folder"));
    }
}

static void
a_missing_folder_is_reported(void **state)
{
    const char *now = getenv("TMPDIR");
    char *old = now == NULL ? NULL : strdup(now);
    struct pitr_err err;

    (void)state;
    assert_int_equal(setenv("TMPDIR", "/nonexistent/folder", 1), 0);
    assert_int_not_equal(whole_story(16 << 10, &err), PITR_OK);
    assert_non_null(strstr(err.msg, "/nonexistent/folder"));
    assert_non_null(strstr(err.msg, "TMPDIR"));
    assert_int_equal(old == NULL ? unsetenv("TMPDIR") : setenv("TMPDIR", old, 1), 0);
    free(old);
}

/* Pieces of several chains, read back as a commit does. */
static enum pitr_rc
transactions(uint64_t budget, struct pitr_err *err)
{
    PITR_AUTO(spill_freep) struct spill *spill = NULL;
    PITR_AUTO(buf_release) struct buf scratch = {0};
    struct txn_table *t = NULL;
    struct txn_chain *c = NULL;
    uint8_t piece[2000];
    enum pitr_rc rc;

    rc = spill_new(&spill, budget, err);
    if (rc == PITR_OK)
        rc = txn_table_new(&t, spill, err);
    for (uint32_t i = 0; i < 60 && rc == PITR_OK; i++) {
        uint32_t chain = i % 4, step = i / 4;
        struct oplog_entry e = {.ts = ts_make(100 + step, chain + 1), .term = 1};

        if (step > 0)
            e.prev = (struct optime){.ts = ts_make(99 + step, chain + 1), .term = 1};
        memset(piece, (int)i, sizeof piece);
        rc = txn_add(t, &e, piece, 100 * step + 1, 1, true, err);
    }
    for (uint32_t chain = 0; chain < 4 && rc == PITR_OK; chain++) {
        struct optime last = {.ts = ts_make(114, chain + 1), .term = 1};

        txn_take(t, &last, &c);
        assert_non_null(c);
        for (uint32_t step = 0; step < c->npieces && rc == PITR_OK; step++) {
            const uint8_t *array;
            size_t len;

            rc = txn_chain_piece(c, step, &scratch, &array, &len, err);
            if (rc != PITR_OK)
                continue;
            assert_int_equal(len, 100 * step + 1);
            assert_int_equal(array[0], step * 4 + chain);
            assert_int_equal(array[len - 1], step * 4 + chain);
        }
        txn_chain_freep(&c);
    }
    txn_chain_free(c);
    txn_table_free(t);
    if (spill != NULL)
        assert_int_equal(spill_held(spill), 0);
    return rc;
}

static void
waiting_transactions_report_every_failed_allocation(void **state)
{
    static const uint64_t budgets[] = {4096, 20000, 64 << 20};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct pitr_err err;
        bool fired = true;
        uint64_t k = 0;

        assert_int_equal(transactions(budgets[i], &err), PITR_OK);
        while (fired && ++k < STEPS_MAX) {
            enum pitr_rc rc;

            alloc_faulty_arm(k);
            rc = transactions(budgets[i], &err);
            fired = alloc_faulty_disarm();
            assert_int_equal(rc, fired ? PITR_NOMEM : PITR_OK);
        }
        assert_true(k > 20);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(netting_in_memory_reports_every_failed_allocation),
        cmocka_unit_test(netting_with_spills_reports_every_failed_allocation),
        cmocka_unit_test(a_full_file_system_is_reported_with_the_folder),
        cmocka_unit_test(a_missing_folder_is_reported),
        cmocka_unit_test(waiting_transactions_report_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
