#include "engine/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "engine/manifest_internal.h"
#include "oplog/record.h"

void
coll_node_release(struct coll_node *c)
{
    free(c->db);
    free(c->name);
    buf_release(&c->options);
    buf_release(&c->indexes);
    free(c->lists);
    *c = (struct coll_node){0};
}

void
manifest_release(struct manifest *m)
{
    for (size_t i = 0; i < m->nexclude; i++)
        free(m->exclude[i]);
    for (size_t i = 0; i < m->nexcluded; i++)
        free(m->excluded[i].ns);
    for (size_t i = 0; i < m->ndbs; i++)
        free(m->dbs[i].db);
    for (size_t i = 0; i < m->ncolls; i++)
        coll_node_release(&m->colls[i]);
    free(m->exclude);
    free(m->excluded);
    free(m->dbs);
    free(m->colls);
    free(m->label);
    *m = (struct manifest){0};
}

bool
manifest_is_import(const struct manifest *m)
{
    return strcmp(m->mode, "import") == 0;
}

int
coll_node_compare(const struct coll_node *a, const struct coll_node *b)
{
    int c = strcmp(a->db, b->db);

    if (c == 0)
        c = strcmp(a->name, b->name);
    return c != 0 ? c : memcmp(a->uuid, b->uuid, sizeof a->uuid);
}

static int
compare_colls(const void *a, const void *b)
{
    return coll_node_compare(a, b);
}

static bool
append_uuid(bson_t *b, const char *name, const uint8_t uuid[16])
{
    return BSON_APPEND_BINARY(b, name, BSON_SUBTYPE_UUID, uuid, 16);
}

/* `doc` under `name`; an empty buf is an empty document. */
static bool
append_doc(bson_t *b, const char *name, const struct buf *doc, bool as_array)
{
    bson_t view;

    if (doc->len == 0)
        bson_init(&view);
    else if (!bson_init_static(&view, doc->data, doc->len))
        return false;
    return as_array ? BSON_APPEND_ARRAY(b, name, &view) : BSON_APPEND_DOCUMENT(b, name, &view);
}

static bool
append_count(bson_t *b, const char *name, uint64_t n)
{
    return BSON_APPEND_INT64(b, name, (int64_t)n);
}

static bool
build_coll(bson_t *b, const struct coll_node *c)
{
    uint8_t print[FINGERPRINT_LEN];
    bson_t base;

    fingerprint_store(print, &c->print);
    return BSON_APPEND_INT64(b, "v", NODE_VERSION) && BSON_APPEND_UTF8(b, "db", c->db) &&
           BSON_APPEND_UTF8(b, "name", c->name) && append_uuid(b, "uuid", c->uuid) &&
           append_doc(b, "options", &c->options, false) &&
           append_doc(b, "indexes", &c->indexes, true) &&
           BSON_APPEND_DOCUMENT_BEGIN(b, "base", &base) &&
           append_count(&base, "documents", c->print.documents) &&
           append_count(&base, "bytes", c->print.bytes) &&
           record_append_bytes(&base, "print", print, sizeof print) &&
           append_count(&base, "chunks", c->chunks) &&
           record_append_bytes(&base, "lists", (const uint8_t *)c->lists,
                               c->nlists * sizeof *c->lists) &&
           bson_append_document_end(b, &base);
}

static enum pitr_rc
store_node(const bson_t *doc, bool built, struct store_writer *w, struct sealer *sealer,
           struct chunk_id *id, struct pitr_err *err)
{
    if (!built)
        return pitr_fail(err, PITR_NOMEM, "node too large for BSON");
    return store_put(w, sealer, FRAME_NODE, bson_get_data(doc), doc->len, id, NULL, err);
}

