#include <string.h>

#include "base/bytes.h"
#include "oplog/update_diff.h"

/*
 * A delta is a tree of diffs that mirrors the document. Each diff is read once into a list of what
 * it says about its fields, then the old fields go past that list in their order. A diff whose
 * target is missing or of another type changes nothing, or makes a null; it is still read to its
 * ends, so that a malformed delta is found whatever document it meets.
 */

/*
 * Apply a diff to the document or array `old`, writing the new elements into the open document;
 * without `old` (NULL) only read it. Both recurse, one level of the diff per call.
 */
static enum pitr_rc doc_diff(struct update_job *job, const struct belem *old,
                             const struct belem *diff, int depth, struct pitr_err *err);
static enum pitr_rc array_diff(struct update_job *job, const struct belem *old,
                               const struct belem *diff, int depth, struct pitr_err *err);

enum pitr_rc
update_check_diff(struct update_job *job, const struct belem *diff, int depth, struct pitr_err *err)
{
    return diff_is_array(diff) ? array_diff(job, NULL, diff, depth, err)
                               : doc_diff(job, NULL, diff, depth, err);
}

enum pitr_rc
update_sub_diff(struct update_job *job, const char *name, size_t name_len, const struct belem *old,
                const struct belem *diff, int depth, struct pitr_err *err)
{
    bool is_array = diff_is_array(diff);
    size_t mark;

    if (old == NULL || old->type != (is_array ? BSON_ARRAY : BSON_DOC)) {
        if (update_put_head(job, BSON_NIL, name, name_len, err) != PITR_OK)
            return err->rc;
        return update_check_diff(job, diff, depth, err);
    }
    if (update_put_head(job, old->type, name, name_len, err) != PITR_OK ||
        update_begin_doc(job, &mark, err) != PITR_OK)
        return err->rc;
    if ((is_array ? array_diff(job, old, diff, depth, err)
                  : doc_diff(job, old, diff, depth, err)) != PITR_OK)
        return err->rc;
    return update_end_doc(job, mark, err);
}

enum pitr_rc
update_binary_diff(struct update_job *job, const struct belem *old, const struct belem *diff,
                   struct pitr_err *err)
{
    const uint8_t *kept = old->value + 5;
    struct belem bytes;
    uint32_t offset;
    uint8_t head[5];

    if (binary_diff_parse(diff, &offset, &bytes, err) != PITR_OK)
        return err->rc;
    if (old->type != BSON_BIN)
        return update_copy(job, old->start, old->end, err);
    if (offset > old->value_len - sizeof head) {
        if (job->strict)
            return pitr_fail(err, PITR_CORRUPT,
                             "delta: binary diff of %.60s at %u, beyond its %zu bytes", old->name,
                             offset, old->value_len - sizeof head);
        return update_copy(job, old->start, old->end, err);
    }
    put_le32(head, (uint32_t)(offset + (bytes.value_len - sizeof head)));
    head[4] = old->value[4];
    if (update_put_head(job, BSON_BIN, old->name, old->name_len, err) != PITR_OK ||
        update_copy(job, head, head + sizeof head, err) != PITR_OK ||
        update_copy(job, kept, kept + offset, err) != PITR_OK)
        return err->rc;
    return update_copy(job, bytes.value + 5, bytes.end, err);
}

/* What becomes of a field that the old document has. */
static enum pitr_rc
change_field(struct update_job *job, const struct belem *old, struct diff_field *field, int depth,
             struct pitr_err *err)
{
    field->met = true;
    switch (field->change) {
    case CHANGE_DELETE:
    case CHANGE_INSERT: /* comes back at the end */
        return PITR_OK;
    case CHANGE_UPDATE:
        return update_copy(job, field->e.start, field->e.end, err);
    case CHANGE_BINARY:
        return update_binary_diff(job, old, &field->e, err);
    case CHANGE_SUB:
        return update_sub_diff(job, old->name, old->name_len, old, &field->e, depth + 1, err);
    }
    return pitr_fail(err, PITR_INTERNAL, "delta: change %d", (int)field->change);
}

static enum pitr_rc
check_depth(int depth, struct pitr_err *err)
{
    if (depth > BSON_MAX_DEPTH)
        return pitr_fail(err, PITR_CORRUPT, "delta nested deeper than %d levels", BSON_MAX_DEPTH);
    return PITR_OK;
}

/* The pass over the old fields. Depth 0 is the whole document, whose _id is written already. */
static enum pitr_rc
change_old_fields(struct update_job *job, const struct belem *old, struct diff_fields *f, int depth,
                  struct pitr_err *err)
{
    struct biter it;
    struct belem e;
    const uint8_t *run;

