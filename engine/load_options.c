#include "engine/load_options.h"

#include <stdio.h>
#include <string.h>

#include "mongo/bsonedit.h"
#include "mongo/ns.h"

enum pitr_rc
options_find(const struct buf *doc, const char *name, bool *found, struct belem *e,
             struct pitr_err *err)
{
    *found = false;
    if (doc->len == 0)
        return PITR_OK;
    return bson_find(doc->data, doc->len, name, found, e, err);
}

/* Malformed options have no fields here; whoever builds a command from them gets the error. */
static bool
has_true(const struct buf *options, const char *name)
{
    struct pitr_err ignored;
    struct belem e;
    bool found;

    return options_find(options, name, &found, &e, &ignored) == PITR_OK && found &&
           belem_truthy(&e);
}

static bool
has_document(const struct buf *options, const char *name, struct belem *e)
{
    struct pitr_err ignored;
    bool found;

    return options_find(options, name, &found, e, &ignored) == PITR_OK && found &&
           e->type == BSON_DOC;
}

bool
load_is_capped(const struct load_coll *c)
{
    return has_true(&c->options, "capped");
}

bool
load_is_buckets(const struct load_coll *c)
{
    struct belem e;

    return ns_is_buckets(c->name) && has_document(&c->options, "timeseries", &e);
}

static bool
has_collation(const struct load_coll *c)
{
    struct pitr_err ignored;
    struct belem e, locale;
    const char *text;
    size_t len;
    bool found;

    if (!has_document(&c->options, "collation", &e))
        return false;
    if (bson_find(e.value, e.value_len, "locale", &found, &locale, &ignored) != PITR_OK || !found ||
        !belem_string(&locale, &text, &len))
        return true;
    return len != strlen("simple") || memcmp(text, "simple", len) != 0;
}

const char *
load_visible_name(const struct load_coll *c)
{
    return load_is_buckets(c) ? ns_visible_name(c->name) : c->name;
}

static bool
is_excluded(const struct load_coll *c, const struct belem *option)
{
    static const char *const never[] = {
        "temp", "uuid", "autoIndexId", "recordIdsReplicated", "idIndex", "expireAfterSeconds",
        NULL};
    static const char *const derived[] = {"validator", "clusteredIndex", "validationLevel",
                                          "validationAction", NULL};
    static const char *const of_capped[] = {"capped", "size", "max", NULL};

    for (const char *const *name = never; *name != NULL; name++)
        if (belem_is(option, *name))
            return true;
    for (const char *const *name = derived; load_is_buckets(c) && *name != NULL; name++)
        if (belem_is(option, *name))
            return true;
    if (load_is_capped(c) && !load_wants_conversion(c))
        return false;
    for (const char *const *name = of_capped; *name != NULL; name++)
        if (belem_is(option, *name))
            return true;
    return false;
}

static enum pitr_rc
append_string(struct buf *out, const char *name, const char *text, struct pitr_err *err)
{
    size_t len = strlen(text) + 1;

    if (buf_append_u8(out, BSON_STRING, err) != PITR_OK ||
        buf_append(out, name, strlen(name) + 1, err) != PITR_OK ||
        buf_append_le32(out, (uint32_t)len, err) != PITR_OK)
        return err->rc;
    return buf_append(out, text, len, err);
}

/* Nothing is waited for one by one: load_barrier() waits for all of it. */
static enum pitr_rc
append_write_concern(struct buf *out, struct pitr_err *err)
{
    static const uint8_t one[] = {1, 0, 0, 0};
    size_t at;

    if (bdoc_append_raw(out, BSON_DOC, "writeConcern", NULL, 0, err) != PITR_OK ||
        bdoc_begin(out, &at, err) != PITR_OK ||
        bdoc_append_raw(out, BSON_INT, "w", one, sizeof one, err) != PITR_OK)
        return err->rc;
    return bdoc_end(out, at, err);
}

/* The _id index is made as the server's defaults say, except that old collections have version 1.
 */
