#include "engine/import_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crypto.h"
#include "engine/load_options.h"
#include "mongo/bsonedit.h"

/* One collection: documents in a file, or in memory. */
struct item {
    const char *db, *name;        /* borrowed from the directory, or static */
    const struct dump_coll *file; /* or NULL */
    const struct buf *literal;    /* or NULL */
    uint8_t uuid[16];
    bool has_uuid;
};

/* What a server has in one database's system.views. */
struct db_views {
    const char *db; /* borrowed from the directory */
    struct buf docs;
};

struct import_source {
    struct doc_source base;
    const struct dumpdir *dir;
    struct buf users, roles;
    struct db_views *views; /* owned */
    size_t nviews;
    struct item *items; /* by db and name; owned */
    size_t len;
};

struct import_cursor {
    struct doc_cursor base;
    struct dump_cursor *file; /* one of these two */
    const struct buf *literal;
    size_t at;
};

static int
compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int by_db = strcmp(x->db, y->db);

    return by_db != 0 ? by_db : strcmp(x->name, y->name);
}

static int
compare_uuids(const void *a, const void *b)
{
    const struct item *const *x = a;
    const struct item *const *y = b;
    int by_uuid = memcmp((*x)->uuid, (*y)->uuid, sizeof(*x)->uuid);

    return by_uuid != 0 ? by_uuid : (*x < *y ? -1 : *x > *y);
}

static enum pitr_rc
random_uuid(struct item *item, struct pitr_err *err)
{
    if (crypto_random(item->uuid, sizeof item->uuid, err) != PITR_OK)
        return err->rc;
    item->uuid[6] = (uint8_t)((item->uuid[6] & 0x0f) | 0x40); /* version 4 */
    item->uuid[8] = (uint8_t)((item->uuid[8] & 0x3f) | 0x80); /* of the usual variant */
    item->has_uuid = true;
    return PITR_OK;
}

