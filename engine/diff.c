#include "engine/diff.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/diff_internal.h"
#include "mongo/ns.h"

/* The two states and the temporary tables share the memory evenly. */
enum { DIFF_MEMORY = 256 << 20, DIFF_SHARES = 3 };

static void
diff_release(struct diff *d)
{
    state_release(&d->from);
    state_release(&d->to);
    spill_free(d->spill);
}

enum pitr_rc
diff_tell(struct diff *d, const struct diff_item *item, struct pitr_err *err)
{
    if (d->o->limit != 0 && d->result->differences == d->o->limit) {
        d->is_over = d->result->is_cut = true;
        return pitr_fail(err, PITR_ABORTED, "the limit of %" PRIu64 " differences is reached",
                         d->o->limit);
    }
    d->result->differences++;
    return d->o->sink.item(d->o->sink.arg, item, err);
}

/* FROM after TO is a mistake of the user, not a diff backwards. Snapshots without an oplog have no
 * timestamps, but an order. */
static enum pitr_rc
check_order(const struct history *h, const struct choice *from, const struct choice *to,
            struct pitr_err *err)
{
    bool is_timed = h->snapshots[from->snapshot].pitr && h->snapshots[to->snapshot].pitr;

    if (is_timed ? from->to <= to->to : from->snapshot <= to->snapshot)
        return PITR_OK;
    return pitr_fail(err, PITR_USAGE,
                     "FROM is after TO; name the earlier moment first: pitr diff TO FROM");
}

/* Make one state; a snapshot that turns out to be damaged gives way to an older one. */
static enum pitr_rc
load_state(struct diff *d, const struct history *h, struct choice *choice, struct state *out,
           struct pitr_err *err)
{
    const struct selection everything = {0};
    const struct state_opts opts = {
        .memory = (d->o->memory == 0 ? (uint64_t)DIFF_MEMORY : d->o->memory) / DIFF_SHARES};

    while (state_load(out, d->o->repo, h, choice, &everything, &opts, d->o->job, err) != PITR_OK) {
        const char *bad = h->snapshots[choice->snapshot].id;

        if (err->rc != PITR_CORRUPT || !history_choose_older(h, choice))
            return err->rc;
        log_event(d->o->job->log, LOG_WARNING, "diff",
                  "not used: snapshot %s: %s; going on with the older snapshot %s", bad, err->msg,
                  h->snapshots[choice->snapshot].id);
        state_release(out);
    }
    return PITR_OK;
}

/* The later state over the base of the earlier one, if the oplog leads there without a break and
 * without anything that replay cannot follow; otherwise over its own. */
static enum pitr_rc
load_later(struct diff *d, const struct history *h, const struct choice *from, struct choice own,
           struct pitr_err *err)
{
    const struct manifest *base = &h->snapshots[from->snapshot];
    struct choice shared = {.snapshot = from->snapshot, .to = own.to};

    if (own.snapshot != from->snapshot && base->pitr &&
        base->timeline == h->snapshots[own.snapshot].timeline &&
        chain_covering(&h->chain, base->timeline, base->begin.ts, own.to) != NULL) {
        if (load_state(d, h, &shared, &d->to, err) == PITR_OK)
            return PITR_OK;
        if (err->rc != PITR_GAP && err->rc != PITR_CORRUPT)
            return err->rc;
        state_release(&d->to);
    }
    return load_state(d, h, &own, &d->to, err);
}

