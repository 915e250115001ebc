#include "engine/series_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "engine/load_options.h"
#include "mongo/bsonedit.h"
#include "mongo/ns.h"

static const char control_min[] = "control.min.", control_max[] = "control.max.", data[] = "data.";

/* What follows the prefix, or NULL. */
static const char *
after(const char *name, const char *prefix)
{
    size_t len = strlen(prefix);

    return strncmp(name, prefix, len) == 0 ? name + len : NULL;
}

/* Both bounds of a measurement's field stand side by side; the second says nothing new. */
static const char *
bounded_field(const char *name)
{
    const char *field = after(name, control_min);

    return field != NULL ? field : after(name, control_max);
}

static enum pitr_rc
append_meta(struct buf *out, const struct belem *field, const char *meta, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *name = NULL;

    if (asprintf(&name, "%s%s", meta, field->name + strlen("meta")) < 0) {
        name = NULL;
        return pitr_fail(err, PITR_NOMEM, "index key");
    }
    return bdoc_append(out, name, field, err);
}

/* `before` is the field of the bound that stands before this one, or NULL. */
static enum pitr_rc
append_field(struct buf *out, const struct belem *field, const char *meta, const char **before,
             struct pitr_err *err)
{
    static const uint8_t sphere[] = {9, 0, 0, 0, '2', 'd', 's', 'p', 'h', 'e', 'r', 'e', 0};
    const char *bounded = bounded_field(field->name), *measured = after(field->name, data);
    const char *last = *before, *text;
    size_t len;

    *before = NULL;
    if (bounded != NULL) {
        if (last != NULL && strcmp(bounded, last) == 0)
            return PITR_OK;
        *before = bounded;
        return bdoc_append(out, bounded, field, err);
    }
    if (measured != NULL && belem_string(field, &text, &len) &&
        strcmp(text, "2dsphere_bucket") == 0)
        return bdoc_append_raw(out, BSON_STRING, measured, sphere, sizeof sphere, err);
    if (strcmp(field->name, "meta") == 0 || after(field->name, "meta.") != NULL)
        return append_meta(out, field, meta, err);
    return bdoc_append(out, field->name, field, err);
}

static enum pitr_rc
append_key(struct buf *out, const struct belem *key, const char *meta, struct pitr_err *err)
{
    const char *before = NULL;
    struct biter it;
    struct belem field;
    size_t at;

    if (key->type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "an index key is no document");
    if (bdoc_append_raw(out, BSON_DOC, "key", NULL, 0, err) != PITR_OK ||
        bdoc_begin(out, &at, err) != PITR_OK ||
        biter_init(&it, key->value, key->value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &field, err) != PITR_OK)
            return err->rc;
        if (field.type == BSON_EOD)
            return bdoc_end(out, at, err);
        if (append_field(out, &field, meta, &before, err) != PITR_OK)
            return err->rc;
    }
}

/* The spec as it was given, with the version the server chose for it: mongorestore takes an index
 * without one for the oldest, which no server makes on a time-series collection. */
static enum pitr_rc
append_original(struct buf *out, const struct belem *spec, const struct belem *original,
                struct pitr_err *err)
{
    static const char version[] = "2dsphereIndexVersion";
    static const char *const nothing[] = {NULL};
    struct belem chosen, e;
    bool is_chosen, is_given;
    size_t at;

    if (bson_find(spec->value, spec->value_len, version, &is_chosen, &chosen, err) != PITR_OK ||
        bson_find(original->value, original->value_len, version, &is_given, &e, err) != PITR_OK)
        return err->rc;
    if (!is_chosen || is_given)
        return bdoc_append(out, spec->name, original, err);
    if (bdoc_append_raw(out, BSON_DOC, spec->name, NULL, 0, err) != PITR_OK)
        return err->rc;
    at = out->len;
    if (bdoc_copy_except(out, original->value, original->value_len, nothing, err) != PITR_OK)
        return err->rc;
    out->len--; /* reopen it at its closing NUL */
    if (bdoc_append(out, version, &chosen, err) != PITR_OK)
        return err->rc;
    return bdoc_end(out, at, err);
}

static enum pitr_rc
append_spec(struct buf *out, const struct belem *spec, const char *meta, struct pitr_err *err)
{
    struct belem original, e;
    struct biter it;
    bool found;
    size_t at;

    if (spec->type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "an index spec is no document");
    if (bson_find(spec->value, spec->value_len, "originalSpec", &found, &original, err) != PITR_OK)
        return err->rc;
    if (found && original.type == BSON_DOC)
        return append_original(out, spec, &original, err);
    if (bdoc_append_raw(out, BSON_DOC, spec->name, NULL, 0, err) != PITR_OK ||
        bdoc_begin(out, &at, err) != PITR_OK ||
        biter_init(&it, spec->value, spec->value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return bdoc_end(out, at, err);
        if ((belem_is(&e, "key") ? append_key(out, &e, meta, err)
                                 : bdoc_append(out, e.name, &e, err)) != PITR_OK)
            return err->rc;
    }
}

/* "meta" where there is none: then no index can be on it. */
static enum pitr_rc
meta_field(const struct buf *options, char **out, struct pitr_err *err)
{
    struct belem series, e;
    const char *text = "meta";
    size_t len = strlen(text);
    bool found;

    if (options_find(options, "timeseries", &found, &series, err) != PITR_OK)
        return err->rc;
    if (found && series.type == BSON_DOC) {
        if (bson_find(series.value, series.value_len, "metaField", &found, &e, err) != PITR_OK)
            return err->rc;
        if (found && !belem_string(&e, &text, &len))
            return pitr_fail(err, PITR_CORRUPT, "the metaField is no string");
    }
    *out = strndup(text, len);
    return *out != NULL ? PITR_OK : pitr_fail(err, PITR_NOMEM, "metaField");
}

enum pitr_rc
series_indexes(struct buf *out, const struct buf *options, const struct buf *stored,
               struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *meta = NULL;
    struct load_coll coll = {
        .db = "", .name = NS_BUCKETS_PREFIX, .options = *options, .indexes = *stored};
    const char *target;
    struct biter it;
    struct belem spec;
    size_t at;

    if (load_index_target(&coll, &target, err) != PITR_OK ||
        meta_field(options, &meta, err) != PITR_OK)
        return err->rc;
    if (target != coll.name)
        return buf_append(out, stored->data, stored->len, err);
    if (bdoc_begin(out, &at, err) != PITR_OK ||
        biter_init(&it, stored->data, stored->len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return err->rc;
        if (spec.type == BSON_EOD)
            return bdoc_end(out, at, err);
        if (append_spec(out, &spec, meta, err) != PITR_OK)
            return err->rc;
    }
}
