#include "engine/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/dump_file.h"
#include "engine/dump_name.h"
#include "engine/export_dir.h"
#include "engine/export_metadata.h"
#include "engine/load_options.h"
#include "engine/restore_internal.h"
#include "mongo/bsonio.h"

/* Progress and the wish to stop are looked at this often; a power of two. */
enum { THREADS_MAX = 8, STRIDE = 256 };

struct exporting {
    const struct export_opts *opts;
    struct state state;
    struct view_list views;
    struct export_dir *dir;
};

static void
exporting_release(struct exporting *x)
{
    export_dir_free(x->dir);
    view_list_release(&x->views);
    state_release(&x->state);
}

/* <dir>/<db>/<file name of `name`><suffix> */
static enum pitr_rc
path_of(char **out, const struct exporting *x, const char *db, const char *name, const char *suffix,
        struct pitr_err *err)
{
    char file[DUMP_NAME_LEN];

    if (dump_name_encode(file, name, err) != PITR_OK)
        return err->rc;
    if (asprintf(out, "%s/%s/%s%s", export_dir_path(x->dir), db, file, suffix) >= 0)
        return PITR_OK;
    *out = NULL;
    return pitr_fail(err, PITR_NOMEM, "path of %s.%s", db, name);
}

static enum pitr_rc
write_whole(const struct exporting *x, const char *path, const void *data, size_t len,
            struct pitr_err *err)
{
    PITR_AUTO(dump_file_freep) struct dump_file *f = NULL;

    if (dump_file_create(&f, path, x->opts->gzip, err) != PITR_OK ||
        dump_file_write(f, data, len, err) != PITR_OK)
        return err->rc;
    return dump_file_finish(f, err);
}

/* Documents on their way into one file, summed up as they go. */
struct writing {
    struct dump_file *file;
    struct job *job;
    struct fingerprint print;
    uint64_t reported_docs, reported_bytes;
};

static void
report(struct writing *w)
{
    job_advance(w->job, w->print.documents - w->reported_docs, w->print.bytes - w->reported_bytes);
    w->reported_docs = w->print.documents;
    w->reported_bytes = w->print.bytes;
}

static enum pitr_rc
write_document(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct writing *w = arg;

    fingerprint_add(&w->print, doc, len);
    if (dump_file_write(w->file, doc, len, err) != PITR_OK)
        return err->rc;
    if ((w->print.documents & (STRIDE - 1)) != 0)
        return PITR_OK;
    report(w);
    return job_check(w->job, err);
}

static enum pitr_rc
write_documents(struct exporting *x, struct state_coll *c, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;
    PITR_AUTO(dump_file_freep) struct dump_file *file = NULL;
    struct writing w = {.job = x->opts->job};

    if (path_of(&path, x, c->load.db, c->load.name, ".bson", err) != PITR_OK ||
        dump_file_create(&file, path, x->opts->gzip, err) != PITR_OK)
        return err->rc;
    w.file = file;
    if (state_stream(&x->state, c, write_document, &w, err) != PITR_OK)
        return err->rc;
    if (!fingerprint_equal(&w.print, &c->print))
        return pitr_fail(err, PITR_CORRUPT,
                         "%s: the documents written are not those that were proven before",
                         c->source_ns);
    report(&w);
    return dump_file_finish(file, err);
}

/* What is written is right and comes back with pitr; that mongorestore fails at it, and with it at
 * the whole directory, should be known before the day it is needed. */
static void
warn_of_loaders(const struct exporting *x, const struct state_coll *c)
{
    const struct log *log = x->opts->job->log;
    const char *name = c->load.name;
    struct pitr_err ignored;
    char file[DUMP_NAME_LEN];

    if (load_wants_conversion(&c->load))
        log_event(log, LOG_WARNING, "export",
                  "%s is capped and clustered, which mongorestore cannot create; pitr restore "
                  "--backup-path can",
                  c->visible_ns);
    if (dump_name_encode(file, name, &ignored) == PITR_OK && dump_name_is_cut(file) &&
        (load_is_buckets(&c->load) || strpbrk(name, "%+") != NULL))
        log_event(log, LOG_WARNING, "export",
                  "the name %s is too long for a file, and mongorestore takes what the metadata "
                  "says of it for another name; pitr restore --backup-path loads it",
                  c->visible_ns);
}

