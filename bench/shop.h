/*
 * shop.h - believable data: a shop's events, orders, users and articles.
 *
 * 1.6 million documents at full size, about 500 MB, two or three secondary indexes a collection.
 * The content follows from the seed alone. Text is built from words of unequal frequency, so that
 * it compresses about as real data does; ids, hashes and prices do not.
 */
#ifndef PITR_BENCH_SHOP_H
#define PITR_BENCH_SHOP_H

#include <bson/bson.h>
#include <stdint.h>

enum { SHOP_KINDS = 4, SHOP_WORDS = 4096, SHOP_WORD_MAX = 14, SHOP_TEXT_MAX = 8192 };

struct shop_words {
    char at[SHOP_WORDS][SHOP_WORD_MAX];
};
void shop_words_make(struct shop_words *w, uint64_t seed);

/* One stream of documents; belongs to one thread. */
struct shop_maker {
    const struct shop_words *words; /* borrowed */
    uint64_t state;                 /* of the generator */
    char text[SHOP_TEXT_MAX];
};

/* About `len` bytes of words, at most SHOP_TEXT_MAX; valid until the next call. */
const char *shop_text(struct shop_maker *m, size_t len);

struct shop_kind {
    const char *name;
    uint64_t documents; /* at full size */
    /* Append everything but the _id; `number` counts from 0. */
    void (*make)(struct shop_maker *m, bson_t *doc, uint64_t number);
    const char *indexes; /* JSON array of specs */
};
/* i < SHOP_KINDS; the largest collection first. */
const struct shop_kind *shop_kind(size_t i);

#endif
