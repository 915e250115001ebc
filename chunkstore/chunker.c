#include "chunkstore/chunker.h"

#include <assert.h>

/*
 * A chunk grows by x bytes towards its cut like a radioactive atom that lives longer and longer:
 * the rate of cuts per byte is 0 below min, LOW/4/target up to the target, HIGH/4/target beyond it.
 * With min = target/4 and max = 4*target the mean length is
 *     1/4 + (1 - e^(-a*3/4))/a + e^(-a*3/4) * (1 - e^(-b*3))/b  targets, a = LOW/4, b = HIGH/4,
 * which is 1.00 for 3 and 13.
 */
enum { LOW = 3, HIGH = 13 };

enum { FIX_BITS = 24 };

/* The gear hash looks back this far: one bit per byte falls out of the 64. */
enum { GEAR_WINDOW = 64 };

/* Finalizer of MurmurHash3: every input bit changes every output bit with a chance near 1/2. */
static uint64_t
avalanche(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccd;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53;
    return x ^ x >> 33;
}

/* Keyed 64 bits. Two rounds with the key before each, so that equal hashes under two keys are
 * unrelated. */
static uint64_t
keyed_mix(uint64_t key, uint64_t hash)
{
    return avalanche(avalanche(hash ^ key) + key);
}

/*
 * -ln(h / 2^64) as a fixed-point number with FIX_BITS: an exponential variate with mean 1, in
 * integers only, so that every machine cuts alike. Within an octave log2(1 + m) is a cubic that has
 * the right slope at both ends, because for short documents only the values next to zero matter.
 */
static uint64_t
exponential(uint64_t h)
{
    const uint64_t one = (uint64_t)1 << FIX_BITS;
    const uint64_t ln2 = 11629080;                         /* 0.693147 */
    const uint64_t slope0 = 7427190, slope_fall = 2752177; /* 1/ln 2 - 1 = 0.442695; 0.164053 */
    unsigned zeros;
    uint64_t m, bend, log2_m;

    h |= 1;
    zeros = (unsigned)__builtin_clzll(h);
    m = zeros < 63 ? (h << (zeros + 1)) >> (64 - FIX_BITS) : 0;
    bend = slope0 - (slope_fall * m >> FIX_BITS);
    log2_m = m + ((m * (one - m) >> FIX_BITS) * bend >> FIX_BITS);
    return (((uint64_t)(zeros + 1) << FIX_BITS) - log2_m) * ln2 >> FIX_BITS;
}

/* Integral of the rate from 0 to x, times 4 * target. */
static uint64_t
hazard(const struct chunker_params *p, uint64_t x)
{
    if (x <= p->min)
        return 0;
    if (x <= p->target)
        return LOW * (x - p->min);
    return LOW * (uint64_t)(p->target - p->min) + HIGH * (x - p->target);
}

/*
 * Does a chunk that is `fill` bytes long after a document of `len` end there? Its boundary stands
 * for the bytes half a document to either side, so that long documents do not make long chunks.
 */
static bool
ends_here(const struct chunker *c, size_t fill, size_t len, uint64_t hash)
{
    uint64_t risk;

    if (fill < c->params.min)
        return false;
    risk = hazard(&c->params, (uint64_t)fill + len / 2) - hazard(&c->params, fill - len / 2);
    return exponential(keyed_mix(c->key, hash)) * 4 * c->params.target < risk << FIX_BITS;
}

void
chunker_init(struct chunker *c, const struct chunker_params *params, uint64_t key)
{
    assert(params->min > 0 && params->min < params->target && params->target < params->max);
    assert(params->max <= CHUNKER_MAX_LIMIT);
    *c = (struct chunker){.params = *params, .key = key};
}

enum chunker_cut
chunker_next(struct chunker *c, size_t doc_len, uint64_t doc_hash)
{
    if (c->fill > 0 && doc_len > c->params.max - c->fill) {
        c->fill = 0;
        return CUT_BEFORE;
    }
    if (doc_len > c->params.max)
        return CUT_ALONE;
    c->fill += doc_len;
    if (!ends_here(c, c->fill, doc_len, doc_hash))
        return CUT_NONE;
    c->fill = 0;
    return CUT_AFTER;
}

/* First position in (from, to] where the gear hash of the bytes before it falls below `limit`; *h
 * goes on from one call to the next. `to` + 1 if there is none. */
static size_t
gear_find(const uint64_t table[256], uint64_t *h, const uint8_t *data, size_t from, size_t to,
          uint64_t limit)
{
    uint64_t hash = *h;

    for (size_t i = from; i < to; i++) {
        hash = (hash << 1) + table[data[i]];
        if (hash < limit) {
            *h = hash;
            return i + 1;
        }
    }
    *h = hash;
    return to + 1;
}

size_t
chunker_split(const struct chunker_params *params, uint64_t key, const uint8_t *data, size_t len)
{
    const uint64_t unit = UINT64_MAX / params->target / 4;
    size_t end = len < params->max ? len : params->max;
    size_t soft = end < params->target ? end : params->target;
    size_t from = params->min > GEAR_WINDOW ? params->min - GEAR_WINDOW : 0;
    uint64_t table[256], h = 0;
    size_t at;

    if (len <= params->min)
        return len;
    for (unsigned i = 0; i < 256; i++)
        table[i] = keyed_mix(key, i);
    /* Fill the window without cutting, then cut rarely, then often: the rates of hazard(). */
    (void)gear_find(table, &h, data, from, params->min, 0);
    at = gear_find(table, &h, data, params->min, soft, LOW * unit);
    if (at > soft)
        at = gear_find(table, &h, data, soft, end, HIGH * unit);
    return at > end ? end : at;
}
