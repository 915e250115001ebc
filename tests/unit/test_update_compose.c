/* Claims about oplog/update_compose.h: the one update that does what two do. */
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
#include "oplog/update_compose.h"

static void
free_bson(bson_t **b)
{
    bson_destroy(*b);
}

static void
free_line(char **line)
{
    free(*line);
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
compose(struct buf *out, const bson_t *a, const bson_t *b, enum update_field_order order,
        bool *composed, struct pitr_err *err)
{
    return update_compose(out, bson_get_data(a), a->len, bson_get_data(b), b->len, order, composed,
                          err);
}

static void
check(const char *a_json, const char *b_json, const char *want_json, enum update_field_order order)
{
    PITR_AUTO(free_bson) bson_t *a = doc(a_json);
    PITR_AUTO(free_bson) bson_t *b = doc(b_json);
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;
    bson_t *want, got;
    bool composed;

    assert_int_equal(buf_append(&out, "kept", 4, &err), PITR_OK);
    if (compose(&out, a, b, order, &composed, &err) != PITR_OK)
        fail_msg("%s then %s: %s", a_json, b_json, err.msg);
    assert_memory_equal(out.data, "kept", 4);
    if (want_json == NULL) {
        assert_int_equal(out.len, 4);
        if (composed)
            fail_msg("%s then %s is composed", a_json, b_json);
        return;
    }
    if (!composed)
        fail_msg("%s then %s is not composed", a_json, b_json);
    assert_true(bson_init_static(&got, out.data + 4, out.len - 4));
    want = doc(want_json);
    if (!bson_equal(&got, want))
        fail_msg("%s then %s:\n got  %s\n want %s", a_json, b_json,
                 bson_as_canonical_extended_json(&got, NULL),
                 bson_as_canonical_extended_json(want, NULL));
    bson_destroy(want);
}

static void
make(const char *a, const char *b, const char *want)
{
    check(a, b, want, FIELD_ORDER_NUMERIC);
    check(a, b, want, FIELD_ORDER_BYTES);
}

static void
stay_two(const char *a, const char *b)
{
    make(a, b, NULL);
}

static void
deltas_make(const char *a, const char *b, const char *want)
{
    char first[1024], then[1024], both[1024];

    assert_true((size_t)snprintf(first, sizeof first, "{'$v':2,'diff':%s}", a) < sizeof first);
    assert_true((size_t)snprintf(then, sizeof then, "{'$v':2,'diff':%s}", b) < sizeof then);
    if (want != NULL)
        assert_true((size_t)snprintf(both, sizeof both, "{'$v':2,'diff':%s}", want) < sizeof both);
    make(first, then, want == NULL ? NULL : both);
}

static void
deltas_stay_two(const char *a, const char *b)
{
    deltas_make(a, b, NULL);
}

/* Array diffs of one field. */
static void
arrays_make(const char *a, const char *b, const char *want)
{
    char first[1024], then[1024], both[1024];

    assert_true((size_t)snprintf(first, sizeof first, "{'sx':{'a':true%s}}", a) < sizeof first);
    assert_true((size_t)snprintf(then, sizeof then, "{'sx':{'a':true%s}}", b) < sizeof then);
    if (want != NULL)
        assert_true((size_t)snprintf(both, sizeof both, "{'sx':{'a':true%s}}", want) < sizeof both);
    deltas_make(first, then, want == NULL ? NULL : both);
}

static void
are_refused(const char *a_json, const char *b_json, const char *message)
{
    PITR_AUTO(free_bson) bson_t *a = doc(a_json);
    PITR_AUTO(free_bson) bson_t *b = doc(b_json);
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;
    bool composed = true;

    assert_int_equal(buf_append(&out, "kept", 4, &err), PITR_OK);
    if (compose(&out, a, b, FIELD_ORDER_NUMERIC, &composed, &err) != PITR_CORRUPT)
        fail_msg("%s then %s is accepted", a_json, b_json);
    assert_string_equal(err.msg, message);
    assert_false(composed);
    assert_int_equal(out.len, 4);
}

static void
a_replacement_swallows_what_is_before_it(void **state)
{
    (void)state;
    make("{'$v':2,'diff':{'u':{'a':1}}}", "{'b':2,'_id':1}", "{'b':2,'_id':1}");
    make("{'$v':1,'$set':{'a':1}}", "{'_id':1}", "{'_id':1}");
    make("{'_id':1,'a':1}", "{'_id':1,'b':2}", "{'_id':1,'b':2}");
}

static void
a_replacement_takes_the_updates_after_it(void **state)
{
    (void)state;
    make("{'_id':1,'a':1}", "{'$v':2,'diff':{'u':{'a':2},'i':{'b':3}}}", "{'_id':1,'a':2,'b':3}");
    make("{'_id':1,'a':1}", "{'$v':1,'$set':{'c':2,'a':3}}", "{'_id':1,'a':3,'c':2}");
    make("{'a':1,'_id':1}", "{'$v':2,'diff':{'d':{'a':false}}}", "{'_id':1}");
}

static void
a_replacement_keeps_the_bytes_of_its_own_id(void **state)
{
    (void)state;
    make("{'a':1,'_id':{'$numberDouble':'1'}}", "{'$v':2,'diff':{'u':{'a':2}}}",
         "{'_id':{'$numberDouble':'1'},'a':2}");
    make("{'_id':1}", "{'$v':2,'diff':{'i':{'_id':{'$numberLong':'1'}}}}",
         "{'_id':{'$numberLong':'1'}}");
    stay_two("{'_id':1,'a':1,'_id':{'$numberDouble':'1'}}", "{'$v':2,'diff':{'u':{'a':2}}}");
}

static void
kinds_that_differ_stay_two(void **state)
{
    (void)state;
    stay_two("{'$v':2,'diff':{'u':{'a':1}}}", "{'$v':1,'$set':{'a':2}}");
    stay_two("{'$v':1,'$set':{'a':2}}", "{'$v':2,'diff':{'u':{'a':1}}}");
}

static void
of_a_field_the_newest_value_wins(void **state)
{
    (void)state;
    deltas_make("{'u':{'n':1,'at':10}}", "{'u':{'n':2,'at':20}}", "{'u':{'n':2,'at':20}}");
    deltas_make("{'u':{'a':1}}", "{'u':{'b':2}}", "{'u':{'a':1,'b':2}}");
    deltas_make("{'i':{'a':1,'b':1}}", "{'u':{'a':2}}", "{'i':{'a':2,'b':1}}");
    deltas_make("{'sa':{'u':{'x':1}}}", "{'u':{'a':2}}", "{'u':{'a':2}}");
    deltas_make("{'b':{'a':{'o':0,'d':{'$binary':{'base64':'','subType':'0'}}}}}", "{'u':{'a':2}}",
                "{'u':{'a':2}}");
}

static void
a_deleted_field_stays_deleted(void **state)
{
    (void)state;
    deltas_make("{'u':{'a':1}}", "{'d':{'a':false}}", "{'d':{'a':false}}");
    deltas_make("{'i':{'a':1}}", "{'d':{'a':false}}", "{'d':{'a':false}}");
    deltas_make("{'sa':{'u':{'x':1}}}", "{'d':{'a':false}}", "{'d':{'a':false}}");
    deltas_make("{'d':{'a':false}}", "{'i':{'a':1}}", "{'i':{'a':1}}");
    deltas_make("{'d':{'a':false}}", "{'d':{'b':false}}", "{'d':{'a':false,'b':false}}");
}

static void
what_strict_replay_cannot_meet_stays_two(void **state)
{
    (void)state;
    deltas_stay_two("{'d':{'a':false}}", "{'u':{'a':1}}");
    deltas_stay_two("{'d':{'a':false}}", "{'sa':{'u':{'x':1}}}");
    deltas_stay_two("{'sa':{'u':{'x':1}}}", "{'sa':{'a':true,'u0':1}}");
    deltas_stay_two("{'sa':{'u':{'x':1}}}",
                    "{'b':{'a':{'o':0,'d':{'$binary':{'base64':'','subType':'0'}}}}}");
    deltas_stay_two("{'u':{}}", "{'i':{}}");
}

static void
inserted_fields_stand_in_the_order_of_their_last_insertion(void **state)
{
    (void)state;
    deltas_make("{'i':{'x':1,'y':1}}", "{'i':{'z':2}}", "{'i':{'x':1,'y':1,'z':2}}");
    deltas_make("{'i':{'x':1,'y':1}}", "{'i':{'z':2,'x':2}}", "{'i':{'y':1,'z':2,'x':2}}");
    deltas_make("{'i':{'x':1,'y':1}}", "{'u':{'y':3},'i':{'x':2}}", "{'i':{'y':3,'x':2}}");
    deltas_make("{'u':{'x':1},'i':{'y':1}}", "{'i':{'x':2}}", "{'i':{'y':1,'x':2}}");
}

static void
a_sub_diff_of_a_new_value_is_applied_to_it(void **state)
{
    (void)state;
    deltas_make("{'u':{'a':{'x':1,'y':2}}}", "{'sa':{'d':{'x':false},'i':{'z':3}}}",
                "{'u':{'a':{'y':2,'z':3}}}");
    deltas_make("{'i':{'a':[1,2]}}", "{'sa':{'a':true,'l':3,'u2':9}}", "{'i':{'a':[1,2,9]}}");
    deltas_make("{'u':{'a':{'$binary':{'base64':'AQID','subType':'7'}}}}",
                "{'b':{'a':{'o':1,'d':{'$binary':{'base64':'CQ==','subType':'0'}}}}}",
                "{'u':{'a':{'$binary':{'base64':'AQk=','subType':'7'}}}}");
}

static void
sub_diffs_compose_level_by_level(void **state)
{
    (void)state;
    deltas_make("{'sa':{'u':{'x':1},'sb':{'i':{'p':1}}}}",
                "{'sa':{'i':{'y':2},'sb':{'u':{'p':2}}}}",
                "{'sa':{'u':{'x':1},'i':{'y':2},'sb':{'i':{'p':2}}}}");
    deltas_make("{'sa':{'u':{'x':1}}}", "{'sb':{'u':{'x':1}}}",
                "{'sa':{'u':{'x':1}},'sb':{'u':{'x':1}}}");
    deltas_make("{'s':{'u':{'':1}}}", "{'s':{'u':{'':2}}}", "{'s':{'u':{'':2}}}");
    deltas_make("{'ss':{'u':{'u':1}}}", "{'ss':{'u':{'d':2}}}", "{'ss':{'u':{'u':1,'d':2}}}");
}

#define BINDIFF(o, base64)                                                                         \
    "{'b':{'x':{'o':" #o ",'d':{'$binary':{'base64':'" base64 "','subType':'0'}}}}}"

static void
binary_diffs_join_at_the_cut(void **state)
{
    (void)state;
    deltas_make(BINDIFF(4, "AQID"), BINDIFF(7, "BAU="), BINDIFF(4, "AQIDBAU="));
    deltas_make(BINDIFF(4, "AQID"), BINDIFF(5, "CQ=="), BINDIFF(4, "AQk="));
    deltas_make(BINDIFF(4, "AQID"), BINDIFF(2, "CQ=="), BINDIFF(2, "CQ=="));
    deltas_stay_two(BINDIFF(4, "AQID"), BINDIFF(8, "CQ=="));
}

static void
array_elements_compose_one_by_one(void **state)
{
    (void)state;
    arrays_make(",'u1':1", ",'u0':2", ",'u0':2,'u1':1");
    arrays_make(",'u1':1,'u2':1", ",'u1':2", ",'u1':2,'u2':1");
    arrays_make(",'u1':{'k':1}", ",'s1':{'u':{'k':2}}", ",'u1':{'k':2}");
    arrays_make(",'s1':{'u':{'k':1}}", ",'s1':{'u':{'k':2}}", ",'s1':{'u':{'k':2}}");
    arrays_make(",'s1':{'u':{'k':1}}", ",'u1':5", ",'u1':5");
    arrays_make(",'s1':{'u':{'k':1}}", ",'s1':{'a':true,'u0':1}", NULL);
}

static void
an_array_cut_twice_has_the_second_length(void **state)
{
    (void)state;
    arrays_make(",'l':5,'u4':1", ",'l':3,'u0':2", ",'l':3,'u0':2");
    arrays_make(",'u1':1,'u4':1", ",'l':3", ",'l':3,'u1':1");
    arrays_make(",'l':5", ",'u1':1", ",'l':5,'u1':1");
}

static void
an_array_that_is_cut_and_grows_has_nulls_between(void **state)
{
    (void)state;
    arrays_make(",'l':2", ",'u2':7,'u3':8", ",'l':4,'u2':7,'u3':8");
    arrays_make(",'l':1", ",'u3':7", ",'l':4,'u1':null,'u2':null,'u3':7");
    arrays_make(",'l':1", ",'l':3", ",'l':3,'u1':null,'u2':null");
    arrays_make(",'l':1", ",'l':4,'u2':7", ",'l':4,'u1':null,'u2':7,'u3':null");
    arrays_make(",'l':1", ",'s2':{'u':{'k':1}}", ",'l':3,'u1':null,'u2':null");
}

static void
nulls_without_end_are_not_written_out(void **state)
{
    (void)state;
    arrays_make(",'l':0", ",'u2000000000':1", NULL);
    arrays_make(",'l':0", ",'l':2147483647", NULL);
    arrays_make(",'l':2147483647", ",'u2147483647':1", NULL);
}

static void
the_id_at_the_top_is_left_alone(void **state)
{
    (void)state;
    deltas_stay_two("{'d':{'_id':false}}", "{'u':{'a':1}}");
    deltas_stay_two("{'u':{'a':1}}", "{'i':{'_id':1}}");
    deltas_make("{'sa':{'u':{'_id':1}}}", "{'sa':{'u':{'_id':2}}}", "{'sa':{'u':{'_id':2}}}");
}

static void
modifiers_that_set_the_same_paths_take_the_newer_values(void **state)
{
    (void)state;
    make("{'$v':1,'$set':{'n':1,'at':1}}", "{'$v':1,'$set':{'n':2,'at':2}}",
         "{'$v':1,'$set':{'at':2,'n':2}}");
    make("{'$set':{'a.b':1,'c.0':1}}", "{'$v':1,'$set':{'a.b':2}}",
         "{'$v':1,'$set':{'a.b':2,'c.0':1}}");
    make("{'$v':1,'$unset':{'x.y':true},'$set':{'a.b':1}}", "{'$v':1,'$set':{'a.b':2}}",
         "{'$v':1,'$unset':{'x.y':true},'$set':{'a.b':2}}");
}

static void
modifiers_at_the_top_compose_if_new_fields_come_last(void **state)
{
    (void)state;
    make("{'$v':1,'$set':{'a':1}}", "{'$v':1,'$set':{'b':1}}", "{'$v':1,'$set':{'a':1,'b':1}}");
    stay_two("{'$v':1,'$set':{'b':1}}", "{'$v':1,'$set':{'a':1}}");
    make("{'$v':1,'$set':{'a':1}}", "{'$v':1,'$unset':{'a':true}}", "{'$v':1,'$unset':{'a':true}}");
    make("{'$v':1,'$set':{'a':1}}", "{'$v':1,'$unset':{'b':true}}",
         "{'$v':1,'$unset':{'b':true},'$set':{'a':1}}");
    make("{'$v':1}", "{'$v':1}", "{'$v':1}");
}

static void
which_name_comes_last_depends_on_the_server(void **state)
{
    static const char *const nine = "{'$v':1,'$set':{'9':1}}", *const ten =
                                                                   "{'$v':1,'$set':{'10':1}}";

    (void)state;
    check(nine, ten, "{'$v':1,'$set':{'9':1,'10':1}}", FIELD_ORDER_NUMERIC);
    check(nine, ten, NULL, FIELD_ORDER_BYTES);
    check(ten, nine, "{'$v':1,'$set':{'10':1,'9':1}}", FIELD_ORDER_BYTES);
    check(ten, nine, NULL, FIELD_ORDER_NUMERIC);
}

static void
modifiers_that_depend_on_the_document_stay_two(void **state)
{
    (void)state;
    stay_two("{'$v':1,'$unset':{'a':true}}", "{'$v':1,'$set':{'a':1}}");
    stay_two("{'$v':1,'$unset':{'a':true}}", "{'$v':1,'$unset':{'a':true}}");
    stay_two("{'$v':1,'$set':{'a.b':1}}", "{'$v':1,'$set':{'a.c':1}}");
    stay_two("{'$v':1,'$set':{'a.b':1}}", "{'$v':1,'$unset':{'a.b':true}}");
    stay_two("{'$v':1,'$set':{'a.b':1}}", "{'$v':1,'$set':{'b':1}}");
    stay_two("{'$v':1,'$set':{'_id':1}}", "{'$v':1,'$set':{'b':1}}");
    stay_two("{'$v':1,'$set':{'a.0':1}}", "{'$v':1,'$set':{'a.00':1}}");
}

static void
malformed_updates_are_refused(void **state)
{
    static const char *const good = "{'$v':2,'diff':{'u':{'a':1}}}";

    (void)state;
    are_refused(good, "{'$v':3}", "update: unknown version $v: 3");
    are_refused("{}", good, "update: empty, neither replacement nor modifiers");
    are_refused("{'$v':2}", good, "delta: no diff document");
    are_refused(good, "{'$v':2,'diff':{}}", "delta: empty diff");
    are_refused("{'$v':2,'diff':{'d':{'a':1},'u':{'a':1}}}", good, "delta: field a named twice");
    are_refused("{'$v':1,'$set':{'a':1,'a.b':2}}", "{'$v':1,'$set':{'c':1}}",
                "modifiers: paths 'a' and 'a.b' conflict");
}

static void
a_malformed_update_is_refused_even_if_nothing_is_left_of_it(void **state)
{
    (void)state;
    are_refused("{'$v':2,'diff':{'sa':{}}}", "{'_id':1}", "delta: empty diff");
    are_refused("{'$v':1,'$set':{'a..b':1}}", "{'_id':1}",
                "modifiers: path 'a..b' has an empty component");
    are_refused("{'$v':2,'diff':{'sa':{'q':1}}}", "{'$v':2,'diff':{'u':{'a':1}}}",
                "delta: unknown section q");
    are_refused("{'$v':2,'diff':{'sa':{'a':true,'s5':{}}}}",
                "{'$v':2,'diff':{'sa':{'a':true,'l':1}}}", "delta: empty diff");
    are_refused("{'$v':2,'diff':{'d':{'b':1},'sa':{}}}", "{'$v':2,'diff':{'u':{'b':1}}}",
                "delta: empty diff");
}

static void
a_binary_diff_that_no_document_takes_is_refused(void **state)
{
    (void)state;
    are_refused("{'$v':2,'diff':{'u':{'x':{'$binary':{'base64':'AQID','subType':'0'}}}}}",
                "{'$v':2,'diff':" BINDIFF(4, "CQ==") "}",
                "delta: binary diff of x at 4, beyond its 3 bytes");
}

static void
every_truncation_is_refused(void **state)
{
    PITR_AUTO(free_bson)
    bson_t *o = doc("{'$v':2,'diff':{'d':{'x':false},'u':{'a':'text'},'i':{'b':[1]},"
                    "'sc':{'a':true,'l':3,'u0':1,'s2':{'u':{'k':1}}}}}");
    PITR_AUTO(free_bson) bson_t *whole = bson_copy(o);
    PITR_AUTO(buf_release) struct buf out = {0};
    struct pitr_err err;
    bool composed;

    (void)state;
    for (size_t len = 0; len < o->len; len++) {
        uint8_t *cut = malloc(len + 1);

        assert_non_null(cut);
        memcpy(cut, bson_get_data(o), len);
        if (len >= 4)
            put_le32(cut, (uint32_t)len);
        assert_int_equal(update_compose(&out, cut, len, bson_get_data(whole), whole->len,
                                        FIELD_ORDER_NUMERIC, &composed, &err),
                         PITR_CORRUPT);
        assert_int_equal(update_compose(&out, bson_get_data(whole), whole->len, cut, len,
                                        FIELD_ORDER_NUMERIC, &composed, &err),
                         PITR_CORRUPT);
        assert_int_equal(out.len, 0);
        free(cut);
    }
}

static void
nesting_as_deep_as_the_input_is_refused(void **state)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    bson_t *o = BCON_NEW("u", "{", "a", BCON_INT32(1), "}");
    struct pitr_err err;
    bool composed;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        bson_t *outer = bson_new();

        assert_true(BSON_APPEND_DOCUMENT(outer, "sa", o));
        bson_destroy(o);
        o = outer;
    }
    {
        PITR_AUTO(free_bson)
        bson_t *delta = BCON_NEW("$v", BCON_INT32(2), "diff", BCON_DOCUMENT(o));

        if (compose(&out, delta, delta, FIELD_ORDER_NUMERIC, &composed, &err) == PITR_OK)
            assert_false(composed);
    }
    bson_destroy(o);
}

