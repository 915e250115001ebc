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
