#include "engine/state.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/base_cursor.h"
#include "engine/dumpdir.h"
#include "engine/state_internal.h"
#include "mongo/ns.h"

void
state_coll_release(struct state_coll *c)
{
    buf_release(&c->load.options);
    buf_release(&c->load.indexes);
    free(c->load.db);
    free(c->load.name);
    free(c->source_ns);
    free(c->visible_ns);
}

void
state_release(struct state *s)
{
    for (size_t i = 0; i < s->ncolls; i++)
        state_coll_release(&s->colls[i]);
    free(s->colls);
    replay_free(s->replay);
    spill_free(s->spill);
    manifest_release(&s->manifest);
    dumpdir_free(s->dump);
    buf_release(&s->dump_users);
    buf_release(&s->dump_roles);
    *s = (struct state){0};
}

static enum state_kind
kind_of(const char *db, const char *name)
{
    if (strcmp(name, "system.views") == 0)
        return STATE_VIEWS;
    if (strcmp(db, "admin") == 0 && strcmp(name, "system.users") == 0)
        return STATE_USERS;
    if (strcmp(db, "admin") == 0 && strcmp(name, "system.roles") == 0)
        return STATE_ROLES;
    return STATE_DATA;
}

/* A "db.name" of malloc'ed memory. */
static enum pitr_rc
join_ns(char **out, const char *db, const char *name, struct pitr_err *err)
{
    size_t len = strlen(db) + 1 + strlen(name) + 1;

    *out = malloc(len);
    if (*out == NULL)
        return pitr_fail(err, PITR_NOMEM, "namespace %s.%s", db, name);
    snprintf(*out, len, "%s.%s", db, name);
    return PITR_OK;
}

/* Split the visible target namespace, and put the prefix of time-series buckets back. */
static enum pitr_rc
set_target(struct state_coll *c, const char *source_name, struct pitr_err *err)
{
    const char *dot = strchr(c->visible_ns, '.');
    size_t prefix = ns_is_buckets(source_name) ? strlen(NS_BUCKETS_PREFIX) : 0;
    size_t len;

    if (selection_check_target(c->source_ns, c->visible_ns, prefix, err) != PITR_OK)
        return err->rc;
    if (dot == NULL)
        return pitr_fail(err, PITR_CORRUPT, "\"%s\" is no namespace", c->visible_ns);
    c->load.db = strndup(c->visible_ns, (size_t)(dot - c->visible_ns));
    len = prefix + strlen(dot + 1) + 1;
    c->load.name = malloc(len);
    if (c->load.db == NULL || c->load.name == NULL)
        return pitr_fail(err, PITR_NOMEM, "namespace %s", c->visible_ns);
    snprintf(c->load.name, len, "%s%s", prefix != 0 ? NS_BUCKETS_PREFIX : "", dot + 1);
    return PITR_OK;
}

/* Views are taken one by one when their documents are known, so every system.views is looked at. */
static bool
is_taken(const struct selection *sel, enum state_kind kind, const char *ns)
{
    switch (kind) {
    case STATE_VIEWS:
        return true;
    case STATE_USERS:
    case STATE_ROLES:
        return selection_is_whole(sel);
    default:
        return selection_takes(sel, ns);
    }
}

enum pitr_rc
state_add(struct state *s, const struct selection *sel, const char *db, const char *name,
          const struct buf *options, const struct buf *indexes, struct state_coll **out,
          struct pitr_err *err)
{
    struct state_coll c = {.kind = kind_of(db, name)};
    struct state_coll *grown;
    enum pitr_rc rc;

