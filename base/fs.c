#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crypto.h"

/* Backups hold whole databases: nothing for others, reading for the group. The umask can take more
 * away. */
enum { FILE_MODE = 0640, FOLDER_MODE = 0750 };

struct fs_lock {
    int fd;
};

void
str_freep(char **s)
{
    free(*s);
    *s = NULL;
}

void
fd_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void
closedirp(DIR **dir)
{
    if (*dir != NULL)
        closedir(*dir);
    *dir = NULL;
}

enum pitr_rc
fs_join(char **out, const char *dir, const char *name, struct pitr_err *err)
{
    char *path;

    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return pitr_fail(err, PITR_NOMEM, "path %s/%s", dir, name);
    *out = path;
    return PITR_OK;
}

/* Folder part of `path`, as dirname(3) without its static buffer. NULL when out of memory. */
static char *
parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

enum pitr_rc
fs_open(int *fd, const char *path, int flags, mode_t mode, struct pitr_err *err)
{
    int opened;

    do
        opened = open(path, flags | O_CLOEXEC, mode);
    while (opened < 0 && errno == EINTR);
    if (opened < 0)
        return pitr_fail_errno(err, errno, "open %s", path);
    *fd = opened;
    return PITR_OK;
}

enum pitr_rc
fs_write_all(int fd, const void *data, size_t len, const char *path, struct pitr_err *err)
{
    const uint8_t *at = data;

    while (len > 0) {
        ssize_t n = write(fd, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pitr_fail_errno(err, errno, "write %zu bytes to %s", len, path);
        at += n;
        len -= (size_t)n;
    }
    return PITR_OK;
}

enum pitr_rc
fs_pread_all(int fd, void *data, size_t len, uint64_t offset, const char *path,
             struct pitr_err *err)
{
    uint8_t *at = data;

    if (offset > INT64_MAX - len)
        return pitr_fail(err, PITR_CORRUPT, "read %s: offset %" PRIu64 " is beyond any file", path,
                         offset);
    while (len > 0) {
        ssize_t n = pread(fd, at, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pitr_fail_errno(err, errno, "read %zu bytes of %s", len, path);
        if (n == 0)
            return pitr_fail(err, PITR_CORRUPT, "%s ends at %" PRIu64 ", %zu bytes too early", path,
                             offset, len);
        at += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return PITR_OK;
}

enum pitr_rc
fs_datasync(int fd, const char *path, struct pitr_err *err)
{
    if (fdatasync(fd) != 0)
        return pitr_fail_errno(err, errno, "sync %s", path);
    return PITR_OK;
}

enum pitr_rc
fs_sync_dir(const char *path, struct pitr_err *err)
{
    PITR_AUTO(fd_closep) int fd = -1;

    if (fs_open(&fd, path, O_RDONLY | O_DIRECTORY, 0, err) != PITR_OK)
        return err->rc;
    /* EINVAL: this file system has no sync for folders, and needs none. */
    if (fsync(fd) != 0 && errno != EINVAL)
        return pitr_fail_errno(err, errno, "sync folder %s", path);
    return PITR_OK;
}

static enum pitr_rc
sync_parent(const char *path, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *parent = parent_of(path);

    if (parent == NULL)
        return pitr_fail(err, PITR_NOMEM, "folder of %s", path);
    return fs_sync_dir(parent, err);
}

/* For file systems without RENAME_NOREPLACE: link() refuses an existing name just as atomically. */
static enum pitr_rc
publish_by_link(const char *from, const char *to, struct pitr_err *err)
{
    if (link(from, to) != 0)
        return pitr_fail_errno(err, errno, "publish %s", to);
    if (unlink(from) != 0)
        return pitr_fail_errno(err, errno, "remove %s", from);
    return PITR_OK;
}

enum pitr_rc
fs_publish(const char *from, const char *to, bool replace, struct pitr_err *err)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, replace ? 0 : RENAME_NOREPLACE) != 0) {
        if (replace || (errno != EINVAL && errno != ENOSYS))
            return pitr_fail_errno(err, errno, "publish %s", to);
        if (publish_by_link(from, to, err) != PITR_OK)
            return err->rc;
    }
    return sync_parent(to, err);
}

/* Removes the file it names unless disarmed by setting it to NULL. */
static void
unlink_freep(char **path)
{
    if (*path != NULL)
        unlink(*path);
    str_freep(path);
}

