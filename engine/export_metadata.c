#include "engine/export_metadata.h"

#include <bson/bson.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/load_options.h"
#include "engine/series_index.h"
#include "mongo/bsonedit.h"
#include "mongo/extjson.h"

static void
text_freep(char **text)
{
    bson_free(*text);
}

/* A document read back must be the one written: JSON can say things it was not meant to say. */
static enum pitr_rc
append_json(struct buf *out, const struct buf *doc, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf again = {0};
    PITR_AUTO(text_freep) char *text = NULL;
    size_t len = 0;
    bson_t b;

    if (bson_init_static(&b, doc->data, doc->len))
        text = bson_as_canonical_extended_json(&b, &len);
    if (text == NULL || extjson_parse(&again, text, len, err) != PITR_OK || again.len != doc->len ||
        memcmp(again.data, doc->data, doc->len) != 0)
        return pitr_fail(err, PITR_USAGE,
                         "its options or indexes cannot be written as JSON without a change; leave "
                         "it out with --exclude-ns");
    return buf_append(out, text, len, err);
}

static enum pitr_rc
append_text(struct buf *doc, const char *name, const char *text, struct pitr_err *err)
{
    uint8_t len[4];

    put_le32(len, (uint32_t)strlen(text) + 1);
    if (bdoc_append_raw(doc, BSON_STRING, name, len, sizeof len, err) != PITR_OK)
        return err->rc;
    return buf_append(doc, text, strlen(text) + 1, err);
}

static enum pitr_rc
append_options(struct buf *doc, const struct load_coll *c, struct pitr_err *err)
{
    static const char *const of_any[] = {"temp", "uuid", "idIndex", NULL};
    static const char *const of_buckets[] = {
        "temp",           "uuid", "idIndex", "validator", "validationLevel", "validationAction",
        "clusteredIndex", NULL};

    if (c->options.len == 0)
        return PITR_OK;
    if (bdoc_append_raw(doc, BSON_DOC, "options", NULL, 0, err) != PITR_OK)
        return err->rc;
    return bdoc_copy_except(doc, c->options.data, c->options.len,
                            load_is_buckets(c) ? of_buckets : of_any, err);
}

static enum pitr_rc
copy_specs(struct buf *doc, const struct buf *list, struct pitr_err *err)
{
    static const char *const unfinished[] = {"buildUUID", "indexBuildInfo", NULL};
    struct biter it;
    struct belem spec;

    if (biter_init(&it, list->data, list->len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return err->rc;
        if (spec.type == BSON_EOD)
            return PITR_OK;
        if (spec.type != BSON_DOC)
            return pitr_fail(err, PITR_CORRUPT, "an index spec is no document");
        if (bdoc_append_raw(doc, BSON_DOC, spec.name, NULL, 0, err) != PITR_OK ||
            bdoc_copy_except(doc, spec.value, spec.value_len, unfinished, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
append_indexes(struct buf *doc, const struct load_coll *c, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf seen = {0};
    const struct buf *list = &c->indexes;
    size_t at;

    if (load_is_buckets(c) && c->indexes.len > 0) {
        if (series_indexes(&seen, &c->options, &c->indexes, err) != PITR_OK)
            return err->rc;
        list = &seen;
    }
    if (bdoc_append_raw(doc, BSON_ARRAY, "indexes", NULL, 0, err) != PITR_OK ||
        bdoc_begin(doc, &at, err) != PITR_OK ||
        (list->len > 0 && copy_specs(doc, list, err) != PITR_OK))
        return err->rc;
    return bdoc_end(doc, at, err);
}

/* A copy under another name is not the collection that has this UUID, and of a time-series
 * collection only the buckets have one, which create cannot be told. */
static enum pitr_rc
append_uuid(struct buf *doc, const struct state_coll *c, struct pitr_err *err)
{
    char hex[2 * UUID_LEN + 1] = "";

    if (c->uuid != NULL && !load_is_buckets(&c->load) &&
        (c->kind != STATE_DATA || strcmp(c->source_ns, c->visible_ns) == 0))
        hex_encode(hex, c->uuid, UUID_LEN);
    return append_text(doc, "uuid", hex, err);
}

enum pitr_rc
export_collection_json(struct buf *out, const struct state_coll *c, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf doc = {0};
    size_t at;

    if (bdoc_begin(&doc, &at, err) != PITR_OK || append_options(&doc, &c->load, err) != PITR_OK ||
        append_indexes(&doc, &c->load, err) != PITR_OK || append_uuid(&doc, c, err) != PITR_OK ||
        append_text(&doc, "collectionName", load_visible_name(&c->load), err) != PITR_OK ||
        append_text(&doc, "type", load_is_buckets(&c->load) ? "timeseries" : "collection", err) !=
            PITR_OK ||
        bdoc_end(&doc, at, err) != PITR_OK)
        return err->rc;
    return append_json(out, &doc, err);
}

enum pitr_rc
export_view_json(struct buf *out, const char *name, const uint8_t *view, size_t len,
                 struct pitr_err *err)
{
    static const char *const id[] = {"_id", NULL};
    PITR_AUTO(buf_release) struct buf doc = {0};
    size_t at, none;

    if (bdoc_begin(&doc, &at, err) != PITR_OK ||
        bdoc_append_raw(&doc, BSON_DOC, "options", NULL, 0, err) != PITR_OK ||
        bdoc_copy_except(&doc, view, len, id, err) != PITR_OK ||
        bdoc_append_raw(&doc, BSON_ARRAY, "indexes", NULL, 0, err) != PITR_OK ||
        bdoc_begin(&doc, &none, err) != PITR_OK || bdoc_end(&doc, none, err) != PITR_OK ||
        append_text(&doc, "collectionName", name, err) != PITR_OK ||
        append_text(&doc, "type", "view", err) != PITR_OK || bdoc_end(&doc, at, err) != PITR_OK)
        return err->rc;
    return append_json(out, &doc, err);
}
