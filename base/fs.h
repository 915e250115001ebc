/*
 * fs.h - files with fsync discipline, and kernel locks.
 *
 * A file becomes visible in one step: it is written under a temporary name, synced, renamed, and
 * its directory synced. A failed sync is final: the caller must give the file up, never retry the
 * sync, because the kernel may already have dropped the dirty pages. Paths are NUL-terminated.
 * All functions are thread-safe. Errors: IO, FULL, DENIED, NOTFOUND, EXISTS (see pitr_fail_errno).
 */
#ifndef PITR_BASE_FS_H
#define PITR_BASE_FS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

/* Join with '/'; *out is malloc'ed, owned by the caller. */
PITR_MUST enum pitr_rc fs_join(char **out, const char *dir, const char *name, struct pitr_err *err);
void str_freep(char **s); /* for PITR_AUTO on malloc'ed strings */

/* Open; O_CLOEXEC is added. *fd only changes on success. */
PITR_MUST enum pitr_rc fs_open(int *fd, const char *path, int flags, mode_t mode,
                               struct pitr_err *err);
void fd_closep(int *fd); /* for PITR_AUTO: closes if >= 0, ignores errors (reading, aborting) */

/* Write or read exactly `len` bytes, whatever short counts the kernel gives. A read that meets
 * the end of the file is CORRUPT. `path` is for messages. */
PITR_MUST enum pitr_rc fs_write_all(int fd, const void *data, size_t len, const char *path,
                                    struct pitr_err *err);
PITR_MUST enum pitr_rc fs_pread_all(int fd, void *data, size_t len, uint64_t offset,
                                    const char *path, struct pitr_err *err);
PITR_MUST enum pitr_rc fs_datasync(int fd, const char *path, struct pitr_err *err);
PITR_MUST enum pitr_rc fs_sync_dir(const char *path, struct pitr_err *err);

/* Give `from` its final name and sync the directory of `to`. Without `replace` an existing `to`
 * is EXISTS and stays untouched. */
PITR_MUST enum pitr_rc fs_publish(const char *from, const char *to, bool replace,
                                  struct pitr_err *err);

/* A whole small file: write temp, sync, publish. Temporary name: "<path>.tmp-<pid>-<random>". */
PITR_MUST enum pitr_rc fs_write_file(const char *path, const void *data, size_t len, bool replace,
                                     struct pitr_err *err);
/* Append the file's bytes to *out; a file longer than `limit` is CORRUPT. */
PITR_MUST enum pitr_rc fs_read_file(struct buf *out, const char *path, size_t limit,
                                    struct pitr_err *err);

PITR_MUST enum pitr_rc fs_mkdir(const char *path, struct pitr_err *err);  /* existing is fine */
PITR_MUST enum pitr_rc fs_mkdirs(const char *path, struct pitr_err *err); /* with parents */
PITR_MUST enum pitr_rc fs_unlink(const char *path, struct pitr_err *err); /* missing is fine */
PITR_MUST enum pitr_rc fs_exists(bool *out, const char *path, struct pitr_err *err);
PITR_MUST enum pitr_rc fs_size(uint64_t *out, const char *path, struct pitr_err *err);
PITR_MUST enum pitr_rc fs_free_bytes(uint64_t *out, const char *path, struct pitr_err *err);

/* Names in a directory, without "." and "..", sorted by bytes. */
struct fs_names {
    char **at; /* malloc'ed strings in a malloc'ed array; owned */
    size_t len, cap;
};
PITR_MUST enum pitr_rc fs_list(struct fs_names *out, const char *dir, struct pitr_err *err);
/* A zeroed list is empty; `name` is copied. Fails: NOMEM, with the list unchanged. */
PITR_MUST enum pitr_rc fs_names_add(struct fs_names *names, const char *name, struct pitr_err *err);
void fs_names_sort(struct fs_names *names); /* by bytes */
void fs_names_release(struct fs_names *names);

/*
 * A kernel lock (flock) on a file that is made when missing. It dies with the process, so nothing
 * is ever left to unlock by hand. The holder's pid is written into the file for messages only.
 */
struct fs_lock;
enum fs_lock_mode { FS_LOCK_SHARED, FS_LOCK_EXCLUSIVE };
/* Never waits: a lock held by another process (or another fs_lock) is BUSY, the message naming the
 * holder's pid. */
PITR_MUST enum pitr_rc fs_lock_try(struct fs_lock **out, const char *path, enum fs_lock_mode mode,
                                   struct pitr_err *err);
void fs_lock_free(struct fs_lock *lock); /* unlocks; NULL does nothing */
void fs_lock_freep(struct fs_lock **lock);

#endif