/* Loaders stumble over files of users and roles without any. */
static bool
is_written(const struct state_coll *c)
{
    return c->kind == STATE_DATA || (c->kind != STATE_VIEWS && c->print.documents > 0);
}

static enum pitr_rc
write_collection(void *arg, struct state_coll *c, struct pitr_err *err)
{
    struct exporting *x = arg;
    PITR_AUTO(buf_release) struct buf json = {0};
    PITR_AUTO(str_freep) char *path = NULL;

    if (!is_written(c))
        return PITR_OK;
    warn_of_loaders(x, c);
    if (job_check(x->opts->job, err) != PITR_OK || write_documents(x, c, err) != PITR_OK)
        return err->rc;
    if (export_collection_json(&json, c, err) != PITR_OK)
        return pitr_wrap(err, "%s", c->source_ns);
    if (path_of(&path, x, c->load.db, load_visible_name(&c->load), ".metadata.json", err) !=
        PITR_OK)
        return err->rc;
    return write_whole(x, path, json.data, json.len, err);
}

static enum pitr_rc
write_view(struct exporting *x, const char *db, const uint8_t *doc, size_t len,
           struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf json = {0};
    PITR_AUTO(str_freep) char *path = NULL;
    struct belem id;
    const char *ns = "", *name;
    size_t ns_len;
    bool found;

    if (bson_find(doc, len, "_id", &found, &id, err) != PITR_OK)
        return err->rc;
    if (!found || !belem_string(&id, &ns, &ns_len) || strlen(ns) <= strlen(db))
        return pitr_fail(err, PITR_CORRUPT, "system.views of %s: a view without a name", db);
    name = ns + strlen(db) + 1;
    if (export_view_json(&json, name, doc, len, err) != PITR_OK)
        return pitr_wrap(err, "%s", ns);
    if (path_of(&path, x, db, name, ".metadata.json", err) != PITR_OK)
        return err->rc;
    return write_whole(x, path, json.data, json.len, err);
}

static enum pitr_rc
write_views(struct exporting *x, struct pitr_err *err)
{
    for (size_t i = 0; i < x->views.len; i++) {
        const struct view_set *set = &x->views.at[i];
        size_t len;

        for (size_t at = 0; at < set->docs.len; at += len) {
            len = bson_len(set->docs.data + at);
            if (write_view(x, set->db, set->docs.data + at, len, err) != PITR_OK)
                return err->rc;
        }
    }
    return PITR_OK;
}

/* Without this file a dump's users are taken for those of a server of 2013. All servers this
 * program knows have schema 5. */
static enum pitr_rc
write_auth_version(struct exporting *x, struct pitr_err *err)
{
    static const uint8_t schema[] = "\x2d\0\0\0"
                                    "\x02_id\0\x0b\0\0\0authSchema\0"
                                    "\x10"
                                    "currentVersion\0\x05\0\0\0";
    static const char metadata[] = "{\"indexes\":[],\"uuid\":\"\",\"collectionName\":"
                                   "\"system.version\",\"type\":\"collection\"}";
    PITR_AUTO(str_freep) char *path = NULL;
    PITR_AUTO(str_freep) char *metadata_path = NULL;

    if (path_of(&path, x, "admin", "system.version", ".bson", err) != PITR_OK ||
        path_of(&metadata_path, x, "admin", "system.version", ".metadata.json", err) != PITR_OK ||
        write_whole(x, path, schema, sizeof schema, err) != PITR_OK)
        return err->rc;
    return write_whole(x, metadata_path, metadata, strlen(metadata), err);
}

