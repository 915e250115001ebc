#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "chunkstore/blob.h"

/* Objects lie two or three folders deep; a loop of bind mounts is no reason to overflow the stack.
 */
enum { LIST_DEPTH_MAX = 16, OBJECT_MODE = 0640 };

struct blob_fs {
    struct blob base;
    char *root;
};

struct writer_fs {
    struct blob_writer base;
    int fd;     /* -1 once closed */
    char *temp; /* NULL once published */
    char *name;
};

/* A name must stay below the root, and out of the way of unpublished files. */
static bool
is_object_name(const char *name)
{
    const char *part = name;

    if (strncmp(name, "tmp/", 4) == 0)
        return false;
    for (;;) {
        size_t len = strcspn(part, "/");

        if (len == 0 || (len <= 2 && memcmp(part, "..", len) == 0))
            return false;
        if (part[len] == '\0')
            return true;
        part += len + 1;
    }
}

static enum pitr_rc
object_path(char **path, const struct blob_fs *b, const char *name, struct pitr_err *err)
{
    if (!is_object_name(name)) {
        pitr_fail(err, PITR_INTERNAL, "\"%s\" is no object name", name);
        return PITR_INTERNAL;
    }
    return fs_join(path, b->root, name, err);
}

static void
writer_fs_free(struct blob_writer *base)
{
    struct writer_fs *w = (struct writer_fs *)base;

    fd_closep(&w->fd);
    if (w->temp != NULL)
        unlink(w->temp);
    free(w->temp);
    free(w->name);
    free(w);
}

static enum pitr_rc
open_temp(struct writer_fs *w, const struct blob_fs *b, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *temp = NULL;
    uint8_t noise[8];
    char hex[2 * sizeof noise + 1];

    if (crypto_random(noise, sizeof noise, err) != PITR_OK)
        return err->rc;
    hex_encode(hex, noise, sizeof noise);
    if (asprintf(&temp, "%s/tmp/%ld-%s", b->root, (long)getpid(), hex) < 0) {
        temp = NULL;
        return pitr_fail(err, PITR_NOMEM, "temporary name");
    }
    if (fs_open(&w->fd, temp, O_WRONLY | O_CREAT | O_EXCL, OBJECT_MODE, err) != PITR_OK) {
        PITR_AUTO(str_freep) char *folder = NULL;

        if (err->rc != PITR_NOTFOUND)
            return err->rc;
        if (fs_join(&folder, b->root, "tmp", err) != PITR_OK || fs_mkdir(folder, err) != PITR_OK ||
            fs_open(&w->fd, temp, O_WRONLY | O_CREAT | O_EXCL, OBJECT_MODE, err) != PITR_OK)
            return err->rc;
    }
    w->temp = temp;
    temp = NULL;
    return PITR_OK;
}

static enum pitr_rc
blob_fs_create(struct blob *base, const char *name, struct blob_writer **out, struct pitr_err *err)
{
    PITR_AUTO(blob_writer_freep) struct blob_writer *made = NULL;
    struct writer_fs *w;

    if (!is_object_name(name))
        return pitr_fail(err, PITR_INTERNAL, "\"%s\" is no object name", name);
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return pitr_fail(err, PITR_NOMEM, "%s: writer", name);
    w->base.blob = base;
    w->fd = -1;
    made = &w->base;
    w->name = strdup(name);
    if (w->name == NULL)
        return pitr_fail(err, PITR_NOMEM, "%s: writer", name);
    if (open_temp(w, (struct blob_fs *)base, err) != PITR_OK)
        return pitr_wrap(err, "%s", name);
    *out = made;
    made = NULL;
    return PITR_OK;
}

static enum pitr_rc
blob_fs_write(struct blob_writer *base, const void *data, size_t len, struct pitr_err *err)
{
    struct writer_fs *w = (struct writer_fs *)base;

    if (fs_write_all(w->fd, data, len, w->temp, err) != PITR_OK)
        return pitr_wrap(err, "%s", w->name);
    return PITR_OK;
}

static enum pitr_rc
publish(struct writer_fs *w, bool replace, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;
    char *slash;
    enum pitr_rc rc;

    if (object_path(&path, (struct blob_fs *)w->base.blob, w->name, err) != PITR_OK)
        return err->rc;
    slash = strrchr(path, '/');
    *slash = '\0';
    rc = fs_mkdirs(path, err);
    *slash = '/';
    if (rc != PITR_OK)
        return rc;
    return fs_publish(w->temp, path, replace, err);
}

static enum pitr_rc
blob_fs_commit(struct blob_writer *base, bool replace, struct pitr_err *err)
{
    struct writer_fs *w = (struct writer_fs *)base;
    int fd = w->fd;

    if (fs_datasync(fd, w->temp, err) != PITR_OK)
        return pitr_wrap(err, "%s", w->name);
    w->fd = -1;
    if (close(fd) != 0)
        return pitr_fail_errno(err, errno, "%s: close %s", w->name, w->temp);
    if (publish(w, replace, err) != PITR_OK)
        return pitr_wrap(err, "%s", w->name);
    str_freep(&w->temp);
    return PITR_OK;
}

static enum pitr_rc
blob_fs_read(struct blob *base, const char *name, uint64_t offset, void *data, size_t len,
             struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;
    PITR_AUTO(fd_closep) int fd = -1;

    if (object_path(&path, (struct blob_fs *)base, name, err) != PITR_OK ||
        fs_open(&fd, path, O_RDONLY, 0, err) != PITR_OK ||
        fs_pread_all(fd, data, len, offset, path, err) != PITR_OK)
        return pitr_wrap(err, "%s", name);
    return PITR_OK;
}

