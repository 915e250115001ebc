#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bson/bson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "mongo/bsonio.h"
#include "oplog/update.h"

static void
free_bson(bson_t **b)
{
    bson_destroy(*b);
}

/* Extended JSON; 'single quotes' stand for double ones. */
static bson_t *
doc(const char *json)
{
    bson_error_t err;
    char *text = strdup(json);
    bson_t *b;

    assert_non_null(text);
    for (char *p = text; *p != '\0'; p++) {
        if (*p == '\'')
            *p = '"';
    }
    b = bson_new_from_json((const uint8_t *)text, -1, &err);
    if (b == NULL)
        fail_msg("%s: %s", json, err.message);
    free(text);
    return b;
}

static enum pitr_rc
apply(struct buf *out, const bson_t *pre, const bson_t *o, enum update_field_order order,
      bool strict, struct pitr_err *err)
{
    return update_apply(out, bson_get_data(pre), pre->len, bson_get_data(o), o->len, order, strict,
                        err);
}

static void
assert_bytes(const struct buf *got, size_t from, const bson_t *want, const char *what)
{
    bson_t b;

    if (got->len - from == want->len &&
        memcmp(got->data + from, bson_get_data(want), want->len) == 0)
        return;
    assert_true(bson_init_static(&b, got->data + from, got->len - from));
    fail_msg("%s:\n got  %s\n want %s", what, bson_as_canonical_extended_json(&b, NULL),
             bson_as_canonical_extended_json(want, NULL));
}

static void
check(const char *pre_json, const char *o_json, const char *post_json,
      enum update_field_order order, bool strict)
{
    PITR_AUTO(free_bson) bson_t *pre = doc(pre_json);
    PITR_AUTO(free_bson) bson_t *o = doc(o_json);
    PITR_AUTO(free_bson) bson_t *post = doc(post_json);
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;
    size_t once;

    if (apply(&out, pre, o, order, strict, &err) != PITR_OK)
        fail_msg("%s: %s", o_json, err.msg);
    assert_bytes(&out, 0, post, o_json);
    once = out.len;
    if (apply(&out, post, o, order, strict, &err) != PITR_OK)
        fail_msg("%s again: %s", o_json, err.msg);
    assert_bytes(&out, once, post, "applied to its own result");
}

static void
gives(const char *pre, const char *o, const char *post)
{
    check(pre, o, post, FIELD_ORDER_NUMERIC, true);
    check(pre, o, post, FIELD_ORDER_BYTES, true);
}

/* Apply the sections of a delta. */
static void
delta_gives(const char *pre, const char *diff, const char *post)
{
    char o[1024];

    assert_true((size_t)snprintf(o, sizeof o, "{'$v':2,'diff':%s}", diff) < sizeof o);
    gives(pre, o, post);
}

static void
refuses(const char *pre_json, const char *o_json, const char *message)
{
    PITR_AUTO(free_bson) bson_t *pre = doc(pre_json);
    PITR_AUTO(free_bson) bson_t *o = doc(o_json);
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;

    assert_int_equal(buf_append(&out, "kept", 4, &err), PITR_OK);
    if (apply(&out, pre, o, FIELD_ORDER_NUMERIC, true, &err) != PITR_CORRUPT)
        fail_msg("%s is accepted", o_json);
    assert_string_equal(err.msg, message);
    assert_int_equal(out.len, 4);
    assert_memory_equal(out.data, "kept", 4);
}

static void
delta_is_refused(const char *pre, const char *diff, const char *message)
{
    char o[1024];

    assert_true((size_t)snprintf(o, sizeof o, "{'$v':2,'diff':%s}", diff) < sizeof o);
    refuses(pre, o, message);
}

static enum update_kind
kind_of(const char *json)
{
    PITR_AUTO(free_bson) bson_t *o = doc(json);
    enum update_kind kind = UPDATE_MODIFIERS;
    struct pitr_err err;

    if (update_classify(bson_get_data(o), o->len, &kind, &err) != PITR_OK)
        fail_msg("%s: %s", json, err.msg);
    return kind;
}

static void
kinds_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(kind_of("{'_id':1}"), UPDATE_REPLACE);
    assert_int_equal(kind_of("{'a':1,'_id':1}"), UPDATE_REPLACE);
    assert_int_equal(kind_of("{'$v':2,'diff':{}}"), UPDATE_DELTA);
    assert_int_equal(kind_of("{'diff':{},'$v':2,'more':1}"), UPDATE_DELTA);
    assert_int_equal(kind_of("{'$set':{'a':1}}"), UPDATE_MODIFIERS);
    assert_int_equal(kind_of("{'$unset':{'a':true},'$v':1}"), UPDATE_MODIFIERS);
    assert_int_equal(kind_of("{'$v':1}"), UPDATE_MODIFIERS);
}

