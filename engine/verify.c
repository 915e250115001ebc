#include "engine/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/verify_internal.h"

enum { THREADS_MIN = 2, THREADS_MAX = 8 };

/* A collection run to be read back: two snapshots that share it need it read once. */
struct task {
    const struct coll_node *coll;
    const char *snapshot;
};

struct readers {
    struct verify *v;
    struct task *tasks;
    size_t ntasks;
    atomic_size_t next;
    atomic_bool packs_taken;
    pthread_mutex_t lock;
    struct pitr_err first; /* an error that ends the run */
};

static void
report(struct verify *v, const char *what)
{
    pthread_mutex_lock(&v->lock);
    v->result->problems++;
    if (v->opts->report != NULL)
        v->opts->report(v->opts->arg, FINDING_PROBLEM, what);
    pthread_mutex_unlock(&v->lock);
}

enum pitr_rc
verify_problem(struct verify *v, const char *context, struct pitr_err *err)
{
    if (err->rc == PITR_NOMEM || err->rc == PITR_INTERRUPTED || err->rc == PITR_INTERNAL)
        return err->rc;
    pitr_wrap(err, "%s", context);
    report(v, err->msg);
    return PITR_OK;
}

static void
report_frame(void *arg, const char *what)
{
    report(arg, what);
}

static enum pitr_rc
verify_packs(struct verify *v, struct pitr_err *err)
{
    uint64_t frames = 0, bytes = 0, bad = 0;

    if (store_verify(v->store, true, report_frame, v, &frames, &bytes, &bad, err) != PITR_OK)
        return err->rc;
    atomic_store(&v->chunks, frames);
    return PITR_OK;
}

static enum pitr_rc
run_task(struct readers *r, struct store_reader *reader, const struct task *task,
         struct pitr_err *err)
{
    char context[700];

    if (verify_coll_data(r->v, reader, task->coll, err) == PITR_OK)
        return PITR_OK;
    snprintf(context, sizeof context, "snapshot %s: %s.%s", task->snapshot, task->coll->db,
             task->coll->name);
    return verify_problem(r->v, context, err);
}

static enum pitr_rc
read_until_done(struct readers *r, struct pitr_err *err)
{
    PITR_AUTO(store_reader_freep) struct store_reader *reader = NULL;

    if (!atomic_exchange(&r->packs_taken, true) && verify_packs(r->v, err) != PITR_OK)
        return err->rc;
    if (store_reader_new(&reader, r->v->store, err) != PITR_OK)
        return err->rc;
    for (;;) {
        size_t i = atomic_fetch_add(&r->next, 1);

        if (i >= r->ntasks)
            return PITR_OK;
        if (run_task(r, reader, &r->tasks[i], err) != PITR_OK)
            return err->rc;
    }
}

static void *
read_thread(void *arg)
{
    struct readers *r = arg;
    struct pitr_err err = {0};

    if (read_until_done(r, &err) != PITR_OK) {
        atomic_store(&r->next, r->ntasks); /* no more for the others */
        pthread_mutex_lock(&r->lock);
        if (r->first.rc == PITR_OK)
            r->first = err;
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

static unsigned
thread_count(const struct verify_opts *opts)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (opts->threads != 0)
        return opts->threads < THREADS_MAX ? opts->threads : THREADS_MAX;
    return cores < THREADS_MIN ? THREADS_MIN : cores > THREADS_MAX ? THREADS_MAX : (unsigned)cores;
}

static enum pitr_rc
run_readers(struct verify *v, struct task *tasks, size_t ntasks, struct pitr_err *err)
{
    struct readers r = {.v = v, .tasks = tasks, .ntasks = ntasks};
    pthread_t threads[THREADS_MAX];
    unsigned want = thread_count(v->opts), n = 0;
    int rc = 0;

    pthread_mutex_init(&r.lock, NULL);
    while (n < want && (rc = pthread_create(&threads[n], NULL, read_thread, &r)) == 0)
        n++;
    if (n == 0)
        pitr_fail_errno(&r.first, rc, "verify: starting threads");
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&r.lock);
    if (r.first.rc != PITR_OK)
        *err = r.first;
    return r.first.rc;
}

/* The same lists with the same promises about them need to be read once. */
static bool
is_same_run(const struct coll_node *a, const struct coll_node *b)
{
    return a->nlists == b->nlists && fingerprint_equal(&a->print, &b->print) &&
           a->chunks == b->chunks &&
           (a->nlists == 0 || memcmp(a->lists, b->lists, a->nlists * sizeof *a->lists) == 0);
}

static int
by_run(const void *x, const void *y)
{
    const struct coll_node *a = ((const struct task *)x)->coll, *b = ((const struct task *)y)->coll;

    if (a->print.lo != b->print.lo)
        return a->print.lo < b->print.lo ? -1 : 1;
    if (a->nlists != b->nlists)
        return a->nlists < b->nlists ? -1 : 1;
    return a->nlists == 0 ? 0 : memcmp(a->lists, b->lists, a->nlists * sizeof *a->lists);
}

static int
longest_first(const void *x, const void *y)
{
    const struct coll_node *a = ((const struct task *)x)->coll, *b = ((const struct task *)y)->coll;

    return a->print.bytes < b->print.bytes ? 1 : a->print.bytes > b->print.bytes ? -1 : 0;
}

