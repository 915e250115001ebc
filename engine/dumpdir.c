#include "engine/dumpdir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/bytes.h"
#include "engine/dump_name.h"
#include "engine/load_options.h"
#include "mongo/bsonedit.h"
#include "mongo/extjson.h"
#include "mongo/ns.h"

enum { METADATA_MAX = 64 << 20, METADATA_STEP = 64 << 10 };

struct dumpdir {
    char *path;
    struct dump_coll *colls; /* owned */
    size_t len, cap;
    struct dump_views *views; /* owned */
    size_t nviews;
    struct dump_coll users, roles; /* path NULL: not in the dump */
    char server_version[32];
};

static void
coll_release(struct dump_coll *c)
{
    free(c->coll.db);
    free(c->coll.name);
    buf_release(&c->coll.options);
    buf_release(&c->coll.indexes);
    free(c->path);
    *c = (struct dump_coll){0};
}

void
dumpdir_free(struct dumpdir *d)
{
    if (d == NULL)
        return;
    for (size_t i = 0; i < d->len; i++)
        coll_release(&d->colls[i]);
    for (size_t i = 0; i < d->nviews; i++) {
        free(d->views[i].db);
        buf_release(&d->views[i].docs);
    }
    coll_release(&d->users);
    coll_release(&d->roles);
    free(d->colls);
    free(d->views);
    free(d->path);
    free(d);
}

void
dumpdir_freep(struct dumpdir **d)
{
    dumpdir_free(*d);
    *d = NULL;
}

const char *
dumpdir_server_version(const struct dumpdir *d)
{
    return d->server_version;
}

size_t
dumpdir_len(const struct dumpdir *d)
{
    return d->len;
}

const struct dump_coll *
dumpdir_at(const struct dumpdir *d, size_t i)
{
    return &d->colls[i];
}

size_t
dumpdir_views_len(const struct dumpdir *d)
{
    return d->nviews;
}

const struct dump_views *
dumpdir_views_at(const struct dumpdir *d, size_t i)
{
    return &d->views[i];
}

static bool
cut_suffix(char *name, const char *suffix)
{
    size_t len = strlen(name), n = strlen(suffix);

    if (len <= n || strcmp(name + len - n, suffix) != 0)
        return false;
    name[len - n] = '\0';
    return true;
}

static void
gz_closep(gzFile *f)
{
    if (*f != NULL)
        gzclose(*f);
}

static enum pitr_rc
read_text(struct buf *out, const char *path, struct pitr_err *err)
{
    PITR_AUTO(fd_closep) int fd = -1;
    PITR_AUTO(gz_closep) gzFile f = NULL;
    int n;

    if (fs_open(&fd, path, O_RDONLY, 0, err) != PITR_OK)
        return err->rc;
    f = gzdopen(fd, "rb");
    if (f == NULL)
        return pitr_fail(err, PITR_NOMEM, "read %s", path);
    fd = -1;
    for (;;) {
        int code;

        if (out->len > METADATA_MAX)
            return pitr_fail(err, PITR_CORRUPT, "%s: more than %d MiB", path, METADATA_MAX >> 20);
        if (buf_reserve(out, METADATA_STEP, err) != PITR_OK)
            return err->rc;
        n = gzread(f, out->data + out->len, METADATA_STEP);
        gzerror(f, &code);
        if (n < 0 || (code != Z_OK && code != Z_STREAM_END))
            return pitr_fail(err, PITR_CORRUPT, "%s: cannot be decompressed", path);
        if (n == 0)
            return PITR_OK;
        out->len += (unsigned)n;
    }
}

/* The collection of that name, added when it is new. */
static enum pitr_rc
find_coll(struct dumpdir *d, const char *db, const char *name, struct dump_coll **out,
          struct pitr_err *err)
{
    struct dump_coll *c;

    for (size_t i = 0; i < d->len; i++) {
        *out = &d->colls[i];
        if (strcmp((*out)->coll.db, db) == 0 && strcmp((*out)->coll.name, name) == 0)
            return PITR_OK;
    }
    if (d->len == d->cap) {
        size_t cap = d->cap == 0 ? 16 : 2 * d->cap;

        c = reallocarray(d->colls, cap, sizeof *c);
        if (c == NULL)
            return pitr_fail(err, PITR_NOMEM, "%zu collections", cap);
        d->colls = c;
        d->cap = cap;
    }
    c = &d->colls[d->len];
    *c = (struct dump_coll){.coll = {.db = strdup(db), .name = strdup(name)}};
    d->len++;
    if (c->coll.db == NULL || c->coll.name == NULL)
        return pitr_fail(err, PITR_NOMEM, "collection %s.%s", db, name);
    *out = c;
    return PITR_OK;
}

