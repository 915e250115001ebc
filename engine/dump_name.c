#include "engine/dump_name.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crypto.h"

/* Namespaces have at most 255 bytes. */
enum { NAME_MAX_BYTES = 255, CUT_AT = 208, HASH_CHARS = 27 };

static const char cut_mark[] = "%24";

static bool
is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-_.~", c) != NULL);
}

/* 20 bytes are 26 digits of six bits, and four bits in a 27th. */
static void
hash_text(char out[HASH_CHARS], const uint8_t hash[SHA1_LEN])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (size_t i = 0; i < HASH_CHARS; i++) {
        size_t bit = 6 * i, byte = bit / 8;
        unsigned pair = (unsigned)hash[byte] << 8;

        if (byte + 1 < SHA1_LEN)
            pair |= hash[byte + 1];
        out[i] = digits[pair >> (10 - bit % 8) & 63];
    }
}

enum pitr_rc
dump_name_encode(char out[DUMP_NAME_LEN], const char *name, struct pitr_err *err)
{
    static const char digits[] = "0123456789ABCDEF";
    char full[3 * NAME_MAX_BYTES + 1];
    uint8_t hash[SHA1_LEN];
    size_t n = 0;

    if (strlen(name) > NAME_MAX_BYTES)
        return pitr_fail(err, PITR_USAGE, "collection name %.60s...: %zu bytes are too long", name,
                         strlen(name));
    for (const char *at = name; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;

        if (is_plain(c)) {
            full[n++] = *at;
            continue;
        }
        full[n++] = '%';
        full[n++] = digits[c >> 4];
        full[n++] = digits[c & 15];
    }
    full[n] = '\0';
    if (n <= DUMP_NAME_MAX) {
        memcpy(out, full, n + 1);
        return PITR_OK;
    }
    if (crypto_sha1(hash, name, strlen(name), err) != PITR_OK)
        return err->rc;
    memcpy(out, full, CUT_AT);
    memcpy(out + CUT_AT, cut_mark, sizeof cut_mark - 1);
    hash_text(out + CUT_AT + sizeof cut_mark - 1, hash);
    out[DUMP_NAME_MAX] = '\0';
    return PITR_OK;
}

void
dump_name_decode(char *name)
{
    char *to = name;
    uint8_t byte;

    for (const char *at = name; *at != '\0'; at++) {
        char digits[3] = {0};

        if (*at == '%' && at[1] != '\0' && at[2] != '\0') {
            memcpy(digits, at + 1, 2);
            if (hex_decode(&byte, 1, digits) && byte != 0) {
                *to++ = (char)byte;
                at += 2;
                continue;
            }
        }
        *to++ = *at == '+' ? ' ' : *at;
    }
    *to = '\0';
}

bool
dump_name_is_cut(const char *file_name)
{
    return strlen(file_name) == DUMP_NAME_MAX &&
           memcmp(file_name + CUT_AT, cut_mark, sizeof cut_mark - 1) == 0;
}
