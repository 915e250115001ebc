#include "cli/commands.h"
#include "cli/report.h"
#include "engine/import.h"

static void
print_json(struct text *out, const struct import_result *r)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    report_snapshot_json(&j, &r->manifest);
    json_double(&j, "seconds", r->seconds);
    json_object_end(&j);
}

static void
print_text(struct text *out, const struct import_result *r)
{
    const struct manifest *m = &r->manifest;
    char a[AMOUNT_LEN], b[AMOUNT_LEN], c[AMOUNT_LEN];

    text_add(out, "snapshot    %s\n", m->id);
    text_add(out, "state of    the dump; restore it with --snapshot %s\n", m->id);
    text_add(out, "read        %s documents of %s collections, %s\n", format_count(a, m->documents),
             format_count(b, m->collections), format_bytes(c, m->bytes_raw));
    text_add(out, "new         %s of data, %s stored\n", format_bytes(a, m->bytes_new),
             format_bytes(b, m->bytes_stored));
    text_add(out, "took        %.1f s\n", r->seconds);
}

enum pitr_rc
cmd_import(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(import_result_release) struct import_result result = {0};
    struct import_opts opts = {.job = &app->job,
                               .dir = app->opts.args.at[0],
                               .label = opts_text(&app->opts, OPT_LABEL),
                               .codec = app->config.codec,
                               .level = app->config.level};

    if (app_repo(app, REPO_WRITE, &repo, err) != PITR_OK)
        return err->rc;
    opts.repo = repo;
    app_progress(app);
    if (import_run(&opts, &result, err) != PITR_OK) {
        app_progress_end(app);
        return err->rc;
    }
    if (app->is_json)
        print_json(&out, &result);
    else
        print_text(&out, &result);
    return app_print(app, &out, err);
}