static enum pitr_rc
find_views(struct dumpdir *d, const char *db, struct buf **out, struct pitr_err *err)
{
    struct dump_views *v;

    for (size_t i = 0; i < d->nviews; i++) {
        *out = &d->views[i].docs;
        if (strcmp(d->views[i].db, db) == 0)
            return PITR_OK;
    }
    v = reallocarray(d->views, d->nviews + 1, sizeof *v);
    if (v == NULL)
        return pitr_fail(err, PITR_NOMEM, "views of %s", db);
    d->views = v;
    v = &v[d->nviews];
    *v = (struct dump_views){.db = strdup(db)};
    if (v->db == NULL)
        return pitr_fail(err, PITR_NOMEM, "views of %s", db);
    d->nviews++;
    *out = &v->docs;
    return PITR_OK;
}

/* options {viewOn, pipeline, collation} become the document that system.views has. */
static enum pitr_rc
add_view(struct dumpdir *d, const char *db, const char *name, const struct belem *options,
         struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *id = NULL;
    uint8_t len[4];
    struct buf *docs = NULL;
    size_t at;

    if (asprintf(&id, "%s.%s", db, name) < 0) {
        id = NULL;
        return pitr_fail(err, PITR_NOMEM, "view %s.%s", db, name);
    }
    put_le32(len, (uint32_t)strlen(id) + 1);
    if (find_views(d, db, &docs, err) != PITR_OK || bdoc_begin(docs, &at, err) != PITR_OK ||
        bdoc_append_raw(docs, BSON_STRING, "_id", len, sizeof len, err) != PITR_OK ||
        buf_append(docs, id, strlen(id) + 1, err) != PITR_OK ||
        buf_append(docs, options->value + 4, options->value_len - 5, err) != PITR_OK)
        return err->rc;
    return bdoc_end(docs, at, err);
}

static enum pitr_rc
replace_doc(struct buf *to, const struct belem *e, struct pitr_err *err)
{
    buf_clear(to);
    return buf_append(to, e->value, e->value_len, err);
}

/* What one metadata file says. */
struct metadata {
    struct buf doc;
    struct belem options, indexes;
    bool has_options, has_indexes;
    char *name; /* in full; owned */
    bool is_view, is_timeseries, has_uuid;
    uint8_t uuid[16];
};

static void
metadata_release(struct metadata *m)
{
    buf_release(&m->doc);
    free(m->name);
}

static bool
is_word(const struct belem *e, const char *word)
{
    const char *text;
    size_t len;

    return belem_string(e, &text, &len) && len == strlen(word) && memcmp(text, word, len) == 0;
}

static enum pitr_rc
metadata_name(struct metadata *m, const char *file_name, struct pitr_err *err)
{
    struct belem e;
    const char *text;
    size_t len;
    bool found;

    if (options_find(&m->doc, "collectionName", &found, &e, err) != PITR_OK)
        return err->rc;
    if (found && belem_string(&e, &text, &len) && len > 0 && strlen(text) == len)
        m->name = strdup(text);
    else
        m->name = strdup(file_name);
    if (m->name == NULL)
        return pitr_fail(err, PITR_NOMEM, "collection name");
    return PITR_OK;
}

/* Thirty-two digits; old dumps have none, views have an empty one. */
static enum pitr_rc
metadata_uuid(struct metadata *m, struct pitr_err *err)
{
    char digits[2 * sizeof m->uuid + 1];
    struct belem e;
    const char *text;
    size_t len;
    bool found;

    if (options_find(&m->doc, "uuid", &found, &e, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&e, &text, &len) || len != sizeof digits - 1)
        return PITR_OK;
    memcpy(digits, text, sizeof digits);
    m->has_uuid = hex_decode(m->uuid, sizeof m->uuid, digits);
    return PITR_OK;
}

