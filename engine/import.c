#include "engine/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "engine/import_source.h"
#include "engine/snapshot_write.h"

struct importing {
    const struct import_opts *opts;
    struct dumpdir *dir;
    struct doc_source *source;
    struct source_list list;
    struct snapshot_writer w;
};

static void
importing_release(struct importing *x)
{
    snapshot_writer_end(&x->w);
    source_list_release(&x->list);
    if (x->source != NULL)
        x->source->ops->free(x->source);
    dumpdir_free(x->dir);
}

static enum pitr_rc
open_dump(struct importing *x, struct pitr_err *err)
{
    const char *path = x->opts->dir;
    PITR_AUTO(str_freep) char *full = NULL;
    struct manifest *m = x->w.m;
    struct stat st;

    if (stat(path, &st) != 0 && errno == ENOENT)
        return pitr_fail(err, PITR_USAGE, "%s: there is nothing there", path);
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return pitr_fail(err, PITR_USAGE,
                         "%s is a file: an archive of mongodump is not read; dump to a directory, "
                         "with --out",
                         path);
    if (dumpdir_open(&x->dir, path, err) != PITR_OK ||
        import_source_new(&x->source, x->dir, err) != PITR_OK)
        return err->rc;
    full = realpath(path, NULL);
    snprintf(m->host, sizeof m->host, "%s", full != NULL ? full : path);
    snprintf(m->server_version, sizeof m->server_version, "%s", dumpdir_server_version(x->dir));
    return PITR_OK;
}

static enum pitr_rc
check_between(void *arg, struct pitr_err *err)
{
    const struct importing *x = arg;

    return job_check(x->opts->job, err);
}

/* Sizes of compressed files say little about what is in them. */
static enum pitr_rc
read_catalog(struct importing *x, struct pitr_err *err)
{
    uint64_t bytes = 0;
    bool compressed = false;

    if (x->source->ops->list(x->source, &x->list, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < dumpdir_len(x->dir); i++) {
        const struct dump_coll *c = dumpdir_at(x->dir, i);
        size_t len = c->path == NULL ? 0 : strlen(c->path);

        bytes += c->file_bytes;
        compressed = compressed || (len > 3 && strcmp(c->path + len - 3, ".gz") == 0);
    }
    job_phase(x->opts->job, "import", 0, compressed ? 0 : bytes);
    return PITR_OK;
}

static enum pitr_rc
run_all(struct importing *x, struct pitr_err *err)
{
    struct snapshot_writer *w = &x->w;

    job_phase(x->opts->job, "start", 0, 0);
    if (snapshot_writer_begin(w, "import", x->opts->label, err) != PITR_OK ||
        open_dump(x, err) != PITR_OK || snapshot_writer_declare(w, err) != PITR_OK ||
        read_catalog(x, err) != PITR_OK ||
        snapshot_writer_scan(w, x->source, &x->list, check_between, x, err) != PITR_OK)
        return err->rc;
    job_phase(x->opts->job, "finish", 0, 0);
    if (snapshot_writer_collect(w, err) != PITR_OK || snapshot_writer_store(w, err) != PITR_OK)
        return err->rc;
    return snapshot_writer_publish(w, err);
}

enum pitr_rc
import_run(const struct import_opts *opts, struct import_result *result, struct pitr_err *err)
{
    struct importing x = {.opts = opts};
    int64_t started = clock_mono_ms();
    enum pitr_rc rc;

    *result = (struct import_result){0};
    x.w = (struct snapshot_writer){.repo = opts->repo,
                                   .job = opts->job,
                                   .m = &result->manifest,
                                   .codec = opts->codec,
                                   .level = opts->level};
    rc = run_all(&x, err);
    importing_release(&x);
    result->seconds = (double)(clock_mono_ms() - started) / 1000.0;
    if (rc != PITR_OK)
        import_result_release(result);
    return rc;
}

void
import_result_release(struct import_result *r)
{
    manifest_release(&r->manifest);
    *r = (struct import_result){0};
}