static void
an_id_makes_a_replacement_whatever_else_there_is(void **state)
{
    (void)state;
    assert_int_equal(kind_of("{'$v':2,'diff':{'u':{'a':1}},'_id':1}"), UPDATE_REPLACE);
    gives("{'_id':1,'a':1}", "{'$v':2,'diff':{'u':{'a':9}},'_id':1}",
          "{'_id':1,'$v':2,'diff':{'u':{'a':9}}}");
}

static void
versions_may_be_any_integral_number(void **state)
{
    (void)state;
    assert_int_equal(kind_of("{'$v':{'$numberLong':'2'},'diff':{}}"), UPDATE_DELTA);
    assert_int_equal(kind_of("{'$v':{'$numberDouble':'2.0'},'diff':{}}"), UPDATE_DELTA);
    assert_int_equal(kind_of("{'$v':{'$numberDouble':'1.0'},'$set':{}}"), UPDATE_MODIFIERS);
}

static void
unknown_kinds_are_refused(void **state)
{
    (void)state;
    refuses("{'_id':1}", "{'$v':3,'diff':{'u':{'a':1}}}", "update: unknown version $v: 3");
    refuses("{'_id':1}", "{'$v':'2','diff':{}}", "update: $v is not an integer");
    refuses("{'_id':1}", "{'$v':1,'$inc':{'a':1}}",
            "update: field $inc is neither _id nor a modifier that oplogs contain");
    refuses("{'_id':1}", "{'a':1}",
            "update: field a is neither _id nor a modifier that oplogs contain");
    refuses("{'_id':1}", "{}", "update: empty, neither replacement nor modifiers");
    refuses("{'_id':1}", "{'$v':2}", "delta: no diff document");
    refuses("{'_id':1}", "{'$v':2,'diff':[]}", "delta: no diff document");
}

static void
a_document_without_id_is_refused(void **state)
{
    (void)state;
    refuses("{'a':1}", "{'$v':1,'$set':{'a':2}}", "document to update: no _id");
}

static void
replacements_put_the_id_first(void **state)
{
    (void)state;
    gives("{'_id':1,'a':1}", "{'x':3,'_id':1}", "{'_id':1,'x':3}");
    gives("{'_id':1,'a':1,'b':2}", "{'_id':1,'b':3,'c':4}", "{'_id':1,'b':3,'c':4}");
    gives("{'a':1,'_id':1}", "{'x':3,'_id':1,'y':4}", "{'_id':1,'x':3,'y':4}");
}

static void
the_id_stays_first_whatever_a_delta_says(void **state)
{
    (void)state;
    delta_gives("{'_id':1,'a':1,'b':2}", "{'d':{'_id':false},'u':{'a':9}}",
                "{'_id':1,'a':9,'b':2}");
    delta_gives("{'_id':1,'a':1}", "{'i':{'x':3,'_id':1}}", "{'_id':1,'a':1,'x':3}");
    delta_gives("{'_id':1,'a':1}", "{'u':{'_id':1,'a':2}}", "{'_id':1,'a':2}");
    delta_gives("{'a':1,'_id':1}", "{'u':{'a':2}}", "{'_id':1,'a':2}");
    delta_gives("{'_id':{'x':1},'a':1}", "{'s_id':{'u':{'x':1}}}", "{'_id':{'x':1},'a':1}");
}

static void
modifiers_leave_the_id(void **state)
{
    (void)state;
    gives("{'_id':1,'a':1}", "{'$v':1,'$set':{'_id':1,'a':2}}", "{'_id':1,'a':2}");
    gives("{'_id':1,'a':1}", "{'$v':1,'$unset':{'_id':true}}", "{'_id':1,'a':1}");
    gives("{'a':1,'_id':{'x':1}}", "{'$v':1,'$set':{'_id.x':1,'a':2}}", "{'_id':{'x':1},'a':2}");
}

static void
an_equal_id_of_another_type_of_number_takes_over(void **state)
{
    (void)state;
    gives("{'_id':1,'a':1,'b':2}", "{'b':5,'_id':{'$numberDouble':'1.0'}}",
          "{'_id':{'$numberDouble':'1.0'},'b':5}");
    gives("{'_id':{'x':1},'a':1}", "{'_id':{'x':{'$numberLong':'1'}},'a':2}",
          "{'_id':{'x':{'$numberLong':'1'}},'a':2}");
    delta_gives("{'_id':1,'a':1}", "{'u':{'_id':{'$numberDecimal':'1'}},'i':{'z':1}}",
                "{'_id':{'$numberDecimal':'1'},'a':1,'z':1}");
    delta_gives("{'_id':{'$numberDouble':'1.0'},'a':1}", "{'i':{'_id':1,'z':1}}",
                "{'_id':1,'a':1,'z':1}");
}