static enum pitr_rc
append_id_index(struct buf *out, const struct load_coll *c, struct pitr_err *err)
{
    static const char *const obsolete[] = {"ns", NULL};
    struct belem spec, v;
    int64_t version;
    bool found;

    if (c->indexes.len == 0)
        return PITR_OK;
    if (bindex_find(&c->indexes, "_id_", strlen("_id_"), &found, &spec, err) != PITR_OK)
        return err->rc;
    if (!found)
        return PITR_OK;
    if (bson_find(spec.value, spec.value_len, "v", &found, &v, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_int64(&v, &version) || version != 1)
        return PITR_OK;
    if (bdoc_append_raw(out, BSON_DOC, "idIndex", NULL, 0, err) != PITR_OK)
        return err->rc;
    return bdoc_copy_except(out, spec.value, spec.value_len, obsolete, err);
}

static enum pitr_rc
append_option(struct buf *out, const struct load_coll *c, const struct belem *e,
              struct pitr_err *err)
{
    bool made;

    if (is_excluded(c, e))
        return PITR_OK;
    if (load_room(out, c, e->name, &made, err) != PITR_OK)
        return err->rc;
    return made ? PITR_OK : bdoc_append(out, e->name, e, err);
}

enum pitr_rc
load_create_command(struct buf *out, const struct load_coll *c, struct pitr_err *err)
{
    struct biter it;
    struct belem e;
    size_t at;

    if (bdoc_begin(out, &at, err) != PITR_OK ||
        append_string(out, "create", load_visible_name(c), err) != PITR_OK)
        return err->rc;
    if (c->options.len > 0) {
        if (biter_init(&it, c->options.data, c->options.len, err) != PITR_OK)
            return pitr_wrap(err, "options of %s.%s", c->db, c->name);
        for (;;) {
            if (biter_next(&it, &e, err) != PITR_OK)
                return pitr_wrap(err, "options of %s.%s", c->db, c->name);
            if (e.type == BSON_EOD)
                break;
            if (append_option(out, c, &e, err) != PITR_OK)
                return err->rc;
        }
    }
    if (append_id_index(out, c, err) != PITR_OK)
        return pitr_wrap(err, "indexes of %s.%s", c->db, c->name);
    if (append_write_concern(out, err) != PITR_OK)
        return err->rc;
    return bdoc_end(out, at, err);
}

enum pitr_rc
load_ttl_option(const struct load_coll *c, bool *found, struct belem *value, struct pitr_err *err)
{
    int64_t ignored;

    if (options_find(&c->options, "expireAfterSeconds", found, value, err) != PITR_OK)
        return err->rc;
    *found = *found && belem_int64(value, &ignored);
    return PITR_OK;
}

enum pitr_rc
index_due(enum index_due *out, const struct belem *spec, struct pitr_err *err)
{
    struct belem e;
    const char *name;
    size_t len;
    bool found;

    *out = INDEX_BY_CREATE;
    if (spec->type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "an index spec is no document");
    if (bson_find(spec->value, spec->value_len, "clustered", &found, &e, err) != PITR_OK)
        return err->rc;
    if (found && belem_truthy(&e))
        return PITR_OK;
    if (bson_find(spec->value, spec->value_len, "name", &found, &e, err) != PITR_OK)
        return err->rc;
    if (found && belem_string(&e, &name, &len) && len == 4 && memcmp(name, "_id_", 4) == 0)
        return PITR_OK;
    if (bson_find(spec->value, spec->value_len, "expireAfterSeconds", &found, &e, err) != PITR_OK)
        return err->rc;
    *out = found ? INDEX_LAST : INDEX_NOW;
    return PITR_OK;
}

static bool
has_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool
is_stored_field(const char *name)
{
    return strcmp(name, "meta") == 0 || has_prefix(name, "meta.") ||
           has_prefix(name, "control.min.") || has_prefix(name, "control.max.") ||
           has_prefix(name, "data.");
}

/* False when some field of the key can only be one of measurements. */
static enum pitr_rc
is_stored_form(bool *out, const struct belem *spec, struct pitr_err *err)
{
    struct biter it;
    struct belem key, field;

    *out = true;
    if (spec->type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "an index spec is no document");
    if (bson_find(spec->value, spec->value_len, "key", out, &key, err) != PITR_OK)
        return err->rc;
    if (!*out || key.type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "an index spec has no key");
    if (biter_init(&it, key.value, key.value_len, err) != PITR_OK)
        return err->rc;
    while (*out) {
        if (biter_next(&it, &field, err) != PITR_OK)
            return err->rc;
        if (field.type == BSON_EOD)
            break;
        *out = is_stored_field(field.name);
    }
    return PITR_OK;
}

/* All specs of a collection come from one place, so one in visible form decides for all. Where none
 * decides, the metaField is "meta" and both forms are the same. */
enum pitr_rc
load_index_target(const struct load_coll *c, const char **name, struct pitr_err *err)
{
    struct biter it;
    struct belem spec;
    bool stored = true;

    *name = c->name;
    if (!load_is_buckets(c) || c->indexes.len == 0)
        return PITR_OK;
    if (biter_init(&it, c->indexes.data, c->indexes.len, err) != PITR_OK)
        return pitr_wrap(err, "indexes of %s.%s", c->db, c->name);
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return pitr_wrap(err, "indexes of %s.%s", c->db, c->name);
        if (spec.type == BSON_EOD)
            return PITR_OK;
        if (is_stored_form(&stored, &spec, err) != PITR_OK)
            return pitr_wrap(err, "indexes of %s.%s", c->db, c->name);
        if (!stored) {
            *name = load_visible_name(c);
            return PITR_OK;
        }
    }
}

