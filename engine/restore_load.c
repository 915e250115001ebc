#include <stdlib.h>
#include <string.h>

#include "engine/restore_internal.h"

/* Threads that decode and filter; the server's insert path is the limit, not they. */
enum { DECODE_THREADS = 2 };

struct loading {
    const struct load_job *job;
    struct loader *loader;
};

struct load_walk {
    struct loading *loading;
    const struct load_coll *coll;
    struct load_batch *batch;
};

static enum pitr_rc
load_document(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct load_walk *w = arg;

    if (loader_add(w->loading->loader, w->coll, &w->batch, doc, len, err) != PITR_OK)
        return err->rc;
    return w->batch != NULL ? PITR_OK : job_check(w->loading->job->job, err);
}

static enum pitr_rc
load_one(void *arg, struct state_coll *c, struct pitr_err *err)
{
    struct loading *l = arg;
    struct load_walk w = {.loading = l, .coll = &c->load};

    if (c->kind != STATE_DATA)
        return PITR_OK;
    if (state_stream(l->job->state, c, load_document, &w, err) != PITR_OK) {
        loader_discard(l->loader, &w.batch);
        return err->rc;
    }
    return w.batch == NULL ? PITR_OK : loader_flush(l->loader, &w.batch, err);
}

static enum pitr_rc
create_all(const struct load_job *j, struct pitr_err *err)
{
    for (size_t i = 0; i < j->state->ncolls; i++) {
        if (job_check(j->job, err) != PITR_OK)
            return err->rc;
        if (j->state->colls[i].kind == STATE_DATA &&
            target_create(j->target, &j->state->colls[i].load, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
insert_all(const struct load_job *j, struct pitr_err *err)
{
    PITR_AUTO(loader_freep) struct loader *loader = NULL;
    struct loading loading = {.job = j};
    uint64_t documents = 0, bytes = 0;

    for (size_t i = 0; i < j->state->ncolls; i++) {
        documents += j->state->colls[i].print.documents;
        bytes += j->state->colls[i].print.bytes;
    }
    job_phase(j->job, "load", documents, bytes);
    if (loader_new(&loader, j->target, err) != PITR_OK)
        return err->rc;
    loading.loader = loader;
    if (state_each(j->state, DECODE_THREADS, load_one, &loading, err) != PITR_OK)
        return err->rc;
    return loader_finish(loader, err);
}

static void
log_difference(void *arg, const char *what)
{
    const struct load_job *j = arg;

    log_event(j->job->log, LOG_WARNING, "restore", "%s", what);
}

/* Nothing may stand where the restored namespaces lie that did not exist at the moment. */
static enum pitr_rc
check_no_strangers(const struct load_job *j, const struct view_list *views, struct pitr_err *err)
{
    PITR_AUTO(fs_names_release) struct fs_names have = {0};

    if (target_namespaces(j->target, &have, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < have.len; i++) {
        bool known = !selection_covers(j->sel, have.at[i]);

        for (size_t k = 0; k < j->state->manifest.nexclude && !known; k++)
            known = pattern_match(j->state->manifest.exclude[k], have.at[i]);
        for (size_t k = 0; k < j->state->ncolls && !known; k++)
            known = strcmp(j->state->colls[k].visible_ns, have.at[i]) == 0;
        for (size_t k = 0; k < views->names.len && !known; k++)
            known = strcmp(views->names.at[k], have.at[i]) == 0;
        if (!known)
            return pitr_fail(err, PITR_CORRUPT,
                             "%s appeared on the target during the restore; stop what writes there "
                             "and restore again",
                             have.at[i]);
    }
    return PITR_OK;
}

static enum pitr_rc
gather_documents(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    return buf_append(arg, doc, len, err);
}

static enum pitr_rc
load_accounts(const struct load_job *j, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf users = {0};
    PITR_AUTO(buf_release) struct buf roles = {0};

    for (size_t i = 0; i < j->state->ncolls; i++) {
        struct state_coll *c = &j->state->colls[i];
        struct buf *to = c->kind == STATE_USERS ? &users : c->kind == STATE_ROLES ? &roles : NULL;

        if (to != NULL && state_stream(j->state, c, gather_documents, to, err) != PITR_OK)
            return err->rc;
    }
    return load_users(j->target, &users, &roles, j->exact, err);
}

/* The collections as the loader's verbs want them. */
struct coll_array {
    const struct load_coll **colls;
    struct load_expect *expect;
    size_t n;
};

static void
coll_array_release(struct coll_array *a)
{
    free(a->colls);
    free(a->expect);
}

static enum pitr_rc
coll_array_make(struct coll_array *a, const struct state *s, struct pitr_err *err)
{
    a->colls = calloc(s->ncolls + 1, sizeof(struct load_coll *));
    a->expect = calloc(s->ncolls + 1, sizeof *a->expect);
    if (a->colls == NULL || a->expect == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu collections", s->ncolls);
    for (size_t i = 0; i < s->ncolls; i++) {
        if (s->colls[i].kind != STATE_DATA)
            continue;
        a->colls[a->n] = &s->colls[i].load;
        a->expect[a->n++] =
            (struct load_expect){.coll = &s->colls[i].load, .print = s->colls[i].print};
    }
    return PITR_OK;
}

static enum pitr_rc
verify_all(const struct load_job *j, const struct view_list *views, const struct coll_array *a,
           struct pitr_err *err)
{
    uint64_t documents = 0, bytes = 0;

    for (size_t i = 0; i < a->n; i++) {
        documents += a->expect[i].print.documents;
        bytes += a->expect[i].print.bytes;
    }
    job_phase(j->job, "verify", documents, bytes);
    if (load_verify(j->target, a->expect, a->n, log_difference, (void *)j, err) != PITR_OK)
        return err->rc;
    return check_no_strangers(j, views, err);
}

enum pitr_rc
restore_load(const struct load_job *j, const struct view_list *views, struct pitr_err *err)
{
    PITR_AUTO(coll_array_release) struct coll_array all = {0};

    if (coll_array_make(&all, j->state, err) != PITR_OK || create_all(j, err) != PITR_OK ||
        insert_all(j, err) != PITR_OK)
        return err->rc;
    job_phase(j->job, "index", 0, 0);
    if (load_narrow(j->target, all.colls, all.n, err) != PITR_OK ||
        load_indexes(j->target, all.colls, all.n, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < views->len; i++)
        if (load_views(j->target, views->at[i].db, &views->at[i].docs, err) != PITR_OK)
            return err->rc;
    if (load_barrier(j->target, err) != PITR_OK)
        return err->rc;
    if (j->verify && verify_all(j, views, &all, err) != PITR_OK)
        return err->rc;
    if (load_finish_ttl(j->target, all.colls, all.n, err) != PITR_OK)
        return err->rc;
    if (selection_is_whole(j->sel) && load_accounts(j, err) != PITR_OK)
        return err->rc;
    return load_barrier(j->target, err);
}
