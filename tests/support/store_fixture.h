/*
 * store_fixture.h - a store of numbered chunks, for the tests of chunkstore/store.
 *
 * Packs are in memory, where blob_mem_object() can damage them, and the index is in a folder of the
 * test's own. Chunk i is the same STORE_CHUNK_LEN bytes in every run, unlike those of any other
 * number, and hard to compress. Packs are small: about 20 chunks fill one.
 *
 * Whatever a test does not expect to fail fails the running test here, with the store's message.
 */
#ifndef PITR_TESTS_SUPPORT_STORE_FIXTURE_H
#define PITR_TESTS_SUPPORT_STORE_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "chunkstore/blob.h"
#include "chunkstore/codec.h"
#include "chunkstore/pack.h"
#include "chunkstore/store.h"

enum { STORE_CHUNK_LEN = 3000 };

struct store_fixture {
    char *dir; /* of the index */
    struct blob *blob;
};

/* cmocka setup and teardown: *state is a struct store_fixture. */
int store_fixture_setup(void **state);
int store_fixture_teardown(void **state);

/* Turn a copy of a test's fixture into one with packs in files, which another process can see, and
 * an index beside them; both are below the original's folder, whose teardown removes them. */
void store_fixture_use_files(struct store_fixture *f);
/* Only for what store_fixture_use_files() has made. */
void store_fixture_release_files(struct store_fixture *f);

/* Options that borrow from the fixture. */
struct store_opts store_fixture_opts(const struct store_fixture *f, bool read_only);
/* The caller frees with store_free(), before the fixture goes. */
struct store *store_fixture_open(const struct store_fixture *f, bool read_only);
/* With the store's keys; the caller frees with sealer_free(). Each thread needs one of its own. */
struct sealer *store_fixture_sealer(void);

/* The bytes of chunk i, and its name in the store. */
void store_fixture_chunk(uint8_t data[STORE_CHUNK_LEN], unsigned i);
struct chunk_id store_fixture_id(unsigned i);

/* Put chunk i, without finishing the run. */
void store_fixture_put(struct store_writer *w, struct sealer *sealer, unsigned i);
/* Store chunks [from, to) in one run. */
struct store_stats store_fixture_put_run(struct store *s, unsigned from, unsigned to);
/* Read chunk i; what store_get() returns. Bytes other than its own fail the test. */
PITR_MUST enum pitr_rc store_fixture_get(struct store *s, unsigned i, struct pitr_err *err);
/* Chunks [from, to) can be read. */
void store_fixture_assert_readable(struct store *s, unsigned from, unsigned to);

/* The pack that comes first in a list of them; there has to be one. */
void store_fixture_first_pack(const struct store_fixture *f, char name[PACK_NAME_LEN]);

/* What store_verify() has reported. */
struct store_reports {
    unsigned calls;
    char last[1200];
};
/* Run store_verify(). Returns the number of bad ones, each of which was reported; *r starts anew.
 * *frames: the number of good frames. */
uint64_t store_fixture_verify(struct store *s, bool deep, struct store_reports *r,
                              uint64_t *frames);

#endif