/* Whoever loads the dump looks here for the server it was made of. */
static enum pitr_rc
write_prelude(struct exporting *x, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;
    const char *server = x->state.manifest.server_version;
    char text[128];
    int len;

    if (server[0] == '\0' || strpbrk(server, "\"\\") != NULL)
        return PITR_OK;
    len = snprintf(text, sizeof text, "{\"ServerVersion\":\"%s\",\"ToolVersion\":\"pitr %s\"}",
                   server, PITR_VERSION);
    if (asprintf(&path, "%s/prelude.json", export_dir_path(x->dir)) < 0) {
        path = NULL;
        return pitr_fail(err, PITR_NOMEM, "prelude.json");
    }
    return write_whole(x, path, text, (size_t)len, err);
}

static enum pitr_rc
make_folder(const struct exporting *x, const char *db, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;

    if (fs_join(&path, export_dir_path(x->dir), db, err) != PITR_OK)
        return err->rc;
    return fs_mkdir(path, err);
}

static enum pitr_rc
make_folders(const struct exporting *x, struct pitr_err *err)
{
    const char *last = "";

    for (size_t i = 0; i < x->state.ncolls; i++) {
        const struct state_coll *c = &x->state.colls[i];

        if (!is_written(c) || strcmp(last, c->load.db) == 0)
            continue;
        last = c->load.db;
        if (make_folder(x, last, err) != PITR_OK)
            return err->rc;
    }
    for (size_t i = 0; i < x->views.len; i++)
        if (make_folder(x, x->views.at[i].db, err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

static unsigned
default_threads(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (unsigned)cores;
}

static void
summarise(const struct exporting *x, struct export_result *r)
{
    const struct state *s = &x->state;

    memcpy(r->snapshot, s->manifest.id, sizeof r->snapshot);
    r->to = s->to;
    r->operations = s->operations;
    r->segments = s->segments;
    r->prepared_left_out = s->prepared_left_out;
    r->views = x->views.names.len;
    for (size_t i = 0; i < s->ncolls; i++) {
        const struct state_coll *c = &s->colls[i];

        if (c->kind == STATE_USERS)
            r->users += c->print.documents;
        if (c->kind == STATE_ROLES)
            r->roles += c->print.documents;
        if (c->kind != STATE_DATA)
            continue;
        r->collections++;
        r->documents += c->print.documents;
        r->bytes += c->print.bytes;
    }
}

static enum pitr_rc
write_all(struct exporting *x, const struct export_result *r, struct pitr_err *err)
{
    const struct export_opts *o = x->opts;
    unsigned threads = o->threads != 0 ? o->threads : default_threads();

    job_phase(o->job, "write", r->documents, r->bytes);
    if (make_folders(x, err) != PITR_OK ||
        state_each(&x->state, threads, write_collection, x, err) != PITR_OK ||
        write_views(x, err) != PITR_OK)
        return err->rc;
    if (r->users + r->roles > 0 && write_auth_version(x, err) != PITR_OK)
        return err->rc;
    return write_prelude(x, err);
}

enum pitr_rc
export_run(const struct export_opts *o, struct export_result *result, struct pitr_err *err)
{
    PITR_AUTO(exporting_release) struct exporting x = {.opts = o};
    const struct selection *sel = &o->selection;
    int64_t started = clock_mono_ms();

    *result = (struct export_result){0};
    /* First, so that a directory that cannot be written is no surprise after an hour. */
    if (export_dir_begin(&x.dir, o->out, err) != PITR_OK ||
        state_open(&x.state, &o->source, sel, o->job, err) != PITR_OK ||
        view_list_make(&x.views, &x.state, sel, err) != PITR_OK ||
        view_list_check(&x.views, &x.state, sel, err) != PITR_OK ||
        state_trim(&x.state, false, err) != PITR_OK)
        return err->rc;
    summarise(&x, result);
    if (write_all(&x, result, err) != PITR_OK || job_check(o->job, err) != PITR_OK ||
        export_dir_publish(x.dir, err) != PITR_OK)
        return err->rc;
    result->seconds = (double)(clock_mono_ms() - started) / 1000.0;
    return PITR_OK;
}
