/* Commands that ask neither repository data nor server: init, index rebuild, config show, version,
 * help. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

enum pitr_rc
cmd_init(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    struct json j = {.out = &out};
    char id[2 * REPO_ID_LEN + 1];
    bool created;

    if (app->config.repo == NULL || strstr(app->config.repo, "://") != NULL)
        return app_repo(app, REPO_READ, &repo, err);
    if (repo_init(app->config.repo, &created, err) != PITR_OK ||
        app_repo(app, REPO_READ, &repo, err) != PITR_OK)
        return err->rc;
    repo_id_text(repo, id);
    if (app->is_json) {
        json_object(&j, NULL);
        json_text(&j, "path", repo_path(repo));
        json_text(&j, "id", id);
        json_bool(&j, "created", created);
        json_object_end(&j);
    } else {
        text_add(&out, "repository %s %s (id %s)\n", repo_path(repo),
                 created ? "created" : "is there already", id);
    }
    return app_print(app, &out, err);
}

enum pitr_rc
cmd_index_rebuild(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    PITR_AUTO(repo_freep) struct repo *repo = NULL;
    struct json j = {.out = &out};
    struct store *store;
    uint64_t packs, chunks;

    if (app_repo(app, REPO_WRITE, &repo, err) != PITR_OK ||
        repo_store(repo, &store, err) != PITR_OK ||
        store_rebuild_index(store, &packs, &chunks, err) != PITR_OK)
        return err->rc;
    if (app->is_json) {
        json_object(&j, NULL);
        json_count(&j, "packs", packs);
        json_count(&j, "chunks", chunks);
        json_object_end(&j);
    } else {
        text_add(&out, "index made anew: %" PRIu64 " chunks in %" PRIu64 " packs\n", chunks, packs);
    }
    return app_print(app, &out, err);
}

static void
config_json(struct text *out, const struct config *c)
{
    struct json j = {.out = out};

    json_object(&j, NULL);
    json_array(&j, "settings");
    for (int i = 0; i < CONFIG_COUNT; i++) {
        PITR_AUTO(text_release) struct text value = {0};

        config_value(&value, c, (enum config_key)i);
        text_bytes(&value, "", 1);
        json_object(&j, NULL);
        json_text(&j, "name", config_name((enum config_key)i));
        json_text(&j, "value", (const char *)value.buf.data);
        json_text(&j, "origin", c->origin[i] == NULL ? "default" : c->origin[i]);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
}

static void
config_text(struct text *out, const struct config *c)
{
    static const char *const head[] = {"SETTING", "VALUE", "FROM"};
    PITR_AUTO(table_release) struct table table = {.head = head, .columns = 3};

    for (int i = 0; i < CONFIG_COUNT; i++) {
        PITR_AUTO(text_release) struct text value = {0};

        config_value(&value, c, (enum config_key)i);
        table_cell(&table, "%s", config_name((enum config_key)i));
        table_cell(&table, "%.*s", (int)value.buf.len,
                   value.buf.len == 0 ? "" : (const char *)value.buf.data);
        table_cell(&table, "%s", c->origin[i] == NULL ? "default" : c->origin[i]);
    }
    table_print(out, &table);
}

enum pitr_rc
cmd_config_show(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};

    if (app->is_json)
        config_json(&out, &app->config);
    else
        config_text(&out, &app->config);
    return app_print(app, &out, err);
}

enum pitr_rc
cmd_version(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    struct json j = {.out = &out};

    if (app->is_json) {
        json_object(&j, NULL);
        json_text(&j, "version", PITR_VERSION);
        json_int(&j, "repository_format", REPO_FORMAT_VERSION);
        json_object_end(&j);
    } else {
        text_add(&out, "pitr %s\n", PITR_VERSION);
    }
    return app_print(app, &out, err);
}

enum pitr_rc
cmd_help(struct app *app, struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text help = {0}, out = {0};
    const struct opt_values *args = &app->opts.args;
    struct json j = {.out = &out};
    char name[64];

    if (args->len == 2)
        snprintf(name, sizeof name, "%s %s", args->at[0], args->at[1]);
    if (opts_has(&app->opts, OPT_MARKDOWN))
        opts_markdown(&help);
    else if (args->len == 0)
        opts_help_overview(&help);
    else if (opts_help(&help, args->len == 1 ? args->at[0] : name, err) != PITR_OK)
        return err->rc;
    if (!app->is_json)
        return app_print(app, &help, err);
    text_bytes(&help, "", 1);
    if (text_check(&help, err) != PITR_OK)
        return err->rc;
    json_object(&j, NULL);
    json_text(&j, "help", (const char *)help.buf.data);
    json_object_end(&j);
    return app_print(app, &out, err);
}
