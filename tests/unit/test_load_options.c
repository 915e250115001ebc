/*
 * What of a catalog entry is asked of a server and when, and what counts as a difference
 * afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/load_compare.h"
#include "engine/load_options.h"
#include "mongo/extjson.h"

#define BUCKETS                                                                                    \
    "{\"validator\":{\"x\":1},\"clusteredIndex\":true,\"expireAfterSeconds\":60,"                  \
    "\"timeseries\":{\"timeField\":\"t\",\"metaField\":\"m\",\"granularity\":\"hours\","           \
    "\"bucketMaxSpanSeconds\":2592000}}"

struct fixture {
    struct load_coll coll;
    struct buf out;
    char said[4096]; /* sentences of a comparison, one a line */
};

static void
parse(struct buf *out, const char *json)
{
    struct pitr_err err;

    buf_release(out);
    if (extjson_parse(out, json, strlen(json), &err) != PITR_OK)
        fail_msg("%s: %s", json, err.msg);
}

/* JSON arrays are read as the value of a field and taken out of it. */
static void
parse_array(struct buf *out, const char *json)
{
    char text[4096];
    struct buf whole = {0};
    struct pitr_err err;
    struct belem e;
    bool found;

    snprintf(text, sizeof text, "{\"a\":%s}", json);
    parse(&whole, text);
    assert_int_equal(bson_find(whole.data, whole.len, "a", &found, &e, &err), PITR_OK);
    buf_release(out);
    assert_int_equal(buf_append(out, e.value, e.value_len, &err), PITR_OK);
    buf_release(&whole);
}

static void
coll_is(struct fixture *f, const char *name, const char *options, const char *indexes)
{
    static char db[] = "shop";

    f->coll.db = db;
    free(f->coll.name);
    f->coll.name = strdup(name);
    parse(&f->coll.options, options);
    parse_array(&f->coll.indexes, indexes);
}

static void
expect_bson(const struct buf *have, const char *json)
{
    struct buf want = {0};

    parse(&want, json);
    if (have->len != want.len || memcmp(have->data, want.data, want.len) != 0) {
        bson_t view;
        char *text = NULL;

        if (bson_init_static(&view, have->data, have->len))
            text = bson_as_relaxed_extended_json(&view, NULL);
        fail_msg("have %s\nwant %s", text, json);
    }
    buf_release(&want);
}

static void
expect_create(struct fixture *f, const char *json)
{
    struct pitr_err err;

    buf_clear(&f->out);
    assert_int_equal(load_create_command(&f->out, &f->coll, &err), PITR_OK);
    expect_bson(&f->out, json);
}

static void
expect_indexes(struct fixture *f, enum index_due due, const char *json)
{
    struct pitr_err err;
    size_t count;

    buf_clear(&f->out);
    assert_int_equal(load_index_command(&f->out, &f->coll, due, &count, &err), PITR_OK);
    if (json == NULL) {
        assert_int_equal(count, 0);
        assert_int_equal(f->out.len, 0);
        return;
    }
    assert_true(count > 0);
    expect_bson(&f->out, json);
}

static void
hear(void *arg, const char *what)
{
    struct fixture *f = arg;
    size_t used = strlen(f->said);

    snprintf(f->said + used, sizeof f->said - used, "%s\n", what);
}

static void
expect_options_differ(struct fixture *f, const char *actual, const char *said)
{
    const struct difference_sink sink = {hear, f};
    struct buf have = {0};
    struct pitr_err err;

    f->said[0] = '\0';
    parse(&have, actual);
    assert_int_equal(load_compare_options(&f->coll, &have, &sink, &err), PITR_OK);
    assert_string_equal(f->said, said);
    buf_release(&have);
}

static void
expect_indexes_differ(struct fixture *f, const char *actual, const char *said)
{
    const struct difference_sink sink = {hear, f};
    struct buf have = {0};
    struct pitr_err err;

    f->said[0] = '\0';
    parse_array(&have, actual);
    assert_int_equal(load_compare_indexes(&f->coll, &have, &sink, &err), PITR_OK);
    assert_string_equal(f->said, said);
    buf_release(&have);
}

