#include <inttypes.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "service/status.h"

static void
status_json(struct text *out, const struct status *s, const struct pitr_err *failure)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    json_bool(&j, "healthy", s->healthy);
    if (s->rpo_seconds < 0)
        json_null(&j, "rpo_seconds");
    else
        json_int(&j, "rpo_seconds", s->rpo_seconds);
    json_time_ms(&j, "last_success", s->last_success_ms);
    json_bool(&j, "tail_running", s->tail_running);
    json_count(&j, "snapshots", s->history.nsnapshots);
    report_windows_json(&j, &s->history);
    json_array(&j, "problems");
    for (size_t i = 0; i < s->problems.len; i++)
        json_text(&j, NULL, s->problems.at[i]);
    json_array_end(&j);
    if (failure != NULL)
        json_error(&j, failure);
    json_object_end(&j);
}

static void
status_text(struct text *out, const struct status *s, int64_t now_ms)
{
    char a[AMOUNT_LEN], b[AMOUNT_LEN];

    text_add(out, "%s\n", s->healthy ? "healthy" : "UNHEALTHY");
    for (size_t i = 0; i < s->problems.len; i++)
        text_add(out, "problem     %s\n", s->problems.at[i]);
    if (s->last_success_ms == 0)
        text_add(out, "snapshot    none\n");
    else
        text_add(out, "snapshot    %s, %s ago\n", format_time_ms(a, s->last_success_ms),
                 format_seconds(b, (now_ms - s->last_success_ms) / 1000));
    text_add(out, "capture     %s%s%s\n", s->tail_running ? "running" : "not running",
             s->rpo_seconds < 0 ? ", nothing captured"
                                : ", the newest captured operation is this old: ",
             s->rpo_seconds < 0 ? "" : format_seconds(a, s->rpo_seconds));
    report_windows(out, &s->history);
}

enum pitr_rc
cmd_status(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(status_release) struct status s = {0};
    const struct status_limits limits = {.rpo_seconds = app->config.rpo,
                                         .snapshot_seconds = app->config.snapshot_age};
    int64_t now_ms = clock_wall_ms();
    struct pitr_err print_err;
    enum pitr_rc rc = PITR_OK;

    if (app_repo(app, REPO_READ, &repo, err) != PITR_OK ||
        status_read(&s, repo, &limits, now_ms, err) != PITR_OK)
        return err->rc;
    if (!s.healthy)
        rc = pitr_fail(err, PITR_UNHEALTHY, "unhealthy: %s%s",
                       s.problems.len > 0 ? s.problems.at[0] : "see pitr status",
                       s.problems.len > 1 ? " (and more: see pitr status)" : "");
    if (app->is_json)
        status_json(&out, &s, rc == PITR_OK ? NULL : err);
    else
        status_text(&out, &s, now_ms);
    if (app_print(app, &out, &print_err) == PITR_OK)
        return rc;
    *err = print_err;
    return err->rc;
}
