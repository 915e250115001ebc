#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"

/* A folder of the test's own, removed with everything in it afterwards. */
static int
make_folder(void **state)
{
    char *dir = strdup("/tmp/pitr-test-fs-XXXXXX");

    assert_non_null(dir);
    assert_non_null(mkdtemp(dir));
    *state = dir;
    return 0;
}

static int
remove_folder(void **state)
{
    char command[128];

    snprintf(command, sizeof command, "chmod -R u+w '%s'; rm -rf '%s'", (char *)*state,
             (char *)*state);
    assert_int_equal(system(command), 0);
    free(*state);
    return 0;
}

static char *
path_in(void **state, const char *name)
{
    struct pitr_err err;
    char *path = NULL;

    assert_int_equal(fs_join(&path, *state, name, &err), PITR_OK);
    return path;
}

static void
assert_content(const char *path, const char *want)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    assert_int_equal(fs_read_file(&b, path, 1 << 20, &err), PITR_OK);
    assert_int_equal(b.len, strlen(want));
    assert_memory_equal(b.data, want, b.len);
}

static void
a_written_file_reads_back_and_leaves_no_temporary_file(void **state)
{
    PITR_AUTO(str_freep) char *path = path_in(state, "a");
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    struct pitr_err err;

    assert_int_equal(fs_write_file(path, "hello", 5, false, &err), PITR_OK);
    assert_content(path, "hello");
    assert_int_equal(fs_list(&names, *state, &err), PITR_OK);
    assert_int_equal(names.len, 1);
    assert_string_equal(names.at[0], "a");
}

static void
without_replace_an_existing_file_stays_untouched(void **state)
{
    PITR_AUTO(str_freep) char *path = path_in(state, "a");
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    struct pitr_err err;

    assert_int_equal(fs_write_file(path, "one", 3, false, &err), PITR_OK);
    assert_int_equal(fs_write_file(path, "two", 3, false, &err), PITR_EXISTS);
    assert_non_null(strstr(err.msg, "publish"));
    assert_non_null(strstr(err.msg, path));
    assert_content(path, "one");
    assert_int_equal(fs_list(&names, *state, &err), PITR_OK);
    assert_int_equal(names.len, 1);
}

static void
with_replace_the_new_content_wins(void **state)
{
    PITR_AUTO(str_freep) char *path = path_in(state, "a");
    struct pitr_err err;

    assert_int_equal(fs_write_file(path, "one", 3, true, &err), PITR_OK);
    assert_int_equal(fs_write_file(path, "second", 6, true, &err), PITR_OK);
    assert_content(path, "second");
}

static void
reading_appends_and_respects_the_limit(void **state)
{
    PITR_AUTO(str_freep) char *path = path_in(state, "a");
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    assert_int_equal(fs_write_file(path, "12345", 5, true, &err), PITR_OK);
    assert_int_equal(buf_append(&b, "x", 1, &err), PITR_OK);
    assert_int_equal(fs_read_file(&b, path, 5, &err), PITR_OK);
    assert_int_equal(b.len, 6);
    assert_memory_equal(b.data, "x12345", 6);
    assert_int_equal(fs_read_file(&b, path, 4, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "5 bytes; at most 4"));
    assert_int_equal(b.len, 6);
}

static void
reading_past_the_end_is_corrupt(void **state)
{
    PITR_AUTO(str_freep) char *path = path_in(state, "a");
    PITR_AUTO(fd_closep) int fd = -1;
    struct pitr_err err;
    char data[8];

    assert_int_equal(fs_write_file(path, "12345", 5, true, &err), PITR_OK);
    assert_int_equal(fs_open(&fd, path, O_RDONLY, 0, &err), PITR_OK);
    assert_int_equal(fs_pread_all(fd, data, 3, 2, path, &err), PITR_OK);
    assert_memory_equal(data, "345", 3);
    assert_int_equal(fs_pread_all(fd, data, 4, 2, path, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "ends at 5, 1 bytes too early"));
    assert_int_equal(fs_pread_all(fd, data, 4, UINT64_MAX - 1, path, &err), PITR_CORRUPT);
}

static void
a_missing_file_is_notfound(void **state)
{
    PITR_AUTO(str_freep) char *path = path_in(state, "none");
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;
    uint64_t size;
    bool there = true;

    assert_int_equal(fs_read_file(&b, path, 10, &err), PITR_NOTFOUND);
    assert_non_null(strstr(err.msg, "No such file"));
    assert_int_equal(fs_size(&size, path, &err), PITR_NOTFOUND);
    assert_int_equal(fs_exists(&there, path, &err), PITR_OK);
    assert_false(there);
    assert_int_equal(fs_unlink(path, &err), PITR_OK);
}

static void
a_full_device_is_full(void **state)
{
    PITR_AUTO(fd_closep) int fd = -1;
    struct pitr_err err;

    (void)state;
    assert_int_equal(fs_open(&fd, "/dev/full", O_WRONLY, 0, &err), PITR_OK);
    assert_int_equal(fs_write_all(fd, "x", 1, "/dev/full", &err), PITR_FULL);
    assert_non_null(strstr(err.msg, "write 1 bytes to /dev/full: No space left"));
}