static enum pitr_rc
blob_fs_size(struct blob *base, const char *name, uint64_t *size, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;

    if (object_path(&path, (struct blob_fs *)base, name, err) != PITR_OK ||
        fs_size(size, path, err) != PITR_OK)
        return pitr_wrap(err, "%s", name);
    return PITR_OK;
}

struct listing {
    const struct blob_fs *blob;
    blob_visit *visit;
    void *arg;
};

/* The names below folder `prefix` ("" or ending in '/'), folders with a '/' at the end: sorted like
 * that, a walk meets whole object names in byte order. Things that vanish meanwhile are left out.
 */
static enum pitr_rc
list_folder(struct fs_names *out, const struct blob_fs *b, const char *prefix, struct pitr_err *err)
{
    PITR_AUTO(fs_names_release) struct fs_names plain = {0};
    PITR_AUTO(str_freep) char *folder = NULL;

    if (fs_join(&folder, b->root, prefix, err) != PITR_OK)
        return err->rc;
    if (fs_list(&plain, folder, err) != PITR_OK)
        return err->rc == PITR_NOTFOUND ? PITR_OK : err->rc;
    for (size_t i = 0; i < plain.len; i++) {
        PITR_AUTO(str_freep) char *path = NULL, *name = NULL;
        struct stat st;

        if (fs_join(&path, folder, plain.at[i], err) != PITR_OK)
            return err->rc;
        if (lstat(path, &st) != 0 && errno == ENOENT)
            continue;
        if (lstat(path, &st) != 0)
            return pitr_fail_errno(err, errno, "list %s", path);
        if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
            continue;
        if (asprintf(&name, "%s%s", plain.at[i], S_ISDIR(st.st_mode) ? "/" : "") < 0) {
            name = NULL;
            return pitr_fail(err, PITR_NOMEM, "list %s", path);
        }
        if (*prefix == '\0' && strcmp(name, "tmp/") == 0)
            continue;
        if (fs_names_add(out, name, err) != PITR_OK)
            return err->rc;
    }
    fs_names_sort(out);
    return PITR_OK;
}

static enum pitr_rc
walk(const struct listing *l, const char *prefix, int depth, struct pitr_err *err)
{
    PITR_AUTO(fs_names_release) struct fs_names names = {0};

    if (depth > LIST_DEPTH_MAX)
        return pitr_fail(err, PITR_IO, "list %s: more than %d folders deep", prefix,
                         LIST_DEPTH_MAX);
    if (list_folder(&names, l->blob, prefix, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < names.len; i++) {
        PITR_AUTO(str_freep) char *name = NULL, *path = NULL;
        uint64_t size = 0;

        if (asprintf(&name, "%s%s", prefix, names.at[i]) < 0) {
            name = NULL;
            return pitr_fail(err, PITR_NOMEM, "list %s", prefix);
        }
        if (name[strlen(name) - 1] == '/') {
            if (walk(l, name, depth + 1, err) != PITR_OK)
                return err->rc;
            continue;
        }
        if (fs_join(&path, l->blob->root, name, err) != PITR_OK)
            return err->rc;
        if (fs_size(&size, path, err) != PITR_OK) {
            if (err->rc == PITR_NOTFOUND)
                continue;
            return err->rc;
        }
        if (l->visit(l->arg, name, size, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
blob_fs_list(struct blob *base, const char *prefix, blob_visit *visit, void *arg,
             struct pitr_err *err)
{
    struct listing l = {.blob = (struct blob_fs *)base, .visit = visit, .arg = arg};

    return walk(&l, prefix, 0, err);
}

/* The folder is synced too: what is removed next may rely on this object being gone. */
static enum pitr_rc
blob_fs_remove(struct blob *base, const char *name, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;

    if (object_path(&path, (struct blob_fs *)base, name, err) != PITR_OK)
        return err->rc;
    if (unlink(path) != 0) {
        if (errno == ENOENT)
            return PITR_OK;
        return pitr_fail_errno(err, errno, "remove %s", name);
    }
    *strrchr(path, '/') = '\0';
    if (fs_sync_dir(path, err) != PITR_OK)
        return pitr_wrap(err, "remove %s", name);
    return PITR_OK;
}

static void
blob_fs_free(struct blob *base)
{
    struct blob_fs *b = (struct blob_fs *)base;

    free(b->root);
    free(b);
}

enum pitr_rc
blob_fs_new(struct blob **out, const char *root, struct pitr_err *err)
{
    static const struct blob_ops ops = {
        .driver = "fs",
        .create = blob_fs_create,
        .write = blob_fs_write,
        .commit = blob_fs_commit,
        .writer_free = writer_fs_free,
        .read = blob_fs_read,
        .size = blob_fs_size,
        .list = blob_fs_list,
        .remove = blob_fs_remove,
        .free = blob_fs_free,
    };
    PITR_AUTO(blob_freep) struct blob *made = NULL;
    struct blob_fs *b = calloc(1, sizeof *b);

    if (b == NULL)
        return pitr_fail(err, PITR_NOMEM, "blob driver for %s", root);
    b->base.ops = &ops;
    made = &b->base;
    b->root = strdup(root);
    if (b->root == NULL)
        return pitr_fail(err, PITR_NOMEM, "blob driver for %s", root);
    *out = made;
    made = NULL;
    return PITR_OK;
}