static int
setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state == NULL;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    free(f->coll.name);
    buf_release(&f->coll.options);
    buf_release(&f->coll.indexes);
    buf_release(&f->out);
    free(f);
    return 0;
}

static void
every_option_of_a_collection_is_passed_on(void **state)
{
    struct fixture *f = *state;

    coll_is(f, "c",
            "{\"capped\":true,\"size\":4096,\"max\":9,\"validator\":{\"$expr\":{\"a.b\":\"$c\"}},"
            "\"validationLevel\":\"moderate\",\"collation\":{\"locale\":\"de\"},\"future\":1}",
            "[]");
    expect_create(f, "{\"create\":\"c\",\"capped\":true,\"size\":4096,\"max\":9,"
                     "\"validator\":{\"$expr\":{\"a.b\":\"$c\"}},\"validationLevel\":\"moderate\","
                     "\"collation\":{\"locale\":\"de\"},\"future\":1,\"writeConcern\":{\"w\":1}}");
}

static void
what_create_refuses_is_left_out(void **state)
{
    struct fixture *f = *state;

    coll_is(f, "c",
            "{\"temp\":true,\"uuid\":{\"$uuid\":\"00112233-4455-6677-8899-aabbccddeeff\"},"
            "\"autoIndexId\":true,\"recordIdsReplicated\":false,\"capped\":false,\"size\":5}",
            "[]");
    expect_create(f, "{\"create\":\"c\",\"writeConcern\":{\"w\":1}}");
}

static void
a_clustered_collection_waits_for_its_ttl(void **state)
{
    struct fixture *f = *state;
    struct pitr_err err;
    struct belem e;
    int64_t seconds = 0;
    bool found;

    coll_is(f, "c",
            "{\"clusteredIndex\":{\"v\":2,\"key\":{\"_id\":1},\"name\":\"n\",\"unique\":true},"
            "\"expireAfterSeconds\":60}",
            "[{\"v\":2,\"key\":{\"_id\":1},\"name\":\"n\",\"unique\":true,\"clustered\":true}]");
    expect_create(f, "{\"create\":\"c\",\"clusteredIndex\":{\"v\":2,\"key\":{\"_id\":1},"
                     "\"name\":\"n\",\"unique\":true},\"writeConcern\":{\"w\":1}}");
    expect_indexes(f, INDEX_NOW, NULL);
    expect_indexes(f, INDEX_LAST, NULL);
    assert_int_equal(load_ttl_option(&f->coll, &found, &e, &err), PITR_OK);
    assert_true(found);
    assert_true(belem_int64(&e, &seconds));
    assert_int_equal(seconds, 60);
}

static void
buckets_are_created_through_the_visible_name(void **state)
{
    struct fixture *f = *state;

    coll_is(f, "system.buckets.w", BUCKETS, "[]");
    assert_true(load_is_buckets(&f->coll));
    assert_string_equal(load_visible_name(&f->coll), "w");
    expect_create(f, "{\"create\":\"w\",\"timeseries\":{\"timeField\":\"t\",\"metaField\":\"m\","
                     "\"granularity\":\"hours\",\"bucketMaxSpanSeconds\":2592000},"
                     "\"writeConcern\":{\"w\":1}}");
}

static void
an_old_id_index_keeps_its_version(void **state)
{
    struct fixture *f = *state;

    coll_is(f, "c", "{}", "[{\"v\":1,\"key\":{\"_id\":1},\"name\":\"_id_\",\"ns\":\"shop.c\"}]");
    expect_create(f,
                  "{\"create\":\"c\",\"idIndex\":{\"v\":1,\"key\":{\"_id\":1},\"name\":\"_id_\"},"
                  "\"writeConcern\":{\"w\":1}}");
}

