#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/scope.h"
#include "engine/restore.h"

/* A line from the terminal, cut at the size of `line`; false at its end or when asked to stop. */
static bool
read_line(char *line, size_t size, const atomic_bool *stop)
{
    enum { POLL_MS = 200 };
    size_t len = 0;
    char c = 0;

    while (!atomic_load(stop)) {
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = poll(&in, 1, POLL_MS);

        if (ready == 0 || (ready < 0 && errno == EINTR))
            continue;
        if (ready < 0 || read(STDIN_FILENO, &c, 1) != 1)
            return false;
        if (c == '\n')
            break;
        if (len + 1 < size)
            line[len++] = c;
    }
    line[len] = '\0';
    return !atomic_load(stop);
}

/* --drop is consent; somebody at a terminal is asked once more, with the names in front of them. */
static bool
confirm_drop(void *arg, const struct fs_names *dropped)
{
    struct app *app = arg;
    char line[16];
    bool is_sure;

    if (dropped->len == 0 || opts_has(&app->opts, OPT_YES) || isatty(STDIN_FILENO) != 1 ||
        isatty(STDERR_FILENO) != 1)
        return true;
    progress_pause(app->progress);
    fprintf(stderr, "These will be dropped:\n");
    for (size_t i = 0; i < dropped->len; i++)
        fprintf(stderr, "    %s\n", dropped->at[i]);
    fprintf(stderr, "Type the word drop to go on: ");
    is_sure = read_line(line, sizeof line, &app->stop) && strcmp(line, "drop") == 0;
    progress_resume(app->progress);
    return is_sure;
}

static void
print_json(struct text *out, const struct restore_result *r, bool is_plan)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    json_text(&j, "snapshot", r->snapshot[0] == '\0' ? NULL : r->snapshot);
    json_ts(&j, "to", r->to);
    json_bool(&j, "plan", is_plan);
    json_count(&j, "segments", r->segments);
    json_count(&j, "operations", r->operations);
    json_count(&j, "documents", r->documents);
    json_count(&j, "bytes", r->bytes);
    json_count(&j, "collections", r->ncolls);
    json_double(&j, "seconds", r->seconds);
    if (is_plan) {
        json_bool(&j, "needs_drop", r->needs_drop);
        json_double(&j, "expected_seconds", r->expected_seconds);
        json_bool(&j, "expected_is_measured", r->expected_is_measured);
    }
    json_bool(&j, "verified", r->verified);
    json_text(&j, "pre_snapshot", r->pre_snapshot[0] == '\0' ? NULL : r->pre_snapshot);
    json_count(&j, "prepared_left_out", r->prepared_left_out);
    json_array(&j, "dropped");
    for (size_t i = 0; i < r->dropped.len; i++)
        json_text(&j, NULL, r->dropped.at[i]);
    json_array_end(&j);
    json_array(&j, "namespaces");
    for (size_t i = 0; i < r->ncolls; i++) {
        char print[FINGERPRINT_TEXT_LEN];

        fingerprint_format(print, &r->colls[i].print);
        json_object(&j, NULL);
        json_text(&j, "ns", r->colls[i].ns);
        json_count(&j, "documents", r->colls[i].print.documents);
        json_count(&j, "bytes", r->colls[i].print.bytes);
        json_text(&j, "fingerprint", print);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
}

static void
print_table(struct text *out, const struct restore_result *r)
{
    static const char *const head[] = {"NAMESPACE", ">DOCUMENTS", ">SIZE", "FINGERPRINT"};
    PITR_AUTO(table_release) struct table table = {.head = head, .columns = 4};
    char a[AMOUNT_LEN], print[FINGERPRINT_TEXT_LEN];

    for (size_t i = 0; i < r->ncolls; i++) {
        fingerprint_format(print, &r->colls[i].print);
        table_cell(&table, "%s", r->colls[i].ns);
        table_cell(&table, "%s", format_count(a, r->colls[i].print.documents));
        table_cell(&table, "%s", format_bytes(a, r->colls[i].print.bytes));
        table_cell(&table, "%s", print);
    }
    text_add(out, "\n");
    table_print(out, &table);
}

