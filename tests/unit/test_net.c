/* Claims about oplog/net.h: the net effect per _id, and what it demands of the base. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bson/bson.h>

#include "oplog/net.h"

struct fixture {
    struct net *net;
    struct pitr_err err;
    struct buf changed, scratch;
    char rest[512]; /* documents of net_rest() as JSON, in order */
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    return f == NULL || net_new(&f->net, FIELD_ORDER_NUMERIC, NULL, &f->err) != PITR_OK;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    net_free(f->net);
    buf_release(&f->changed);
    buf_release(&f->scratch);
    free(f);
    return 0;
}

static bson_t *
json(const char *text)
{
    bson_error_t why;
    bson_t *doc = bson_new_from_json((const uint8_t *)text, -1, &why);

    if (doc == NULL)
        fail_msg("%s: %s", text, why.message);
    return doc;
}

static enum pitr_rc
insert(struct fixture *f, const char *doc, enum op_mode mode)
{
    bson_t *d = json(doc);
    enum pitr_rc rc = net_insert(f->net, bson_get_data(d), d->len, mode, &f->err);

    bson_destroy(d);
    return rc;
}

static enum pitr_rc
update(struct fixture *f, const char *key, const char *o, bool upsert, enum op_mode mode)
{
    bson_t *k = json(key), *u = json(o);
    enum pitr_rc rc = net_update(f->net, bson_get_data(k), k->len, bson_get_data(u), u->len, upsert,
                                 mode, &f->err);

    bson_destroy(k);
    bson_destroy(u);
    return rc;
}

static enum pitr_rc
erase(struct fixture *f, const char *key, enum op_mode mode)
{
    bson_t *k = json(key);
    enum pitr_rc rc = net_delete(f->net, bson_get_data(k), k->len, mode, &f->err);

    bson_destroy(k);
    return rc;
}

static enum pitr_rc
filter(struct fixture *f, const char *doc, enum net_verdict *verdict)
{
    bson_t *d = json(doc);
    enum pitr_rc rc =
        net_filter(f->net, bson_get_data(d), d->len, verdict, &f->changed, &f->scratch, &f->err);

    bson_destroy(d);
    return rc;
}

static void
append(char *to, size_t cap, const char *text)
{
    size_t used = strlen(to);

    assert_true((size_t)snprintf(to + used, cap - used, "%s", text) < cap - used);
}

static enum pitr_rc
append_json(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct fixture *f = arg;
    bson_t b;
    char *text;

    (void)err;
    assert_true(bson_init_static(&b, doc, len));
    text = bson_as_relaxed_extended_json(&b, NULL);
    append(f->rest, sizeof f->rest, text);
    bson_free(text);
    return PITR_OK;
}

static enum pitr_rc
rest(struct fixture *f)
{
    f->rest[0] = '\0';
    return net_rest(f->net, append_json, f, &f->err);
}

static void
a_document_the_oplog_does_not_name_is_kept(void **state)
{
    struct fixture *f = *state;
    enum net_verdict verdict;

    assert_int_equal(insert(f, "{\"_id\":1}", OP_STRICT), PITR_OK);
    assert_int_equal(filter(f, "{\"_id\":2}", &verdict), PITR_OK);
    assert_int_equal(verdict, NET_KEEP);
}

static void
inserts_come_out_in_the_order_they_were_made(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(insert(f, "{\"_id\":3}", OP_STRICT), PITR_OK);
    assert_int_equal(insert(f, "{\"_id\":1}", OP_STRICT), PITR_OK);
    assert_int_equal(insert(f, "{\"_id\":2}", OP_STRICT), PITR_OK);
    assert_int_equal(rest(f), PITR_OK);
    assert_string_equal(f->rest, "{ \"_id\" : 3 }{ \"_id\" : 1 }{ \"_id\" : 2 }");
}

static void
updates_of_a_base_document_are_applied_in_its_place(void **state)
{
    struct fixture *f = *state;
    enum net_verdict verdict;
    bson_t b;

    assert_int_equal(
        update(f, "{\"_id\":1}", "{\"$v\":2,\"diff\":{\"u\":{\"a\":2}}}", false, OP_STRICT),
        PITR_OK);
    assert_int_equal(
        update(f, "{\"_id\":1}", "{\"$v\":2,\"diff\":{\"i\":{\"b\":3}}}", false, OP_STRICT),
        PITR_OK);
    assert_int_equal(
        update(f, "{\"_id\":1}", "{\"$v\":2,\"diff\":{\"u\":{\"b\":4}}}", false, OP_STRICT),
        PITR_OK);
    assert_int_equal(filter(f, "{\"_id\":1,\"a\":1}", &verdict), PITR_OK);
    assert_int_equal(verdict, NET_CHANGED);
    assert_true(bson_init_static(&b, f->changed.data, f->changed.len));
    bson_t *want = json("{\"_id\":1,\"a\":2,\"b\":4}");
    assert_true(bson_equal(&b, want));
    bson_destroy(want);
    assert_int_equal(rest(f), PITR_OK);
    assert_string_equal(f->rest, "");
}