/* A folder copied beside its original makes two collections of one UUID: the first keeps it. */
static enum pitr_rc
settle_uuids(struct import_source *s, struct pitr_err *err)
{
    struct item **sorted = calloc(s->len + 1, sizeof *sorted);
    enum pitr_rc rc = PITR_OK;
    size_t n = 0;

    if (sorted == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu collections", s->len);
    for (size_t i = 0; i < s->len; i++)
        if (s->items[i].has_uuid)
            sorted[n++] = &s->items[i];
    if (n > 1)
        qsort(sorted, n, sizeof *sorted, compare_uuids);
    for (size_t i = n; i-- > 1;)
        if (memcmp(sorted[i]->uuid, sorted[i - 1]->uuid, sizeof sorted[i]->uuid) == 0)
            sorted[i]->has_uuid = false;
    for (size_t i = 0; rc == PITR_OK && i < s->len; i++)
        if (!s->items[i].has_uuid)
            rc = random_uuid(&s->items[i], err);
    free(sorted);
    return rc;
}

static void
add_literal(struct import_source *s, const char *db, const char *name, const struct buf *docs)
{
    if (docs->len > 0)
        s->items[s->len++] = (struct item){.db = db, .name = name, .literal = docs};
}

static struct buf *
views_of(struct import_source *s, const char *db)
{
    for (size_t i = 0; i < s->nviews; i++)
        if (strcmp(s->views[i].db, db) == 0)
            return &s->views[i].docs;
    s->views[s->nviews].db = db;
    return &s->views[s->nviews++].docs;
}

static enum pitr_rc
append_text(struct buf *doc, const char *name, const char *prefix, const char *text,
            struct pitr_err *err)
{
    uint8_t len[4];

    put_le32(len, (uint32_t)(strlen(prefix) + strlen(text) + 1));
    if (bdoc_append_raw(doc, BSON_STRING, name, len, sizeof len, err) != PITR_OK ||
        buf_append(doc, prefix, strlen(prefix), err) != PITR_OK)
        return err->rc;
    return buf_append(doc, text, strlen(text) + 1, err);
}

/* A time-series collection is a view on its buckets. Its pipeline follows from the options, and is
 * not made up here: loading makes the collection, and the view with it. */
static enum pitr_rc
add_series(struct import_source *s, const struct load_coll *c, struct pitr_err *err)
{
    struct buf *docs = views_of(s, c->db);
    PITR_AUTO(buf_release) struct buf prefix = {0};
    size_t at, none;

    if (buf_append(&prefix, c->db, strlen(c->db), err) != PITR_OK ||
        buf_append(&prefix, ".", 2, err) != PITR_OK || bdoc_begin(docs, &at, err) != PITR_OK ||
        append_text(docs, "_id", (const char *)prefix.data, load_visible_name(c), err) != PITR_OK ||
        append_text(docs, "viewOn", "", c->name, err) != PITR_OK ||
        bdoc_append_raw(docs, BSON_ARRAY, "pipeline", NULL, 0, err) != PITR_OK ||
        bdoc_begin(docs, &none, err) != PITR_OK || bdoc_end(docs, none, err) != PITR_OK)
        return err->rc;
    return bdoc_end(docs, at, err);
}

static enum pitr_rc
gather_views(struct import_source *s, struct pitr_err *err)
{
    size_t files = dumpdir_len(s->dir), views = dumpdir_views_len(s->dir);

    s->views = calloc(files + views + 1, sizeof *s->views);
    if (s->views == NULL)
        return pitr_fail(err, PITR_NOMEM, "views of %zu databases", views);
    for (size_t i = 0; i < views; i++) {
        const struct dump_views *v = dumpdir_views_at(s->dir, i);

        if (buf_append(views_of(s, v->db), v->docs.data, v->docs.len, err) != PITR_OK)
            return err->rc;
    }
    for (size_t i = 0; i < files; i++) {
        const struct load_coll *c = &dumpdir_at(s->dir, i)->coll;

        if (load_is_buckets(c) && add_series(s, c, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
fill_items(struct import_source *s, struct pitr_err *err)
{
    size_t files = dumpdir_len(s->dir);

    if (gather_views(s, err) != PITR_OK ||
        dumpdir_users(s->dir, &s->users, &s->roles, err) != PITR_OK)
        return err->rc;
    s->items = calloc(files + s->nviews + 2, sizeof *s->items);
    if (s->items == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu collections", files);
    for (size_t i = 0; i < files; i++) {
        const struct dump_coll *c = dumpdir_at(s->dir, i);
        struct item *item = &s->items[s->len++];

        *item = (struct item){
            .db = c->coll.db, .name = c->coll.name, .file = c, .has_uuid = c->has_uuid};
        memcpy(item->uuid, c->uuid, sizeof item->uuid);
    }
    for (size_t i = 0; i < s->nviews; i++)
        add_literal(s, s->views[i].db, "system.views", &s->views[i].docs);
    add_literal(s, "admin", "system.users", &s->users);
    add_literal(s, "admin", "system.roles", &s->roles);
    qsort(s->items, s->len, sizeof *s->items, compare_items);
    return settle_uuids(s, err);
}

/* The "index" that a clustered collection shows for its own order is none. */
static enum pitr_rc
copy_indexes(struct buf *out, const struct buf *list, struct pitr_err *err)
{
    struct biter it;
    struct belem spec, e;
    char position[24];
    bool found;
    size_t at, n = 0;

    if (bdoc_begin(out, &at, err) != PITR_OK ||
        biter_init(&it, list->data, list->len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return err->rc;
        if (spec.type == BSON_EOD)
            return bdoc_end(out, at, err);
        if (spec.type != BSON_DOC)
            return pitr_fail(err, PITR_CORRUPT, "an index spec is no document");
        if (bson_find(spec.value, spec.value_len, "clustered", &found, &e, err) != PITR_OK)
            return err->rc;
        if (found && belem_truthy(&e))
            continue;
        snprintf(position, sizeof position, "%zu", n++);
        if (bdoc_append(out, position, &spec, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
describe(struct source_coll *out, const struct item *item, struct pitr_err *err)
{
    static const struct buf nothing;
    const struct buf *options = item->file != NULL ? &item->file->coll.options : &nothing;
    const struct buf *indexes = item->file != NULL ? &item->file->coll.indexes : &nothing;

    out->db = strdup(item->db);
    out->name = strdup(item->name);
    if (out->db == NULL || out->name == NULL)
        return pitr_fail(err, PITR_NOMEM, "collection %s.%s", item->db, item->name);
    memcpy(out->uuid, item->uuid, sizeof out->uuid);
    out->bytes = item->file != NULL ? item->file->file_bytes : item->literal->len;
    if ((options->len == 0
             ? bdoc_empty(&out->options, err)
             : buf_append(&out->options, options->data, options->len, err)) != PITR_OK)
        return err->rc;
    if ((indexes->len == 0 ? bdoc_empty(&out->indexes, err)
                           : copy_indexes(&out->indexes, indexes, err)) != PITR_OK)
        return pitr_wrap(err, "indexes of %s.%s", item->db, item->name);
    return PITR_OK;
}

static enum pitr_rc
import_list(struct doc_source *source, struct source_list *out, struct pitr_err *err)
{
    struct import_source *s = (struct import_source *)source;

    *out = (struct source_list){0};
    for (size_t i = 0; i < s->len; i++) {
        struct source_coll c = {0};

        if (describe(&c, &s->items[i], err) != PITR_OK ||
            source_list_take(out, &c, err) != PITR_OK) {
            source_coll_release(&c);
            return err->rc;
        }
    }
    return PITR_OK;
}

static enum pitr_rc
import_open(struct doc_source *source, const struct source_coll *coll, struct doc_cursor **out,
            struct pitr_err *err)
{
    struct import_source *s = (struct import_source *)source;
    const struct item key = {.db = coll->db, .name = coll->name};
    const struct item *item = bsearch(&key, s->items, s->len, sizeof key, compare_items);
    struct import_cursor *c;

    if (item == NULL)
        return pitr_fail(err, PITR_INTERNAL, "%s.%s is not in the dump", coll->db, coll->name);
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return pitr_fail(err, PITR_NOMEM, "cursor");
    c->base.source = source;
    c->literal = item->literal;
    if (item->file != NULL && dump_cursor_open(&c->file, item->file, err) != PITR_OK) {
        free(c);
        /* A file that is gone is no collection that was dropped, to be passed over. */
        if (err->rc == PITR_NOTFOUND)
            err->rc = PITR_IO;
        return err->rc;
    }
    *out = &c->base;
    return PITR_OK;
}

static enum pitr_rc
import_next(struct doc_cursor *cursor, const uint8_t **doc, size_t *len, struct pitr_err *err)
{
    struct import_cursor *c = (struct import_cursor *)cursor;

    if (c->file != NULL)
        return dump_cursor_next(c->file, doc, len, err);
    *doc = NULL;
    if (c->at == c->literal->len)
        return PITR_OK;
    *doc = c->literal->data + c->at;
    *len = bson_len(*doc);
    c->at += *len;
    return PITR_OK;
}

static void
import_close(struct doc_cursor *cursor)
{
    struct import_cursor *c = (struct import_cursor *)cursor;

    dump_cursor_free(c->file);
    free(c);
}

static enum pitr_rc
import_confirm(struct doc_source *source, const struct source_coll *coll, struct pitr_err *err)
{
    (void)source;
    (void)coll;
    (void)err;
    return PITR_OK;
}

static enum pitr_rc
import_locate(struct doc_source *source, const uint8_t uuid[16], struct source_coll *out,
              bool *found, struct pitr_err *err)
{
    (void)source;
    (void)uuid;
    (void)out;
    (void)err;
    *found = false;
    return PITR_OK;
}

static void
import_free(struct doc_source *source)
{
    struct import_source *s = (struct import_source *)source;

    for (size_t i = 0; i < s->nviews; i++)
        buf_release(&s->views[i].docs);
    free(s->views);
    buf_release(&s->users);
    buf_release(&s->roles);
    free(s->items);
    free(s);
}

enum pitr_rc
import_source_new(struct doc_source **out, const struct dumpdir *dir, struct pitr_err *err)
{
    static const struct doc_source_ops ops = {
        .list = import_list,
        .open = import_open,
        .next = import_next,
        .close = import_close,
        .confirm = import_confirm,
        .locate = import_locate,
        .free = import_free,
    };
    struct import_source *s = calloc(1, sizeof *s);

    if (s == NULL)
        return pitr_fail(err, PITR_NOMEM, "mongodump directory");
    s->base.ops = &ops;
    s->dir = dir;
    if (fill_items(s, err) != PITR_OK) {
        import_free(&s->base);
        return err->rc;
    }
    *out = &s->base;
    return PITR_OK;
}
