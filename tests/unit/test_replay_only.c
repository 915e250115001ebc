/* Claims about replay_opts.only: of all documents, one is followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "oplog/docid.h"
#include "oplog/replay.h"
#include "tests/support/ejson.h"

#define UUID_A "{\"$binary\":{\"base64\":\"AAAAAAAAAAAAAAAAAAAAAQ==\",\"subType\":\"04\"}}"
#define UUID_B "{\"$binary\":{\"base64\":\"AAAAAAAAAAAAAAAAAAAAAg==\",\"subType\":\"04\"}}"

static const uint8_t uuid_a[UUID_LEN] = {[15] = 1};

struct fixture {
    struct replay *r;
    struct buf entry, only;
    struct pitr_err err;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct replay_opts opts = {.t_start = ts_make(10, 1),
                               .t_end = ts_make(20, 1),
                               .to = ts_make(100, 1),
                               .order = FIELD_ORDER_NUMERIC};
    struct belem id;
    bool found;

    *state = f;
    if (f == NULL)
        return 1;
    ejson(&f->entry, "{\"_id\":7}");
    if (bson_find(f->entry.data, f->entry.len, "_id", &found, &id, &f->err) != PITR_OK || !found ||
        docid_append(&f->only, &id, &f->err) != PITR_OK)
        return 1;
    opts.only = &f->only;
    ejson(&f->entry, "{}");
    return replay_new(&f->r, &opts, &f->err) != PITR_OK ||
           replay_add_base(f->r, "shop", "orders", uuid_a, &f->entry, &f->entry, 0, false,
                           &f->err) != PITR_OK;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    replay_free(f->r);
    buf_release(&f->entry);
    buf_release(&f->only);
    free(f);
    return 0;
}

static enum pitr_rc
feed(struct fixture *f, unsigned at, const char *rest)
{
    struct oplog_entry e;
    char text[1024];

    snprintf(text, sizeof text,
             "{\"ts\":{\"$timestamp\":{\"t\":%u,\"i\":1}},\"t\":{\"$numberLong\":\"1\"},"
             "\"v\":{\"$numberLong\":\"2\"},\"wall\":{\"$date\":{\"$numberLong\":\"0\"}},%s}",
             at, rest);
    ejson(&f->entry, text);
    if (oplog_entry_parse(&e, f->entry.data, f->entry.len, &f->err) != PITR_OK)
        return f->err.rc;
    return replay_entry(f->r, &e, &f->err);
}

static enum pitr_rc
count_one(void *arg, const struct net_stranger *s, struct pitr_err *err)
{
    size_t *n = arg;

    (void)s;
    (void)err;
    (*n)++;
    return PITR_OK;
}

#define IN_A(op, o) "\"op\":\"" op "\",\"ns\":\"shop.orders\",\"ui\":" UUID_A ",\"o\":" o
#define IN_B(op, o) "\"op\":\"" op "\",\"ns\":\"shop.other\",\"ui\":" UUID_B ",\"o\":" o

static void
other_documents_are_counted_but_not_kept(void **state)
{
    struct fixture *f = *state;
    size_t named = 0;

    assert_int_equal(feed(f, 30, IN_A("i", "{\"_id\":1}")), PITR_OK);
    assert_int_equal(feed(f, 31, IN_A("i", "{\"_id\":{\"$numberDouble\":\"7\"}}")), PITR_OK);
    assert_int_equal(
        feed(f, 32, IN_A("u", "{\"$v\":2,\"diff\":{\"u\":{\"a\":2}}},\"o2\":{\"_id\":2}")),
        PITR_OK);
    assert_int_equal(
        feed(f, 33, IN_A("u", "{\"$v\":2,\"diff\":{\"u\":{\"a\":2}}},\"o2\":{\"_id\":7}")),
        PITR_OK);
    assert_int_equal(feed(f, 34, IN_A("d", "{\"_id\":3}")), PITR_OK);
    assert_int_equal(replay_finish(f->r, &f->err), PITR_OK);
    assert_int_equal(replay_operations(f->r), 5);
    assert_int_equal(net_strangers(replay_at(f->r, 0)->net, count_one, &named, &f->err), PITR_OK);
    assert_int_equal(named, 1);
}

static void
an_operation_on_an_unknown_collection_is_still_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(feed(f, 30, IN_B("i", "{\"_id\":1}")), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "the collection is not known"));
}

static void
an_operation_without_id_is_still_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(feed(f, 30, IN_A("i", "{\"a\":1}")), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "names no _id"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(other_documents_are_counted_but_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(an_operation_on_an_unknown_collection_is_still_refused,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(an_operation_without_id_is_still_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
