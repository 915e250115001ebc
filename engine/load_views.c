#include <stdlib.h>
#include <string.h>

#include "engine/load_internal.h"
#include "engine/load_options.h"
#include "mongo/bsonedit.h"
#include "mongo/ns.h"

struct view {
    const char *name; /* into the document */
    const uint8_t *doc;
    size_t len;
    bool made;
};
struct views {
    struct view *at; /* owned */
    size_t len;
};

static void
views_release(struct views *v)
{
    free(v->at);
    *v = (struct views){0};
}

/* The string value of a field, NULL if it has none. */
static const char *
text_of(const uint8_t *doc, size_t len, const char *name)
{
    struct pitr_err ignored;
    struct belem e;
    const char *text;
    size_t text_len;
    bool found;

    if (bson_find(doc, len, name, &found, &e, &ignored) != PITR_OK || !found ||
        !belem_string(&e, &text, &text_len))
        return NULL;
    return text;
}

static enum pitr_rc
views_add(struct views *views, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    const char *id, *on, *dot;
    struct view *at;

    if (bson_check(doc, len, err) != PITR_OK)
        return err->rc;
    id = text_of(doc, len, "_id");
    on = text_of(doc, len, "viewOn");
    dot = id == NULL ? NULL : strchr(id, '.');
    if (dot == NULL || on == NULL)
        return pitr_fail(err, PITR_CORRUPT, "a document of system.views that is no view");
    if (ns_is_buckets(on))
        return PITR_OK;
    at = reallocarray(views->at, views->len + 1, sizeof *at);
    if (at == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu views", views->len + 1);
    views->at = at;
    at[views->len++] = (struct view){.name = dot + 1, .doc = doc, .len = len};
    return PITR_OK;
}

/* Whether any string in a checked document is `name`: of a pipeline, the collections it reads are
 * among them, whatever the stage. Nesting is bounded by bson_check(). */
static bool
mentions(const uint8_t *doc, size_t len, const char *name)
{
    struct pitr_err ignored;
    struct biter it;
    struct belem e;
    const char *text;
    size_t text_len;

    if (biter_init(&it, doc, len, &ignored) != PITR_OK)
        return false;
    while (biter_next(&it, &e, &ignored) == PITR_OK && e.type != BSON_EOD) {
        if (belem_string(&e, &text, &text_len) && text_len == strlen(name) &&
            memcmp(text, name, text_len) == 0)
            return true;
        if ((e.type == BSON_DOC || e.type == BSON_ARRAY) && mentions(e.value, e.value_len, name))
            return true;
    }
    return false;
}

static bool
waits_for_another(const struct views *views, const struct view *v)
{
    for (size_t i = 0; i < views->len; i++) {
        const struct view *other = &views->at[i];

        if (!other->made && other != v && mentions(v->doc, v->len, other->name))
            return true;
    }
    return false;
}

/* A mention need not be a dependency, so there can be circles; any of them is then as good. */
static struct view *
next_view(struct views *views)
{
    struct view *any = NULL;

    for (size_t i = 0; i < views->len; i++) {
        struct view *v = &views->at[i];

        if (v->made)
            continue;
        if (!waits_for_another(views, v))
            return v;
        if (any == NULL)
            any = v;
    }
    return any;
}

static enum pitr_rc
create_view(struct target *t, struct conn *c, const char *db, const struct view *v,
            struct pitr_err *err)
{
    bson_t view, *cmd = BCON_NEW("create", BCON_UTF8(v->name));

    if (cmd == NULL || !bson_init_static(&view, v->doc, v->len)) {
        bson_destroy(cmd);
        return pitr_fail(err, PITR_NOMEM, "view %s.%s", db, v->name);
    }
    bson_copy_to_excluding_noinit(&view, cmd, "_id", NULL);
    BCON_APPEND(cmd, "writeConcern", "{", "w", BCON_INT32(1), "}");
    if (target_simple(t, c, db, cmd, NULL, NULL, "create view", err) != PITR_OK)
        return pitr_wrap(err, "%s.%s", db, v->name);
    return PITR_OK;
}

enum pitr_rc
load_views(struct target *t, const char *db, const struct buf *docs, struct pitr_err *err)
{
    PITR_AUTO(views_release) struct views views = {0};
    PITR_AUTO(conn_givep) struct conn *c = NULL;
    struct view *v;

    for (size_t at = 0; at < docs->len;) {
        size_t len = docs->len - at < 4 ? 0 : bson_len(docs->data + at);

        if (len < 5 || len > docs->len - at)
            return pitr_fail(err, PITR_CORRUPT, "%s.system.views: a document of %zu bytes", db,
                             len);
        if (views_add(&views, docs->data + at, len, err) != PITR_OK)
            return pitr_wrap(err, "views of %s", db);
        at += len;
    }
    if (views.len == 0)
        return PITR_OK;
    if (conn_take(&c, t->mongo, err) != PITR_OK)
        return err->rc;
    while ((v = next_view(&views)) != NULL) {
        if (job_check(t->job, err) != PITR_OK || create_view(t, c, db, v, err) != PITR_OK)
            return err->rc;
        v->made = true;
    }
    return PITR_OK;
}
