#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/document.h"
#include "cli/moment_word.h"
#include "engine/diff.h"
#include "mongo/bsonio.h"

enum { WRITE_AT = 64 << 10 };

struct output {
    struct app *app;
    struct text text; /* what is not written yet */
    bool at_once;     /* somebody watches: nothing is held back */
    char *ns;         /* whose header stands above; owned, NULL before the first */
};

static void
output_release(struct output *o)
{
    text_release(&o->text);
    free(o->ns);
}

static enum pitr_rc
flush_if_due(struct output *o, struct pitr_err *err)
{
    if (!o->at_once && o->text.buf.len < WRITE_AT)
        return text_check(&o->text, err);
    return app_stream(o->app, &o->text, err);
}

static const char *const changes[] = {
    [DIFF_DOC_ADDED] = "added",
    [DIFF_DOC_REMOVED] = "removed",
    [DIFF_DOC_CHANGED] = "changed",
    [DIFF_COLL_ADDED] = "collection_added",
    [DIFF_COLL_REMOVED] = "collection_removed",
    [DIFF_COLL_RENAMED] = "collection_renamed",
    [DIFF_COLL_REPLACED] = "collection_replaced",
    [DIFF_OPTIONS] = "options_changed",
    [DIFF_INDEX_ADDED] = "index_added",
    [DIFF_INDEX_REMOVED] = "index_removed",
    [DIFF_INDEX_CHANGED] = "index_changed",
    [DIFF_VIEW_ADDED] = "view_added",
    [DIFF_VIEW_REMOVED] = "view_removed",
    [DIFF_VIEW_CHANGED] = "view_changed",
};

static bool
is_lone_collection(const struct diff_item *item)
{
    return item->kind == DIFF_COLL_ADDED || item->kind == DIFF_COLL_REMOVED;
}

static void
item_json(struct text *out, const struct diff_item *item)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    json_text(&j, "ns", item->ns);
    json_text(&j, "change", changes[item->kind]);
    if (item->is_buckets)
        json_bool(&j, "buckets", true);
    if (item->was != NULL)
        json_text(&j, "was", item->was);
    if (is_lone_collection(item))
        json_count(&j, "documents", item->documents);
    if (item->id_doc != NULL)
        document_id_json(&j, item->id_doc, item->id_doc_len);
    document_json(&j, "before", item->before, item->before_len);
    document_json(&j, "after", item->after, item->after_len);
    json_object_end(&j);
    text_add(out, "\n");
}

/* '+', '-' or '~'. */
static char
sign_of(const struct diff_item *item)
{
    switch (item->kind) {
    case DIFF_DOC_ADDED:
    case DIFF_INDEX_ADDED:
    case DIFF_VIEW_ADDED:
        return '+';
    case DIFF_DOC_REMOVED:
    case DIFF_INDEX_REMOVED:
    case DIFF_VIEW_REMOVED:
        return '-';
    default:
        return '~';
    }
}

static void
index_text(struct text *out, const struct diff_item *item)
{
    const uint8_t *spec = item->after != NULL ? item->after : item->before;
    size_t len = item->after != NULL ? item->after_len : item->before_len;
    struct pitr_err ignored;
    const char *name = "?";
    size_t name_len = 1;
    struct belem e;
    bool found;

    if (bson_find(spec, len, "name", &found, &e, &ignored) == PITR_OK && found)
        (void)belem_string(&e, &name, &name_len);
    text_add(out, "  index %c %.*s", sign_of(item), (int)name_len, name);
}

static void
document_text(struct text *out, const struct diff_item *item)
{
    text_add(out, "  %c ", sign_of(item));
    document_print_id(out, item->id_doc, item->id_doc_len);
}