static enum pitr_rc
load_both(struct diff *d, struct pitr_err *err)
{
    PITR_AUTO(history_release) struct history h = {0};
    struct choice from, to;

    if (history_load(&h, d->o->repo, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < h.damaged.len; i++)
        log_event(d->o->job->log, LOG_WARNING, "diff", "not used: %s", h.damaged.at[i]);
    if (history_choose(&h, &d->o->from, &from, err) != PITR_OK)
        return pitr_wrap(err, "FROM");
    if (history_choose(&h, &d->o->to, &to, err) != PITR_OK)
        return pitr_wrap(err, "TO");
    if (check_order(&h, &from, &to, err) != PITR_OK ||
        load_state(d, &h, &from, &d->from, err) != PITR_OK ||
        load_later(d, &h, &from, to, err) != PITR_OK)
        return err->rc;
    memcpy(d->result->from.snapshot, d->from.manifest.id, sizeof d->result->from.snapshot);
    memcpy(d->result->to.snapshot, d->to.manifest.id, sizeof d->result->to.snapshot);
    d->result->from.to = d->from.to;
    d->result->to.to = d->to.to;
    return PITR_OK;
}

static const char *
pair_ns(const struct diff_pair *p)
{
    return p->to != NULL ? p->to->source_ns : p->from->source_ns;
}

static int
by_ns(const void *a, const void *b)
{
    const struct diff_pair *x = a, *y = b;
    int order = strcmp(pair_ns(x), pair_ns(y));

    /* What is gone comes before what has its name now. */
    return order != 0 ? order : (x->to != NULL) - (y->to != NULL);
}

static bool
is_namesake(const struct state_coll *a, const struct state_coll *b)
{
    return a->kind == b->kind && strcmp(a->source_ns, b->source_ns) == 0 &&
           load_is_buckets(&a->load) == load_is_buckets(&b->load);
}

/* Give every collection of the earlier moment that has no partner yet the one that `is_match`. */
static void
match(struct diff_pair *pairs, size_t nfrom, struct state *to, bool *taken,
      bool (*is_match)(const struct state_coll *a, const struct state_coll *b))
{
    for (size_t i = 0; i < nfrom; i++)
        for (size_t k = 0; pairs[i].to == NULL && k < to->ncolls; k++)
            if (!taken[k] && is_match(pairs[i].from, &to->colls[k])) {
                pairs[i].to = &to->colls[k];
                taken[k] = true;
            }
}

/* Pairs of all collections, by name; *out is the caller's to free. */
static enum pitr_rc
make_pairs(struct diff *d, struct diff_pair **out, size_t *n, struct pitr_err *err)
{
    size_t all = d->from.ncolls + d->to.ncolls + 1;
    struct diff_pair *pairs = calloc(all, sizeof *pairs);
    bool *taken = calloc(all, sizeof *taken);

    if (pairs == NULL || taken == NULL) {
        free(pairs);
        free(taken);
        return pitr_fail(err, PITR_NOMEM, "%zu collections", all);
    }
    for (*n = 0; *n < d->from.ncolls; ++*n)
        pairs[*n].from = &d->from.colls[*n];
    match(pairs, *n, &d->to, taken, diff_is_same_coll);
    match(pairs, *n, &d->to, taken, is_namesake);
    for (size_t k = 0; k < d->to.ncolls; k++)
        if (!taken[k])
            pairs[(*n)++].to = &d->to.colls[k];
    free(taken);
    qsort(pairs, *n, sizeof *pairs, by_ns);
    *out = pairs;
    return PITR_OK;
}

/* What is told of the documents of one collection. */
struct documents {
    struct diff *diff;
    const struct state_coll *coll; /* the later, if it is there */
    struct diff_counts counts;
};

static enum pitr_rc
tell_document(void *arg, const uint8_t *before, size_t before_len, const uint8_t *after,
              size_t after_len, struct pitr_err *err)
{
    struct documents *t = arg;
    struct diff_item item = {
        .ns = t->coll->source_ns,
        .is_buckets = load_is_buckets(&t->coll->load),
        .kind = before == NULL  ? DIFF_DOC_ADDED
                : after == NULL ? DIFF_DOC_REMOVED
                                : DIFF_DOC_CHANGED,
        .id_doc = after != NULL ? after : before,
        .id_doc_len = after != NULL ? after_len : before_len,
    };

    if (t->coll->kind != STATE_USERS) {
        item.before = before;
        item.before_len = before_len;
        item.after = after;
        item.after_len = after_len;
    }
    if (diff_tell(t->diff, &item, err) != PITR_OK)
        return err->rc;
    t->counts.added += before == NULL;
    t->counts.removed += after == NULL;
    t->counts.changed += before != NULL && after != NULL;
    return PITR_OK;
}

static enum pitr_rc
diff_pair_documents(struct diff *d, const struct diff_pair *p, struct pitr_err *err)
{
    struct documents t = {.diff = d, .coll = p->to != NULL ? p->to : p->from};
    struct diff_counts *sum = &d->result->documents;
    enum pitr_rc rc = diff_documents(d, p, tell_document, &t, err);

    sum->added += t.counts.added;
    sum->removed += t.counts.removed;
    sum->changed += t.counts.changed;
    if ((rc != PITR_OK && !d->is_over) || t.counts.added + t.counts.removed + t.counts.changed == 0)
        return rc;
    if (d->o->sink.end(d->o->sink.arg, t.coll->source_ns, &t.counts, err) != PITR_OK) {
        d->is_over = false;
        return err->rc;
    }
    return rc == PITR_OK ? rc : (err->rc = rc);
}

static enum pitr_rc
count_document(void *arg, const uint8_t *before, size_t before_len, const uint8_t *after,
               size_t after_len, struct pitr_err *err)
{
    (void)before;
    (void)before_len;
    (void)after;
    (void)after_len;
    (void)err;
    ++*(uint64_t *)arg;
    return PITR_OK;
}

/* Its documents are wanted one by one only by somebody who names it. */
static bool
is_named(const struct selection *sel, const char *ns)
{
    for (size_t i = 0; i < sel->nns; i++)
        if (strcmp(sel->ns[i], ns) == 0)
            return true;
    return false;
}

static enum pitr_rc
diff_lone(struct diff *d, const struct diff_pair *p, struct pitr_err *err)
{
    const struct state_coll *c = p->to != NULL ? p->to : p->from;
    struct diff_item item = {.kind = p->to != NULL ? DIFF_COLL_ADDED : DIFF_COLL_REMOVED,
                             .ns = c->source_ns,
                             .is_buckets = load_is_buckets(&c->load)};

    if (diff_documents(d, p, count_document, &item.documents, err) != PITR_OK ||
        diff_tell(d, &item, err) != PITR_OK)
        return err->rc;
    return is_named(&d->o->selection, c->source_ns) ? diff_pair_documents(d, p, err) : PITR_OK;
}

static enum pitr_rc
diff_both(struct diff *d, const struct diff_pair *p, struct pitr_err *err)
{
    struct diff_item item = {.ns = p->to->source_ns, .is_buckets = load_is_buckets(&p->to->load)};

    if (strcmp(p->from->source_ns, p->to->source_ns) != 0) {
        item.kind = DIFF_COLL_RENAMED;
        item.was = p->from->source_ns;
        if (diff_tell(d, &item, err) != PITR_OK)
            return err->rc;
    } else if (!diff_is_same_coll(p->from, p->to)) {
        item.kind = DIFF_COLL_REPLACED;
        if (diff_tell(d, &item, err) != PITR_OK)
            return err->rc;
    }
    if (diff_catalog(d, p, err) != PITR_OK)
        return err->rc;
    return diff_pair_documents(d, p, err);
}

static bool
is_selected(const struct diff *d, const struct diff_pair *p)
{
    return (p->to != NULL && selection_takes(&d->o->selection, p->to->source_ns)) ||
           (p->from != NULL && selection_takes(&d->o->selection, p->from->source_ns));
}

/* One of the two bases was taken without it: whether it was there is not known. */
static bool
is_unknown(const struct diff *d, const struct diff_pair *p)
{
    const struct state_coll *c = p->to != NULL ? p->to : p->from;
    const struct manifest *m = p->to != NULL ? &d->from.manifest : &d->to.manifest;

    return (p->to == NULL || p->from == NULL) &&
           ns_is_excluded(m->exclude, m->nexclude, c->load.db, c->load.name);
}

static enum pitr_rc
diff_one(struct diff *d, const struct diff_pair *p, struct pitr_err *err)
{
    const struct state_coll *c = p->to != NULL ? p->to : p->from;

    if (job_check(d->o->job, err) != PITR_OK)
        return err->rc;
    if (c->kind == STATE_VIEWS)
        return diff_views(d, p, err);
    if (!is_selected(d, p))
        return PITR_OK;
    d->has_match = true;
    if (is_unknown(d, p)) {
        log_event(d->o->job->log, LOG_WARNING, "diff",
                  "%s: left out of the backup at one of the moments; not compared", c->source_ns);
        return PITR_OK;
    }
    d->result->collections++;
    return p->from != NULL && p->to != NULL ? diff_both(d, p, err) : diff_lone(d, p, err);
}

static enum pitr_rc
diff_all(struct diff *d, struct pitr_err *err)
{
    struct diff_pair *pairs = NULL;
    enum pitr_rc rc = PITR_OK;
    size_t n = 0;

    if (make_pairs(d, &pairs, &n, err) != PITR_OK)
        return err->rc;
    job_phase(d->o->job, "compare", 0, 0);
    for (size_t i = 0; i < n && rc == PITR_OK; i++)
        rc = diff_one(d, &pairs[i], err);
    free(pairs);
    if (rc == PITR_OK || d->is_over)
        return PITR_OK;
    return rc;
}

/* A pattern that selects nothing is a typing mistake, or names what the backup does not have. */
static enum pitr_rc
refuse_nothing(const struct diff *d, struct pitr_err *err)
{
    const struct selection *sel = &d->o->selection;
    const struct manifest *m = &d->to.manifest;

    for (size_t i = 0; i < sel->nns; i++)
        for (size_t k = 0; k < m->nexclude; k++)
            if (pattern_match(m->exclude[k], sel->ns[i]))
                return pitr_fail(err, PITR_USAGE, "%s is left out of the backup", sel->ns[i]);
    return pitr_fail(err, PITR_USAGE,
                     "no namespace matches at either moment; 'pitr show' lists what a snapshot "
                     "holds");
}

enum pitr_rc
diff_run(const struct diff_opts *o, struct diff_result *result, struct pitr_err *err)
{
    PITR_AUTO(diff_release) struct diff d = {.o = o, .result = result};
    int64_t started = clock_mono_ms();

    if (load_both(&d, err) != PITR_OK ||
        spill_new(&d.spill, (o->memory == 0 ? (uint64_t)DIFF_MEMORY : o->memory) / DIFF_SHARES,
                  err) != PITR_OK ||
        diff_all(&d, err) != PITR_OK)
        return err->rc;
    if (!d.has_match && !selection_is_whole(&o->selection))
        return refuse_nothing(&d, err);
    result->seconds = (double)(clock_mono_ms() - started) / 1000.0;
    return PITR_OK;
}
