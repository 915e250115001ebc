#include "engine/repo.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "oplog/record.h"

#define REPO_OBJECT "repository"
#define CLUSTER_NOTE "cluster"

enum { REPO_OBJECT_MAX = 1 << 20, NOTE_MAX = 16 << 20 };

struct repo {
    char *path;
    enum repo_mode mode;
    const struct log *log;
    struct blob *blob;
    struct repo_keys keys;
    struct store *store; /* NULL before its first use */
};

/* The repository object is what holds the keys, so it is sealed under these. */
static const struct repo_keys no_keys;

static enum pitr_rc
seal_bson(const struct repo_keys *keys, enum frame_type type, const bson_t *doc, struct buf *out,
          struct pitr_err *err)
{
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    struct chunk_id id;

    if (sealer_new(&sealer, keys, CODEC_NONE, 0, err) != PITR_OK)
        return err->rc;
    return sealer_seal_whole(sealer, type, bson_get_data(doc), doc->len, &id, out, err);
}

static enum pitr_rc
open_bson(const struct repo_keys *keys, enum frame_type type, const struct buf *frame,
          struct buf *out, struct pitr_err *err)
{
    PITR_AUTO(opener_freep) struct opener *opener = NULL;
    size_t used;

    if (opener_new(&opener, keys, err) != PITR_OK ||
        opener_open(opener, type, frame->data, frame->len, NULL, out, &used, err) != PITR_OK)
        return err->rc;
    if (used != frame->len)
        return pitr_fail(err, PITR_CORRUPT, "%zu bytes after the frame", frame->len - used);
    return bson_check(out->data, out->len, err);
}

static enum pitr_rc
describe(struct buf *frame, struct pitr_err *err)
{
    uint8_t id[REPO_ID_LEN], id_key[ID_KEY_LEN], cut_key[8];
    bson_t doc = BSON_INITIALIZER, features;
    enum pitr_rc rc;
    bool ok;

    if (crypto_random(id, sizeof id, err) != PITR_OK ||
        crypto_random(id_key, sizeof id_key, err) != PITR_OK ||
        crypto_random(cut_key, sizeof cut_key, err) != PITR_OK)
        return err->rc;
    ok = BSON_APPEND_INT64(&doc, "format", REPO_FORMAT_VERSION) &&
         BSON_APPEND_ARRAY_BEGIN(&doc, "features", &features) &&
         bson_append_array_end(&doc, &features) && record_append_bytes(&doc, "id", id, sizeof id) &&
         record_append_bytes(&doc, "id_key", id_key, sizeof id_key) &&
         record_append_bytes(&doc, "cut_key", cut_key, sizeof cut_key) &&
         BSON_APPEND_DATE_TIME(&doc, "created", clock_wall_ms()) &&
         BSON_APPEND_UTF8(&doc, "tool", PITR_VERSION);
    rc = ok ? seal_bson(&no_keys, FRAME_REPO, &doc, frame, err)
            : pitr_fail(err, PITR_NOMEM, "describing the repository");
    crypto_wipe(id_key, sizeof id_key);
    bson_destroy(&doc);
    return rc;
}

/* Names a new repository may share its directory with: what a file system puts at its root, and
 * what an init that was killed leaves. */
static bool
is_harmless(const char *name)
{
    return strcmp(name, "lost+found") == 0 ||
           strncmp(name, REPO_OBJECT ".tmp-", strlen(REPO_OBJECT ".tmp-")) == 0;
}

static enum pitr_rc
refuse_foreign(const char *path, struct pitr_err *err)
{
    struct fs_names names = {0};
    enum pitr_rc rc = fs_list(&names, path, err);

    for (size_t i = 0; rc == PITR_OK && i < names.len; i++) {
        if (!is_harmless(names.at[i]))
            rc = pitr_fail(err, PITR_USAGE,
                           "%s holds \"%s\" and is no pitr repository; name a new or empty "
                           "directory",
                           path, names.at[i]);
    }
    fs_names_release(&names);
    return rc;
}

