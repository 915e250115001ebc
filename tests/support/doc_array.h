/*
 * doc_array.h - a doc_source over arrays: the collections a test makes up.
 *
 * Threads may read different collections at once; changes are for before and after, except for the
 * moves that doc_array_on_read() sets up.
 */
#ifndef PITR_TESTS_SUPPORT_DOC_ARRAY_H
#define PITR_TESTS_SUPPORT_DOC_ARRAY_H

#include <stddef.h>

#include "engine/doc_source.h"

struct doc_array;

/* All of these fail the running test when memory runs out. */
struct doc_array *doc_array_new(void);
struct doc_source *doc_array_source(struct doc_array *a); /* its free is doc_array_free() */
void doc_array_free(struct doc_array *a);
/* A new empty collection; its number, which is also every byte of its UUID. */
size_t doc_array_coll(struct doc_array *a, const char *db, const char *name);
/* A document {_id: int32, pad: string of `pad` bytes made of `seed`} at the end of it. */
void doc_array_add(struct doc_array *a, size_t coll, int32_t id, size_t pad, uint32_t seed);
size_t doc_array_len(const struct doc_array *a, size_t coll);
const struct buf *doc_array_doc(const struct doc_array *a, size_t coll, size_t i);

enum doc_array_event { ARRAY_RENAME, ARRAY_DROP, ARRAY_LOSE, ARRAY_FAIL };
/* Once, when document `at` of the collection is asked for: it is renamed to `name`, dropped, the
 * connection is lost (DB_LOST), or reading fails (DB). */
void doc_array_on_read(struct doc_array *a, size_t coll, size_t at, enum doc_array_event event,
                       const char *name);

#endif
