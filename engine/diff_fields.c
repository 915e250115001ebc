#include "engine/diff_fields.h"

#include <string.h>

struct walk {
    field_visit *visit;
    void *arg;
    struct buf path; /* without a closing NUL */
    bool stop;
};

struct span {
    const uint8_t *doc;
    size_t len;
};

static enum pitr_rc compare(struct walk *w, struct span before, struct span after, size_t depth,
                            struct pitr_err *err);

static enum pitr_rc
tell(struct walk *w, const struct belem *before, const struct belem *after, struct pitr_err *err)
{
    struct field_change c = {.before = before, .after = after};

    if (buf_append_u8(&w->path, 0, err) != PITR_OK)
        return err->rc;
    w->path.len--;
    c.path = (const char *)w->path.data;
    return w->visit(w->arg, &c, &w->stop, err);
}

static bool
is_same(const struct belem *a, const struct belem *b)
{
    return a->type == b->type && a->value_len == b->value_len &&
           memcmp(a->value, b->value, a->value_len) == 0;
}

/* One field, or what is inside of it. */
static enum pitr_rc
compare_field(struct walk *w, const struct belem *before, const struct belem *after, size_t depth,
              struct pitr_err *err)
{
    const struct belem *named = before != NULL ? before : after;
    size_t path_len = w->path.len;
    enum pitr_rc rc;

    if (before != NULL && after != NULL && is_same(before, after))
        return PITR_OK;
    if ((path_len > 0 && buf_append_u8(&w->path, '.', err) != PITR_OK) ||
        buf_append(&w->path, named->name, named->name_len, err) != PITR_OK)
        return err->rc;
    if (before != NULL && after != NULL && before->type == after->type &&
        (before->type == BSON_DOC || before->type == BSON_ARRAY) && depth < BSON_MAX_DEPTH)
        rc = compare(w, (struct span){before->value, before->value_len},
                     (struct span){after->value, after->value_len}, depth + 1, err);
    else
        rc = tell(w, before, after, err);
    w->path.len = path_len;
    return rc;
}

/*
 * The element called `name`. `hint` stands where it most likely is, behind the one found last:
 * documents that differ little are compared in one pass.
 */
static enum pitr_rc
find_near(struct biter *hint, struct span in, const char *name, bool *found, struct belem *e,
          struct pitr_err *err)
{
    struct biter next = *hint;

    if (biter_next(&next, e, err) != PITR_OK)
        return err->rc;
    *found = e->type != BSON_EOD && belem_is(e, name);
    if (!*found && bson_find(in.doc, in.len, name, found, e, err) != PITR_OK)
        return err->rc;
    if (*found)
        hint->at = e->end;
    return PITR_OK;
}

/* The fields of `left`: those that `right` has too are compared (unless only additions are looked
 * for), the others told. */
static enum pitr_rc
compare_side(struct walk *w, struct span left, struct span right, bool additions, size_t depth,
             struct pitr_err *err)
{
    struct biter it, hint;
    struct belem e, other;
    bool found;

    if (biter_init(&it, left.doc, left.len, err) != PITR_OK ||
        biter_init(&hint, right.doc, right.len, err) != PITR_OK)
        return err->rc;
    while (!w->stop) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            break;
        if (find_near(&hint, right, e.name, &found, &other, err) != PITR_OK)
            return err->rc;
        if (additions ? !found && compare_field(w, NULL, &e, depth, err) != PITR_OK
                      : compare_field(w, &e, found ? &other : NULL, depth, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
compare(struct walk *w, struct span before, struct span after, size_t depth, struct pitr_err *err)
{
    if (compare_side(w, before, after, false, depth, err) != PITR_OK)
        return err->rc;
    return compare_side(w, after, before, true, depth, err);
}

enum pitr_rc
diff_fields(const uint8_t *before, size_t before_len, const uint8_t *after, size_t after_len,
            field_visit *visit, void *arg, struct pitr_err *err)
{
    struct walk w = {.visit = visit, .arg = arg};
    enum pitr_rc rc =
        compare(&w, (struct span){before, before_len}, (struct span){after, after_len}, 0, err);

    buf_release(&w.path);
    return rc;
}