/* Nodes of the collections [from, to), which are all of one database, and the database's own. */
static enum pitr_rc
store_db(struct manifest *m, size_t from, size_t to, struct store_writer *w, struct sealer *sealer,
         struct pitr_err *err)
{
    struct db_node *db = &m->dbs[m->ndbs++];
    struct buf ids = {0};
    enum pitr_rc rc = PITR_OK;
    bson_t doc;

    db->db = strdup(m->colls[from].db);
    if (db->db == NULL)
        return pitr_fail(err, PITR_NOMEM, "database node");
    for (size_t i = from; rc == PITR_OK && i < to; i++) {
        struct chunk_id id;
        bool built;

        bson_init(&doc);
        built = build_coll(&doc, &m->colls[i]);
        rc = store_node(&doc, built, w, sealer, &id, err);
        bson_destroy(&doc);
        if (rc == PITR_OK)
            rc = buf_append(&ids, id.b, CHUNK_ID_LEN, err);
        else
            rc = pitr_wrap(err, "%s.%s", m->colls[i].db, m->colls[i].name);
    }
    if (rc == PITR_OK) {
        bool built;

        bson_init(&doc);
        built = BSON_APPEND_INT64(&doc, "v", NODE_VERSION) &&
                BSON_APPEND_UTF8(&doc, "db", db->db) &&
                record_append_bytes(&doc, "collections", ids.data, ids.len);
        rc = store_node(&doc, built, w, sealer, &db->id, err);
        bson_destroy(&doc);
    }
    buf_release(&ids);
    return rc;
}

enum pitr_rc
manifest_store_nodes(struct manifest *m, struct store_writer *w, struct sealer *sealer,
                     struct pitr_err *err)
{
    struct store_stats stats;
    size_t from = 0;