enum pitr_rc
repo_init(const char *path, bool *created, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *object = NULL;
    PITR_AUTO(repo_freep) struct repo *opened = NULL;
    struct buf frame = {0};
    bool exists;
    enum pitr_rc rc;

    *created = false;
    if (fs_join(&object, path, REPO_OBJECT, err) != PITR_OK || fs_mkdirs(path, err) != PITR_OK ||
        fs_exists(&exists, object, err) != PITR_OK)
        return err->rc;
    if (!exists) {
        if (refuse_foreign(path, err) != PITR_OK)
            return err->rc;
        rc = describe(&frame, err);
        if (rc == PITR_OK)
            rc = fs_write_file(object, frame.data, frame.len, false, err);
        buf_release(&frame);
        if (rc != PITR_OK && rc != PITR_EXISTS) /* another init may have been first */
            return pitr_wrap(err, "making repository %s", path);
        *created = rc == PITR_OK;
    }
    return repo_open(&opened, path, REPO_WRITE, NULL, err);
}

/* The format number and the list of features come before anything else: a newer layout may have
 * changed all other fields. */
static enum pitr_rc
check_format(const struct buf *doc, struct pitr_err *err)
{
    struct belem list, feature;
    struct biter it;
    int64_t format;
    bool found;

    if (record_int64(doc, "format", &format, err) != PITR_OK)
        return err->rc;
    if (format != REPO_FORMAT_VERSION)
        return pitr_fail(err, PITR_USAGE,
                         "repository format %lld, this pitr knows %d; use the newer program",
                         (long long)format, REPO_FORMAT_VERSION);
    if (bson_find(doc->data, doc->len, "features", &found, &list, err) != PITR_OK)
        return err->rc;
    if (!found || list.type != BSON_ARRAY)
        return pitr_fail(err, PITR_CORRUPT, "field features is missing");
    if (biter_init(&it, list.value, list.value_len, err) != PITR_OK ||
        biter_next(&it, &feature, err) != PITR_OK)
        return err->rc;
    if (feature.type != BSON_EOD) {
        const char *text = "?";
        size_t len = 1;

        (void)belem_string(&feature, &text, &len);
        return pitr_fail(err, PITR_USAGE,
                         "repository needs feature \"%.*s\", which this pitr does not know; use "
                         "the newer program",
                         (int)(len < 64 ? len : 64), text);
    }
    return PITR_OK;
}

static enum pitr_rc
read_description(struct repo *r, struct pitr_err *err)
{
    struct buf frame = {0}, doc = {0};
    uint8_t cut_key[8] = {0};
    enum pitr_rc rc;

    rc = blob_get(r->blob, REPO_OBJECT, REPO_OBJECT_MAX, &frame, err);
    if (rc == PITR_NOTFOUND)
        rc = pitr_fail(err, PITR_NOTFOUND, "no repository in %s; make one with 'pitr init'",
                       r->path);
    else if (rc == PITR_OK && (rc = open_bson(&no_keys, FRAME_REPO, &frame, &doc, err)) == PITR_OK)
        rc = check_format(&doc, err);
    if (rc == PITR_OK &&
        (record_bytes(&doc, "id", r->keys.repo_id, REPO_ID_LEN, err) != PITR_OK ||
         record_bytes(&doc, "id_key", r->keys.id_key, ID_KEY_LEN, err) != PITR_OK ||
         record_bytes(&doc, "cut_key", cut_key, sizeof cut_key, err) != PITR_OK))
        rc = err->rc;
    if (rc == PITR_OK)
        r->keys.cut_key = get_le64(cut_key);
    else if (rc != PITR_NOTFOUND)
        rc = pitr_wrap(err, "%s/" REPO_OBJECT, r->path);
    buf_release(&frame);
    buf_release(&doc);
    return rc;
}

