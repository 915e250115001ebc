#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "chunkstore/pack.h"
#include "chunkstore/store.h"
#include "tests/support/store_fixture.h"
#include "tests/support/tmpdir.h"

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
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);

    store_fixture_put_run(s, 0, 60);
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        struct store_stats stats;

        store_freep(&s);
        run(losses[i], f->dir);
        s = store_fixture_open(f, false);
        stats = store_fixture_put_run(s, 0, 61 + (unsigned)i);
        assert_int_equal(stats.chunks_new, 1);
        store_fixture_assert_readable(s, 0, 61 + (unsigned)i);
    }
}

static void
any_loss_of_the_index_is_repaired_for_readers(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);

    store_fixture_put_run(s, 0, 60);
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        PITR_AUTO(str_freep) char *current = tmpdir_path(f->dir, "current");
        struct pitr_err err;
        bool there = false;

        store_freep(&s);
        run(losses[i], f->dir);
        s = store_fixture_open(f, true);
        store_fixture_assert_readable(s, 0, 60);
        assert_int_equal(fs_exists(&there, current, &err), PITR_OK);
        assert_true(there); /* made where the next one finds it */
    }
}

static void
a_writer_does_not_believe_an_index_of_packs_that_are_gone(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    char name[PACK_NAME_LEN];
    struct store_stats stats;
    struct pitr_err err;

    store_fixture_put_run(s, 0, 60);
    store_freep(&s);
    store_fixture_first_pack(f, name);
    assert_int_equal(blob_remove(f->blob, name, &err), PITR_OK);
    s = store_fixture_open(f, false);
    stats = store_fixture_put_run(s, 0, 60);
    assert_true(stats.chunks_new > 0 && stats.chunks_new < 60);
    store_fixture_assert_readable(s, 0, 60);
}

static void
packs_that_were_copied_in_are_used(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    PITR_AUTO(buf_release) struct buf copy = {0};
    char name[PACK_NAME_LEN];
    struct store_stats stats;
    struct pitr_err err;

    store_fixture_put_run(s, 0, 10);
    store_freep(&s);
    store_fixture_first_pack(f, name);
    assert_int_equal(blob_get(f->blob, name, 1 << 26, &copy, &err), PITR_OK);
    assert_int_equal(blob_remove(f->blob, name, &err), PITR_OK);
    s = store_fixture_open(f, false);
    store_fixture_put_run(s, 100, 101);
    store_freep(&s);
    assert_int_equal(blob_put(f->blob, name, copy.data, copy.len, false, &err), PITR_OK);
    s = store_fixture_open(f, false);
    stats = store_fixture_put_run(s, 0, 10);
    assert_int_equal(stats.chunks_new, 0);
}

/* Readers that opened the index before it knew of a pack find it after a rebuild of their own. */
static void
a_reader_finds_what_its_index_does_not_know(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    PITR_AUTO(buf_release) struct buf copy = {0};
    char name[PACK_NAME_LEN];
    struct pitr_err err;

    store_fixture_put_run(s, 0, 20);
    store_freep(&s);
    store_fixture_first_pack(f, name);
    assert_int_equal(blob_get(f->blob, name, 1 << 26, &copy, &err), PITR_OK);
    assert_int_equal(blob_remove(f->blob, name, &err), PITR_OK);
    s = store_fixture_open(f, false);
    store_freep(&s);
    s = store_fixture_open(f, true);
    assert_int_equal(blob_put(f->blob, name, copy.data, copy.len, false, &err), PITR_OK);
    store_fixture_assert_readable(s, 0, 20);
}

/* Child: opens while the parent writes, and goes on reading when the parent has written more. */
static void
read_along(const struct store_fixture *f, int ready, int go)
{
    struct store *s = store_fixture_open(f, true);
    char byte = 0;

    store_fixture_assert_readable(s, 0, 60);
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
        _exit(1);
    store_fixture_assert_readable(s, 0, 200);
    store_free(s);
    _exit(0);
}

static void
another_process_reads_what_a_writer_adds(void **state)
{
    PITR_AUTO(store_fixture_release_files)
    struct store_fixture files = *(struct store_fixture *)*state;
    PITR_AUTO(store_freep) struct store *s = NULL;
    int ready[2], go[2], status;
    char byte = 0;
    pid_t child;

    store_fixture_use_files(&files);
    s = store_fixture_open(&files, false);
    store_fixture_put_run(s, 0, 60);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        read_along(&files, ready[1], go[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    store_fixture_put_run(s, 60, 200);
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
    PITR_AUTO(store_fixture_release_files)
    struct store_fixture files = *(struct store_fixture *)*state;
    unsigned next = 60;

    store_fixture_use_files(&files);
    for (useconds_t wait = 0; wait < 40000; wait += 4000) {
        PITR_AUTO(store_freep) struct store *s = NULL;
        struct store_reports r;
        uint64_t frames;
        pid_t child;
        int status;

        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            s = store_fixture_open(&files, false);
            store_fixture_put_run(s, next, next + 5000);
            _exit(0);
        }
        usleep(wait);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        s = store_fixture_open(&files, false);
        store_fixture_put_run(s, 0, 60);
        store_fixture_assert_readable(s, 0, 60);
        assert_int_equal(store_fixture_verify(s, true, &r, &frames), 0);
        next += 5000;
    }
}

static void
read_without_rights(const struct store_fixture *f, const char *tmp)
{
    struct store_opts opts = store_fixture_opts(f, true);
    struct store *s = NULL;
    struct pitr_err err = {0};

    setenv("TMPDIR", tmp, 1);
    if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0))
        _exit(2);
    if (store_open(&s, &opts, &err) != PITR_OK || store_fixture_get(s, 5, &err) != PITR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        _exit(3);
    }
    store_free(s);
    _exit(0);
}

static void
an_index_that_cannot_be_made_in_place_is_made_privately_and_removed(void **state)
{
    const struct store_fixture *f = *state;
    PITR_AUTO(store_freep) struct store *s = store_fixture_open(f, false);
    PITR_AUTO(fs_names_release) struct fs_names left = {0};
    void *tmp = NULL;
    struct pitr_err err;
    int status;
    pid_t child;

    store_fixture_put_run(s, 0, 20);
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

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, store_fixture_setup, store_fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(any_loss_of_the_index_is_repaired_for_writers),
        CASE(any_loss_of_the_index_is_repaired_for_readers),
        CASE(a_writer_does_not_believe_an_index_of_packs_that_are_gone),
        CASE(packs_that_were_copied_in_are_used),
        CASE(a_reader_finds_what_its_index_does_not_know),
        CASE(another_process_reads_what_a_writer_adds),
        CASE(a_killed_writer_leaves_a_store_that_works),
        CASE(an_index_that_cannot_be_made_in_place_is_made_privately_and_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
