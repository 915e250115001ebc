#include "cli/commands.h"
#include "engine/check.h"

static void
check_json(struct text *out, const struct check_report *r, const struct pitr_err *failure)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    json_bool(&j, "ok", check_is_ok(r));
    json_array(&j, "checks");
    for (size_t i = 0; i < r->len; i++) {
        json_object(&j, NULL);
        json_text(&j, "name", r->items[i].name);
        json_text(&j, "state", check_state_name(r->items[i].state));
        json_text(&j, "detail", r->items[i].detail);
        json_object_end(&j);
    }
    json_array_end(&j);
    if (failure != NULL)
        json_error(&j, failure);
    json_object_end(&j);
}

static void
check_text(struct text *out, const struct check_report *r)
{
    for (size_t i = 0; i < r->len; i++)
        text_add(out, "%-7s  %-11s  %s\n", check_state_name(r->items[i].state), r->items[i].name,
                 r->items[i].detail);
}

/* The first problem is the reason for the exit code. */
static enum pitr_rc
judge(const struct check_report *r, struct pitr_err *err)
{
    for (size_t i = 0; i < r->len; i++)
        if (r->items[i].state == CHECK_PROBLEM)
            return pitr_fail(err, PITR_UNHEALTHY, "check: %s: %s", r->items[i].name,
                             r->items[i].detail);
    return PITR_OK;
}

enum pitr_rc
cmd_check(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(mongo_freep) struct mongo *mongo = NULL;
    struct check_report report;
    struct pitr_err print_err;
    enum pitr_rc rc;

    if (app_repo(app, REPO_READ, &repo, err) != PITR_OK ||
        app_source(app, &mongo, err) != PITR_OK || check_run(&report, repo, mongo, err) != PITR_OK)
        return err->rc;
    rc = judge(&report, err);
    if (app->is_json)
        check_json(&out, &report, rc == PITR_OK ? NULL : err);
    else
        check_text(&out, &report);
    if (app_print(app, &out, &print_err) == PITR_OK)
        return rc;
    *err = print_err;
    return err->rc;
}
