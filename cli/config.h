/*
 * config.h - settings: a YAML file, then the environment, then flags; the later wins.
 *
 * JSON is YAML, so the file may be either. Nested and dotted keys mean the same ("tail: {interval:
 * 60}" and "tail.interval: 60"). An unknown key or a bad value is USAGE, with file and line. Every
 * value remembers where it came from.
 */
#ifndef PITR_CLI_CONFIG_H
#define PITR_CLI_CONFIG_H

#include "chunkstore/codec.h"
#include "cli/opts.h"

enum config_key {
    CONFIG_REPO,
    CONFIG_URI,
    CONFIG_EXCLUDE,
    CONFIG_CODEC,
    CONFIG_LEVEL,
    CONFIG_TAIL_INTERVAL,
    CONFIG_RPO,
    CONFIG_SNAPSHOT_AGE,
    CONFIG_CONNECTIONS,
    CONFIG_MEMORY,
    CONFIG_COUNT,
};

struct config {
    char *repo, *uri; /* owned; NULL when not set */
    char **exclude;   /* namespace patterns; owned */
    size_t nexclude;
    enum frame_codec codec;
    int level;                  /* 0: pitr's choice */
    int64_t tail_interval;      /* seconds */
    int64_t rpo, snapshot_age;  /* seconds; 0: no limit */
    unsigned connections;       /* 0: pitr's choice */
    uint64_t memory;            /* bytes; 0: pitr's choice */
    char *origin[CONFIG_COUNT]; /* "/etc/pitr.yaml:3", "MONGODB_URI", "--uri"; NULL: default */
};

/* `env` is a NULL-terminated array of NAME=VALUE, as environ. An empty variable counts as not set.
 * Fails: USAGE, NOMEM. */
PITR_MUST enum pitr_rc config_load(struct config *out, const struct opts *opts, char *const *env,
                                   struct pitr_err *err);
void config_release(struct config *c);

const char *config_name(enum config_key key);
/* The value as the file would hold it, secrets hidden; a list is joined by ", ". */
void config_value(struct text *out, const struct config *c, enum config_key key);

#endif
