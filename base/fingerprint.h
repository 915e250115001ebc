/*
 * fingerprint.h - the content fingerprint of a collection: order-independent and additive.
 *
 * The sum, modulo 2^128, of XXH3-128 of every document's BSON bytes. Equal multisets of documents
 * have equal fingerprints whatever their order; documents can be added and taken away. It guards
 * against accidents, not against an adversary: authenticity comes from chunk ids.
 */
#ifndef PITR_BASE_FINGERPRINT_H
#define PITR_BASE_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FINGERPRINT_LEN = 16, FINGERPRINT_TEXT_LEN = 33 };

struct fingerprint {
    uint64_t lo, hi; /* the 128-bit sum */
    uint64_t documents, bytes;
};

/* Add one document; returns the low 64 bits of its hash (for the chunker). */
uint64_t fingerprint_add(struct fingerprint *f, const uint8_t *doc, size_t len);
bool fingerprint_equal(const struct fingerprint *a, const struct fingerprint *b);
/* 32 hexadecimal digits, most significant first. */
void fingerprint_format(char out[FINGERPRINT_TEXT_LEN], const struct fingerprint *f);
/* Sum as 16 stored bytes: lo then hi, little-endian. */
void fingerprint_store(uint8_t out[FINGERPRINT_LEN], const struct fingerprint *f);
void fingerprint_load(struct fingerprint *f, const uint8_t in[FINGERPRINT_LEN]);

#endif