/* Enough fields that names are searched, not compared one by one. */
static void
diffs_of_many_fields_compose(void **state)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    bson_t a = BSON_INITIALIZER, b = BSON_INITIALIZER, want = BSON_INITIALIZER;
    struct pitr_err err;
    bool composed;
    char name[16];

    (void)state;
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "f%d", i);
        if (i % 3 != 0)
            assert_true(BSON_APPEND_INT32(&a, name, 1));
        if (i % 3 != 1)
            assert_true(BSON_APPEND_INT32(&b, name, 2));
        if (i % 3 != 0)
            assert_true(BSON_APPEND_INT32(&want, name, i % 3 == 1 ? 1 : 2));
    }
    for (int i = 0; i < 3000; i += 3) {
        snprintf(name, sizeof name, "f%d", i);
        assert_true(BSON_APPEND_INT32(&want, name, 2));
    }
    {
        PITR_AUTO(free_bson)
        bson_t *x = BCON_NEW("$v", BCON_INT32(2), "diff", "{", "u", BCON_DOCUMENT(&a), "}");
        PITR_AUTO(free_bson)
        bson_t *y = BCON_NEW("$v", BCON_INT32(2), "diff", "{", "u", BCON_DOCUMENT(&b), "}");
        PITR_AUTO(free_bson)
        bson_t *z = BCON_NEW("$v", BCON_INT32(2), "diff", "{", "u", BCON_DOCUMENT(&want), "}");

        assert_int_equal(compose(&out, x, y, FIELD_ORDER_NUMERIC, &composed, &err), PITR_OK);
        assert_true(composed);
        assert_int_equal(out.len, z->len);
        assert_memory_equal(out.data, bson_get_data(z), z->len);
    }
    bson_destroy(&a);
    bson_destroy(&b);
    bson_destroy(&want);
}

