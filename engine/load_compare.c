#include "engine/load_compare.h"

#include <bson/bson.h>
#include <stdio.h>
#include <string.h>

#include "engine/load_options.h"
#include "mongo/bsonedit.h"

enum { CAPPED_SIZE_UNIT = 256, SHOWN_VALUE = 120 };

static bool values_equal(const struct belem *a, const struct belem *b);

static bool
is_number(const struct belem *e)
{
    return e->type == BSON_INT || e->type == BSON_LONG || e->type == BSON_DOUBLE;
}

static bool
numbers_equal(const struct belem *a, const struct belem *b)
{
    int64_t x, y;

    if (belem_int64(a, &x) && belem_int64(b, &y))
        return x == y;
    return a->type == b->type && memcmp(a->value, b->value, a->value_len) == 0;
}

/* Fields in the same order. Documents nest at most as deep as the server allows (bson_check), which
 * bounds the recursion. */
static bool
documents_equal(const struct belem *a, const struct belem *b)
{
    struct pitr_err ignored;
    struct biter x, y;
    struct belem p, q;

    if (biter_init(&x, a->value, a->value_len, &ignored) != PITR_OK ||
        biter_init(&y, b->value, b->value_len, &ignored) != PITR_OK)
        return false;
    for (;;) {
        if (biter_next(&x, &p, &ignored) != PITR_OK || biter_next(&y, &q, &ignored) != PITR_OK)
            return false;
        if (p.type == BSON_EOD || q.type == BSON_EOD)
            return p.type == q.type;
        if (!belem_is(&p, q.name) || !values_equal(&p, &q))
            return false;
    }
}

static bool
values_equal(const struct belem *a, const struct belem *b)
{
    if (is_number(a) && is_number(b))
        return numbers_equal(a, b);
    if (a->type != b->type)
        return false;
    if (a->type == BSON_DOC || a->type == BSON_ARRAY)
        return documents_equal(a, b);
    return a->value_len == b->value_len && memcmp(a->value, b->value, a->value_len) == 0;
}

/* Every field of `part` is in `whole`. Newer servers add fields to what they are given. */
static bool
document_contains(const struct belem *whole, const struct belem *part)
{
    struct pitr_err ignored;
    struct biter it;
    struct belem e, have;
    bool found;

    if (whole->type != BSON_DOC || part->type != BSON_DOC ||
        biter_init(&it, part->value, part->value_len, &ignored) != PITR_OK)
        return false;
    for (;;) {
        if (biter_next(&it, &e, &ignored) != PITR_OK)
            return false;
        if (e.type == BSON_EOD)
            return true;
        if (bson_find(whole->value, whole->value_len, e.name, &found, &have, &ignored) != PITR_OK ||
            !found || !values_equal(&have, &e))
            return false;
    }
}

static bool
is_text(const struct belem *e, const char *expected)
{
    const char *text;
    size_t len;

    return belem_string(e, &text, &len) && len == strlen(expected) &&
           memcmp(text, expected, len) == 0;
}

/* The value of a field of a document is the string or the false that it would be by default. */
static bool
inner_is(const struct belem *e, const char *name, const char *text)
{
    struct pitr_err ignored;
    struct belem inner;
    bool found;

    if (e->type != BSON_DOC ||
        bson_find(e->value, e->value_len, name, &found, &inner, &ignored) != PITR_OK || !found)
        return false;
    return text != NULL ? is_text(&inner, text) : !belem_truthy(&inner);
}

static bool
is_empty_doc(const struct belem *e)
{
    return e->type == BSON_DOC && e->value_len == 5;
}

static bool
is_named(const struct belem *e, const char *const *names)
{
    for (; *names != NULL; names++)
        if (belem_is(e, *names))
            return true;
    return false;
}