static void
a_name_that_is_too_long_is_io(void **state)
{
    char name[400];
    struct pitr_err err;

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    PITR_AUTO(str_freep) char *path = path_in(state, name);
    assert_int_equal(fs_write_file(path, "x", 1, true, &err), PITR_IO);
}

static void
folders_are_made_with_their_parents_and_may_exist(void **state)
{
    PITR_AUTO(str_freep) char *path = path_in(state, "x//y/z/");
    PITR_AUTO(str_freep) char *file = path_in(state, "x/y/f");
    PITR_AUTO(str_freep) char *below = path_in(state, "x/y/f/g");
    struct pitr_err err;
    bool there = false;

    assert_int_equal(fs_mkdirs(path, &err), PITR_OK);
    assert_int_equal(fs_mkdirs(path, &err), PITR_OK);
    assert_int_equal(fs_mkdir(path, &err), PITR_OK);
    assert_int_equal(fs_exists(&there, path, &err), PITR_OK);
    assert_true(there);
    assert_int_equal(fs_write_file(file, "", 0, false, &err), PITR_OK);
    assert_int_equal(fs_mkdir(file, &err), PITR_EXISTS);
    assert_int_not_equal(fs_mkdirs(below, &err), PITR_OK);
}

static void
names_are_listed_in_byte_order(void **state)
{
    static const char *const made[] = {"b", "a", "\xc3\xa4", "B", "a.tmp", " "};
    static const char *const want[] = {" ", "B", "a", "a.tmp", "b", "\xc3\xa4"};
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    struct pitr_err err;

    for (size_t i = 0; i < 6; i++) {
        PITR_AUTO(str_freep) char *path = path_in(state, made[i]);

        assert_int_equal(fs_write_file(path, "", 0, false, &err), PITR_OK);
    }
    assert_int_equal(fs_list(&names, *state, &err), PITR_OK);
    assert_int_equal(names.len, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(names.at[i], want[i]);
}

static void
free_space_is_known(void **state)
{
    struct pitr_err err;
    uint64_t bytes = 0;

    assert_int_equal(fs_free_bytes(&bytes, *state, &err), PITR_OK);
    assert_true(bytes > 0);
}

static void
an_exclusive_lock_excludes_everyone_and_names_its_holder(void **state)
{
    PITR_AUTO(str_freep) char *path = path_in(state, "lock");
    struct fs_lock *first = NULL, *second = NULL;
    struct pitr_err err;
    char pid[32];

    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_int_equal(fs_lock_try(&first, path, FS_LOCK_EXCLUSIVE, &err), PITR_OK);
    assert_int_equal(fs_lock_try(&second, path, FS_LOCK_EXCLUSIVE, &err), PITR_BUSY);
    assert_non_null(strstr(err.msg, pid));
    assert_int_equal(fs_lock_try(&second, path, FS_LOCK_SHARED, &err), PITR_BUSY);
    fs_lock_freep(&first);
    assert_int_equal(fs_lock_try(&second, path, FS_LOCK_EXCLUSIVE, &err), PITR_OK);
    fs_lock_freep(&second);
}

static void
shared_locks_share(void **state)
{
    PITR_AUTO(str_freep) char *path = path_in(state, "lock");
    struct fs_lock *first = NULL, *second = NULL, *third = NULL;
    struct pitr_err err;

    assert_int_equal(fs_lock_try(&first, path, FS_LOCK_SHARED, &err), PITR_OK);
    assert_int_equal(fs_lock_try(&second, path, FS_LOCK_SHARED, &err), PITR_OK);
    assert_int_equal(fs_lock_try(&third, path, FS_LOCK_EXCLUSIVE, &err), PITR_BUSY);
    fs_lock_freep(&first);
    fs_lock_freep(&second);
}

static void
a_lock_dies_with_its_process(void **state)
{
    PITR_AUTO(str_freep) char *path = path_in(state, "lock");
    PITR_AUTO(fs_lock_freep) struct fs_lock *lock = NULL;
    struct pitr_err err;
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct fs_lock *held = NULL;

        _exit(fs_lock_try(&held, path, FS_LOCK_EXCLUSIVE, &err) == PITR_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(fs_lock_try(&lock, path, FS_LOCK_EXCLUSIVE, &err), PITR_OK);
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        CASE(a_written_file_reads_back_and_leaves_no_temporary_file),
        CASE(without_replace_an_existing_file_stays_untouched),
        CASE(with_replace_the_new_content_wins),
        CASE(reading_appends_and_respects_the_limit),
        CASE(reading_past_the_end_is_corrupt),
        CASE(a_missing_file_is_notfound),
        CASE(a_full_device_is_full),
        CASE(a_name_that_is_too_long_is_io),
        CASE(folders_are_made_with_their_parents_and_may_exist),
        CASE(names_are_listed_in_byte_order),
        CASE(free_space_is_known),
        CASE(an_exclusive_lock_excludes_everyone_and_names_its_holder),
        CASE(shared_locks_share),
        CASE(a_lock_dies_with_its_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