    *out = NULL;
    if (join_ns(&c.source_ns, db, ns_visible_name(name), err) != PITR_OK)
        return err->rc;
    if (!is_taken(sel, c.kind, c.source_ns)) {
        free(c.source_ns);
        return PITR_OK;
    }
    rc = c.kind == STATE_DATA ? selection_target(sel, c.source_ns, &c.visible_ns, err)
                              : join_ns(&c.visible_ns, db, name, err);
    if (rc == PITR_OK)
        rc = set_target(&c, name, err);
    if (rc == PITR_OK)
        rc = buf_append(&c.load.options, options->data, options->len, err);
    if (rc == PITR_OK)
        rc = buf_append(&c.load.indexes, indexes->data, indexes->len, err);
    grown = rc == PITR_OK ? realloc(s->colls, (s->ncolls + 1) * sizeof *grown) : NULL;
    if (grown == NULL) {
        state_coll_release(&c);
        return rc != PITR_OK ? rc : pitr_fail(err, PITR_NOMEM, "%zu collections", s->ncolls + 1);
    }
    s->colls = grown;
    s->colls[s->ncolls] = c;
    *out = &s->colls[s->ncolls++];
    return PITR_OK;
}

static int
by_target(const void *a, const void *b)
{
    const struct state_coll *x = a, *y = b;

    return strcmp(x->visible_ns, y->visible_ns);
}

enum pitr_rc
state_sort(struct state *s, struct pitr_err *err)
{
    if (s->ncolls > 1)
        qsort(s->colls, s->ncolls, sizeof *s->colls, by_target);
    for (size_t i = 1; i < s->ncolls; i++)
        if (by_target(&s->colls[i - 1], &s->colls[i]) == 0)
            return pitr_fail(err, PITR_USAGE, "%s and %s would both become %s; change --rename",
                             s->colls[i - 1].source_ns, s->colls[i].source_ns,
                             s->colls[i].visible_ns);
    return PITR_OK;
}

/* The base's documents, through the net, into visit. */
struct filter {
    struct net *net; /* NULL: everything stands */
    struct buf changed, scratch;
    net_visit *visit;
    void *arg;
    struct fingerprint *base; /* NULL, or sums up the base as it is read */
};

static void
filter_release(struct filter *f)
{
    buf_release(&f->changed);
    buf_release(&f->scratch);
}

static enum pitr_rc
filter_one(struct filter *f, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    enum net_verdict verdict = NET_KEEP;

    if (f->base != NULL)
        fingerprint_add(f->base, doc, len);
    if (f->net != NULL &&
        net_filter(f->net, doc, len, &verdict, &f->changed, &f->scratch, err) != PITR_OK)
        return err->rc;
    switch (verdict) {
    case NET_DROP:
        return PITR_OK;
    case NET_CHANGED:
        return f->visit(f->arg, f->changed.data, f->changed.len, err);
    default:
        return f->visit(f->arg, doc, len, err);
    }
}