/* Says nothing about the collection, or only what holds without it. */
static bool
option_is_void(const struct load_coll *c, const struct belem *e)
{
    static const char *const state[] = {
        "temp",  "uuid", "autoIndexId", "recordIdsReplicated", "idIndex", "expireAfterSeconds",
        "flags", NULL};
    static const char *const derived[] = {"validator", "clusteredIndex", "validationLevel",
                                          "validationAction", NULL};
    static const char *const of_capped[] = {"capped", "size", "max", NULL};

    return is_named(e, state) || (load_is_buckets(c) && is_named(e, derived)) ||
           (!load_is_capped(c) && is_named(e, of_capped) && !belem_truthy(e)) ||
           (belem_is(e, "validator") && is_empty_doc(e)) ||
           (belem_is(e, "validationLevel") && is_text(e, "strict")) ||
           (belem_is(e, "validationAction") && is_text(e, "error")) ||
           (belem_is(e, "collation") && inner_is(e, "locale", "simple")) ||
           (belem_is(e, "changeStreamPreAndPostImages") && inner_is(e, "enabled", NULL)) ||
           (belem_is(e, "recordPreImages") && !belem_truthy(e));
}

static bool
option_equal(const struct belem *expected, const struct belem *actual)
{
    int64_t x, y;

    if (belem_is(expected, "size") && belem_int64(expected, &x) && belem_int64(actual, &y) &&
        x > 0 && x <= INT64_MAX - CAPPED_SIZE_UNIT)
        return x == y || (x + CAPPED_SIZE_UNIT - 1) / CAPPED_SIZE_UNIT * CAPPED_SIZE_UNIT == y;
    if (belem_is(expected, "timeseries"))
        return document_contains(actual, expected);
    return values_equal(expected, actual);
}

/* A value as JSON into shown[SHOWN_VALUE], cut when it is long. */
static void
show_value(char shown[SHOWN_VALUE], const struct belem *e)
{
    struct pitr_err ignored;
    struct buf doc = {0};
    size_t at;
    bson_t view;
    char *json = NULL;

    snprintf(shown, SHOWN_VALUE, "?");
    if (bdoc_begin(&doc, &at, &ignored) == PITR_OK &&
        bdoc_append(&doc, "", e, &ignored) == PITR_OK && bdoc_end(&doc, at, &ignored) == PITR_OK &&
        bson_init_static(&view, doc.data, doc.len))
        json = bson_as_relaxed_extended_json(&view, NULL);
    /* { "" : VALUE } */
    if (json != NULL && strlen(json) > 9)
        snprintf(shown, SHOWN_VALUE, "%.*s", (int)strlen(json) - 9, json + 7);
    bson_free(json);
    buf_release(&doc);
}

