/*
 * blob_mem.h - objects in memory: a blob driver for tests, with doors for damaging what it holds.
 */
#ifndef PITR_TESTS_SUPPORT_BLOB_MEM_H
#define PITR_TESTS_SUPPORT_BLOB_MEM_H

#include "chunkstore/blob.h"

PITR_MUST enum pitr_rc blob_mem_new(struct blob **out, struct pitr_err *err);

/* The bytes of an object, to be changed in place; NULL if there is none. Not while other threads
 * use the driver. */
struct buf *blob_mem_object(struct blob *b, const char *name);

#endif
