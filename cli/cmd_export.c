#include <inttypes.h>

#include "cli/commands.h"
#include "cli/scope.h"
#include "engine/export.h"

static void
print_json(struct text *out, const struct export_result *r, const char *dir)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    json_text(&j, "snapshot", r->snapshot[0] == '\0' ? NULL : r->snapshot);
    json_ts(&j, "to", r->to);
    json_text(&j, "out", dir);
    json_count(&j, "segments", r->segments);
    json_count(&j, "operations", r->operations);
    json_count(&j, "documents", r->documents);
    json_count(&j, "bytes", r->bytes);
    json_count(&j, "collections", r->collections);
    json_count(&j, "views", r->views);
    json_count(&j, "users", r->users);
    json_count(&j, "roles", r->roles);
    json_count(&j, "prepared_left_out", r->prepared_left_out);
    json_double(&j, "seconds", r->seconds);
    json_object_end(&j);
}

static void
print_text(struct text *out, const struct export_result *r, const char *dir)
{
    char a[AMOUNT_LEN], b[AMOUNT_LEN], c[AMOUNT_LEN], when[MOMENT_TEXT_LEN];

    if (r->to != 0)
        text_add(out, "last operation  %s\n", format_moment(when, r->to));
    if (r->snapshot[0] != '\0')
        text_add(out, "base snapshot   %s\n", r->snapshot);
    text_add(out, "replayed        %s operations of %s oplog segments\n",
             format_count(a, r->operations), format_count(b, r->segments));
    text_add(out, "written         %s documents of %s collections, %s\n",
             format_count(a, r->documents), format_count(b, r->collections),
             format_bytes(c, r->bytes));
    text_add(out, "and             %s views, %s users, %s roles\n", format_count(a, r->views),
             format_count(b, r->users), format_count(c, r->roles));
    text_add(out, "to              %s\n", dir);
    if (r->prepared_left_out > 0)
        text_add(out,
                 "note            %" PRIu64 " transactions were prepared at that moment and their "
                 "end was never captured; they are left out\n",
                 r->prepared_left_out);
    text_add(out, "took            %.1f s\n", r->seconds);
}

enum pitr_rc
cmd_export(struct app *app, struct pitr_err *err)
{
    const struct opts *o = &app->opts;
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(scope_release) struct scope scope = {0};
    struct export_result result;
    struct export_opts opts = {
        .job = &app->job, .out = opts_text(o, OPT_OUT), .gzip = opts_has(o, OPT_GZIP)};

    if (opts.out == NULL || opts.out[0] == '\0')
        return pitr_fail(err, PITR_USAGE, "export: name the directory to write, with --out DIR");
    if (scope_read(&scope, app, false, err) != PITR_OK)
        return err->rc;
    opts.source = (struct state_source){.repo = scope.repo,
                                        .dump_dir = scope.dump_dir,
                                        .moment = scope.moment,
                                        .memory = app->config.memory};
    opts.selection = scope.selection;
    app_progress(app);
    if (export_run(&opts, &result, err) != PITR_OK) {
        app_progress_end(app);
        /* A snapshot that is not there is a moment that cannot be had. */
        if (err->rc == PITR_NOTFOUND && opts.source.moment.kind == MOMENT_SNAPSHOT)
            err->rc = PITR_GAP;
        return err->rc;
    }
    if (app->is_json)
        print_json(&out, &result, opts.out);
    else
        print_text(&out, &result, opts.out);
    return app_print(app, &out, err);
}