static void
numeric_ids_of_different_types_are_one_document(void **state)
{
    struct fixture *f = *state;
    enum net_verdict verdict;

    assert_int_equal(erase(f, "{\"_id\":{\"$numberLong\":\"7\"}}", OP_STRICT), PITR_OK);
    assert_int_equal(filter(f, "{\"_id\":{\"$numberDouble\":\"7\"}}", &verdict), PITR_OK);
    assert_int_equal(verdict, NET_DROP);
}

static void
many_updates_of_one_insert_fold_to_one_document(void **state)
{
    struct fixture *f = *state;
    char o[96];

    assert_int_equal(insert(f, "{\"_id\":1,\"n\":0}", OP_STRICT), PITR_OK);
    for (int i = 1; i <= 1000; i++) {
        snprintf(o, sizeof o, "{\"$v\":2,\"diff\":{\"u\":{\"n\":%d}}}", i);
        assert_int_equal(update(f, "{\"_id\":1}", o, false, OP_STRICT), PITR_OK);
    }
    assert_int_equal(rest(f), PITR_OK);
    assert_string_equal(f->rest, "{ \"_id\" : 1, \"n\" : 1000 }");
}

static void
in_the_window_the_base_may_hold_the_insert_already(void **state)
{
    struct fixture *f = *state;
    enum net_verdict verdict;

    assert_int_equal(insert(f, "{\"_id\":1,\"a\":1}", OP_FUZZY), PITR_OK);
    assert_int_equal(filter(f, "{\"_id\":1,\"a\":9}", &verdict), PITR_OK);
    assert_int_equal(verdict, NET_DROP);
    assert_int_equal(rest(f), PITR_OK);
    assert_string_equal(f->rest, "{ \"_id\" : 1, \"a\" : 1 }");
}

static void
after_the_window_an_insert_over_a_base_document_is_corruption(void **state)
{
    struct fixture *f = *state;
    enum net_verdict verdict;

    assert_int_equal(insert(f, "{\"_id\":1}", OP_STRICT), PITR_OK);
    assert_int_equal(filter(f, "{\"_id\":1}", &verdict), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "inserts a document that the snapshot has already"));
}

static void
an_update_whose_document_is_nowhere_is_corruption(void **state)
{
    struct fixture *f = *state;
    const char *o = "{\"$v\":2,\"diff\":{\"u\":{\"a\":2}}}";

    assert_int_equal(update(f, "{\"_id\":1}", o, false, OP_STRICT), PITR_OK);
    assert_int_equal(rest(f), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "changes a document that the snapshot lacks"));
}

static void
a_window_update_without_document_must_be_resolved_by_a_delete(void **state)
{
    struct fixture *f = *state;
    const char *o = "{\"$v\":2,\"diff\":{\"u\":{\"a\":2}}}";

    assert_int_equal(update(f, "{\"_id\":1}", o, false, OP_FUZZY), PITR_OK);
    assert_int_equal(rest(f), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "never found its document"));
    assert_int_equal(erase(f, "{\"_id\":1}", OP_FUZZY), PITR_OK);
    assert_int_equal(rest(f), PITR_OK);
    assert_string_equal(f->rest, "");
}

static void
the_oplog_contradicting_itself_is_corruption_in_any_mode(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(insert(f, "{\"_id\":1}", OP_FUZZY), PITR_OK);
    assert_int_equal(insert(f, "{\"_id\":1}", OP_FUZZY), PITR_CORRUPT);
    assert_int_equal(erase(f, "{\"_id\":1}", OP_FUZZY), PITR_OK);
    assert_int_equal(erase(f, "{\"_id\":1}", OP_FUZZY), PITR_CORRUPT);
    assert_int_equal(
        update(f, "{\"_id\":1}", "{\"$v\":2,\"diff\":{\"u\":{\"a\":2}}}", false, OP_FUZZY),
        PITR_CORRUPT);
}

static void
a_lenient_insert_replaces_what_is_there(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(insert(f, "{\"_id\":1,\"a\":1}", OP_STRICT), PITR_OK);
    assert_int_equal(insert(f, "{\"_id\":1,\"a\":2}", OP_LENIENT), PITR_OK);
    assert_int_equal(rest(f), PITR_OK);
    assert_string_equal(f->rest, "{ \"_id\" : 1, \"a\" : 2 }");
}

