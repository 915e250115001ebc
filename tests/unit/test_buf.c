#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"

static void
an_empty_buf_owns_nothing(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_clear(&b);
    buf_release(&b);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
}

static void
appended_bytes_stay_in_order(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(buf_append_u8(&b, (uint8_t)i, &err), PITR_OK);
    assert_int_equal(b.len, 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(b.data[i], (uint8_t)i);
}

static void
integers_are_little_endian(void **state)
{
    static const uint8_t want[] = {4, 3, 2, 1, 8, 7, 6, 5, 4, 3, 2, 1};
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    (void)state;
    assert_int_equal(buf_append_le32(&b, 0x01020304, &err), PITR_OK);
    assert_int_equal(buf_append_le64(&b, 0x0102030405060708, &err), PITR_OK);
    assert_int_equal(b.len, sizeof want);
    assert_memory_equal(b.data, want, sizeof want);
    assert_int_equal(get_le32(b.data), 0x01020304);
    assert_int_equal(get_le64(b.data + 4), 0x0102030405060708);
}

static void
clear_keeps_the_memory(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;
    const uint8_t *data;

    (void)state;
    assert_int_equal(buf_append(&b, "abc", 3, &err), PITR_OK);
    data = b.data;
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_append(&b, "def", 3, &err), PITR_OK);
    assert_ptr_equal(b.data, data);
}

static void
growth_doubles(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;
    size_t before;

    (void)state;
    assert_int_equal(buf_reserve(&b, 100, &err), PITR_OK);
    before = b.cap;
    b.len = b.cap;
    assert_int_equal(buf_reserve(&b, 1, &err), PITR_OK);
    assert_int_equal(b.cap, 2 * before);
}

static void
sizes_that_overflow_are_nomem_and_change_nothing(void **state)
{
    PITR_AUTO(buf_release) struct buf b = {0};
    struct pitr_err err;

    (void)state;
    assert_int_equal(buf_append(&b, "abc", 3, &err), PITR_OK);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 1, &err), PITR_NOMEM);
    assert_non_null(strstr(err.msg, "buffer of 3 + "));
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "abc", 3);
}

static void
hexadecimal_survives_the_round_trip(void **state)
{
    const uint8_t raw[] = {0x00, 0x7f, 0x80, 0xff, 0xa5};
    uint8_t back[sizeof raw];
    char text[2 * sizeof raw + 1];

    (void)state;
    hex_encode(text, raw, sizeof raw);
    assert_string_equal(text, "007f80ffa5");
    assert_true(hex_decode(back, sizeof back, "007F80ffA5"));
    assert_memory_equal(back, raw, sizeof raw);
}

static void
anything_but_exact_hexadecimal_is_refused(void **state)
{
    uint8_t raw[2];

    (void)state;
    assert_false(hex_decode(raw, 2, "007"));
    assert_false(hex_decode(raw, 2, "00"));
    assert_false(hex_decode(raw, 2, ""));
    assert_false(hex_decode(raw, 2, "00777"));
    assert_false(hex_decode(raw, 2, "00g7"));
    assert_false(hex_decode(raw, 2, "0x12"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buf_owns_nothing),
        cmocka_unit_test(appended_bytes_stay_in_order),
        cmocka_unit_test(integers_are_little_endian),
        cmocka_unit_test(clear_keeps_the_memory),
        cmocka_unit_test(growth_doubles),
        cmocka_unit_test(sizes_that_overflow_are_nomem_and_change_nothing),
        cmocka_unit_test(hexadecimal_survives_the_round_trip),
        cmocka_unit_test(anything_but_exact_hexadecimal_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
