#include "doc_array.h"

#include <bson/bson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COLLS_MAX = 64 };

struct array_coll {
    char *db, *name;
    bool is_there;
    struct buf *docs;
    size_t len, cap;
    bool has_event;
    size_t event_at;
    enum doc_array_event event;
    char *event_name;
};

struct doc_array {
    struct doc_source base;
    struct array_coll colls[COLLS_MAX];
    size_t ncolls;
};

struct array_cursor {
    struct doc_cursor base;
    struct array_coll *coll;
    size_t at;
};

/* A count byte of UUID is not enough for it to be one, but it tells collections apart. */
static void
uuid_of(uint8_t uuid[16], size_t coll)
{
    memset(uuid, (int)coll, 16);
}

static enum pitr_rc
describe(const struct doc_array *a, size_t i, struct source_coll *out, struct pitr_err *err)
{
    static const uint8_t empty[] = {5, 0, 0, 0, 0};
    struct source_coll c = {.db = strdup(a->colls[i].db), .name = strdup(a->colls[i].name)};

    if (c.db == NULL || c.name == NULL ||
        buf_append(&c.options, empty, sizeof empty, err) != PITR_OK ||
        buf_append(&c.indexes, empty, sizeof empty, err) != PITR_OK) {
        source_coll_release(&c);
        return pitr_fail(err, PITR_NOMEM, "array catalog");
    }
    uuid_of(c.uuid, i);
    c.documents = a->colls[i].len;
    for (size_t k = 0; k < a->colls[i].len; k++)
        c.bytes += a->colls[i].docs[k].len;
    *out = c;
    return PITR_OK;
}

static enum pitr_rc
array_list(struct doc_source *s, struct source_list *out, struct pitr_err *err)
{
    struct doc_array *a = (struct doc_array *)s;

    *out = (struct source_list){0};
    for (size_t i = 0; i < a->ncolls; i++) {
        struct source_coll c;

        if (!a->colls[i].is_there)
            continue;
        if (describe(a, i, &c, err) != PITR_OK)
            return err->rc;
        if (source_list_take(out, &c, err) != PITR_OK) {
            source_coll_release(&c);
            return err->rc;
        }
    }
    return PITR_OK;
}

static enum pitr_rc
array_open(struct doc_source *s, const struct source_coll *coll, struct doc_cursor **out,
           struct pitr_err *err)
{
    struct array_coll *c = &((struct doc_array *)s)->colls[coll->uuid[0]];
    struct array_cursor *cursor;

    if (!c->is_there || strcmp(c->db, coll->db) != 0 || strcmp(c->name, coll->name) != 0)
        return pitr_fail(err, PITR_NOTFOUND, "%s.%s is gone", coll->db, coll->name);
    cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL)
        return pitr_fail(err, PITR_NOMEM, "array cursor");
    cursor->base.source = s;
    cursor->coll = c;
    *out = &cursor->base;
    return PITR_OK;
}

static enum pitr_rc
happen(struct array_coll *c, struct pitr_err *err)
{
    c->has_event = false;
    switch (c->event) {
    case ARRAY_RENAME:
        free(c->name);
        c->name = c->event_name;
        c->event_name = NULL;
        return pitr_fail(err, PITR_NOTFOUND, "renamed under the cursor");
    case ARRAY_DROP:
        c->is_there = false;
        return pitr_fail(err, PITR_NOTFOUND, "dropped under the cursor");
    case ARRAY_LOSE:
        return pitr_fail(err, PITR_DB_LOST, "connection lost");
    case ARRAY_FAIL:
        break;
    }
    return pitr_fail(err, PITR_DB, "the server said no");
}

static enum pitr_rc
array_next(struct doc_cursor *base, const uint8_t **doc, size_t *len, struct pitr_err *err)
{
    struct array_cursor *cursor = (struct array_cursor *)base;
    struct array_coll *c = cursor->coll;

    if (c->has_event && c->event_at == cursor->at)
        return happen(c, err);
    if (cursor->at == c->len) {
        *doc = NULL;
        *len = 0;
        return PITR_OK;
    }
    *doc = c->docs[cursor->at].data;
    *len = c->docs[cursor->at].len;
    cursor->at++;
    return PITR_OK;
}

