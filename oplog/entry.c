#include "oplog/entry.h"

#include <bson/bson.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/* Fields that are looked at; the order only numbers them. */
enum field {
    F_TS,
    F_T,
    F_V,
    F_OP,
    F_NS,
    F_UI,
    F_O,
    F_O2,
    F_B,
    F_WALL,
    F_LSID,
    F_TXN_NUMBER,
    F_PREV,
    F_MULTI_OP_TYPE,
    F_TID,
    F_COUNT
};

static const char *const field_names[F_COUNT] = {
    [F_TS] = "ts",
    [F_T] = "t",
    [F_V] = "v",
    [F_OP] = "op",
    [F_NS] = "ns",
    [F_UI] = "ui",
    [F_O] = "o",
    [F_O2] = "o2",
    [F_B] = "b",
    [F_WALL] = "wall",
    [F_LSID] = "lsid",
    [F_TXN_NUMBER] = "txnNumber",
    [F_PREV] = "prevOpTime",
    [F_MULTI_OP_TYPE] = "multiOpType",
    [F_TID] = "tid",
};

/* The elements of one entry; value NULL where a field is absent. */
struct found {
    const uint8_t *data; /* the whole entry */
    size_t len;
    struct belem at[F_COUNT];
};

static bool
has(const struct found *f, enum field field)
{
    return f->at[field].value != NULL;
}

static enum field
field_of_one_letter(char name)
{
    switch (name) {
    case 't':
        return F_T;
    case 'v':
        return F_V;
    case 'o':
        return F_O;
    case 'b':
        return F_B;
    default:
        return F_COUNT;
    }
}

/* F_COUNT for a field that nobody looks at. Every field of every entry comes by here: lengths known
 * in advance make a comparison one instruction. */
static enum field
which_field(const char *name, size_t len)
{
    switch (len) {
    case 1:
        return field_of_one_letter(name[0]);
    case 2:
        return memcmp(name, "ts", 2) == 0   ? F_TS
               : memcmp(name, "op", 2) == 0 ? F_OP
               : memcmp(name, "ns", 2) == 0 ? F_NS
               : memcmp(name, "ui", 2) == 0 ? F_UI
               : memcmp(name, "o2", 2) == 0 ? F_O2
                                            : F_COUNT;
    case 3:
        return memcmp(name, "tid", 3) == 0 ? F_TID : F_COUNT;
    case 4:
        return memcmp(name, "wall", 4) == 0   ? F_WALL
               : memcmp(name, "lsid", 4) == 0 ? F_LSID
                                              : F_COUNT;
    case 9:
        return memcmp(name, "txnNumber", 9) == 0 ? F_TXN_NUMBER : F_COUNT;
    case 10:
        return memcmp(name, "prevOpTime", 10) == 0 ? F_PREV : F_COUNT;
    case 11:
        return memcmp(name, "multiOpType", 11) == 0 ? F_MULTI_OP_TYPE : F_COUNT;
    default:
        return F_COUNT;
    }
}

