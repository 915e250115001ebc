#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "oplog/update_internal.h"

/*
 * A delta is a tree of diffs that mirrors the document. Each diff is read once into a list of what
 * it says about its fields, then the old fields go past that list in their order. A diff whose
 * target is missing or of another type changes nothing, or makes a null; it is still read to its
 * ends, so that a malformed delta is found whatever document it meets.
 */

enum field_change { CHANGE_DELETE, CHANGE_UPDATE, CHANGE_INSERT, CHANGE_BINARY, CHANGE_SUB };

/* Most diffs name a few fields; those need no allocation, and no order to be searched. */
enum { FEW_FIELDS = 8 };

struct diff_field {
    const char *name;
    size_t name_len;
    enum field_change change;
    bool met;       /* the old document has it */
    struct belem e; /* the new value, or the diff of it */
};

struct diff_fields {
    struct diff_field few[FEW_FIELDS];
    struct diff_field *all; /* in diff order: `few`, or owned */
    size_t n;
    struct diff_field **by_name; /* owned; NULL while `few` is enough */
};

static void
diff_fields_release(struct diff_fields *f)
{
    if (f->all != f->few)
        free(f->all);
    free(f->by_name);
}

/* Not the order of text, only a quick one. */
static int
compare_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len)
        return a_len < b_len ? -1 : 1;
    return memcmp(a, b, a_len);
}

static int
compare_fields(const void *a, const void *b)
{
    const struct diff_field *x = *(struct diff_field *const *)a;
    const struct diff_field *y = *(struct diff_field *const *)b;

    return compare_names(x->name, x->name_len, y->name, y->name_len);
}

