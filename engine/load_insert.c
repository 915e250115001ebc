#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/load_internal.h"
#include "mongo/bsonedit.h"

/* Memory a batch keeps between uses. A batch only grows beyond it for a huge document. */
enum { BATCH_KEPT_BYTES = 6 << 20, SHOWN_ID = 160 };

void
insert_batch_clear(struct insert_batch *b)
{
    if (b->cmd.cap > BATCH_KEPT_BYTES)
        buf_release(&b->cmd);
    buf_clear(&b->cmd);
    b->documents = b->bytes = 0;
}

void
insert_batch_release(struct insert_batch *b)
{
    buf_release(&b->cmd);
    b->documents = b->bytes = 0;
}

enum pitr_rc
insert_batch_begin(struct insert_batch *b, const char *db, const char *name, bool ordered,
                   struct pitr_err *err)
{
    static const uint8_t one[] = {1, 0, 0, 0}, no = 0, yes = 1;
    const uint8_t in_order = ordered;
    uint8_t name_len[4];
    size_t at, concern;

    insert_batch_clear(b);
    snprintf(b->db, sizeof b->db, "%s", db);
    snprintf(b->ns, sizeof b->ns, "%s.%s", db, name);
    put_le32(name_len, (uint32_t)strlen(name) + 1);
    if (bdoc_begin(&b->cmd, &at, err) != PITR_OK ||
        bdoc_append_raw(&b->cmd, BSON_STRING, "insert", name_len, sizeof name_len, err) !=
            PITR_OK ||
        buf_append(&b->cmd, name, strlen(name) + 1, err) != PITR_OK ||
        bdoc_append_raw(&b->cmd, BSON_BOOLEAN, "ordered", &in_order, 1, err) != PITR_OK ||
        bdoc_append_raw(&b->cmd, BSON_BOOLEAN, "bypassDocumentValidation", &yes, 1, err) !=
            PITR_OK ||
        bdoc_append_raw(&b->cmd, BSON_DOC, "writeConcern", NULL, 0, err) != PITR_OK ||
        bdoc_begin(&b->cmd, &concern, err) != PITR_OK ||
        bdoc_append_raw(&b->cmd, BSON_INT, "w", one, sizeof one, err) != PITR_OK ||
        bdoc_append_raw(&b->cmd, BSON_BOOLEAN, "j", &no, 1, err) != PITR_OK ||
        bdoc_end(&b->cmd, concern, err) != PITR_OK ||
        bdoc_append_raw(&b->cmd, BSON_ARRAY, "documents", NULL, 0, err) != PITR_OK)
        return err->rc;
    return bdoc_begin(&b->cmd, &b->list, err);
}

enum pitr_rc
insert_batch_add(struct insert_batch *b, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    char position[24];

    snprintf(position, sizeof position, "%zu", b->documents);
    if (bdoc_append_raw(&b->cmd, BSON_DOC, position, doc, len, err) != PITR_OK)
        return err->rc;
    b->documents++;
    b->bytes += len;
    return PITR_OK;
}

/* The _id of document `index` of the batch as JSON, "" if it cannot be had. */
static void
show_id(const struct insert_batch *b, int64_t index, char out[SHOWN_ID])
{
    PITR_AUTO(buf_release) struct buf doc = {0};
    struct pitr_err ignored;
    struct biter it;
    struct belem e = {0}, id;
    size_t at, list_len = bson_len(b->cmd.data + b->list);
    bson_t view;
    char *json;
    bool found;

    out[0] = '\0';
    if (biter_init(&it, b->cmd.data + b->list, list_len, &ignored) != PITR_OK)
        return;
    for (int64_t i = 0; i <= index; i++)
        if (biter_next(&it, &e, &ignored) != PITR_OK || e.type == BSON_EOD)
            return;
    if (index < 0 || bson_find(e.value, e.value_len, "_id", &found, &id, &ignored) != PITR_OK ||
        !found || bdoc_begin(&doc, &at, &ignored) != PITR_OK ||
        bdoc_append(&doc, "_id", &id, &ignored) != PITR_OK ||
        bdoc_end(&doc, at, &ignored) != PITR_OK || !bson_init_static(&view, doc.data, doc.len))
        return;
    json = bson_as_relaxed_extended_json(&view, NULL);
    if (json != NULL)
        snprintf(out, SHOWN_ID, "%s", json);
    bson_free(json);
}