enum pitr_rc
fs_write_file(const char *path, const void *data, size_t len, bool replace, struct pitr_err *err)
{
    PITR_AUTO(unlink_freep) char *made = NULL;
    PITR_AUTO(str_freep) char *temp = NULL;
    PITR_AUTO(fd_closep) int fd = -1;
    uint8_t noise[8];
    char hex[2 * sizeof noise + 1];

    if (crypto_random(noise, sizeof noise, err) != PITR_OK)
        return err->rc;
    hex_encode(hex, noise, sizeof noise);
    if (asprintf(&temp, "%s.tmp-%ld-%s", path, (long)getpid(), hex) < 0) {
        temp = NULL;
        return pitr_fail(err, PITR_NOMEM, "temporary name for %s", path);
    }
    if (fs_open(&fd, temp, O_WRONLY | O_CREAT | O_EXCL, FILE_MODE, err) != PITR_OK)
        return err->rc;
    made = temp;
    temp = NULL;
    if (fs_write_all(fd, data, len, path, err) != PITR_OK || fs_datasync(fd, path, err) != PITR_OK)
        return err->rc;
    if (close(fd) != 0) {
        fd = -1;
        return pitr_fail_errno(err, errno, "close %s", path);
    }
    fd = -1;
    if (fs_publish(made, path, replace, err) != PITR_OK)
        return err->rc;
    str_freep(&made);
    return PITR_OK;
}

enum pitr_rc
fs_read_file(struct buf *out, const char *path, size_t limit, struct pitr_err *err)
{
    PITR_AUTO(fd_closep) int fd = -1;
    size_t old = out->len;
    struct stat st;

    if (fs_open(&fd, path, O_RDONLY, 0, err) != PITR_OK)
        return err->rc;
    if (fstat(fd, &st) != 0)
        return pitr_fail_errno(err, errno, "stat %s", path);
    if (S_ISDIR(st.st_mode))
        return pitr_fail_errno(err, EISDIR, "read %s", path);
    if ((uintmax_t)st.st_size > limit)
        return pitr_fail(err, PITR_CORRUPT, "%s has %jd bytes; at most %zu were expected", path,
                         (intmax_t)st.st_size, limit);
    if (buf_reserve(out, (size_t)st.st_size, err) != PITR_OK)
        return pitr_wrap(err, "read %s", path);
    if (fs_pread_all(fd, out->data + old, (size_t)st.st_size, 0, path, err) != PITR_OK)
        return err->rc;
    out->len = old + (size_t)st.st_size;
    return PITR_OK;
}

enum pitr_rc
fs_mkdir(const char *path, struct pitr_err *err)
{
    struct stat st;
    int failure;

    if (mkdir(path, FOLDER_MODE) == 0)
        return sync_parent(path, err);
    failure = errno;
    if (failure == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return PITR_OK;
    return pitr_fail_errno(err, failure, "make folder %s", path);
}

enum pitr_rc
fs_mkdirs(const char *path, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *copy = strdup(path);
    struct stat st;

    if (copy == NULL)
        return pitr_fail(err, PITR_NOMEM, "make folder %s", path);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return PITR_OK;
    for (char *at = copy + 1; *copy != '\0' && *at != '\0'; at++) {
        enum pitr_rc rc = PITR_OK;

        if (*at != '/' || at[-1] == '/')
            continue;
        *at = '\0';
        /* A parent that is there need not be writable. */
        if (stat(copy, &st) != 0 || !S_ISDIR(st.st_mode))
            rc = fs_mkdir(copy, err);
        *at = '/';
        if (rc != PITR_OK)
            return rc;
    }
    return fs_mkdir(path, err);
}

enum pitr_rc
fs_unlink(const char *path, struct pitr_err *err)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return pitr_fail_errno(err, errno, "remove %s", path);
    return PITR_OK;
}

enum pitr_rc
fs_exists(bool *out, const char *path, struct pitr_err *err)
{
    struct stat st;

    if (lstat(path, &st) == 0) {
        *out = true;
        return PITR_OK;
    }
    if (errno != ENOENT && errno != ENOTDIR)
        return pitr_fail_errno(err, errno, "stat %s", path);
    *out = false;
    return PITR_OK;
}

enum pitr_rc
fs_size(uint64_t *out, const char *path, struct pitr_err *err)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return pitr_fail_errno(err, errno, "stat %s", path);
    *out = (uint64_t)st.st_size;
    return PITR_OK;
}