static enum pitr_rc
metadata_read(struct metadata *m, const char *path, const char *file_name, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf text = {0};
    struct belem e;
    bool found;

    if (read_text(&text, path, err) != PITR_OK)
        return err->rc;
    if (extjson_parse(&m->doc, (const char *)text.data, text.len, err) != PITR_OK ||
        options_find(&m->doc, "options", &m->has_options, &m->options, err) != PITR_OK ||
        options_find(&m->doc, "indexes", &m->has_indexes, &m->indexes, err) != PITR_OK ||
        metadata_name(m, file_name, err) != PITR_OK || metadata_uuid(m, err) != PITR_OK ||
        options_find(&m->doc, "type", &found, &e, err) != PITR_OK)
        return pitr_wrap(err, "%s", path);
    m->has_options = m->has_options && m->options.type == BSON_DOC;
    m->has_indexes = m->has_indexes && m->indexes.type == BSON_ARRAY;
    if (found) {
        m->is_view = is_word(&e, "view");
        m->is_timeseries = is_word(&e, "timeseries");
    } else if (m->has_options) {
        /* Before version 100.4 there was no type. */
        if (bson_find(m->options.value, m->options.value_len, "viewOn", &m->is_view, &e, err) !=
            PITR_OK)
            return pitr_wrap(err, "%s", path);
    }
    if (m->is_view && !m->has_options)
        return pitr_fail(err, PITR_CORRUPT, "%s: a view without options", path);
    return PITR_OK;
}

static bool
is_left_out(const char *db, const char *name)
{
    static const char *const of_admin[] = {"system.version", "system.keys", "system.new_users",
                                           "system.backup_users", NULL};

    if (strcmp(name, "system.profile") == 0 || strcmp(name, "system.views") == 0 ||
        strcmp(name, "system.indexes") == 0 || strcmp(name, "system.namespaces") == 0)
        return true;
    for (const char *const *at = of_admin; strcmp(db, "admin") == 0 && *at != NULL; at++)
        if (strcmp(name, *at) == 0)
            return true;
    return false;
}

/* Users and roles of the whole server, or of the one database that was dumped with them. */
static struct dump_coll *
authz_coll(struct dumpdir *d, const char *db, const char *name)
{
    bool of_admin = strcmp(db, "admin") == 0;

    if ((of_admin && strcmp(name, "system.users") == 0) || strcmp(name, "$admin.system.users") == 0)
        return &d->users;
    if ((of_admin && strcmp(name, "system.roles") == 0) || strcmp(name, "$admin.system.roles") == 0)
        return &d->roles;
    return NULL;
}

static enum pitr_rc
add_metadata(struct dumpdir *d, const char *db, const char *path, const char *file_name,
             struct pitr_err *err)
{
    PITR_AUTO(metadata_release) struct metadata m = {0};
    PITR_AUTO(str_freep) char *buckets = NULL;
    struct dump_coll *c;

    if (metadata_read(&m, path, file_name, err) != PITR_OK)
        return err->rc;
    if (is_left_out(db, m.name) || authz_coll(d, db, m.name) != NULL)
        return PITR_OK;
    if (m.is_view)
        return add_view(d, db, m.name, &m.options, err);
    if (m.is_timeseries && asprintf(&buckets, "%s%s", NS_BUCKETS_PREFIX, m.name) < 0) {
        buckets = NULL;
        return pitr_fail(err, PITR_NOMEM, "collection %s.%s", db, m.name);
    }
    if (find_coll(d, db, m.is_timeseries ? buckets : m.name, &c, err) != PITR_OK ||
        (m.has_options && replace_doc(&c->coll.options, &m.options, err) != PITR_OK) ||
        (m.has_indexes && replace_doc(&c->coll.indexes, &m.indexes, err) != PITR_OK))
        return err->rc;
    c->has_uuid = m.has_uuid;
    memcpy(c->uuid, m.uuid, sizeof c->uuid);
    return PITR_OK;
}

/* The documents of a time-series collection have their metadata under another name: look for the
 * collection whose buckets would have been cut to this one. */
static enum pitr_rc
full_bucket_name(const struct dumpdir *d, const char *db, const char *base, char **out,
                 struct pitr_err *err)
{
    char cut[DUMP_NAME_LEN];

    for (size_t i = 0; i < d->len && dump_name_is_cut(base); i++) {
        const struct load_coll *c = &d->colls[i].coll;
        char *name;

        if (strcmp(c->db, db) != 0 || !load_is_buckets(c))
            continue;
        if (dump_name_encode(cut, c->name, err) != PITR_OK)
            return err->rc;
        if (strcmp(cut, base) != 0)
            continue;
        name = strdup(c->name);
        if (name == NULL)
            return pitr_fail(err, PITR_NOMEM, "collection name");
        free(*out);
        *out = name;
        break;
    }
    return PITR_OK;
}