static void
item_text(struct text *out, const struct diff_item *item)
{
    char a[AMOUNT_LEN];

    switch (item->kind) {
    case DIFF_COLL_ADDED:
    case DIFF_COLL_REMOVED:
        text_add(out, "  the collection was %s, %s documents",
                 item->kind == DIFF_COLL_ADDED ? "added" : "removed",
                 format_count(a, item->documents));
        break;
    case DIFF_COLL_RENAMED:
        text_add(out, "  renamed from %s", item->was);
        break;
    case DIFF_COLL_REPLACED:
        text_add(out, "  replaced by another collection of this name");
        break;
    case DIFF_OPTIONS:
        text_add(out, "  options");
        break;
    case DIFF_VIEW_ADDED:
    case DIFF_VIEW_REMOVED:
    case DIFF_VIEW_CHANGED:
        text_add(out, "  view %c", sign_of(item));
        break;
    case DIFF_INDEX_ADDED:
    case DIFF_INDEX_REMOVED:
    case DIFF_INDEX_CHANGED:
        index_text(out, item);
        break;
    default:
        document_text(out, item);
    }
    if (item->before != NULL && item->after != NULL) {
        text_add(out, "  ");
        document_print_changes(out, item->before, item->before_len, item->after, item->after_len);
    }
    text_add(out, "\n");
}

static enum pitr_rc
begin_namespace(struct output *o, const struct diff_item *item, struct pitr_err *err)
{
    if (o->ns != NULL && strcmp(o->ns, item->ns) == 0)
        return PITR_OK;
    text_add(&o->text, "%s%s%s\n", o->ns == NULL ? "" : "\n", item->ns,
             item->is_buckets ? " (time-series: its documents are buckets)" : "");
    free(o->ns);
    o->ns = strdup(item->ns);
    return o->ns == NULL ? pitr_fail(err, PITR_NOMEM, "namespace %s", item->ns) : PITR_OK;
}

static enum pitr_rc
print_item(void *arg, const struct diff_item *item, struct pitr_err *err)
{
    struct output *o = arg;

    if (o->app->is_json) {
        item_json(&o->text, item);
    } else {
        if (begin_namespace(o, item, err) != PITR_OK)
            return err->rc;
        item_text(&o->text, item);
    }
    return flush_if_due(o, err);
}

static void
counts_text(struct text *out, const struct diff_counts *n)
{
    char a[AMOUNT_LEN], b[AMOUNT_LEN], c[AMOUNT_LEN];

    text_add(out, "%s added, %s removed, %s changed", format_count(a, n->added),
             format_count(b, n->removed), format_count(c, n->changed));
}

static enum pitr_rc
print_end(void *arg, const char *ns, const struct diff_counts *counts, struct pitr_err *err)
{
    struct output *o = arg;

    (void)ns;
    if (o->app->is_json)
        return PITR_OK;
    text_add(&o->text, "  documents: ");
    counts_text(&o->text, counts);
    text_add(&o->text, "\n");
    return flush_if_due(o, err);
}

static void
summary_json(struct text *out, const struct diff_result *r)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    json_bool(&j, "summary", true);
    json_ts(&j, "from", r->from.to);
    json_text(&j, "from_snapshot", r->from.snapshot);
    json_ts(&j, "to", r->to.to);
    json_text(&j, "to_snapshot", r->to.snapshot);
    json_count(&j, "collections", r->collections);
    json_count(&j, "differences", r->differences);
    json_count(&j, "added", r->documents.added);
    json_count(&j, "removed", r->documents.removed);
    json_count(&j, "changed", r->documents.changed);
    json_bool(&j, "complete", !r->is_cut);
    json_double(&j, "seconds", r->seconds);
    json_object_end(&j);
    text_add(out, "\n");
}

static void
moment_text(struct text *out, const char *label, const struct diff_moment *m)
{
    char when[MOMENT_TEXT_LEN];

    text_add(out, "%s%s%ssnapshot %s\n", label, m->to == 0 ? "" : format_moment(when, m->to),
             m->to == 0 ? "" : ", from ", m->snapshot);
}

