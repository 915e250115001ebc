/*
 * ejson.h - BSON out of extended JSON, for tests. A malformed text fails the test.
 */
#ifndef PITR_TESTS_SUPPORT_EJSON_H
#define PITR_TESTS_SUPPORT_EJSON_H

#include "base/buf.h"

/* The document's bytes replace the content of out. */
void ejson(struct buf *out, const char *text);
/* Printed as relaxed extended JSON; the caller frees with bson_free(). */
char *ejson_text(const uint8_t *doc, size_t len);

#endif
