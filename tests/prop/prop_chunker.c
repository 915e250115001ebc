#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "chunkstore/chunker.h"

static const uint64_t key = 0x1234567890abcdef;

struct rng {
    uint64_t state;
};

static uint64_t
draw(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static struct rng
seeded(void)
{
    const char *text = getenv("SEED");
    struct rng r = {text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL)};

    print_message("SEED=%llu\n", (unsigned long long)r.state);
    return r;
}

/* Documents with a 4-byte length in front, as in BSON, end to end. */
static void
append_document(struct buf *stream, struct rng *r, size_t len)
{
    struct pitr_err err;
    size_t start = stream->len;

    if (len < 12)
        len = 12;
    assert_int_equal(buf_reserve(stream, len + 8, &err), PITR_OK);
    for (size_t i = 0; i < len; i += 8)
        put_le64(stream->data + start + i, draw(r));
    put_le32(stream->data + start, (uint32_t)len);
    stream->len = start + len;
}

struct cuts {
    size_t *end; /* offset after each chunk */
    size_t len, cap;
};

static void
cuts_release(struct cuts *c)
{
    free(c->end);
}

static void
add_cut(struct cuts *c, size_t end)
{
    if (c->len > 0 && c->end[c->len - 1] == end)
        return;
    if (c->len == c->cap) {
        c->cap = c->cap == 0 ? 64 : 2 * c->cap;
        c->end = realloc(c->end, c->cap * sizeof *c->end);
        assert_non_null(c->end);
    }
    c->end[c->len++] = end;
}

static void
feed(struct chunker *c, struct cuts *cuts, const uint8_t *stream, size_t at, size_t len)
{
    uint64_t hash = XXH3_128bits(stream + at, len).low64;
    enum chunker_cut cut = chunker_next(c, len, hash);

    if (cut == CUT_BEFORE) {
        add_cut(cuts, at);
        cut = chunker_next(c, len, hash);
        assert_int_not_equal(cut, CUT_BEFORE);
    }
    if (cut == CUT_AFTER)
        add_cut(cuts, at + len);
    if (cut == CUT_ALONE)
        for (size_t done = 0; done < len;) {
            size_t n = chunker_split(&c->params, c->key, stream + at + done, len - done);

            assert_true(n > 0 && n <= c->params.max && n <= len - done);
            done += n;
            add_cut(cuts, at + done);
        }
}

/* Cut a stream that arrives in pieces of at most `read_size` bytes. */
static struct cuts
cut_stream(const struct buf *stream, size_t read_size, struct rng *r)
{
    struct chunker_params params = CHUNKER_DEFAULTS;
    struct cuts cuts = {0};
    struct chunker c;
    size_t at = 0, have = 0;

    chunker_init(&c, &params, key);
    while (at < stream->len) {
        have += 1 + (size_t)(draw(r) % read_size);
        if (have > stream->len)
            have = stream->len;
        while (have - at >= 4 && have - at >= get_le32(stream->data + at)) {
            size_t len = get_le32(stream->data + at);

            feed(&c, &cuts, stream->data, at, len);
            at += len;
        }
    }
    add_cut(&cuts, stream->len);
    return cuts;
}

static size_t
mixed_size(struct rng *r)
{
    static const size_t sizes[] = {40, 100, 300, 900, 3000, 10000, 30000};

    return sizes[draw(r) % 7] + (size_t)(draw(r) % 50);
}

static void
chunks_join_to_the_input_and_never_exceed_max(void **state)
{
    struct chunker_params params = CHUNKER_DEFAULTS;
    struct rng r = seeded();

    (void)state;
    for (int round = 0; round < 20; round++) {
        PITR_AUTO(buf_release) struct buf stream = {0};
        PITR_AUTO(cuts_release) struct cuts cuts = {0};
        size_t at = 0;

        for (int i = 0; i < 400; i++)
            append_document(&stream, &r,
                            draw(&r) % 50 == 0 ? (size_t)(draw(&r) % 3000000) : mixed_size(&r));
        cuts = cut_stream(&stream, 1 << 20, &r);
        for (size_t i = 0; i < cuts.len; i++) {
            assert_true(cuts.end[i] > at);
            assert_true(cuts.end[i] - at <= params.max);
            at = cuts.end[i];
        }
        assert_int_equal(at, stream.len);
    }
}

