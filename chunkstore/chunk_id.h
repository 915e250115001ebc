/*
 * chunk_id.h - identity of stored bytes, and the keys it depends on.
 *
 * id = HMAC-SHA256(repository id key, plaintext). The store trusts "same id, same bytes", so
 * nothing weaker will do; the key keeps an outsider from testing whether known content is stored.
 */
#ifndef PITR_CHUNKSTORE_CHUNK_ID_H
#define PITR_CHUNKSTORE_CHUNK_ID_H

#include <stdint.h>

enum { CHUNK_ID_LEN = 32, REPO_ID_LEN = 16, ID_KEY_LEN = 32 };

struct chunk_id {
    uint8_t b[CHUNK_ID_LEN];
};

/* What sealing and opening need to know of the repository. */
struct repo_keys {
    uint8_t repo_id[REPO_ID_LEN];
    uint8_t id_key[ID_KEY_LEN];
    uint64_t cut_key; /* secret of the chunker's cut points */
};

#endif
