#include <stdio.h>
#include <string.h>

#include "cli/opts_table.h"
#include "cli/suggest.h"

/* Help is read on terminals of 80 columns. */
enum { WIDTH = 79, OPTION_COLUMN = 28, COMMAND_COLUMN = 18, FORM_LEN = 96 };

/* Text filled to WIDTH, each line after the first indented; the first begins at column `at`. */
static void
add_filled(struct text *out, const char *prose, size_t at, size_t indent)
{
    size_t column = at;

    while (*prose != '\0') {
        size_t len = strcspn(prose, " \n");

        if (column > indent && column + 1 + len > WIDTH) {
            text_add(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            text_add(out, " ");
            column++;
        }
        text_bytes(out, prose, len);
        column += len;
        prose += len;
        if (*prose == '\n') {
            text_add(out, "\n\n%*s", (int)indent, "");
            column = indent;
        }
        if (*prose != '\0')
            prose++;
    }
    text_add(out, "\n");
}

/* "-q, --quiet", "--label TEXT" */
static void
option_form(char out[FORM_LEN], const struct opt_spec *spec)
{
    char letter[8] = "";

    if (spec->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", spec->letter);
    snprintf(out, FORM_LEN, "%s--%s%s%s", letter, spec->name, spec->value == NULL ? "" : " ",
             spec->value == NULL ? "" : spec->value);
}

static void
add_option(struct text *out, const struct opt_spec *spec)
{
    char form[FORM_LEN];

    option_form(form, spec);
    if (strlen(form) + 4 > OPTION_COLUMN)
        text_add(out, "  %s\n%*s", form, OPTION_COLUMN, "");
    else
        text_add(out, "  %-*s", OPTION_COLUMN - 2, form);
    add_filled(out, spec->help, OPTION_COLUMN, OPTION_COLUMN);
}

static void
add_options(struct text *out, const char *title, bool global, enum command_id command)
{
    bool has_title = false;

    for (int i = 0; i < OPT_COUNT; i++) {
        const struct opt_spec *spec = opt_table((enum opt_id)i);

        if ((spec->commands == OPT_GLOBAL) != global || !opt_applies((enum opt_id)i, command))
            continue;
        if (!has_title)
            text_add(out, "\n%s\n", title);
        has_title = true;
        add_option(out, spec);
    }
}

/* What every command's exit code means, one row a code. */
static const char *const exit_codes[][2] = {
    {"0", "done"},
    {"1", "internal error"},
    {"2", "usage or configuration"},
    {"3", "source or target database: unreachable, refused, unsupported"},
    {"4", "repository: missing, full, not readable or writable"},
    {"5", "corruption, or a verification that failed"},
    {"6", "gap, or a moment that cannot be restored"},
    {"7", "busy: another one is writing"},
    {"8", "unhealthy: a limit of status or check is exceeded"},
    {"130", "interrupted"},
};

void
opts_help_overview(struct text *out)
{
    text_add(out, "pitr: point-in-time backup and restore of MongoDB\n\n"
                  "usage: pitr [OPTION]... COMMAND [OPTION]...\n\nCommands:\n");
    for (int i = 0; i < CMD_COUNT; i++) {
        const struct command_spec *spec = command_table((enum command_id)i);

        text_add(out, "  %-*s%s\n", COMMAND_COLUMN - 2, spec->name, spec->summary);
    }
    add_options(out, "Options of every command:", true, CMD_HELP);
    text_add(out, "\nExit codes:\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof exit_codes[0]; i++)
        text_add(out, "  %-*s%s\n", COMMAND_COLUMN - 2, exit_codes[i][0], exit_codes[i][1]);
    text_add(out, "\npitr help COMMAND tells more about one of them.\n");
}

static void
add_usage(struct text *out, enum command_id id)
{
    const struct command_spec *spec = command_table(id);
    bool has_options = false;

    for (int i = 0; i < OPT_COUNT; i++)
        if (opt_table((enum opt_id)i)->commands != OPT_GLOBAL && opt_applies((enum opt_id)i, id))
            has_options = true;
    text_add(out, "pitr %s%s%s%s", spec->name, has_options ? " [OPTION]..." : "",
             spec->synopsis == NULL ? "" : " ", spec->synopsis == NULL ? "" : spec->synopsis);
}

enum pitr_rc
opts_help(struct text *out, const char *command, struct pitr_err *err)
{
    const char *known[CMD_COUNT], *near;
    enum command_id id;

    if (!command_find(&id, command)) {
        for (int i = 0; i < CMD_COUNT; i++)
            known[i] = command_table((enum command_id)i)->name;
        near = suggest_nearest(command, known, CMD_COUNT);
        return pitr_fail(err, PITR_USAGE, "help %s: %s%s%s", command,
                         is_later_command(command) ? "this version of pitr does not have this "
                                                     "command; see pitr help"
                         : near == NULL            ? "unknown command; see pitr help"
                                                   : "unknown command; did you mean ",
                         is_later_command(command) || near == NULL ? "" : near,
                         is_later_command(command) || near == NULL ? "" : "?");
    }
    text_add(out, "%s: %s\n\nusage: ", command_table(id)->name, command_table(id)->summary);
    add_usage(out, id);
    text_add(out, "\n");
    if (command_table(id)->help[0] != '\0') {
        text_add(out, "\n");
        add_filled(out, command_table(id)->help, 0, 0);
    }
    add_options(out, "Options:", false, id);
    text_add(out, "\nOptions of every command are listed by pitr help.\n");
    return PITR_OK;
}

/* '|' would end a table's cell, '*' and '<' would be taken for markup. */
static void
add_escaped(struct text *out, const char *prose)
{
    for (; *prose != '\0'; prose++) {
        if (*prose == '\n')
            text_add(out, "\n\n");
        else
            text_add(out, "%s%c", strchr("|*<_", *prose) != NULL ? "\\" : "", *prose);
    }
}

static void
add_option_rows(struct text *out, bool global, enum command_id command)
{
    bool has_head = false;
    char form[FORM_LEN];

    for (int i = 0; i < OPT_COUNT; i++) {
        const struct opt_spec *spec = opt_table((enum opt_id)i);

        if ((spec->commands == OPT_GLOBAL) != global || !opt_applies((enum opt_id)i, command))
            continue;
        if (!has_head)
            text_add(out, "\n| option | meaning |\n|---|---|\n");
        has_head = true;
        option_form(form, spec);
        text_add(out, "| `");
        for (const char *c = form; *c != '\0'; c++)
            text_add(out, "%s%c", *c == '|' ? "\\" : "", *c);
        text_add(out, "` | ");
        add_escaped(out, spec->help);
        text_add(out, " |\n");
    }
}

void
opts_markdown(struct text *out)
{
    text_add(out, "# Commands\n\nMade by `pitr help --markdown`.\n\n"
                  "    pitr [OPTION]... COMMAND [OPTION]...\n\n"
                  "## Options of every command\n");
    add_option_rows(out, true, CMD_HELP);
    for (int i = 0; i < CMD_COUNT; i++) {
        const struct command_spec *spec = command_table((enum command_id)i);

        text_add(out, "\n## %s\n\n    ", spec->name);
        add_usage(out, (enum command_id)i);
        text_add(out, "\n\n");
        add_escaped(out, spec->summary);
        text_add(out, ".");
        if (spec->help[0] != '\0') {
            text_add(out, "\n\n");
            add_escaped(out, spec->help);
        }
        text_add(out, "\n");
        add_option_rows(out, false, (enum command_id)i);
    }
    text_add(out, "\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof exit_codes[0]; i++)
        text_add(out, "| %s | %s |\n", exit_codes[i][0], exit_codes[i][1]);
    text_add(out,
             "\nA failure is one line on stderr; with --json it is also an object on stdout.\n");
}
