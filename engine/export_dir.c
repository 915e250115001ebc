#include "engine/export_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/fs.h"

enum { FOLDER_MODE = 0750, NOISE_LEN = 4 };

struct export_dir {
    char *path; /* its final name, without a slash at its end */
    char *part; /* where it is now; NULL once it is published */
};

/* Removes a folder and what is in it, `depth` folders deep. What cannot be removed stays: its name
 * says what it is. */
static void
remove_tree(const char *path, int depth)
{
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    struct pitr_err ignored;

    if (depth > 0 && fs_list(&names, path, &ignored) == PITR_OK) {
        for (size_t i = 0; i < names.len; i++) {
            PITR_AUTO(str_freep) char *entry = NULL;

            if (fs_join(&entry, path, names.at[i], &ignored) == PITR_OK && unlink(entry) != 0)
                remove_tree(entry, depth - 1);
        }
    }
    (void)rmdir(path);
}

void
export_dir_free(struct export_dir *d)
{
    if (d == NULL)
        return;
    if (d->part != NULL)
        remove_tree(d->part, 2);
    free(d->part);
    free(d->path);
    free(d);
}

void
export_dir_freep(struct export_dir **d)
{
    export_dir_free(*d);
    *d = NULL;
}

const char *
export_dir_path(const struct export_dir *d)
{
    return d->part;
}

/* A folder that is there: it must be empty, and one that a rename can replace. */
static enum pitr_rc
check_existing(const char *path, const struct stat *st, struct pitr_err *err)
{
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    PITR_AUTO(str_freep) char *above = NULL;
    struct stat parent;

    if (!S_ISDIR(st->st_mode))
        return pitr_fail(err, PITR_USAGE, "%s exists and is no directory; name another one", path);
    if (fs_list(&names, path, err) != PITR_OK)
        return err->rc;
    if (names.len > 0)
        return pitr_fail(err, PITR_USAGE,
                         "%s is not empty (%s is in it); name a new or an empty directory", path,
                         names.at[0]);
    if (fs_join(&above, path, "..", err) != PITR_OK)
        return err->rc;
    if (stat(above, &parent) != 0)
        return pitr_fail_errno(err, errno, "stat %s", above);
    if (parent.st_dev != st->st_dev || parent.st_ino == st->st_ino)
        return pitr_fail(err, PITR_USAGE,
                         "%s is a mount point, which no complete directory can take the place of; "
                         "name a new directory in it",
                         path);
    return PITR_OK;
}

/* The last name of a path that is not there yet. */
static enum pitr_rc
check_new(char *path, struct pitr_err *err)
{
    const char *last;
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        path[--len] = '\0';
    last = strrchr(path, '/');
    last = last == NULL ? path : last + 1;
    if (*last == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
        return pitr_fail(err, PITR_USAGE, "\"%s\" does not name a directory", path);
    return PITR_OK;
}

static enum pitr_rc
settle_path(struct export_dir *d, const char *path, struct pitr_err *err)
{
    struct stat st;

    if (stat(path, &st) == 0) {
        /* Behind a symbolic link is what a rename has to replace. */
        d->path = realpath(path, NULL);
        if (d->path == NULL)
            return pitr_fail_errno(err, errno, "find %s", path);
        return check_existing(d->path, &st, err);
    }
    if (errno != ENOENT)
        return pitr_fail_errno(err, errno, "stat %s", path);
    d->path = strdup(path);
    if (d->path == NULL)
        return pitr_fail(err, PITR_NOMEM, "directory %s", path);
    return check_new(d->path, err);
}

static enum pitr_rc
make_parents(const char *path, struct pitr_err *err)
{
    const char *slash = strrchr(path, '/');
    PITR_AUTO(str_freep) char *parent = NULL;

    if (slash == NULL || slash == path)
        return PITR_OK;
    parent = strndup(path, (size_t)(slash - path));
    if (parent == NULL)
        return pitr_fail(err, PITR_NOMEM, "folder of %s", path);
    return fs_mkdirs(parent, err);
}

enum pitr_rc
export_dir_begin(struct export_dir **out, const char *path, struct pitr_err *err)
{
    PITR_AUTO(export_dir_freep) struct export_dir *d = calloc(1, sizeof *d);
    PITR_AUTO(str_freep) char *part = NULL;
    uint8_t noise[NOISE_LEN];
    char hex[2 * NOISE_LEN + 1];

    if (d == NULL)
        return pitr_fail(err, PITR_NOMEM, "directory %s", path);
    if (settle_path(d, path, err) != PITR_OK || make_parents(d->path, err) != PITR_OK ||
        crypto_random(noise, sizeof noise, err) != PITR_OK)
        return err->rc;
    hex_encode(hex, noise, sizeof noise);
    if (asprintf(&part, "%s.part-%s", d->path, hex) < 0) {
        part = NULL;
        return pitr_fail(err, PITR_NOMEM, "directory %s", path);
    }
    if (mkdir(part, FOLDER_MODE) != 0)
        return pitr_fail_errno(err, errno, "make folder %s", part);
    d->part = part;
    part = NULL;
    *out = d;
    d = NULL;
    return PITR_OK;
}

static enum pitr_rc
sync_folders(const char *path, struct pitr_err *err)
{
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    struct stat st;

    if (fs_list(&names, path, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < names.len; i++) {
        PITR_AUTO(str_freep) char *entry = NULL;

        if (fs_join(&entry, path, names.at[i], err) != PITR_OK)
            return err->rc;
        if (stat(entry, &st) == 0 && S_ISDIR(st.st_mode) && fs_sync_dir(entry, err) != PITR_OK)
            return err->rc;
    }
    return fs_sync_dir(path, err);
}

/* A rename takes the place of an empty folder, and of nothing else. */
enum pitr_rc
export_dir_publish(struct export_dir *d, struct pitr_err *err)
{
    if (sync_folders(d->part, err) != PITR_OK || fs_publish(d->part, d->path, true, err) != PITR_OK)
        return err->rc;
    str_freep(&d->part);
    return PITR_OK;
}
