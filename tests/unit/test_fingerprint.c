#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/fingerprint.h"

static struct fingerprint
print_of(const char *const *docs, size_t n)
{
    struct fingerprint f = {0};

    for (size_t i = 0; i < n; i++)
        (void)fingerprint_add(&f, (const uint8_t *)docs[i], strlen(docs[i]));
    return f;
}

static void
order_does_not_matter(void **state)
{
    struct fingerprint a = print_of((const char *const[]){"one", "two", "three"}, 3);
    struct fingerprint b = print_of((const char *const[]){"three", "one", "two"}, 3);

    (void)state;
    assert_true(fingerprint_equal(&a, &b));
    assert_int_equal(a.documents, 3);
    assert_int_equal(a.bytes, 11);
}

static void
different_documents_differ_even_with_equal_counts(void **state)
{
    struct fingerprint a = print_of((const char *const[]){"one", "two"}, 2);
    struct fingerprint b = print_of((const char *const[]){"one", "twp"}, 2);
    struct fingerprint twice = print_of((const char *const[]){"one", "one"}, 2);

    (void)state;
    assert_false(fingerprint_equal(&a, &b));
    assert_false(fingerprint_equal(&a, &twice));
}

static void
stored_bytes_and_text_are_stable(void **state)
{
    const uint8_t bytes[FINGERPRINT_LEN] = {1, 0, 0, 0, 0, 0, 0, 0, 2};
    struct fingerprint f = {.lo = 1, .hi = 2}, back = {.documents = 7};
    uint8_t out[FINGERPRINT_LEN];
    char text[FINGERPRINT_TEXT_LEN];

    (void)state;
    fingerprint_store(out, &f);
    assert_memory_equal(out, bytes, sizeof out);
    fingerprint_load(&back, out);
    assert_int_equal(back.lo, 1);
    assert_int_equal(back.hi, 2);
    assert_int_equal(back.documents, 7);
    fingerprint_format(text, &f);
    assert_string_equal(text, "00000000000000020000000000000001");
}

static void
the_document_hash_is_xxh3_128(void **state)
{
    struct fingerprint f = {0};

    (void)state;
    /* XXH3_128bits of nothing, from the specification's test vectors. */
    assert_int_equal(fingerprint_add(&f, (const uint8_t *)"", 0), 0x6001C324468D497FULL);
    assert_int_equal(f.hi, 0x99AA06D3014798D8ULL);
}

static void
the_sum_carries_into_its_high_half(void **state)
{
    struct fingerprint f = {.lo = UINT64_MAX};

    (void)state;
    (void)fingerprint_add(&f, (const uint8_t *)"", 0);
    assert_int_equal(f.lo, 0x6001C324468D497EULL);
    assert_int_equal(f.hi, 0x99AA06D3014798D9ULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(different_documents_differ_even_with_equal_counts),
        cmocka_unit_test(stored_bytes_and_text_are_stable),
        cmocka_unit_test(the_document_hash_is_xxh3_128),
        cmocka_unit_test(the_sum_carries_into_its_high_half),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
