#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/load_internal.h"
#include "engine/load_options.h"
#include "mongo/bsonedit.h"

/* The server rounds the size of a capped collection up to this. */
enum { SIZE_UNIT = 256, NARROW_MAJOR = 6 };

/* A limit of a capped collection, 0 if it has none. */
static uint64_t
limit_of(const struct load_coll *c, const char *name)
{
    struct pitr_err ignored;
    struct belem e;
    int64_t value;
    bool found;

    if (options_find(&c->options, name, &found, &e, &ignored) != PITR_OK || !found ||
        !belem_int64(&e, &value) || value <= 0 || value > INT64_MAX - SIZE_UNIT)
        return 0;
    return (uint64_t)value;
}

bool
load_evicts(const struct load_coll *c, uint64_t documents, uint64_t bytes)
{
    uint64_t size, max;

    /* The newest document stays, be it larger than the collection may be. */
    if (!load_is_capped(c) || documents <= 1)
        return false;
    size = (limit_of(c, "size") + SIZE_UNIT - 1) / SIZE_UNIT * SIZE_UNIT;
    max = limit_of(c, "max");
    return (size != 0 && bytes > size) || (max != 0 && documents > max);
}

static bool
needs_room(const struct load_coll *c)
{
    return load_evicts(c, c->documents, c->bytes);
}

enum pitr_rc
load_room(struct buf *out, const struct load_coll *c, const char *option, bool *made,
          struct pitr_err *err)
{
    uint64_t limit = limit_of(c, option), need;
    uint8_t raw[8];

    *made = false;
    if (strcmp(option, "size") == 0)
        need = c->bytes;
    else if (strcmp(option, "max") == 0)
        need = c->documents;
    else
        return PITR_OK;
    if (!needs_room(c) || need <= limit)
        return PITR_OK;
    *made = true;
    put_le64(raw, need);
    return bdoc_append_raw(out, BSON_LONG, option, raw, sizeof raw, err);
}

bool
load_wants_conversion(const struct load_coll *c)
{
    struct pitr_err ignored;
    struct belem e;
    bool found;

    return load_is_capped(c) &&
           options_find(&c->options, "clusteredIndex", &found, &e, &ignored) == PITR_OK && found &&
           (e.type == BSON_DOC || belem_truthy(&e));
}

enum pitr_rc
load_convert_command(struct buf *out, const struct load_coll *c, struct pitr_err *err)
{
    uint64_t size = limit_of(c, "size");
    uint8_t len[4], raw[8];
    size_t at;

    put_le32(len, (uint32_t)strlen(c->name) + 1);
    put_le64(raw, needs_room(c) && c->bytes > size ? c->bytes : size);
    if (bdoc_begin(out, &at, err) != PITR_OK ||
        bdoc_append_raw(out, BSON_STRING, "convertToCapped", len, sizeof len, err) != PITR_OK ||
        buf_append(out, c->name, strlen(c->name) + 1, err) != PITR_OK ||
        bdoc_append_raw(out, BSON_LONG, "size", raw, sizeof raw, err) != PITR_OK)
        return err->rc;
    return bdoc_end(out, at, err);
}

bool
target_can_narrow(const struct target *t)
{
    return t->server.major >= NARROW_MAJOR && strtol(t->server.fcv, NULL, 10) >= NARROW_MAJOR;
}

static enum pitr_rc
append_limit(struct buf *cmd, const struct load_coll *coll, const char *option, const char *field,
             struct pitr_err *err)
{
    struct belem e;
    bool found;

    if (limit_of(coll, option) == 0)
        return PITR_OK;
    if (options_find(&coll->options, option, &found, &e, err) != PITR_OK || !found)
        return err->rc;
    return bdoc_append(cmd, field, &e, err);
}

static enum pitr_rc
narrow(struct target *t, struct conn *c, const struct load_coll *coll, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf cmd = {0};
    uint8_t len[4];
    size_t at;

    put_le32(len, (uint32_t)strlen(coll->name) + 1);
    if (bdoc_begin(&cmd, &at, err) != PITR_OK ||
        bdoc_append_raw(&cmd, BSON_STRING, "collMod", len, sizeof len, err) != PITR_OK ||
        buf_append(&cmd, coll->name, strlen(coll->name) + 1, err) != PITR_OK ||
        append_limit(&cmd, coll, "size", "cappedSize", err) != PITR_OK ||
        append_limit(&cmd, coll, "max", "cappedMax", err) != PITR_OK ||
        bdoc_end(&cmd, at, err) != PITR_OK)
        return err->rc;
    return target_command(t, c, coll->db, &cmd, NULL, NULL, "set the limits of a capped collection",
                          err);
}

enum pitr_rc
load_narrow(struct target *t, const struct load_coll *const *colls, size_t n, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;

    if (conn_take(&c, t->mongo, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < n; i++)
        if (needs_room(colls[i]) && narrow(t, c, colls[i], err) != PITR_OK)
            return pitr_wrap(err, "%s.%s", colls[i]->db, colls[i]->name);
    return PITR_OK;
}
