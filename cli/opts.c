#include "cli/opts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "cli/opts_table.h"
#include "cli/suggest.h"

/* A parse in progress. */
struct parse {
    struct opts *opts;
    int argc, at; /* at: next word */
    char **argv;
    struct opt_values words; /* everything that is no option */
};

static void
values_release(struct opt_values *v)
{
    for (size_t i = 0; v->at != NULL && i < v->len; i++)
        free(v->at[i]);
    free(v->at);
    *v = (struct opt_values){0};
}

static enum pitr_rc
values_add(struct opt_values *v, const char *text, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *copy = strdup(text);
    char **grown = copy == NULL ? NULL : realloc(v->at, (v->len + 1) * sizeof *grown);

    if (grown == NULL)
        return pitr_fail(err, PITR_NOMEM, "command line: out of memory");
    v->at = grown;
    v->at[v->len++] = copy;
    copy = NULL;
    return PITR_OK;
}

static void
parse_release(struct parse *p)
{
    values_release(&p->words);
}

void
opts_release(struct opts *o)
{
    for (int i = 0; i < OPT_COUNT; i++)
        values_release(&o->values[i]);
    values_release(&o->args);
}

bool
opts_has(const struct opts *o, enum opt_id id)
{
    return o->values[id].len > 0;
}

const char *
opts_text(const struct opts *o, enum opt_id id)
{
    const struct opt_values *v = &o->values[id];

    return v->at != NULL && v->len > 0 ? v->at[v->len - 1] : NULL;
}

/* As it is typed: "index rebuild". */
static const char *
command_name(enum command_id id)
{
    return command_table(id)->name;
}

static bool
find_option(enum opt_id *out, const char *name, size_t len)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        const char *known = opt_table((enum opt_id)i)->name;

        if (strlen(known) == len && memcmp(known, name, len) == 0) {
            *out = (enum opt_id)i;
            return true;
        }
    }
    return false;
}

static enum pitr_rc
unknown_option(const char *name, struct pitr_err *err)
{
    const char *known[OPT_COUNT], *near;

    if (is_later_option(name))
        return pitr_fail(err, PITR_USAGE,
                         "--%s: this version of pitr does not have it; see pitr help", name);
    for (int i = 0; i < OPT_COUNT; i++)
        known[i] = opt_table((enum opt_id)i)->name;
    near = suggest_nearest(name, known, OPT_COUNT);
    if (near != NULL)
        return pitr_fail(err, PITR_USAGE, "--%s: unknown option; did you mean --%s?", name, near);
    return pitr_fail(err, PITR_USAGE, "--%s: unknown option; see pitr help", name);
}

static enum pitr_rc
take_value(struct parse *p, enum opt_id id, char *value, struct pitr_err *err)
{
    const struct opt_spec *spec = opt_table(id);
    struct opt_values *v = &p->opts->values[id];

    if (value == NULL) {
        if (p->at >= p->argc)
            return pitr_fail(err, PITR_USAGE, "--%s: needs a value: --%s %s", spec->name,
                             spec->name, spec->value);
        value = p->argv[p->at++];
    }
    if (spec->kind == OPT_VALUE && v->len > 0)
        return pitr_fail(err, PITR_USAGE, "--%s: given twice; give it once", spec->name);
    if (values_add(v, value, err) != PITR_OK)
        return err->rc;
    if (spec->is_uri)
        uri_hide_secrets(value);
    return PITR_OK;
}

/* `word` begins with "--" and is longer. */
static enum pitr_rc
take_long(struct parse *p, char *word, struct pitr_err *err)
{
    char *name = word + 2, *equals = strchr(name, '=');
    size_t len = equals == NULL ? strlen(name) : (size_t)(equals - name);
    enum opt_id id;

    if (!find_option(&id, name, len)) {
        char unknown[64];

        snprintf(unknown, sizeof unknown, "%.*s", (int)(len < 60 ? len : 60), name);
        return unknown_option(unknown, err);
    }
    if (opt_table(id)->kind != OPT_FLAG)
        return take_value(p, id, equals == NULL ? NULL : equals + 1, err);
    if (equals != NULL)
        return pitr_fail(err, PITR_USAGE, "--%s: takes no value", opt_table(id)->name);
    p->opts->values[id].len++;
    return PITR_OK;
}

/* One or more letters behind one dash; all of them are flags. */
static enum pitr_rc
take_letters(struct parse *p, const char *letters, struct pitr_err *err)
{
    for (; *letters != '\0'; letters++) {
        int id = 0;

        while (id < OPT_COUNT && opt_table((enum opt_id)id)->letter != *letters)
            id++;
        if (id == OPT_COUNT)
            return pitr_fail(err, PITR_USAGE, "-%c: unknown option; did you mean -q, -v or -h?",
                             *letters);
        p->opts->values[id].len++;
    }
    return PITR_OK;
}

static enum pitr_rc
take_words(struct parse *p, struct pitr_err *err)
{
    bool options_end = false;

    while (p->at < p->argc) {
        char *word = p->argv[p->at++];
        enum pitr_rc rc;

        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
            continue;
        }
        if (options_end || word[0] != '-' || word[1] == '\0')
            rc = values_add(&p->words, word, err);
        else if (word[1] == '-')
            rc = take_long(p, word, err);
        else
            rc = take_letters(p, word + 1, err);
        if (rc != PITR_OK)
            return rc;
    }
    return PITR_OK;
}

