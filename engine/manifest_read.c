#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/manifest_internal.h"
#include "oplog/record.h"

enum { MANIFEST_OBJECT_MAX = (64 << 20) + 4096 };

void
manifest_object(char out[MANIFEST_NAME_LEN], const char *id)
{
    snprintf(out, MANIFEST_NAME_LEN, MANIFEST_FOLDER "%.*s" MANIFEST_SUFFIX, SNAPSHOT_ID_LEN - 1,
             id);
}

static enum pitr_rc
add_id(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    const size_t folder = strlen(MANIFEST_FOLDER), suffix = strlen(MANIFEST_SUFFIX);
    const size_t len = strlen(name);
    char id[SNAPSHOT_ID_LEN];

    (void)size;
    if (len != folder + SNAPSHOT_ID_LEN - 1 + suffix ||
        strcmp(name + len - suffix, MANIFEST_SUFFIX) != 0)
        return PITR_OK; /* nothing of ours */
    memcpy(id, name + folder, SNAPSHOT_ID_LEN - 1);
    id[SNAPSHOT_ID_LEN - 1] = '\0';
    return fs_names_add(arg, id, err);
}

enum pitr_rc
manifest_list(struct repo *r, struct fs_names *ids, struct pitr_err *err)
{
    *ids = (struct fs_names){0};
    if (blob_list(repo_blob(r), MANIFEST_FOLDER, add_id, ids, err) != PITR_OK) {
        fs_names_release(ids);
        return err->rc;
    }
    fs_names_sort(ids);
    return PITR_OK;
}

/* `id` matches nothing: say what is near in time, which is near in the sorted list. */
static enum pitr_rc
fail_unknown(const struct fs_names *ids, const char *id, struct pitr_err *err)
{
    size_t next = 0;

    if (ids->len == 0)
        return pitr_fail(err, PITR_NOTFOUND, "no snapshot \"%s\": the repository has none yet", id);
    while (next < ids->len && strcmp(ids->at[next], id) < 0)
        next++;
    if (next == 0 || next == ids->len)
        return pitr_fail(err, PITR_NOTFOUND, "no snapshot \"%s\"; the nearest is %s", id,
                         ids->at[next == 0 ? 0 : ids->len - 1]);
    return pitr_fail(err, PITR_NOTFOUND, "no snapshot \"%s\"; the nearest are %s and %s", id,
                     ids->at[next - 1], ids->at[next]);
}

/* The newest that was not imported, or the newest. One that cannot be read is for the caller to
 * fail at. */
static const char *
find_latest(struct repo *r, const struct fs_names *ids)
{
    for (size_t i = ids->len; i-- > 0;) {
        struct manifest m;
        struct pitr_err ignored;
        bool imported;

        if (manifest_read_root(r, ids->at[i], &m, &ignored) != PITR_OK)
            return ids->at[i];
        imported = manifest_is_import(&m);
        manifest_release(&m);
        if (!imported)
            return ids->at[i];
    }
    return ids->at[ids->len - 1];
}

static enum pitr_rc
resolve(struct repo *r, const char *id, char out[SNAPSHOT_ID_LEN], struct pitr_err *err)
{
    struct fs_names ids = {0};
    const char *found = NULL;
    enum pitr_rc rc = manifest_list(r, &ids, err);

    if (rc != PITR_OK)
        return rc;
    if (strcmp(id, "latest") == 0 && ids.len > 0)
        found = find_latest(r, &ids);
    for (size_t i = 0; found == NULL && *id != '\0' && i < ids.len; i++) {
        if (strncmp(ids.at[i], id, strlen(id)) != 0)
            continue;
        found = ids.at[i];
        if (i + 1 < ids.len && strncmp(ids.at[i + 1], id, strlen(id)) == 0)
            rc = pitr_fail(err, PITR_USAGE, "\"%s\" is not one snapshot: %s and %s begin with it",
                           id, found, ids.at[i + 1]);
    }
    if (found == NULL)
        rc = fail_unknown(&ids, id, err);
    else
        memcpy(out, found, SNAPSHOT_ID_LEN);
    fs_names_release(&ids);
    return rc;
}

/* The field `name` of `rec`, whose type must be `type`. */
static enum pitr_rc
field(const struct buf *rec, const char *name, enum bson_kind type, struct belem *e,
      struct pitr_err *err)
{
    bool found;

    if (bson_find(rec->data, rec->len, name, &found, e, err) != PITR_OK)
        return err->rc;
    if (!found || e->type != type)
        return pitr_fail(err, PITR_CORRUPT, "field %s is %s", name,
                         found ? "of another type" : "missing");
    return PITR_OK;
}

