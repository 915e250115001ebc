#include "engine/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/pattern.h"
#include "engine/capture.h"
#include "engine/snapshot_write.h"
#include "mongo/ns.h"
#include "oplog/oplog_mongo.h"
#include "oplog/record.h"

enum { COMMIT_WAIT_MS = 60000, COMMIT_POLL_MS = 5 };

#define LAST_NOTE "state/last-snapshot"

/* Everything a run owns, in the order it is acquired. */
struct run {
    const struct snapshot_opts *opts;
    struct manifest *m;
    struct snapshot_writer w;
    int64_t mono_start;
    struct server_info server;
    struct oplog_source *oplog;
    struct capture *capture; /* NULL on a standalone */
    struct capture_result captured;
    struct doc_source *source;
    struct source_list list;
};

static void
run_release(struct run *r)
{
    source_list_release(&r->list);
    if (r->source != NULL)
        r->source->ops->free(r->source);
    capture_free(r->capture);
    if (r->oplog != NULL)
        r->oplog->ops->free(r->oplog);
    snapshot_writer_end(&r->w);
}

static enum pitr_rc
inspect(struct run *r, struct server_info *info, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *conn = NULL;

    if (conn_take(&conn, r->opts->mongo, err) != PITR_OK)
        return err->rc;
    return server_inspect(conn, info, err);
}

static enum pitr_rc
meet_server(struct run *r, struct pitr_err *err)
{
    struct manifest *m = r->m;

    if (inspect(r, &r->server, err) != PITR_OK || server_require(&r->server, false, err) != PITR_OK)
        return err->rc;
    m->pitr = r->server.kind == SERVER_REPLICA;
    snprintf(m->host, sizeof m->host, "%s", r->server.host);
    snprintf(m->server_version, sizeof m->server_version, "%s", r->server.version);
    snprintf(m->fcv, sizeof m->fcv, "%s", r->server.fcv);
    snprintf(m->cluster.set_name, sizeof m->cluster.set_name, "%s", r->server.set_name);
    memcpy(m->cluster.replica_set_id, r->server.replica_set_id, sizeof m->cluster.replica_set_id);
    return repo_bind(r->opts->repo, &r->server, err);
}

static enum pitr_rc
majority(struct run *r, struct optime *out, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *conn = NULL;

    if (conn_take(&conn, r->opts->mongo, err) != PITR_OK)
        return err->rc;
    return server_majority(conn, &out->ts, &out->term, err);
}

/* begin and T_start, before the first look at the catalog. */
static enum pitr_rc
open_window(struct run *r, struct pitr_err *err)
{
    if (!r->m->pitr)
        return PITR_OK;
    if (oplog_mongo_new(&r->oplog, r->opts->mongo, err) != PITR_OK)
        return err->rc;
    return capture_start(&r->capture,
                         &(struct capture_opts){.repo = r->opts->repo,
                                                .source = r->oplog,
                                                .job = r->opts->job,
                                                .interval_ms = r->opts->tail_interval_ms},
                         &r->m->begin, &r->m->t_start, err);
}

/* If patterns leave the collection out, put it on record; *excluded says so. */
static enum pitr_rc
exclude(struct run *r, const char *db, const char *name, const uint8_t uuid[16], bool *excluded,
        struct pitr_err *err)
{
    struct manifest *m = r->m;
    PITR_AUTO(str_freep) char *ns = NULL;
    struct excluded_coll *grown;

    *excluded = false;
    if (r->opts->nexclude == 0)
        return PITR_OK;
    if (asprintf(&ns, "%s.%s", db, name) < 0) {
        ns = NULL;
        return pitr_fail(err, PITR_NOMEM, "namespace");
    }
    *excluded = ns_is_excluded(r->opts->exclude, r->opts->nexclude, db, name);
    if (!*excluded)
        return PITR_OK;
    grown = realloc(m->excluded, (m->nexcluded + 1) * sizeof *grown);
    if (grown == NULL)
        return pitr_fail(err, PITR_NOMEM, "excluded collections");
    m->excluded = grown;
    m->excluded[m->nexcluded].ns = ns;
    memcpy(m->excluded[m->nexcluded].uuid, uuid, 16);
    m->nexcluded++;
    ns = NULL;
    return PITR_OK;
}

