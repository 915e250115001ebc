#include <stdio.h>
#include <string.h>

#include "engine/diff_internal.h"
#include "engine/load_compare.h"
#include "engine/load_options.h"
#include "mongo/bsonedit.h"
#include "mongo/ns.h"

enum { NAME_LEN = 300 };

static void
count_difference(void *arg, const char *what)
{
    (void)what;
    ++*(unsigned *)arg;
}

/* Options come from the server's catalog or from the oplog, which may spell out more or less of
 * them: they differ if neither says what the other does. */
static enum pitr_rc
options_differ(const struct load_coll *a, const struct load_coll *b, bool *differ,
               struct pitr_err *err)
{
    unsigned forth = 0, back = 0;
    const struct difference_sink to_forth = {count_difference, &forth};
    const struct difference_sink to_back = {count_difference, &back};
    struct belem x, y;
    bool has_x, has_y;
    int64_t m = 0, n = 0;

    if (load_compare_options(a, &b->options, &to_forth, err) != PITR_OK ||
        load_compare_options(b, &a->options, &to_back, err) != PITR_OK ||
        options_find(&a->options, "expireAfterSeconds", &has_x, &x, err) != PITR_OK ||
        options_find(&b->options, "expireAfterSeconds", &has_y, &y, err) != PITR_OK)
        return err->rc;
    *differ = (forth > 0 && back > 0) || has_x != has_y ||
              (has_x && (!belem_int64(&x, &m) || !belem_int64(&y, &n) || m != n));
    return PITR_OK;
}

/* An item's document; no options at all are none. */
static void
set_sides(struct diff_item *item, const struct belem *before, const struct belem *after)
{
    if (before != NULL) {
        item->before = before->value;
        item->before_len = before->value_len;
    }
    if (after != NULL) {
        item->after = after->value;
        item->after_len = after->value_len;
    }
}

static enum pitr_rc
diff_options(struct diff *d, const struct diff_pair *p, struct diff_item item, struct pitr_err *err)
{
    static const uint8_t empty[] = {5, 0, 0, 0, 0};
    const struct buf *before = &p->from->load.options, *after = &p->to->load.options;
    bool differ = false;

    if (options_differ(&p->from->load, &p->to->load, &differ, err) != PITR_OK)
        return err->rc;
    if (!differ)
        return PITR_OK;
    item.kind = DIFF_OPTIONS;
    item.before = before->len == 0 ? empty : before->data;
    item.before_len = before->len == 0 ? sizeof empty : before->len;
    item.after = after->len == 0 ? empty : after->data;
    item.after_len = after->len == 0 ? sizeof empty : after->len;
    return diff_tell(d, &item, err);
}

static enum pitr_rc
diff_index(struct diff *d, const struct diff_pair *p, struct diff_item item, const char *name,
           const struct belem *before, const struct belem *after, struct pitr_err *err)
{
    unsigned differences = 0;
    const struct difference_sink sink = {count_difference, &differences};

    item.kind = before == NULL  ? DIFF_INDEX_ADDED
                : after == NULL ? DIFF_INDEX_REMOVED
                                : DIFF_INDEX_CHANGED;
    if (item.kind == DIFF_INDEX_CHANGED &&
        load_compare_index(&p->from->load, name, before, after, &sink, err) != PITR_OK)
        return err->rc;
    if (item.kind == DIFF_INDEX_CHANGED && differences == 0)
        return PITR_OK;
    set_sides(&item, before, after);
    return diff_tell(d, &item, err);
}

/*
 * Every index of `list`, compared with the one of its name in `other`; of the later list only those
 * that are new. What create makes is told by the options.
 */
