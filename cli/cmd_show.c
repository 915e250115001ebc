#include <string.h>

#include "base/bytes.h"
#include "cli/commands.h"
#include "cli/doc_id.h"
#include "cli/document.h"
#include "cli/moment_word.h"
#include "cli/report.h"
#include "cli/suggest.h"
#include "engine/lookup.h"

static void
coll_json(struct json *j, const struct coll_node *c)
{
    char uuid[2 * sizeof c->uuid + 1], print[FINGERPRINT_TEXT_LEN];
    PITR_AUTO(text_release) struct text ns = {0};

    hex_encode(uuid, c->uuid, sizeof c->uuid);
    fingerprint_format(print, &c->print);
    text_add(&ns, "%s.%s", c->db, c->name);
    text_bytes(&ns, "", 1);
    json_object(j, NULL);
    json_text(j, "ns", (const char *)ns.buf.data);
    json_text(j, "uuid", uuid);
    json_count(j, "documents", c->print.documents);
    json_count(j, "bytes", c->print.bytes);
    json_count(j, "chunks", c->chunks);
    json_text(j, "fingerprint", print);
    json_object_end(j);
}

static void
snapshot_json(struct text *out, const struct manifest *m)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    report_snapshot_json(&j, m);
    json_text(&j, "host", m->host);
    json_text(&j, "server_version", m->server_version);
    json_text(&j, "fcv", m->fcv);
    json_text(&j, "tool_version", m->tool_version);
    json_text(&j, "replica_set", m->cluster.set_name[0] == '\0' ? NULL : m->cluster.set_name);
    json_text(&j, "replica_set_id",
              m->cluster.replica_set_id[0] == '\0' ? NULL : m->cluster.replica_set_id);
    json_array(&j, "excluded");
    for (size_t i = 0; i < m->nexclude; i++)
        json_text(&j, NULL, m->exclude[i]);
    json_array_end(&j);
    json_array(&j, "namespaces");
    for (size_t i = 0; i < m->ncolls; i++)
        coll_json(&j, &m->colls[i]);
    json_array_end(&j);
    json_object_end(&j);
}

static void
snapshot_head(struct text *out, const struct manifest *m)
{
    char a[AMOUNT_LEN], b[AMOUNT_LEN], c[AMOUNT_LEN], when[MOMENT_TEXT_LEN];

    text_add(out, "snapshot    %s%s%s\n", m->id, m->label == NULL ? "" : ", ",
             m->label == NULL ? "" : m->label);
    text_add(out, "taken       %s to %s, mode %s, by pitr %s\n", format_time_ms(a, m->started_ms),
             format_time_ms(b, m->finished_ms), m->mode, m->tool_version);
    text_add(out, "from        %s%s%s", m->host, m->server_version[0] == '\0' ? "" : ", MongoDB ",
             m->server_version);
    if (!manifest_is_import(m))
        text_add(out, "%s%s",
                 m->cluster.set_name[0] == '\0' ? ", no replica set" : ", replica set ",
                 m->cluster.set_name);
    text_add(out, "\n");
    if (m->pitr)
        text_add(out, "state of    %s, timeline %u\n", format_moment(when, m->t_end.ts),
                 (unsigned)m->timeline);
    text_add(out, "holds       %s documents of %s collections, %s\n", format_count(a, m->documents),
             format_count(b, m->collections), format_bytes(c, m->bytes_raw));
    text_add(out, "new         %s of data, %s stored\n", format_bytes(a, m->bytes_new),
             format_bytes(b, m->bytes_stored));
    for (size_t i = 0; i < m->nexclude; i++)
        text_add(out, "%s%s\n", i == 0 ? "left out    " : "            ", m->exclude[i]);
}

static void
snapshot_text(struct text *out, const struct manifest *m)
{
    static const char *const head[] = {"NAMESPACE", ">DOCUMENTS", ">SIZE", ">CHUNKS",
                                       "FINGERPRINT"};
    PITR_AUTO(table_release) struct table table = {.head = head, .columns = 5};
    char a[AMOUNT_LEN], print[FINGERPRINT_TEXT_LEN];

    snapshot_head(out, m);
    for (size_t i = 0; i < m->ncolls; i++) {
        const struct coll_node *c = &m->colls[i];

        fingerprint_format(print, &c->print);
        table_cell(&table, "%s.%s", c->db, c->name);
        table_cell(&table, "%s", format_count(a, c->print.documents));
        table_cell(&table, "%s", format_bytes(a, c->print.bytes));
        table_cell(&table, "%s", format_count(a, c->chunks));
        table_cell(&table, "%s", print);
    }
    text_add(out, "\n");
    table_print(out, &table);
}

static enum pitr_rc
show_snapshot(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(manifest_release) struct manifest m = {0};

    if (app_repo(app, REPO_READ, &repo, err) != PITR_OK)
        return err->rc;
    if (manifest_read(repo, app->opts.args.at[0], &m, err) != PITR_OK) {
        /* The argument is wrong, not the repository. */
        if (err->rc == PITR_NOTFOUND)
            err->rc = PITR_USAGE;
        return err->rc;
    }
    if (app->is_json)
        snapshot_json(&out, &m);
    else
        snapshot_text(&out, &m);
    return app_print(app, &out, err);
}

