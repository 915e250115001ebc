/*
 * config_file.h - walks a YAML (or JSON) file of settings and names the line of every mistake.
 */
#ifndef PITR_CLI_CONFIG_FILE_H
#define PITR_CLI_CONFIG_FILE_H

#include "base/err.h"

struct config_keys {
    const char *const *names; /* dotted: "tail.interval" */
    size_t len;
    size_t list; /* index of the one key that takes a list of values */
};

/* What the walk calls per value; `where` is "FILE:LINE". A failure ends the walk and is returned.
 */
struct config_visitor {
    enum pitr_rc (*visit)(void *arg, size_t key, const char *value, const char *where,
                          struct pitr_err *err);
    void *arg;
};

/* Fails: USAGE (cannot be read, is no YAML, unknown key, key given twice, value of the wrong kind),
 * NOMEM, what visit returns. An empty file is fine. */
PITR_MUST enum pitr_rc config_file_read(const char *path, const struct config_keys *keys,
                                        const struct config_visitor *visitor, struct pitr_err *err);

#endif