static enum pitr_rc
diff_index_list(struct diff *d, const struct diff_pair *p, const struct diff_item *item,
                bool is_later, struct pitr_err *err)
{
    const struct buf *list = is_later ? &p->to->load.indexes : &p->from->load.indexes;
    const struct buf *other = is_later ? &p->from->load.indexes : &p->to->load.indexes;
    struct biter it;
    struct belem spec, name, twin;
    enum index_due due;
    char text[NAME_LEN];
    const char *at;
    size_t len;
    bool found = false;

    if (list->len == 0)
        return PITR_OK;
    if (biter_init(&it, list->data, list->len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return err->rc;
        if (spec.type == BSON_EOD)
            return PITR_OK;
        if (index_due(&due, &spec, err) != PITR_OK ||
            bson_find(spec.value, spec.value_len, "name", &found, &name, err) != PITR_OK)
            return err->rc;
        if (!found || !belem_string(&name, &at, &len))
            return pitr_fail(err, PITR_CORRUPT, "%s: an index has no name", item->ns);
        snprintf(text, sizeof text, "%.*s", (int)len, at);
        found = false;
        if (other->len > 0 && bindex_find(other, at, len, &found, &twin, err) != PITR_OK)
            return err->rc;
        if ((is_later && found) || due == INDEX_BY_CREATE)
            continue;
        if (diff_index(d, p, *item, text, is_later ? NULL : &spec,
                       is_later ? &spec
                       : found  ? &twin
                                : NULL,
                       err) != PITR_OK)
            return err->rc;
    }
}

enum pitr_rc
diff_catalog(struct diff *d, const struct diff_pair *p, struct pitr_err *err)
{
    const struct diff_item item = {.ns = p->to->source_ns,
                                   .is_buckets = load_is_buckets(&p->to->load)};

    if (diff_options(d, p, item, err) != PITR_OK ||
        diff_index_list(d, p, &item, false, err) != PITR_OK)
        return err->rc;
    return diff_index_list(d, p, &item, true, err);
}

/* The name of a view, "db.view", into name[NAME_LEN]; *is_view is false for what stands for a
 * time-series collection. */
static enum pitr_rc
read_view(const uint8_t *doc, size_t len, bool *is_view, char *name, struct pitr_err *err)
{
    struct belem id, on;
    const char *text;
    size_t text_len;
    bool has_id, has_on;

    if (bson_find(doc, len, "_id", &has_id, &id, err) != PITR_OK ||
        bson_find(doc, len, "viewOn", &has_on, &on, err) != PITR_OK)
        return err->rc;
    if (!has_id || !belem_string(&id, &text, &text_len))
        return pitr_fail(err, PITR_CORRUPT, "system.views: a view without a name");
    snprintf(name, NAME_LEN, "%.*s", (int)text_len, text);
    *is_view = !has_on || !belem_string(&on, &text, &text_len) || !ns_is_buckets(text);
    return PITR_OK;
}

static enum pitr_rc
tell_view(void *arg, const uint8_t *before, size_t before_len, const uint8_t *after,
          size_t after_len, struct pitr_err *err)
{
    struct diff *d = arg;
    struct diff_item item = {0};
    char name[NAME_LEN];
    bool was = false, is = false;

    if ((before != NULL && read_view(before, before_len, &was, name, err) != PITR_OK) ||
        (after != NULL && read_view(after, after_len, &is, name, err) != PITR_OK))
        return err->rc;
    if ((!was && !is) || !selection_takes(&d->o->selection, name))
        return PITR_OK;
    item.kind = !was ? DIFF_VIEW_ADDED : !is ? DIFF_VIEW_REMOVED : DIFF_VIEW_CHANGED;
    item.ns = name;
    if (was) {
        item.before = before;
        item.before_len = before_len;
    }
    if (is) {
        item.after = after;
        item.after_len = after_len;
    }
    d->has_match = true;
    return diff_tell(d, &item, err);
}

/* Whether any view that is there is selected, changed or not. */
static enum pitr_rc
match_view(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct diff *d = arg;
    char name[NAME_LEN];
    bool is_view = false;

    if (read_view(doc, len, &is_view, name, err) != PITR_OK)
        return err->rc;
    d->has_match |= is_view && selection_takes(&d->o->selection, name);
    return PITR_OK;
}

enum pitr_rc
diff_views(struct diff *d, const struct diff_pair *p, struct pitr_err *err)
{
    if (p->from != NULL && !d->has_match &&
        state_stream(&d->from, p->from, match_view, d, err) != PITR_OK)
        return err->rc;
    return diff_documents(d, p, tell_view, d, err);
}