static void
summary_text(struct text *out, const struct diff_result *r)
{
    char a[AMOUNT_LEN];

    text_add(out, "%s", r->differences > 0 ? "\n" : "");
    moment_text(out, "from        ", &r->from);
    moment_text(out, "to          ", &r->to);
    text_add(out, "compared    %s collections\n", format_count(a, r->collections));
    if (r->differences == 0) {
        text_add(out, "result      no difference\n");
        return;
    }
    text_add(out, "documents   ");
    counts_text(out, &r->documents);
    text_add(out, "\nresult      %s%s differences%s\n", r->is_cut ? "the first " : "",
             format_count(a, r->differences), r->is_cut ? "; there are more" : "");
}

static enum pitr_rc
read_limit(uint64_t *out, const char *text, struct pitr_err *err)
{
    char *end;

    *out = 0;
    if (text == NULL)
        return PITR_OK;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (text[strspn(text, "0123456789")] != '\0' || end == text || errno != 0 || *out == 0)
        return pitr_fail(err, PITR_USAGE, "--limit %.40s: give a whole number, 1 or more", text);
    return PITR_OK;
}

static enum pitr_rc
check_patterns(const struct opt_values *patterns, const char *name, struct pitr_err *err)
{
    for (size_t i = 0; i < patterns->len; i++)
        if (pattern_check(patterns->at[i], err) != PITR_OK)
            return pitr_wrap(err, "%s", name);
    return PITR_OK;
}

static enum pitr_rc
read_opts(struct diff_opts *out, const struct opts *o, struct pitr_err *err)
{
    const struct opt_values *ns = &o->values[OPT_NS], *exclude = &o->values[OPT_EXCLUDE_NS];

    out->selection = (struct selection){
        .ns = ns->at, .nns = ns->len, .exclude_ns = exclude->at, .nexclude_ns = exclude->len};
    if (moment_word(&out->from, o->args.at[0], err) != PITR_OK)
        return pitr_wrap(err, "FROM");
    if (moment_word(&out->to, o->args.at[1], err) != PITR_OK)
        return pitr_wrap(err, "TO");
    if (check_patterns(ns, "--ns", err) != PITR_OK ||
        check_patterns(exclude, "--exclude-ns", err) != PITR_OK)
        return err->rc;
    return read_limit(&out->limit, opts_text(o, OPT_LIMIT), err);
}

/* What was found before a failure is printed before it. */
static enum pitr_rc
fail(struct output *out, const struct diff_opts *opts, struct pitr_err *err)
{
    struct pitr_err second;

    /* A snapshot that is not there is a moment that cannot be restored. */
    if (err->rc == PITR_NOTFOUND &&
        (opts->from.kind == MOMENT_SNAPSHOT || opts->to.kind == MOMENT_SNAPSHOT))
        err->rc = PITR_GAP;
    if (app_stream(out->app, &out->text, &second) != PITR_OK)
        log_event(app_log(out->app), LOG_DEBUG, "diff", "%s", second.msg);
    return err->rc;
}

enum pitr_rc
cmd_diff(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(output_release)
    struct output out = {.app = app, .at_once = isatty(STDOUT_FILENO) == 1};
    struct diff_result result = {0};
    struct diff_opts opts = {
        .job = &app->job, .memory = app->config.memory, .sink = {print_item, print_end, &out}};

    if (read_opts(&opts, &app->opts, err) != PITR_OK ||
        app_repo(app, REPO_READ, &repo, err) != PITR_OK)
        return err->rc;
    opts.repo = repo;
    app_progress(app);
    if (diff_run(&opts, &result, err) != PITR_OK)
        return fail(&out, &opts, err);
    if (app->is_json)
        summary_json(&out.text, &result);
    else
        summary_text(&out.text, &result);
    if (app_stream(app, &out.text, err) != PITR_OK)
        return err->rc;
    app->has_answered = app->is_json;
    return PITR_OK;
}
