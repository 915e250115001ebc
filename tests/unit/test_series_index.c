/* Index specs of time-series collections, as a 6.0 server stores them and as it shows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "engine/series_index.h"
#include "tests/support/ejson.h"

static const char with_meta[] = "{\"timeseries\":{\"timeField\":\"t\",\"metaField\":\"sensor\"}}";

static void
expect_specs(const char *options, const char *stored, const char *shown)
{
    struct buf opts = {0}, in = {0}, out = {0}, want = {0};
    struct pitr_err err;

    ejson(&opts, options);
    ejson(&in, stored);
    ejson(&want, shown);
    if (series_indexes(&out, &opts, &in, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(out.len, want.len);
    assert_memory_equal(out.data, want.data, want.len);
    buf_release(&opts);
    buf_release(&in);
    buf_release(&out);
    buf_release(&want);
}

static void
keys_are_those_of_measurements(void **state)
{
    (void)state;
    expect_specs(
        with_meta,
        "{\"0\":{\"v\":2,\"key\":{\"meta\":1},\"name\":\"a\"},"
        "\"1\":{\"v\":2,\"key\":{\"meta.x\":-1,\"control.min.t\":1,\"control.max.t\":1},"
        "\"name\":\"b\"},"
        "\"2\":{\"v\":2,\"key\":{\"control.max.t\":-1,\"control.min.t\":-1},\"name\":\"c\"},"
        "\"3\":{\"v\":2,\"key\":{\"meta.h\":\"hashed\"},\"name\":\"d\",\"hidden\":true}}",
        "{\"0\":{\"v\":2,\"key\":{\"sensor\":1},\"name\":\"a\"},"
        "\"1\":{\"v\":2,\"key\":{\"sensor.x\":-1,\"t\":1},\"name\":\"b\"},"
        "\"2\":{\"v\":2,\"key\":{\"t\":-1},\"name\":\"c\"},"
        "\"3\":{\"v\":2,\"key\":{\"sensor.h\":\"hashed\"},\"name\":\"d\",\"hidden\":true}}");
}

static void
fields_that_look_like_bounds_or_meta_are_told_apart(void **state)
{
    (void)state;
    expect_specs("{\"timeseries\":{\"timeField\":\"t\"}}",
                 "{\"0\":{\"key\":{\"control.min.meta\":1,\"control.max.meta\":1,"
                 "\"control.min.control.min.x\":1,\"control.max.control.min.x\":1,"
                 "\"control.max.x\":-1,\"control.min.x\":-1},\"name\":\"a\"}}",
                 "{\"0\":{\"key\":{\"meta\":1,\"control.min.x\":1,\"x\":-1},\"name\":\"a\"}}");
}

static void
a_spec_that_was_kept_is_used(void **state)
{
    (void)state;
    expect_specs(with_meta,
                 "{\"0\":{\"v\":2,\"key\":{\"control.min.v\":1,\"control.max.v\":1},\"name\":\"p\","
                 "\"partialFilterExpression\":{\"control.max.v\":{\"$_internalExprGt\":1}},"
                 "\"originalSpec\":{\"name\":\"p\",\"partialFilterExpression\":{\"v\":{\"$gt\":1}},"
                 "\"key\":{\"v\":1},\"v\":2}}}",
                 "{\"0\":{\"name\":\"p\",\"partialFilterExpression\":{\"v\":{\"$gt\":1}},"
                 "\"key\":{\"v\":1},\"v\":2}}");
}

static void
a_sphere_index_has_its_version(void **state)
{
    (void)state;
    expect_specs(with_meta,
                 "{\"0\":{\"v\":2,\"key\":{\"data.loc\":\"2dsphere_bucket\"},\"name\":\"g\","
                 "\"2dsphereIndexVersion\":3,"
                 "\"originalSpec\":{\"name\":\"g\",\"key\":{\"loc\":\"2dsphere\"},\"v\":2}},"
                 "\"1\":{\"v\":2,\"key\":{\"data.loc\":\"2dsphere_bucket\",\"meta\":1},"
                 "\"name\":\"h\",\"2dsphereIndexVersion\":3}}",
                 "{\"0\":{\"name\":\"g\",\"key\":{\"loc\":\"2dsphere\"},\"v\":2,"
                 "\"2dsphereIndexVersion\":3},"
                 "\"1\":{\"v\":2,\"key\":{\"loc\":\"2dsphere\",\"sensor\":1},\"name\":\"h\","
                 "\"2dsphereIndexVersion\":3}}");
}

static void
what_is_as_users_see_it_stays(void **state)
{
    static const char specs[] = "{\"0\":{\"v\":2,\"key\":{\"sensor\":1},\"name\":\"a\"},"
                                "\"1\":{\"v\":2,\"key\":{\"t\":-1},\"name\":\"b\"}}";

    (void)state;
    expect_specs(with_meta, specs, specs);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_those_of_measurements),
        cmocka_unit_test(fields_that_look_like_bounds_or_meta_are_told_apart),
        cmocka_unit_test(a_spec_that_was_kept_is_used),
        cmocka_unit_test(a_sphere_index_has_its_version),
        cmocka_unit_test(what_is_as_users_see_it_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
