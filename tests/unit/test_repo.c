#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/tmpdir.h"
#include "engine/repo.h"

static struct repo *
open_new(const char *dir)
{
    PITR_AUTO(str_freep) char *path = tmpdir_path(dir, "repo");
    struct pitr_err err;
    struct repo *r = NULL;
    bool created;

    assert_int_equal(repo_init(path, &created, &err), PITR_OK);
    assert_int_equal(repo_open(&r, path, REPO_WRITE, NULL, &err), PITR_OK);
    return r;
}

static void
init_makes_a_repository_once(void **state)
{
    PITR_AUTO(str_freep) char *path = tmpdir_path(*state, "a");
    char first[2 * REPO_ID_LEN + 1], again[2 * REPO_ID_LEN + 1];
    struct pitr_err err;
    struct repo *r;
    bool created;

    assert_int_equal(repo_init(path, &created, &err), PITR_OK);
    assert_true(created);
    assert_int_equal(repo_open(&r, path, REPO_READ, NULL, &err), PITR_OK);
    repo_id_text(r, first);
    repo_free(r);
    assert_int_equal(repo_init(path, &created, &err), PITR_OK);
    assert_false(created);
    assert_int_equal(repo_open(&r, path, REPO_READ, NULL, &err), PITR_OK);
    repo_id_text(r, again);
    repo_free(r);
    assert_string_equal(first, again);
}

static void
init_refuses_a_directory_with_other_things(void **state)
{
    PITR_AUTO(str_freep) char *path = tmpdir_path(*state, "photo.jpg");
    struct pitr_err err;
    bool created;

    assert_int_equal(fs_write_file(path, "x", 1, false, &err), PITR_OK);
    assert_int_equal(repo_init(*state, &created, &err), PITR_USAGE);
    assert_non_null(strstr(err.msg, "holds \"photo.jpg\" and is no pitr repository"));
    assert_false(created);
}

static void
init_goes_on_after_an_init_that_was_killed(void **state)
{
    PITR_AUTO(str_freep) char *temp = tmpdir_path(*state, "repository.tmp-12-ab");
    PITR_AUTO(str_freep) char *lost = tmpdir_path(*state, "lost+found");
    struct pitr_err err;
    bool created;

    assert_int_equal(fs_write_file(temp, "x", 1, false, &err), PITR_OK);
    assert_int_equal(fs_mkdir(lost, &err), PITR_OK);
    assert_int_equal(repo_init(*state, &created, &err), PITR_OK);
    assert_true(created);
}

static void
opening_nothing_says_how_to_begin(void **state)
{
    PITR_AUTO(str_freep) char *missing = tmpdir_path(*state, "missing");
    struct pitr_err err;
    struct repo *r = NULL;

    assert_int_equal(repo_open(&r, missing, REPO_READ, NULL, &err), PITR_NOTFOUND);
    assert_non_null(strstr(err.msg, "make one with 'pitr init'"));
    assert_int_equal(repo_open(&r, *state, REPO_READ, NULL, &err), PITR_NOTFOUND);
    assert_null(r);
}

static void
every_flipped_bit_of_the_description_is_corrupt(void **state)
{
    PITR_AUTO(str_freep) char *path = tmpdir_path(*state, "repository");
    struct buf good = {0};
    struct pitr_err err;
    struct repo *r = NULL;
    bool created;

    assert_int_equal(repo_init(*state, &created, &err), PITR_OK);
    assert_int_equal(fs_read_file(&good, path, 1 << 20, &err), PITR_OK);
    for (size_t i = 0; i < good.len; i++) {
        good.data[i] ^= (uint8_t)(1U << i % 8);
        assert_int_equal(fs_write_file(path, good.data, good.len, true, &err), PITR_OK);
        assert_int_equal(repo_open(&r, *state, REPO_READ, NULL, &err), PITR_CORRUPT);
        assert_non_null(strstr(err.msg, "/repository"));
        good.data[i] ^= (uint8_t)(1U << i % 8);
    }
    assert_null(r);
    buf_release(&good);
}

static void
reading_never_writes(void **state)
{
    PITR_AUTO(str_freep) char *path = tmpdir_path(*state, "ro");
    PITR_AUTO(str_freep) char *object = tmpdir_path(path, "repository");
    PITR_AUTO(str_freep) char *bare = tmpdir_path(*state, "bare");
    PITR_AUTO(str_freep) char *copy = tmpdir_path(bare, "repository");
    struct buf bytes = {0};
    struct fs_names names = {0};
    struct pitr_err err;
    struct repo *r;
    bool created;

    assert_int_equal(repo_init(path, &created, &err), PITR_OK);
    assert_int_equal(fs_read_file(&bytes, object, 1 << 20, &err), PITR_OK);
    assert_int_equal(fs_mkdir(bare, &err), PITR_OK);
    assert_int_equal(fs_write_file(copy, bytes.data, bytes.len, false, &err), PITR_OK);
    buf_release(&bytes);
    assert_int_equal(repo_open(&r, bare, REPO_READ, NULL, &err), PITR_OK);
    repo_free(r);
    assert_int_equal(fs_list(&names, bare, &err), PITR_OK);
    assert_int_equal(names.len, 1);
    fs_names_release(&names);
}