static enum pitr_rc
find_fields(struct found *f, const uint8_t *data, size_t len, struct pitr_err *err)
{
    struct biter it;
    struct belem e;
    enum field field;

    *f = (struct found){.data = data, .len = len};
    if (biter_init(&it, data, len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        field = which_field(e.name, e.name_len);
        if (field != F_COUNT)
            f->at[field] = e;
    }
}

void
oplog_entry_show(char out[ENTRY_TEXT_LEN], const uint8_t *data, size_t len)
{
    /* What tells most comes first: a session alone is long enough to fill the text. */
    static const char *const first[] = {"op", "ns", "o", "o2", "ui"};
    bson_t entry, part = BSON_INITIALIZER;
    bson_iter_t it;
    char *json = NULL;
    size_t n = 0;

    if (bson_init_static(&entry, data, len))
        for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
            if (bson_iter_init_find(&it, &entry, first[i]))
                n += bson_append_iter(&part, NULL, -1, &it);
    if (n > 0)
        json = bson_as_relaxed_extended_json(&part, NULL);
    bson_destroy(&part);
    if (json == NULL) {
        snprintf(out, ENTRY_TEXT_LEN, "(not printable)");
        return;
    }
    n = strlen(json);
    if (n >= ENTRY_TEXT_LEN) {
        n = ENTRY_TEXT_LEN - sizeof "...";
        while (n > 0 && ((unsigned char)json[n] & 0xc0) == 0x80)
            n--;
        memcpy(json + n, "...", sizeof "...");
    }
    snprintf(out, ENTRY_TEXT_LEN, "%s", json);
    bson_free(json);
}

static enum pitr_rc
bad_field(struct pitr_err *err, const struct found *f, enum field field, const char *why)
{
    char ts[TS_TEXT_LEN], text[ENTRY_TEXT_LEN];

    oplog_entry_show(text, f->data, f->len);
    if (has(f, F_TS) && f->at[F_TS].type == BSON_TS) {
        ts_format(ts, get_le64(f->at[F_TS].value));
        return pitr_fail(err, PITR_CORRUPT, "oplog entry %s: field %s: %s: %s", ts,
                         field_names[field], why, text);
    }
    return pitr_fail(err, PITR_CORRUPT, "oplog entry: field %s: %s: %s", field_names[field], why,
                     text);
}

/* ts, t and wall, which only whole entries have. */
static enum pitr_rc
read_times(const struct found *f, uint64_t *ts, int64_t *term, int64_t *wall_ms,
           struct pitr_err *err)
{
    if (!has(f, F_TS) || f->at[F_TS].type != BSON_TS)
        return bad_field(err, f, F_TS, "missing, or no timestamp");
    *ts = get_le64(f->at[F_TS].value);
    if (*ts == 0)
        return bad_field(err, f, F_TS, "zero");
    *term = -1;
    if (has(f, F_T) && !belem_int64(&f->at[F_T], term))
        return bad_field(err, f, F_T, "no integer");
    *wall_ms = 0;
    if (has(f, F_WALL)) {
        if (f->at[F_WALL].type != BSON_DATE)
            return bad_field(err, f, F_WALL, "no date");
        *wall_ms = (int64_t)get_le64(f->at[F_WALL].value);
    }
    return PITR_OK;
}

enum pitr_rc
oplog_entry_stamp(struct oplog_stamp *stamp, const uint8_t *data, size_t len, struct pitr_err *err)
{
    struct found f;
    const char *op;
    size_t op_len;

    if (find_fields(&f, data, len, err) != PITR_OK)
        return pitr_wrap(err, "oplog entry");
    if (read_times(&f, &stamp->ts, &stamp->term, &stamp->wall_ms, err) != PITR_OK)
        return err->rc;
    if (!has(&f, F_OP) || !belem_string(&f.at[F_OP], &op, &op_len))
        return bad_field(err, &f, F_OP, "missing, or no string");
    stamp->is_noop = op_len == 1 && op[0] == 'n';
    return PITR_OK;
}

/* Keys of global indexes, writes to containers, key material: kept beside the collections that
 * clients see, and made anew by whoever needs them. */
static bool
is_internal_op(const char *op, size_t len)
{
    static const char known[][3] = {"xi", "xd", "ci", "cu", "cd", "km"};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (len == 2 && memcmp(op, known[i], 2) == 0)
            return true;
    return false;
}

static enum pitr_rc
read_op(struct oplog_entry *e, const struct found *f, struct pitr_err *err)
{
    const char *op;
    size_t len;

    if (!has(f, F_OP) || !belem_string(&f->at[F_OP], &op, &len))
        return bad_field(err, f, F_OP, "missing, or no string");
    if (len == 1 && memchr("iudcn", op[0], 5) != NULL)
        e->op = op[0];
    else if (is_internal_op(op, len))
        e->op = 'n';
    else
        return bad_field(err, f, F_OP, "an operation this version of pitr does not know");
    if (has(f, F_TID))
        return bad_field(err, f, F_TID, "entries of serverless tenants are not supported");
    return PITR_OK;
}

static enum pitr_rc
read_ns(struct oplog_entry *e, const struct found *f, struct pitr_err *err)
{
    const char *ns;
    size_t len;

    e->ns = "";
    e->ns_len = 0;
    if (!has(f, F_NS) || !belem_string(&f->at[F_NS], &ns, &len))
        return e->op == 'n' ? PITR_OK : bad_field(err, f, F_NS, "missing, or no string");
    if (memchr(ns, 0, len) != NULL)
        return bad_field(err, f, F_NS, "holds a NUL");
    e->ns = ns;
    e->ns_len = len;
    return PITR_OK;
}

/* A document field, NULL when absent. No-ops may put anything anywhere: there it is passed over. */
static enum pitr_rc
read_doc(const struct oplog_entry *e, const struct found *f, enum field field, const uint8_t **doc,
         size_t *len, struct pitr_err *err)
{
    *doc = NULL;
    *len = 0;
    if (!has(f, field))
        return PITR_OK;
    if (f->at[field].type != BSON_DOC)
        return e->op == 'n' ? PITR_OK : bad_field(err, f, field, "no document");
    *doc = f->at[field].value;
    *len = f->at[field].value_len;
    return PITR_OK;
}

static enum pitr_rc
read_prev(struct oplog_entry *e, const struct found *f, struct pitr_err *err)
{
    struct belem ts, t;
    const struct belem *prev = &f->at[F_PREV];
    bool has_ts = false, has_t = false;

    if (!has(f, F_PREV))
        return PITR_OK;
    if (prev->type != BSON_DOC)
        return bad_field(err, f, F_PREV, "no document");
    if (bson_find(prev->value, prev->value_len, "ts", &has_ts, &ts, err) != PITR_OK ||
        bson_find(prev->value, prev->value_len, "t", &has_t, &t, err) != PITR_OK)
        return bad_field(err, f, F_PREV, "a malformed document");
    if (!has_ts || ts.type != BSON_TS || !has_t || !belem_int64(&t, &e->prev.term))
        return bad_field(err, f, F_PREV, "no optime");
    e->has_prev = true;
    e->prev.ts = get_le64(ts.value);
    return PITR_OK;
}

static enum pitr_rc
read_session(struct oplog_entry *e, const struct found *f, struct pitr_err *err)
{
    e->txn_number = -1;
    if (e->op == 'n')
        return PITR_OK;
    if (read_doc(e, f, F_LSID, &e->lsid, &e->lsid_len, err) != PITR_OK)
        return err->rc;
    if (has(f, F_TXN_NUMBER) && !belem_int64(&f->at[F_TXN_NUMBER], &e->txn_number))
        return bad_field(err, f, F_TXN_NUMBER, "no integer");
    if (has(f, F_MULTI_OP_TYPE) && !belem_int64(&f->at[F_MULTI_OP_TYPE], &e->multi_op_type))
        return bad_field(err, f, F_MULTI_OP_TYPE, "no integer");
    return read_prev(e, f, err);
}

/* What a whole entry and an inner operation have in common. */
static enum pitr_rc
read_operation(struct oplog_entry *e, const struct found *f, struct pitr_err *err)
{
    if (read_op(e, f, err) != PITR_OK || read_ns(e, f, err) != PITR_OK)
        return err->rc;
    if (has(f, F_UI) && !belem_uuid(&f->at[F_UI], &e->uuid) && e->op != 'n')
        return bad_field(err, f, F_UI, "no UUID");
    if (read_doc(e, f, F_O, &e->o, &e->o_len, err) != PITR_OK ||
        read_doc(e, f, F_O2, &e->o2, &e->o2_len, err) != PITR_OK)
        return err->rc;
    if (e->o == NULL && e->op != 'n')
        return bad_field(err, f, F_O, "missing");
    if (has(f, F_B) && f->at[F_B].type != BSON_BOOLEAN && e->op != 'n')
        return bad_field(err, f, F_B, "no boolean");
    e->upsert = has(f, F_B) && belem_truthy(&f->at[F_B]);
    return read_session(e, f, err);
}

enum pitr_rc
oplog_entry_parse(struct oplog_entry *e, const uint8_t *data, size_t len, struct pitr_err *err)
{
    struct found f;
    int64_t v;

    *e = (struct oplog_entry){.raw = data, .raw_len = len};
    if (find_fields(&f, data, len, err) != PITR_OK)
        return pitr_wrap(err, "oplog entry");
    if (read_times(&f, &e->ts, &e->term, &e->wall_ms, err) != PITR_OK)
        return err->rc;
    if (!has(&f, F_V) || !belem_int64(&f.at[F_V], &v) || v != 2)
        return bad_field(err, &f, F_V, "missing, or not 2");
    return read_operation(e, &f, err);
}

enum pitr_rc
oplog_entry_parse_inner(struct oplog_entry *e, const uint8_t *data, size_t len,
                        struct pitr_err *err)
{
    struct found f;

    *e = (struct oplog_entry){.raw = data, .raw_len = len, .term = -1};
    if (find_fields(&f, data, len, err) != PITR_OK)
        return pitr_wrap(err, "operation in applyOps");
    if (read_operation(e, &f, err) != PITR_OK)
        return pitr_wrap(err, "operation in applyOps");
    return PITR_OK;
}