static enum pitr_rc
stream_node(struct state *s, const struct state_coll *c, struct filter *f, struct pitr_err *err)
{
    PITR_AUTO(base_cursor_freep) struct base_cursor *cur = NULL;
    const uint8_t *doc;
    size_t len;

    if (base_cursor_open(&cur, s->store, c->node, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (base_cursor_next(cur, &doc, &len, err) != PITR_OK)
            return err->rc;
        if (doc == NULL)
            return PITR_OK;
        if (filter_one(f, doc, len, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
stream_dump(const struct state_coll *c, struct filter *f, struct pitr_err *err)
{
    PITR_AUTO(dump_cursor_freep) struct dump_cursor *cur = NULL;
    const uint8_t *doc;
    size_t len;

    if (dump_cursor_open(&cur, c->dumped, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (dump_cursor_next(cur, &doc, &len, err) != PITR_OK)
            return err->rc;
        if (doc == NULL)
            return PITR_OK;
        if (filter_one(f, doc, len, err) != PITR_OK)
            return err->rc;
    }
}

static enum pitr_rc
stream_literal(const struct state_coll *c, struct filter *f, struct pitr_err *err)
{
    size_t len;

    for (size_t at = 0; at < c->literal->len; at += len) {
        len = bson_len(c->literal->data + at);
        if (filter_one(f, c->literal->data + at, len, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

/* Passes on what comes after the first `left` documents. */
struct skip {
    uint64_t left;
    net_visit *visit;
    void *arg;
};

static enum pitr_rc
skip_first(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct skip *skip = arg;

    if (skip->left == 0)
        return skip->visit(skip->arg, doc, len, err);
    skip->left--;
    return PITR_OK;
}

static enum pitr_rc
stream(struct state *s, const struct state_coll *c, net_visit *visit, void *arg,
       struct fingerprint *base, struct pitr_err *err)
{
    struct skip skip = {.left = c->evicted, .visit = visit, .arg = arg};
    PITR_AUTO(filter_release)
    struct filter f = {.net = c->net, .visit = visit, .arg = arg, .base = base};

    if (c->evicted != 0) {
        f.visit = visit = skip_first;
        f.arg = arg = &skip;
    }

    if (f.net != NULL && net_is_empty(f.net))
        f.net = NULL;
    if (c->node != NULL && stream_node(s, c, &f, err) != PITR_OK)
        return pitr_wrap(err, "%s", c->source_ns);
    if (c->dumped != NULL && c->dumped->path != NULL && stream_dump(c, &f, err) != PITR_OK)
        return pitr_wrap(err, "%s", c->source_ns);
    if (c->literal != NULL && stream_literal(c, &f, err) != PITR_OK)
        return pitr_wrap(err, "%s", c->source_ns);
    if (f.net != NULL && net_rest(f.net, visit, arg, err) != PITR_OK)
        return pitr_wrap(err, "%s", c->source_ns);
    return PITR_OK;
}

enum pitr_rc
state_stream(struct state *s, const struct state_coll *c, net_visit *visit, void *arg,
             struct pitr_err *err)
{
    return stream(s, c, visit, arg, NULL, err);
}

/* The work of state_each(), shared by its threads under `lock`. */
struct crew {
    pthread_mutex_t lock;
    struct state_coll **todo; /* largest first */
    size_t n, next;
    state_work *work;
    void *arg;
    struct pitr_err first; /* rc != PITR_OK: the first failure, all stop */
};

static void *
crew_run(void *arg)
{
    struct crew *crew = arg;
    struct pitr_err err = {0};

    for (;;) {
        struct state_coll *c = NULL;

        pthread_mutex_lock(&crew->lock);
        if (crew->first.rc == PITR_OK && crew->next < crew->n)
            c = crew->todo[crew->next++];
        pthread_mutex_unlock(&crew->lock);
        if (c == NULL)
            return NULL;
        if (crew->work(crew->arg, c, &err) == PITR_OK)
            continue;
        pthread_mutex_lock(&crew->lock);
        if (crew->first.rc == PITR_OK)
            crew->first = err;
        pthread_mutex_unlock(&crew->lock);
        return NULL;
    }
}

static uint64_t
size_hint(const struct state_coll *c)
{
    if (c->node != NULL)
        return c->node->print.bytes;
    return c->dumped != NULL ? c->dumped->file_bytes : 0;
}

static int
by_size(const void *a, const void *b)
{
    uint64_t x = size_hint(*(struct state_coll *const *)a);
    uint64_t y = size_hint(*(struct state_coll *const *)b);

    return x < y ? 1 : x > y ? -1 : 0;
}

enum { STATE_MAX_THREADS = 16 };

enum pitr_rc
state_each(struct state *s, unsigned threads, state_work *work, void *arg, struct pitr_err *err)
{
    struct crew crew = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .n = s->ncolls, .work = work, .arg = arg};
    pthread_t ids[STATE_MAX_THREADS];
    unsigned started = 0;

    if (threads > STATE_MAX_THREADS)
        threads = STATE_MAX_THREADS;
    crew.todo = malloc((s->ncolls + 1) * sizeof(struct state_coll *));
    if (crew.todo == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu collections", s->ncolls);
    for (size_t i = 0; i < s->ncolls; i++)
        crew.todo[i] = &s->colls[i];
    if (crew.n > 1)
        qsort(crew.todo, crew.n, sizeof(struct state_coll *), by_size);
    while (started + 1 < threads && started + 1 < crew.n &&
           pthread_create(&ids[started], NULL, crew_run, &crew) == 0)
        started++;
    crew_run(&crew);
    while (started > 0)
        pthread_join(ids[--started], NULL);
    free(crew.todo);
    pthread_mutex_destroy(&crew.lock);
    if (crew.first.rc != PITR_OK)
        *err = crew.first;
    else
        err->rc = PITR_OK;
    return err->rc;
}

struct proof {
    struct state *state;
    struct job *job;
};

struct sum {
    struct fingerprint print;
    struct job *job;
    uint64_t reported_docs, reported_bytes;
};

/* Progress and the wish to stop are looked at this often; a power of two. */
enum { SUM_STRIDE = 1024 };

static enum pitr_rc
sum_document(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct sum *sum = arg;

    fingerprint_add(&sum->print, doc, len);
    if ((sum->print.documents & (SUM_STRIDE - 1)) != 0)
        return PITR_OK;
    job_advance(sum->job, sum->print.documents - sum->reported_docs,
                sum->print.bytes - sum->reported_bytes);
    sum->reported_docs = sum->print.documents;
    sum->reported_bytes = sum->print.bytes;
    return job_check(sum->job, err);
}

static enum pitr_rc
prove_one(void *arg, struct state_coll *c, struct pitr_err *err)
{
    struct proof *proof = arg;
    struct sum sum = {.job = proof->job};
    struct fingerprint base = {0};

    if (stream(proof->state, c, sum_document, &sum, &base, err) != PITR_OK)
        return err->rc;
    if (c->node != NULL && !fingerprint_equal(&base, &c->node->print))
        return pitr_fail(err, PITR_CORRUPT,
                         "%s: the stored documents are not those the snapshot recorded",
                         c->source_ns);
    c->print = sum.print;
    c->load.documents = sum.print.documents;
    c->load.bytes = sum.print.bytes;
    job_advance(proof->job, sum.print.documents - sum.reported_docs,
                sum.print.bytes - sum.reported_bytes);
    return PITR_OK;
}

enum pitr_rc
state_prove(struct state *s, unsigned threads, struct job *job, struct pitr_err *err)
{
    struct proof proof = {.state = s, .job = job};
    uint64_t documents = 0, bytes = 0;

    for (size_t i = 0; i < s->ncolls; i++) {
        if (s->colls[i].node == NULL)
            continue;
        documents += s->colls[i].node->print.documents;
        bytes += s->colls[i].node->print.bytes;
    }
    job_phase(job, "prove", documents, bytes);
    return state_each(s, threads, prove_one, &proof, err);
}

/* What a capped collection still holds while its oldest documents are evicted. */
struct eviction {
    const struct load_coll *coll;
    struct fingerprint kept;
    uint64_t documents, bytes, evicted;
};

static enum pitr_rc
evict_document(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct eviction *e = arg;

    (void)err;
    if (load_evicts(e->coll, e->documents, e->bytes)) {
        e->documents--;
        e->bytes -= len;
        e->evicted++;
    } else {
        fingerprint_add(&e->kept, doc, len);
    }
    return PITR_OK;
}

enum pitr_rc
state_trim(struct state *s, bool all, struct pitr_err *err)
{
    bool unlogged = strncmp(s->manifest.server_version, "4.", 2) == 0;

    for (size_t i = 0; (all || unlogged) && i < s->ncolls; i++) {
        struct state_coll *c = &s->colls[i];
        struct eviction e = {
            .coll = &c->load, .documents = c->print.documents, .bytes = c->print.bytes};

        if (!load_evicts(&c->load, e.documents, e.bytes))
            continue;
        if (stream(s, c, evict_document, &e, NULL, err) != PITR_OK)
            return err->rc;
        c->evicted = e.evicted;
        c->print = e.kept;
        c->load.documents = e.kept.documents;
        c->load.bytes = e.kept.bytes;
    }
    return PITR_OK;
}