static void
another_id_is_refused(void **state)
{
    static const char message[] = "update would change the _id of its document";

    (void)state;
    refuses("{'_id':1}", "{'_id':2}", message);
    refuses("{'_id':1}", "{'_id':'1'}", message);
    refuses("{'_id':1}", "{'$v':1,'$set':{'_id':2}}", message);
    refuses("{'_id':{'x':1}}", "{'$v':1,'$set':{'_id.x':2}}", message);
    delta_is_refused("{'_id':1}", "{'u':{'_id':2}}", message);
    delta_is_refused("{'_id':1}", "{'i':{'_id':2}}", message);
    delta_is_refused("{'_id':1}", "{'s_id':{'u':{'x':2}}}", message);
}

static void
updates_stay_in_place_and_inserts_go_to_the_end(void **state)
{
    (void)state;
    delta_gives("{'_id':1,'a':1,'b':2}", "{'u':{'x':9,'a':5},'i':{'b':7,'y':8}}",
                "{'_id':1,'a':5,'x':9,'b':7,'y':8}");
    delta_gives("{'_id':1,'a':1,'b':2}", "{'d':{'a':false},'u':{'b':1}}", "{'_id':1,'b':1}");
    delta_gives("{'_id':1,'o':{'x':1,'y':{'k':1}}}", "{'so':{'d':{'x':false},'sy':{'u':{'k':2}}}}",
                "{'_id':1,'o':{'y':{'k':2}}}");
    delta_gives("{'_id':1,'a':1}", "{'u':{}}", "{'_id':1,'a':1}");
}

static void
a_sub_diff_of_another_type_makes_null(void **state)
{
    (void)state;
    delta_gives("{'_id':1,'a':3,'b':2}", "{'sa':{'i':{'q':1}}}", "{'_id':1,'a':null,'b':2}");
    delta_gives("{'_id':1,'a':[1],'b':2}", "{'sa':{'i':{'q':1}}}", "{'_id':1,'a':null,'b':2}");
    delta_gives("{'_id':1,'a':{'0':1},'b':2}", "{'sa':{'a':true,'u0':1}}",
                "{'_id':1,'a':null,'b':2}");
}

static void
a_sub_diff_of_a_missing_field_is_ignored(void **state)
{
    (void)state;
    delta_gives("{'_id':1,'b':2}", "{'sa':{'i':{'q':1}}}", "{'_id':1,'b':2}");
    delta_gives("{'_id':1,'b':2}", "{'sa':{'a':true,'l':3}}", "{'_id':1,'b':2}");
}

static void
a_sub_diff_may_name_any_field(void **state)
{
    (void)state;
    delta_gives("{'_id':1,'':{'x':1}}", "{'s':{'u':{'x':2}}}", "{'_id':1,'':{'x':2}}");
    delta_gives("{'_id':1,'s':{'x':1}}", "{'ss':{'d':{'x':false}}}", "{'_id':1,'s':{}}");
    delta_gives("{'_id':1,'a':{'a':1,'l':2,'u':3}}", "{'sa':{'u':{'a':4,'l':5,'u':6}}}",
                "{'_id':1,'a':{'a':4,'l':5,'u':6}}");
    delta_gives("{'_id':1,'x.y':{'$z':1}}", "{'sx.y':{'u':{'$z':2}}}", "{'_id':1,'x.y':{'$z':2}}");
    delta_gives("{'_id':1}", "{'u':{'':1},'i':{'d':2}}", "{'_id':1,'':1,'d':2}");
}

static void
array_diffs_change_elements_and_length(void **state)
{
    (void)state;
    delta_gives("{'_id':1,'a':[1]}", "{'sa':{'a':true,'u3':9}}", "{'_id':1,'a':[1,null,null,9]}");
    delta_gives("{'_id':1,'a':[1]}", "{'sa':{'a':true,'s3':{'u':{'x':1}}}}",
                "{'_id':1,'a':[1,null,null,null]}");
    delta_gives("{'_id':1,'a':[1,2]}", "{'sa':{'a':true,'s0':{'u':{'x':1}},'u1':5}}",
                "{'_id':1,'a':[null,5]}");
    delta_gives("{'_id':1,'a':[1]}", "{'sa':{'a':true,'l':4,'u2':7}}",
                "{'_id':1,'a':[1,null,7,null]}");
    delta_gives("{'_id':1,'a':[1,2,3]}", "{'sa':{'a':true,'l':0}}", "{'_id':1,'a':[]}");
    delta_gives("{'_id':1,'a':[1,2,3]}", "{'sa':{'a':true}}", "{'_id':1,'a':[1,2,3]}");
    delta_gives("{'_id':1,'a':[[1,2],[3,[4]]]}",
                "{'sa':{'a':true,'s1':{'a':true,'s1':{'a':true,'u0':7}}}}",
                "{'_id':1,'a':[[1,2],[3,[7]]]}");
}

static void
array_keys_carry_over_at_ten(void **state)
{
    (void)state;
    delta_gives("{'_id':1,'a':[0,1,2,3,4,5,6,7,8]}", "{'sa':{'a':true,'l':13,'u10':'x','u11':'y'}}",
                "{'_id':1,'a':[0,1,2,3,4,5,6,7,8,null,'x','y',null]}");
}

