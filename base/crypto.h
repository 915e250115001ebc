/*
 * crypto.h - the few primitives pitr takes from OpenSSL, with its errors turned into ours.
 */
#ifndef PITR_BASE_CRYPTO_H
#define PITR_BASE_CRYPTO_H

#include <stdint.h>

#include "base/err.h"

enum { SHA256_LEN = 32, SHA1_LEN = 20 };

/* A keyed HMAC-SHA256 that is used again and again. One per thread. */
struct hmac;
PITR_MUST enum pitr_rc hmac_new(struct hmac **out, const uint8_t *key, size_t key_len,
                                struct pitr_err *err);
void hmac_free(struct hmac *h);
void hmac_freep(struct hmac **h);
PITR_MUST enum pitr_rc hmac_sum(struct hmac *h, const void *data, size_t len,
                                uint8_t out[SHA256_LEN], struct pitr_err *err);

/* For names that other programs make with it, never for identity. */
PITR_MUST enum pitr_rc crypto_sha1(uint8_t out[SHA1_LEN], const void *data, size_t len,
                                   struct pitr_err *err);
PITR_MUST enum pitr_rc crypto_random(void *out, size_t len, struct pitr_err *err);
void crypto_wipe(void *data, size_t len);

#endif