static enum pitr_rc
remember_patterns(struct run *r, struct pitr_err *err)
{
    const struct snapshot_opts *opts = r->opts;

    if (opts->nexclude == 0)
        return PITR_OK;
    r->m->exclude = calloc(opts->nexclude, sizeof *r->m->exclude);
    if (r->m->exclude == NULL)
        return pitr_fail(err, PITR_NOMEM, "exclude patterns");
    for (; r->m->nexclude < opts->nexclude; r->m->nexclude++) {
        char *copy = strdup(opts->exclude[r->m->nexclude]);

        if (copy == NULL)
            return pitr_fail(err, PITR_NOMEM, "exclude patterns");
        r->m->exclude[r->m->nexclude] = copy;
    }
    return PITR_OK;
}

static enum pitr_rc
read_catalog(struct run *r, struct pitr_err *err)
{
    struct source_list *list = &r->list;
    uint64_t documents = 0, bytes = 0;
    size_t keep = 0;

    if (doc_source_mongo_new(&r->source, r->opts->mongo, r->server.fcv, !r->m->pitr,
                             r->m->t_start.ts, err) != PITR_OK ||
        r->source->ops->list(r->source, list, err) != PITR_OK ||
        remember_patterns(r, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < list->len; i++) {
        struct source_coll *c = &list->at[i];
        bool excluded;

        if (exclude(r, c->db, c->name, c->uuid, &excluded, err) != PITR_OK)
            return err->rc;
        if (excluded) {
            source_coll_release(c);
            continue;
        }
        documents += c->documents;
        bytes += c->bytes;
        if (keep++ != i) {
            list->at[keep - 1] = *c;
            *c = (struct source_coll){0};
        }
    }
    list->len = keep;
    job_phase(r->opts->job, "scan", documents, bytes);
    return PITR_OK;
}

static enum pitr_rc
check_between(void *arg, struct pitr_err *err)
{
    struct run *r = arg;

    if (job_check(r->opts->job, err) != PITR_OK)
        return err->rc;
    return r->capture != NULL ? capture_check(r->capture, err) : PITR_OK;
}

/*
 * T_end: majority-committed, and not before anything that was read. The server's version of its own
 * format must not have changed on the way, as the window then mixes two.
 */
static enum pitr_rc
close_window(struct run *r, struct pitr_err *err)
{
    const int64_t deadline = clock_mono_ms() + COMMIT_WAIT_MS;
    struct server_info now;

    if (!r->m->pitr)
        return PITR_OK;
    for (;;) {
        if (majority(r, &r->m->t_end, err) != PITR_OK || job_check(r->opts->job, err) != PITR_OK)
            return err->rc;
        if (r->m->t_end.ts >= doc_source_mongo_read_ts(r->source))
            break;
        if (clock_mono_ms() > deadline)
            return pitr_fail(err, PITR_DB_LOST,
                             "what was read last is not majority-committed after %d s; are enough "
                             "members of the replica set up?",
                             COMMIT_WAIT_MS / 1000);
        clock_sleep_ms(COMMIT_POLL_MS);
    }
    if (inspect(r, &now, err) != PITR_OK)
        return err->rc;
    if (strcmp(now.fcv, r->server.fcv) != 0)
        return pitr_fail(err, PITR_DB,
                         "the featureCompatibilityVersion changed from %s to %s during the scan; "
                         "take the snapshot again",
                         r->server.fcv, now.fcv);
    return PITR_OK;
}

/*
 * Without an oplog nothing can tell apart two collections that bore one name during the scan: keep
 * the one that bears it now.
 */
static enum pitr_rc
is_superseded(struct run *r, const struct coll_node *n, bool *superseded, struct pitr_err *err)
{
    struct source_coll now = {0};
    bool found;

    *superseded = false;
    if (r->m->pitr)
        return PITR_OK;
    for (size_t i = 0; i < r->w.scanned.nnodes; i++) {
        const struct coll_node *other = &r->w.scanned.nodes[i];

        if (other == n || other->db == NULL || strcmp(other->db, n->db) != 0 ||
            strcmp(other->name, n->name) != 0)
            continue;
        if (r->source->ops->locate(r->source, n->uuid, &now, &found, err) != PITR_OK)
            return err->rc;
        *superseded = !found || strcmp(now.name, n->name) != 0;
        source_coll_release(&now);
    }
    return PITR_OK;
}

/* A collection that was renamed during the scan may only now be known to be excluded. */
static enum pitr_rc
drop_unwanted(struct run *r, struct pitr_err *err)
{
    for (size_t i = 0; i < r->w.scanned.nnodes; i++) {
        struct coll_node *n = &r->w.scanned.nodes[i];
        bool excluded, superseded;

        if (exclude(r, n->db, n->name, n->uuid, &excluded, err) != PITR_OK ||
            is_superseded(r, n, &superseded, err) != PITR_OK)
            return err->rc;
        if (excluded || superseded)
            coll_node_release(n);
    }
    return PITR_OK;
}

static enum pitr_rc
finish_capture(struct run *r, struct pitr_err *err)
{
    if (r->capture == NULL)
        return PITR_OK;
    if (capture_finish(r->capture, &r->m->t_end, &r->captured, err) != PITR_OK)
        return err->rc;
    r->m->timeline = r->captured.timeline;
    return PITR_OK;
}

static enum pitr_rc
begin_run(struct run *r, struct pitr_err *err)
{
    const struct snapshot_opts *opts = r->opts;

    job_phase(opts->job, "start", 0, 0);
    for (size_t i = 0; i < opts->nexclude; i++)
        if (pattern_check(opts->exclude[i], err) != PITR_OK)
            return err->rc;
    return snapshot_writer_begin(&r->w, "scan", opts->label, err);
}

static enum pitr_rc
run_all(struct run *r, struct pitr_err *err)
{
    if (begin_run(r, err) != PITR_OK || meet_server(r, err) != PITR_OK ||
        snapshot_writer_declare(&r->w, err) != PITR_OK || open_window(r, err) != PITR_OK ||
        read_catalog(r, err) != PITR_OK ||
        snapshot_writer_scan(&r->w, r->source, &r->list, check_between, r, err) != PITR_OK)
        return err->rc;
    job_phase(r->opts->job, "finish", 0, 0);
    if (close_window(r, err) != PITR_OK)
        return err->rc;
    if (r->capture != NULL)
        capture_end_at(r->capture, &r->m->t_end);
    if (drop_unwanted(r, err) != PITR_OK || snapshot_writer_collect(&r->w, err) != PITR_OK ||
        snapshot_writer_store(&r->w, err) != PITR_OK || finish_capture(r, err) != PITR_OK)
        return err->rc;
    return snapshot_writer_publish(&r->w, err);
}

enum pitr_rc
snapshot_take(const struct snapshot_opts *opts, struct snapshot_result *result,
              struct pitr_err *err)
{
    struct run r = {.opts = opts, .m = &result->manifest, .mono_start = clock_mono_ms()};
    enum pitr_rc rc;

    *result = (struct snapshot_result){0};
    r.w = (struct snapshot_writer){.repo = opts->repo,
                                   .job = opts->job,
                                   .m = r.m,
                                   .codec = opts->codec,
                                   .level = opts->level,
                                   .readers = opts->readers,
                                   .workers = opts->workers};
    rc = run_all(&r, err);
    result->oplog_entries = r.captured.entries;
    result->gap_found = r.captured.gap_found;
    run_release(&r);
    result->seconds = (double)(clock_mono_ms() - r.mono_start) / 1000;
    if (rc != PITR_OK)
        snapshot_result_release(result);
    return rc;
}

void
snapshot_result_release(struct snapshot_result *r)
{
    manifest_release(&r->manifest);
    *r = (struct snapshot_result){0};
}

enum pitr_rc
snapshot_record(struct repo *repo, const struct snapshot_result *result,
                const struct pitr_err *outcome, struct pitr_err *err)
{
    bson_t doc = BSON_INITIALIZER;
    const bool good = outcome->rc == PITR_OK;
    enum pitr_rc rc;
    bool ok =
        BSON_APPEND_BOOL(&doc, "ok", good) && BSON_APPEND_DATE_TIME(&doc, "at", clock_wall_ms());

    if (good)
        ok = ok && BSON_APPEND_UTF8(&doc, "id", result->manifest.id) &&
             BSON_APPEND_DOUBLE(&doc, "seconds", result->seconds);
    else
        ok = ok && BSON_APPEND_UTF8(&doc, "code", pitr_rc_name(outcome->rc)) &&
             BSON_APPEND_UTF8(&doc, "error", outcome->msg);
    rc = ok ? repo_note_write(repo, LAST_NOTE, &doc, err)
            : pitr_fail(err, PITR_NOMEM, "outcome of the snapshot");
    bson_destroy(&doc);
    return rc;
}
