#include <string.h>

#include "oplog/update_paths.h"

/*
 * The dotted paths of $set and $unset form one tree. It is never built: the paths are sorted
 * component by component, so that a node is a range of them (those that share its first
 * components), and its children follow each other in the range in the order of their visit.
 */

/* One node: the paths [lo, hi), whose components before offset `at` are the same. */
struct mod_node {
    struct mod_path *lo, *hi;
    size_t at;
};

/* The end of the child that starts with path `p` of the node. */
static struct mod_path *
child_end(const struct mod_node *node, struct mod_path *p)
{
    size_t len = component_len(p, node->at);
    struct mod_path *end = p + 1;

    if (node->at + len == p->len)
        return end; /* a leaf has no other paths below it */
    while (end < node->hi && component_len(end, node->at) == len &&
           memcmp(end->text + node->at, p->text + node->at, len) == 0)
        end++;
    return end;
}

static bool
is_leaf(const struct mod_node *node, const struct mod_path *p)
{
    return node->at + component_len(p, node->at) == p->len;
}

/* The child node; for an inner child only. */
static struct mod_node
child_node(const struct mod_node *node, struct mod_path *p)
{
    return (struct mod_node){
        .lo = p, .hi = child_end(node, p), .at = node->at + component_len(p, node->at) + 1};
}

/* The first path of the child called `name`, or NULL. */
static struct mod_path *
find_child(const struct mod_node *node, const char *name, size_t name_len,
           enum update_field_order order)
{
    struct mod_path *lo = node->lo, *hi = node->hi;

    while (lo < hi) {
        struct mod_path *mid = lo + (hi - lo) / 2;

        if (compare_components(mid->text + node->at, component_len(mid, node->at), name, name_len,
                               visiting_order(order)) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == node->hi || component_len(lo, node->at) != name_len ||
        memcmp(lo->text + node->at, name, name_len) != 0)
        return NULL;
    return lo;
}

static bool
has_set(const struct mod_path *lo, const struct mod_path *hi)
{
    for (; lo < hi; lo++) {
        if (lo->is_set)
            return true;
    }
    return false;
}

/* Append the child as a new element: the value of its $set, or documents around those below it. */
static enum pitr_rc
append_child(struct update_job *job, const struct mod_node *node, struct mod_path *p,
             const char *name, size_t name_len, struct pitr_err *err)
{
    struct mod_node inner;
    size_t mark;

    if (is_leaf(node, p))
        return update_put_elem(job, name, name_len, &p->e, err);
    inner = child_node(node, p);
    if (update_put_head(job, BSON_DOC, name, name_len, err) != PITR_OK ||
        update_begin_doc(job, &mark, err) != PITR_OK)
        return err->rc;
    for (struct mod_path *child = inner.lo; child < inner.hi; child = child_end(&inner, child)) {
        if (has_set(child, child_end(&inner, child)) &&
            append_child(job, &inner, child, child->text + inner.at, component_len(child, inner.at),
                         err) != PITR_OK)
            return err->rc;
    }
    return update_end_doc(job, mark, err);
}

/* Write the elements of the document or array `old` as changed by the node, in the open one. */
static enum pitr_rc change_doc(struct update_job *job, const struct belem *old,
                               const struct mod_node *node, struct pitr_err *err);
static enum pitr_rc change_array(struct update_job *job, const struct belem *old,
                                 const struct mod_node *node, struct pitr_err *err);

/* Write the existing element `old` as changed by an inner child; a scalar stays as it is. */
static enum pitr_rc
change_inside(struct update_job *job, const char *name, size_t name_len, const struct belem *old,
              const struct mod_node *child, struct pitr_err *err)
{
    size_t mark;

    if (old->type != BSON_DOC && old->type != BSON_ARRAY)
        return update_put_elem(job, name, name_len, old, err);
    if (update_put_head(job, old->type, name, name_len, err) != PITR_OK ||
        update_begin_doc(job, &mark, err) != PITR_OK)
        return err->rc;
    if ((old->type == BSON_ARRAY ? change_array(job, old, child, err)
                                 : change_doc(job, old, child, err)) != PITR_OK)
        return err->rc;
    return update_end_doc(job, mark, err);
}

static enum pitr_rc
change_field(struct update_job *job, const struct belem *old, const struct mod_node *node,
             struct mod_path *p, struct pitr_err *err)
{
    struct mod_node child;

