#include "cli/commands.h"
#include "engine/tailing.h"

static void
stop_tailing(void *arg)
{
    tailing_stop(arg);
}

static void
print_json(struct text *out, const struct tail_result *r, const struct pitr_err *failure)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    json_ts(&j, "first", r->first.ts);
    json_ts(&j, "last", r->last.ts);
    json_count(&j, "entries", r->entries);
    json_count(&j, "operations", r->operations);
    json_count(&j, "bytes", r->bytes);
    json_count(&j, "segments", r->segments);
    json_count(&j, "gaps", r->gaps);
    if (failure != NULL)
        json_error(&j, failure);
    json_object_end(&j);
}

static void
print_text(struct text *out, const struct tail_result *r)
{
    char a[AMOUNT_LEN], b[AMOUNT_LEN], c[AMOUNT_LEN], from[MOMENT_TEXT_LEN], to[MOMENT_TEXT_LEN];

    if (r->entries == 0) {
        text_add(out, "nothing new to capture\n");
        return;
    }
    text_add(out, "captured    %s operations, %s, in %s segments\n", format_count(a, r->operations),
             format_bytes(b, r->bytes), format_count(c, r->segments));
    text_add(out, "from        %s\n", format_moment(from, r->first.ts));
    text_add(out, "to          %s\n", format_moment(to, r->last.ts));
}

enum pitr_rc
cmd_tail(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(mongo_freep) struct mongo *mongo = NULL;
    PITR_AUTO(tailing_freep) struct tailing *tailing = NULL;
    struct tail_result result;
    struct pitr_err print_err;
    enum pitr_rc rc;

    if (app_repo(app, REPO_WRITE, &repo, err) != PITR_OK || app_source(app, &mongo, err) != PITR_OK)
        return err->rc;
    if (tailing_open(&tailing,
                     &(struct tailing_opts){.repo = repo,
                                            .mongo = mongo,
                                            .log = app_log(app),
                                            .once = opts_has(&app->opts, OPT_ONCE),
                                            .interval_ms = app->config.tail_interval * 1000},
                     err) != PITR_OK)
        return err->rc;
    signals_on_stop(app->signals, stop_tailing, tailing);
    rc = tailing_run(tailing, &result, err);
    signals_on_stop(app->signals, NULL, NULL);
    if (rc != PITR_OK && rc != PITR_GAP)
        return rc;
    if (app->is_json)
        print_json(&out, &result, rc == PITR_OK ? NULL : err);
    else
        print_text(&out, &result);
    if (app_print(app, &out, &print_err) != PITR_OK) {
        *err = print_err;
        return err->rc;
    }
    return rc;
}
