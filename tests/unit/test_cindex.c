#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "chunkstore/cindex.h"
#include "tests/support/tmpdir.h"

/* Frame i of pack p: made-up but reproducible. */
static struct pack_entry
nth_entry(unsigned pack, unsigned i)
{
    struct pack_entry e = {.offset = 24 + 100 * i,
                           .frame_len = 100,
                           .raw_len = 200 + i,
                           .type = FRAME_DATA,
                           .codec = CODEC_ZSTD};

    put_le64(e.id.b, (pack * UINT64_C(1000003) + i) * UINT64_C(0x9e3779b97f4a7c15));
    return e;
}

static struct pack_id
nth_pack(unsigned pack)
{
    return (struct pack_id){{0x70, (uint8_t)pack, (uint8_t)(pack >> 8)}};
}

static enum pitr_rc
put_pack(struct cindex *x, unsigned pack, unsigned frames, struct pitr_err *err)
{
    struct pack_entry entries[500];
    struct pack_id id = nth_pack(pack);

    assert_in_range(frames, 0, 500);
    for (unsigned i = 0; i < frames; i++)
        entries[i] = nth_entry(pack, i);
    return cindex_put_pack(x, &id, 1000 + pack, entries, frames, err);
}

static bool
has(struct cindex *x, unsigned pack, unsigned i)
{
    struct pack_entry want = nth_entry(pack, i);
    struct pack_id id = nth_pack(pack);
    struct cindex_value got;
    struct pitr_err err = {0};
    bool found = false;

    if (cindex_get(x, &want.id, want.type, &found, &got, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    if (!found)
        return false;
    assert_memory_equal(got.pack.b, id.b, PACK_ID_LEN);
    assert_int_equal(got.offset, want.offset);
    assert_int_equal(got.frame_len, want.frame_len);
    assert_int_equal(got.raw_len, want.raw_len);
    assert_int_equal(got.type, want.type);
    return true;
}

struct writer {
    struct fs_lock *lock;
    struct cindex *index;
};

static void
writer_close(struct writer *w)
{
    cindex_freep(&w->index);
    fs_lock_freep(&w->lock);
}

static struct writer
new_index(const char *dir, size_t map_size)
{
    struct cindex_opts opts = {.dir = dir, .map_size = map_size};
    struct writer w = {0};
    struct pitr_err err;

    assert_int_equal(cindex_lock(&w.lock, dir, &err), PITR_OK);
    opts.lock = w.lock;
    assert_int_equal(cindex_build(&w.index, &opts, &err), PITR_OK);
    assert_int_equal(cindex_publish(w.index, &err), PITR_OK);
    return w;
}

static enum pitr_rc
open_reader(struct cindex **out, const char *dir, struct pitr_err *err)
{
    const struct cindex_opts opts = {.dir = dir};

    return cindex_open(out, &opts, err);
}

/* A closed index of ten packs with fifty frames each. */
static void
make_index(const char *dir)
{
    PITR_AUTO(writer_close) struct writer w = new_index(dir, 0);
    struct pitr_err err;

    for (unsigned p = 0; p < 10; p++)
        assert_int_equal(put_pack(w.index, p, 50, &err), PITR_OK);
}

static char *
file_of(const char *dir, const char *name)
{
    PITR_AUTO(str_freep) char *current = tmpdir_path(dir, "current");
    PITR_AUTO(buf_release) struct buf gen = {0};
    struct pitr_err err;
    char *path = NULL;

    assert_int_equal(fs_read_file(&gen, current, 100, &err), PITR_OK);
    assert_true(asprintf(&path, "%s/%.18s/%s", dir, (char *)gen.data, name) > 0);
    return path;
}

static void
what_was_put_is_found_by_the_next_reader(void **state)
{
    PITR_AUTO(cindex_freep) struct cindex *x = NULL;
    struct pack_id id = nth_pack(3);
    uint64_t packs, frames, size = 0;
    struct pitr_err err;
    bool found = false;

    make_index(*state);
    assert_int_equal(open_reader(&x, *state, &err), PITR_OK);
    for (unsigned p = 0; p < 10; p++)
        for (unsigned i = 0; i < 50; i++)
            assert_true(has(x, p, i));
    assert_false(has(x, 10, 0));
    assert_int_equal(cindex_count(x, &packs, &frames, &err), PITR_OK);
    assert_int_equal(packs, 10);
    assert_int_equal(frames, 500);
    assert_int_equal(cindex_get_pack(x, &id, &found, &size, &err), PITR_OK);
    assert_true(found);
    assert_int_equal(size, 1003);
    id = nth_pack(99);
    assert_int_equal(cindex_get_pack(x, &id, &found, &size, &err), PITR_OK);
    assert_false(found);
    assert_true(cindex_is_current(x));
}

static void
the_same_id_under_two_types_is_two_entries(void **state)
{
    PITR_AUTO(writer_close) struct writer w = new_index(*state, 0);
    struct pack_entry e[2] = {nth_entry(0, 0), nth_entry(0, 0)};
    struct pack_id id = nth_pack(0);
    struct cindex_value got;
    struct pitr_err err;
    bool found;

    e[0].type = FRAME_NODE;
    e[1].offset = 999;
    assert_int_equal(cindex_put_pack(w.index, &id, 1, e, 2, &err), PITR_OK);
    assert_int_equal(cindex_get(w.index, &e[0].id, FRAME_DATA, &found, &got, &err), PITR_OK);
    assert_true(found);
    assert_int_equal(got.offset, 999);
    assert_int_equal(cindex_get(w.index, &e[0].id, FRAME_NODE, &found, &got, &err), PITR_OK);
    assert_true(found);
    assert_int_equal(got.offset, 24);
    assert_int_equal(cindex_get(w.index, &e[0].id, FRAME_LIST, &found, &got, &err), PITR_OK);
    assert_false(found);
    assert_int_equal(cindex_get(w.index, &e[0].id, 0, &found, &got, &err), PITR_OK);
    assert_true(found);
    e[0] = nth_entry(0, 1);
    assert_int_equal(cindex_get(w.index, &e[0].id, 0, &found, &got, &err), PITR_OK);
    assert_false(found);
}

static void
a_writer_can_go_on_where_the_last_one_closed(void **state)
{
    struct cindex_opts opts = {.dir = *state};
    PITR_AUTO(cindex_freep) struct cindex *x = NULL;
    struct writer w = {0};
    struct pitr_err err;

    make_index(*state);
    assert_int_equal(cindex_lock(&w.lock, *state, &err), PITR_OK);
    opts.lock = w.lock;
    assert_int_equal(cindex_open(&w.index, &opts, &err), PITR_OK);
    assert_int_equal(put_pack(w.index, 20, 50, &err), PITR_OK);
    assert_true(has(w.index, 20, 7) && has(w.index, 0, 7));
    writer_close(&w);
    assert_int_equal(open_reader(&x, *state, &err), PITR_OK);
    assert_true(has(x, 20, 7) && has(x, 0, 7));
}

static void
a_writer_that_changed_nothing_leaves_the_stamp(void **state)
{
    struct cindex_opts opts = {.dir = *state};
    PITR_AUTO(str_freep) char *stamp = NULL;
    PITR_AUTO(writer_close) struct writer w = {0};
    struct pitr_err err;
    bool there = false;

    make_index(*state);
    stamp = file_of(*state, "stamp");
    assert_int_equal(cindex_lock(&w.lock, *state, &err), PITR_OK);
    opts.lock = w.lock;
    assert_int_equal(cindex_open(&w.index, &opts, &err), PITR_OK);
    assert_int_equal(fs_exists(&there, stamp, &err), PITR_OK);
    assert_true(there);
    assert_int_equal(put_pack(w.index, 30, 1, &err), PITR_OK);
    assert_int_equal(fs_exists(&there, stamp, &err), PITR_OK);
    assert_false(there);
}

static void
a_second_writer_is_busy(void **state)
{
    PITR_AUTO(writer_close) struct writer w = new_index(*state, 0);
    struct fs_lock *other = NULL;
    struct pitr_err err;

    assert_int_equal(cindex_lock(&other, *state, &err), PITR_BUSY);
    assert_non_null(strstr(err.msg, "locked by process"));
}

static void
no_index_is_notfound(void **state)
{
    struct cindex *x = NULL;
    struct pitr_err err;

    assert_int_equal(open_reader(&x, *state, &err), PITR_NOTFOUND);
}

/* In a child, because one process must not open an index twice. */
static void
in_child(void (*body)(const char *dir), const char *dir, int want_status)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        body(dir);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, want_status);
}