    if (biter_init(&it, old->value, old->value_len, err) != PITR_OK)
        return err->rc;
    for (run = it.at;;) {
        struct diff_field *field;
        bool is_id;
        size_t mark;

        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return update_copy(job, run, e.start, err);
        field = diff_fields_find(f, e.name, e.name_len);
        is_id = depth == 0 && belem_is(&e, "_id");
        if (field == NULL && !is_id)
            continue;
        if (update_copy(job, run, e.start, err) != PITR_OK)
            return err->rc;
        run = e.end;
        mark = job->out->len;
        if (field != NULL && change_field(job, &e, field, depth, err) != PITR_OK)
            return err->rc;
        if (is_id && update_pin_id(job, mark, err) != PITR_OK)
            return err->rc;
    }
}

/* Append what the old document did not have, and read the diffs that found no target. */
static enum pitr_rc
append_new_fields(struct update_job *job, const struct diff_fields *f, bool reading_only, int depth,
                  struct pitr_err *err)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct diff_field *field = &f->all[i];
        size_t mark = job->out->len;

        if (field->change == CHANGE_SUB && !field->met) {
            if (update_check_diff(job, &field->e, depth + 1, err) != PITR_OK)
                return err->rc;
        }
        if (reading_only ||
            !(field->change == CHANGE_INSERT || (field->change == CHANGE_UPDATE && !field->met)))
            continue;
        if (update_copy(job, field->e.start, field->e.end, err) != PITR_OK)
            return err->rc;
        if (depth == 0 && belem_is(&field->e, "_id") && update_pin_id(job, mark, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
doc_diff(struct update_job *job, const struct belem *old, const struct belem *diff, int depth,
         struct pitr_err *err)
{
    PITR_AUTO(diff_fields_release) struct diff_fields f;

    diff_fields_init(&f);
    if (check_depth(depth, err) != PITR_OK || diff_fields_read(&f, diff, err) != PITR_OK)
        return err->rc;
    if (old != NULL && change_old_fields(job, old, &f, depth, err) != PITR_OK)
        return err->rc;
    return append_new_fields(job, &f, old == NULL, depth, err);
}

/* Write one changed element; `old` is NULL beyond the old array. */
static enum pitr_rc
change_element(struct update_job *job, const struct array_key *key, const struct belem *old,
               const struct array_change *c, int depth, struct pitr_err *err)
{
    if (c->is_sub)
        return update_sub_diff(job, key->text, key->len, old, &c->e, depth + 1, err);
    return update_put_elem(job, key->text, key->len, &c->e, err);
}

/* The changes at and beyond the end of the old array, then the padding up to the new length. */
static enum pitr_rc
change_beyond(struct update_job *job, struct array_key *key, uint32_t next, struct array_change *c,
              bool resized, uint64_t limit, int depth, struct pitr_err *err)
{
    while (c->e.type != BSON_EOD) {
        if (update_pad(job, key, &next, c->index, err) != PITR_OK ||
            change_element(job, key, NULL, c, depth, err) != PITR_OK)
            return err->rc;
        next++;
        array_key_next(key);
        if (array_change_next(c, false, limit, err) != PITR_OK)
            return err->rc;
    }
    return resized ? update_pad(job, key, &next, (uint32_t)limit, err) : PITR_OK;
}

/* Read the changes without applying them. */
static enum pitr_rc
read_array_changes(struct update_job *job, struct array_change *c, uint64_t limit, int depth,
                   struct pitr_err *err)
{
    while (c->e.type != BSON_EOD) {
        if (c->is_sub && update_check_diff(job, &c->e, depth + 1, err) != PITR_OK)
            return err->rc;
        if (array_change_next(c, false, limit, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
array_diff(struct update_job *job, const struct belem *old, const struct belem *diff, int depth,
           struct pitr_err *err)
{
    struct array_change c;
    struct array_key key;
    struct biter it;
    struct belem e;
    uint32_t next = 0;
    uint64_t limit;
    bool resized;

    if (check_depth(depth, err) != PITR_OK ||
        array_change_first(&c, diff, &resized, &limit, err) != PITR_OK)
        return err->rc;
    if (old == NULL)
        return read_array_changes(job, &c, limit, depth, err);
    if (biter_init(&it, old->value, old->value_len, err) != PITR_OK)
        return err->rc;
    array_key_init(&key);
    for (; next < limit; next++, array_key_next(&key)) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            break;
        if (c.e.type == BSON_EOD || c.index != next) {
            if (update_put_elem(job, key.text, key.len, &e, err) != PITR_OK)
                return err->rc;
            continue;
        }
        if (change_element(job, &key, &e, &c, depth, err) != PITR_OK ||
            array_change_next(&c, false, limit, err) != PITR_OK)
            return err->rc;
    }
    return change_beyond(job, &key, next, &c, resized, limit, depth, err);
}

enum pitr_rc
update_delta(struct update_job *job, const uint8_t *pre, size_t len, const struct belem *diff,
             struct pitr_err *err)
{
    struct belem old = {.type = BSON_DOC, .value = pre, .value_len = len};

    return doc_diff(job, &old, diff, 0, err);
}

enum pitr_rc
update_check_doc_diff(struct update_job *job, const struct belem *diff, struct pitr_err *err)
{
    return doc_diff(job, NULL, diff, 0, err);
}
