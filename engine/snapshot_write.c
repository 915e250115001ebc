#include "engine/snapshot_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crypto.h"

enum { READERS = 2, WORKERS_MAX = 8 };

#define INTENT_PREFIX "intents/snapshot-"

/* "20261123T140307Z-1f2e3d": the suffix is the millisecond (three digits) and noise, so that ids
 * sort by time, and do not collide. */
static enum pitr_rc
make_id(char id[SNAPSHOT_ID_LEN], int64_t started_ms, struct pitr_err *err)
{
    char text[CLOCK_TEXT_LEN];
    uint8_t noise[2];
    size_t n = 0;

    if (crypto_random(noise, sizeof noise, err) != PITR_OK)
        return err->rc;
    clock_format(text, started_ms / 1000);
    for (const char *p = text; *p != '\0'; p++)
        if (*p != '-' && *p != ':')
            text[n++] = *p;
    text[n] = '\0';
    snprintf(id, SNAPSHOT_ID_LEN, "%.16s-%03x%03x", text, (unsigned)(started_ms % 1000) & 0xfff,
             (get_le16(noise) & 0xfffU));
    return PITR_OK;
}

enum pitr_rc
snapshot_writer_begin(struct snapshot_writer *w, const char *mode, const char *label,
                      struct pitr_err *err)
{
    struct manifest *m = w->m;

    m->started_ms = clock_wall_ms();
    snprintf(m->mode, sizeof m->mode, "%s", mode);
    snprintf(m->tool_version, sizeof m->tool_version, "%s", PITR_VERSION);
    if (label != NULL && (m->label = strdup(label)) == NULL)
        return pitr_fail(err, PITR_NOMEM, "label");
    if (repo_lock(w->repo, "snapshot", &w->lock, err) != PITR_OK)
        return err->rc == PITR_BUSY ? pitr_wrap(err, "another snapshot is running") : err->rc;
    return make_id(m->id, m->started_ms, err);
}

/* An intent we find belongs to a run that died: a living one would hold the lock. */
static enum pitr_rc
collect_stale(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    (void)size;
    if (strncmp(name, INTENT_PREFIX, strlen(INTENT_PREFIX)) != 0)
        return PITR_OK;
    return fs_names_add(arg, name, err);
}

static enum pitr_rc
close_stale_intents(struct repo *repo, struct pitr_err *err)
{
    struct fs_names stale = {0};
    enum pitr_rc rc = blob_list(repo_blob(repo), "intents/", collect_stale, &stale, err);

    for (size_t i = 0; rc == PITR_OK && i < stale.len; i++)
        rc = blob_remove(repo_blob(repo), stale.at[i], err);
    fs_names_release(&stale);
    return rc;
}

enum pitr_rc
snapshot_writer_declare(struct snapshot_writer *w, struct pitr_err *err)
{
    bson_t doc = BSON_INITIALIZER;
    enum pitr_rc rc;

    if (close_stale_intents(w->repo, err) != PITR_OK)
        return pitr_wrap(err, "intents of snapshots that were killed");
    snprintf(w->intent, sizeof w->intent, INTENT_PREFIX "%s", w->m->id);
    if (BSON_APPEND_UTF8(&doc, "snapshot", w->m->id) &&
        BSON_APPEND_DATE_TIME(&doc, "started", w->m->started_ms) &&
        BSON_APPEND_INT64(&doc, "pid", getpid()))
        rc = repo_note_write(w->repo, w->intent, &doc, err);
    else
        rc = pitr_fail(err, PITR_NOMEM, "intent");
    bson_destroy(&doc);
    return rc;
}

static unsigned
default_workers(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (unsigned)cores;
}

enum pitr_rc
snapshot_writer_scan(struct snapshot_writer *w, struct doc_source *source, struct source_list *list,
                     enum pitr_rc (*check)(void *arg, struct pitr_err *err), void *check_arg,
                     struct pitr_err *err)
{
    struct store *store;

    if (repo_store(w->repo, &store, err) != PITR_OK ||
        store_writer_new(&w->writer, store, err) != PITR_OK)
        return err->rc;
    return pipeline_run(
        &(struct pipeline_opts){.source = source,
                                .writer = w->writer,
                                .keys = repo_keys(w->repo),
                                .job = w->job,
                                .codec = w->codec,
                                .level = w->level,
                                .readers = w->readers != 0 ? w->readers : READERS,
                                .workers = w->workers != 0 ? w->workers : default_workers(),
                                .check = check,
                                .check_arg = check_arg},
        list, &w->scanned, err);
}

enum pitr_rc
snapshot_writer_collect(struct snapshot_writer *w, struct pitr_err *err)
{
    struct manifest *m = w->m;

    m->colls = calloc(w->scanned.nnodes + 1, sizeof *m->colls);
    if (m->colls == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu collections", w->scanned.nnodes);
    for (size_t i = 0; i < w->scanned.nnodes; i++) {
        struct coll_node *n = &w->scanned.nodes[i];

        if (n->db == NULL)
            continue;
        m->colls[m->ncolls++] = *n;
        *n = (struct coll_node){0};
    }
    m->chunks_new = w->scanned.chunks_new;
    m->bytes_new = w->scanned.bytes_new;
    return PITR_OK;
}

enum pitr_rc
snapshot_writer_store(struct snapshot_writer *w, struct pitr_err *err)
{
    if (sealer_new(&w->sealer, repo_keys(w->repo), w->codec, w->level, err) != PITR_OK ||
        manifest_store_nodes(w->m, w->writer, w->sealer, err) != PITR_OK)
        return err->rc;
    return store_writer_finish(w->writer, NULL, err);
}

enum pitr_rc
snapshot_writer_publish(struct snapshot_writer *w, struct pitr_err *err)
{
    w->m->finished_ms = clock_wall_ms();
    if (job_check(w->job, err) != PITR_OK)
        return err->rc;
    return manifest_publish(w->repo, w->m, err);
}

/* Failures to remove an intent are of no consequence: the next run, or prune, closes it. */
void
snapshot_writer_end(struct snapshot_writer *w)
{
    struct pitr_err ignored;

    if (w->intent[0] != '\0' && blob_remove(repo_blob(w->repo), w->intent, &ignored) != PITR_OK)
        log_event(w->job->log, LOG_DEBUG, "snapshot", "%s", ignored.msg);
    w->intent[0] = '\0';
    pipeline_result_release(&w->scanned);
    sealer_free(w->sealer);
    store_writer_free(w->writer);
    fs_lock_free(w->lock);
    w->sealer = NULL;
    w->writer = NULL;
    w->lock = NULL;
}
