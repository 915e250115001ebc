#include "oplog/update_diff.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void
diff_fields_init(struct diff_fields *f)
{
    f->all = f->few;
    f->n = 0;
    f->by_name = NULL;
}

void
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

struct diff_field *
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

enum pitr_rc
binary_diff_parse(const struct belem *e, uint32_t *offset, struct belem *bytes,
                  struct pitr_err *err)
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
        if (change == CHANGE_BINARY && binary_diff_parse(&e, &offset, &bytes, err) != PITR_OK)
            return err->rc;
        f->all[f->n++] =
            (struct diff_field){.name = e.name, .name_len = e.name_len, .change = change, .e = e};
    }
}

enum pitr_rc
diff_fields_read(struct diff_fields *f, const struct belem *diff, struct pitr_err *err)
{
    struct biter it;
    struct belem e;
    enum field_change change;
    size_t n;

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

bool
diff_is_array(const struct belem *diff)
{
    const uint8_t *first = diff->value + 4;

    return diff->value_len >= 4 + 3 && first[0] != BSON_EOD && first[1] == 'a' && first[2] == 0;
}

enum pitr_rc
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

enum pitr_rc
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
