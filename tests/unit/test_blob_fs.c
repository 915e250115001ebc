#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "chunkstore/blob.h"
#include "tests/support/tmpdir.h"

static struct blob *
blob_in(void **state)
{
    struct blob *b = NULL;
    struct pitr_err err;

    assert_int_equal(blob_fs_new(&b, *state, &err), PITR_OK);
    return b;
}

static void
put(struct blob *b, const char *name, const char *text)
{
    struct pitr_err err = {0};

    if (blob_put(b, name, text, strlen(text), false, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

static void
assert_object(struct blob *b, const char *name, const char *want)
{
    PITR_AUTO(buf_release) struct buf got = {0};
    struct pitr_err err;

    assert_int_equal(blob_get(b, name, 1 << 20, &got, &err), PITR_OK);
    assert_int_equal(got.len, strlen(want));
    if (got.len > 0)
        assert_memory_equal(got.data, want, got.len);
}

/* Names of the objects below a prefix, joined by spaces. */
static enum pitr_rc
join_name(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    struct buf *all = arg;

    (void)size;
    if (all->len > 0 && buf_append_u8(all, ' ', err) != PITR_OK)
        return err->rc;
    return buf_append(all, name, strlen(name), err);
}

static void
assert_listed(struct blob *b, const char *prefix, const char *want)
{
    PITR_AUTO(buf_release) struct buf all = {0};
    struct pitr_err err;

    assert_int_equal(blob_list(b, prefix, join_name, &all, &err), PITR_OK);
    assert_int_equal(buf_append_u8(&all, 0, &err), PITR_OK);
    assert_string_equal((char *)all.data, want);
}

static void
objects_read_back_whole_and_in_ranges(void **state)
{
    PITR_AUTO(blob_freep) struct blob *b = blob_in(state);
    struct pitr_err err;
    uint64_t size = 0;
    char part[4];

    put(b, "packs/3f/x.pack", "0123456789");
    put(b, "empty", "");
    assert_object(b, "packs/3f/x.pack", "0123456789");
    assert_object(b, "empty", "");
    assert_int_equal(blob_size(b, "packs/3f/x.pack", &size, &err), PITR_OK);
    assert_int_equal(size, 10);
    assert_int_equal(blob_read(b, "packs/3f/x.pack", 6, part, 4, &err), PITR_OK);
    assert_memory_equal(part, "6789", 4);
    assert_int_equal(blob_read(b, "packs/3f/x.pack", 7, part, 4, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "packs/3f/x.pack"));
}

static void
nothing_is_visible_before_commit_and_nothing_is_left_after_abort(void **state)
{
    PITR_AUTO(blob_freep) struct blob *b = blob_in(state);
    PITR_AUTO(fs_names_release) struct fs_names left = {0};
    char *tmp = tmpdir_path(*state, "tmp");
    struct blob_writer *w = NULL;
    struct pitr_err err;
    uint64_t size;

    assert_int_equal(blob_create(b, "a/b", &w, &err), PITR_OK);
    assert_int_equal(blob_write(w, "text", 4, &err), PITR_OK);
    assert_listed(b, "", "");
    assert_int_equal(blob_size(b, "a/b", &size, &err), PITR_NOTFOUND);
    blob_writer_free(w);
    assert_listed(b, "", "");
    assert_int_equal(fs_list(&left, tmp, &err), PITR_OK);
    assert_int_equal(left.len, 0);
    free(tmp);
}

static void
an_existing_object_is_only_replaced_on_demand(void **state)
{
    PITR_AUTO(blob_freep) struct blob *b = blob_in(state);
    struct pitr_err err;

    put(b, "a/b", "one");
    assert_int_equal(blob_put(b, "a/b", "two", 3, false, &err), PITR_EXISTS);
    assert_non_null(strstr(err.msg, "a/b"));
    assert_object(b, "a/b", "one");
    assert_int_equal(blob_put(b, "a/b", "two", 3, true, &err), PITR_OK);
    assert_object(b, "a/b", "two");
}

static void
a_missing_object_is_notfound_but_may_be_removed(void **state)
{
    PITR_AUTO(blob_freep) struct blob *b = blob_in(state);
    PITR_AUTO(buf_release) struct buf got = {0};
    struct pitr_err err;
    char c;

    assert_int_equal(blob_get(b, "none", 10, &got, &err), PITR_NOTFOUND);
    assert_int_equal(blob_read(b, "x/none", 0, &c, 1, &err), PITR_NOTFOUND);
    assert_int_equal(blob_remove(b, "none", &err), PITR_OK);
    put(b, "x/some", "1");
    assert_int_equal(blob_remove(b, "x/some", &err), PITR_OK);
    assert_int_equal(blob_read(b, "x/some", 0, &c, 1, &err), PITR_NOTFOUND);
}

static void
get_refuses_more_than_its_limit(void **state)
{
    PITR_AUTO(blob_freep) struct blob *b = blob_in(state);
    PITR_AUTO(buf_release) struct buf got = {0};
    struct pitr_err err;

    put(b, "a", "12345");
    assert_int_equal(blob_get(b, "a", 4, &got, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "a has 5 bytes; at most 4"));
}

static void
listings_are_in_byte_order_of_whole_names(void **state)
{
    PITR_AUTO(blob_freep) struct blob *b = blob_in(state);

    put(b, "p/a/1", "");
    put(b, "p/a-b", "");
    put(b, "p/a.b", "");
    put(b, "p/a0", "");
    put(b, "p/ b", "");
    put(b, "q", "");
    put(b, "tmpfile", "");
    put(b, "p/tmp/1", "");
    assert_listed(b, "p/", "p/ b p/a-b p/a.b p/a/1 p/a0 p/tmp/1");
    assert_listed(b, "", "p/ b p/a-b p/a.b p/a/1 p/a0 p/tmp/1 q tmpfile");
    assert_listed(b, "p/a/", "p/a/1");
    assert_listed(b, "none/", "");
}

static enum pitr_rc
refuse(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    (void)size;
    ++*(int *)arg;
    return pitr_fail(err, PITR_GAP, "stop at %s", name);
}

static void
a_failing_visitor_stops_the_listing(void **state)
{
    PITR_AUTO(blob_freep) struct blob *b = blob_in(state);
    struct pitr_err err;
    int calls = 0;

    put(b, "a/1", "");
    put(b, "a/2", "");
    assert_int_equal(blob_list(b, "", refuse, &calls, &err), PITR_GAP);
    assert_string_equal(err.msg, "stop at a/1");
    assert_int_equal(calls, 1);
}

static void
names_that_leave_the_root_are_refused(void **state)
{
    static const char *const bad[] = {"../x", "a/../x", "/x",    "a//x", "",
                                      "a/",   ".",      "a/./x", "tmp/x"};
    static const char *const fine[] = {"..x", "a/.x", "x..", "..."};
    PITR_AUTO(blob_freep) struct blob *b = blob_in(state);
    struct pitr_err err;
    uint64_t size;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(blob_put(b, bad[i], "", 0, false, &err), PITR_INTERNAL);
        assert_int_equal(blob_size(b, bad[i], &size, &err), PITR_INTERNAL);
    }
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        put(b, fine[i], "x");
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
    const struct CMUnitTest tests[] = {
        CASE(objects_read_back_whole_and_in_ranges),
        CASE(nothing_is_visible_before_commit_and_nothing_is_left_after_abort),
        CASE(an_existing_object_is_only_replaced_on_demand),
        CASE(a_missing_object_is_notfound_but_may_be_removed),
        CASE(get_refuses_more_than_its_limit),
        CASE(listings_are_in_byte_order_of_whole_names),
        CASE(a_failing_visitor_stops_the_listing),
        CASE(names_that_leave_the_root_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