static void
boundaries_do_not_depend_on_read_sizes(void **state)
{
    static const size_t read_sizes[] = {3, 1000, 16 << 10, 1 << 20, SIZE_MAX / 2};
    PITR_AUTO(buf_release) struct buf stream = {0};
    PITR_AUTO(cuts_release) struct cuts want = {0};
    struct rng r = seeded();

    (void)state;
    for (int i = 0; i < 1500; i++)
        append_document(&stream, &r, i % 500 == 499 ? 700000 : mixed_size(&r));
    want = cut_stream(&stream, 4096, &r);
    assert_true(want.len > 20);
    for (size_t i = 0; i < sizeof read_sizes / sizeof *read_sizes; i++) {
        PITR_AUTO(cuts_release) struct cuts got = cut_stream(&stream, read_sizes[i], &r);

        assert_int_equal(got.len, want.len);
        assert_memory_equal(got.end, want.end, want.len * sizeof *want.end);
    }
}

/* Chunks of `now` whose content `before` does not have. */
static size_t
new_chunks(const struct buf *before, const struct cuts *a, const struct buf *now,
           const struct cuts *b)
{
    size_t fresh = 0;

    for (size_t j = 0; j < b->len; j++) {
        size_t from = j == 0 ? 0 : b->end[j - 1], len = b->end[j] - from;
        bool found = false;

        for (size_t i = 0; i < a->len && !found; i++) {
            size_t start = i == 0 ? 0 : a->end[i - 1];

            found = a->end[i] - start == len &&
                    memcmp(before->data + start, now->data + from, len) == 0;
        }
        if (!found)
            fresh++;
    }
    return fresh;
}

static void
one_insertion_or_deletion_changes_few_chunks(void **state)
{
    PITR_AUTO(buf_release) struct buf stream = {0};
    PITR_AUTO(cuts_release) struct cuts before = {0};
    struct rng r = seeded();
    size_t total = 0, worst = 0;
    enum { ROUNDS = 100 };

    (void)state;
    for (int i = 0; i < 20000; i++)
        append_document(&stream, &r, 100 + (size_t)(draw(&r) % 500));
    before = cut_stream(&stream, 1 << 20, &r);
    for (int round = 0; round < ROUNDS; round++) {
        PITR_AUTO(buf_release) struct buf edited = {0};
        PITR_AUTO(cuts_release) struct cuts after = {0};
        size_t at = 0, target = (size_t)(draw(&r) % stream.len), fresh;
        struct pitr_err err;

        while (at + get_le32(stream.data + at) <= target)
            at += get_le32(stream.data + at);
        assert_int_equal(buf_append(&edited, stream.data, at, &err), PITR_OK);
        if (round % 2 == 0)
            append_document(&edited, &r, 300);
        else
            at += get_le32(stream.data + at);
        assert_int_equal(buf_append(&edited, stream.data + at, stream.len - at, &err), PITR_OK);
        after = cut_stream(&edited, 1 << 20, &r);
        fresh = new_chunks(&stream, &before, &edited, &after);
        total += fresh;
        if (fresh > worst)
            worst = fresh;
    }
    print_message("of %zu chunks %.2f changed on average, %zu at worst\n", before.len,
                  (double)total / ROUNDS, worst);
    assert_true(total <= 5 * ROUNDS);
    assert_true(worst <= 30);
}

