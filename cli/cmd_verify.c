#include <string.h>

#include "cli/commands.h"
#include "engine/verify.h"

/* What verification says, kept until the end. */
struct findings {
    struct fs_names lines[FINDING_UNPROVEN + 1];
    struct pitr_err err; /* the first that could not be kept, or rc PITR_OK */
};

static void
findings_release(struct findings *f)
{
    for (size_t i = 0; i < sizeof f->lines / sizeof f->lines[0]; i++)
        fs_names_release(&f->lines[i]);
}

static void
keep(void *arg, enum finding finding, const char *what)
{
    struct findings *f = arg;
    struct pitr_err err;

    if (fs_names_add(&f->lines[finding], what, &err) != PITR_OK)
        f->err = err;
}

static void
names_json(struct json *j, const char *key, const struct fs_names *names)
{
    json_array(j, key);
    for (size_t i = 0; i < names->len; i++)
        json_text(j, NULL, names->at[i]);
    json_array_end(j);
}

static void
print_json(struct text *out, const struct verify_result *r, const struct findings *f,
           const struct pitr_err *failure)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    json_bool(&j, "ok", failure == NULL);
    json_count(&j, "snapshots", r->snapshots);
    json_count(&j, "packs", r->packs);
    json_count(&j, "chunks", r->chunks);
    json_count(&j, "segments", r->segments);
    json_count(&j, "bytes", r->bytes);
    json_count(&j, "gaps", r->gaps);
    names_json(&j, "gap_details", &f->lines[FINDING_GAP]);
    names_json(&j, "proven", &f->lines[FINDING_PROVEN]);
    names_json(&j, "unproven", &f->lines[FINDING_UNPROVEN]);
    names_json(&j, "problems", &f->lines[FINDING_PROBLEM]);
    if (failure != NULL)
        json_error(&j, failure);
    json_object_end(&j);
}

/* The last line: what may be relied on now. */
static const char *
verdict(const struct verify_result *r, const struct verify_opts *o)
{
    if (r->problems > 0)
        return "DAMAGED";
    if (o->data)
        return "good: every byte was read";
    if (o->replay && r->proven > 0)
        return "good: capture and replay are proven by what the snapshots hold";
    if (o->replay)
        return "good, but nothing could be proven: that takes two scanned snapshots with the oplog "
               "between them";
    return "good, as far as can be told without reading data ('pitr verify --data' does)";
}

static void
print_text(struct text *out, const struct verify_result *r, const struct findings *f,
           const struct verify_opts *o)
{
    static const char *const names[] = {"problem   ", "known gap ", "proven    ", "not proven"};
    char a[AMOUNT_LEN], b[AMOUNT_LEN], c[AMOUNT_LEN], d[AMOUNT_LEN];

    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        for (size_t i = 0; i < f->lines[k].len; i++)
            text_add(out, "%s  %s\n", names[k], f->lines[k].at[i]);
    text_add(out, "checked     %s snapshots, %s chunks in %s packs, %s oplog segments\n",
             format_count(a, r->snapshots), format_count(b, r->chunks), format_count(c, r->packs),
             format_count(d, r->segments));
    text_add(out, "%s  %s\n", o->data ? "read      " : "stored    ", format_bytes(a, r->bytes));
    text_add(out, "result      %s\n", verdict(r, o));
}

enum pitr_rc
cmd_verify(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(findings_release) struct findings findings = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    struct verify_result result;
    const struct opts *o = &app->opts;
    struct verify_opts opts = {.job = &app->job,
                               .data = opts_has(o, OPT_DATA),
                               .replay = opts_has(o, OPT_REPLAY),
                               .memory = app->config.memory,
                               .report = keep,
                               .arg = &findings};
    struct pitr_err print_err;
    enum pitr_rc rc;

    if (opts.data + opts.replay + opts_has(o, OPT_QUICK) > 1)
        return pitr_fail(err, PITR_USAGE, "verify: give only one of --quick, --data and --replay");
    if (app_repo(app, REPO_READ, &repo, err) != PITR_OK)
        return err->rc;
    opts.repo = repo;
    memset(&result, 0, sizeof result);
    app_progress(app);
    rc = verify_run(&opts, &result, err);
    app_progress_end(app);
    if (rc == PITR_OK && findings.err.rc != PITR_OK) {
        *err = findings.err;
        return err->rc;
    }
    if (rc != PITR_OK && rc != PITR_CORRUPT)
        return rc;
    if (findings.lines[FINDING_PROBLEM].len > 0)
        pitr_fail(
            err, PITR_CORRUPT,
            "verify: %s%s; bring that file back from a copy of the repository, or begin a new "
            "repository with a new snapshot",
            findings.lines[FINDING_PROBLEM].at[0],
            findings.lines[FINDING_PROBLEM].len > 1 ? ", and more" : "");
    if (app->is_json)
        print_json(&out, &result, &findings, rc == PITR_OK ? NULL : err);
    else
        print_text(&out, &result, &findings, &opts);
    if (app_print(app, &out, &print_err) == PITR_OK)
        return rc;
    *err = print_err;
    return err->rc;
}