static struct diff_field *
diff_fields_find(const struct diff_fields *f, const char *name, size_t name_len)
{
    size_t lo = 0, hi = f->n;

    if (f->by_name == NULL) {
        for (size_t i = 0; i < f->n; i++) {
            if (f->all[i].name_len == name_len && memcmp(f->all[i].name, name, name_len) == 0)
                return &f->all[i];
        }
        return NULL;
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        struct diff_field *at = f->by_name[mid];
        int c = compare_names(name, name_len, at->name, at->name_len);

        if (c == 0)
            return at;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static enum pitr_rc
named_twice(const struct diff_field *field, struct pitr_err *err)
{
    return pitr_fail(err, PITR_CORRUPT, "delta: field %.60s named twice", field->name);
}

/* Make the list searchable, and refuse a name that is in it twice. */
static enum pitr_rc
diff_fields_index(struct diff_fields *f, struct pitr_err *err)
{
    if (f->n <= FEW_FIELDS) {
        for (size_t i = 1; i < f->n; i++) {
            for (size_t k = 0; k < i; k++) {
                if (compare_names(f->all[i].name, f->all[i].name_len, f->all[k].name,
                                  f->all[k].name_len) == 0)
                    return named_twice(&f->all[i], err);
            }
        }
        return PITR_OK;
    }
    f->by_name = malloc(f->n * sizeof *f->by_name);
    if (f->by_name == NULL)
        return pitr_fail(err, PITR_NOMEM, "delta of %zu fields", f->n);
    for (size_t i = 0; i < f->n; i++)
        f->by_name[i] = &f->all[i];
    qsort(f->by_name, f->n, sizeof *f->by_name, compare_fields);
    for (size_t i = 1; i < f->n; i++) {
        if (compare_fields(&f->by_name[i - 1], &f->by_name[i]) == 0)
            return named_twice(f->by_name[i], err);
    }
    return PITR_OK;
}

/* Which section a top-level key of a document diff is. */
static bool
section_of(const struct belem *e, enum field_change *change)
{
    if (e->name_len > 0 && e->name[0] == 's') {
        *change = CHANGE_SUB;
        return true;
    }
    if (e->name_len != 1)
        return false;
    switch (e->name[0]) {
    case 'd':
        *change = CHANGE_DELETE;
        return true;
    case 'u':
        *change = CHANGE_UPDATE;
        return true;
    case 'i':
        *change = CHANGE_INSERT;
        return true;
    case 'b':
        *change = CHANGE_BINARY;
        return true;
    default:
        return false;
    }
}

/* The sections of a document diff: known, in their order, documents. Counts the fields in them. */
static enum pitr_rc
count_fields(const struct belem *diff, size_t *n, struct pitr_err *err)
{
    struct biter it, section;
    struct belem e, field;
    enum field_change change, last = CHANGE_DELETE;
    bool first = true;

    *n = 0;
    if (biter_init(&it, diff->value, diff->value_len, err) != PITR_OK)
        return err->rc;
    for (;; first = false, last = change) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            break;
        if (!section_of(&e, &change))
            return pitr_fail(err, PITR_CORRUPT, "delta: unknown section %.60s", e.name);
        if (!first && (change < last || (change == last && change != CHANGE_SUB)))
            return pitr_fail(err, PITR_CORRUPT, "delta: section %.60s out of order", e.name);
        if (e.type != BSON_DOC)
            return pitr_fail(err, PITR_CORRUPT, "delta: section %.60s is not a document", e.name);
        if (change == CHANGE_SUB) {
            (*n)++;
            continue;
        }
        if (biter_init(&section, e.value, e.value_len, err) != PITR_OK)
            return err->rc;
        for (;; (*n)++) {
            if (biter_next(&section, &field, err) != PITR_OK)
                return err->rc;
            if (field.type == BSON_EOD)
                break;
        }
    }
    return first ? pitr_fail(err, PITR_CORRUPT, "delta: empty diff") : PITR_OK;
}

/* The parts of a binary diff: where in the old bytes the new ones start, and the new ones. */
static enum pitr_rc
binary_parse(const struct belem *e, uint32_t *offset, struct belem *bytes, struct pitr_err *err)
{
    struct biter it;
    struct belem o, end;

    if (e->type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "delta: binary diff is not a document");
    if (biter_init(&it, e->value, e->value_len, err) != PITR_OK ||
        biter_next(&it, &o, err) != PITR_OK)
        return err->rc;
    if (o.type != BSON_INT || !belem_is(&o, "o") || get_le32(o.value) > INT32_MAX)
        return pitr_fail(err, PITR_CORRUPT, "delta: binary diff without a valid offset o");
    *offset = get_le32(o.value);
    if (biter_next(&it, bytes, err) != PITR_OK)
        return err->rc;
    if (bytes->type != BSON_BIN || !belem_is(bytes, "d"))
        return pitr_fail(err, PITR_CORRUPT, "delta: binary diff without bytes d");
    if (biter_next(&it, &end, err) != PITR_OK)
        return err->rc;
    if (end.type != BSON_EOD)
        return pitr_fail(err, PITR_CORRUPT, "delta: binary diff with field %.60s", end.name);
    return PITR_OK;
}

static enum pitr_rc
add_section(struct diff_fields *f, enum field_change change, const struct belem *section,
            struct pitr_err *err)
{
    struct biter it;
    struct belem e, bytes;
    uint32_t offset;

    if (biter_init(&it, section->value, section->value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (change == CHANGE_BINARY && binary_parse(&e, &offset, &bytes, err) != PITR_OK)
            return err->rc;
        f->all[f->n++] =
            (struct diff_field){.name = e.name, .name_len = e.name_len, .change = change, .e = e};
    }
}

/* Read a document diff; *f must be released even after a failure. */
static enum pitr_rc
diff_fields_read(struct diff_fields *f, const struct belem *diff, struct pitr_err *err)
{
    struct biter it;
    struct belem e;
    enum field_change change;
    size_t n;

    f->all = f->few;
    f->n = 0;
    f->by_name = NULL;
    if (count_fields(diff, &n, err) != PITR_OK)
        return err->rc;
    if (n > FEW_FIELDS) {
        f->all = malloc(n * sizeof *f->all);
        if (f->all == NULL)
            return pitr_fail(err, PITR_NOMEM, "delta of %zu fields", n);
    }
    if (biter_init(&it, diff->value, diff->value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD || !section_of(&e, &change))
            break; /* count_fields() has refused unknown ones */
        if (change == CHANGE_SUB)
            f->all[f->n++] = (struct diff_field){
                .name = e.name + 1, .name_len = e.name_len - 1, .change = change, .e = e};
        else if (add_section(f, change, &e, err) != PITR_OK)
            return err->rc;
    }
    return diff_fields_index(f, err);
}

/* True if the first field of a sub-diff is `a`: it describes an array. */
static bool
is_array_diff(const struct belem *diff)
{
    const uint8_t *first = diff->value + 4;

    return diff->value_len >= 4 + 3 && first[0] != BSON_EOD && first[1] == 'a' && first[2] == 0;
}

/*
 * Apply a diff to the document or array `old`, writing the new elements into the open document;
 * without `old` (NULL) only read it. Both recurse, one level of the diff per call.
 */
static enum pitr_rc doc_diff(struct update_job *job, const struct belem *old,
                             const struct belem *diff, int depth, struct pitr_err *err);
static enum pitr_rc array_diff(struct update_job *job, const struct belem *old,
                               const struct belem *diff, int depth, struct pitr_err *err);

/* Write element `name` as the sub-diff makes it of `old` (NULL: an index beyond the array). */
static enum pitr_rc
sub_diff(struct update_job *job, const char *name, size_t name_len, const struct belem *old,
         const struct belem *diff, int depth, struct pitr_err *err)
{
    bool is_array = is_array_diff(diff);
    size_t mark;

    if (old == NULL || old->type != (is_array ? BSON_ARRAY : BSON_DOC)) {
        if (update_put_head(job, BSON_NIL, name, name_len, err) != PITR_OK)
            return err->rc;
        return is_array ? array_diff(job, NULL, diff, depth, err)
                        : doc_diff(job, NULL, diff, depth, err);
    }
    if (update_put_head(job, old->type, name, name_len, err) != PITR_OK ||
        update_begin_doc(job, &mark, err) != PITR_OK)
        return err->rc;
    if ((is_array ? array_diff(job, old, diff, depth, err)
                  : doc_diff(job, old, diff, depth, err)) != PITR_OK)
        return err->rc;
    return update_end_doc(job, mark, err);
}

/* The old bytes up to the offset, then the new ones; what follows in the old value is gone. */
static enum pitr_rc
binary_diff(struct update_job *job, const struct belem *old, const struct belem *diff,
            struct pitr_err *err)
{
    const uint8_t *kept = old->value + 5;
    struct belem bytes;
    uint32_t offset;
    uint8_t head[5];

    if (binary_parse(diff, &offset, &bytes, err) != PITR_OK)
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
        return binary_diff(job, old, &field->e, err);
    case CHANGE_SUB:
        return sub_diff(job, old->name, old->name_len, old, &field->e, depth + 1, err);
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
            if ((is_array_diff(&field->e)
                     ? array_diff(job, NULL, &field->e, depth + 1, err)
                     : doc_diff(job, NULL, &field->e, depth + 1, err)) != PITR_OK)
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

    f.all = f.few;
    f.by_name = NULL;
    if (check_depth(depth, err) != PITR_OK || diff_fields_read(&f, diff, err) != PITR_OK)
        return err->rc;
    if (old != NULL && change_old_fields(job, old, &f, depth, err) != PITR_OK)
        return err->rc;
    return append_new_fields(job, &f, old == NULL, depth, err);
}

/* A position in an array diff; type BSON_EOD after its last change. */
struct array_change {
    struct biter it;
    struct belem e;
    bool is_sub;
    uint32_t index;
};

/* Step to the next change; indexes ascend and stay below `limit`. */
static enum pitr_rc
array_change_next(struct array_change *c, bool first, uint64_t limit, struct pitr_err *err)
{
    uint32_t last = c->index;

    if (biter_next(&c->it, &c->e, err) != PITR_OK)
        return err->rc;
    if (c->e.type == BSON_EOD)
        return PITR_OK;
    if ((c->e.name[0] != 'u' && c->e.name[0] != 's') ||
        !array_index_parse(c->e.name + 1, c->e.name_len - 1, &c->index))
        return pitr_fail(err, PITR_CORRUPT, "delta: unknown array change %.60s", c->e.name);
    c->is_sub = c->e.name[0] == 's';
    if (c->is_sub && c->e.type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "delta: array change %.60s is not a document",
                         c->e.name);
    if (!first && c->index <= last)
        return pitr_fail(err, PITR_CORRUPT, "delta: array change %.60s out of order", c->e.name);
    if (c->index >= limit)
        return pitr_fail(err, PITR_CORRUPT, "delta: array change %.60s beyond the new length",
                         c->e.name);
    return PITR_OK;
}

/* Read the head of an array diff and step to its first change. *limit: the exact new length if
 * *resized, otherwise an upper bound. */
static enum pitr_rc
array_change_first(struct array_change *c, const struct belem *diff, bool *resized, uint64_t *limit,
                   struct pitr_err *err)
{
    struct biter ahead;

    *resized = false;
    *limit = UINT32_MAX;
    c->index = 0;
    if (biter_init(&c->it, diff->value, diff->value_len, err) != PITR_OK ||
        biter_next(&c->it, &c->e, err) != PITR_OK)
        return err->rc;
    if (c->e.type != BSON_BOOLEAN || c->e.value[0] == 0)
        return pitr_fail(err, PITR_CORRUPT, "delta: mark a of an array diff is not true");
    ahead = c->it;
    if (biter_next(&ahead, &c->e, err) != PITR_OK)
        return err->rc;
    if (c->e.type != BSON_EOD && belem_is(&c->e, "l")) {
        if (c->e.type != BSON_INT || get_le32(c->e.value) > INT32_MAX)
            return pitr_fail(err, PITR_CORRUPT, "delta: bad array length l");
        *resized = true;
        *limit = get_le32(c->e.value);
        c->it = ahead;
    }
    return array_change_next(c, true, *limit, err);
}

/* Write one changed element; `old` is NULL beyond the old array. */
static enum pitr_rc
change_element(struct update_job *job, const struct array_key *key, const struct belem *old,
               const struct array_change *c, int depth, struct pitr_err *err)
{
    if (c->is_sub)
        return sub_diff(job, key->text, key->len, old, &c->e, depth + 1, err);
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
        if (c->is_sub &&
            (is_array_diff(&c->e) ? array_diff(job, NULL, &c->e, depth + 1, err)
                                  : doc_diff(job, NULL, &c->e, depth + 1, err)) != PITR_OK)
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