static void
print_text(struct text *out, const struct restore_result *r, bool is_plan)
{
    char a[AMOUNT_LEN], b[AMOUNT_LEN], c[AMOUNT_LEN], when[MOMENT_TEXT_LEN];

    if (is_plan)
        text_add(out, "plan only: everything was checked, nothing was changed\n");
    if (r->to != 0)
        text_add(out, "last operation  %s\n", format_moment(when, r->to));
    if (r->snapshot[0] != '\0')
        text_add(out, "base snapshot   %s\n", r->snapshot);
    if (r->pre_snapshot[0] != '\0')
        text_add(out, "state before    snapshot %s\n", r->pre_snapshot);
    text_add(out, "%s  %s operations of %s oplog segments\n",
             is_plan ? "would replay  " : "replayed      ", format_count(a, r->operations),
             format_count(b, r->segments));
    text_add(out, "%s  %s documents of %s collections, %s\n",
             is_plan ? "would load    " : "loaded        ", format_count(a, r->documents),
             format_count(b, r->ncolls), format_bytes(c, r->bytes));
    for (size_t i = 0; i < r->dropped.len; i++)
        text_add(out, "%s  %s\n",
                 i > 0     ? "              "
                 : is_plan ? "would drop    "
                           : "dropped       ",
                 r->dropped.at[i]);
    if (r->needs_drop)
        text_add(out,
                 "note            the target holds data: without --drop the restore is refused\n");
    if (!is_plan)
        text_add(out, "verified        %s\n",
                 r->verified ? "yes: counts, indexes and contents are those of that moment" : "no");
    if (r->prepared_left_out > 0)
        text_add(out,
                 "note            %" PRIu64 " transactions were prepared at that moment and their "
                 "end was never captured; they are left out\n",
                 r->prepared_left_out);
    if (is_plan)
        text_add(out, "would take      about %s%s\n",
                 format_seconds(a, (int64_t)(r->expected_seconds + 0.5)),
                 r->expected_is_measured ? ", at the pace of the last restore to this target"
                                         : " on a small machine; no restore to this target was "
                                           "measured yet");
    text_add(out, "took            %.1f s\n", r->seconds);
    if (r->ncolls > 0)
        print_table(out, r);
}

static enum pitr_rc
run(struct app *app, struct restore_opts *opts, struct restore_result *result, struct pitr_err *err)
{
    enum pitr_rc rc;

    app_progress(app);
    rc = restore_run(opts, result, err);
    app_progress_end(app);
    /* A snapshot that is not there is a moment that cannot be restored. */
    if (rc == PITR_NOTFOUND && opts->moment.kind == MOMENT_SNAPSHOT)
        rc = err->rc = PITR_GAP;
    return rc;
}

enum pitr_rc
cmd_restore(struct app *app, struct pitr_err *err)
{
    const struct opts *o = &app->opts;
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(scope_release) struct scope scope = {0};
    PITR_AUTO(mongo_freep) struct mongo *target = NULL;
    PITR_AUTO(restore_result_release) struct restore_result result = {0};
    struct restore_opts opts = {.job = &app->job,
                                .drop = opts_has(o, OPT_DROP),
                                .plan = opts_has(o, OPT_PLAN),
                                .no_verify = opts_has(o, OPT_NO_VERIFY),
                                .no_pre_snapshot = opts_has(o, OPT_NO_PRE_SNAPSHOT),
                                .connections = app->config.connections,
                                .memory = app->config.memory,
                                .confirm = confirm_drop,
                                .confirm_arg = app};

    /* A restore only reads the repository, unless it takes a snapshot first or leaves its marker:
     * one that cannot be written is good enough to try. */
    if (scope_read(&scope, app, true, err) != PITR_OK || app_target(app, &target, err) != PITR_OK)
        return err->rc;
    opts.repo = scope.repo;
    opts.dump_dir = scope.dump_dir;
    opts.moment = scope.moment;
    opts.selection = scope.selection;
    opts.target = target;
    if (run(app, &opts, &result, err) != PITR_OK)
        return err->rc;
    if (app->is_json)
        print_json(&out, &result, opts.plan);
    else
        print_text(&out, &result, opts.plan);
    return app_print(app, &out, err);
}
