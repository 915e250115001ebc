/*
 * opts.h - the command line: one table of commands and options, read by the parser, by --help and
 * by `pitr help --markdown`, which is docs/cli.md.
 *
 * Options may stand before or after the command's name, as "--name value" or "--name=value"; "--"
 * ends them. Values are copied, and the password of a URI is then overwritten in argv, so that it
 * is gone from the process list. What an option's value must look like is checked where the value
 * is used.
 *
 * Every failure is USAGE, one line that names the word and the nearest known one.
 */
#ifndef PITR_CLI_OPTS_H
#define PITR_CLI_OPTS_H

#include <stdbool.h>

#include "cli/text.h"

enum command_id {
    CMD_INIT,
    CMD_SNAPSHOT,
    CMD_TAIL,
    CMD_RESTORE,
    CMD_LIST,
    CMD_SHOW,
    CMD_LOG,
    CMD_DIFF,
    CMD_EXPORT,
    CMD_IMPORT,
    CMD_VERIFY,
    CMD_STATUS,
    CMD_CHECK,
    CMD_INDEX_REBUILD,
    CMD_CONFIG_SHOW,
    CMD_VERSION,
    CMD_HELP,
    CMD_COUNT,
};

enum opt_id {
    OPT_CONFIG,
    OPT_REPO,
    OPT_URI,
    OPT_JSON,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_NO_PROGRESS,
    OPT_HELP,
    OPT_VERSION,
    OPT_MODE,
    OPT_LABEL,
    OPT_CODEC,
    OPT_LEVEL,
    OPT_ONCE,
    OPT_INTERVAL,
    OPT_TO,
    OPT_BEFORE,
    OPT_SNAPSHOT,
    OPT_LATEST,
    OPT_BACKUP_PATH,
    OPT_TARGET,
    OPT_NS,
    OPT_EXCLUDE_NS,
    OPT_RENAME,
    OPT_DROP,
    OPT_PLAN,
    OPT_YES,
    OPT_NO_VERIFY,
    OPT_NO_PRE_SNAPSHOT,
    OPT_MEMORY,
    OPT_AT,
    OPT_ID,
    OPT_FROM,
    OPT_KIND,
    OPT_LIMIT,
    OPT_OUT,
    OPT_GZIP,
    OPT_QUICK,
    OPT_DATA,
    OPT_REPLAY,
    OPT_MARKDOWN,
    OPT_COUNT,
};

struct opt_values {
    char **at;  /* owned copies; NULL for flags */
    size_t len; /* how often the option was given */
};

struct opts {
    enum command_id command;
    struct opt_values values[OPT_COUNT];
    struct opt_values args; /* words after the command's name */
};

/* `argv` is that of main(), argv[0] included. `pitr --help` is the command help, `pitr --version`
 * version, and `pitr COMMAND --help` help with that command's name as its argument. */
PITR_MUST enum pitr_rc opts_parse(struct opts *out, int argc, char **argv, struct pitr_err *err);
void opts_release(struct opts *o);

bool opts_has(const struct opts *o, enum opt_id id);
const char *opts_text(const struct opts *o, enum opt_id id); /* NULL when not given */

void opts_help_overview(struct text *out);
/* `command` is a command's whole name, or the first word of one. Fails: USAGE (no such command). */
PITR_MUST enum pitr_rc opts_help(struct text *out, const char *command, struct pitr_err *err);
void opts_markdown(struct text *out);

/*
 * What must not be shown of a MongoDB URI, overwritten in place with '*': the password, and values
 * of URI options that carry secrets. In doubt more is hidden rather than less.
 */
void uri_hide_secrets(char *uri);

#endif
