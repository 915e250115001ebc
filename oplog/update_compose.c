#include "oplog/update_compose.h"

#include <string.h>

#include "oplog/update_paths.h"

/* What is longer than this together is not composed, so that no result is too large to be. */
#define MAX_INPUT (UPDATE_MAX_RESULT / 2)

static enum pitr_rc
find_diff(const uint8_t *o, size_t o_len, struct belem *diff, struct pitr_err *err)
{
    bool found;

    if (bson_find(o, o_len, "diff", &found, diff, err) != PITR_OK)
        return err->rc;
    if (!found || diff->type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "delta: no diff document");
    return PITR_OK;
}

/* An update that leaves no trace must be well-formed all the same. */
static enum pitr_rc
check(struct update_job *job, enum update_kind kind, const uint8_t *o, size_t o_len,
      struct pitr_err *err)
{
    PITR_AUTO(mod_paths_release) struct mod_paths paths;
    struct belem diff;

    mod_paths_init(&paths);
    switch (kind) {
    case UPDATE_REPLACE:
        return PITR_OK;
    case UPDATE_DELTA:
        if (find_diff(o, o_len, &diff, err) != PITR_OK)
            return err->rc;
        /* The outermost diff is one of a document, whatever its first field is called. */
        return update_check_doc_diff(job, &diff, err);
    case UPDATE_MODIFIERS:
        return mod_paths_read(&paths, o, o_len, job->order, err);
    }
    return pitr_fail(err, PITR_INTERNAL, "update of kind %d", (int)kind);
}

/* True if the replacement, applied to a document, has the bytes of its own _id for sure: of several
 * the last one that differs counts. */
static enum pitr_rc
has_one_id(const uint8_t *o, size_t o_len, bool *one, struct pitr_err *err)
{
    struct biter it;
    struct belem e;
    size_t n = 0;

    if (biter_init(&it, o, o_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            break;
        n += belem_is(&e, "_id");
    }
    *one = n == 1;
    return PITR_OK;
}

static bool
is_flat(const struct mod_paths *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct mod_path *path = &p->all[i];

        if (memchr(path->text, '.', path->len) != NULL || belem_is(&path->e, "_id"))
            return false;
    }
    return true;
}

/*
 * Let each path of `b` find the same path of `a`, whose value it takes over; what is left of `b`
 * stays unmarked (met is false). *possible is false where the result is not certain:
 *
 * - A path that `a` sets too is reached, or blocked, in the document that `a` made as it was in the
 *   one before: the value changes, the place does not.
 * - Any other path that `b` sets may be new, and then follows what `a` appended, even if its name
 *   comes before. That is certain at the top level only, and if all names of `a` come before.
 * - A field that `b` removes leaves no trace at the top level; further down its parents may be the
 *   work of `a`. Of two fields of one name $unset takes one at a time.
 */
static void
merge_paths(struct mod_paths *a, struct mod_paths *b, enum update_field_order order, bool *possible)
{
    struct path_order by_visit = {.first = visiting_order(order), .rest = visiting_order(order)};
    struct mod_path *first = a->all, *end = a->all + a->n;
    bool flat = is_flat(a) && is_flat(b);

    for (size_t i = 0; i < b->n; i++) {
        struct mod_path *then = &b->all[i];

        while (first < end && compare_paths(first, then, &by_visit) < 0)
            first++;
        then->met = first < end && compare_paths(first, then, &by_visit) == 0;
        if (then->met) {
            if (!first->is_set || !(then->is_set || flat))
                *possible = false;
            first->e = then->e;
            first->is_set = then->is_set;
        } else if (!flat || (then->is_set && first < end)) {
            *possible = false;
        }
    }
}

static enum pitr_rc
put_paths(struct update_job *job, const char *section, bool is_set, const struct mod_paths *a,
          const struct mod_paths *b, struct pitr_err *err)
{
    const struct mod_paths *both[] = {a, b};
    bool open = false;
    size_t mark = 0;

    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < both[k]->n; i++) {
            const struct mod_path *p = &both[k]->all[i];

            if (p->is_set != is_set || p->met)
                continue;
            if (!open &&
                (update_put_head(job, BSON_DOC, section, strlen(section), err) != PITR_OK ||
                 update_begin_doc(job, &mark, err) != PITR_OK))
                return err->rc;
            open = true;
            if (update_copy(job, p->e.start, p->e.end, err) != PITR_OK)
                return err->rc;
        }
    }
    return open ? update_end_doc(job, mark, err) : PITR_OK;
}

static enum pitr_rc
compose_modifiers(struct update_job *job, const uint8_t *a, size_t a_len, const uint8_t *b,
                  size_t b_len, bool *possible, struct pitr_err *err)
{
    PITR_AUTO(mod_paths_release) struct mod_paths first, then;
    size_t mark;

    mod_paths_init(&first);
    mod_paths_init(&then);
    if (mod_paths_read(&first, a, a_len, job->order, err) != PITR_OK ||
        mod_paths_read(&then, b, b_len, job->order, err) != PITR_OK)
        return err->rc;
    merge_paths(&first, &then, job->order, possible);
    if (update_begin_doc(job, &mark, err) != PITR_OK ||
        update_put_head(job, BSON_INT, "$v", 2, err) != PITR_OK ||
        buf_append_le32(job->out, 1, err) != PITR_OK ||
        put_paths(job, "$unset", false, &first, &then, err) != PITR_OK ||
        put_paths(job, "$set", true, &first, &then, err) != PITR_OK)
        return err->rc;
    return update_end_doc(job, mark, err);
}

static enum pitr_rc
compose(struct update_job *job, const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
        bool *possible, struct pitr_err *err)
{
    enum update_kind first, then;
    struct belem a_diff, b_diff;

    if (update_classify(a, a_len, &first, err) != PITR_OK ||
        update_classify(b, b_len, &then, err) != PITR_OK)
        return err->rc;
    *possible = true;
    if (then == UPDATE_REPLACE) {
        if (check(job, first, a, a_len, err) != PITR_OK)
            return err->rc;
        return buf_append(job->out, b, b_len, err);
    }
    if (first == UPDATE_REPLACE) {
        if (has_one_id(a, a_len, possible, err) != PITR_OK)
            return err->rc;
        if (!*possible)
            return PITR_OK;
        return update_apply(job->out, a, a_len, b, b_len, job->order, true, err);
    }
    if (first != then) {
        *possible = false;
        return PITR_OK;
    }
    if (first == UPDATE_MODIFIERS)
        return compose_modifiers(job, a, a_len, b, b_len, possible, err);
    if (find_diff(a, a_len, &a_diff, err) != PITR_OK ||
        find_diff(b, b_len, &b_diff, err) != PITR_OK)
        return err->rc;
    return update_compose_deltas(job, &a_diff, &b_diff, possible, err);
}

enum pitr_rc
update_compose(struct buf *out, const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
               enum update_field_order order, bool *composed, struct pitr_err *err)
{
    struct update_job job = {.out = out, .base = out->len, .order = order, .strict = true};
    enum pitr_rc rc;

    *composed = false;
    if (a_len > MAX_INPUT || b_len > MAX_INPUT - a_len)
        return PITR_OK;
    rc = compose(&job, a, a_len, b, b_len, composed, err);
    if (rc != PITR_OK)
        *composed = false;
    if (!*composed)
        out->len = job.base;
    return rc;
}