static enum pitr_rc
refused(const struct insert_batch *b, bson_iter_t *errors, struct pitr_err *err)
{
    char id[SHOWN_ID] = "";
    const char *message = "no reason given";
    uint32_t count = 0;
    bson_iter_t each, first, field;

    for (bson_iter_t all = *errors; bson_iter_next(&all);)
        count++;
    each = *errors;
    if (bson_iter_next(&each) && bson_iter_recurse(&each, &first)) {
        field = first;
        if (bson_iter_find(&field, "index"))
            show_id(b, bson_iter_as_int64(&field), id);
        field = first;
        if (bson_iter_find(&field, "errmsg") && BSON_ITER_HOLDS_UTF8(&field))
            message = bson_iter_utf8(&field, NULL);
    }
    return pitr_fail(err, PITR_DB,
                     "insert into %s: %u of %zu documents refused, the first %s: %.500s", b->ns,
                     count, b->documents, id, message);
}

static enum pitr_rc
check_reply(const struct insert_batch *b, const bson_t *reply, struct pitr_err *err)
{
    bson_iter_t it, errors;
    int64_t inserted = -1;

    if (bson_iter_init_find(&it, reply, "writeErrors") && bson_iter_recurse(&it, &errors))
        return refused(b, &errors, err);
    if (bson_iter_init_find(&it, reply, "n"))
        inserted = bson_iter_as_int64(&it);
    if (inserted < 0 || (uint64_t)inserted != b->documents)
        return pitr_fail(err, PITR_DB, "insert into %s: the server reports %lld of %zu documents",
                         b->ns, (long long)inserted, b->documents);
    return PITR_OK;
}

enum pitr_rc
insert_batch_send(struct insert_batch *b, struct target *t, struct conn *c, struct pitr_err *err)
{
    bson_t reply;
    enum pitr_rc rc;

    if (b->documents == 0)
        return PITR_OK;
    if (bdoc_end(&b->cmd, b->list, err) != PITR_OK || bdoc_end(&b->cmd, 0, err) != PITR_OK)
        return err->rc;
    if (target_command(t, c, b->db, &b->cmd, &reply, NULL, "insert", err) != PITR_OK)
        return pitr_wrap(err, "%s", b->ns);
    rc = check_reply(b, &reply, err);
    bson_destroy(&reply);
    if (rc == PITR_OK)
        insert_batch_clear(b);
    return rc;
}

enum pitr_rc
insert_would_change(bool *out, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct biter it;
    struct belem e;

    *out = false;
    if (biter_init(&it, doc, len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (e.type == BSON_TS && get_le64(e.value) == 0) {
            *out = true;
            return PITR_OK;
        }
    }
}

enum pitr_rc
insert_unchanged(struct target *t, struct conn *c, const char *db, const char *name,
                 const uint8_t *doc, size_t len, struct pitr_err *err)
{
    bson_t view, reply;
    bson_iter_t id, it;
    bson_t *cmd;
    bool stored;

    if (!bson_init_static(&view, doc, len) || !bson_iter_init_find(&id, &view, "_id"))
        return pitr_fail(err, PITR_CORRUPT, "%s.%s: a document without _id", db, name);
    /* A pipeline that replaces the document by a literal stores it byte for byte. */
    cmd = BCON_NEW("update", BCON_UTF8(name), "updates", "[", "{", "q", "{", "_id", "{", "$eq",
                   BCON_ITER(&id), "}", "}", "u", "[", "{", "$replaceWith", "{", "$literal",
                   BCON_DOCUMENT(&view), "}", "}", "]", "upsert", BCON_BOOL(true), "}", "]",
                   "bypassDocumentValidation", BCON_BOOL(true), "writeConcern", "{", "w",
                   BCON_INT32(1), "}");
    if (target_simple(t, c, db, cmd, &reply, NULL, "insert", err) != PITR_OK)
        return pitr_wrap(err, "%s.%s", db, name);
    stored = bson_iter_init_find(&it, &reply, "upserted");
    bson_destroy(&reply);
    if (!stored)
        return pitr_fail(err, PITR_DB,
                         "insert into %s.%s: a document with an empty timestamp was refused", db,
                         name);
    return PITR_OK;
}
