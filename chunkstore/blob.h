/*
 * blob.h - where objects live: the driver interface.
 *
 * An object is immutable bytes under a slash-separated name ("packs/3f/3f...pack"). It becomes
 * visible whole and durable, or not at all. Drivers: blob_fs (a directory) here, S3 later,
 * tests/support has blob_mem and blob_faulty. All functions are thread-safe.
 *
 * Errors all drivers share: NOTFOUND, EXISTS, FULL, DENIED, IO; messages name the object.
 */
#ifndef PITR_CHUNKSTORE_BLOB_H
#define PITR_CHUNKSTORE_BLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct blob;
struct blob_writer;

/* Called per object with its full name and size; a failure stops the listing and is returned. */
typedef enum pitr_rc blob_visit(void *arg, const char *name, uint64_t size, struct pitr_err *err);

struct blob_ops {
    const char *driver;
    /* Start an object. Nothing is visible until commit; freeing the writer aborts. */
    enum pitr_rc (*create)(struct blob *b, const char *name, struct blob_writer **out,
                           struct pitr_err *err);
    enum pitr_rc (*write)(struct blob_writer *w, const void *data, size_t len,
                          struct pitr_err *err);
    /* Durable and visible on success. An object of that name makes it EXISTS, unless `replace`. A
     * writer that failed here can only be freed. */
    enum pitr_rc (*commit)(struct blob_writer *w, bool replace, struct pitr_err *err);
    void (*writer_free)(struct blob_writer *w);
    /* Read exactly [offset, offset + len) into data. A range beyond the end is CORRUPT. */
    enum pitr_rc (*read)(struct blob *b, const char *name, uint64_t offset, void *data, size_t len,
                         struct pitr_err *err);
    enum pitr_rc (*size)(struct blob *b, const char *name, uint64_t *size, struct pitr_err *err);
    /* All objects below `prefix` (a folder name ending in '/', or ""), in byte order of their
     * names. A missing folder is empty. Temporary files are not objects. */
    enum pitr_rc (*list)(struct blob *b, const char *prefix, blob_visit *visit, void *arg,
                         struct pitr_err *err);
    /* Durable on success; a missing object is fine. */
    enum pitr_rc (*remove)(struct blob *b, const char *name, struct pitr_err *err);
    void (*free)(struct blob *b);
};

/* First member of every driver's struct. */
struct blob {
    const struct blob_ops *ops;
};
struct blob_writer {
    struct blob *blob;
};

PITR_MUST enum pitr_rc blob_create(struct blob *b, const char *name, struct blob_writer **out,
                                   struct pitr_err *err);
PITR_MUST enum pitr_rc blob_write(struct blob_writer *w, const void *data, size_t len,
                                  struct pitr_err *err);
PITR_MUST enum pitr_rc blob_commit(struct blob_writer *w, bool replace, struct pitr_err *err);
void blob_writer_free(struct blob_writer *w);
void blob_writer_freep(struct blob_writer **w);
PITR_MUST enum pitr_rc blob_read(struct blob *b, const char *name, uint64_t offset, void *data,
                                 size_t len, struct pitr_err *err);
PITR_MUST enum pitr_rc blob_size(struct blob *b, const char *name, uint64_t *size,
                                 struct pitr_err *err);
PITR_MUST enum pitr_rc blob_list(struct blob *b, const char *prefix, blob_visit *visit, void *arg,
                                 struct pitr_err *err);
PITR_MUST enum pitr_rc blob_remove(struct blob *b, const char *name, struct pitr_err *err);
void blob_free(struct blob *b);
void blob_freep(struct blob **b);

/* A whole object at once: create, write, commit. */
PITR_MUST enum pitr_rc blob_put(struct blob *b, const char *name, const void *data, size_t len,
                                bool replace, struct pitr_err *err);
/* A whole object into out (replacing its content); longer than `limit` is CORRUPT. */
PITR_MUST enum pitr_rc blob_get(struct blob *b, const char *name, size_t limit, struct buf *out,
                                struct pitr_err *err);

/* Objects as files below the existing directory `root`; folders are made as needed. Temporary files
 * live in root/tmp. */
PITR_MUST enum pitr_rc blob_fs_new(struct blob **out, const char *root, struct pitr_err *err);

#endif