typedef void check_line(const bson_t *line, size_t *composed);

static void
each_line(const char *file, size_t count, check_line *each, size_t *composed)
{
    PITR_AUTO(free_line) char *line = NULL;
    char path[4096];
    size_t cap = 0, n = 0;
    ssize_t len;
    FILE *f;

    assert_true((size_t)snprintf(path, sizeof path, PITR_SOURCE_DIR "/tests/vectors/%s", file) <
                sizeof path);
    f = fopen(path, "r");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    for (; (len = getline(&line, &cap, f)) > 0; n++) {
        bson_error_t err;
        PITR_AUTO(free_bson) bson_t *vector = bson_new_from_json((const uint8_t *)line, len, &err);

        if (vector == NULL)
            fail_msg("%s line %zu: %s", file, n + 1, err.message);
        each(vector, composed);
    }
    assert_int_equal(fclose(f), 0);
    assert_int_equal(n, count);
}

/* View the document at a dotted path; a bson_t must not move. */
static void
part(bson_t *view, const bson_t *vector, const char *path)
{
    bson_iter_t it, at;
    const uint8_t *data;
    uint32_t len;

    assert_true(bson_iter_init(&it, vector));
    assert_true(bson_iter_find_descendant(&it, path, &at));
    bson_iter_document(&at, &len, &data);
    assert_true(bson_init_static(view, data, len));
}

