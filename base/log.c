#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

/* Longest line; what does not fit is cut. A message of err.h fits. */
enum { LINE_MAX_LEN = 1200 };

static const char *
level_name(enum log_level level)
{
    switch (level) {
    case LOG_WARNING:
        return "warning";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    return "info";
}

void
log_event(const struct log *log, enum log_level level, const char *module, const char *fmt, ...)
{
    char line[LINE_MAX_LEN + 1], when[CLOCK_TEXT_LEN];
    int saved = errno;
    size_t len;
    va_list ap;

    if (log == NULL || level > log->level)
        return;
    clock_format(when, clock_wall_ms() / 1000);
    snprintf(line, sizeof line, "%s %s %s: ", when, level_name(level), module);
    len = strlen(line);
    va_start(ap, fmt);
    vsnprintf(line + len, sizeof line - len, fmt, ap);
    va_end(ap);
    len = strlen(line);
    /* Names of collections and objects may hold anything; an event stays one line. */
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < ' ')
            line[i] = ' ';
    line[len] = '\n';
    /* There is nobody to tell if this fails. */
    while (write(log->fd, line, len + 1) < 0 && errno == EINTR)
        continue;
    errno = saved;
}
