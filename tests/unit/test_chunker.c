#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "chunkstore/chunker.h"

static const struct chunker_params small = {.min = 1 << 10, .target = 4 << 10, .max = 16 << 10};

static uint64_t
nth_hash(uint64_t i)
{
    return i * 0x9e3779b97f4a7c15 ^ i << 7;
}

static void
nothing_is_cut_below_min(void **state)
{
    struct chunker c;

    (void)state;
    chunker_init(&c, &small, 1);
    for (uint64_t i = 0, fill = 0; i < 200000; i++) {
        fill += 50;
        if (chunker_next(&c, 50, nth_hash(i)) == CUT_AFTER) {
            assert_true(fill >= small.min);
            fill = 0;
        }
    }
}

static void
a_document_that_does_not_fit_starts_the_next_chunk(void **state)
{
    struct chunker c;

    (void)state;
    chunker_init(&c, &small, 1);
    assert_int_equal(chunker_next(&c, 500, 7), CUT_NONE);
    assert_int_equal(chunker_next(&c, small.max - 499, 8), CUT_BEFORE);
    assert_int_equal(c.fill, 0);
    assert_int_not_equal(chunker_next(&c, small.max - 499, 8), CUT_BEFORE);
}

static void
a_document_longer_than_max_is_alone(void **state)
{
    struct chunker c;

    (void)state;
    chunker_init(&c, &small, 1);
    assert_int_equal(chunker_next(&c, small.max + 1, 7), CUT_ALONE);
    assert_int_equal(c.fill, 0);
    assert_int_equal(chunker_next(&c, 100, 8), CUT_NONE);
    assert_int_equal(chunker_next(&c, small.max + 1, 7), CUT_BEFORE);
    assert_int_equal(chunker_next(&c, small.max + 1, 7), CUT_ALONE);
    assert_int_equal(chunker_next(&c, SIZE_MAX, 7), CUT_ALONE);
}

static void
a_document_of_exactly_max_is_a_chunk(void **state)
{
    struct chunker c;

    (void)state;
    chunker_init(&c, &small, 1);
    assert_int_equal(chunker_next(&c, small.max, 7), CUT_AFTER);
}

/* Pins the format's "same content, same chunks" across machines and releases: a change here loses
 * deduplication against every existing repository. */
static void
known_documents_are_cut_where_they_always_were(void **state)
{
    static const unsigned want[] = {21, 44, 75, 90, 136, 180};
    struct chunker c;
    size_t found = 0;

    (void)state;
    chunker_init(&c, &small, 0x0123456789abcdef);
    for (unsigned i = 0; found < sizeof want / sizeof *want; i++) {
        assert_in_range(i, 0, 1000);
        if (chunker_next(&c, 100, nth_hash(i)) == CUT_AFTER)
            assert_int_equal(i, want[found++]);
    }
}

static uint8_t *
noise(size_t len)
{
    uint8_t *data = malloc(len);
    uint64_t x = 88172645463325252;

    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (uint8_t)(x >> 32);
    }
    return data;
}

static void
pieces_of_known_bytes_end_where_they_always_did(void **state)
{
    static const size_t want[] = {5423, 3320, 5441, 4295};
    uint8_t *data = noise(1 << 16);
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        size_t n = chunker_split(&small, 42, data + at, (1 << 16) - at);

        assert_int_equal(n, want[i]);
        at += n;
    }
    free(data);
}

static void
keys_decide_where_cuts_fall(void **state)
{
    uint8_t *data = noise(1 << 20);
    struct chunker a, b;
    unsigned both = 0, first = 0, second = 0;

    (void)state;
    chunker_init(&a, &small, 1);
    chunker_init(&b, &small, 2);
    for (unsigned i = 0; i < 100000; i++) {
        bool cut_a = chunker_next(&a, 100, nth_hash(i)) == CUT_AFTER;
        bool cut_b = chunker_next(&b, 100, nth_hash(i)) == CUT_AFTER;

        first += cut_a;
        second += cut_b;
        both += cut_a && cut_b;
    }
    assert_true(first > 1000 && second > 1000);
    assert_true(both < first / 10);
    assert_int_not_equal(chunker_split(&small, 1, data, 1 << 20),
                         chunker_split(&small, 2, data, 1 << 20));
    free(data);
}

static void
split_takes_short_rests_whole(void **state)
{
    uint8_t *data = noise(small.min);

    (void)state;
    assert_int_equal(chunker_split(&small, 42, data, 0), 0);
    assert_int_equal(chunker_split(&small, 42, data, 1), 1);
    assert_int_equal(chunker_split(&small, 42, data, small.min), small.min);
    free(data);
}

static void
split_of_equal_bytes_stops_at_max(void **state)
{
    uint8_t *data = calloc(1, 3 * small.max);
    unsigned at_max = 0;

    (void)state;
    assert_non_null(data);
    /* One repeated byte gives one repeated hash: for nearly every key it never cuts. */
    for (uint64_t key = 0; key < 20; key++)
        at_max += chunker_split(&small, key, data, 3 * small.max) == small.max;
    assert_true(at_max >= 18);
    free(data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_cut_below_min),
        cmocka_unit_test(a_document_that_does_not_fit_starts_the_next_chunk),
        cmocka_unit_test(a_document_longer_than_max_is_alone),
        cmocka_unit_test(a_document_of_exactly_max_is_a_chunk),
        cmocka_unit_test(known_documents_are_cut_where_they_always_were),
        cmocka_unit_test(pieces_of_known_bytes_end_where_they_always_did),
        cmocka_unit_test(keys_decide_where_cuts_fall),
        cmocka_unit_test(split_takes_short_rests_whole),
        cmocka_unit_test(split_of_equal_bytes_stops_at_max),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