static void
assert_same(const bson_t *vector, const struct buf *got, const bson_t *want)
{
    bson_iter_t name;
    bson_t view;

    if (got->len == want->len && memcmp(got->data, bson_get_data(want), got->len) == 0)
        return;
    assert_true(bson_iter_init_find(&name, vector, "name"));
    assert_true(bson_init_static(&view, got->data, got->len));
    fail_msg("%s:\n got  %s\n want %s", bson_iter_utf8(&name, NULL),
             bson_as_canonical_extended_json(&view, NULL),
             bson_as_canonical_extended_json(want, NULL));
}

static void
copy(struct buf *to, const bson_t *from)
{
    struct pitr_err err;

    buf_clear(to);
    assert_int_equal(buf_append(to, bson_get_data(from), from->len, &err), PITR_OK);
}

static void
check_twice(const bson_t *vector, size_t *composed, enum update_field_order order)
{
    PITR_AUTO(buf_release) struct buf both = {0}, out = {0};
    bson_t from, o, post;
    struct pitr_err err;
    bool yes;

    part(&from, vector, "pre");
    part(&o, vector, "op.o");
    part(&post, vector, "post");
    if (compose(&both, &o, &o, order, &yes, &err) != PITR_OK)
        fail_msg("%s: %s", bson_as_canonical_extended_json(&o, NULL), err.msg);
    if (!yes)
        return;
    ++*composed;
    if (update_apply(&out, bson_get_data(&from), from.len, both.data, both.len, order, true,
                     &err) != PITR_OK)
        fail_msg("%s", err.msg);
    assert_same(vector, &out, &post);
}

