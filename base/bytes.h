/*
 * bytes.h - little-endian integers in byte arrays, and hexadecimal.
 *
 * Every stored integer of pitr, and every BSON integer, is little-endian.
 */
#ifndef PITR_BASE_BYTES_H
#define PITR_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t
get_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (p[1] << 8));
}

static inline uint32_t
get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t
get_le64(const uint8_t *p)
{
    return (uint64_t)get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

static inline void
put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void
put_le32(uint8_t *p, uint32_t v)
{
    put_le16(p, (uint16_t)v);
    put_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void
put_le64(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le32(p + 4, (uint32_t)(v >> 32));
}

/* Lower-case hexadecimal of `len` bytes; `out` holds 2 * len + 1 characters. */
void hex_encode(char *out, const uint8_t *data, size_t len);

/* Exactly 2 * len hexadecimal digits and nothing after them, or false with `out` undefined. */
bool hex_decode(uint8_t *out, size_t len, const char *text);

#endif
