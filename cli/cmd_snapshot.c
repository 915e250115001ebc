#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/report.h"
#include "engine/snapshot.h"

static enum pitr_rc
check_mode(const struct app *app, struct pitr_err *err)
{
    const char *mode = opts_text(&app->opts, OPT_MODE);

    if (mode == NULL || strcmp(mode, "auto") == 0 || strcmp(mode, "scan") == 0)
        return PITR_OK;
    return pitr_fail(err, PITR_USAGE, "--mode %s: this version of pitr has auto and scan", mode);
}

static void
print_json(struct text *out, const struct snapshot_result *r)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    report_snapshot_json(&j, &r->manifest);
    json_count(&j, "oplog_entries", r->oplog_entries);
    json_bool(&j, "gap_found", r->gap_found);
    json_double(&j, "seconds", r->seconds);
    json_object_end(&j);
}

static void
print_text(struct text *out, const struct snapshot_result *r)
{
    const struct manifest *m = &r->manifest;
    char a[AMOUNT_LEN], b[AMOUNT_LEN], c[AMOUNT_LEN], when[MOMENT_TEXT_LEN];

    text_add(out, "snapshot    %s\n", m->id);
    if (m->pitr)
        text_add(out, "state of    %s\n", format_moment(when, m->t_end.ts));
    else
        text_add(out, "state of    the time it was taken; without a replica set it is not exact\n");
    text_add(out, "read        %s documents of %s collections, %s\n", format_count(a, m->documents),
             format_count(b, m->collections), format_bytes(c, m->bytes_raw));
    text_add(out, "new         %s of data, %s stored\n", format_bytes(a, m->bytes_new),
             format_bytes(b, m->bytes_stored));
    text_add(out, "took        %.1f s\n", r->seconds);
    if (r->gap_found)
        text_add(out, "note        oplog entries were lost since the last capture: 'pitr list' "
                      "shows the gap\n");
}

static enum pitr_rc
take(struct app *app, struct repo *repo, struct mongo *mongo, struct snapshot_result *result,
     struct pitr_err *err)
{
    const struct config *c = &app->config;
    struct snapshot_opts opts = {.repo = repo,
                                 .mongo = mongo,
                                 .job = &app->job,
                                 .label = opts_text(&app->opts, OPT_LABEL),
                                 .exclude = c->exclude,
                                 .nexclude = c->nexclude,
                                 .codec = c->codec,
                                 .level = c->level,
                                 .tail_interval_ms = c->tail_interval * 1000};
    struct pitr_err outcome, record_err;
    enum pitr_rc rc;

    app_progress(app);
    rc = snapshot_take(&opts, result, err);
    outcome = rc == PITR_OK ? (struct pitr_err){.rc = PITR_OK} : *err;
    /* A second snapshot beside a running one, or one of another cluster, was a mistake of its
     * caller and says nothing about the health of the backup. */
    if (rc != PITR_BUSY && rc != PITR_USAGE &&
        snapshot_record(repo, result, &outcome, &record_err) != PITR_OK)
        log_event(app_log(app), LOG_WARNING, "snapshot", "%s", record_err.msg);
    app_progress_end(app);
    return rc;
}

enum pitr_rc
cmd_snapshot(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(mongo_freep) struct mongo *mongo = NULL;
    PITR_AUTO(snapshot_result_release) struct snapshot_result result = {0};

    if (check_mode(app, err) != PITR_OK || app_repo(app, REPO_WRITE, &repo, err) != PITR_OK ||
        app_source(app, &mongo, err) != PITR_OK || take(app, repo, mongo, &result, err) != PITR_OK)
        return err->rc;
    if (app->is_json)
        print_json(&out, &result);
    else
        print_text(&out, &result);
    return app_print(app, &out, err);
}
