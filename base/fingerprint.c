#include "base/fingerprint.h"

#include <stdio.h>
#include <xxhash.h>

#include "base/bytes.h"

static void
add128(struct fingerprint *f, uint64_t lo, uint64_t hi)
{
    f->lo += lo;
    f->hi += hi + (f->lo < lo);
}

uint64_t
fingerprint_add(struct fingerprint *f, const uint8_t *doc, size_t len)
{
    XXH128_hash_t h = XXH3_128bits(doc, len);

    add128(f, h.low64, h.high64);
    f->documents++;
    f->bytes += len;
    return h.low64;
}

bool
fingerprint_equal(const struct fingerprint *a, const struct fingerprint *b)
{
    return a->lo == b->lo && a->hi == b->hi && a->documents == b->documents && a->bytes == b->bytes;
}

void
fingerprint_format(char out[FINGERPRINT_TEXT_LEN], const struct fingerprint *f)
{
    snprintf(out, FINGERPRINT_TEXT_LEN, "%016llx%016llx", (unsigned long long)f->hi,
             (unsigned long long)f->lo);
}

void
fingerprint_store(uint8_t out[FINGERPRINT_LEN], const struct fingerprint *f)
{
    put_le64(out, f->lo);
    put_le64(out + 8, f->hi);
}

void
fingerprint_load(struct fingerprint *f, const uint8_t in[FINGERPRINT_LEN])
{
    f->lo = get_le64(in);
    f->hi = get_le64(in + 8);
}
