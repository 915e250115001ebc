#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/pattern.h"
#include "cli/commands.h"
#include "cli/doc_id.h"
#include "cli/log_print.h"
#include "cli/suggest.h"
#include "engine/window.h"

static const struct {
    const char *name;
    enum search_kind kind;
} kinds[] = {
    {"insert", SEARCH_INSERT},   {"update", SEARCH_UPDATE}, {"delete", SEARCH_DELETE},
    {"command", SEARCH_COMMAND}, {"noop", SEARCH_NOOP},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static enum pitr_rc
bad_kind(const char *word, struct pitr_err *err)
{
    const char *names[KINDS], *near;

    for (size_t i = 0; i < KINDS; i++)
        names[i] = kinds[i].name;
    near = suggest_nearest(word, names, KINDS);
    return pitr_fail(err, PITR_USAGE,
                     "--kind %.40s: there is insert, update, delete, command and noop%s%s%s", word,
                     near == NULL ? "" : "; did you mean ", near == NULL ? "" : near,
                     near == NULL ? "" : "?");
}

static enum pitr_rc
parse_kinds(unsigned *out, const struct opts *o, struct pitr_err *err)
{
    const struct opt_values *words = &o->values[OPT_KIND];

    *out = words->len == 0 ? SEARCH_DEFAULT : 0;
    for (size_t i = 0; i < words->len; i++) {
        size_t k = 0;

        while (k < KINDS && strcmp(kinds[k].name, words->at[i]) != 0)
            k++;
        if (k == KINDS)
            return bad_kind(words->at[i], err);
        *out |= kinds[k].kind;
    }
    if (opts_has(o, OPT_ID) && (*out & (SEARCH_INSERT | SEARCH_UPDATE | SEARCH_DELETE)) == 0)
        return pitr_fail(err, PITR_USAGE,
                         "--id finds inserts, updates and deletes; commands and no-ops are about "
                         "no document: leave out --id or --kind");
    return PITR_OK;
}

static enum pitr_rc
parse_limit(uint64_t *out, const struct opts *o, struct pitr_err *err)
{
    const char *text = opts_text(o, OPT_LIMIT);
    char *rest;

    *out = 0;
    if (text == NULL)
        return PITR_OK;
    errno = 0;
    *out = strtoull(text, &rest, 10);
    if (text[strspn(text, "0123456789")] != '\0' || rest == text || errno != 0 || *out == 0)
        return pitr_fail(err, PITR_USAGE, "--limit %.40s: give a whole number from 1 on", text);
    return PITR_OK;
}

static enum pitr_rc
check_patterns(const struct opts *o, enum opt_id id, const char *name, struct pitr_err *err)
{
    for (size_t i = 0; i < o->values[id].len; i++)
        if (pattern_check(o->values[id].at[i], err) != PITR_OK)
            return pitr_wrap(err, "%s", name);
    return PITR_OK;
}

/* The newest captured timestamp, 0 when nothing is captured. */
static uint64_t
newest_of(const struct chain *c)
{
    uint64_t newest = 0;

    for (size_t i = 0; i < c->nspans; i++)
        if (c->spans[i].last > newest)
            newest = c->spans[i].last;
    return newest;
}

/* A second is taken from its beginning, or to its end. */
static uint64_t
bound_of(const struct moment *m, bool is_end)
{
    if (m->kind != MOMENT_SECOND)
        return m->value;
    if (m->value > UINT32_MAX)
        return UINT64_MAX;
    return ts_make((uint32_t)m->value, is_end ? UINT32_MAX : 0);
}

static enum pitr_rc
parse_range(struct search_opts *s, bool *from_latest, const struct opts *o, struct pitr_err *err)
{
    const char *from = opts_text(o, OPT_FROM), *to = opts_text(o, OPT_TO);
    struct moment m = {.kind = MOMENT_TS};

    if (from != NULL && moment_parse(&m, from, err) != PITR_OK)
        return pitr_wrap(err, "--from");
    *from_latest = m.kind == MOMENT_LATEST;
    s->has_from = from != NULL && !*from_latest;
    s->from = s->has_from ? bound_of(&m, false) : 0;
    m.kind = MOMENT_LATEST;
    if (to != NULL && moment_parse(&m, to, err) != PITR_OK)
        return pitr_wrap(err, "--to");
    s->has_to = m.kind != MOMENT_LATEST;
    s->to = s->has_to ? bound_of(&m, true) : UINT64_MAX;
    if (s->from > s->to)
        return pitr_fail(err, PITR_USAGE, "--from %.40s is after --to %.40s", from, to);
    return PITR_OK;
}

static enum pitr_rc
search(struct app *app, struct search_opts *s, struct log_print *print, bool from_latest,
       struct pitr_err *err)
{
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(chain_release) struct chain chain = {0};
    struct search_sink sink = log_print_sink(print);
    struct pitr_err late;
    enum pitr_rc rc;

    if (app_repo(app, REPO_READ, &repo, err) != PITR_OK ||
        chain_load(&chain, repo_blob(repo), repo_keys(repo), err) != PITR_OK)
        return err->rc;
    if (from_latest)
        s->from = newest_of(&chain);
    if (s->from > s->to)
        return pitr_fail(err, PITR_USAGE, "--from latest is after --to %.40s",
                         opts_text(&app->opts, OPT_TO));
    rc = oplog_search(&chain, repo_blob(repo), repo_keys(repo), s, &sink, err);
    if (rc == PITR_OK && print->printed == 0 && !app->is_json)
        text_add(&print->out, "no operation matches\n");
    /* What was found before a damaged segment is worth having; the first error counts. */
    if (log_print_flush(print, &late) != PITR_OK && rc == PITR_OK) {
        *err = late;
        rc = late.rc;
    }
    return rc;
}

enum pitr_rc
cmd_log(struct app *app, struct pitr_err *err)
{
    const struct opts *o = &app->opts;
    PITR_AUTO(log_print_release)
    struct log_print print = {.app = app, .at_once = isatty(STDOUT_FILENO) == 1};
    PITR_AUTO(buf_release) struct buf id = {0};
    struct search_opts s = {.ns = o->values[OPT_NS].at,
                            .nns = o->values[OPT_NS].len,
                            .exclude_ns = o->values[OPT_EXCLUDE_NS].at,
                            .nexclude_ns = o->values[OPT_EXCLUDE_NS].len,
                            .job = &app->job};
    bool from_latest = false;

    if (check_patterns(o, OPT_NS, "--ns", err) != PITR_OK ||
        check_patterns(o, OPT_EXCLUDE_NS, "--exclude-ns", err) != PITR_OK ||
        parse_kinds(&s.kinds, o, err) != PITR_OK || parse_limit(&print.limit, o, err) != PITR_OK ||
        parse_range(&s, &from_latest, o, err) != PITR_OK)
        return err->rc;
    if (opts_has(o, OPT_ID)) {
        if (doc_id_parse(&id, opts_text(o, OPT_ID), err) != PITR_OK)
            return pitr_wrap(err, "--id");
        s.id = &id;
    }
    return search(app, &s, &print, from_latest, err);
}