/* The name in full of a file that was cut: that of the metadata beside it. */
static enum pitr_rc
full_name(const struct dumpdir *d, const char *db, const char *dir, const char *base, char **out,
          struct pitr_err *err)
{
    static const char *const suffixes[] = {".metadata.json", ".metadata.json.gz"};

    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        PITR_AUTO(metadata_release) struct metadata m = {0};
        PITR_AUTO(str_freep) char *path = NULL;
        bool exists;

        if (asprintf(&path, "%s/%s%s", dir, base, suffixes[i]) < 0) {
            path = NULL;
            return pitr_fail(err, PITR_NOMEM, "path of %s", base);
        }
        if (fs_exists(&exists, path, err) != PITR_OK)
            return err->rc;
        if (!exists)
            continue;
        if (metadata_read(&m, path, *out, err) != PITR_OK)
            return err->rc;
        free(*out);
        *out = m.name;
        m.name = NULL;
        return PITR_OK;
    }
    return full_bucket_name(d, db, base, out, err);
}

static enum pitr_rc
add_documents(struct dumpdir *d, const char *db, const char *path, const char *name,
              struct pitr_err *err)
{
    struct dump_coll *c = authz_coll(d, db, name);

    if (is_left_out(db, name))
        return PITR_OK;
    if (c == NULL && find_coll(d, db, name, &c, err) != PITR_OK)
        return err->rc;
    if (c->path != NULL)
        return pitr_fail(err, PITR_USAGE, "%s and %s are both %s.%s; remove one", c->path, path, db,
                         name);
    c->path = strdup(path);
    if (c->path == NULL)
        return pitr_fail(err, PITR_NOMEM, "path %s", path);
    return fs_size(&c->file_bytes, path, err);
}

static enum pitr_rc
add_metadata_file(struct dumpdir *d, const char *db, const char *dir, const char *file,
                  struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;
    PITR_AUTO(str_freep) char *name = strdup(file);

    if (name == NULL)
        return pitr_fail(err, PITR_NOMEM, "file %s", file);
    if (!cut_suffix(name, ".metadata.json") && !cut_suffix(name, ".metadata.json.gz"))
        return PITR_OK;
    if (fs_join(&path, dir, file, err) != PITR_OK)
        return err->rc;
    dump_name_decode(name);
    return add_metadata(d, db, path, name, err);
}

static enum pitr_rc
add_document_file(struct dumpdir *d, const char *db, const char *dir, const char *file,
                  struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;
    PITR_AUTO(str_freep) char *base = strdup(file);
    PITR_AUTO(str_freep) char *name = NULL;

    if (base == NULL)
        return pitr_fail(err, PITR_NOMEM, "file %s", file);
    if (!cut_suffix(base, ".bson") && !cut_suffix(base, ".bson.gz"))
        return PITR_OK;
    name = strdup(base);
    if (name == NULL)
        return pitr_fail(err, PITR_NOMEM, "file %s", file);
    dump_name_decode(name);
    if (fs_join(&path, dir, file, err) != PITR_OK ||
        full_name(d, db, dir, base, &name, err) != PITR_OK)
        return err->rc;
    return add_documents(d, db, path, name, err);
}