static void
array_close(struct doc_cursor *cursor)
{
    free(cursor);
}

static enum pitr_rc
array_confirm(struct doc_source *s, const struct source_coll *coll, struct pitr_err *err)
{
    (void)s;
    (void)coll;
    (void)err;
    return PITR_OK;
}

static enum pitr_rc
array_locate(struct doc_source *s, const uint8_t uuid[16], struct source_coll *out, bool *found,
             struct pitr_err *err)
{
    struct doc_array *a = (struct doc_array *)s;

    *found = a->colls[uuid[0]].is_there;
    return *found ? describe(a, uuid[0], out, err) : PITR_OK;
}

static void
array_free(struct doc_source *s)
{
    struct doc_array *a = (struct doc_array *)s;

    for (size_t i = 0; i < a->ncolls; i++) {
        for (size_t k = 0; k < a->colls[i].len; k++)
            buf_release(&a->colls[i].docs[k]);
        free(a->colls[i].docs);
        free(a->colls[i].db);
        free(a->colls[i].name);
        free(a->colls[i].event_name);
    }
    free(a);
}

static const struct doc_source_ops array_ops = {
    .list = array_list,
    .open = array_open,
    .next = array_next,
    .close = array_close,
    .confirm = array_confirm,
    .locate = array_locate,
    .free = array_free,
};

struct doc_array *
doc_array_new(void)
{
    struct doc_array *a = calloc(1, sizeof *a);

    assert_non_null(a);
    a->base.ops = &array_ops;
    return a;
}

struct doc_source *
doc_array_source(struct doc_array *a)
{
    return &a->base;
}

void
doc_array_free(struct doc_array *a)
{
    array_free(&a->base);
}

size_t
doc_array_coll(struct doc_array *a, const char *db, const char *name)
{
    assert_true(a->ncolls < COLLS_MAX);
    a->colls[a->ncolls] =
        (struct array_coll){.db = strdup(db), .name = strdup(name), .is_there = true};
    return a->ncolls++;
}

void
doc_array_add(struct doc_array *a, size_t coll, int32_t id, size_t pad, uint32_t seed)
{
    struct array_coll *c = &a->colls[coll];
    bson_t doc = BSON_INITIALIZER;
    char *text = malloc(pad + 1);
    struct pitr_err err;

    assert_non_null(text);
    for (size_t i = 0; i < pad; i++) {
        seed = seed * 1664525 + 1013904223;
        text[i] = (char)('a' + (seed >> 24) % 26);
    }
    text[pad] = '\0';
    BSON_APPEND_INT32(&doc, "_id", id);
    BSON_APPEND_UTF8(&doc, "pad", text);
    if (c->len == c->cap) {
        c->cap = c->cap == 0 ? 16 : 2 * c->cap;
        c->docs = realloc(c->docs, c->cap * sizeof *c->docs);
        assert_non_null(c->docs);
    }
    c->docs[c->len] = (struct buf){0};
    assert_int_equal(buf_append(&c->docs[c->len], bson_get_data(&doc), doc.len, &err), PITR_OK);
    c->len++;
    bson_destroy(&doc);
    free(text);
}

size_t
doc_array_len(const struct doc_array *a, size_t coll)
{
    return a->colls[coll].len;
}

const struct buf *
doc_array_doc(const struct doc_array *a, size_t coll, size_t i)
{
    return &a->colls[coll].docs[i];
}

void
doc_array_on_read(struct doc_array *a, size_t coll, size_t at, enum doc_array_event event,
                  const char *name)
{
    struct array_coll *c = &a->colls[coll];

    c->has_event = true;
    c->event_at = at;
    c->event = event;
    free(c->event_name);
    c->event_name = name != NULL ? strdup(name) : NULL;
}