static void
buckets_grow_by_nested_inserts(void **state)
{
    (void)state;
    delta_gives("{'_id':1,'control':{'min':{'v':1},'max':{'_id':1,'v':1}},'data':{'v':{'0':1}}}",
                "{'scontrol':{'smin':{'u':{'w':'x'}},'smax':{'u':{'_id':2,'v':2.5}}},"
                "'sdata':{'i':{'w':{'1':'x'}},'sv':{'i':{'1':2.5}}}}",
                "{'_id':1,'control':{'min':{'v':1,'w':'x'},'max':{'_id':2,'v':2.5}},"
                "'data':{'v':{'0':1,'1':2.5},'w':{'1':'x'}}}");
}

static void
a_binary_diff_replaces_the_tail_and_keeps_the_subtype(void **state)
{
    (void)state;
    delta_gives("{'_id':1,'v':{'$binary':{'base64':'YWJjZGVm','subType':'07'}},'z':1}",
                "{'b':{'v':{'o':2,'d':{'$binary':{'base64':'WFla','subType':'00'}}}}}",
                "{'_id':1,'v':{'$binary':{'base64':'YWJYWVo=','subType':'07'}},'z':1}");
    delta_gives("{'_id':1,'v':{'$binary':{'base64':'YWJj','subType':'00'}}}",
                "{'b':{'v':{'o':3,'d':{'$binary':{'base64':'WA==','subType':'00'}}}}}",
                "{'_id':1,'v':{'$binary':{'base64':'YWJjWA==','subType':'00'}}}");
    delta_gives("{'_id':1,'v':3}",
                "{'b':{'v':{'o':0,'d':{'$binary':{'base64':'WA==','subType':'00'}}},"
                "'w':{'o':0,'d':{'$binary':{'base64':'WA==','subType':'00'}}}}}",
                "{'_id':1,'v':3}");
}

static void
a_binary_diff_beyond_the_end_is_for_fuzzy_windows_only(void **state)
{
    static const char pre[] = "{'_id':1,'v':{'$binary':{'base64':'YWJj','subType':'00'}}}";
    static const char o[] = "{'$v':2,'diff':{'b':{'v':{'o':4,"
                            "'d':{'$binary':{'base64':'WA==','subType':'00'}}}}}}";

    (void)state;
    check(pre, o, pre, FIELD_ORDER_NUMERIC, false);
    refuses(pre, o, "delta: binary diff of v at 4, beyond its 3 bytes");
}

static void
malformed_deltas_are_refused(void **state)
{
    static const char pre[] = "{'_id':1,'a':{'b':1},'n':[1,2]}";

    (void)state;
    delta_is_refused(pre, "{}", "delta: empty diff");
    delta_is_refused(pre, "{'sa':{}}", "delta: empty diff");
    delta_is_refused(pre, "{'q':{'x':1}}", "delta: unknown section q");
    delta_is_refused(pre, "{'a':true,'u1':4}", "delta: unknown section a");
    delta_is_refused(pre, "{'':{}}", "delta: unknown section ");
    delta_is_refused(pre, "{'u':1}", "delta: section u is not a document");
    delta_is_refused(pre, "{'sa':1}", "delta: section sa is not a document");
    delta_is_refused(pre, "{'i':{'x':1},'u':{'y':1}}", "delta: section u out of order");
    delta_is_refused(pre, "{'u':{'x':1},'u':{'y':1}}", "delta: section u out of order");
    delta_is_refused(pre, "{'sa':{'u':{'b':1}},'i':{'y':1}}", "delta: section i out of order");
    delta_is_refused(pre, "{'d':{'x':false},'i':{'x':1}}", "delta: field x named twice");
    delta_is_refused(pre, "{'u':{'a':1},'sa':{'u':{'b':1}}}", "delta: field a named twice");
}

static void
malformed_array_diffs_are_refused(void **state)
{
    static const char pre[] = "{'_id':1,'n':[1,2]}";

    (void)state;
    delta_is_refused(pre, "{'sn':{'a':false,'u1':4}}",
                     "delta: mark a of an array diff is not true");
    delta_is_refused(pre, "{'sn':{'a':1,'u1':4}}", "delta: mark a of an array diff is not true");
    delta_is_refused(pre, "{'sn':{'a':true,'l':{'$numberLong':'2'}}}", "delta: bad array length l");
    delta_is_refused(pre, "{'sn':{'a':true,'l':-1}}", "delta: bad array length l");
    delta_is_refused(pre, "{'sn':{'a':true,'x1':4}}", "delta: unknown array change x1");
    delta_is_refused(pre, "{'sn':{'a':true,'u':4}}", "delta: unknown array change u");
    delta_is_refused(pre, "{'sn':{'a':true,'u1':4,'l':2}}", "delta: unknown array change l");
    delta_is_refused(pre, "{'sn':{'a':true,'u3':4,'u1':4}}", "delta: array change u1 out of order");
    delta_is_refused(pre, "{'sn':{'a':true,'u1':4,'s1':{'u':{'x':1}}}}",
                     "delta: array change s1 out of order");
    delta_is_refused(pre, "{'sn':{'a':true,'l':2,'u2':4}}",
                     "delta: array change u2 beyond the new length");
    delta_is_refused(pre, "{'sn':{'a':true,'s1':4}}", "delta: array change s1 is not a document");
}

