/*
 * err.h - errors that carry their story.
 *
 * Every fallible function takes a caller-owned `struct pitr_err *err` as its
 * last argument and returns `enum pitr_rc`; the value returned is always
 * err->rc. The source of a failure calls pitr_fail() with what, which and how
 * much; callers that know more put it in front with pitr_wrap(). A function
 * returns an error or logs it, never both. Broken invariants are asserts, bad
 * input never is.
 */
#ifndef PITR_BASE_ERR_H
#define PITR_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

enum pitr_rc {
    PITR_OK = 0,
    PITR_INTERNAL,    /* a bug in pitr, or an impossible answer of a library */
    PITR_NOMEM,       /* an allocation failed */
    PITR_USAGE,       /* bad arguments or configuration */
    PITR_DB,          /* source or target database: unreachable, refused, unsupported */
    PITR_DB_LOST,     /* the connection or the primary went away: trying again can help */
    PITR_IO,          /* repository file system or object store */
    PITR_FULL,        /* no space or quota left in the repository */
    PITR_DENIED,      /* permission refused by the file system or object store */
    PITR_NOTFOUND,    /* the named object does not exist */
    PITR_EXISTS,      /* the named object exists and must not be overwritten */
    PITR_CORRUPT,     /* stored bytes are not what was stored, or a verification failed */
    PITR_GAP,         /* the oplog chain does not cover what was asked */
    PITR_BUSY,        /* another writer holds the lock */
    PITR_UNHEALTHY,   /* status and check: a limit is exceeded */
    PITR_INTERRUPTED, /* the user asked to stop */
    PITR_ABORTED,     /* another stage of the same pipeline failed first */
};

struct pitr_err {
    enum pitr_rc rc;
    char msg[1020]; /* "outer: inner: root cause", never empty after a failure */
};

#define PITR_MUST __attribute__((warn_unused_result))
#define PITR_AUTO(fn) __attribute__((cleanup(fn)))

/* Record a failure at its source; returns `rc`, so `return pitr_fail(...)` works. */
enum pitr_rc pitr_fail(struct pitr_err *err, enum pitr_rc rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As pitr_fail(), with the text of errno value `errnum` appended and rc chosen from it:
 * ENOSPC, EDQUOT and EFBIG give FULL, EACCES/EPERM/EROFS DENIED, ENOENT NOTFOUND, EEXIST EXISTS,
 * ENOMEM NOMEM, anything else IO. */
enum pitr_rc pitr_fail_errno(struct pitr_err *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put context in front of the message; returns err->rc. Drops the context if it does not fit. */
enum pitr_rc pitr_wrap(struct pitr_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Stable lower-case name of a code ("corrupt"), for --json and logs. */
const char *pitr_rc_name(enum pitr_rc rc);

#endif