static enum pitr_rc
append_spec(struct buf *out, const char *position, const struct load_coll *c,
            const struct belem *spec, struct pitr_err *err)
{
    static const char *const obsolete[] = {"ns", "buildUUID", "indexBuildInfo", NULL};
    struct belem e;
    size_t at = out->len + 1 + strlen(position) + 1, simple;
    bool found;

    if (bdoc_append_raw(out, BSON_DOC, position, NULL, 0, err) != PITR_OK ||
        bdoc_copy_except(out, spec->value, spec->value_len, obsolete, err) != PITR_OK ||
        bson_find(spec->value, spec->value_len, "collation", &found, &e, err) != PITR_OK)
        return err->rc;
    if (found || !has_collation(c))
        return PITR_OK;
    out->len--; /* reopen the spec at its closing NUL */
    if (bdoc_append_raw(out, BSON_DOC, "collation", NULL, 0, err) != PITR_OK ||
        bdoc_begin(out, &simple, err) != PITR_OK ||
        append_string(out, "locale", "simple", err) != PITR_OK ||
        bdoc_end(out, simple, err) != PITR_OK)
        return err->rc;
    return bdoc_end(out, at, err);
}

static enum pitr_rc
append_specs(struct buf *out, const struct load_coll *c, enum index_due due, size_t *count,
             struct pitr_err *err)
{
    struct biter it;
    struct belem spec;
    enum index_due when;
    char position[24];

    if (biter_init(&it, c->indexes.data, c->indexes.len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return err->rc;
        if (spec.type == BSON_EOD)
            return PITR_OK;
        if (index_due(&when, &spec, err) != PITR_OK)
            return err->rc;
        if (when != due)
            continue;
        snprintf(position, sizeof position, "%zu", *count);
        if (append_spec(out, position, c, &spec, err) != PITR_OK)
            return err->rc;
        ++*count;
    }
}

enum pitr_rc
load_index_command(struct buf *out, const struct load_coll *c, enum index_due due, size_t *count,
                   struct pitr_err *err)
{
    static const uint8_t yes = 1;
    const char *target;
    size_t start = out->len, at, list;

    *count = 0;
    if (c->indexes.len == 0)
        return PITR_OK;
    if (load_index_target(c, &target, err) != PITR_OK || bdoc_begin(out, &at, err) != PITR_OK ||
        append_string(out, "createIndexes", target, err) != PITR_OK ||
        bdoc_append_raw(out, BSON_ARRAY, "indexes", NULL, 0, err) != PITR_OK ||
        bdoc_begin(out, &list, err) != PITR_OK)
        return err->rc;
    if (append_specs(out, c, due, count, err) != PITR_OK)
        return pitr_wrap(err, "indexes of %s.%s", c->db, c->name);
    if (*count == 0) {
        out->len = start;
        return PITR_OK;
    }
    if (bdoc_end(out, list, err) != PITR_OK ||
        bdoc_append_raw(out, BSON_BOOLEAN, "ignoreUnknownIndexOptions", &yes, 1, err) != PITR_OK ||
        append_write_concern(out, err) != PITR_OK)
        return err->rc;
    return bdoc_end(out, at, err);
}
