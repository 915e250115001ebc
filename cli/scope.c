#include "cli/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
scope_release(struct scope *s)
{
    for (size_t i = 0; i < s->selection.nrenames; i++)
        rename_release(&s->renames[i]);
    free(s->renames);
    repo_free(s->repo);
    *s = (struct scope){0};
}

static enum pitr_rc
parse_renames(struct scope *out, const struct opt_values *texts, struct pitr_err *err)
{
    out->renames = calloc(texts->len + 1, sizeof *out->renames);
    if (out->renames == NULL)
        return pitr_fail(err, PITR_NOMEM, "--rename: out of memory");
    out->selection.renames = out->renames;
    for (; out->selection.nrenames < texts->len; out->selection.nrenames++)
        if (rename_parse(&out->renames[out->selection.nrenames], texts->at[out->selection.nrenames],
                         err) != PITR_OK)
            return pitr_wrap(err, "--rename");
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

/* How many of the ways to name a moment were used. */
static size_t
moments_named(const struct opts *o)
{
    return (size_t)opts_has(o, OPT_TO) + (size_t)opts_has(o, OPT_BEFORE) +
           (size_t)opts_has(o, OPT_SNAPSHOT) + (size_t)opts_has(o, OPT_LATEST);
}

static enum pitr_rc
parse_moment(struct moment *out, const struct opts *o, struct pitr_err *err)
{
    const char *id = opts_text(o, OPT_SNAPSHOT);

    *out = (struct moment){.kind = MOMENT_LATEST};
    if (moments_named(o) > 1)
        return pitr_fail(err, PITR_USAGE,
                         "give only one of --to, --before, --snapshot and --latest");
    if (moments_named(o) == 0 && !opts_has(o, OPT_BACKUP_PATH))
        return pitr_fail(err, PITR_USAGE,
                         "which moment? give one of --to TIME, --before SECS,INC, "
                         "--snapshot ID and --latest");
    if (opts_has(o, OPT_TO) && moment_parse(out, opts_text(o, OPT_TO), err) != PITR_OK)
        return pitr_wrap(err, "--to");
    if (opts_has(o, OPT_BEFORE) &&
        moment_parse_before(out, opts_text(o, OPT_BEFORE), err) != PITR_OK)
        return pitr_wrap(err, "--before");
    if (opts_has(o, OPT_LATEST))
        out->kind = MOMENT_LAST_SNAPSHOT;
    if (id == NULL)
        return PITR_OK;
    out->kind = MOMENT_SNAPSHOT;
    if (strcmp(id, "latest") == 0)
        out->kind = MOMENT_LAST_SNAPSHOT;
    else if (strlen(id) >= sizeof out->id)
        return pitr_fail(err, PITR_GAP,
                         "--snapshot %.40s: there is no such snapshot; see pitr "
                         "list",
                         id);
    else
        snprintf(out->id, sizeof out->id, "%s", id);
    return PITR_OK;
}

static enum pitr_rc
open_at(struct app *app, const char *path, bool writes, struct repo **out, struct pitr_err *err)
{
    if (app_repo_at(app, path, writes ? REPO_WRITE : REPO_READ, out, err) == PITR_OK)
        return PITR_OK;
    return err->rc == PITR_DENIED ? app_repo_at(app, path, REPO_READ, out, err) : err->rc;
}

/* --backup-path is a repository or a mongodump directory; *dump_dir is set for the latter. */
static enum pitr_rc
open_backup(struct app *app, bool writes, struct repo **repo, const char **dump_dir,
            struct pitr_err *err)
{
    const char *path = opts_text(&app->opts, OPT_BACKUP_PATH);
    PITR_AUTO(str_freep) char *mark = NULL;
    bool is_repo, exists;

    *dump_dir = NULL;
    if (path == NULL && app->config.repo == NULL)
        return app_repo(app, REPO_READ, repo, err);
    if (path == NULL)
        return open_at(app, app->config.repo, writes, repo, err);
    if (fs_join(&mark, path, "repository", err) != PITR_OK ||
        fs_exists(&exists, path, err) != PITR_OK || fs_exists(&is_repo, mark, err) != PITR_OK)
        return err->rc;
    if (!exists)
        return pitr_fail(err, PITR_NOTFOUND, "--backup-path %s: there is nothing there", path);
    if (is_repo)
        return open_at(app, path, writes, repo, err);
    if (moments_named(&app->opts) > 0)
        return pitr_fail(err, PITR_USAGE,
                         "--backup-path %s: this is no repository, and a mongodump directory holds "
                         "one moment only; leave out --to, --before, --snapshot and --latest",
                         path);
    *dump_dir = path;
    return PITR_OK;
}

enum pitr_rc
scope_read(struct scope *out, struct app *app, bool writes, struct pitr_err *err)
{
    const struct opts *o = &app->opts;

    out->selection = (struct selection){.ns = o->values[OPT_NS].at,
                                        .nns = o->values[OPT_NS].len,
                                        .exclude_ns = o->values[OPT_EXCLUDE_NS].at,
                                        .nexclude_ns = o->values[OPT_EXCLUDE_NS].len};
    if (parse_moment(&out->moment, o, err) != PITR_OK ||
        check_patterns(o, OPT_NS, "--ns", err) != PITR_OK ||
        check_patterns(o, OPT_EXCLUDE_NS, "--exclude-ns", err) != PITR_OK ||
        parse_renames(out, &o->values[OPT_RENAME], err) != PITR_OK)
        return err->rc;
    return open_backup(app, writes, &out->repo, &out->dump_dir, err);
}