static enum pitr_rc
add_database(struct dumpdir *d, const char *db, const char *dir, struct pitr_err *err)
{
    PITR_AUTO(fs_names_release) struct fs_names files = {0};

    if (strcmp(db, "local") == 0 || strcmp(db, "config") == 0)
        return PITR_OK;
    if (fs_list(&files, dir, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < files.len; i++)
        if (add_metadata_file(d, db, dir, files.at[i], err) != PITR_OK)
            return err->rc;
    for (size_t i = 0; i < files.len; i++)
        if (add_document_file(d, db, dir, files.at[i], err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

static bool
ends_with(const char *text, const char *suffix)
{
    size_t len = strlen(text), n = strlen(suffix);

    return len >= n && strcmp(text + len - n, suffix) == 0;
}

static enum pitr_rc
refuse_root_file(const char *root, const char *file, struct pitr_err *err)
{
    if (strcmp(file, "oplog.bson") == 0 || strcmp(file, "oplog.bson.gz") == 0)
        return pitr_fail(
            err, PITR_USAGE,
            "%s/%s: a dump with an oplog is not replayed; restore it with mongorestore "
            "--oplogReplay, or remove the file to have the collections as they are",
            root, file);
    if (ends_with(file, ".bson") || ends_with(file, ".bson.gz"))
        return pitr_fail(err, PITR_USAGE,
                         "%s holds the files of one database; give the folder around it", root);
    return PITR_OK;
}

static enum pitr_rc
read_prelude(struct dumpdir *d, const char *path, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf text = {0};
    PITR_AUTO(buf_release) struct buf doc = {0};
    struct belem e;
    const char *version;
    size_t len;
    bool found;

    if (read_text(&text, path, err) != PITR_OK)
        return err->rc;
    if (extjson_parse(&doc, (const char *)text.data, text.len, err) != PITR_OK ||
        options_find(&doc, "ServerVersion", &found, &e, err) != PITR_OK)
        return pitr_wrap(err, "%s", path);
    if (found && belem_string(&e, &version, &len) && len < sizeof d->server_version)
        snprintf(d->server_version, sizeof d->server_version, "%s", version);
    return PITR_OK;
}

/* A file beside the databases. */
static enum pitr_rc
add_root_file(struct dumpdir *d, const char *path, const char *file, struct pitr_err *err)
{
    if (strcmp(file, "prelude.json") == 0 || strcmp(file, "prelude.json.gz") == 0)
        return read_prelude(d, path, err);
    return refuse_root_file(d->path, file, err);
}

static enum pitr_rc
add_all(struct dumpdir *d, struct pitr_err *err)
{
    PITR_AUTO(fs_names_release) struct fs_names entries = {0};
    struct stat st;

    if (fs_list(&entries, d->path, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < entries.len; i++) {
        PITR_AUTO(str_freep) char *path = NULL;

        if (fs_join(&path, d->path, entries.at[i], err) != PITR_OK)
            return err->rc;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            if (add_database(d, entries.at[i], path, err) != PITR_OK)
                return err->rc;
        } else if (add_root_file(d, path, entries.at[i], err) != PITR_OK) {
            return err->rc;
        }
    }
    return PITR_OK;
}

static int
compare_colls(const void *a, const void *b)
{
    const struct dump_coll *x = a, *y = b;
    int by_db = strcmp(x->coll.db, y->coll.db);

    return by_db != 0 ? by_db : strcmp(x->coll.name, y->coll.name);
}

enum pitr_rc
dumpdir_open(struct dumpdir **out, const char *path, struct pitr_err *err)
{
    PITR_AUTO(dumpdir_freep) struct dumpdir *d = calloc(1, sizeof *d);

    if (d == NULL)
        return pitr_fail(err, PITR_NOMEM, "mongodump directory");
    d->path = strdup(path);
    if (d->path == NULL)
        return pitr_fail(err, PITR_NOMEM, "mongodump directory");
    if (add_all(d, err) != PITR_OK)
        return pitr_wrap(err, "mongodump directory");
    if (d->len == 0 && d->nviews == 0 && d->users.path == NULL && d->roles.path == NULL)
        return pitr_fail(err, PITR_USAGE,
                         "%s is no mongodump directory: no <database>/<collection>.bson in it",
                         path);
    if (d->len > 1)
        qsort(d->colls, d->len, sizeof *d->colls, compare_colls);
    *out = d;
    d = NULL;
    return PITR_OK;
}

static enum pitr_rc
read_documents(const struct dump_coll *coll, struct buf *out, struct pitr_err *err)
{
    PITR_AUTO(dump_cursor_freep) struct dump_cursor *c = NULL;
    const uint8_t *doc;
    size_t len;

    if (dump_cursor_open(&c, coll, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (dump_cursor_next(c, &doc, &len, err) != PITR_OK)
            return err->rc;
        if (doc == NULL)
            return PITR_OK;
        if (buf_append(out, doc, len, err) != PITR_OK)
            return err->rc;
    }
}

enum pitr_rc
dumpdir_users(const struct dumpdir *d, struct buf *users, struct buf *roles, struct pitr_err *err)
{
    if (read_documents(&d->users, users, err) != PITR_OK)
        return err->rc;
    return read_documents(&d->roles, roles, err);
}