    if (is_leaf(node, p))
        return p->is_set ? update_put_elem(job, old->name, old->name_len, &p->e, err) : PITR_OK;
    child = child_node(node, p);
    return change_inside(job, old->name, old->name_len, old, &child, err);
}

static bool
is_pinned(const struct mod_node *node, const char *name, size_t name_len)
{
    return node->at == 0 && name_len == 3 && memcmp(name, "_id", 3) == 0;
}

/* The pass over the old fields. Of fields with the same name the server sees the first only. */
static enum pitr_rc
change_old_fields(struct update_job *job, const struct belem *old, const struct mod_node *node,
                  struct pitr_err *err)
{
    struct biter it;
    struct belem e;
    const uint8_t *run;

    if (biter_init(&it, old->value, old->value_len, err) != PITR_OK)
        return err->rc;
    for (run = it.at;;) {
        struct mod_path *p;
        bool is_id;
        size_t mark;

        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return update_copy(job, run, e.start, err);
        is_id = is_pinned(node, e.name, e.name_len);
        p = find_child(node, e.name, e.name_len, job->order);
        if (p != NULL && p->met)
            p = NULL;
        if (p == NULL && !is_id)
            continue;
        if (update_copy(job, run, e.start, err) != PITR_OK)
            return err->rc;
        run = e.end;
        mark = job->out->len;
        if (p != NULL) {
            if (change_field(job, &e, node, p, err) != PITR_OK)
                return err->rc;
            p->met = true; /* only now: the levels below use the mark too */
        }
        if (is_id && update_pin_id(job, mark, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
change_doc(struct update_job *job, const struct belem *old, const struct mod_node *node,
           struct pitr_err *err)
{
    struct mod_path *end;

    for (struct mod_path *p = node->lo; p < node->hi; p++)
        p->met = false;
    if (change_old_fields(job, old, node, err) != PITR_OK)
        return err->rc;
    for (struct mod_path *p = node->lo; p < node->hi; p = end) {
        const char *name = p->text + node->at;
        size_t name_len = component_len(p, node->at), mark = job->out->len;

        end = child_end(node, p);
        if (p->met || !has_set(p, end))
            continue;
        if (append_child(job, node, p, name, name_len, err) != PITR_OK)
            return err->rc;
        if (is_pinned(node, name, name_len) && update_pin_id(job, mark, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
count_elements(const struct belem *array, uint32_t *n, struct pitr_err *err)
{
    struct biter it;
    struct belem e;

    *n = 0;
    if (biter_init(&it, array->value, array->value_len, err) != PITR_OK)
        return err->rc;
    for (;; (*n)++) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
    }
}

/*
 * Decide what happens at each index, visiting the children in their order: one beyond the end pads
 * the array with nulls, and a child with a lower index that is visited later finds such a null, in
 * which nothing can be set. Bytewise, "10" comes before "9".
 */
static void
plan_array(const struct mod_node *node, uint32_t len)
{
    const uint32_t old_len = len;
    struct mod_path *end;

    for (struct mod_path *p = node->lo; p < node->hi; p = end) {
        bool leaf = is_leaf(node, p);

        end = child_end(node, p);
        p->action = SLOT_NONE;
        if (!array_index_parse(p->text + node->at, component_len(p, node->at), &p->index)) {
            continue; /* an array has no such element */
        } else if (p->index < len && leaf && !p->is_set) {
            p->action = SLOT_NULL;
        } else if (p->index < old_len) {
            p->action = SLOT_CHANGE;
        } else if (p->index < len && leaf) {
            p->action = SLOT_APPEND;
        } else if (p->index >= len && has_set(p, end)) {
            p->action = SLOT_APPEND;
            len = p->index < UINT32_MAX ? p->index + 1 : UINT32_MAX;
        }
    }
}

/* Write the element of an array that child `p` changes; `old` is NULL beyond the old array. */
static enum pitr_rc
change_slot(struct update_job *job, const struct array_key *key, const struct belem *old,
            const struct mod_node *node, struct mod_path *p, struct pitr_err *err)
{
    struct mod_node child;

    if (p->action == SLOT_NULL)
        return update_put_head(job, BSON_NIL, key->text, key->len, err);
    if (old == NULL || is_leaf(node, p))
        return append_child(job, node, p, key->text, key->len, err);
    child = child_node(node, p);
    return change_inside(job, key->text, key->len, old, &child, err);
}

/* "01" and "1" are two names of one element; what an update of both means is nowhere defined. The
 * node is sorted by index here. */
static enum pitr_rc
check_index_twins(const struct mod_node *node, struct pitr_err *err)
{
    struct mod_path *next;

    for (struct mod_path *p = node->lo; p < node->hi; p = next) {
        uint32_t a, b;

        next = child_end(node, p);
        if (next < node->hi &&
            array_index_parse(p->text + node->at, component_len(p, node->at), &a) &&
            array_index_parse(next->text + node->at, component_len(next, node->at), &b) && a == b)
            return pitr_fail(err, PITR_CORRUPT, "modifiers: paths '%.60s' and '%.60s' conflict",
                             p->text, next->text);
    }
    return PITR_OK;
}

/* The first child from `p` on that does anything. */
static struct mod_path *
skip_idle(const struct mod_node *node, struct mod_path *p)
{
    while (p < node->hi && p->action == SLOT_NONE)
        p = child_end(node, p);
    return p;
}

/* The children at and beyond the end of the old array, in the order of their indexes. */
static enum pitr_rc
change_beyond(struct update_job *job, const struct mod_node *node, struct mod_path *p,
              struct array_key *key, uint32_t next, struct pitr_err *err)
{
    while (p < node->hi) {
        if (update_pad(job, key, &next, p->index, err) != PITR_OK ||
            change_slot(job, key, NULL, node, p, err) != PITR_OK)
            return err->rc;
        p = skip_idle(node, child_end(node, p));
        next++;
        array_key_next(key);
    }
    return PITR_OK;
}

static enum pitr_rc
change_array(struct update_job *job, const struct belem *old, const struct mod_node *node,
             struct pitr_err *err)
{
    struct path_order by_index = {
        .at = node->at, .first = ORDER_INDEX, .rest = visiting_order(job->order)};
    struct array_key key;
    struct mod_path *p;
    struct biter it;
    struct belem e;
    uint32_t len, next = 0;

    if (count_elements(old, &len, err) != PITR_OK)
        return err->rc;
    plan_array(node, len);
    sort_paths(node->lo, node->hi, &by_index);
    if (check_index_twins(node, err) != PITR_OK ||
        biter_init(&it, old->value, old->value_len, err) != PITR_OK)
        return err->rc;
    array_key_init(&key);
    p = skip_idle(node, node->lo);
    for (;; next++, array_key_next(&key)) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return change_beyond(job, node, p, &key, next, err);
        if (p == node->hi || p->index != next) {
            if (update_put_elem(job, key.text, key.len, &e, err) != PITR_OK)
                return err->rc;
            continue;
        }
        if (change_slot(job, &key, &e, node, p, err) != PITR_OK)
            return err->rc;
        p = skip_idle(node, child_end(node, p));
    }
}

enum pitr_rc
update_modifiers(struct update_job *job, const uint8_t *pre, size_t len, const uint8_t *o,
                 size_t o_len, struct pitr_err *err)
{
    struct belem old = {.type = BSON_DOC, .value = pre, .value_len = len};
    PITR_AUTO(mod_paths_release) struct mod_paths paths;
    struct mod_node root;

    mod_paths_init(&paths);
    if (mod_paths_read(&paths, o, o_len, job->order, err) != PITR_OK)
        return err->rc;
    root = (struct mod_node){.lo = paths.all, .hi = paths.all + paths.n};
    return change_doc(job, &old, &root, err);
}