/* A view of the document or array in `e`; it must not be released. */
static struct buf
sub_record(const struct belem *e)
{
    return (struct buf){.data = (uint8_t *)(uintptr_t)e->value, .len = e->value_len};
}

static enum pitr_rc
text_field(const struct buf *rec, const char *name, char **out, struct pitr_err *err)
{
    struct belem e;
    const char *text;
    size_t len;

    if (field(rec, name, BSON_STRING, &e, err) != PITR_OK)
        return err->rc;
    if (!belem_string(&e, &text, &len) || memchr(text, '\0', len) != NULL)
        return pitr_fail(err, PITR_CORRUPT, "field %s holds a NUL", name);
    *out = strndup(text, len);
    return *out != NULL ? PITR_OK : pitr_fail(err, PITR_NOMEM, "field %s", name);
}

static enum pitr_rc
uuid_field(const struct buf *rec, const char *name, uint8_t out[16], struct pitr_err *err)
{
    struct belem e;
    const uint8_t *uuid;

    if (field(rec, name, BSON_BIN, &e, err) != PITR_OK)
        return err->rc;
    if (!belem_uuid(&e, &uuid))
        return pitr_fail(err, PITR_CORRUPT, "field %s is no UUID", name);
    memcpy(out, uuid, 16);
    return PITR_OK;
}

/* A concatenation of chunk ids; *out is malloc'ed, NULL when there are none. */
static enum pitr_rc
ids_field(const struct buf *rec, const char *name, struct chunk_id **out, size_t *n,
          struct pitr_err *err)
{
    enum { BIN_HEAD = 5 }; /* length and subtype */
    struct belem e;
    size_t len;

    if (field(rec, name, BSON_BIN, &e, err) != PITR_OK)
        return err->rc;
    len = e.value_len - BIN_HEAD;
    if (e.value[BIN_HEAD - 1] != BSON_SUBTYPE_BINARY || len % CHUNK_ID_LEN != 0)
        return pitr_fail(err, PITR_CORRUPT, "field %s: %zu bytes are no chunk ids", name, len);
    *n = len / CHUNK_ID_LEN;
    *out = NULL;
    if (*n == 0)
        return PITR_OK;
    *out = malloc(len);
    if (*out == NULL)
        return pitr_fail(err, PITR_NOMEM, "field %s", name);
    memcpy(*out, e.value + BIN_HEAD, len);
    return PITR_OK;
}

/* Call `each` for every element of the array `name`. */
static enum pitr_rc
each_of(const struct buf *rec, const char *name, struct manifest *m,
        enum pitr_rc (*each)(struct manifest *m, const struct belem *e, struct pitr_err *err),
        struct pitr_err *err)
{
    struct belem list, e;
    struct biter it;