static void __attribute__((format(printf, 2, 3)))
tell(const struct difference_sink *sink, const char *fmt, ...)
{
    char text[2 * SHOWN_VALUE + 600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sink->tell(sink->arg, text);
}

/* How one pair of documents is compared: what their fields are called in sentences, which fields
 * count, when two values are equal. */
struct rules {
    char what[300]; /* "option", "index a_1: " */
    bool (*is_void)(const struct load_coll *c, const struct belem *e);
    bool (*equal)(const struct belem *expected, const struct belem *actual);
};

/* Fields of `from` that `in` lacks or, if `both`, that differ. */
static enum pitr_rc
compare_fields(const struct rules *rules, const struct load_coll *c, const struct buf *from,
               const struct buf *in, bool from_is_expected, const struct difference_sink *sink,
               struct pitr_err *err)
{
    char have[SHOWN_VALUE], want[SHOWN_VALUE];
    struct biter it;
    struct belem e, other;
    bool found;

    if (from->len == 0)
        return PITR_OK;
    if (biter_init(&it, from->data, from->len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (rules->is_void(c, &e))
            continue;
        if (options_find(in, e.name, &found, &other, err) != PITR_OK)
            return err->rc;
        show_value(want, &e);
        if (!found || rules->is_void(c, &other)) {
            tell(sink,
                 from_is_expected ? "%s %s is missing, expected %s" : "%s %s is %s, unexpected",
                 rules->what, e.name, want);
        } else if (from_is_expected && !rules->equal(&e, &other)) {
            show_value(have, &other);
            tell(sink, "%s %s is %s, expected %s", rules->what, e.name, have, want);
        }
    }
}

enum pitr_rc
load_compare_options(const struct load_coll *c, const struct buf *actual,
                     const struct difference_sink *sink, struct pitr_err *err)
{
    static const struct rules rules = {"option", option_is_void, option_equal};

    if (compare_fields(&rules, c, &c->options, actual, true, sink, err) != PITR_OK)
        return pitr_wrap(err, "options of %s.%s", c->db, c->name);
    return compare_fields(&rules, c, actual, &c->options, false, sink, err);
}

static bool
index_field_is_void(const struct load_coll *c, const struct belem *e)
{
    /* originalSpec repeats what the other fields of a spec of buckets say. */
    static const char *const ignored[] = {"ns",   "background", "buildUUID",    "indexBuildInfo",
                                          "safe", "dropDups",   "originalSpec", NULL};
    static const char *const flags[] = {"unique", "sparse", "hidden", "prepareUnique", NULL};

    (void)c;
    return is_named(e, ignored) || (is_named(e, flags) && !belem_truthy(e)) ||
           (belem_is(e, "collation") && inner_is(e, "locale", "simple"));
}

static bool
index_field_equal(const struct belem *expected, const struct belem *actual)
{
    static const char *const flags[] = {"unique", "sparse", "hidden", "prepareUnique", NULL};

    if (is_named(expected, flags))
        return belem_truthy(expected) == belem_truthy(actual);
    return values_equal(expected, actual);
}

enum pitr_rc
load_compare_index(const struct load_coll *c, const char *name, const struct belem *expected,
                   const struct belem *actual, const struct difference_sink *sink,
                   struct pitr_err *err)
{
    /* Views of the two documents, never grown or released. */
    struct buf want = {(uint8_t *)(uintptr_t)expected->value, expected->value_len, 0};
    struct buf have = {(uint8_t *)(uintptr_t)actual->value, actual->value_len, 0};
    struct rules rules = {.is_void = index_field_is_void, .equal = index_field_equal};

    snprintf(rules.what, sizeof rules.what, "index %.200s:", name);
    if (compare_fields(&rules, c, &want, &have, true, sink, err) != PITR_OK)
        return err->rc;
    return compare_fields(&rules, c, &have, &want, false, sink, err);
}

static enum pitr_rc
index_name(const struct belem *spec, char name[300], size_t *len, struct pitr_err *err)
{
    struct belem e;
    const char *text;
    bool found;

    if (bson_find(spec->value, spec->value_len, "name", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&e, &text, len))
        return pitr_fail(err, PITR_CORRUPT, "an index spec has no name");
    snprintf(name, 300, "%.*s", (int)*len, text);
    return PITR_OK;
}

/* What create makes is compared only where both sides show it: servers differ in listing it, and
 * dumps may leave it out. */
static enum pitr_rc
compare_lists(const struct load_coll *c, const struct buf *from, const struct buf *in,
              bool from_is_expected, const struct difference_sink *sink, struct pitr_err *err)
{
    char name[300];
    struct biter it;
    struct belem spec, other;
    enum index_due due;
    size_t len;
    bool found = false;

    if (from->len == 0)
        return PITR_OK;
    if (biter_init(&it, from->data, from->len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return err->rc;
        if (spec.type == BSON_EOD)
            return PITR_OK;
        if (index_due(&due, &spec, err) != PITR_OK)
            return err->rc;
        if (due == INDEX_LAST)
            continue;
        if (index_name(&spec, name, &len, err) != PITR_OK)
            return err->rc;
        found = false;
        if (in->len > 0 && bindex_find(in, name, len, &found, &other, err) != PITR_OK)
            return err->rc;
        if (!found && due != INDEX_BY_CREATE)
            tell(sink, "index %s is %s", name, from_is_expected ? "missing" : "unexpected");
        else if (found && from_is_expected &&
                 load_compare_index(c, name, &spec, &other, sink, err) != PITR_OK)
            return err->rc;
    }
}

enum pitr_rc
load_compare_indexes(const struct load_coll *c, const struct buf *actual,
                     const struct difference_sink *sink, struct pitr_err *err)
{
    if (compare_lists(c, &c->indexes, actual, true, sink, err) != PITR_OK)
        return pitr_wrap(err, "indexes of %s.%s", c->db, c->name);
    return compare_lists(c, actual, &c->indexes, false, sink, err);
}