static enum pitr_rc
make_folders(const struct repo *r, struct pitr_err *err)
{
    static const char *const folders[] = {"packs", "snapshots", "oplog", "intents",
                                          "state", "index",     "locks", "tmp"};

    if (access(r->path, W_OK) != 0)
        return pitr_fail_errno(err, errno, "repository %s cannot be written", r->path);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        PITR_AUTO(str_freep) char *folder = NULL;

        if (fs_join(&folder, r->path, folders[i], err) != PITR_OK ||
            fs_mkdir(folder, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

enum pitr_rc
repo_open_on(struct repo **out, struct blob *blob, const char *path, enum repo_mode mode,
             const struct log *log, struct pitr_err *err)
{
    PITR_AUTO(repo_freep) struct repo *r = calloc(1, sizeof *r);

    if (r == NULL) {
        blob_free(blob);
        return pitr_fail(err, PITR_NOMEM, "repository %s", path);
    }
    r->blob = blob;
    r->mode = mode;
    r->log = log;
    r->path = strdup(path);
    if (r->path == NULL)
        return pitr_fail(err, PITR_NOMEM, "repository %s", path);
    if (read_description(r, err) != PITR_OK)
        return err->rc;
    if (mode == REPO_WRITE && make_folders(r, err) != PITR_OK)
        return err->rc;
    *out = r;
    r = NULL;
    return PITR_OK;
}

enum pitr_rc
repo_open(struct repo **out, const char *path, enum repo_mode mode, const struct log *log,
          struct pitr_err *err)
{
    struct blob *blob;

    if (blob_fs_new(&blob, path, err) != PITR_OK) {
        if (err->rc == PITR_NOTFOUND)
            return pitr_fail(err, PITR_NOTFOUND, "no repository in %s; make one with 'pitr init'",
                             path);
        return err->rc;
    }
    return repo_open_on(out, blob, path, mode, log, err);
}

void
repo_free(struct repo *r)
{
    if (r == NULL)
        return;
    store_free(r->store);
    blob_free(r->blob);
    free(r->path);
    crypto_wipe(&r->keys, sizeof r->keys);
    free(r);
}

void
repo_freep(struct repo **r)
{
    repo_free(*r);
    *r = NULL;
}

const char *
repo_path(const struct repo *r)
{
    return r->path;
}

void
repo_id_text(const struct repo *r, char out[2 * REPO_ID_LEN + 1])
{
    hex_encode(out, r->keys.repo_id, REPO_ID_LEN);
}

struct blob *
repo_blob(struct repo *r)
{
    return r->blob;
}

const struct repo_keys *
repo_keys(const struct repo *r)
{
    return &r->keys;
}

enum pitr_rc
repo_store(struct repo *r, struct store **out, struct pitr_err *err)
{
    if (r->store == NULL) {
        PITR_AUTO(str_freep) char *index_dir = NULL;

        if (fs_join(&index_dir, r->path, "index", err) != PITR_OK)
            return err->rc;
        if (store_open(&r->store,
                       &(struct store_opts){.blob = r->blob,
                                            .index_dir = index_dir,
                                            .keys = &r->keys,
                                            .log = r->log,
                                            .read_only = r->mode == REPO_READ},
                       err) != PITR_OK)
            return err->rc;
    }
    *out = r->store;
    return PITR_OK;
}

enum pitr_rc
repo_lock(struct repo *r, const char *what, struct fs_lock **out, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *folder = NULL, *path = NULL;
    char name[64];

    snprintf(name, sizeof name, "%s.lock", what);
    if (fs_join(&folder, r->path, "locks", err) != PITR_OK ||
        fs_join(&path, folder, name, err) != PITR_OK)
        return err->rc;
    return fs_lock_try(out, path, FS_LOCK_EXCLUSIVE, err);
}

enum pitr_rc
repo_state_path(struct repo *r, const char *name, char **out, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *folder = NULL;

    if (fs_join(&folder, r->path, "state", err) != PITR_OK)
        return err->rc;
    return fs_join(out, folder, name, err);
}

enum pitr_rc
repo_note_write(struct repo *r, const char *name, const bson_t *doc, struct pitr_err *err)
{
    struct buf frame = {0};
    enum pitr_rc rc = seal_bson(&r->keys, FRAME_NOTE, doc, &frame, err);

    if (rc == PITR_OK)
        rc = blob_put(r->blob, name, frame.data, frame.len, true, err);
    buf_release(&frame);
    return rc == PITR_OK ? rc : pitr_wrap(err, "writing %s", name);
}

/* The note as bytes; *found false when there is none. */
static enum pitr_rc
note_bytes(struct repo *r, const char *name, struct buf *out, bool *found, struct pitr_err *err)
{
    struct buf frame = {0};
    enum pitr_rc rc = blob_get(r->blob, name, NOTE_MAX, &frame, err);

    *found = rc == PITR_OK;
    if (rc == PITR_NOTFOUND)
        rc = PITR_OK;
    else if (rc == PITR_OK)
        rc = open_bson(&r->keys, FRAME_NOTE, &frame, out, err);
    buf_release(&frame);
    return rc == PITR_OK ? rc : pitr_wrap(err, "reading %s", name);
}

enum pitr_rc
repo_note_read(struct repo *r, const char *name, bson_t *doc, bool *found, struct pitr_err *err)
{
    struct buf bytes = {0};
    bson_t view;
    enum pitr_rc rc = note_bytes(r, name, &bytes, found, err);

    if (rc == PITR_OK && *found) {
        if (bson_init_static(&view, bytes.data, bytes.len))
            bson_copy_to(&view, doc);
        else
            rc = pitr_fail(err, PITR_CORRUPT, "reading %s: not BSON", name);
    }
    buf_release(&bytes);
    return rc;
}

enum pitr_rc
repo_cluster(struct repo *r, struct cluster_id *out, bool *known, struct pitr_err *err)
{
    struct buf doc = {0};
    enum pitr_rc rc = note_bytes(r, CLUSTER_NOTE, &doc, known, err);

    *out = (struct cluster_id){0};
    if (rc == PITR_OK && *known &&
        (record_text(&doc, "set", out->set_name, sizeof out->set_name, err) != PITR_OK ||
         record_text(&doc, "replica_set_id", out->replica_set_id, sizeof out->replica_set_id,
                     err) != PITR_OK))
        rc = pitr_wrap(err, "reading " CLUSTER_NOTE);
    buf_release(&doc);
    return rc;
}

static enum pitr_rc
bind_to(struct repo *r, const struct server_info *server, struct pitr_err *err)
{
    bson_t doc = BSON_INITIALIZER;
    enum pitr_rc rc;

    if (BSON_APPEND_UTF8(&doc, "set", server->set_name) &&
        BSON_APPEND_UTF8(&doc, "replica_set_id", server->replica_set_id) &&
        BSON_APPEND_UTF8(&doc, "host", server->host) &&
        BSON_APPEND_DATE_TIME(&doc, "bound", clock_wall_ms()))
        rc = repo_note_write(r, CLUSTER_NOTE, &doc, err);
    else
        rc = pitr_fail(err, PITR_NOMEM, "describing the cluster");
    bson_destroy(&doc);
    return rc;
}

/* The id decides where both sides know it. It cannot always be read (it takes the clusterMonitor
 * role); then the name has to do. */
static bool
is_same_cluster(const struct cluster_id *ours, const struct server_info *server)
{
    if (ours->replica_set_id[0] != '\0' && server->replica_set_id[0] != '\0')
        return strcmp(ours->replica_set_id, server->replica_set_id) == 0;
    return strcmp(ours->set_name, server->set_name) == 0;
}

enum pitr_rc
repo_bind(struct repo *r, const struct server_info *server, struct pitr_err *err)
{
    struct cluster_id ours;
    bool known;

    if (repo_cluster(r, &ours, &known, err) != PITR_OK)
        return err->rc;
    if (!known || (ours.set_name[0] == '\0' && server->set_name[0] != '\0'))
        return bind_to(r, server, err);
    if (!is_same_cluster(&ours, server))
        return pitr_fail(err, PITR_USAGE,
                         "repository %s belongs to replica set \"%s\" (id %s), the server %s to "
                         "%s\"%s\" (id %s); use a repository per cluster",
                         r->path, ours.set_name,
                         ours.replica_set_id[0] != '\0' ? ours.replica_set_id : "unknown",
                         server->host, server->set_name[0] != '\0' ? "replica set " : "no set, ",
                         server->set_name,
                         server->replica_set_id[0] != '\0' ? server->replica_set_id : "unknown");
    if (ours.replica_set_id[0] == '\0' && server->replica_set_id[0] != '\0')
        return bind_to(r, server, err);
    return PITR_OK;
}