static void
ttl_indexes_are_apart_from_the_others(void **state)
{
    struct fixture *f = *state;

    coll_is(
        f, "c", "{}",
        "[{\"v\":2,\"key\":{\"_id\":1},\"name\":\"_id_\"},"
        "{\"v\":2,\"key\":{\"b\":-1,\"a\":1},\"name\":\"ba\",\"ns\":\"shop.c\",\"hidden\":true},"
        "{\"v\":2,\"key\":{\"d\":1},\"name\":\"d\",\"expireAfterSeconds\":0}]");
    expect_indexes(f, INDEX_NOW,
                   "{\"createIndexes\":\"c\",\"indexes\":[{\"v\":2,\"key\":{\"b\":-1,\"a\":1},"
                   "\"name\":\"ba\",\"hidden\":true}],\"ignoreUnknownIndexOptions\":true,"
                   "\"writeConcern\":{\"w\":1}}");
    expect_indexes(
        f, INDEX_LAST,
        "{\"createIndexes\":\"c\",\"indexes\":[{\"v\":2,\"key\":{\"d\":1},\"name\":\"d\","
        "\"expireAfterSeconds\":0}],\"ignoreUnknownIndexOptions\":true,"
        "\"writeConcern\":{\"w\":1}}");
}

static void
an_index_does_not_inherit_a_collation_it_has_not(void **state)
{
    struct fixture *f = *state;

    coll_is(f, "c", "{\"collation\":{\"locale\":\"de\"}}",
            "[{\"key\":{\"a\":1},\"name\":\"a\"},"
            "{\"key\":{\"b\":1},\"name\":\"b\",\"collation\":{\"locale\":\"fr\"}}]");
    expect_indexes(f, INDEX_NOW,
                   "{\"createIndexes\":\"c\",\"indexes\":[{\"key\":{\"a\":1},\"name\":\"a\","
                   "\"collation\":{\"locale\":\"simple\"}},{\"key\":{\"b\":1},\"name\":\"b\","
                   "\"collation\":{\"locale\":\"fr\"}}],\"ignoreUnknownIndexOptions\":true,"
                   "\"writeConcern\":{\"w\":1}}");
}

static void
bucket_indexes_are_built_where_their_form_belongs(void **state)
{
    struct fixture *f = *state;
    struct pitr_err err;
    const char *target;

    coll_is(f, "system.buckets.w", BUCKETS,
            "[{\"key\":{\"meta.s\":1,\"control.max.t\":-1,\"control.min.t\":-1},\"name\":\"a\"},"
            "{\"key\":{\"data.v\":\"2dsphere_bucket\"},\"name\":\"b\"}]");
    assert_int_equal(load_index_target(&f->coll, &target, &err), PITR_OK);
    assert_string_equal(target, "system.buckets.w");
    coll_is(
        f, "system.buckets.w", BUCKETS,
        "[{\"key\":{\"meta\":1},\"name\":\"a\"},{\"key\":{\"m.s\":1,\"t\":-1},\"name\":\"b\"}]");
    assert_int_equal(load_index_target(&f->coll, &target, &err), PITR_OK);
    assert_string_equal(target, "w");
}

static void
an_index_without_a_key_is_corrupt(void **state)
{
    struct fixture *f = *state;
    struct pitr_err err;
    const char *target;

    coll_is(f, "system.buckets.w", BUCKETS, "[{\"name\":\"a\"}]");
    assert_int_equal(load_index_target(&f->coll, &target, &err), PITR_CORRUPT);
    assert_string_equal(err.msg, "indexes of shop.system.buckets.w: an index spec has no key");
}

static void
options_that_mean_the_same_are_equal(void **state)
{
    struct fixture *f = *state;

    coll_is(f, "c",
            "{\"capped\":true,\"size\":4097,\"max\":9,\"temp\":true,\"expireAfterSeconds\":1}",
            "[]");
    expect_options_differ(f, "{\"max\":9.0,\"size\":4352,\"capped\":true}", "");
    coll_is(f, "c",
            "{\"validator\":{},\"validationLevel\":\"strict\",\"validationAction\":\"error\","
            "\"changeStreamPreAndPostImages\":{\"enabled\":false}}",
            "[]");
    expect_options_differ(f, "{}", "");
    coll_is(f, "system.buckets.w", BUCKETS, "[]");
    expect_options_differ(f,
                          "{\"clusteredIndex\":true,\"validator\":{\"other\":1},"
                          "\"timeseries\":{\"timeField\":\"t\",\"metaField\":\"m\","
                          "\"granularity\":\"hours\",\"bucketMaxSpanSeconds\":2592000,"
                          "\"bucketRoundingSeconds\":86400}}",
                          "");
}