static void
one_changed_byte_in_a_large_document_changes_few_pieces(void **state)
{
    PITR_AUTO(buf_release) struct buf stream = {0}, edited = {0};
    PITR_AUTO(cuts_release) struct cuts before = {0}, after = {0};
    struct rng r = seeded();
    struct pitr_err err;
    size_t fresh;

    (void)state;
    append_document(&stream, &r, 12 << 20);
    assert_int_equal(buf_append(&edited, stream.data, 1 << 20, &err), PITR_OK);
    assert_int_equal(buf_append(&edited, "inserted", 8, &err), PITR_OK);
    assert_int_equal(buf_append(&edited, stream.data + (1 << 20), stream.len - (1 << 20), &err),
                     PITR_OK);
    put_le32(edited.data, (uint32_t)edited.len);
    before = cut_stream(&stream, 1 << 20, &r);
    after = cut_stream(&edited, 1 << 20, &r);
    fresh = new_chunks(&stream, &before, &edited, &after);
    /* The first piece differs because the document's length does. */
    assert_in_range(fresh, 1, 8);
}

enum shape { FIXED, SPREAD, MIXED };

static void
check_mean(struct rng *r, const char *name, size_t doc_len, enum shape shape)
{
    struct chunker_params params = CHUNKER_DEFAULTS;
    struct chunker c;
    size_t bytes = 0, chunks = 0, fill = 0, largest = 0;
    double mean;

    chunker_init(&c, &params, key ^ draw(r));
    while (chunks < 6000) {
        size_t len = shape == FIXED    ? doc_len
                     : shape == SPREAD ? doc_len / 2 + (size_t)(draw(r) % doc_len)
                                       : mixed_size(r);
        uint64_t hash = draw(r);
        enum chunker_cut cut = chunker_next(&c, len, hash);

        assert_int_not_equal(cut, CUT_ALONE);
        if (cut == CUT_BEFORE) {
            chunks++;
            fill = 0;
            cut = chunker_next(&c, len, hash);
        }
        bytes += len;
        fill += len;
        if (fill > largest)
            largest = fill;
        if (cut == CUT_AFTER) {
            assert_true(fill >= params.min);
            chunks++;
            fill = 0;
        }
    }
    mean = (double)bytes / (double)chunks / (double)params.target;
    print_message("%-22s mean %.3f of the target, largest %zu\n", name, mean, largest);
    assert_true(largest <= params.max);
    assert_true(mean > 0.85 && mean < 1.15);
}

static void
the_mean_is_the_target_whatever_the_documents(void **state)
{
    struct rng r = seeded();

    (void)state;
    check_mean(&r, "100 B", 100, FIXED);
    check_mean(&r, "300 B", 300, FIXED);
    check_mean(&r, "3 KB", 3000, FIXED);
    check_mean(&r, "10 KB", 10000, FIXED);
    check_mean(&r, "30 KB", 30000, FIXED);
    check_mean(&r, "150 B to 450 B", 300, SPREAD);
    check_mean(&r, "15 KB to 45 KB", 30000, SPREAD);
    check_mean(&r, "40 B to 30 KB", 0, MIXED);
}

static void
the_mean_piece_of_a_large_document_is_the_target(void **state)
{
    PITR_AUTO(buf_release) struct buf stream = {0};
    PITR_AUTO(cuts_release) struct cuts cuts = {0};
    struct chunker_params params = CHUNKER_DEFAULTS;
    struct rng r = seeded();
    double mean;

    (void)state;
    for (int i = 0; i < 8; i++)
        append_document(&stream, &r, 16 << 20);
    cuts = cut_stream(&stream, 1 << 20, &r);
    mean = (double)stream.len / (double)cuts.len / (double)params.target;
    print_message("mean piece %.3f of the target\n", mean);
    assert_true(mean > 0.85 && mean < 1.15);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_join_to_the_input_and_never_exceed_max),
        cmocka_unit_test(boundaries_do_not_depend_on_read_sizes),
        cmocka_unit_test(one_insertion_or_deletion_changes_few_chunks),
        cmocka_unit_test(one_changed_byte_in_a_large_document_changes_few_pieces),
        cmocka_unit_test(the_mean_is_the_target_whatever_the_documents),
        cmocka_unit_test(the_mean_piece_of_a_large_document_is_the_target),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