static void
check_delta_twice(const bson_t *vector, size_t *composed)
{
    check_twice(vector, composed, FIELD_ORDER_NUMERIC);
}

static void
check_modifiers_twice(const bson_t *vector, size_t *composed)
{
    check_twice(vector, composed, FIELD_ORDER_BYTES);
}

static void
an_update_composed_with_itself_does_what_it_did(void **state)
{
    size_t deltas = 0, modifiers = 0;

    (void)state;
    each_line("oplog-vectors.jsonl", 439, check_delta_twice, &deltas);
    each_line("oplog-vectors-v1.jsonl", 342, check_modifiers_twice, &modifiers);
    print_message("%zu deltas, %zu modifiers\n", deltas, modifiers);
    assert_in_range(deltas, 430, 439);
    assert_in_range(modifiers, 200, 342);
}

/* What oplog-chains.jsonl holds: chains, and pairs of neighbours in them. */
enum { MAX_OPS = 64, CHAINS = 354, CHAIN_PAIRS = 1525 - 354 };

/* Compose neighbours from the first update on, or from the last one, and apply what is left. */
static void
check_fold(const bson_t *vector, bool from_last, size_t *composed)
{
    PITR_AUTO(buf_release) struct buf doc = {0};
    struct buf ops[MAX_OPS] = {{0}};
    bson_t view, post;
    char path[24];
    size_t n = 0;
    bson_iter_t it, at;

    part(&view, vector, "pre");
    part(&post, vector, "post");
    copy(&doc, &view);
    for (;; n++) {
        bson_t o;

        snprintf(path, sizeof path, "ops.%zu", n);
        assert_true(bson_iter_init(&it, vector));
        if (!bson_iter_find_descendant(&it, path, &at))
            break;
        assert_true(n < MAX_OPS);
        part(&o, vector, path);
        copy(&ops[n], &o);
    }
    assert_true(n > 1);
    for (size_t i = from_last ? n - 1 : 1; i > 0 && i < n; i = from_last ? i - 1 : i + 1) {
        struct buf *a = &ops[i - 1], *b = &ops[i];
        struct buf both = {0};
        struct pitr_err err;
        bool yes;

        assert_int_equal(update_compose(&both, a->data, a->len, b->data, b->len,
                                        FIELD_ORDER_NUMERIC, &yes, &err),
                         PITR_OK);
        if (!yes)
            continue;
        ++*composed;
        buf_release(from_last ? b : a);
        buf_release(from_last ? a : b);
        *(from_last ? a : b) = both;
    }
    for (size_t i = 0; i < n; i++) {
        struct buf next = {0};
        struct pitr_err err;

        if (ops[i].len == 0)
            continue;
        assert_int_equal(update_apply(&next, doc.data, doc.len, ops[i].data, ops[i].len,
                                      FIELD_ORDER_NUMERIC, true, &err),
                         PITR_OK);
        buf_release(&doc);
        buf_release(&ops[i]);
        doc = next;
    }
    assert_same(vector, &doc, &post);
}

