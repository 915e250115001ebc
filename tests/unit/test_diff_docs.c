/* Two nets over one base, and two streams with nothing in common: every document that differs is
 * told, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/diff_internal.h"
#include "tests/support/ejson.h"
#include "tests/support/scan.h"
#include "tests/support/tmpdir.h"

#define SNAPSHOT "20261123T140307Z-aaaaaa"
#define ANOTHER "20261124T140307Z-bbbbbb"

enum { ORDERS = 1 };

struct fixture {
    struct repo *repo;
    struct doc_array *docs;
    struct job job;
    struct diff_opts opts;
    struct diff diff;
    struct state_coll from, to;
    char told[4000];
};

static void
setup_base(struct fixture *f, const char *dir)
{
    struct pitr_err err;
    bool created;

    *f = (struct fixture){.docs = doc_array_new()};
    assert_int_equal(repo_init(dir, &created, &err), PITR_OK);
    assert_int_equal(repo_open(&f->repo, dir, REPO_WRITE, NULL, &err), PITR_OK);
    /* The first one's UUID is all zeros, which counts as none. */
    assert_int_equal(doc_array_coll(f->docs, "shop", "first"), 0);
    assert_int_equal(doc_array_coll(f->docs, "shop", "orders"), ORDERS);
}

static struct net *
new_net(struct fixture *f)
{
    struct net *n;
    struct pitr_err err;

    (void)f;
    assert_int_equal(net_new(&n, FIELD_ORDER_NUMERIC, NULL, &err), PITR_OK);
    return n;
}

static void
load(struct fixture *f, struct state *s, struct state_coll *c)
{
    struct pitr_err err;

    assert_int_equal(manifest_read(f->repo, SNAPSHOT, &s->manifest, &err), PITR_OK);
    assert_int_equal(repo_store(f->repo, &s->store, &err), PITR_OK);
    *c = (struct state_coll){.source_ns = (char *)(uintptr_t) "shop.orders",
                             .node = &s->manifest.colls[ORDERS],
                             .uuid = s->manifest.colls[ORDERS].uuid,
                             .net = new_net(f)};
}