static enum pitr_rc
unknown_command(const char *word, struct pitr_err *err)
{
    const char *known[CMD_COUNT], *near;

    if (is_later_command(word))
        return pitr_fail(err, PITR_USAGE,
                         "%s: this version of pitr does not have this command; see pitr help",
                         word);
    for (int i = 0; i < CMD_COUNT; i++)
        known[i] = command_name((enum command_id)i);
    near = suggest_nearest(word, known, CMD_COUNT);
    if (near != NULL)
        return pitr_fail(err, PITR_USAGE, "%s: unknown command; did you mean %s?", word, near);
    return pitr_fail(err, PITR_USAGE, "%s: unknown command; see pitr help", word);
}

/* The command, and how many words its name takes. */
static enum pitr_rc
find_command(const struct opt_values *words, enum command_id *id, size_t *used,
             struct pitr_err *err)
{
    const char *second;

    if (!command_find(id, words->at[0]))
        return unknown_command(words->at[0], err);
    *used = 1;
    second = strchr(command_name(*id), ' ');
    if (second == NULL)
        return PITR_OK;
    if (words->len < 2 || strcmp(words->at[1], second + 1) != 0)
        return pitr_fail(err, PITR_USAGE, "%s%s%s: unknown command; did you mean %s?", words->at[0],
                         words->len < 2 ? "" : " ", words->len < 2 ? "" : words->at[1],
                         command_name(*id));
    *used = 2;
    return PITR_OK;
}

static enum pitr_rc
choose_command(struct parse *p, struct pitr_err *err)
{
    struct opts *o = p->opts;
    size_t used = 0;

    if (p->words.len == 0 && opts_has(o, OPT_VERSION))
        o->command = CMD_VERSION;
    else if (p->words.len == 0 && opts_has(o, OPT_HELP))
        o->command = CMD_HELP;
    else if (p->words.len == 0)
        return pitr_fail(err, PITR_USAGE, "no command given; see pitr help");
    else if (find_command(&p->words, &o->command, &used, err) != PITR_OK)
        return err->rc;

    if (opts_has(o, OPT_HELP) && o->command != CMD_HELP) {
        enum command_id about = o->command;

        o->command = CMD_HELP;
        return values_add(&o->args, command_name(about), err);
    }
    for (size_t i = used; i < p->words.len; i++)
        if (values_add(&o->args, p->words.at[i], err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

static enum pitr_rc
check_command(const struct opts *o, struct pitr_err *err)
{
    const struct command_spec *spec = command_table(o->command);

    for (int i = 0; i < OPT_COUNT; i++)
        if (opts_has(o, (enum opt_id)i) && !opt_applies((enum opt_id)i, o->command) &&
            !opts_has(o, OPT_HELP))
            return pitr_fail(err, PITR_USAGE, "--%s: not an option of %s; see pitr help %s",
                             opt_table((enum opt_id)i)->name, spec->name, spec->name);
    if (o->args.len > spec->max_args)
        return pitr_fail(err, PITR_USAGE, "%s: unexpected argument \"%s\"; see pitr help %s",
                         spec->name, o->args.at[spec->max_args], spec->name);
    if (o->args.len < spec->min_args)
        return pitr_fail(err, PITR_USAGE, "%s: needs %s; see pitr help %s", spec->name,
                         spec->synopsis, spec->name);
    return PITR_OK;
}

enum pitr_rc
opts_parse(struct opts *out, int argc, char **argv, struct pitr_err *err)
{
    PITR_AUTO(parse_release)
    struct parse p = {.opts = out, .argc = argc, .at = 1, .argv = argv};

    *out = (struct opts){0};
    if (take_words(&p, err) != PITR_OK || choose_command(&p, err) != PITR_OK ||
        check_command(out, err) != PITR_OK) {
        opts_release(out);
        return err->rc;
    }
    return PITR_OK;
}

static void
hide(char *from, const char *end)
{
    for (; from < end; from++)
        *from = '*';
}

/* Values of URI options whose name says that they carry a secret. */
static void
hide_options(char *at)
{
    while (at != NULL) {
        char *name = at + 1, *equals = strchr(name, '='), *next = strchr(name, '&');
        char *end = next != NULL ? next : name + strlen(name);

        if (equals != NULL && equals < end &&
            (memmem(name, (size_t)(equals - name), "assword", 7) != NULL ||
             memmem(name, (size_t)(equals - name), "echanismProperties", 18) != NULL))
            hide(equals + 1, end);
        at = next;
    }
}

void
uri_hide_secrets(char *uri)
{
    char *scheme = strstr(uri, "://"), *host, *colon, *at;

    host = scheme == NULL ? uri : scheme + 3;
    /* A password may hold an unescaped '/' or '@' by mistake: the last '@' decides, unless a query
     * without user information before it owns it. */
    at = strrchr(host, '@');
    if (at != NULL && memchr(host, '?', (size_t)(at - host)) != NULL) {
        char *query = strchr(host, '?'), *before = memrchr(host, '@', (size_t)(query - host));

        at = before != NULL ? before : at;
        if (before == NULL && memchr(host, ':', (size_t)(query - host)) == NULL)
            at = NULL;
    }
    if (at != NULL) {
        colon = memchr(host, ':', (size_t)(at - host));
        if (colon != NULL)
            hide(colon + 1, at);
        host = at + 1;
    }
    hide_options(strchr(host, '?'));
}