    if (field(rec, name, BSON_ARRAY, &list, err) != PITR_OK ||
        biter_init(&it, list.value, list.value_len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (each(m, &e, err) != PITR_OK)
            return pitr_wrap(err, "%s", name);
    }
}

/* One more element at the end of a malloc'ed array that holds `n`; grown in powers of two. */
static void *
grow_by_one(void *at, size_t n, size_t size, struct pitr_err *err)
{
    void *grown = at;

    if ((n & (n - 1)) == 0)
        grown = realloc(at, (n == 0 ? 1 : 2 * n) * size);
    if (grown == NULL)
        pitr_fail(err, PITR_NOMEM, "%zu elements", n);
    else
        memset((char *)grown + n * size, 0, size);
    return grown;
}

static enum pitr_rc
refuse_need(struct manifest *m, const struct belem *e, struct pitr_err *err)
{
    const char *text = "?";
    size_t len = 1;

    (void)m;
    (void)belem_string(e, &text, &len);
    return pitr_fail(err, PITR_USAGE,
                     "feature \"%.*s\" is not known to this pitr; use the newer "
                     "program",
                     (int)(len < 64 ? len : 64), text);
}

static enum pitr_rc
add_exclude(struct manifest *m, const struct belem *e, struct pitr_err *err)
{
    const char *text;
    size_t len;
    char **grown;

    if (!belem_string(e, &text, &len))
        return pitr_fail(err, PITR_CORRUPT, "pattern is no string");
    grown = grow_by_one(m->exclude, m->nexclude, sizeof *grown, err);
    if (grown == NULL)
        return err->rc;
    m->exclude = grown;
    m->exclude[m->nexclude] = strndup(text, len);
    if (m->exclude[m->nexclude] == NULL)
        return pitr_fail(err, PITR_NOMEM, "pattern");
    m->nexclude++;
    return PITR_OK;
}

static enum pitr_rc
add_excluded(struct manifest *m, const struct belem *e, struct pitr_err *err)
{
    struct buf rec = sub_record(e);
    struct excluded_coll *grown;

    if (e->type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "element is no document");
    grown = grow_by_one(m->excluded, m->nexcluded, sizeof *grown, err);
    if (grown == NULL)
        return err->rc;
    m->excluded = grown;
    if (text_field(&rec, "ns", &grown[m->nexcluded].ns, err) != PITR_OK)
        return err->rc;
    m->nexcluded++;
    return uuid_field(&rec, "uuid", grown[m->nexcluded - 1].uuid, err);
}

static enum pitr_rc
add_db(struct manifest *m, const struct belem *e, struct pitr_err *err)
{
    struct buf rec = sub_record(e);
    struct db_node *grown;

    if (e->type != BSON_DOC)
        return pitr_fail(err, PITR_CORRUPT, "element is no document");
    grown = grow_by_one(m->dbs, m->ndbs, sizeof *grown, err);
    if (grown == NULL)
        return err->rc;
    m->dbs = grown;
    if (text_field(&rec, "db", &grown[m->ndbs].db, err) != PITR_OK)
        return err->rc;
    m->ndbs++;
    if (m->ndbs > 1 && strcmp(grown[m->ndbs - 2].db, grown[m->ndbs - 1].db) >= 0)
        return pitr_fail(err, PITR_CORRUPT, "databases out of order");
    return record_bytes(&rec, "node", grown[m->ndbs - 1].id.b, CHUNK_ID_LEN, err);
}

static enum pitr_rc
parse_counts(const struct buf *rec, struct manifest *m, struct pitr_err *err)
{
    const struct {
        const char *name;
        uint64_t *to;
    } counts[] = {
        {"collections", &m->collections},   {"documents", &m->documents},
        {"bytes_raw", &m->bytes_raw},       {"chunks", &m->chunks},
        {"chunks_new", &m->chunks_new},     {"bytes_new", &m->bytes_new},
        {"bytes_stored", &m->bytes_stored},
    };

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (record_count(rec, counts[i].name, counts[i].to, err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

static enum pitr_rc
parse_label(const struct buf *rec, struct manifest *m, struct pitr_err *err)
{
    struct belem e;
    bool found;

    if (bson_find(rec->data, rec->len, "label", &found, &e, err) != PITR_OK)
        return err->rc;
    return found ? text_field(rec, "label", &m->label, err) : PITR_OK;
}

static enum pitr_rc
parse_origin(const struct buf *rec, struct manifest *m, struct pitr_err *err)
{
    struct belem cluster;
    struct buf sub;

    if (field(rec, "cluster", BSON_DOC, &cluster, err) != PITR_OK)
        return err->rc;
    sub = sub_record(&cluster);
    if (record_text(&sub, "set", m->cluster.set_name, sizeof m->cluster.set_name, err) != PITR_OK ||
        record_text(&sub, "replica_set_id", m->cluster.replica_set_id,
                    sizeof m->cluster.replica_set_id, err) != PITR_OK ||
        record_text(rec, "host", m->host, sizeof m->host, err) != PITR_OK ||
        record_text(rec, "server_version", m->server_version, sizeof m->server_version, err) !=
            PITR_OK ||
        record_text(rec, "fcv", m->fcv, sizeof m->fcv, err) != PITR_OK)
        return err->rc;
    return record_text(rec, "tool", m->tool_version, sizeof m->tool_version, err);
}

static enum pitr_rc
parse_times(const struct buf *rec, struct manifest *m, struct pitr_err *err)
{
    struct belem flag;
    uint64_t timeline;

    if (field(rec, "pitr", BSON_BOOLEAN, &flag, err) != PITR_OK ||
        record_count(rec, "timeline", &timeline, err) != PITR_OK ||
        record_optime(rec, "begin", &m->begin, err) != PITR_OK ||
        record_optime(rec, "t_start", &m->t_start, err) != PITR_OK ||
        record_optime(rec, "t_end", &m->t_end, err) != PITR_OK ||
        record_date(rec, "started", &m->started_ms, err) != PITR_OK ||
        record_date(rec, "finished", &m->finished_ms, err) != PITR_OK)
        return err->rc;
    if (timeline > UINT32_MAX)
        return pitr_fail(err, PITR_CORRUPT, "field timeline is out of range");
    m->timeline = (uint32_t)timeline;
    m->pitr = belem_truthy(&flag);
    if (m->begin.ts > m->t_start.ts || m->t_start.ts > m->t_end.ts)
        return pitr_fail(err, PITR_CORRUPT, "begin, t_start and t_end are out of order");
    return PITR_OK;
}

/* What must be understood before any other field is: version and required features. */
static enum pitr_rc
check_version(const struct buf *rec, struct manifest *m, struct pitr_err *err)
{
    int64_t version;

    if (record_int64(rec, "v", &version, err) != PITR_OK)
        return err->rc;
    if (version != MANIFEST_VERSION)
        return pitr_fail(err, PITR_USAGE, "version %lld, this pitr knows %d; use the newer program",
                         (long long)version, MANIFEST_VERSION);
    return each_of(rec, "needs", m, refuse_need, err);
}

static enum pitr_rc
parse_root(const struct buf *rec, const char *id, struct manifest *m, struct pitr_err *err)
{
    if (check_version(rec, m, err) != PITR_OK ||
        record_text(rec, "id", m->id, sizeof m->id, err) != PITR_OK ||
        record_text(rec, "mode", m->mode, sizeof m->mode, err) != PITR_OK ||
        parse_label(rec, m, err) != PITR_OK || parse_origin(rec, m, err) != PITR_OK ||
        parse_times(rec, m, err) != PITR_OK || parse_counts(rec, m, err) != PITR_OK ||
        each_of(rec, "exclude", m, add_exclude, err) != PITR_OK ||
        each_of(rec, "excluded", m, add_excluded, err) != PITR_OK ||
        each_of(rec, "dbs", m, add_db, err) != PITR_OK)
        return err->rc;
    if (strcmp(m->id, id) != 0) /* a manifest copied to another name is not that snapshot */
        return pitr_fail(err, PITR_CORRUPT, "it says it is snapshot %s", m->id);
    return PITR_OK;
}

static enum pitr_rc
read_object(struct repo *r, const char *name, struct buf *rec, struct pitr_err *err)
{
    PITR_AUTO(opener_freep) struct opener *opener = NULL;
    struct buf frame = {0};
    size_t used = 0;
    enum pitr_rc rc;

    if (opener_new(&opener, repo_keys(r), err) != PITR_OK)
        return err->rc;
    rc = blob_get(repo_blob(r), name, MANIFEST_OBJECT_MAX, &frame, err);
    if (rc == PITR_OK)
        rc = opener_open(opener, FRAME_MANIFEST, frame.data, frame.len, NULL, rec, &used, err);
    if (rc == PITR_OK && used != frame.len)
        rc = pitr_fail(err, PITR_CORRUPT, "%zu bytes after the frame", frame.len - used);
    if (rc == PITR_OK)
        rc = bson_check(rec->data, rec->len, err);
    buf_release(&frame);
    return rc;
}

enum pitr_rc
manifest_read_root(struct repo *r, const char *id, struct manifest *out, struct pitr_err *err)
{
    char full[SNAPSHOT_ID_LEN], name[MANIFEST_NAME_LEN];
    struct buf rec = {0};
    enum pitr_rc rc;

    *out = (struct manifest){0};
    if (resolve(r, id, full, err) != PITR_OK)
        return err->rc;
    manifest_object(name, full);
    rc = read_object(r, name, &rec, err);
    if (rc == PITR_OK)
        rc = parse_root(&rec, full, out, err);
    buf_release(&rec);
    if (rc != PITR_OK) {
        manifest_release(out);
        return pitr_wrap(err, "snapshot %s", full);
    }
    return PITR_OK;
}

static enum pitr_rc
copy_doc(const struct buf *rec, const char *name, enum bson_kind type, struct buf *out,
         struct pitr_err *err)
{
    struct belem e;

    if (field(rec, name, type, &e, err) != PITR_OK)
        return err->rc;
    return buf_append(out, e.value, e.value_len, err);
}

static enum pitr_rc
check_node(const struct buf *rec, struct pitr_err *err)
{
    int64_t version;

    if (bson_check(rec->data, rec->len, err) != PITR_OK ||
        record_int64(rec, "v", &version, err) != PITR_OK)
        return err->rc;
    if (version != NODE_VERSION)
        return pitr_fail(err, PITR_USAGE, "node version %lld; use the newer program",
                         (long long)version);
    return PITR_OK;
}

static enum pitr_rc
parse_coll(const struct buf *rec, struct coll_node *c, struct pitr_err *err)
{
    uint8_t print[FINGERPRINT_LEN];
    struct belem e;
    struct buf base;

    if (check_node(rec, err) != PITR_OK || text_field(rec, "db", &c->db, err) != PITR_OK ||
        text_field(rec, "name", &c->name, err) != PITR_OK ||
        uuid_field(rec, "uuid", c->uuid, err) != PITR_OK ||
        copy_doc(rec, "options", BSON_DOC, &c->options, err) != PITR_OK ||
        copy_doc(rec, "indexes", BSON_ARRAY, &c->indexes, err) != PITR_OK ||
        field(rec, "base", BSON_DOC, &e, err) != PITR_OK)
        return err->rc;
    base = sub_record(&e);
    if (record_bytes(&base, "print", print, sizeof print, err) != PITR_OK ||
        record_count(&base, "documents", &c->print.documents, err) != PITR_OK ||
        record_count(&base, "bytes", &c->print.bytes, err) != PITR_OK ||
        record_count(&base, "chunks", &c->chunks, err) != PITR_OK)
        return err->rc;
    fingerprint_load(&c->print, print);
    return ids_field(&base, "lists", &c->lists, &c->nlists, err);
}

static enum pitr_rc
read_coll(struct store_reader *reader, const struct chunk_id *id, const struct db_node *db,
          struct manifest *m, struct pitr_err *err)
{
    struct coll_node *grown = grow_by_one(m->colls, m->ncolls, sizeof *grown, err);
    struct buf rec = {0};
    enum pitr_rc rc;

    if (grown == NULL)
        return err->rc;
    m->colls = grown;
    m->ncolls++;
    rc = store_get(reader, FRAME_NODE, id, &rec, err);
    if (rc == PITR_OK)
        rc = parse_coll(&rec, &grown[m->ncolls - 1], err);
    buf_release(&rec);
    if (rc != PITR_OK)
        return rc;
    if (strcmp(grown[m->ncolls - 1].db, db->db) != 0)
        return pitr_fail(err, PITR_CORRUPT, "a collection of database %s", grown[m->ncolls - 1].db);
    if (m->ncolls > 1 && coll_node_compare(&grown[m->ncolls - 2], &grown[m->ncolls - 1]) >= 0)
        return pitr_fail(err, PITR_CORRUPT, "collections out of order");
    return PITR_OK;
}

static enum pitr_rc
read_db(struct store_reader *reader, const struct db_node *db, struct manifest *m,
        struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *name = NULL;
    struct chunk_id *ids = NULL;
    struct buf rec = {0};
    size_t n = 0;
    enum pitr_rc rc = store_get(reader, FRAME_NODE, &db->id, &rec, err);

    if (rc == PITR_OK &&
        (check_node(&rec, err) != PITR_OK || text_field(&rec, "db", &name, err) != PITR_OK ||
         ids_field(&rec, "collections", &ids, &n, err) != PITR_OK))
        rc = err->rc;
    if (rc == PITR_OK && strcmp(name, db->db) != 0)
        rc = pitr_fail(err, PITR_CORRUPT, "node of database %s", name);
    buf_release(&rec);
    for (size_t i = 0; rc == PITR_OK && i < n; i++)
        rc = read_coll(reader, &ids[i], db, m, err);
    free(ids);
    return rc == PITR_OK ? rc : pitr_wrap(err, "database %s", db->db);
}

static enum pitr_rc
check_totals(const struct manifest *m, struct pitr_err *err)
{
    uint64_t documents = 0, bytes = 0, chunks = 0;

    for (size_t i = 0; i < m->ncolls; i++) {
        documents += m->colls[i].print.documents;
        bytes += m->colls[i].print.bytes;
        chunks += m->colls[i].chunks;
    }
    if (m->ncolls != m->collections || documents != m->documents || bytes != m->bytes_raw ||
        chunks != m->chunks)
        return pitr_fail(err, PITR_CORRUPT, "its totals are not those of its collections");
    return PITR_OK;
}

enum pitr_rc
manifest_read(struct repo *r, const char *id, struct manifest *out, struct pitr_err *err)
{
    PITR_AUTO(store_reader_freep) struct store_reader *reader = NULL;
    struct store *store;
    enum pitr_rc rc;

    if (manifest_read_root(r, id, out, err) != PITR_OK)
        return err->rc;
    rc = repo_store(r, &store, err);
    if (rc == PITR_OK)
        rc = store_reader_new(&reader, store, err);
    for (size_t i = 0; rc == PITR_OK && i < out->ndbs; i++)
        rc = read_db(reader, &out->dbs[i], out, err);
    if (rc == PITR_OK)
        rc = check_totals(out, err);
    if (rc != PITR_OK) {
        pitr_wrap(err, "snapshot %s", out->id);
        manifest_release(out);
        return err->rc;
    }
    return PITR_OK;
}
