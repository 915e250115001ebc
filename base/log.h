/*
 * log.h - one event per line on stderr.
 *
 * A struct log is made by main and passed down; NULL is a valid log that says nothing, so that
 * library code and tests need no special case. Lines look like
 * "2026-11-23T14:03:07Z warning tail: oplog window is 40 min". Never used for errors that are
 * also returned. Thread-safe: a line is one write.
 */
#ifndef PITR_BASE_LOG_H
#define PITR_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_WARNING, LOG_INFO, LOG_DEBUG };

struct log {
    enum log_level level; /* most verbose level that is printed */
    int fd;
};

void log_event(const struct log *log, enum log_level level, const char *module, const char *fmt,
               ...) __attribute__((format(printf, 4, 5)));

#endif
