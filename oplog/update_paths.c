#include "oplog/update_paths.h"

#include <stdlib.h>

void
mod_paths_init(struct mod_paths *p)
{
    p->all = p->few;
    p->n = 0;
}

void
mod_paths_release(struct mod_paths *p)
{
    if (p->all != p->few)
        free(p->all);
}

static int
compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

    if (c != 0 || a_len == b_len)
        return c;
    return a_len < b_len ? -1 : 1;
}

static bool
goes_by_length(const char *text, size_t len)
{
    return len > 0 && text[0] >= '0' && text[0] <= '9' && (text[0] != '0' || len == 1);
}

int
compare_components(const char *a, size_t a_len, const char *b, size_t b_len,
                   enum component_order order)
{
    uint32_t a_index = 0, b_index = 0;
    bool a_is, b_is;

    if (order == ORDER_INDEX) {
        a_is = array_index_parse(a, a_len, &a_index);
        b_is = array_index_parse(b, b_len, &b_index);
        if (a_is != b_is)
            return a_is ? -1 : 1;
        if (a_is && a_index != b_index)
            return a_index < b_index ? -1 : 1;
    } else if (order == ORDER_NUMERIC && a_len != b_len && goes_by_length(a, a_len) &&
               goes_by_length(b, b_len)) {
        return a_len < b_len ? -1 : 1;
    }
    return compare_bytes(a, a_len, b, b_len);
}

int
compare_paths(const void *a, const void *b, void *arg)
{
    const struct path_order *o = arg;
    const struct mod_path *x = a, *y = b;
    enum component_order order = o->first;

    for (size_t at = o->at;; order = o->rest) {
        size_t x_len = component_len(x, at), y_len = component_len(y, at);
        int c = compare_components(x->text + at, x_len, y->text + at, y_len, order);

        if (c != 0)
            return c;
        at += x_len + 1;
        if (at > x->len || at > y->len)
            return x->len < y->len ? -1 : x->len > y->len;
    }
}

/* The server logs them sorted by its own order, so there is mostly nothing to do. */
void
sort_paths(struct mod_path *lo, struct mod_path *hi, struct path_order *o)
{
    for (struct mod_path *p = lo; p + 1 < hi; p++) {
        if (compare_paths(p, p + 1, o) > 0) {
            qsort_r(lo, (size_t)(hi - lo), sizeof *lo, compare_paths, o);
            return;
        }
    }
}

static enum pitr_rc
check_path(const struct belem *e, struct pitr_err *err)
{
    size_t start = 0, depth = 0;

    for (size_t i = 0; i <= e->name_len; i++) {
        if (i < e->name_len && e->name[i] != '.')
            continue;
        if (i == start)
            return pitr_fail(err, PITR_CORRUPT, "modifiers: path '%.60s' has an empty component",
                             e->name);
        start = i + 1;
        if (++depth > BSON_MAX_DEPTH)
            return pitr_fail(err, PITR_CORRUPT, "modifiers: path of more than %d components",
                             BSON_MAX_DEPTH);
    }
    return PITR_OK;
}

/* Count the paths of one section, or add them to *p. */
static enum pitr_rc
read_section(const struct belem *section, struct mod_paths *p, bool add, struct pitr_err *err)
{
    bool is_set = belem_is(section, "$set");
    struct biter it;
    struct belem e;

    if (section->type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "modifiers: %s is not a document", section->name);
    if (biter_init(&it, section->value, section->value_len, err) != PITR_OK)
        return err->rc;
    for (;; p->n++) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (!add)
            continue;
        if (check_path(&e, err) != PITR_OK)
            return err->rc;
        p->all[p->n] =
            (struct mod_path){.text = e.name, .len = e.name_len, .e = e, .is_set = is_set};
    }
}

static enum pitr_rc
read_sections(const uint8_t *o, size_t o_len, struct mod_paths *p, bool add, struct pitr_err *err)
{
    struct biter it;
    struct belem e;

    p->n = 0;
    if (biter_init(&it, o, o_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (!belem_is(&e, "$v") && read_section(&e, p, add, err) != PITR_OK)
            return err->rc;
    }
}

/* Two paths contradict each other if one is the beginning of the other; sorted, they are
 * neighbours. */
static enum pitr_rc
check_conflicts(const struct mod_paths *p, struct pitr_err *err)
{
    for (size_t i = 1; i < p->n; i++) {
        const struct mod_path *a = &p->all[i - 1], *b = &p->all[i];

        if (a->len <= b->len && memcmp(a->text, b->text, a->len) == 0 &&
            (a->len == b->len || b->text[a->len] == '.'))
            return pitr_fail(err, PITR_CORRUPT, "modifiers: paths '%.60s' and '%.60s' conflict",
                             a->text, b->text);
    }
    return PITR_OK;
}

enum pitr_rc
mod_paths_read(struct mod_paths *p, const uint8_t *o, size_t o_len, enum update_field_order order,
               struct pitr_err *err)
{
    struct path_order path_order = {.first = visiting_order(order), .rest = visiting_order(order)};

    if (read_sections(o, o_len, p, false, err) != PITR_OK)
        return err->rc;
    if (p->n > FEW_PATHS) {
        p->all = malloc(p->n * sizeof *p->all);
        if (p->all == NULL) {
            p->all = p->few;
            return pitr_fail(err, PITR_NOMEM, "modifiers of %zu paths", p->n);
        }
    }
    if (read_sections(o, o_len, p, true, err) != PITR_OK)
        return err->rc;
    sort_paths(p->all, p->all + p->n, &path_order);
    return check_conflicts(p, err);
}
