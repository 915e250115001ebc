/*
 * opts_table.h - the table itself; for opts.c and opts_help.c only.
 */
#ifndef PITR_CLI_OPTS_TABLE_H
#define PITR_CLI_OPTS_TABLE_H

#include "cli/opts.h"

enum opt_kind {
    OPT_FLAG,
    OPT_VALUE, /* at most once */
    OPT_MANY,  /* any number of times */
};

struct opt_spec {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    enum opt_kind kind;
    bool is_uri;       /* carries secrets that must leave argv */
    const char *value; /* what the help calls the value; NULL for flags */
    uint32_t commands; /* bit per enum command_id; all bits: a global option */
    const char *help;  /* one paragraph */
};

struct command_spec {
    const char *name;
    const char *synopsis; /* words after the name, in the help */
    const char *summary;  /* one line without a full stop */
    const char *help;     /* paragraphs, "" for none; '\n' ends a paragraph */
    size_t min_args, max_args;
};

#define OPT_GLOBAL UINT32_MAX

const struct opt_spec *opt_table(enum opt_id id);
const struct command_spec *command_table(enum command_id id);
bool opt_applies(enum opt_id id, enum command_id command);

/* Words of the command line that other versions of pitr know: refused with that reason. */
bool is_later_command(const char *word);
bool is_later_option(const char *name);

/* Finds a command by its whole name, or by the first word of it (of "index rebuild": "index").
 * False when there is none. */
bool command_find(enum command_id *out, const char *name);

#endif