static void
a_lock_is_held_by_one(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    PITR_AUTO(fs_lock_freep) struct fs_lock *first = NULL, *second = NULL, *other = NULL;
    struct pitr_err err;

    assert_int_equal(repo_lock(r, "snapshot", &first, &err), PITR_OK);
    assert_int_equal(repo_lock(r, "snapshot", &second, &err), PITR_BUSY);
    assert_int_equal(repo_lock(r, "tail", &other, &err), PITR_OK);
    fs_lock_freep(&first);
    assert_int_equal(repo_lock(r, "snapshot", &second, &err), PITR_OK);
}

static void
a_note_comes_back_and_a_damaged_one_does_not(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    PITR_AUTO(str_freep) char *path = NULL;
    struct pitr_err err;
    bson_t in = BSON_INITIALIZER, out = BSON_INITIALIZER;
    struct buf bytes = {0};
    bool found;

    assert_int_equal(repo_note_read(r, "state/x", &out, &found, &err), PITR_OK);
    assert_false(found);
    BSON_APPEND_INT32(&in, "n", 7);
    assert_int_equal(repo_note_write(r, "state/x", &in, &err), PITR_OK);
    assert_int_equal(repo_note_write(r, "state/x", &in, &err), PITR_OK);
    assert_int_equal(repo_note_read(r, "state/x", &out, &found, &err), PITR_OK);
    assert_true(found);
    assert_true(bson_equal(&in, &out));
    bson_destroy(&out);
    assert_int_equal(repo_state_path(r, "x", &path, &err), PITR_OK);
    assert_int_equal(fs_read_file(&bytes, path, 1 << 20, &err), PITR_OK);
    bytes.data[bytes.len - 1] ^= 1;
    assert_int_equal(fs_write_file(path, bytes.data, bytes.len, true, &err), PITR_OK);
    bson_init(&out);
    assert_int_equal(repo_note_read(r, "state/x", &out, &found, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "reading state/x: "));
    bson_destroy(&out);
    bson_destroy(&in);
    buf_release(&bytes);
}

static struct server_info
server_of(const char *set, const char *id)
{
    struct server_info s = {.kind = *set != '\0' ? SERVER_REPLICA : SERVER_STANDALONE};

    snprintf(s.set_name, sizeof s.set_name, "%s", set);
    snprintf(s.replica_set_id, sizeof s.replica_set_id, "%s", id);
    snprintf(s.host, sizeof s.host, "db1:27017");
    return s;
}

static void
a_repository_stays_with_its_cluster(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    struct server_info alone = server_of("", "");
    struct server_info ours = server_of("rs0", "5f0000000000000000000001");
    struct server_info same_name = server_of("rs0", "5f0000000000000000000002");
    struct server_info no_id = server_of("rs0", "");
    struct cluster_id id;
    struct pitr_err err;
    bool known;

    assert_int_equal(repo_cluster(r, &id, &known, &err), PITR_OK);
    assert_false(known);
    assert_int_equal(repo_bind(r, &alone, &err), PITR_OK);
    assert_int_equal(repo_bind(r, &ours, &err), PITR_OK); /* PITR was switched on */
    assert_int_equal(repo_cluster(r, &id, &known, &err), PITR_OK);
    assert_true(known);
    assert_string_equal(id.replica_set_id, ours.replica_set_id);
    assert_int_equal(repo_bind(r, &ours, &err), PITR_OK);
    assert_int_equal(repo_bind(r, &no_id, &err), PITR_OK);
    assert_int_equal(repo_bind(r, &same_name, &err), PITR_USAGE);
    assert_non_null(strstr(err.msg, "5f0000000000000000000001"));
    assert_non_null(strstr(err.msg, "5f0000000000000000000002"));
    assert_int_equal(repo_bind(r, &alone, &err), PITR_USAGE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(init_makes_a_repository_once, tmpdir_setup,
                                        tmpdir_teardown),
        cmocka_unit_test_setup_teardown(init_refuses_a_directory_with_other_things, tmpdir_setup,
                                        tmpdir_teardown),
        cmocka_unit_test_setup_teardown(init_goes_on_after_an_init_that_was_killed, tmpdir_setup,
                                        tmpdir_teardown),
        cmocka_unit_test_setup_teardown(opening_nothing_says_how_to_begin, tmpdir_setup,
                                        tmpdir_teardown),
        cmocka_unit_test_setup_teardown(every_flipped_bit_of_the_description_is_corrupt,
                                        tmpdir_setup, tmpdir_teardown),
        cmocka_unit_test_setup_teardown(reading_never_writes, tmpdir_setup, tmpdir_teardown),
        cmocka_unit_test_setup_teardown(a_lock_is_held_by_one, tmpdir_setup, tmpdir_teardown),
        cmocka_unit_test_setup_teardown(a_note_comes_back_and_a_damaged_one_does_not, tmpdir_setup,
                                        tmpdir_teardown),
        cmocka_unit_test_setup_teardown(a_repository_stays_with_its_cluster, tmpdir_setup,
                                        tmpdir_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