static void
document_as_json(struct text *out, const struct lookup_result *r, const char *ns)
{
    struct json j = {.out = out};
    char uuid[2 * sizeof r->uuid + 1];

    hex_encode(uuid, r->uuid, sizeof r->uuid);
    json_object(&j, NULL);
    json_ts(&j, "to", r->to);
    json_text(&j, "snapshot", r->snapshot);
    json_text(&j, "ns", ns);
    json_text(&j, "uuid", uuid);
    json_bool(&j, "found", true);
    document_json(&j, "document", r->doc.data, r->doc.len);
    json_count(&j, "bytes", r->doc.len);
    json_object_end(&j);
}

static void
document_as_text(struct text *out, const struct lookup_result *r, const char *ns)
{
    char when[MOMENT_TEXT_LEN];

    if (r->to != 0)
        text_add(out, "%s at %s, from snapshot %s\n", ns, format_moment(when, r->to), r->snapshot);
    else
        text_add(out, "%s in snapshot %s\n", ns, r->snapshot);
    document_print(out, r->doc.data, r->doc.len, 0);
}

/* Why there is nothing to show. */
static enum pitr_rc
refuse(const struct lookup_result *r, const char *ns, const char *id, struct pitr_err *err)
{
    const char *near;
    char when[MOMENT_TEXT_LEN];

    /* A snapshot without an oplog is of no moment. */
    if (r->to == 0)
        snprintf(when, sizeof when, "snapshot %s", r->snapshot);
    else
        format_moment(when, r->to);
    switch (r->found) {
    case LOOKUP_NO_DOCUMENT:
        return pitr_fail(err, PITR_GAP, "%s held no document with the _id %.100s at %s", ns, id,
                         when);
    case LOOKUP_EXCLUDED:
        return pitr_fail(err, PITR_GAP,
                         "%s is left out of the backup: what it held is not known (snapshot %s)",
                         ns, r->snapshot);
    case LOOKUP_VIEW:
        return pitr_fail(err, PITR_USAGE,
                         "%s was a view at %s, and a view holds no documents; name the collection "
                         "it reads from",
                         ns, when);
    case LOOKUP_SERIES:
        return pitr_fail(err, PITR_USAGE,
                         "%s was a time-series collection at %s: what it stores are buckets of "
                         "measurements; name a bucket by its _id, with --ns %.*s.system.buckets.%s",
                         ns, when, (int)strcspn(ns, "."), ns, strchr(ns, '.') + 1);
    default:
        near = suggest_nearest(ns, (const char *const *)r->names.at, r->names.len);
        return pitr_fail(err, PITR_GAP, "there was no collection %s at %s%s%s%s", ns, when,
                         near == NULL ? "" : "; did you mean ", near == NULL ? "" : near,
                         near == NULL ? "" : "?");
    }
}

static enum pitr_rc
show_document(struct app *app, struct pitr_err *err)
{
    const char *ns = opts_text(&app->opts, OPT_NS), *id = opts_text(&app->opts, OPT_ID);
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(buf_release) struct buf key = {0};
    PITR_AUTO(lookup_result_release) struct lookup_result result = {0};
    struct lookup_opts opts = {
        .job = &app->job, .ns = ns, .key = &key, .memory = app->config.memory};
    enum pitr_rc rc;

    if (moment_word(&opts.moment, opts_text(&app->opts, OPT_AT), err) != PITR_OK)
        return pitr_wrap(err, "--at");
    if (doc_id_parse(&key, id, err) != PITR_OK)
        return pitr_wrap(err, "--id");
    if (app_repo(app, REPO_READ, &repo, err) != PITR_OK)
        return err->rc;
    opts.repo = repo;
    app_progress(app);
    rc = lookup_run(&opts, &result, err);
    app_progress_end(app);
    /* A snapshot that is not there is a moment that cannot be restored. */
    if (rc == PITR_NOTFOUND && opts.moment.kind == MOMENT_SNAPSHOT)
        rc = err->rc = PITR_GAP;
    if (rc != PITR_OK)
        return rc;
    if (result.found != LOOKUP_DOCUMENT)
        return refuse(&result, ns, id, err);
    if (app->is_json)
        document_as_json(&out, &result, ns);
    else
        document_as_text(&out, &result, ns);
    return app_print(app, &out, err);
}

enum pitr_rc
cmd_show(struct app *app, struct pitr_err *err)
{
    const struct opts *o = &app->opts;
    size_t named = (size_t)opts_has(o, OPT_AT) + o->values[OPT_NS].len + opts_has(o, OPT_ID);

    if (o->args.len == 1 && named == 0)
        return show_snapshot(app, err);
    if (o->args.len == 0 && named == 3 && opts_has(o, OPT_AT) && opts_has(o, OPT_ID))
        return show_document(app, err);
    return pitr_fail(err, PITR_USAGE,
                     "show: give the id of one snapshot, or \"latest\"; or, for one document, all "
                     "of --at TIME, --ns DB.COLL and --id ID");
}