static void
die_while_writing(const char *dir)
{
    struct writer w = new_index(dir, 0);
    struct pitr_err err;

    if (put_pack(w.index, 1, 50, &err) != PITR_OK)
        _exit(1);
    _exit(0); /* nothing closed, nothing stamped */
}

static void
an_index_whose_writer_died_is_corrupt(void **state)
{
    struct cindex *x = NULL;
    struct pitr_err err;

    in_child(die_while_writing, *state, 0);
    assert_int_equal(open_reader(&x, *state, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "not closed by its last writer"));
}

static void
a_new_writer_does_not_vouch_for_what_a_dead_one_left(void **state)
{
    struct cindex_opts opts = {.dir = *state};
    PITR_AUTO(fs_lock_freep) struct fs_lock *lock = NULL;
    struct cindex *x = NULL;
    struct pitr_err err;

    in_child(die_while_writing, *state, 0);
    assert_int_equal(cindex_lock(&lock, *state, &err), PITR_OK);
    opts.lock = lock;
    assert_int_equal(cindex_open(&x, &opts, &err), PITR_CORRUPT);
}

/* The marker of an earlier uptime must not count, even beside a live writer. */
static void
a_marker_from_before_a_reboot_is_not_believed(void **state)
{
    PITR_AUTO(fs_lock_freep) struct fs_lock *lock = NULL;
    PITR_AUTO(str_freep) char *mark = NULL;
    struct cindex *x = NULL;
    struct pitr_err err;

    in_child(die_while_writing, *state, 0);
    mark = file_of(*state, "open");
    assert_int_equal(fs_write_file(mark, "another boot", 12, true, &err), PITR_OK);
    assert_int_equal(cindex_lock(&lock, *state, &err), PITR_OK);
    assert_int_equal(open_reader(&x, *state, &err), PITR_CORRUPT);
}

