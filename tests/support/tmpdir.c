#include "tests/support/tmpdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int
tmpdir_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    char *dir = tmpdir_path(base != NULL && *base != '\0' ? base : "/tmp", "pitr-test-XXXXXX");

    if (dir == NULL || mkdtemp(dir) == NULL) {
        free(dir);
        return -1;
    }
    *state = dir;
    return 0;
}

static int
make_writable(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return type == FTW_D ? chmod(path, 0700) : 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int
tmpdir_teardown(void **state)
{
    int rc;

    nftw(*state, make_writable, 16, FTW_PHYS);
    rc = nftw(*state, remove_one, 16, FTW_PHYS | FTW_DEPTH);
    free(*state);
    return rc;
}

char *
tmpdir_path(const char *dir, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}
