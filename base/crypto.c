#include "base/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdlib.h>

struct hmac {
    EVP_MAC_CTX *ctx; /* holds the key; every sum starts by resetting it */
};

static enum pitr_rc
openssl_failed(struct pitr_err *err, const char *what)
{
    char text[256];

    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    ERR_clear_error();
    return pitr_fail(err, PITR_INTERNAL, "%s: %s", what, text);
}

enum pitr_rc
hmac_new(struct hmac **out, const uint8_t *key, size_t key_len, struct pitr_err *err)
{
    PITR_AUTO(hmac_freep) struct hmac *h = calloc(1, sizeof *h);
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac;

    if (h == NULL)
        return pitr_fail(err, PITR_NOMEM, "hmac");
    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac == NULL)
        return openssl_failed(err, "hmac");
    h->ctx = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    if (h->ctx == NULL || EVP_MAC_init(h->ctx, key, key_len, params) != 1)
        return openssl_failed(err, "hmac");
    *out = h;
    h = NULL;
    return PITR_OK;
}

void
hmac_free(struct hmac *h)
{
    if (h == NULL)
        return;
    EVP_MAC_CTX_free(h->ctx);
    free(h);
}

void
hmac_freep(struct hmac **h)
{
    hmac_free(*h);
    *h = NULL;
}

enum pitr_rc
hmac_sum(struct hmac *h, const void *data, size_t len, uint8_t out[SHA256_LEN],
         struct pitr_err *err)
{
    size_t n = 0;

    if (EVP_MAC_init(h->ctx, NULL, 0, NULL) != 1 || EVP_MAC_update(h->ctx, data, len) != 1 ||
        EVP_MAC_final(h->ctx, out, &n, SHA256_LEN) != 1 || n != SHA256_LEN)
        return openssl_failed(err, "hmac");
    return PITR_OK;
}

enum pitr_rc
crypto_sha1(uint8_t out[SHA1_LEN], const void *data, size_t len, struct pitr_err *err)
{
    unsigned n = 0;

    if (EVP_Digest(data, len, out, &n, EVP_sha1(), NULL) != 1 || n != SHA1_LEN)
        return openssl_failed(err, "sha1");
    return PITR_OK;
}

enum pitr_rc
crypto_random(void *out, size_t len, struct pitr_err *err)
{
    if (len > INT32_MAX)
        return pitr_fail(err, PITR_INTERNAL, "%zu random bytes at once", len);
    if (RAND_bytes(out, (int)len) != 1)
        return openssl_failed(err, "random bytes");
    return PITR_OK;
}

void
crypto_wipe(void *data, size_t len)
{
    OPENSSL_cleanse(data, len);
}
