/*
 * dump_file.h - one file of a mongodump directory being written, plain or compressed with gzip.
 *
 * The file is new, and safe on disk once dump_file_finish() has returned. For one thread. Memory:
 * the compressor's 256 KiB and as much of a buffer. Fails: FULL, DENIED, EXISTS, IO, NOMEM.
 */
#ifndef PITR_ENGINE_DUMP_FILE_H
#define PITR_ENGINE_DUMP_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct dump_file;

/* `path` is given ".gz" at its end if `gzip`. */
PITR_MUST enum pitr_rc dump_file_create(struct dump_file **out, const char *path, bool gzip,
                                        struct pitr_err *err);
PITR_MUST enum pitr_rc dump_file_write(struct dump_file *f, const void *data, size_t len,
                                       struct pitr_err *err);
/* Flush and sync. After it, only dump_file_free(). */
PITR_MUST enum pitr_rc dump_file_finish(struct dump_file *f, struct pitr_err *err);
/* Leaves the file as it is, for whoever removes the whole directory. */
void dump_file_free(struct dump_file *f);
void dump_file_freep(struct dump_file **f);

#endif
