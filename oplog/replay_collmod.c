#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "mongo/bsonedit.h"
#include "oplog/replay_internal.h"

static enum pitr_rc
refuse(const struct ddl *d, const char *what, struct pitr_err *err)
{
    return replay_refuse(err, d->e, what);
}

/* A field of the command is not what it must be. */
static enum pitr_rc
bad_field(const struct ddl *d, const struct belem *e, const char *why, struct pitr_err *err)
{
    char what[256];

    snprintf(what, sizeof what, "field %.100s: %s", e->name, why);
    return refuse(d, what, err);
}

static bool
is_number(const struct belem *e)
{
    return e->type == BSON_INT || e->type == BSON_LONG || e->type == BSON_DOUBLE ||
           e->type == BSON_DEC128;
}

static bool
is_flag(const struct belem *e)
{
    return e->type == BSON_BOOLEAN || is_number(e);
}

static enum pitr_rc
set_bool(struct buf *doc, const char *name, bool value, struct pitr_err *err)
{
    uint8_t raw = value;

    return bdoc_set(doc, BSON_BOOLEAN, name, &raw, 1, err);
}

static enum pitr_rc
set_text(struct buf *doc, const char *name, const char *value, struct pitr_err *err)
{
    uint8_t raw[64];
    size_t len = strlen(value) + 1;

    put_le32(raw, (uint32_t)len);
    memcpy(raw + 4, value, len);
    return bdoc_set(doc, BSON_STRING, name, raw, 4 + len, err);
}

static enum pitr_rc
set_elem(struct buf *doc, const char *name, const struct belem *e, struct pitr_err *err)
{
    return bdoc_set(doc, e->type, name, e->value, e->value_len, err);
}

/* Flags that are absent when they are false. */
static enum pitr_rc
set_flag(const struct ddl *d, struct buf *spec, const struct belem *e, struct pitr_err *err)
{
    if (!is_flag(e))
        return bad_field(d, e, "no boolean", err);
    return belem_truthy(e) ? set_bool(spec, e->name, true, err) : bdoc_unset(spec, e->name, err);
}

/* One field of collMod's `index` document into the spec. */
static enum pitr_rc
mod_index_field(const struct ddl *d, struct buf *spec, const struct belem *e, struct pitr_err *err)
{
    if (belem_is(e, "name") || belem_is(e, "keyPattern"))
        return PITR_OK;
    if (belem_is(e, "hidden") || belem_is(e, "prepareUnique"))
        return set_flag(d, spec, e, err);
    if (belem_is(e, "unique")) {
        if (bdoc_unset(spec, "prepareUnique", err) != PITR_OK)
            return err->rc;
        return set_flag(d, spec, e, err);
    }
    if (belem_is(e, "expireAfterSeconds"))
        return is_number(e) ? set_elem(spec, e->name, e, err) : bad_field(d, e, "no number", err);
    return refuse(d, "collMod changes an index in a way this version does not know", err);
}