static void
check_chain(const bson_t *vector, size_t *composed)
{
    check_fold(vector, false, composed);
    check_fold(vector, true, composed);
}

/* The last document is what a server had stored after all of them. */
static void
chains_of_a_server_fold_to_the_stored_bytes(void **state)
{
    size_t composed = 0;

    (void)state;
    each_line("oplog-chains.jsonl", CHAINS, check_chain, &composed);
    assert_int_equal(composed, 2 * CHAIN_PAIRS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replacement_swallows_what_is_before_it),
        cmocka_unit_test(a_replacement_takes_the_updates_after_it),
        cmocka_unit_test(a_replacement_keeps_the_bytes_of_its_own_id),
        cmocka_unit_test(kinds_that_differ_stay_two),
        cmocka_unit_test(of_a_field_the_newest_value_wins),
        cmocka_unit_test(a_deleted_field_stays_deleted),
        cmocka_unit_test(what_strict_replay_cannot_meet_stays_two),
        cmocka_unit_test(inserted_fields_stand_in_the_order_of_their_last_insertion),
        cmocka_unit_test(a_sub_diff_of_a_new_value_is_applied_to_it),
        cmocka_unit_test(sub_diffs_compose_level_by_level),
        cmocka_unit_test(binary_diffs_join_at_the_cut),
        cmocka_unit_test(array_elements_compose_one_by_one),
        cmocka_unit_test(an_array_cut_twice_has_the_second_length),
        cmocka_unit_test(an_array_that_is_cut_and_grows_has_nulls_between),
        cmocka_unit_test(nulls_without_end_are_not_written_out),
        cmocka_unit_test(the_id_at_the_top_is_left_alone),
        cmocka_unit_test(modifiers_that_set_the_same_paths_take_the_newer_values),
        cmocka_unit_test(modifiers_at_the_top_compose_if_new_fields_come_last),
        cmocka_unit_test(which_name_comes_last_depends_on_the_server),
        cmocka_unit_test(modifiers_that_depend_on_the_document_stay_two),
        cmocka_unit_test(malformed_updates_are_refused),
        cmocka_unit_test(a_malformed_update_is_refused_even_if_nothing_is_left_of_it),
        cmocka_unit_test(a_binary_diff_that_no_document_takes_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(nesting_as_deep_as_the_input_is_refused),
        cmocka_unit_test(diffs_of_many_fields_compose),
        cmocka_unit_test(an_update_composed_with_itself_does_what_it_did),
        cmocka_unit_test(chains_of_a_server_fold_to_the_stored_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