static void
an_upsert_makes_the_document_the_base_lacks(void **state)
{
    struct fixture *f = *state;
    enum net_verdict verdict;
    const char *o = "{\"$v\":2,\"diff\":{\"i\":{\"a\":2}}}";

    assert_int_equal(update(f, "{\"_id\":1}", o, true, OP_LENIENT), PITR_OK);
    assert_int_equal(rest(f), PITR_OK);
    assert_string_equal(f->rest, "{ \"_id\" : 1, \"a\" : 2 }");
    assert_int_equal(filter(f, "{\"_id\":1,\"z\":0}", &verdict), PITR_OK);
    assert_int_equal(verdict, NET_CHANGED);
    assert_int_equal(rest(f), PITR_OK);
    assert_string_equal(f->rest, "");
}

static void
the_base_can_be_streamed_twice(void **state)
{
    struct fixture *f = *state;
    enum net_verdict verdict;
    const char *o = "{\"$v\":2,\"diff\":{\"u\":{\"a\":2}}}";

    assert_int_equal(update(f, "{\"_id\":1}", o, false, OP_STRICT), PITR_OK);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(filter(f, "{\"_id\":1,\"a\":1}", &verdict), PITR_OK);
        assert_int_equal(verdict, NET_CHANGED);
        assert_int_equal(rest(f), PITR_OK);
    }
}

static void
clearing_forgets_everything(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(insert(f, "{\"_id\":1}", OP_STRICT), PITR_OK);
    net_clear(f->net);
    assert_true(net_is_empty(f->net));
    assert_int_equal(insert(f, "{\"_id\":1}", OP_STRICT), PITR_OK);
    assert_int_equal(rest(f), PITR_OK);
    assert_string_equal(f->rest, "{ \"_id\" : 1 }");
}

static void
a_document_without_id_is_corruption(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(insert(f, "{\"a\":1}", OP_STRICT), PITR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "has no _id"));
}

/* What net_final() says of `key` over `base` (NULL: none), as JSON; "-" if there is no document. */
static const char *
final(struct fixture *f, const char *key, const char *base)
{
    bson_t *k = json(key), *b = base == NULL ? NULL : json(base);
    const uint8_t *doc = NULL;
    size_t len = 0;

    assert_int_equal(net_final(f->net, bson_get_data(k), k->len,
                               b == NULL ? NULL : bson_get_data(b), b == NULL ? 0 : b->len, &doc,
                               &len, &f->changed, &f->scratch, &f->err),
                     PITR_OK);
    f->rest[0] = '\0';
    if (doc == NULL)
        append(f->rest, sizeof f->rest, "-");
    else
        assert_int_equal(append_json(f, doc, len, &f->err), PITR_OK);
    bson_destroy(k);
    if (b != NULL)
        bson_destroy(b);
    return f->rest;
}

#define SET_A2 "{\"$v\":2,\"diff\":{\"u\":{\"a\":2}}}"

static void
the_final_document_is_that_of_the_base_unless_an_operation_named_it(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(final(f, "{\"_id\":1}", "{\"_id\":1,\"a\":1}"),
                        "{ \"_id\" : 1, \"a\" : 1 }");
    assert_int_equal(insert(f, "{\"_id\":1}", OP_STRICT), PITR_OK);
    assert_string_equal(final(f, "{\"_id\":2}", "{\"_id\":2,\"a\":1}"),
                        "{ \"_id\" : 2, \"a\" : 1 }");
    assert_string_equal(final(f, "{\"_id\":2}", NULL), "-");
}

static void
the_final_document_follows_insert_update_and_delete(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(insert(f, "{\"_id\":1,\"a\":1}", OP_STRICT), PITR_OK);
    assert_int_equal(update(f, "{\"_id\":1}", SET_A2, false, OP_STRICT), PITR_OK);
    assert_int_equal(update(f, "{\"_id\":2}", SET_A2, false, OP_STRICT), PITR_OK);
    assert_int_equal(erase(f, "{\"_id\":3}", OP_STRICT), PITR_OK);
    assert_int_equal(net_seal(f->net, &f->err), PITR_OK);
    assert_string_equal(final(f, "{\"_id\":1}", NULL), "{ \"_id\" : 1, \"a\" : 2 }");
    assert_string_equal(final(f, "{\"_id\":2,\"x\":0}", "{\"_id\":2,\"a\":1,\"b\":1}"),
                        "{ \"_id\" : 2, \"a\" : 2, \"b\" : 1 }");
    assert_string_equal(final(f, "{\"_id\":3}", "{\"_id\":3}"), "-");
}