static enum pitr_rc
mod_index(const struct ddl *d, struct replay_coll *c, const struct belem *change,
          struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf spec = {0};
    struct biter it;
    struct belem e, old;
    const char *name;
    size_t len;
    bool found;

    if (change->type != BSON_DOC)
        return bad_field(d, change, "no document", err);
    if (bson_find(change->value, change->value_len, "name", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&e, &name, &len))
        return refuse(d, "field index.name: missing, or no string", err);
    if (bindex_find(&c->indexes, name, len, &found, &old, err) != PITR_OK)
        return err->rc;
    if (!found)
        return d->ctx->fuzzy ? PITR_OK : refuse(d, "the index is not known at this point", err);
    if (buf_append(&spec, old.value, old.value_len, err) != PITR_OK ||
        biter_init(&it, change->value, change->value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return bindex_put(&c->indexes, spec.data, spec.len, err);
        if (mod_index_field(d, &spec, &e, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
default_text(struct buf *doc, const char *name, const char *value, struct pitr_err *err)
{
    struct belem have;
    bool found;

    if (bson_find(doc->data, doc->len, name, &found, &have, err) != PITR_OK)
        return err->rc;
    return found ? PITR_OK : set_text(doc, name, value, err);
}

/* Whichever of the three a collMod sets, the server then writes down level and action. */
static enum pitr_rc
mod_validation(const struct ddl *d, struct replay_coll *c, const struct belem *e,
               struct pitr_err *err)
{
    bool is_rule = belem_is(e, "validator");
    bool removes = is_rule && e->value_len <= 5;

    if (e->type != (is_rule ? BSON_DOC : BSON_STRING))
        return bad_field(d, e, is_rule ? "no document" : "no string", err);
    if (removes) {
        if (bdoc_unset(&c->options, "validator", err) != PITR_OK)
            return err->rc;
    } else if (set_elem(&c->options, e->name, e, err) != PITR_OK) {
        return err->rc;
    }
    if (default_text(&c->options, "validationLevel", "strict", err) != PITR_OK)
        return err->rc;
    return default_text(&c->options, "validationAction", "error", err);
}

/* Longest span of a bucket, in seconds, by granularity: fixed by the server. */
static int32_t
bucket_span(const char *granularity, size_t len)
{
    if (len == 7 && memcmp(granularity, "seconds", 7) == 0)
        return 3600;
    if (len == 7 && memcmp(granularity, "minutes", 7) == 0)
        return 86400;
    if (len == 5 && memcmp(granularity, "hours", 5) == 0)
        return 2592000;
    return 0;
}

static enum pitr_rc
mod_timeseries(const struct ddl *d, struct replay_coll *c, const struct belem *change,
               struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf ts = {0};
    struct belem e, have;
    struct biter it;
    const char *text;
    uint8_t raw[4];
    size_t len;
    bool found;

    if (bson_find(c->options.data, c->options.len, "timeseries", &found, &have, err) != PITR_OK)
        return err->rc;
    if (change->type != BSON_DOC)
        return bad_field(d, change, "no document", err);
    if (!found || have.type != BSON_DOC)
        return refuse(d, "collMod of time-series options where there are none", err);
    if (buf_append(&ts, have.value, have.value_len, err) != PITR_OK ||
        biter_init(&it, change->value, change->value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return bdoc_set(&c->options, BSON_DOC, "timeseries", ts.data, ts.len, err);
        if (set_elem(&ts, e.name, &e, err) != PITR_OK)
            return err->rc;
        if (belem_is(&e, "granularity")) {
            if (!belem_string(&e, &text, &len) || bucket_span(text, len) == 0)
                return bad_field(d, &e, "no granularity this version knows", err);
            put_le32(raw, (uint32_t)bucket_span(text, len));
            if (bdoc_set(&ts, BSON_INT, "bucketMaxSpanSeconds", raw, sizeof raw, err) != PITR_OK)
                return err->rc;
        }
    }
}

static bool
is_off(const struct belem *e)
{
    const char *text;
    size_t len;

    return belem_string(e, &text, &len) && len == 3 && memcmp(text, "off", 3) == 0;
}

/* The newer way of keeping pre-images ends where the older one begins. */
static enum pitr_rc
mod_preimages(const struct ddl *d, struct replay_coll *c, const struct belem *e,
              struct pitr_err *err)
{
    if (!is_flag(e))
        return bad_field(d, e, "no boolean", err);
    if (belem_truthy(e) && bdoc_unset(&c->options, "changeStreamPreAndPostImages", err) != PITR_OK)
        return err->rc;
    return set_elem(&c->options, e->name, e, err);
}

static enum pitr_rc
mod_field(const struct ddl *d, struct replay_coll *c, const struct belem *e, struct pitr_err *err)
{
    static const struct {
        const char *change, *option;
    } numbers[] = {
        {"cappedSize", "size"},
        {"cappedMax", "max"},
        {"expireAfterSeconds", "expireAfterSeconds"},
    };

    if (belem_is(e, "collMod"))
        return PITR_OK;
    if (belem_is(e, "index"))
        return mod_index(d, c, e, err);
    if (belem_is(e, "validator") || belem_is(e, "validationLevel") ||
        belem_is(e, "validationAction"))
        return mod_validation(d, c, e, err);
    if (belem_is(e, "timeseries"))
        return mod_timeseries(d, c, e, err);
    if (belem_is(e, "expireAfterSeconds") && is_off(e))
        return bdoc_unset(&c->options, e->name, err);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (belem_is(e, numbers[i].change))
            return is_number(e) ? set_elem(&c->options, numbers[i].option, e, err)
                                : bad_field(d, e, "no number", err);
    if (belem_is(e, "changeStreamPreAndPostImages"))
        return e->type == BSON_DOC ? set_elem(&c->options, e->name, e, err)
                                   : bad_field(d, e, "no document", err);
    if (belem_is(e, "recordPreImages"))
        return mod_preimages(d, c, e, err);
    /* Flags about how a server keeps its buckets inside; they are no options a client can see or
     * set. */
    if (strncmp(e->name, "timeseriesBucket", 16) == 0 || strncmp(e->name, "_remove", 7) == 0)
        return PITR_OK;
    return refuse(d, "collMod changes something this version does not know", err);
}

enum pitr_rc
replay_coll_mod(const struct ddl *d, struct replay_coll *c, struct pitr_err *err)
{
    struct biter it;
    struct belem e;

    if (d->r->opts.mod_drops_preimages &&
        bdoc_unset(&c->options, "recordPreImages", err) != PITR_OK)
        return err->rc;
    if (biter_init(&it, d->e->o, d->e->o_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (mod_field(d, c, &e, err) != PITR_OK)
            return err->rc;
    }
}
