#include "base/bytes.h"

#include "cli/commands.h"
#include "cli/report.h"

static void
list_json(struct text *out, const struct history *h)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    json_array(&j, "snapshots");
    for (size_t i = 0; i < h->nsnapshots; i++) {
        json_object(&j, NULL);
        report_snapshot_json(&j, &h->snapshots[i]);
        json_bool(&j, "good", history_is_good(h, &h->snapshots[i]));
        json_object_end(&j);
    }
    json_array_end(&j);
    json_array(&j, "damaged");
    for (size_t i = 0; i < h->damaged.len; i++)
        json_text(&j, NULL, h->damaged.at[i]);
    json_array_end(&j);
    report_windows_json(&j, h);
    json_object_end(&j);
}

static void
list_text(struct text *out, const struct history *h)
{
    static const char *const head[] = {"ID",         "TAKEN (UTC)", "MODE",        ">COLLECTIONS",
                                       ">DOCUMENTS", ">SIZE",       ">NEW STORED", "LABEL"};
    PITR_AUTO(table_release) struct table table = {.head = head, .columns = 8};
    char a[AMOUNT_LEN];

    for (size_t i = 0; i < h->nsnapshots; i++) {
        const struct manifest *m = &h->snapshots[i];

        table_cell(&table, "%s", m->id);
        table_cell(&table, "%s", format_time_ms(a, m->finished_ms));
        table_cell(&table, "%s", m->mode);
        table_cell(&table, "%s", format_count(a, m->collections));
        table_cell(&table, "%s", format_count(a, m->documents));
        table_cell(&table, "%s", format_bytes(a, m->bytes_raw));
        table_cell(&table, "%s", format_bytes(a, m->bytes_stored));
        table_cell(&table, "%s%s", m->label == NULL ? "" : m->label,
                   history_is_good(h, m) ? "" : " (its oplog is missing: cannot be restored)");
    }
    if (h->nsnapshots == 0)
        text_add(out, "no snapshots\n");
    else
        table_print(out, &table);
    text_add(out, "\n");
    report_windows(out, h);
}

enum pitr_rc
cmd_list(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(history_release) struct history h = {0};

    if (app_repo(app, REPO_READ, &repo, err) != PITR_OK || history_load(&h, repo, err) != PITR_OK)
        return err->rc;
    if (app->is_json)
        list_json(&out, &h);
    else
        list_text(&out, &h);
    if (app_print(app, &out, err) != PITR_OK)
        return err->rc;
    if (h.damaged.len == 0)
        return PITR_OK;
    return pitr_fail(err, PITR_CORRUPT, "%s%s", h.damaged.at[0],
                     h.damaged.len > 1 ? ", and more" : "");
}

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
show_json(struct text *out, const struct manifest *m)
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
show_head(struct text *out, const struct manifest *m)
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
show_text(struct text *out, const struct manifest *m)
{
    static const char *const head[] = {"NAMESPACE", ">DOCUMENTS", ">SIZE", ">CHUNKS",
                                       "FINGERPRINT"};
    PITR_AUTO(table_release) struct table table = {.head = head, .columns = 5};
    char a[AMOUNT_LEN], print[FINGERPRINT_TEXT_LEN];

    show_head(out, m);
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

enum pitr_rc
cmd_show(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    PITR_AUTO(manifest_release) struct manifest m = {0};

    if (app->opts.args.len != 1)
        return pitr_fail(err, PITR_USAGE, "show: give the id of one snapshot, or \"latest\"");
    if (app_repo(app, REPO_READ, &repo, err) != PITR_OK)
        return err->rc;
    if (manifest_read(repo, app->opts.args.at[0], &m, err) != PITR_OK) {
        /* The argument is wrong, not the repository. */
        if (err->rc == PITR_NOTFOUND)
            err->rc = PITR_USAGE;
        return err->rc;
    }
    if (app->is_json)
        show_json(&out, &m);
    else
        show_text(&out, &m);
    return app_print(app, &out, err);
}