static void
malformed_binary_diffs_are_refused(void **state)
{
    (void)state;
    delta_is_refused("{'_id':1}", "{'b':{'v':1}}", "delta: binary diff is not a document");
    delta_is_refused("{'_id':1}", "{'b':{'v':{'o':-1}}}",
                     "delta: binary diff without a valid offset o");
    delta_is_refused("{'_id':1}", "{'b':{'v':{'o':1,'d':'text'}}}",
                     "delta: binary diff without bytes d");
    delta_is_refused("{'_id':1}",
                     "{'b':{'v':{'o':1,'d':{'$binary':{'base64':'','subType':'00'}},'x':1}}}",
                     "delta: binary diff with field x");
}

static void
malformed_parts_are_found_even_where_they_do_not_apply(void **state)
{
    (void)state;
    delta_is_refused("{'_id':1}", "{'sx':{'q':{}}}", "delta: unknown section q");
    delta_is_refused("{'_id':1,'x':1}", "{'sx':{'sy':{}}}", "delta: empty diff");
    delta_is_refused("{'_id':1}", "{'sx':{'a':true,'s0':{'q':{}}}}", "delta: unknown section q");
    delta_is_refused("{'_id':1,'x':[]}", "{'sx':{'a':true,'s0':{'a':true,'q':1}}}",
                     "delta: unknown array change q");
}

static void
array_growth_is_bounded(void **state)
{
    (void)state;
    delta_is_refused("{'_id':1,'n':[]}", "{'sn':{'a':true,'l':2147483647}}",
                     "update: the result is larger than 67108864 bytes");
    refuses("{'_id':1,'n':[]}", "{'$v':1,'$set':{'n.4294967295':1}}",
            "update: the result is larger than 67108864 bytes");
}

/* A delta of one section `s` per level. */
static bson_t *
deep_delta(int levels)
{
    bson_t *diff = doc("{'u':{'x':1}}");

    for (int i = 0; i < levels; i++) {
        bson_t *outer = bson_new();

        assert_true(BSON_APPEND_DOCUMENT(outer, "s", diff));
        bson_destroy(diff);
        diff = outer;
    }
    return diff;
}

