#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/restore_internal.h"
#include "mongo/bsonedit.h"
#include "mongo/ns.h"

void
view_list_release(struct view_list *v)
{
    for (size_t i = 0; i < v->len; i++) {
        free(v->at[i].db);
        buf_release(&v->at[i].docs);
    }
    free(v->at);
    fs_names_release(&v->names);
    *v = (struct view_list){0};
}

static enum pitr_rc
set_for(struct view_list *v, const char *db, size_t db_len, struct view_set **out,
        struct pitr_err *err)
{
    struct view_set *grown;

    for (size_t i = 0; i < v->len; i++) {
        if (strlen(v->at[i].db) == db_len && memcmp(v->at[i].db, db, db_len) == 0) {
            *out = &v->at[i];
            return PITR_OK;
        }
    }
    grown = realloc(v->at, (v->len + 1) * sizeof *grown);
    if (grown == NULL)
        return pitr_fail(err, PITR_NOMEM, "views of %zu databases", v->len + 1);
    v->at = grown;
    grown[v->len] = (struct view_set){.db = strndup(db, db_len)};
    if (grown[v->len].db == NULL)
        return pitr_fail(err, PITR_NOMEM, "views");
    *out = &grown[v->len++];
    return PITR_OK;
}

static enum pitr_rc
set_string(struct buf *doc, const char *name, const char *text, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf value = {0};
    size_t len = strlen(text) + 1;

    if (buf_append_le32(&value, (uint32_t)len, err) != PITR_OK ||
        buf_append(&value, text, len, err) != PITR_OK)
        return err->rc;
    return bdoc_set(doc, BSON_STRING, name, value.data, value.len, err);
}

/* viewOn follows a rename that stays in the view's own database; a pipeline's $lookup is left as it
 * is. */
static enum pitr_rc
rename_view_on(struct buf *doc, const struct selection *sel, const char *source_db,
               const char *target_db, size_t target_db_len, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *source = NULL;
    PITR_AUTO(str_freep) char *target = NULL;
    struct belem on;
    const char *text;
    size_t len, source_len;
    bool found;

    if (bson_find(doc->data, doc->len, "viewOn", &found, &on, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&on, &text, &len))
        return PITR_OK;
    source_len = strlen(source_db) + 1 + len + 1;
    source = malloc(source_len);
    if (source == NULL)
        return pitr_fail(err, PITR_NOMEM, "view on %s", text);
    snprintf(source, source_len, "%s.%s", source_db, text);
    if (selection_target(sel, source, &target, err) != PITR_OK)
        return err->rc;
    if (strncmp(target, target_db, target_db_len) != 0 || target[target_db_len] != '.')
        return PITR_OK;
    return set_string(doc, "viewOn", target + target_db_len + 1, err);
}

struct view_walk {
    struct view_list *views;
    const struct selection *sel;
    const char *db; /* the system.views' own database */
};

static enum pitr_rc
take_view(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct view_walk *w = arg;
    PITR_AUTO(buf_release) struct buf copy = {0};
    PITR_AUTO(str_freep) char *source = NULL;
    PITR_AUTO(str_freep) char *target = NULL;
    struct view_set *set = NULL;
    struct belem id, on;
    const char *text, *on_text, *dot;
    size_t text_len, on_len;
    bool found;

    if (bson_find(doc, len, "_id", &found, &id, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&id, &text, &text_len))
        return pitr_fail(err, PITR_CORRUPT, "system.views: a view without a name");
    if (bson_find(doc, len, "viewOn", &found, &on, err) != PITR_OK)
        return err->rc;
    if (found && belem_string(&on, &on_text, &on_len) && ns_is_buckets(on_text))
        return PITR_OK;
    source = strndup(text, text_len);
    if (source == NULL)
        return pitr_fail(err, PITR_NOMEM, "view");
    if (!selection_takes(w->sel, source))
        return PITR_OK;
    if (selection_target(w->sel, source, &target, err) != PITR_OK ||
        selection_check_target(source, target, 0, err) != PITR_OK)
        return err->rc;
    dot = strchr(target, '.');
    if (dot == NULL)
        return pitr_fail(err, PITR_CORRUPT, "system.views: a view called \"%s\"", target);
    if (buf_append(&copy, doc, len, err) != PITR_OK ||
        set_string(&copy, "_id", target, err) != PITR_OK ||
        rename_view_on(&copy, w->sel, w->db, target, (size_t)(dot - target), err) != PITR_OK ||
        set_for(w->views, target, (size_t)(dot - target), &set, err) != PITR_OK ||
        buf_append(&set->docs, copy.data, copy.len, err) != PITR_OK)
        return err->rc;
    return fs_names_add(&w->views->names, target, err);
}

/* Renames may have given a view the name of another one, or of a collection. */
static enum pitr_rc
check_unique(struct view_list *v, const struct state *s, struct pitr_err *err)
{
    fs_names_sort(&v->names);
    for (size_t i = 0; i < v->names.len; i++) {
        const char *name = v->names.at[i];
        bool taken = i > 0 && strcmp(v->names.at[i - 1], name) == 0;

        for (size_t k = 0; k < s->ncolls && !taken; k++)
            taken = strcmp(s->colls[k].visible_ns, name) == 0;
        if (taken)
            return pitr_fail(err, PITR_USAGE,
                             "a view and something else would both become %s; change --rename",
                             name);
    }
    return PITR_OK;
}

enum pitr_rc
view_list_make(struct view_list *out, struct state *s, const struct selection *sel,
               struct pitr_err *err)
{
    PITR_AUTO(view_list_release) struct view_list v = {0};

    for (size_t i = 0; i < s->ncolls; i++) {
        struct view_walk walk = {.views = &v, .sel = sel, .db = s->colls[i].load.db};

        if (s->colls[i].kind == STATE_VIEWS &&
            state_stream(s, &s->colls[i], take_view, &walk, err) != PITR_OK)
            return err->rc;
    }
    if (check_unique(&v, s, err) != PITR_OK)
        return err->rc;
    *out = v;
    v = (struct view_list){0};
    return PITR_OK;
}

/* A pattern that selects nothing is a typing mistake, not a restore of nothing. */
enum pitr_rc
view_list_check(const struct view_list *views, const struct state *s, const struct selection *sel,
                struct pitr_err *err)
{
    if (selection_is_whole(sel) || views->names.len != 0)
        return PITR_OK;
    for (size_t i = 0; i < s->ncolls; i++)
        if (s->colls[i].kind == STATE_DATA)
            return PITR_OK;
    return pitr_fail(
        err, PITR_USAGE,
        "no namespace at that moment matches; 'pitr show' lists what a snapshot holds");
}