static void
damage(const char *path, const char *how, size_t at)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    assert_int_equal(fs_read_file(&b, path, 1 << 26, &err), PITR_OK);
    if (strcmp(how, "delete") == 0) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    if (strcmp(how, "empty") == 0)
        b.len = 0;
    if (strcmp(how, "truncate") == 0)
        b.len = at % b.len;
    if (strcmp(how, "flip") == 0)
        b.data[at % b.len] ^= 1;
    if (strcmp(how, "garbage") == 0)
        memset(b.data, 0xa5, b.len);
    if (strcmp(how, "extend") == 0)
        assert_int_equal(buf_append(&b, "more", 4, &err), PITR_OK);
    assert_int_equal(fs_write_file(path, b.data, b.len, true, &err), PITR_OK);
}

static void
any_damage_to_any_file_is_noticed_before_it_is_mapped(void **state)
{
    static const char *const files[] = {"data.mdb", "stamp"};
    static const char *const hows[] = {"delete", "empty", "truncate", "flip", "garbage", "extend"};

    for (size_t f = 0; f < sizeof files / sizeof *files; f++)
        for (size_t h = 0; h < sizeof hows / sizeof *hows; h++)
            for (size_t at = 1; at < 100000; at = at * 5 + 3) {
                PITR_AUTO(str_freep) char *path = NULL;
                struct cindex *x = NULL;
                struct pitr_err err;
                enum pitr_rc rc;

                make_index(*state);
                path = file_of(*state, files[f]);
                damage(path, hows[h], at);
                rc = open_reader(&x, *state, &err);
                if (rc != PITR_CORRUPT && rc != PITR_NOTFOUND)
                    fail_msg("%s of %s at %zu was not noticed", hows[h], files[f], at);
                if (strcmp(hows[h], "truncate") != 0 && strcmp(hows[h], "flip") != 0)
                    break;
            }
}

static void
a_damaged_current_file_is_noticed(void **state)
{
    static const char *const hows[] = {"empty", "truncate", "flip", "garbage", "extend"};
    PITR_AUTO(str_freep) char *path = tmpdir_path(*state, "current");
    struct pitr_err err;

    for (size_t h = 0; h < sizeof hows / sizeof *hows; h++) {
        struct cindex *x = NULL;
        enum pitr_rc rc;

        make_index(*state);
        damage(path, hows[h], 5);
        rc = open_reader(&x, *state, &err);
        assert_true(rc == PITR_CORRUPT || rc == PITR_NOTFOUND);
    }
}

static void
a_rebuild_leaves_only_the_new_generation(void **state)
{
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    PITR_AUTO(cindex_freep) struct cindex *old = NULL;
    struct pitr_err err;

    make_index(*state);
    assert_int_equal(open_reader(&old, *state, &err), PITR_OK);
    make_index(*state);
    assert_false(cindex_is_current(old));
    assert_true(has(old, 5, 5)); /* the mapping outlives the name */
    assert_int_equal(fs_list(&names, *state, &err), PITR_OK);
    assert_int_equal(names.len, 3);
    assert_string_equal(names.at[0], "current");
    assert_string_equal(names.at[2], "writer.lock");
}

static void
an_abandoned_build_leaves_nothing(void **state)
{
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    const struct cindex_opts opts = {.dir = *state};
    struct cindex *x = NULL;
    struct pitr_err err;

    assert_int_equal(cindex_build(&x, &opts, &err), PITR_OK);
    assert_int_equal(put_pack(x, 1, 50, &err), PITR_OK);
    assert_true(has(x, 1, 1));
    cindex_free(x);
    assert_int_equal(fs_list(&names, *state, &err), PITR_OK);
    assert_int_equal(names.len, 0);
}