static void
options_that_differ_are_named_with_both_values(void **state)
{
    struct fixture *f = *state;

    coll_is(f, "c",
            "{\"capped\":true,\"size\":4096,\"validator\":{\"a\":1,\"b\":2},"
            "\"collation\":{\"locale\":\"de\"}}",
            "[]");
    expect_options_differ(f,
                          "{\"capped\":true,\"size\":8192,\"validator\":{\"b\":2,\"a\":1},"
                          "\"max\":3}",
                          "option size is 8192, expected 4096\n"
                          "option validator is { \"b\" : 2, \"a\" : 1 }, expected "
                          "{ \"a\" : 1, \"b\" : 2 }\n"
                          "option collation is missing, expected { \"locale\" : \"de\" }\n"
                          "option max is 3, unexpected\n");
}

static void
order_of_indexes_and_ttl_do_not_matter(void **state)
{
    struct fixture *f = *state;

    coll_is(f, "c", "{}",
            "[{\"v\":2,\"key\":{\"_id\":1},\"name\":\"_id_\"},"
            "{\"v\":2,\"key\":{\"a\":1},\"name\":\"a\",\"ns\":\"old.c\",\"background\":true,"
            "\"unique\":false},{\"v\":2,\"key\":{\"b\":1.0},\"name\":\"b\",\"sparse\":1},"
            "{\"v\":2,\"key\":{\"d\":1},\"name\":\"d\",\"expireAfterSeconds\":0}]");
    expect_indexes_differ(f,
                          "[{\"v\":2,\"key\":{\"b\":1},\"name\":\"b\",\"sparse\":true},"
                          "{\"v\":2,\"key\":{\"a\":1},\"name\":\"a\"},"
                          "{\"v\":2,\"key\":{\"_id\":1},\"name\":\"_id_\"}]",
                          "");
}

static void
indexes_that_differ_are_named(void **state)
{
    struct fixture *f = *state;

    coll_is(f, "c", "{}",
            "[{\"v\":2,\"key\":{\"a\":1,\"b\":1},\"name\":\"ab\"},"
            "{\"v\":2,\"key\":{\"h\":1},\"name\":\"h\",\"hidden\":true},"
            "{\"v\":2,\"key\":{\"m\":1},\"name\":\"m\"}]");
    expect_indexes_differ(f,
                          "[{\"v\":2,\"key\":{\"b\":1,\"a\":1},\"name\":\"ab\"},"
                          "{\"v\":2,\"key\":{\"h\":1},\"name\":\"h\"},"
                          "{\"v\":2,\"key\":{\"x\":1},\"name\":\"x\"}]",
                          "index ab: key is { \"b\" : 1, \"a\" : 1 }, expected "
                          "{ \"a\" : 1, \"b\" : 1 }\n"
                          "index h: hidden is missing, expected true\n"
                          "index m is missing\n"
                          "index x is unexpected\n");
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(every_option_of_a_collection_is_passed_on),
        CASE(what_create_refuses_is_left_out),
        CASE(a_clustered_collection_waits_for_its_ttl),
        CASE(buckets_are_created_through_the_visible_name),
        CASE(an_old_id_index_keeps_its_version),
        CASE(ttl_indexes_are_apart_from_the_others),
        CASE(an_index_does_not_inherit_a_collation_it_has_not),
        CASE(bucket_indexes_are_built_where_their_form_belongs),
        CASE(an_index_without_a_key_is_corrupt),
        CASE(options_that_mean_the_same_are_equal),
        CASE(options_that_differ_are_named_with_both_values),
        CASE(order_of_indexes_and_ttl_do_not_matter),
        CASE(indexes_that_differ_are_named),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
