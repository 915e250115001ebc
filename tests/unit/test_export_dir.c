#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "engine/dump_file.h"
#include "engine/export_dir.h"
#include "tests/support/tmpdir.h"

/* How many entries a folder has. */
static size_t
entries(const char *dir)
{
    struct fs_names names = {0};
    struct pitr_err err;
    size_t n;

    assert_int_equal(fs_list(&names, dir, &err), PITR_OK);
    n = names.len;
    fs_names_release(&names);
    return n;
}

static bool
is_there(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

static void
fill(const struct export_dir *d, bool gzip)
{
    struct pitr_err err;
    struct dump_file *f;
    char *folder = tmpdir_path(export_dir_path(d), "db"), *file = tmpdir_path(folder, "c.bson");

    assert_int_equal(fs_mkdir(folder, &err), PITR_OK);
    assert_int_equal(dump_file_create(&f, file, gzip, &err), PITR_OK);
    assert_int_equal(dump_file_write(f, "12345", 5, &err), PITR_OK);
    assert_int_equal(dump_file_finish(f, &err), PITR_OK);
    dump_file_free(f);
    free(folder);
    free(file);
}

static void
a_new_directory_appears_when_it_is_complete(void **state)
{
    char *path = tmpdir_path(*state, "a/b/out"), *slashed = tmpdir_path(*state, "a/b/out//"),
         *file = tmpdir_path(path, "db/c.bson");
    struct export_dir *d;
    struct pitr_err err;

    assert_int_equal(export_dir_begin(&d, slashed, &err), PITR_OK);
    assert_memory_equal(export_dir_path(d), path, strlen(path));
    assert_memory_equal(export_dir_path(d) + strlen(path), ".part-", 6);
    fill(d, false);
    assert_false(is_there(path));
    assert_int_equal(export_dir_publish(d, &err), PITR_OK);
    export_dir_free(d);
    assert_true(is_there(file));
    free(path);
    free(slashed);
    free(file);
}

static void
one_that_is_given_up_leaves_nothing(void **state)
{
    char *path = tmpdir_path(*state, "out");
    struct export_dir *d;
    struct pitr_err err;

    assert_int_equal(export_dir_begin(&d, path, &err), PITR_OK);
    fill(d, true);
    assert_int_equal(entries(*state), 1);
    export_dir_free(d);
    assert_int_equal(entries(*state), 0);
    free(path);
}

static void
an_empty_directory_is_replaced_also_behind_a_link(void **state)
{
    char *path = tmpdir_path(*state, "out"), *link = tmpdir_path(*state, "link"),
         *file = tmpdir_path(path, "db/c.bson.gz");
    struct export_dir *d;
    struct pitr_err err;

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(symlink("out", link), 0);
    assert_int_equal(export_dir_begin(&d, link, &err), PITR_OK);
    fill(d, true);
    assert_int_equal(export_dir_publish(d, &err), PITR_OK);
    export_dir_free(d);
    assert_true(is_there(file));
    assert_int_equal(entries(*state), 2);
    free(path);
    free(link);
    free(file);
}

static void
expect_refused(const char *path, const char *says)
{
    struct export_dir *d = NULL;
    struct pitr_err err;

    assert_int_equal(export_dir_begin(&d, path, &err), PITR_USAGE);
    if (strstr(err.msg, says) == NULL)
        fail_msg("\"%s\" is not in: %s", says, err.msg);
}

static void
what_is_there_is_never_touched(void **state)
{
    char *full = tmpdir_path(*state, "full"), *file = tmpdir_path(full, "precious");
    struct pitr_err err;

    assert_int_equal(mkdir(full, 0700), 0);
    assert_int_equal(fs_write_file(file, "x", 1, false, &err), PITR_OK);
    expect_refused(full, "is not empty (precious is in it); name a new or an empty directory");
    expect_refused(file, "exists and is no directory");
    expect_refused("/proc", "is not empty");
    assert_int_equal(entries(*state), 1);
    assert_int_equal(entries(full), 1);
    free(full);
    free(file);
}

/* Somebody put something into the empty directory while it was being written beside it. */
static void
what_comes_meanwhile_is_not_replaced(void **state)
{
    char *path = tmpdir_path(*state, "out"), *file = tmpdir_path(path, "precious");
    struct export_dir *d;
    struct pitr_err err;

    assert_int_equal(export_dir_begin(&d, path, &err), PITR_OK);
    fill(d, false);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(fs_write_file(file, "x", 1, false, &err), PITR_OK);
    assert_int_not_equal(export_dir_publish(d, &err), PITR_OK);
    assert_non_null(strstr(err.msg, path));
    export_dir_free(d);
    assert_true(is_there(file));
    assert_int_equal(entries(*state), 1);
    free(path);
    free(file);
}

static void
a_name_that_is_no_name_is_refused(void **state)
{
    char *path = tmpdir_path(*state, "missing/..");

    expect_refused(path, "does not name a directory");
    expect_refused("", "does not name a directory");
    free(path);
}

/* The limit on a file's size stands for a full disk: both are met when bytes leave the buffer, or
 * only when the file is closed. */
static void
a_full_disk_is_told_with_the_file(void **state)
{
    struct rlimit before, small = {.rlim_cur = 100 << 10};
    char *path = tmpdir_path(*state, "f"), block[64 << 10] = {0};
    struct dump_file *f;
    struct pitr_err err;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(dump_file_create(&f, path, false, &err), PITR_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(dump_file_write(f, block, sizeof block, &err), PITR_OK);
    assert_int_equal(dump_file_finish(f, &err), PITR_FULL);
    assert_memory_equal(err.msg, "write ", 6);
    assert_memory_equal(err.msg + 6, path, strlen(path));
    dump_file_free(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(dump_file_create(&f, path, false, &err), PITR_OK);
    while (dump_file_write(f, block, sizeof block, &err) == PITR_OK)
        continue;
    assert_int_equal(err.rc, PITR_FULL);
    dump_file_free(f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    free(path);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_new_directory_appears_when_it_is_complete),
        CASE(one_that_is_given_up_leaves_nothing),
        CASE(an_empty_directory_is_replaced_also_behind_a_link),
        CASE(what_is_there_is_never_touched),
        CASE(what_comes_meanwhile_is_not_replaced),
        CASE(a_name_that_is_no_name_is_refused),
        CASE(a_full_disk_is_told_with_the_file),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
