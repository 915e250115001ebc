#include "tests/support/oplog_array.h"

#include <bson/bson.h>
#include <stdlib.h>
#include <string.h>

static void
must(bool ok)
{
    if (!ok)
        abort();
}

void
make_entry(struct buf *out, uint64_t ts, int64_t term, char op, size_t pad, char fill)
{
    struct pitr_err err;
    bson_t *b = bson_new();
    char *text = calloc(1, pad + 1), name[2] = {op, '\0'};
    bson_t o;

    must(text != NULL);
    memset(text, fill, pad);
    BSON_APPEND_UTF8(b, "op", name);
    BSON_APPEND_UTF8(b, "ns", op == 'n' ? "" : "shop.orders");
    BSON_APPEND_DOCUMENT_BEGIN(b, "o", &o);
    if (op == 'n')
        BSON_APPEND_UTF8(&o, "msg", "periodic noop");
    else
        BSON_APPEND_INT64(&o, "_id", (int64_t)ts);
    BSON_APPEND_UTF8(&o, "pad", text);
    bson_append_document_end(b, &o);
    BSON_APPEND_TIMESTAMP(b, "ts", ts_secs(ts), ts_inc(ts));
    BSON_APPEND_INT64(b, "t", term);
    BSON_APPEND_INT64(b, "v", 2);
    BSON_APPEND_DATE_TIME(b, "wall", (int64_t)ts_secs(ts) * 1000);
    must(buf_append(out, bson_get_data(b), b->len, &err) == PITR_OK);
    bson_destroy(b);
    free(text);
}

static struct oplog_array *
from_source(struct oplog_source *s)
{
    return (struct oplog_array *)s;
}

static enum pitr_rc
lost(struct oplog_array *a, struct pitr_err *err)
{
    a->is_open = false;
    return pitr_fail(err, PITR_DB_LOST, "array: connection lost");
}

/* Whether this call has to fail. */
static bool
is_lost(struct oplog_array *a)
{
    if (a->lose == 0)
        return false;
    a->lose--;
    return true;
}

static enum pitr_rc
array_seek(struct oplog_source *s, uint64_t from, struct pitr_err *err)
{
    struct oplog_array *a = from_source(s);

    a->seeks++;
    if (is_lost(a))
        return lost(a, err);
    for (a->next = a->oldest; a->next < a->visible; a->next++) {
        if (a->entries[a->next].at.ts >= from)
            break;
    }
    /* Reading on after nothing was there must not skip what is added below `from` later. */
    a->is_open = true;
    return PITR_OK;
}

static enum pitr_rc
array_next(struct oplog_source *s, const uint8_t **data, size_t *len, struct pitr_err *err)
{
    struct oplog_array *a = from_source(s);

    *data = NULL;
    *len = 0;
    a->nexts++;
    if (a->hook != NULL)
        a->hook(a->hook_arg, a);
    if (is_lost(a) || !a->is_open || a->next < a->oldest)
        return lost(a, err);
    if (a->next >= a->visible)
        return PITR_OK;
    *data = a->entries[a->next].bson.data;
    *len = a->entries[a->next].bson.len;
    a->next++;
    return PITR_OK;
}

static enum pitr_rc
array_bounds(struct oplog_source *s, struct optime *oldest, struct optime *majority,
             struct pitr_err *err)
{
    struct oplog_array *a = from_source(s);

    if (is_lost(a) || a->oldest >= a->visible)
        return lost(a, err);
    *oldest = a->entries[a->oldest].at;
    *majority = a->entries[a->visible - 1].at;
    return PITR_OK;
}

static enum pitr_rc
array_begin(struct oplog_source *s, struct optime *begin, struct pitr_err *err)
{
    struct optime oldest;

    return array_bounds(s, &oldest, begin, err);
}

static void
array_free(struct oplog_source *s)
{
    (void)s;
}

static const struct oplog_source_ops array_ops = {
    .seek = array_seek,
    .next = array_next,
    .bounds = array_bounds,
    .begin = array_begin,
    .free = array_free,
};

void
oplog_array_init(struct oplog_array *a)
{
    *a = (struct oplog_array){.source.ops = &array_ops};
}

void
oplog_array_cut(struct oplog_array *a, size_t from)
{
    while (a->len > from)
        buf_release(&a->entries[--a->len].bson);
    if (a->visible > a->len)
        a->visible = a->len;
    if (a->next > a->len)
        a->next = a->len;
}

void
oplog_array_release(struct oplog_array *a)
{
    oplog_array_cut(a, 0);
    free(a->entries);
    *a = (struct oplog_array){0};
}

void
oplog_array_add(struct oplog_array *a, uint64_t ts, int64_t term, char op, size_t pad, char fill)
{
    if (a->len == a->cap) {
        a->cap = a->cap == 0 ? 64 : a->cap * 2;
        a->entries = realloc(a->entries, a->cap * sizeof *a->entries);
        must(a->entries != NULL);
    }
    a->entries[a->len] = (struct array_entry){.at = {.ts = ts, .term = term}};
    make_entry(&a->entries[a->len].bson, ts, term, op, pad, fill);
    a->len++;
    a->visible = a->len;
}
