#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum pitr_rc
pitr_fail(struct pitr_err *err, enum pitr_rc rc, const char *fmt, ...)
{
    va_list ap;

    err->rc = rc;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    return rc;
}

static enum pitr_rc
rc_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return PITR_FULL;
    case EACCES:
    case EPERM:
    case EROFS:
        return PITR_DENIED;
    case ENOENT:
        return PITR_NOTFOUND;
    case EEXIST:
        return PITR_EXISTS;
    case ENOMEM:
        return PITR_NOMEM;
    default:
        return PITR_IO;
    }
}

enum pitr_rc
pitr_fail_errno(struct pitr_err *err, int errnum, const char *fmt, ...)
{
    char text[128];
    size_t used;
    va_list ap;

    err->rc = rc_of_errno(errnum);
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    used = strlen(err->msg);
    /* GNU strerror_r: thread-safe, may return a static string. */
    snprintf(err->msg + used, sizeof err->msg - used, ": %s",
             strerror_r(errnum, text, sizeof text));
    return err->rc;
}

enum pitr_rc
pitr_wrap(struct pitr_err *err, const char *fmt, ...)
{
    char head[sizeof err->msg];
    size_t head_len, msg_len = strlen(err->msg);
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    if (n < 0)
        return err->rc;
    head_len = (size_t)n;
    if (head_len + 2 + msg_len + 1 > sizeof err->msg)
        return err->rc;
    memmove(err->msg + head_len + 2, err->msg, msg_len + 1);
    memcpy(err->msg, head, head_len);
    memcpy(err->msg + head_len, ": ", 2);
    return err->rc;
}

const char *
pitr_rc_name(enum pitr_rc rc)
{
    static const char *const names[] = {
        [PITR_OK] = "ok",
        [PITR_INTERNAL] = "internal",
        [PITR_NOMEM] = "nomem",
        [PITR_USAGE] = "usage",
        [PITR_DB] = "database",
        [PITR_DB_LOST] = "database_lost",
        [PITR_IO] = "io",
        [PITR_FULL] = "full",
        [PITR_DENIED] = "denied",
        [PITR_NOTFOUND] = "notfound",
        [PITR_EXISTS] = "exists",
        [PITR_CORRUPT] = "corrupt",
        [PITR_GAP] = "gap",
        [PITR_BUSY] = "busy",
        [PITR_UNHEALTHY] = "unhealthy",
        [PITR_INTERRUPTED] = "interrupted",
        [PITR_ABORTED] = "aborted",
    };

    if ((size_t)rc >= sizeof names / sizeof names[0] || names[rc] == NULL)
        return "unknown";
    return names[rc];
}
