#include "bench/shop.h"

#include <stdio.h>
#include <string.h>

#include "bench/bench.h"

static const int64_t EPOCH_MS = INT64_C(1767225600000); /* 2026-01-01 */

void
shop_words_make(struct shop_words *w, uint64_t seed)
{
    static const char *const syllables[] = {"ka", "lo", "mi",  "ren", "sta", "to",  "vel", "qui",
                                            "ur", "an", "der", "is",  "pro", "con", "te",  "bal"};

    for (size_t i = 0; i < SHOP_WORDS; i++) {
        uint32_t parts = 1 + bench_below(&seed, 4);

        w->at[i][0] = '\0';
        for (uint32_t k = 0; k < parts; k++) {
            size_t used = strlen(w->at[i]);

            snprintf(w->at[i] + used, SHOP_WORD_MAX - used, "%s",
                     syllables[bench_below(&seed, 16)]);
        }
    }
}

/* Low numbers are far more likely, as in a language. */
static const char *
word(struct shop_maker *m)
{
    uint32_t limit = 1 + bench_below(&m->state, SHOP_WORDS);

    return m->words->at[bench_below(&m->state, 1 + bench_below(&m->state, limit))];
}

const char *
shop_text(struct shop_maker *m, size_t len)
{
    size_t at = 0;

    while (at < len && at + SHOP_WORD_MAX + 2 < sizeof m->text)
        at +=
            (size_t)snprintf(m->text + at, sizeof m->text - at, "%s%s", at > 0 ? " " : "", word(m));
    return m->text;
}

static const char *
pick(struct shop_maker *m, const char *const *from, uint32_t n)
{
    return from[bench_below(&m->state, n)];
}

static const char *
hex(struct shop_maker *m, char out[33])
{
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)bench_random(&m->state),
             (unsigned long long)bench_random(&m->state));
    return out;
}

static void
make_event(struct shop_maker *m, bson_t *doc, uint64_t number)
{
    static const char *const types[] = {"view", "click", "search", "cart", "login", "logout"};
    static const char *const agents[] = {"Firefox/145 Linux",  "Firefox/145 Windows",
                                         "Chrome/142 Android", "Chrome/142 Windows",
                                         "Safari/26 iPhone",   "Safari/26 Macintosh"};
    char session[33], path[64];

    BSON_APPEND_DATE_TIME(doc, "at", EPOCH_MS + (int64_t)number * 700);
    BSON_APPEND_UTF8(doc, "type", pick(m, types, 6));
    BSON_APPEND_INT32(doc, "user", (int32_t)bench_below(&m->state, 200000));
    BSON_APPEND_UTF8(doc, "session", hex(m, session));
    snprintf(path, sizeof path, "/%s/%s/%u", word(m), word(m), bench_below(&m->state, 20000));
    BSON_APPEND_UTF8(doc, "path", path);
    BSON_APPEND_UTF8(doc, "agent", pick(m, agents, 6));
    BSON_APPEND_INT32(doc, "ms", (int32_t)bench_below(&m->state, 3000));
}

static void
make_order(struct shop_maker *m, bson_t *doc, uint64_t number)
{
    static const char *const states[] = {"paid", "packed", "sent", "delivered", "returned"};
    uint32_t n = 1 + bench_below(&m->state, 5);
    char hash[33], position[16];
    bson_t items, item;

    BSON_APPEND_INT64(doc, "number", (int64_t)number + 1000000);
    BSON_APPEND_INT32(doc, "user", (int32_t)bench_below(&m->state, 200000));
    BSON_APPEND_DATE_TIME(doc, "placed", EPOCH_MS + (int64_t)number * 4000);
    BSON_APPEND_UTF8(doc, "state", pick(m, states, 5));
    BSON_APPEND_UTF8(doc, "payment", hex(m, hash));
    BSON_APPEND_ARRAY_BEGIN(doc, "items", &items);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(position, sizeof position, "%u", i);
        BSON_APPEND_DOCUMENT_BEGIN(&items, position, &item);
        BSON_APPEND_INT32(&item, "article", (int32_t)bench_below(&m->state, 20000));
        BSON_APPEND_UTF8(&item, "title", shop_text(m, 24));
        BSON_APPEND_INT32(&item, "count", (int32_t)(1 + bench_below(&m->state, 4)));
        BSON_APPEND_DOUBLE(&item, "price", bench_below(&m->state, 20000) / 100.0);
        bson_append_document_end(&items, &item);
    }
    bson_append_array_end(doc, &items);
    BSON_APPEND_UTF8(doc, "note", shop_text(m, bench_below(&m->state, 200)));
}

static void
make_user(struct shop_maker *m, bson_t *doc, uint64_t number)
{
    char mail[96], hash[33];
    bson_t address;

    snprintf(mail, sizeof mail, "%s.%s%llu@%s.example", word(m), word(m),
             (unsigned long long)number, word(m));
    BSON_APPEND_UTF8(doc, "mail", mail);
    BSON_APPEND_UTF8(doc, "name", shop_text(m, 14));
    BSON_APPEND_UTF8(doc, "password", hex(m, hash));
    BSON_APPEND_DATE_TIME(doc, "since", EPOCH_MS - (int64_t)bench_below(&m->state, 1U << 31) * 20);
    BSON_APPEND_DOCUMENT_BEGIN(doc, "address", &address);
    BSON_APPEND_UTF8(&address, "street", shop_text(m, 18));
    BSON_APPEND_INT32(&address, "house", (int32_t)bench_below(&m->state, 200));
    BSON_APPEND_UTF8(&address, "city", word(m));
    BSON_APPEND_INT32(&address, "zip", (int32_t)(10000 + bench_below(&m->state, 90000)));
    bson_append_document_end(doc, &address);
    BSON_APPEND_BOOL(doc, "news", bench_below(&m->state, 3) == 0);
}

static void
make_article(struct shop_maker *m, bson_t *doc, uint64_t number)
{
    BSON_APPEND_INT64(doc, "number", (int64_t)number);
    BSON_APPEND_UTF8(doc, "title", shop_text(m, 30));
    BSON_APPEND_UTF8(doc, "group", word(m));
    BSON_APPEND_DOUBLE(doc, "price", bench_below(&m->state, 20000) / 100.0);
    BSON_APPEND_UTF8(doc, "text", shop_text(m, 1000 + bench_below(&m->state, 6000)));
}

static const struct shop_kind kinds[SHOP_KINDS] = {
    {"events", 1080000, make_event,
     "[{\"key\":{\"at\":1},\"name\":\"at\"},{\"key\":{\"user\":1,\"at\":-1},\"name\":\"user_at\"}"
     "]"},
    {"orders", 300000, make_order,
     "[{\"key\":{\"number\":1},\"name\":\"number\",\"unique\":true},"
     "{\"key\":{\"user\":1},\"name\":\"user\"},"
     "{\"key\":{\"state\":1,\"placed\":1},\"name\":\"state_placed\"}]"},
    {"users", 200000, make_user,
     "[{\"key\":{\"mail\":1},\"name\":\"mail\",\"unique\":true},"
     "{\"key\":{\"address.city\":1},\"name\":\"city\"}]"},
    {"articles", 20000, make_article,
     "[{\"key\":{\"number\":1},\"name\":\"number\"},"
     "{\"key\":{\"group\":1,\"price\":1},\"name\":\"group_price\"}]"},
};

const struct shop_kind *
shop_kind(size_t i)
{
    return &kinds[i];
}
