/*
 * Every call to the object driver, and every allocation, fails once while a snapshot is taken.
 * Afterwards either no manifest is visible or it is whole, what was there before still is, and the
 * next run works without any repair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/alloc_faulty.h"
#include "../support/blob_faulty.h"
#include "../support/scan.h"
#include "../support/tmpdir.h"
#include "engine/verify.h"

enum { STEPS_MAX = 5000 };

static struct doc_array *
some_docs(uint32_t variant)
{
    struct doc_array *a = doc_array_new();

    for (int k = 0; k < 3; k++) {
        char name[8];
        size_t coll;

        snprintf(name, sizeof name, "c%d", k);
        coll = doc_array_coll(a, k == 0 ? "a" : "b", name);
        for (int32_t i = 0; i < 300 * k; i++)
            doc_array_add(a, coll, i, 200, variant * 7919 + (uint32_t)i);
    }
    doc_array_add(a, 2, -1, 400 << 10, variant);
    return a;
}

static void
make_id(char id[SNAPSHOT_ID_LEN], uint64_t n)
{
    snprintf(id, SNAPSHOT_ID_LEN, "20261123T%06dZ-%06x", (int)(n % 1000000), 0xabc);
}

static void
print_problem(void *arg, enum finding finding, const char *what)
{
    (void)arg;
    (void)finding;
    print_message("%s\n", what);
}

/* A fresh look, as the next command would take it: everything visible is whole. */
static void
check_repo(const char *dir, size_t at_least, size_t at_most)
{
    struct verify_result result;
    struct fs_names ids;
    struct job job = {0};
    struct pitr_err err;
    struct repo *r;

    assert_int_equal(repo_open(&r, dir, REPO_WRITE, NULL, &err), PITR_OK);
    assert_int_equal(manifest_list(r, &ids, &err), PITR_OK);
    assert_in_range(ids.len, at_least, at_most);
    fs_names_release(&ids);
    if (verify_run(
            &(struct verify_opts){.repo = r, .job = &job, .data = true, .report = print_problem},
            &result, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    repo_free(r);
}

static void
take_whole(const char *dir, uint64_t n, uint32_t variant)
{
    struct doc_array *docs = some_docs(variant);
    char id[SNAPSHOT_ID_LEN];
    struct pitr_err err;
    struct repo *r;
    bool created;

    make_id(id, n);
    assert_int_equal(repo_init(dir, &created, &err), PITR_OK);
    assert_int_equal(repo_open(&r, dir, REPO_WRITE, NULL, &err), PITR_OK);
    if (scan_snapshot(r, docs, id, NULL, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    repo_free(r);
    doc_array_free(docs);
}

static size_t
count_snapshots(const char *dir)
{
    struct fs_names ids;
    struct pitr_err err;
    struct repo *r;
    size_t n;

    assert_int_equal(repo_open(&r, dir, REPO_READ, NULL, &err), PITR_OK);
    assert_int_equal(manifest_list(r, &ids, &err), PITR_OK);
    n = ids.len;
    fs_names_release(&ids);
    repo_free(r);
    return n;
}

/* One snapshot with call k failing. *fired says whether there was a call k. */
static enum pitr_rc
take_faulty(const char *dir, uint64_t n, enum blob_fault fault, uint64_t k, bool *fired)
{
    struct doc_array *docs = some_docs((uint32_t)n);
    struct blob *inner, *faulty;
    char id[SNAPSHOT_ID_LEN];
    struct pitr_err err;
    struct repo *r;
    enum pitr_rc rc;

    make_id(id, n);
    assert_int_equal(blob_fs_new(&inner, dir, &err), PITR_OK);
    assert_int_equal(blob_faulty_new(&faulty, inner, &err), PITR_OK);
    assert_int_equal(repo_open_on(&r, faulty, dir, REPO_WRITE, NULL, &err), PITR_OK);
    blob_faulty_arm(faulty, fault, k, PITR_FULL);
    rc = scan_snapshot(r, docs, id, NULL, &err);
    *fired = blob_faulty_fired(faulty);
    if (rc != PITR_OK)
        assert_true(err.msg[0] != '\0');
    repo_free(r);
    blob_free(inner);
    doc_array_free(docs);
    return rc;
}

static void
fail_each_call(const char *dir, enum blob_fault fault)
{
    uint64_t n = 1;
    size_t good = 1;

    take_whole(dir, n++, 0);
    for (uint64_t k = 1;; k++, n++) {
        bool fired;
        enum pitr_rc rc = take_faulty(dir, n, fault, k, &fired);

        assert_true(k < STEPS_MAX);
        if (!fired) {
            assert_int_equal(rc, PITR_OK);
            assert_true(k > 3);
            check_repo(dir, good + 1, good + 1);
            return;
        }
        /* A crash after the manifest was in place is a snapshot nobody was told of. */
        check_repo(dir, rc == PITR_OK ? good + 1 : good, good + 1);
        n++;
        take_whole(dir, n, (uint32_t)n);
        good = count_snapshots(dir);
    }
}

static void
any_failing_call_leaves_a_good_repository(void **state)
{
    fail_each_call(*state, FAULT_ONCE);
}

static void
any_crash_that_keeps_the_last_object_leaves_a_good_repository(void **state)
{
    fail_each_call(*state, FAULT_CRASH_KEEP);
}

static void
any_crash_that_drops_the_last_object_leaves_a_good_repository(void **state)
{
    fail_each_call(*state, FAULT_CRASH_DROP);
}

static void
any_failing_allocation_is_an_error_and_no_more(void **state)
{
    struct doc_array *docs = some_docs(1);
    size_t failures = 0;
    bool fired = true;

    take_whole(*state, 1, 0);
    for (uint64_t k = 1; fired; k += 1 + k / 40) {
        struct pitr_err err;
        struct repo *r;
        struct store *store;
        char id[SNAPSHOT_ID_LEN];
        enum pitr_rc rc;

        assert_true(k < 200 * STEPS_MAX);
        make_id(id, k + 1);
        assert_int_equal(repo_open(&r, *state, REPO_WRITE, NULL, &err), PITR_OK);
        assert_int_equal(repo_store(r, &store, &err), PITR_OK);
        alloc_faulty_arm(k);
        rc = scan_snapshot(r, docs, id, NULL, &err);
        fired = alloc_faulty_disarm();
        if (rc != PITR_OK) {
            assert_true(fired);
            failures++;
        }
        repo_free(r);
    }
    assert_true(failures > 5);
    check_repo(*state, 2, STEPS_MAX);
    take_whole(*state, 999999, 3);
    check_repo(*state, 3, STEPS_MAX);
    doc_array_free(docs);
}

int
main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(any_failing_call_leaves_a_good_repository),
        IN_FOLDER(any_crash_that_keeps_the_last_object_leaves_a_good_repository),
        IN_FOLDER(any_crash_that_drops_the_last_object_leaves_a_good_repository),
        IN_FOLDER(any_failing_allocation_is_an_error_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