static enum pitr_rc
verify_data(struct verify *v, const struct manifest *all, size_t n, struct pitr_err *err)
{
    size_t ncolls = 0, ntasks = 0, keep = 0;
    struct task *tasks;
    enum pitr_rc rc;

    for (size_t i = 0; i < n; i++)
        ncolls += all[i].ncolls;
    tasks = calloc(ncolls + 1, sizeof *tasks);
    if (tasks == NULL)
        return pitr_fail(err, PITR_NOMEM, "verify: %zu collections", ncolls);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < all[i].ncolls; k++)
            tasks[ntasks++] = (struct task){.coll = &all[i].colls[k], .snapshot = all[i].id};
    qsort(tasks, ntasks, sizeof *tasks, by_run);
    for (size_t i = 0; i < ntasks; i++)
        if (keep == 0 || !is_same_run(tasks[keep - 1].coll, tasks[i].coll))
            tasks[keep++] = tasks[i];
    qsort(tasks, keep, sizeof *tasks, longest_first);
    rc = run_readers(v, tasks, keep, err);
    free(tasks);
    return rc;
}

static enum pitr_rc
verify_lists(struct verify *v, const struct manifest *all, size_t n, struct pitr_err *err)
{
    PITR_AUTO(store_reader_freep) struct store_reader *reader = NULL;
    char context[700];

    if (store_reader_new(&reader, v->store, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < all[i].ncolls; k++) {
            const struct coll_node *c = &all[i].colls[k];

            if (verify_coll_quick(v, reader, c, err) == PITR_OK)
                continue;
            snprintf(context, sizeof context, "snapshot %s: %s.%s", all[i].id, c->db, c->name);
            if (verify_problem(v, context, err) != PITR_OK)
                return err->rc;
        }
    }
    return PITR_OK;
}

/* All snapshots are held at once, so what is not looked at again goes. */
static void
forget_options(struct manifest *m)
{
    for (size_t i = 0; i < m->ncolls; i++) {
        buf_release(&m->colls[i].options);
        buf_release(&m->colls[i].indexes);
    }
}

static enum pitr_rc
read_manifests(struct verify *v, const struct fs_names *ids, struct manifest *all, size_t *n,
               struct pitr_err *err)
{
    for (size_t i = 0; i < ids->len; i++) {
        if (job_check(v->opts->job, err) != PITR_OK)
            return err->rc;
        v->result->snapshots++;
        if (manifest_read(v->opts->repo, ids->at[i], &all[*n], err) == PITR_OK)
            forget_options(&all[(*n)++]);
        else if (verify_problem(v, "manifest", err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
collect_note(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    (void)size;
    return fs_names_add(arg, name, err);
}

/* The small files that commands depend on: each must open. */
static enum pitr_rc
verify_notes(struct verify *v, struct pitr_err *err)
{
    struct fs_names names = {0};
    enum pitr_rc rc = fs_names_add(&names, "cluster", err);

    if (rc == PITR_OK)
        rc = blob_list(repo_blob(v->opts->repo), "intents/", collect_note, &names, err);
    if (rc == PITR_OK)
        rc = fs_names_add(&names, "state/last-snapshot", err);
    for (size_t i = 0; rc == PITR_OK && i < names.len; i++) {
        bson_t doc = BSON_INITIALIZER;
        bool found;

        if (repo_note_read(v->opts->repo, names.at[i], &doc, &found, err) != PITR_OK)
            rc = verify_problem(v, "note", err);
        bson_destroy(&doc);
    }
    fs_names_release(&names);
    return rc;
}

static enum pitr_rc
verify_all(struct verify *v, const struct fs_names *ids, struct manifest *all, size_t *n,
           struct pitr_err *err)
{
    struct store_usage usage = {0};

    job_phase(v->opts->job, "manifests", 0, 0);
    if (verify_notes(v, err) != PITR_OK || read_manifests(v, ids, all, n, err) != PITR_OK ||
        verify_lists(v, all, *n, err) != PITR_OK)
        return err->rc;
    job_phase(v->opts->job, "oplog", 0, 0);
    if (verify_oplog(v, all, *n, err) != PITR_OK)
        return err->rc;
    job_phase(v->opts->job, "data", 0, 0);
    if (v->opts->data && verify_data(v, all, *n, err) != PITR_OK)
        return err->rc;
    if (v->opts->replay && verify_replay(v, err) != PITR_OK)
        return err->rc;
    if (store_usage(v->store, &usage, err) != PITR_OK)
        return err->rc;
    v->result->packs = usage.packs;
    v->result->bytes = usage.pack_bytes;
    return PITR_OK;
}

enum pitr_rc
verify_run(const struct verify_opts *opts, struct verify_result *result, struct pitr_err *err)
{
    struct verify v = {.opts = opts, .result = result};
    struct fs_names ids = {0};
    struct manifest *all = NULL;
    size_t n = 0;
    enum pitr_rc rc;

    *result = (struct verify_result){0};
    pthread_mutex_init(&v.lock, NULL);
    rc = repo_store(opts->repo, &v.store, err);
    if (rc == PITR_OK)
        rc = manifest_list(opts->repo, &ids, err);
    if (rc == PITR_OK && (all = calloc(ids.len + 1, sizeof *all)) == NULL)
        rc = pitr_fail(err, PITR_NOMEM, "verify: %zu snapshots", ids.len);
    if (rc == PITR_OK)
        rc = verify_all(&v, &ids, all, &n, err);
    result->chunks = atomic_load(&v.chunks);
    for (size_t i = 0; i < n; i++)
        manifest_release(&all[i]);
    free(all);
    fs_names_release(&ids);
    idset_release(&v.visited);
    pthread_mutex_destroy(&v.lock);
    if (rc == PITR_OK && result->problems > 0)
        rc = pitr_fail(err, PITR_CORRUPT, "%llu problem(s) found",
                       (unsigned long long)result->problems);
    return rc;
}