enum pitr_rc
fs_free_bytes(uint64_t *out, const char *path, struct pitr_err *err)
{
    struct statvfs st;

    if (statvfs(path, &st) != 0)
        return pitr_fail_errno(err, errno, "free space of %s", path);
    if (__builtin_mul_overflow((uint64_t)st.f_bavail, (uint64_t)st.f_frsize, out))
        *out = UINT64_MAX;
    return PITR_OK;
}

enum pitr_rc
fs_list(struct fs_names *out, const char *dir, struct pitr_err *err)
{
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    PITR_AUTO(closedirp) DIR *d = opendir(dir);

    if (d == NULL)
        return pitr_fail_errno(err, errno, "list %s", dir);
    for (;;) {
        const struct dirent *entry;

        errno = 0;
        entry = readdir(d);
        if (entry == NULL && errno != 0)
            return pitr_fail_errno(err, errno, "list %s", dir);
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (fs_names_add(&names, entry->d_name, err) != PITR_OK)
            return pitr_wrap(err, "list %s", dir);
    }
    fs_names_sort(&names);
    *out = names;
    names = (struct fs_names){0};
    return PITR_OK;
}

enum pitr_rc
fs_names_add(struct fs_names *names, const char *name, struct pitr_err *err)
{
    if (names->len == names->cap) {
        size_t cap = names->cap == 0 ? 16 : names->cap * 2;
        char **at = reallocarray(names->at, cap, sizeof *at);

        if (at == NULL)
            return pitr_fail(err, PITR_NOMEM, "list of %zu names", cap);
        names->at = at;
        names->cap = cap;
    }
    if (asprintf(&names->at[names->len], "%s", name) < 0)
        return pitr_fail(err, PITR_NOMEM, "name %s", name);
    names->len++;
    return PITR_OK;
}

static int
compare_names(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;

    return strcmp(*x, *y);
}

void
fs_names_sort(struct fs_names *names)
{
    if (names->len > 1)
        qsort(names->at, names->len, sizeof *names->at, compare_names);
}

void
fs_names_release(struct fs_names *names)
{
    for (size_t i = 0; i < names->len; i++)
        free(names->at[i]);
    free(names->at);
    *names = (struct fs_names){0};
}

/* The pid is there for people, so failing to write it is no reason to refuse the lock. */
static void
lock_note_pid(int fd)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());

    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return;
}

static enum pitr_rc
lock_busy(int fd, const char *path, struct pitr_err *err)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;

    if (pid <= 0)
        return pitr_fail(err, PITR_BUSY, "%s is locked by another process", path);
    return pitr_fail(err, PITR_BUSY, "%s is locked by process %ld", path, pid);
}

enum pitr_rc
fs_lock_try(struct fs_lock **out, const char *path, enum fs_lock_mode mode, struct pitr_err *err)
{
    PITR_AUTO(fs_lock_freep) struct fs_lock *lock = malloc(sizeof *lock);
    int how = (mode == FS_LOCK_EXCLUSIVE ? LOCK_EX : LOCK_SH) | LOCK_NB;

    if (lock == NULL)
        return pitr_fail(err, PITR_NOMEM, "lock %s", path);
    lock->fd = -1;
    if (fs_open(&lock->fd, path, O_RDWR | O_CREAT, FILE_MODE, err) != PITR_OK) {
        /* flock needs no permission to write: who may only read can still share. */
        if (err->rc != PITR_DENIED || mode != FS_LOCK_SHARED ||
            fs_open(&lock->fd, path, O_RDONLY, 0, err) != PITR_OK)
            return pitr_wrap(err, "lock");
    }
    while (flock(lock->fd, how) != 0) {
        if (errno == EWOULDBLOCK)
            return lock_busy(lock->fd, path, err);
        if (errno != EINTR)
            return pitr_fail_errno(err, errno, "lock %s", path);
    }
    if (mode == FS_LOCK_EXCLUSIVE)
        lock_note_pid(lock->fd);
    *out = lock;
    lock = NULL;
    return PITR_OK;
}

void
fs_lock_free(struct fs_lock *lock)
{
    if (lock == NULL)
        return;
    fd_closep(&lock->fd);
    free(lock);
}

void
fs_lock_freep(struct fs_lock **lock)
{
    fs_lock_free(*lock);
    *lock = NULL;
}
