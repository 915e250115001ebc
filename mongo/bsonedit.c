#include "mongo/bsonedit.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum pitr_rc
bdoc_begin(struct buf *out, size_t *at, struct pitr_err *err)
{
    *at = out->len;
    return buf_append_le32(out, 0, err);
}

enum pitr_rc
bdoc_end(struct buf *out, size_t at, struct pitr_err *err)
{
    if (buf_append_u8(out, 0, err) != PITR_OK)
        return err->rc;
    put_le32(out->data + at, (uint32_t)(out->len - at));
    return PITR_OK;
}

enum pitr_rc
bdoc_append_raw(struct buf *out, uint8_t type, const char *name, const void *value, size_t len,
                struct pitr_err *err)
{
    if (buf_append_u8(out, type, err) != PITR_OK ||
        buf_append(out, name, strlen(name) + 1, err) != PITR_OK)
        return err->rc;
    return buf_append(out, value, len, err);
}

enum pitr_rc
bdoc_append(struct buf *out, const char *name, const struct belem *e, struct pitr_err *err)
{
    return bdoc_append_raw(out, e->type, name, e->value, e->value_len, err);
}

enum pitr_rc
bdoc_empty(struct buf *doc, struct pitr_err *err)
{
    size_t at;

    buf_clear(doc);
    if (bdoc_begin(doc, &at, err) != PITR_OK)
        return err->rc;
    return bdoc_end(doc, at, err);
}

static bool
is_listed(const struct belem *e, const char *const *names)
{
    for (; *names != NULL; names++)
        if (belem_is(e, *names))
            return true;
    return false;
}

enum pitr_rc
bdoc_copy_except(struct buf *out, const uint8_t *doc, size_t len, const char *const *except,
                 struct pitr_err *err)
{
    struct biter it;
    struct belem e;
    size_t at;

    if (bdoc_begin(out, &at, err) != PITR_OK || biter_init(&it, doc, len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return bdoc_end(out, at, err);
        if (!is_listed(&e, except) &&
            buf_append(out, e.start, (size_t)(e.end - e.start), err) != PITR_OK)
            return err->rc;
    }
}

/* The document with field `name` given a new value, or without it when `set` is false. */
static enum pitr_rc
rewrite(struct buf *doc, bool set, uint8_t type, const char *name, const void *value, size_t len,
        struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    struct biter it;
    struct belem e = {0};
    size_t at;
    bool done = !set;

    if (biter_init(&it, doc->data, doc->len, err) != PITR_OK ||
        bdoc_begin(&out, &at, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            break;
        if (!belem_is(&e, name)) {
            if (buf_append(&out, e.start, (size_t)(e.end - e.start), err) != PITR_OK)
                return err->rc;
        } else if (!done) {
            if (bdoc_append_raw(&out, type, name, value, len, err) != PITR_OK)
                return err->rc;
            done = true;
        }
    }
    if (!done && bdoc_append_raw(&out, type, name, value, len, err) != PITR_OK)
        return err->rc;
    if (bdoc_end(&out, at, err) != PITR_OK)
        return err->rc;
    buf_release(doc);
    *doc = out;
    out = (struct buf){0};
    return PITR_OK;
}

enum pitr_rc
bdoc_set(struct buf *doc, uint8_t type, const char *name, const void *value, size_t len,
         struct pitr_err *err)
{
    return rewrite(doc, true, type, name, value, len, err);
}

enum pitr_rc
bdoc_unset(struct buf *doc, const char *name, struct pitr_err *err)
{
    return rewrite(doc, false, 0, name, NULL, 0, err);
}

static enum pitr_rc
spec_name(const struct belem *spec, const char **name, size_t *len, struct pitr_err *err)
{
    struct belem e;
    bool found;

    if (spec->type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "index spec is not a document");
    if (bson_find(spec->value, spec->value_len, "name", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&e, name, len))
        return pitr_fail(err, PITR_CORRUPT, "index spec without a name");
    return PITR_OK;
}

enum pitr_rc
bindex_find(const struct buf *list, const char *name, size_t name_len, bool *found,
            struct belem *spec, struct pitr_err *err)
{
    struct biter it;
    const char *have;
    size_t have_len;

    *found = false;
    if (biter_init(&it, list->data, list->len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, spec, err) != PITR_OK)
            return err->rc;
        if (spec->type == BSON_EOD)
            return PITR_OK;
        if (spec_name(spec, &have, &have_len, err) != PITR_OK)
            return err->rc;
        if (have_len == name_len && memcmp(have, name, name_len) == 0) {
            *found = true;
            return PITR_OK;
        }
    }
}

/* The list with the spec called `name` replaced by `spec` (NULL: removed); a new one goes to the
 * end. */
static enum pitr_rc
list_rewrite(struct buf *list, const char *name, size_t name_len, const uint8_t *spec,
             size_t spec_len, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    struct biter it;
    struct belem e;
    char number[16];
    const char *have;
    size_t at, have_len;
    unsigned n = 0;
    bool placed = spec == NULL;

    if (biter_init(&it, list->data, list->len, err) != PITR_OK ||
        bdoc_begin(&out, &at, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            break;
        if (spec_name(&e, &have, &have_len, err) != PITR_OK)
            return err->rc;
        if (have_len == name_len && memcmp(have, name, name_len) == 0) {
            if (placed)
                continue;
            e.value = spec;
            e.value_len = spec_len;
            placed = true;
        }
        snprintf(number, sizeof number, "%u", n++);
        if (bdoc_append(&out, number, &e, err) != PITR_OK)
            return err->rc;
    }
    snprintf(number, sizeof number, "%u", n);
    if (!placed && bdoc_append_raw(&out, BSON_DOC, number, spec, spec_len, err) != PITR_OK)
        return err->rc;
    if (bdoc_end(&out, at, err) != PITR_OK)
        return err->rc;
    buf_release(list);
    *list = out;
    out = (struct buf){0};
    return PITR_OK;
}

enum pitr_rc
bindex_put(struct buf *list, const uint8_t *spec, size_t len, struct pitr_err *err)
{
    struct belem whole = {.type = BSON_DOC, .value = spec, .value_len = len};
    const char *name;
    size_t name_len;

    if (spec_name(&whole, &name, &name_len, err) != PITR_OK)
        return err->rc;
    return list_rewrite(list, name, name_len, spec, len, err);
}

enum pitr_rc
bindex_remove(struct buf *list, const char *name, size_t name_len, struct pitr_err *err)
{
    return list_rewrite(list, name, name_len, NULL, 0, err);
}