static void
a_map_that_is_too_small_grows(void **state)
{
    struct writer w = new_index(*state, 64 << 10);
    PITR_AUTO(cindex_freep) struct cindex *x = NULL;
    struct pitr_err err = {0};

    for (unsigned p = 0; p < 40; p++)
        if (put_pack(w.index, p, 500, &err) != PITR_OK)
            fail_msg("%s", err.msg);
    for (unsigned p = 0; p < 40; p++)
        assert_true(has(w.index, p, 499));
    writer_close(&w);
    assert_int_equal(open_reader(&x, *state, &err), PITR_OK);
    assert_true(has(x, 39, 499));
}

struct crowd {
    struct cindex *index;
    atomic_uint done; /* packs that are in */
    atomic_bool stop;
};

static void *
look_up(void *arg)
{
    struct crowd *c = arg;
    unsigned seen = 0;

    while (!atomic_load(&c->stop) || seen < 30) {
        unsigned packs = atomic_load(&c->done);

        if (packs > 0 && !has(c->index, seen % packs, seen % 500))
            return c;
        seen += packs > 0;
    }
    return NULL;
}

static void
threads_read_while_one_writes_and_the_map_grows(void **state)
{
    struct writer w = new_index(*state, 64 << 10);
    struct crowd c = {.index = w.index};
    pthread_t threads[3];
    struct pitr_err err;
    void *failed;

    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_up, &c), 0);
    for (unsigned p = 0; p < 30; p++) {
        assert_int_equal(put_pack(w.index, p, 500, &err), PITR_OK);
        atomic_store(&c.done, p + 1);
    }
    atomic_store(&c.stop, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    writer_close(&w);
}

/* The child reads beside a living writer that has changed the index since it was stamped. */
static void
read_beside_the_writer(const char *dir)
{
    struct cindex *x = NULL;
    struct pitr_err err = {0};

    if (open_reader(&x, dir, &err) != PITR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        _exit(2);
    }
    for (unsigned p = 0; p < 5; p++)
        if (!has(x, p, 499))
            _exit(3);
    cindex_free(x);
}

static void
another_process_reads_beside_a_living_writer(void **state)
{
    struct writer w = new_index(*state, 64 << 10);
    struct pitr_err err;

    for (unsigned p = 0; p < 5; p++)
        assert_int_equal(put_pack(w.index, p, 500, &err), PITR_OK);
    in_child(read_beside_the_writer, *state, 0);
    writer_close(&w);
    in_child(read_beside_the_writer, *state, 0);
}

static void
read_as_nobody(const char *dir)
{
    struct cindex *x = NULL;
    struct fs_lock *lock = NULL;
    struct pitr_err err = {0};

    if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0))
        _exit(2);
    if (open_reader(&x, dir, &err) != PITR_OK || !has(x, 9, 49)) {
        fprintf(stderr, "%s\n", err.msg);
        _exit(3);
    }
    /* Without a say in LMDB's lock file, a reader has to keep writers out. */
    if (geteuid() == 65534 && cindex_lock(&lock, dir, &err) == PITR_OK)
        _exit(4);
    cindex_free(x);
}

static void
an_index_that_cannot_be_written_can_be_read(void **state)
{
    PITR_AUTO(str_freep) char *command = NULL;

    make_index(*state);
    assert_true(asprintf(&command, "chmod -R a=rX '%s'", (char *)*state) > 0);
    assert_int_equal(system(command), 0);
    in_child(read_as_nobody, *state, 0);
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_was_put_is_found_by_the_next_reader),
        CASE(the_same_id_under_two_types_is_two_entries),
        CASE(a_writer_can_go_on_where_the_last_one_closed),
        CASE(a_writer_that_changed_nothing_leaves_the_stamp),
        CASE(a_second_writer_is_busy),
        CASE(no_index_is_notfound),
        CASE(an_index_whose_writer_died_is_corrupt),
        CASE(a_new_writer_does_not_vouch_for_what_a_dead_one_left),
        CASE(a_marker_from_before_a_reboot_is_not_believed),
        CASE(any_damage_to_any_file_is_noticed_before_it_is_mapped),
        CASE(a_damaged_current_file_is_noticed),
        CASE(a_rebuild_leaves_only_the_new_generation),
        CASE(an_abandoned_build_leaves_nothing),
        CASE(a_map_that_is_too_small_grows),
        CASE(threads_read_while_one_writes_and_the_map_grows),
        CASE(another_process_reads_beside_a_living_writer),
        CASE(an_index_that_cannot_be_written_can_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
