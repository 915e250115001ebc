#include "engine/restore.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/pace.h"
#include "engine/restore_internal.h"
#include "engine/snapshot.h"

static const char marker[] = "state/restore-running";

void
restore_result_release(struct restore_result *r)
{
    for (size_t i = 0; i < r->ncolls; i++)
        free(r->colls[i].ns);
    free(r->colls);
    fs_names_release(&r->dropped);
    *r = (struct restore_result){0};
}

static enum pitr_rc
prepare_state(struct state *state, const struct restore_opts *o, struct restore_result *result,
              struct pitr_err *err)
{
    struct state_source source = {
        .repo = o->repo, .dump_dir = o->dump_dir, .moment = o->moment, .memory = o->memory};

    if (state_open(state, &source, &o->selection, o->job, err) != PITR_OK)
        return err->rc;
    memcpy(result->snapshot, state->manifest.id, sizeof result->snapshot);
    return PITR_OK;
}

static enum pitr_rc
summarise(const struct state *s, struct restore_result *r, struct pitr_err *err)
{
    r->to = s->to;
    r->operations = s->operations;
    r->segments = s->segments;
    r->prepared_left_out = s->prepared_left_out;
    r->colls = calloc(s->ncolls + 1, sizeof *r->colls);
    if (r->colls == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu collections", s->ncolls);
    for (size_t i = 0; i < s->ncolls; i++) {
        const struct state_coll *c = &s->colls[i];

        if (c->kind != STATE_DATA)
            continue;
        r->colls[r->ncolls] =
            (struct restored_coll){.ns = strdup(c->visible_ns), .print = c->print};
        if (r->colls[r->ncolls++].ns == NULL)
            return pitr_fail(err, PITR_NOMEM, "%s", c->visible_ns);
        r->documents += c->print.documents;
        r->bytes += c->print.bytes;
    }
    return PITR_OK;
}

static bool
is_destination(const struct state *s, const struct view_list *views, const char *ns)
{
    for (size_t i = 0; i < s->ncolls; i++)
        if (s->colls[i].kind == STATE_DATA && strcmp(s->colls[i].visible_ns, ns) == 0)
            return true;
    for (size_t i = 0; i < views->names.len; i++)
        if (strcmp(views->names.at[i], ns) == 0)
            return true;
    return false;
}

/* Namespaces the backup was told to leave out are not its to drop. */
static bool
is_protected(const struct state *s, const char *ns)
{
    for (size_t i = 0; i < s->manifest.nexclude; i++)
        if (pattern_match(s->manifest.exclude[i], ns))
            return true;
    return false;
}

/*
 * The target's namespaces that stand in the way. An exact restore removes all that lie where the
 * restored ones lie; otherwise only collisions count, or, when everything is restored, any data at
 * all.
 */
static enum pitr_rc
find_in_the_way(const struct restore_opts *o, const struct selection *sel, const struct state *s,
                const struct view_list *views, struct target *target, struct fs_names *out,
                struct pitr_err *err)
{
    PITR_AUTO(fs_names_release) struct fs_names have = {0};
    bool broad = o->drop || selection_is_whole(sel);

    if (target_namespaces(target, &have, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < have.len; i++) {
        const char *ns = have.at[i];
        bool hit = is_destination(s, views, ns) ||
                   (broad && selection_covers(sel, ns) && !is_protected(s, ns));

        if (hit && fs_names_add(out, ns, err) != PITR_OK)
            return err->rc;
    }
    if (o->drop || o->plan || out->len == 0)
        return PITR_OK;
    return pitr_fail(err, PITR_USAGE,
                     "the target holds data (%s%s); use --drop to replace it, --rename to restore "
                     "beside it, or an empty --target",
                     out->at[0], out->len > 1 ? " and more" : "");
}

/* The target is the cluster this repository backs up: keep what is about to be dropped. */
static enum pitr_rc
take_pre_snapshot(const struct restore_opts *o, const struct state *s, struct target *target,
                  struct restore_result *result, struct pitr_err *err)
{
    const struct server_info *server = target_server(target);
    struct cluster_id own;
    struct snapshot_result taken = {0};
    bool known;

    if (o->no_pre_snapshot || o->repo == NULL || result->dropped.len == 0 ||
        server->set_name[0] == '\0')
        return PITR_OK;
    if (repo_cluster(o->repo, &own, &known, err) != PITR_OK)
        return err->rc;
    if (!known || strcmp(own.set_name, server->set_name) != 0)
        return PITR_OK;
    if (own.replica_set_id[0] == '\0' || server->replica_set_id[0] == '\0')
        return pitr_fail(err, PITR_DB,
                         "cannot tell whether the target is the cluster this repository backs up: "
                         "its replica set id is not readable; grant clusterMonitor, or use "
                         "--no-pre-snapshot");
    if (strcmp(own.replica_set_id, server->replica_set_id) != 0)
        return PITR_OK;
    struct snapshot_opts opts = {
        .repo = o->repo,
        .mongo = o->target,
        .job = o->job,
        .label = "pre-restore",
        .exclude = s->manifest.exclude,
        .nexclude = s->manifest.nexclude,
        .codec = CODEC_ZSTD,
    };
    if (snapshot_take(&opts, &taken, err) != PITR_OK)
        return pitr_wrap(err, "pre-restore snapshot (--no-pre-snapshot skips it)");
    memcpy(result->pre_snapshot, taken.manifest.id, sizeof result->pre_snapshot);
    snapshot_result_release(&taken);
    return PITR_OK;
}

/* Say in the repository that a restore is under way, so that an interrupted one is seen. A
 * repository that cannot be written (mounted read-only, or full) must still restore. */
static enum pitr_rc
set_marker(const struct restore_opts *o, const struct restore_result *r, struct pitr_err *err)
{
    bson_t doc = BSON_INITIALIZER;
    enum pitr_rc rc;

    if (o->repo == NULL)
        return PITR_OK;
    BSON_APPEND_UTF8(&doc, "target", mongo_uri_safe(o->target));
    BSON_APPEND_TIMESTAMP(&doc, "to", (uint32_t)(r->to >> 32), (uint32_t)r->to);
    BSON_APPEND_DATE_TIME(&doc, "started", clock_wall_ms());
    rc = repo_note_write(o->repo, marker, &doc, err);
    bson_destroy(&doc);
    if (rc == PITR_DENIED || rc == PITR_FULL) {
        log_event(o->job->log, LOG_WARNING, "restore", "no marker is kept: %s", err->msg);
        return PITR_OK;
    }
    return rc;
}

static enum pitr_rc
clear_marker(const struct restore_opts *o, struct pitr_err *err)
{
    if (o->repo == NULL || blob_remove(repo_blob(o->repo), marker, err) == PITR_OK ||
        err->rc == PITR_NOTFOUND || err->rc == PITR_DENIED)
        return PITR_OK;
    return err->rc;
}

static enum pitr_rc
drop_all(const struct restore_opts *o, struct target *target, const struct fs_names *names,
         struct pitr_err *err)
{
    job_phase(o->job, "drop", 0, 0);
    for (size_t i = 0; i < names->len; i++)
        if (target_drop(target, names->at[i], err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

/* The checks just made will be made again, and then the target is loaded. */
static enum pitr_rc
estimate(const struct restore_opts *o, struct restore_result *r, double checked_seconds,
         struct pitr_err *err)
{
    struct pace pace = {.factor = 1.0};

    if (o->repo != NULL && pace_read(&pace, o->repo, mongo_uri_safe(o->target), err) != PITR_OK)
        return err->rc;
    r->expected_seconds = checked_seconds + pace.factor * pace_model(r->documents, r->bytes);
    r->expected_is_measured = pace.is_measured;
    r->needs_drop = r->dropped.len > 0 && !o->drop;
    return PITR_OK;
}

/* An estimate is not worth a failure. */
static void
learn(const struct restore_opts *o, const struct restore_result *r, int64_t started)
{
    struct pitr_err ignored;

    if (o->repo != NULL &&
        pace_learn(o->repo, mongo_uri_safe(o->target), r->documents, r->bytes,
                   (double)(clock_mono_ms() - started) / 1000.0, &ignored) != PITR_OK)
        log_event(o->job->log, LOG_INFO, "restore", "no pace is kept: %s", ignored.msg);
}

static enum pitr_rc
touch_target(const struct restore_opts *o, const struct load_job *load,
             const struct view_list *views, struct restore_result *result, struct pitr_err *err)
{
    int64_t started = clock_mono_ms();

    if (set_marker(o, result, err) != PITR_OK)
        return err->rc;
    if (drop_all(o, load->target, &result->dropped, err) != PITR_OK ||
        restore_load(load, views, err) != PITR_OK)
        return pitr_wrap(err, "the restore did not finish and the target is incomplete: run it "
                              "again with --drop");
    learn(o, result, started);
    return clear_marker(o, err);
}

enum pitr_rc
restore_run(const struct restore_opts *o, struct restore_result *result, struct pitr_err *err)
{
    PITR_AUTO(state_release) struct state state = {0};
    PITR_AUTO(target_freep) struct target *target = NULL;
    PITR_AUTO(view_list_release) struct view_list views = {0};
    const struct selection *sel = &o->selection;
    struct load_job load = {
        .state = &state, .sel = sel, .job = o->job, .exact = o->drop, .verify = !o->no_verify};
    int64_t started = clock_mono_ms();

    if (prepare_state(&state, o, result, err) != PITR_OK ||
        view_list_make(&views, &state, sel, err) != PITR_OK ||
        view_list_check(&views, &state, sel, err) != PITR_OK ||
        target_open(&target, o->target, o->job, o->connections, err) != PITR_OK ||
        state_trim(&state, !target_can_narrow(target), err) != PITR_OK ||
        summarise(&state, result, err) != PITR_OK ||
        find_in_the_way(o, sel, &state, &views, target, &result->dropped, err) != PITR_OK)
        return err->rc;
    load.target = target;
    if (restore_check_rights(&load, &result->dropped, err) != PITR_OK)
        return err->rc;
    if (!o->plan) {
        if (o->confirm != NULL && !o->confirm(o->confirm_arg, &result->dropped))
            return pitr_fail(err, PITR_INTERRUPTED, "not confirmed; nothing was touched");
        if (take_pre_snapshot(o, &state, target, result, err) != PITR_OK ||
            touch_target(o, &load, &views, result, err) != PITR_OK)
            return err->rc;
        result->verified = load.verify;
    } else if (estimate(o, result, (double)(clock_mono_ms() - started) / 1000.0, err) != PITR_OK) {
        return err->rc;
    }
    result->seconds = (double)(clock_mono_ms() - started) / 1000.0;
    return PITR_OK;
}