static void
asking_for_a_final_document_demands_nothing_of_the_base(void **state)
{
    struct fixture *f = *state;
    enum net_verdict verdict;

    assert_int_equal(update(f, "{\"_id\":1}", SET_A2, false, OP_STRICT), PITR_OK);
    assert_string_equal(final(f, "{\"_id\":1}", NULL), "-");
    assert_string_equal(final(f, "{\"_id\":1}", "{\"_id\":1}"), "{ \"_id\" : 1, \"a\" : 2 }");
    assert_int_equal(filter(f, "{\"_id\":1}", &verdict), PITR_OK);
    assert_int_equal(rest(f), PITR_OK);
}

static void
an_upsert_has_a_final_document_with_and_without_base(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(update(f, "{\"_id\":1}", SET_A2, true, OP_LENIENT), PITR_OK);
    assert_string_equal(final(f, "{\"_id\":1}", NULL), "{ \"_id\" : 1, \"a\" : 2 }");
    assert_string_equal(final(f, "{\"_id\":1}", "{\"_id\":1,\"z\":0}"),
                        "{ \"_id\" : 1, \"z\" : 0, \"a\" : 2 }");
}

/* Sum of the strangers' documents, "-" for those that have none; checks net_final_stranger(). */
static enum pitr_rc
meet_stranger(void *arg, const struct net_stranger *s, struct pitr_err *err)
{
    struct fixture *f = arg;
    const uint8_t *doc;
    size_t len;

    assert_int_equal(
        net_final_stranger(f->net, s->key, s->key_len, &doc, &len, &f->changed, &f->scratch, err),
        PITR_OK);
    assert_int_equal(len, s->doc == NULL ? len : s->doc_len);
    assert_true((doc == NULL) == (s->doc == NULL));
    if (s->doc == NULL) {
        append(f->rest, sizeof f->rest, "-");
        return PITR_OK;
    }
    assert_memory_equal(doc, s->doc, len);
    return append_json(f, s->doc, s->doc_len, err);
}

static const char *
strangers(struct fixture *f)
{
    f->rest[0] = '\0';
    assert_int_equal(net_strangers(f->net, meet_stranger, f, &f->err), PITR_OK);
    return f->rest;
}

static void
strangers_are_the_named_ids_that_the_base_does_not_have(void **state)
{
    struct fixture *f = *state;
    enum net_verdict verdict;

    assert_string_equal(strangers(f), "");
    assert_int_equal(update(f, "{\"_id\":1}", SET_A2, false, OP_STRICT), PITR_OK);
    assert_int_equal(insert(f, "{\"_id\":2}", OP_STRICT), PITR_OK);
    assert_int_equal(filter(f, "{\"_id\":1}", &verdict), PITR_OK);
    assert_string_equal(strangers(f), "{ \"_id\" : 2 }");
    assert_string_equal(strangers(f), "{ \"_id\" : 2 }");
    assert_int_equal(erase(f, "{\"_id\":2}", OP_STRICT), PITR_OK);
    assert_string_equal(strangers(f), "-");
}

static void
rewinding_forgets_what_the_base_had(void **state)
{
    struct fixture *f = *state;
    enum net_verdict verdict;

    assert_int_equal(update(f, "{\"_id\":1}", SET_A2, false, OP_STRICT), PITR_OK);
    assert_int_equal(filter(f, "{\"_id\":1}", &verdict), PITR_OK);
    assert_string_equal(strangers(f), "");
    net_rewind(f->net);
    assert_string_equal(strangers(f), "-");
    assert_int_equal(filter(f, "{\"_id\":1}", &verdict), PITR_OK);
    assert_int_equal(verdict, NET_CHANGED);
    assert_int_equal(rest(f), PITR_OK);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_document_the_oplog_does_not_name_is_kept),
        T(inserts_come_out_in_the_order_they_were_made),
        T(updates_of_a_base_document_are_applied_in_its_place),
        T(numeric_ids_of_different_types_are_one_document),
        T(many_updates_of_one_insert_fold_to_one_document),
        T(in_the_window_the_base_may_hold_the_insert_already),
        T(after_the_window_an_insert_over_a_base_document_is_corruption),
        T(an_update_whose_document_is_nowhere_is_corruption),
        T(a_window_update_without_document_must_be_resolved_by_a_delete),
        T(the_oplog_contradicting_itself_is_corruption_in_any_mode),
        T(a_lenient_insert_replaces_what_is_there),
        T(an_upsert_makes_the_document_the_base_lacks),
        T(the_base_can_be_streamed_twice),
        T(clearing_forgets_everything),
        T(a_document_without_id_is_corruption),
        T(the_final_document_is_that_of_the_base_unless_an_operation_named_it),
        T(the_final_document_follows_insert_update_and_delete),
        T(asking_for_a_final_document_demands_nothing_of_the_base),
        T(an_upsert_has_a_final_document_with_and_without_base),
        T(strangers_are_the_named_ids_that_the_base_does_not_have),
        T(rewinding_forgets_what_the_base_had),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