static void
depth_is_bounded(void **state)
{
    PITR_AUTO(free_bson) bson_t *pre = doc("{'_id':1,'':{'':2}}");
    PITR_AUTO(free_bson) bson_t *diff = deep_delta(BSON_MAX_DEPTH + 1);
    PITR_AUTO(free_bson) bson_t *o = bson_new();
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;

    (void)state;
    assert_true(BSON_APPEND_INT32(o, "$v", 2) && BSON_APPEND_DOCUMENT(o, "diff", diff));
    assert_int_equal(apply(&out, pre, o, FIELD_ORDER_NUMERIC, true, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "delta nested deeper than 250 levels");
}

static void
paths_of_too_many_components_are_refused(void **state)
{
    PITR_AUTO(free_bson) bson_t *pre = doc("{'_id':1}");
    PITR_AUTO(free_bson) bson_t *set = bson_new();
    PITR_AUTO(free_bson) bson_t *o = bson_new();
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;
    char path[2 * BSON_MAX_DEPTH + 2];

    (void)state;
    for (size_t i = 0; i < sizeof path; i++)
        path[i] = i % 2 == 0 ? 'a' : '.';
    path[sizeof path - 1] = '\0';
    assert_true(BSON_APPEND_INT32(set, path, 1) && BSON_APPEND_DOCUMENT(o, "$set", set));
    assert_int_equal(apply(&out, pre, o, FIELD_ORDER_NUMERIC, true, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "modifiers: path of more than 250 components");
}

/* Every field of a wide document in one of the sections, in an order unlike the document's. */
static void
wide_deltas_find_every_field(void **state)
{
    enum { FIELDS = 300 };
    PITR_AUTO(free_bson) bson_t *pre = doc("{'_id':1}");
    PITR_AUTO(free_bson) bson_t *want = doc("{'_id':1}");
    PITR_AUTO(free_bson) bson_t *o = doc("{'$v':2}");
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;
    bson_t diff, section;
    char name[16];

    (void)state;
    for (int i = 0; i < FIELDS; i++) {
        snprintf(name, sizeof name, "f%d", i);
        assert_true(BSON_APPEND_INT32(pre, name, i));
        if (i % 3 != 0)
            assert_true(BSON_APPEND_INT32(want, name, i % 3 == 1 ? -i : i));
    }
    assert_true(bson_append_document_begin(o, "diff", -1, &diff));
    assert_true(bson_append_document_begin(&diff, "d", -1, &section));
    for (int i = FIELDS - 1; i >= 0; i--) {
        snprintf(name, sizeof name, "f%d", i);
        if (i % 3 == 0)
            assert_true(BSON_APPEND_BOOL(&section, name, false));
    }
    assert_true(bson_append_document_end(&diff, &section));
    assert_true(bson_append_document_begin(&diff, "u", -1, &section));
    for (int i = FIELDS - 1; i >= 0; i--) {
        snprintf(name, sizeof name, "f%d", i);
        if (i % 3 == 1)
            assert_true(BSON_APPEND_INT32(&section, name, -i));
    }
    assert_true(bson_append_document_end(&diff, &section));
    assert_true(bson_append_document_end(o, &diff));
    if (apply(&out, pre, o, FIELD_ORDER_NUMERIC, true, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    assert_bytes(&out, 0, want, "wide delta");
}

static void
a_name_twice_in_a_wide_delta_is_refused(void **state)
{
    (void)state;
    delta_is_refused("{'_id':1}",
                     "{'d':{'a':false,'b':false,'c':false,'d':false,'e':false},"
                     "'i':{'f':1,'g':1,'h':1,'i':1,'c':1}}",
                     "delta: field c named twice");
}

static void
fields_with_the_same_name_all_change_in_a_delta(void **state)
{
    (void)state;
    delta_gives("{'_id':1,'a':1,'b':2,'a':3}", "{'u':{'a':9}}", "{'_id':1,'a':9,'b':2,'a':9}");
    delta_gives("{'_id':1,'a':1,'b':2,'a':3}", "{'i':{'a':7}}", "{'_id':1,'b':2,'a':7}");
}

static void
modifiers_change_the_first_field_of_a_name_only(void **state)
{
    (void)state;
    gives("{'_id':1,'a':1,'b':2,'a':3}", "{'$v':1,'$set':{'a':9}}", "{'_id':1,'a':9,'b':2,'a':3}");
    gives("{'_id':1,'a':{'x':1},'a':{'x':2}}", "{'$v':1,'$set':{'a.x':9}}",
          "{'_id':1,'a':{'x':9},'a':{'x':2}}");
}

static void
new_fields_are_appended_in_the_order_of_the_version(void **state)
{
    static const char o[] = "{'$set':{'a':1,'9':1,'10':1,'!':1,'0':1,'00':1,'z9':1,'z10':1,"
                            "'-1':1,'1a':1,'01':1,'010':1}}";

    (void)state;
    check("{'_id':1,'a':0}", o,
          "{'_id':1,'a':1,'!':1,'-1':1,'0':1,'00':1,'01':1,'010':1,'9':1,'10':1,'1a':1,"
          "'z10':1,'z9':1}",
          FIELD_ORDER_NUMERIC, true);
    check("{'_id':1,'a':0}", o,
          "{'_id':1,'a':1,'!':1,'-1':1,'0':1,'00':1,'01':1,'010':1,'10':1,'1a':1,'9':1,"
          "'z10':1,'z9':1}",
          FIELD_ORDER_BYTES, true);
    check("{'_id':1,'z':0}", "{'$v':1,'$set':{'c':1,'b':1,'a':1,'10':1,'9':1}}",
          "{'_id':1,'z':0,'10':1,'9':1,'a':1,'b':1,'c':1}", FIELD_ORDER_BYTES, true);
}

/* '-' sorts before '.': whole paths would be in another order than their components. */
static void
paths_are_ordered_by_component(void **state)
{
    (void)state;
    gives("{'_id':1}", "{'$set':{'a-':1,'a.y':1,'a.x':1}}", "{'_id':1,'a':{'x':1,'y':1},'a-':1}");
}

static void
missing_parents_become_documents(void **state)
{
    (void)state;
    gives("{'_id':1}", "{'$v':1,'$set':{'a.b.c':1}}", "{'_id':1,'a':{'b':{'c':1}}}");
    gives("{'_id':1}", "{'$v':1,'$set':{'a.0':1}}", "{'_id':1,'a':{'0':1}}");
    gives("{'_id':1}", "{'$set':{'a.x.y':1},'$unset':{'a.b.c':true,'d.e':true}}",
          "{'_id':1,'a':{'x':{'y':1}}}");
}

static void
modifiers_set_and_pad_array_elements(void **state)
{
    (void)state;
    gives("{'_id':1,'a':[1]}", "{'$v':1,'$set':{'a.3':9}}", "{'_id':1,'a':[1,null,null,9]}");
    gives("{'_id':1,'a':[{'q':1}]}", "{'$v':1,'$set':{'a.2.x':9}}",
          "{'_id':1,'a':[{'q':1},null,{'x':9}]}");
    gives("{'_id':1,'a':[{'k':1},{'k':2}]}", "{'$set':{'a.1.k':9,'a.0.n.m':1}}",
          "{'_id':1,'a':[{'k':1,'n':{'m':1}},{'k':9}]}");
}

static void
unset_elements_become_null(void **state)
{
    (void)state;
    gives("{'_id':1,'a':[1,2,3]}", "{'$v':1,'$unset':{'a.1':true}}", "{'_id':1,'a':[1,null,3]}");
    gives("{'_id':1,'a':[1,2,3]}", "{'$v':1,'$unset':{'a.3':true,'a.7.x':true}}",
          "{'_id':1,'a':[1,2,3]}");
    gives("{'_id':1,'a':5,'b':6}", "{'$v':1,'$unset':{'a':true},'$set':{'c':5}}",
          "{'_id':1,'b':6,'c':5}");
}

static void
paths_through_scalars_are_ignored(void **state)
{
    (void)state;
    gives("{'_id':1,'a':5}", "{'$v':1,'$set':{'a.b':1,'c':2}}", "{'_id':1,'a':5,'c':2}");
    gives("{'_id':1,'a':[1]}", "{'$v':1,'$set':{'a.b':1,'c':2}}", "{'_id':1,'a':[1],'c':2}");
    gives("{'_id':1,'a':null}", "{'$v':1,'$set':{'a.b':1,'c':2}}", "{'_id':1,'a':null,'c':2}");
    gives("{'_id':1,'a':[1]}", "{'$v':1,'$set':{'a.0.x':1,'a.+1':1,'a.4294967296':1}}",
          "{'_id':1,'a':[1]}");
}

static void
indexes_may_have_leading_zeros(void **state)
{
    (void)state;
    gives("{'_id':1,'a':[1,1,1]}", "{'$set':{'a.01':7}}", "{'_id':1,'a':[1,7,1]}");
    gives("{'_id':1,'a':[1]}", "{'$set':{'a.3':7,'a.02':8}}", "{'_id':1,'a':[1,null,8,7]}");
    refuses("{'_id':1,'a':[1,1]}", "{'$set':{'a.1':7,'a.01':8}}",
            "modifiers: paths 'a.01' and 'a.1' conflict");
    refuses("{'_id':1,'a':[1]}", "{'$set':{'a.09':7,'a.9.x':8}}",
            "modifiers: paths 'a.09' and 'a.9.x' conflict");
}

/* Bytewise, index 10 is visited first and pads index 9 with a null. */
static void
visiting_order_decides_what_padding_meets(void **state)
{
    static const char pre[] = "{'_id':1,'a':[0,0,0,0,0,0,0,0,0]}";

    (void)state;
    check(pre, "{'$set':{'a.10':1,'a.9.x':2}}", "{'_id':1,'a':[0,0,0,0,0,0,0,0,0,{'x':2},1]}",
          FIELD_ORDER_NUMERIC, true);
    check(pre, "{'$set':{'a.10':1,'a.9.x':2}}", "{'_id':1,'a':[0,0,0,0,0,0,0,0,0,null,1]}",
          FIELD_ORDER_BYTES, true);
    check(pre, "{'$set':{'a.10':1,'a.9':2}}", "{'_id':1,'a':[0,0,0,0,0,0,0,0,0,2,1]}",
          FIELD_ORDER_BYTES, true);
}

static void
many_paths_all_arrive(void **state)
{
    PITR_AUTO(free_bson) bson_t *pre = doc("{'_id':1}");
    PITR_AUTO(free_bson) bson_t *set = bson_new();
    PITR_AUTO(free_bson) bson_t *o = bson_new();
    PITR_AUTO(free_bson) bson_t *want = doc("{'_id':1}");
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;
    char path[16];

    (void)state;
    for (int i = 99; i >= 0; i--) {
        snprintf(path, sizeof path, "f%02d.x", i);
        assert_true(BSON_APPEND_INT32(set, path, i));
    }
    for (int i = 0; i < 100; i++) {
        bson_t inner;

        snprintf(path, sizeof path, "f%02d", i);
        assert_true(bson_append_document_begin(want, path, -1, &inner));
        assert_true(BSON_APPEND_INT32(&inner, "x", i));
        assert_true(bson_append_document_end(want, &inner));
    }
    assert_true(BSON_APPEND_DOCUMENT(o, "$set", set));
    if (apply(&out, pre, o, FIELD_ORDER_BYTES, true, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    assert_bytes(&out, 0, want, "many paths");
}

static void
malformed_modifiers_are_refused(void **state)
{
    (void)state;
    refuses("{'_id':1}", "{'$set':1}", "modifiers: $set is not a document");
    refuses("{'_id':1}", "{'$set':{'c..d':1}}", "modifiers: path 'c..d' has an empty component");
    refuses("{'_id':1}", "{'$set':{'':1}}", "modifiers: path '' has an empty component");
    refuses("{'_id':1}", "{'$unset':{'a.':1}}", "modifiers: path 'a.' has an empty component");
    refuses("{'_id':1}", "{'$set':{'c':1},'$unset':{'c.d':true}}",
            "modifiers: paths 'c' and 'c.d' conflict");
    refuses("{'_id':1}", "{'$set':{'c':1,'c':2}}", "modifiers: paths 'c' and 'c' conflict");
}

static void
empty_sections_change_nothing(void **state)
{
    (void)state;
    gives("{'_id':1,'a':1}", "{'$v':1}", "{'_id':1,'a':1}");
    gives("{'_id':1,'a':1}", "{'$v':1,'$set':{}}", "{'_id':1,'a':1}");
    gives("{'_id':1,'a':1}", "{'$set':{'b':1},'$set':{'c':2}}", "{'_id':1,'a':1,'b':1,'c':2}");
}

/* Cut the update short at every length, with its own length field made to agree. */
static void
truncated_updates_never_apply(void **state)
{
    PITR_AUTO(free_bson) bson_t *pre = doc("{'_id':1,'a':{'b':1},'n':[1]}");
    PITR_AUTO(free_bson)
    bson_t *o = doc("{'$v':2,'diff':{'d':{'x':false},'u':{'y':1},'sa':{'i':{'b':'text'}},"
                    "'sn':{'a':true,'l':3,'u1':5}}}");
    uint8_t cut[256];

    (void)state;
    assert_true(o->len <= sizeof cut);
    for (uint32_t len = 5; len < o->len; len++) {
        PITR_AUTO(buf_release) struct buf out = {0};
        struct pitr_err err;

        memcpy(cut, bson_get_data(o), len);
        put_le32(cut, len);
        cut[len - 1] = 0;
        assert_int_equal(update_apply(&out, bson_get_data(pre), pre->len, cut, len,
                                      FIELD_ORDER_NUMERIC, true, &err),
                         PITR_CORRUPT);
        assert_int_equal(out.len, 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_told_apart),
        cmocka_unit_test(an_id_makes_a_replacement_whatever_else_there_is),
        cmocka_unit_test(versions_may_be_any_integral_number),
        cmocka_unit_test(unknown_kinds_are_refused),
        cmocka_unit_test(a_document_without_id_is_refused),
        cmocka_unit_test(replacements_put_the_id_first),
        cmocka_unit_test(the_id_stays_first_whatever_a_delta_says),
        cmocka_unit_test(modifiers_leave_the_id),
        cmocka_unit_test(an_equal_id_of_another_type_of_number_takes_over),
        cmocka_unit_test(another_id_is_refused),
        cmocka_unit_test(updates_stay_in_place_and_inserts_go_to_the_end),
        cmocka_unit_test(a_sub_diff_of_another_type_makes_null),
        cmocka_unit_test(a_sub_diff_of_a_missing_field_is_ignored),
        cmocka_unit_test(a_sub_diff_may_name_any_field),
        cmocka_unit_test(array_diffs_change_elements_and_length),
        cmocka_unit_test(array_keys_carry_over_at_ten),
        cmocka_unit_test(buckets_grow_by_nested_inserts),
        cmocka_unit_test(a_binary_diff_replaces_the_tail_and_keeps_the_subtype),
        cmocka_unit_test(a_binary_diff_beyond_the_end_is_for_fuzzy_windows_only),
        cmocka_unit_test(malformed_deltas_are_refused),
        cmocka_unit_test(malformed_array_diffs_are_refused),
        cmocka_unit_test(malformed_binary_diffs_are_refused),
        cmocka_unit_test(malformed_parts_are_found_even_where_they_do_not_apply),
        cmocka_unit_test(array_growth_is_bounded),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(paths_of_too_many_components_are_refused),
        cmocka_unit_test(wide_deltas_find_every_field),
        cmocka_unit_test(a_name_twice_in_a_wide_delta_is_refused),
        cmocka_unit_test(fields_with_the_same_name_all_change_in_a_delta),
        cmocka_unit_test(modifiers_change_the_first_field_of_a_name_only),
        cmocka_unit_test(new_fields_are_appended_in_the_order_of_the_version),
        cmocka_unit_test(paths_are_ordered_by_component),
        cmocka_unit_test(missing_parents_become_documents),
        cmocka_unit_test(modifiers_set_and_pad_array_elements),
        cmocka_unit_test(unset_elements_become_null),
        cmocka_unit_test(paths_through_scalars_are_ignored),
        cmocka_unit_test(indexes_may_have_leading_zeros),
        cmocka_unit_test(visiting_order_decides_what_padding_meets),
        cmocka_unit_test(many_paths_all_arrive),
        cmocka_unit_test(malformed_modifiers_are_refused),
        cmocka_unit_test(empty_sections_change_nothing),
        cmocka_unit_test(truncated_updates_never_apply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
