#include "engine/dump_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fs.h"

/* Users' password hashes may be among what is written: nothing is for everybody to read. */
enum { FILE_MODE = 0640, WRITE_BEHIND = 256 << 10 };

struct dump_file {
    char *path;
    int fd; /* outlives `gz`, whose close may be the first to meet a full disk, for the sync */
    gzFile gz;
};

void
dump_file_free(struct dump_file *f)
{
    if (f == NULL)
        return;
    if (f->gz != NULL)
        gzclose(f->gz);
    fd_closep(&f->fd);
    free(f->path);
    free(f);
}

void
dump_file_freep(struct dump_file **f)
{
    dump_file_free(*f);
    *f = NULL;
}

enum pitr_rc
dump_file_create(struct dump_file **out, const char *path, bool gzip, struct pitr_err *err)
{
    PITR_AUTO(dump_file_freep) struct dump_file *f = calloc(1, sizeof *f);
    PITR_AUTO(fd_closep) int fd = -1;

    if (f == NULL)
        return pitr_fail(err, PITR_NOMEM, "write %s", path);
    f->fd = -1;
    if (asprintf(&f->path, "%s%s", path, gzip ? ".gz" : "") < 0) {
        f->path = NULL;
        return pitr_fail(err, PITR_NOMEM, "write %s", path);
    }
    if (fs_open(&f->fd, f->path, O_WRONLY | O_CREAT | O_EXCL, FILE_MODE, err) != PITR_OK)
        return err->rc;
    fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return pitr_fail_errno(err, errno, "write %s", f->path);
    f->gz = gzdopen(fd, gzip ? "wb" : "wbT"); /* T: as it is */
    if (f->gz == NULL)
        return pitr_fail(err, PITR_NOMEM, "write %s", f->path);
    fd = -1;
    if (gzbuffer(f->gz, WRITE_BEHIND) != 0)
        return pitr_fail(err, PITR_NOMEM, "write %s", f->path);
    *out = f;
    f = NULL;
    return PITR_OK;
}

/* zlib hands on what went wrong in the kernel as Z_ERRNO. */
static enum pitr_rc
write_failed(const struct dump_file *f, int code, int failure, struct pitr_err *err)
{
    if (code == Z_ERRNO)
        return pitr_fail_errno(err, failure, "write %s", f->path);
    return pitr_fail(err, code == Z_MEM_ERROR ? PITR_NOMEM : PITR_INTERNAL,
                     "write %s: zlib says %d", f->path, code);
}

enum pitr_rc
dump_file_write(struct dump_file *f, const void *data, size_t len, struct pitr_err *err)
{
    const uint8_t *at = data;

    while (len > 0) {
        unsigned n = len > INT32_MAX ? INT32_MAX : (unsigned)len;
        int code, failure;

        errno = 0;
        if (gzwrite(f->gz, at, n) == (int)n) {
            at += n;
            len -= n;
            continue;
        }
        failure = errno;
        gzerror(f->gz, &code);
        return write_failed(f, code, failure, err);
    }
    return PITR_OK;
}

enum pitr_rc
dump_file_finish(struct dump_file *f, struct pitr_err *err)
{
    int code, failure;

    errno = 0;
    code = gzclose(f->gz);
    failure = errno;
    f->gz = NULL;
    if (code != Z_OK)
        return write_failed(f, code, failure, err);
    if (fs_datasync(f->fd, f->path, err) != PITR_OK)
        return err->rc;
    if (close(f->fd) != 0) {
        f->fd = -1;
        return pitr_fail_errno(err, errno, "close %s", f->path);
    }
    f->fd = -1;
    return PITR_OK;
}
