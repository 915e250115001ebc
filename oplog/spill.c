#include "oplog/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"

struct spill {
    uint64_t budget, held;
    struct spill_user *users;
    char *dir;
    int fd; /* -1: nothing was written yet */
    uint64_t end;
};

enum pitr_rc
spill_new(struct spill **out, uint64_t budget, struct pitr_err *err)
{
    const char *dir = getenv("TMPDIR");
    PITR_AUTO(spill_freep) struct spill *s = calloc(1, sizeof *s);

    if (s == NULL)
        return pitr_fail(err, PITR_NOMEM, "spill file");
    s->fd = -1;
    s->budget = budget;
    s->dir = strdup(dir != NULL && dir[0] != '\0' ? dir : "/var/tmp");
    if (s->dir == NULL)
        return pitr_fail(err, PITR_NOMEM, "spill file");
    *out = s;
    s = NULL;
    return PITR_OK;
}

void
spill_free(struct spill *s)
{
    if (s == NULL)
        return;
    fd_closep(&s->fd);
    free(s->dir);
    free(s);
}

void
spill_freep(struct spill **s)
{
    spill_free(*s);
    *s = NULL;
}

void
spill_hold(struct spill *s, size_t bytes)
{
    s->held += bytes;
}

void
spill_release(struct spill *s, size_t bytes)
{
    s->held -= bytes;
}

uint64_t
spill_held(const struct spill *s)
{
    return s->held;
}

static uint64_t
share(const struct spill *s)
{
    return s->budget - s->budget / 8 * 3;
}

bool
spill_is_over(const struct spill *s)
{
    return s->held > share(s);
}

void
spill_join(struct spill *s, struct spill_user *u)
{
    u->spill = s;
    if (s == NULL)
        return;
    u->prev = NULL;
    u->next = s->users;
    if (u->next != NULL)
        u->next->prev = u;
    s->users = u;
}

void
spill_leave(struct spill_user *u)
{
    if (u->spill == NULL)
        return;
    spill_user_release(u, u->held);
    if (u->prev != NULL)
        u->prev->next = u->next;
    else
        u->spill->users = u->next;
    if (u->next != NULL)
        u->next->prev = u->prev;
    u->spill = NULL;
}

void
spill_user_hold(struct spill_user *u, size_t bytes)
{
    u->held += bytes;
    if (u->spill != NULL)
        spill_hold(u->spill, bytes);
}

void
spill_user_release(struct spill_user *u, size_t bytes)
{
    u->held -= bytes;
    if (u->spill != NULL)
        spill_release(u->spill, bytes);
}

static size_t
largest(const struct spill *s)
{
    size_t max = 0;

    for (const struct spill_user *u = s->users; u != NULL; u = u->next)
        if (u->put_out != NULL && u->held > max)
            max = u->held;
    return max;
}

/* Each round takes all users of about one size, so that a great many small ones cost few rounds. */
enum pitr_rc
spill_relieve(struct spill *s, struct pitr_err *err)
{
    uint64_t target = share(s) / 2;

    if (!spill_is_over(s))
        return PITR_OK;
    while (s->held > target) {
        size_t max = largest(s);
        uint64_t before = s->held;

        for (struct spill_user *u = s->users; u != NULL && s->held > target; u = u->next)
            if (u->put_out != NULL && u->held > 0 && u->held >= max - max / 2 &&
                u->put_out(u, err) != PITR_OK)
                return err->rc;
        if (s->held >= before)
            break; /* what is held cannot be put out */
    }
    return PITR_OK;
}

uint64_t
spill_budget(const struct spill *s)
{
    return s->budget;
}

/* A file without a name, or, where the file system has no such thing, one whose name is taken away
 * at once. */
static enum pitr_rc
open_unnamed(struct spill *s, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;

    if (fs_open(&s->fd, s->dir, O_TMPFILE | O_RDWR, 0600, err) == PITR_OK)
        return PITR_OK;
    if (fs_join(&path, s->dir, "pitr-XXXXXX", err) != PITR_OK)
        return err->rc;
    s->fd = mkostemp(path, O_CLOEXEC);
    if (s->fd < 0)
        return pitr_fail_errno(err, errno, "a temporary file in %s (TMPDIR names the folder)",
                               s->dir);
    unlink(path);
    return PITR_OK;
}

enum pitr_rc
spill_write(struct spill *s, const void *data, size_t len, uint64_t *at, struct pitr_err *err)
{
    if (s->fd < 0 && open_unnamed(s, err) != PITR_OK)
        return err->rc;
    if (fs_write_all(s->fd, data, len, s->dir, err) != PITR_OK) {
        pitr_wrap(err,
                  "temporary data of the replay, after %" PRIu64 " bytes (TMPDIR names the "
                  "folder, --memory says how much is kept in memory)",
                  s->end);
        /* A part may be written: what comes next must still stand where it is said to. */
        if (lseek(s->fd, (off_t)s->end, SEEK_SET) < 0)
            fd_closep(&s->fd);
        return err->rc;
    }
    *at = s->end;
    s->end += len;
    return PITR_OK;
}

enum pitr_rc
spill_read(struct spill *s, void *data, size_t len, uint64_t at, struct pitr_err *err)
{
    return fs_pread_all(s->fd, data, len, at, s->dir, err);
}

void
spill_discard(struct spill *s, uint64_t at, uint64_t len)
{
    /* Only ever a saving: where it is not supported, the space comes back with the file. */
    if (s->fd >= 0 &&
        fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)len) != 0)
        return;
}

enum pitr_rc
spill_damaged(struct pitr_err *err)
{
    return pitr_fail(err, PITR_CORRUPT,
                     "temporary data of the replay does not read as it was written; check the disk "
                     "of TMPDIR");
}