/* The documents are added: both moments stand on them. */
static void
setup_sides(struct fixture *f)
{
    struct pitr_err err;

    if (scan_snapshot(f->repo, f->docs, SNAPSHOT, NULL, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    f->opts.job = &f->job;
    f->diff.o = &f->opts;
    load(f, &f->diff.from, &f->from);
    load(f, &f->diff.to, &f->to);
    assert_int_equal(spill_new(&f->diff.spill, 1 << 20, &err), PITR_OK);
}

static void
teardown_fixture(struct fixture *f)
{
    net_free(f->from.net);
    net_free(f->to.net);
    manifest_release(&f->diff.from.manifest);
    manifest_release(&f->diff.to.manifest);
    spill_free(f->diff.spill);
    repo_free(f->repo);
    doc_array_free(f->docs);
}

static void
check(enum pitr_rc rc, const struct pitr_err *err)
{
    if (rc != PITR_OK)
        fail_msg("%s", err->msg);
}

enum { FROM = 1, TO = 2 };

static void
insert(struct fixture *f, int sides, const char *text)
{
    struct buf doc = {0};
    struct pitr_err err;

    ejson(&doc, text);
    if ((sides & FROM) != 0)
        check(net_insert(f->from.net, doc.data, doc.len, OP_LENIENT, &err), &err);
    if ((sides & TO) != 0)
        check(net_insert(f->to.net, doc.data, doc.len, OP_LENIENT, &err), &err);
    buf_release(&doc);
}

static void
update(struct fixture *f, int sides, const char *key_text, const char *op_text)
{
    struct buf key = {0}, op = {0};
    struct pitr_err err;

    ejson(&key, key_text);
    ejson(&op, op_text);
    if ((sides & FROM) != 0)
        check(net_update(f->from.net, key.data, key.len, op.data, op.len, false, OP_LENIENT, &err),
              &err);
    if ((sides & TO) != 0)
        check(net_update(f->to.net, key.data, key.len, op.data, op.len, false, OP_LENIENT, &err),
              &err);
    buf_release(&key);
    buf_release(&op);
}

static void
remove_one(struct fixture *f, int sides, const char *text)
{
    struct buf key = {0};
    struct pitr_err err;

    ejson(&key, text);
    if ((sides & FROM) != 0)
        check(net_delete(f->from.net, key.data, key.len, OP_LENIENT, &err), &err);
    if ((sides & TO) != 0)
        check(net_delete(f->to.net, key.data, key.len, OP_LENIENT, &err), &err);
    buf_release(&key);
}

static enum pitr_rc
see(void *arg, const uint8_t *before, size_t before_len, const uint8_t *after, size_t after_len,
    struct pitr_err *err)
{
    struct fixture *f = arg;
    size_t at = strlen(f->told);
    int64_t id = -1;
    struct belem e;
    bool found;

    assert_int_equal(bson_find(after != NULL ? after : before,
                               after != NULL ? after_len : before_len, "_id", &found, &e, err),
                     PITR_OK);
    assert_true(found && belem_int64(&e, &id));
    snprintf(f->told + at, sizeof f->told - at, "%c%d ",
             before == NULL  ? '+'
             : after == NULL ? '-'
                             : '~',
             (int)id);
    return PITR_OK;
}

static void
expect(struct fixture *f, const char *wanted)
{
    const struct diff_pair pair = {&f->from, &f->to};
    struct pitr_err err;

    check(net_seal(f->from.net, &err), &err);
    check(net_seal(f->to.net, &err), &err);
    check(diff_documents(&f->diff, &pair, see, f, &err), &err);
    assert_string_equal(f->told, wanted);
}

static void
what_no_operation_names_is_the_same(void **state)
{
    struct fixture f;

    setup_base(&f, *state);
    for (int i = 0; i < 100; i++)
        doc_array_add(f.docs, ORDERS, i, 10, 1);
    setup_sides(&f);
    update(&f, FROM | TO, "{\"_id\":1}", "{\"$set\":{\"a\":1}}");
    remove_one(&f, FROM | TO, "{\"_id\":2}");
    expect(&f, "");
    teardown_fixture(&f);
}

static void
changes_after_the_earlier_moment_are_told(void **state)
{
    struct fixture f;

    setup_base(&f, *state);
    for (int i = 0; i < 10; i++)
        doc_array_add(f.docs, ORDERS, i, 10, 1);
    setup_sides(&f);
    update(&f, FROM | TO, "{\"_id\":1}", "{\"$set\":{\"a\":1}}");
    update(&f, TO, "{\"_id\":1}", "{\"$set\":{\"a\":2}}");
    update(&f, TO, "{\"_id\":2}", "{\"$set\":{\"a\":2}}");
    remove_one(&f, TO, "{\"_id\":3}");
    remove_one(&f, FROM | TO, "{\"_id\":4}");
    insert(&f, TO, "{\"_id\":4}");
    insert(&f, FROM | TO, "{\"_id\":20}");
    insert(&f, FROM | TO, "{\"_id\":21}");
    remove_one(&f, TO, "{\"_id\":21}");
    insert(&f, TO, "{\"_id\":22}");
    remove_one(&f, TO, "{\"_id\":22}");
    /* There and back again. */
    update(&f, TO, "{\"_id\":20}", "{\"$set\":{\"a\":2}}");
    update(&f, TO, "{\"_id\":20}", "{\"$unset\":{\"a\":1}}");
    expect(&f, "~1 ~2 -3 +4 -21 ");
    teardown_fixture(&f);
}

static void
a_document_that_the_fuzzy_base_holds_twice_is_told_once(void **state)
{
    struct fixture f;

    setup_base(&f, *state);
    for (int i = 0; i < 5; i++)
        doc_array_add(f.docs, ORDERS, i, 10, 1);
    for (int i = 0; i < 5; i++)
        doc_array_add(f.docs, ORDERS, i, 10, 2);
    setup_sides(&f);
    for (int i = 0; i < 5; i++) {
        char text[40];

        snprintf(text, sizeof text, "{\"_id\":%d}", i);
        remove_one(&f, FROM | TO, text);
        insert(&f, FROM | TO, text);
    }
    remove_one(&f, TO, "{\"_id\":1}");
    update(&f, TO, "{\"_id\":2}", "{\"$set\":{\"a\":2}}");
    remove_one(&f, TO, "{\"_id\":3}");
    insert(&f, TO, "{\"_id\":3}");
    expect(&f, "-1 ~2 ");
    teardown_fixture(&f);
}

static void
a_collection_emptied_in_between_has_lost_its_documents(void **state)
{
    struct fixture f;

    setup_base(&f, *state);
    doc_array_add(f.docs, ORDERS, 1, 10, 1);
    setup_sides(&f);
    f.from.node = f.to.node = NULL;
    insert(&f, FROM, "{\"_id\":1}");
    insert(&f, FROM, "{\"_id\":2}");
    insert(&f, TO, "{\"_id\":2,\"a\":1}");
    expect(&f, "~2 -1 ");
    teardown_fixture(&f);
}

static void
other_bases_are_joined_by_id(void **state)
{
    struct fixture f;

    setup_base(&f, *state);
    for (int i = 0; i < 4; i++)
        doc_array_add(f.docs, ORDERS, i, 10, 1);
    setup_sides(&f);
    snprintf(f.diff.to.manifest.id, sizeof f.diff.to.manifest.id, ANOTHER);
    remove_one(&f, FROM, "{\"_id\":1}");
    update(&f, FROM, "{\"_id\":2}", "{\"$set\":{\"a\":2}}");
    insert(&f, FROM, "{\"_id\":8}");
    insert(&f, TO, "{\"_id\":9}");
    expect(&f, "+1 ~2 +9 -8 ");
    teardown_fixture(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_no_operation_names_is_the_same, tmpdir_setup,
                                        tmpdir_teardown),
        cmocka_unit_test_setup_teardown(changes_after_the_earlier_moment_are_told, tmpdir_setup,
                                        tmpdir_teardown),
        cmocka_unit_test_setup_teardown(a_document_that_the_fuzzy_base_holds_twice_is_told_once,
                                        tmpdir_setup, tmpdir_teardown),
        cmocka_unit_test_setup_teardown(a_collection_emptied_in_between_has_lost_its_documents,
                                        tmpdir_setup, tmpdir_teardown),
        cmocka_unit_test_setup_teardown(other_bases_are_joined_by_id, tmpdir_setup,
                                        tmpdir_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