    if (m->ncolls > 0)
        qsort(m->colls, m->ncolls, sizeof *m->colls, compare_colls);
    m->dbs = calloc(m->ncolls + 1, sizeof *m->dbs); /* at most one each */
    if (m->dbs == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu database nodes", m->ncolls);
    m->collections = m->ncolls;
    m->documents = m->bytes_raw = m->chunks = 0;
    for (size_t i = 0; i < m->ncolls; i++) {
        m->documents += m->colls[i].print.documents;
        m->bytes_raw += m->colls[i].print.bytes;
        m->chunks += m->colls[i].chunks;
        if (i + 1 == m->ncolls || strcmp(m->colls[i].db, m->colls[i + 1].db) != 0) {
            if (store_db(m, from, i + 1, w, sealer, err) != PITR_OK)
                return pitr_wrap(err, "manifest");
            from = i + 1;
        }
    }
    store_writer_stats(w, &stats);
    m->bytes_stored = stats.bytes_stored;
    return PITR_OK;
}

static bool
build_exclusions(bson_t *b, const struct manifest *m)
{
    char text[16];
    const char *key;
    bson_t list, one;
    bool ok = BSON_APPEND_ARRAY_BEGIN(b, "exclude", &list);

    for (size_t i = 0; ok && i < m->nexclude; i++) {
        bson_uint32_to_string((uint32_t)i, &key, text, sizeof text);
        ok = BSON_APPEND_UTF8(&list, key, m->exclude[i]);
    }
    ok = ok && bson_append_array_end(b, &list) && BSON_APPEND_ARRAY_BEGIN(b, "excluded", &list);
    for (size_t i = 0; ok && i < m->nexcluded; i++) {
        bson_uint32_to_string((uint32_t)i, &key, text, sizeof text);
        ok = BSON_APPEND_DOCUMENT_BEGIN(&list, key, &one) &&
             BSON_APPEND_UTF8(&one, "ns", m->excluded[i].ns) &&
             append_uuid(&one, "uuid", m->excluded[i].uuid) &&
             bson_append_document_end(&list, &one);
    }
    return ok && bson_append_array_end(b, &list);
}

static bool
build_dbs(bson_t *b, const struct manifest *m)
{
    char text[16];
    const char *key;
    bson_t list, one;
    bool ok = BSON_APPEND_ARRAY_BEGIN(b, "dbs", &list);

    for (size_t i = 0; ok && i < m->ndbs; i++) {
        bson_uint32_to_string((uint32_t)i, &key, text, sizeof text);
        ok = BSON_APPEND_DOCUMENT_BEGIN(&list, key, &one) &&
             BSON_APPEND_UTF8(&one, "db", m->dbs[i].db) &&
             record_append_bytes(&one, "node", m->dbs[i].id.b, CHUNK_ID_LEN) &&
             bson_append_document_end(&list, &one);
    }
    return ok && bson_append_array_end(b, &list);
}

static bool
build_cluster(bson_t *b, const struct manifest *m)
{
    bson_t child;

    return BSON_APPEND_DOCUMENT_BEGIN(b, "cluster", &child) &&
           BSON_APPEND_UTF8(&child, "set", m->cluster.set_name) &&
           BSON_APPEND_UTF8(&child, "replica_set_id", m->cluster.replica_set_id) &&
           bson_append_document_end(b, &child);
}

static bool
build_root(bson_t *b, const struct manifest *m)
{
    bson_t needs;

    return BSON_APPEND_INT64(b, "v", MANIFEST_VERSION) &&
           BSON_APPEND_ARRAY_BEGIN(b, "needs", &needs) && bson_append_array_end(b, &needs) &&
           BSON_APPEND_UTF8(b, "id", m->id) && BSON_APPEND_UTF8(b, "mode", m->mode) &&
           (m->label == NULL || BSON_APPEND_UTF8(b, "label", m->label)) &&
           BSON_APPEND_BOOL(b, "pitr", m->pitr) && append_count(b, "timeline", m->timeline) &&
           build_cluster(b, m) && BSON_APPEND_UTF8(b, "host", m->host) &&
           BSON_APPEND_UTF8(b, "server_version", m->server_version) &&
           BSON_APPEND_UTF8(b, "fcv", m->fcv) && BSON_APPEND_UTF8(b, "tool", m->tool_version) &&
           record_append_optime(b, "begin", &m->begin) &&
           record_append_optime(b, "t_start", &m->t_start) &&
           record_append_optime(b, "t_end", &m->t_end) &&
           BSON_APPEND_DATE_TIME(b, "started", m->started_ms) &&
           BSON_APPEND_DATE_TIME(b, "finished", m->finished_ms) &&
           append_count(b, "collections", m->collections) &&
           append_count(b, "documents", m->documents) &&
           append_count(b, "bytes_raw", m->bytes_raw) && append_count(b, "chunks", m->chunks) &&
           append_count(b, "chunks_new", m->chunks_new) &&
           append_count(b, "bytes_new", m->bytes_new) &&
           append_count(b, "bytes_stored", m->bytes_stored) && build_exclusions(b, m) &&
           build_dbs(b, m);
}

enum pitr_rc
manifest_publish(struct repo *r, const struct manifest *m, struct pitr_err *err)
{
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    char name[MANIFEST_NAME_LEN];
    struct buf frame = {0};
    struct chunk_id id;
    bson_t doc = BSON_INITIALIZER;
    enum pitr_rc rc;

    manifest_object(name, m->id);
    if (!build_root(&doc, m))
        rc = pitr_fail(err, PITR_NOMEM, "%s: too large for BSON", name);
    else if (sealer_new(&sealer, repo_keys(r), CODEC_ZSTD, 0, err) == PITR_OK &&
             sealer_seal_whole(sealer, FRAME_MANIFEST, bson_get_data(&doc), doc.len, &id, &frame,
                               err) == PITR_OK &&
             blob_put(repo_blob(r), name, frame.data, frame.len, false, err) == PITR_OK)
        rc = PITR_OK;
    else
        rc = pitr_wrap(err, "publishing snapshot %s", m->id);
    buf_release(&frame);
    bson_destroy(&doc);
    return rc;
}
