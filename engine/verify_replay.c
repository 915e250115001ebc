#include <stdio.h>
#include <string.h>

#include "engine/load_compare.h"
#include "engine/load_options.h"
#include "engine/state.h"
#include "engine/verify_internal.h"
#include "mongo/bsonedit.h"

enum { REPLAY_THREADS = 2, STATES = 2, DEFAULT_MEMORY = 256 << 20 };

/* One comparison: the replayed state and the scanned one, and what to call a difference. */
struct proof {
    struct verify *v;
    const struct manifest *from, *to;
    struct state replayed, scanned;
    const char *ns; /* of the collection in hand */
    uint64_t differences;
};

static void
finding(struct verify *v, enum finding kind, const char *what)
{
    pthread_mutex_lock(&v->lock);
    v->result->problems += kind == FINDING_PROBLEM;
    v->result->proven += kind == FINDING_PROVEN;
    v->result->unproven += kind == FINDING_UNPROVEN;
    if (v->opts->report != NULL)
        v->opts->report(v->opts->arg, kind, what);
    pthread_mutex_unlock(&v->lock);
}

static void
differ(void *arg, const char *what)
{
    struct proof *p = arg;
    char line[1200];

    p->differences++;
    snprintf(line, sizeof line, "replay from snapshot %s to snapshot %s: %s: %s", p->from->id,
             p->to->id, p->ns, what);
    finding(p->v, FINDING_PROBLEM, line);
}

static enum pitr_rc
state_of(struct proof *p, struct state *out, const struct history *h, size_t snapshot, uint64_t to,
         struct pitr_err *err)
{
    const struct verify_opts *o = p->v->opts;
    struct choice choice = {.snapshot = snapshot, .to = to};
    struct selection everything = {0};
    struct state_opts opts = {.memory = (o->memory == 0 ? DEFAULT_MEMORY : o->memory) / STATES};

    if (state_load(out, o->repo, h, &choice, &everything, &opts, o->job, err) != PITR_OK)
        return err->rc;
    return state_prove(out, REPLAY_THREADS, o->job, err);
}

/* The comparison of catalogs leaves TTL aside, because a restore adds it last. */
static enum pitr_rc
compare_expiry(struct proof *p, const char *what, const struct buf *expected,
               const struct buf *actual, struct pitr_err *err)
{
    static const char name[] = "expireAfterSeconds";
    struct belem a, b;
    bool has_a, has_b;
    int64_t x = 0, y = 0;
    char line[400];

    if (options_find(expected, name, &has_a, &a, err) != PITR_OK ||
        options_find(actual, name, &has_b, &b, err) != PITR_OK)
        return err->rc;
    if (has_a == has_b && (!has_a || (belem_int64(&a, &x) && belem_int64(&b, &y) && x == y)))
        return PITR_OK;
    snprintf(line, sizeof line, "%s: %s differs", what, name);
    differ(p, line);
    return PITR_OK;
}

static enum pitr_rc
compare_ttl_indexes(struct proof *p, const struct load_coll *expected,
                    const struct load_coll *actual, struct pitr_err *err)
{
    struct biter it;
    struct belem spec, name, other;
    const char *text;
    size_t len;
    bool found;

    if (expected->indexes.len == 0)
        return PITR_OK;
    if (biter_init(&it, expected->indexes.data, expected->indexes.len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &spec, err) != PITR_OK)
            return err->rc;
        if (spec.type == BSON_EOD)
            return PITR_OK;
        if (bson_find(spec.value, spec.value_len, "name", &found, &name, err) != PITR_OK)
            return err->rc;
        if (!found || !belem_string(&name, &text, &len))
            return pitr_fail(err, PITR_CORRUPT, "%s: an index spec has no name", p->ns);
        if (bindex_find(&actual->indexes, text, len, &found, &other, err) != PITR_OK)
            return err->rc;
        /* Views of the two documents, never grown or released. */
        struct buf want = {(uint8_t *)(uintptr_t)spec.value, spec.value_len, 0};
        struct buf have = {(uint8_t *)(uintptr_t)other.value, other.value_len, 0};

        if (found && compare_expiry(p, text, &want, &have, err) != PITR_OK)
            return err->rc;
    }
}

/* 4.4 logs no evictions, and evicts at its own pace: what a capped collection holds is not told by
 * the oplog. */
static bool
is_untold(const struct proof *p, const struct load_coll *c)
{
    return load_is_capped(c) && strncmp(p->to->server_version, "4.", 2) == 0;
}

static enum pitr_rc
compare_coll(struct proof *p, const struct state_coll *a, const struct state_coll *b,
             struct pitr_err *err)
{
    struct difference_sink sink = {.tell = differ, .arg = p};
    char x[FINGERPRINT_TEXT_LEN], y[FINGERPRINT_TEXT_LEN], line[300];

    if (load_compare_options(&a->load, &b->load.options, &sink, err) != PITR_OK ||
        load_compare_indexes(&a->load, &b->load.indexes, &sink, err) != PITR_OK ||
        compare_expiry(p, "options", &a->load.options, &b->load.options, err) != PITR_OK ||
        compare_ttl_indexes(p, &a->load, &b->load, err) != PITR_OK)
        return err->rc;
    if (fingerprint_equal(&a->print, &b->print) || is_untold(p, &a->load))
        return PITR_OK;
    fingerprint_format(x, &a->print);
    fingerprint_format(y, &b->print);
    snprintf(line, sizeof line,
             "replay gives %llu documents with fingerprint %s, the scan found %llu with %s",
             (unsigned long long)a->print.documents, x, (unsigned long long)b->print.documents, y);
    differ(p, line);
    return PITR_OK;
}

/* Both lists are sorted by name. */
static enum pitr_rc
compare_states(struct proof *p, struct pitr_err *err)
{
    const struct state *a = &p->replayed, *b = &p->scanned;
    size_t i = 0, k = 0;

    while (i < a->ncolls || k < b->ncolls) {
        int order = i == a->ncolls   ? 1
                    : k == b->ncolls ? -1
                                     : strcmp(a->colls[i].visible_ns, b->colls[k].visible_ns);

        p->ns = order <= 0 ? a->colls[i].visible_ns : b->colls[k].visible_ns;
        if (order < 0)
            differ(p, "replay gives it, but it did not exist in the scan");
        else if (order > 0)
            differ(p, "it existed in the scan, but replay does not give it");
        else if (compare_coll(p, &a->colls[i], &b->colls[k], err) != PITR_OK)
            return err->rc;
        i += order <= 0;
        k += order >= 0;
    }
    return PITR_OK;
}

static bool
same_exclusions(const struct manifest *a, const struct manifest *b)
{
    if (a->nexclude != b->nexclude)
        return false;
    for (size_t i = 0; i < a->nexclude; i++)
        if (strcmp(a->exclude[i], b->exclude[i]) != 0)
            return false;
    return true;
}

static enum pitr_rc
prove(struct proof *p, const struct history *h, size_t from, size_t to, struct pitr_err *err)
{
    const struct manifest *a = p->from, *b = p->to;

    if (!same_exclusions(a, b))
        return pitr_fail(err, PITR_GAP, "they leave out different namespaces");
    if (chain_covering(&h->chain, a->timeline, a->begin.ts, b->t_end.ts) == NULL)
        return pitr_fail(err, PITR_GAP, "the oplog between them is not complete");
    if (state_of(p, &p->replayed, h, from, b->t_end.ts, err) != PITR_OK ||
        state_of(p, &p->scanned, h, to, b->t_end.ts, err) != PITR_OK)
        return err->rc;
    return compare_states(p, err);
}

static enum pitr_rc
prove_pair(struct verify *v, const struct history *h, size_t from, size_t to, struct pitr_err *err)
{
    struct proof p = {.v = v, .from = &h->snapshots[from], .to = &h->snapshots[to]};
    enum pitr_rc rc = prove(&p, h, from, to, err);
    char line[1400];

    snprintf(line, sizeof line, "replay from snapshot %s to snapshot %s", p.from->id, p.to->id);
    if (rc == PITR_OK && p.differences == 0)
        finding(v, FINDING_PROVEN, line);
    if (rc == PITR_GAP) {
        pitr_wrap(err, "%s", line);
        finding(v, FINDING_UNPROVEN, err->msg);
        rc = PITR_OK;
    } else if (rc != PITR_OK) {
        rc = verify_problem(v, line, err);
    }
    state_release(&p.replayed);
    state_release(&p.scanned);
    return rc;
}

/* What can be the start or the end of a proof. */
static bool
is_scan(const struct history *h, size_t i)
{
    const struct manifest *m = &h->snapshots[i];

    return m->pitr && strcmp(m->mode, "scan") == 0 && history_is_good(h, m);
}

static enum pitr_rc
prove_all(struct verify *v, const struct history *h, struct pitr_err *err)
{
    for (size_t to = 1; to < h->nsnapshots; to++) {
        size_t from = to;

        if (!is_scan(h, to))
            continue;
        while (from > 0 && (!is_scan(h, from - 1) ||
                            h->snapshots[from - 1].timeline != h->snapshots[to].timeline))
            from--;
        if (from > 0 && prove_pair(v, h, from - 1, to, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

enum pitr_rc
verify_replay(struct verify *v, struct pitr_err *err)
{
    struct history h = {0};
    enum pitr_rc rc = history_load(&h, v->opts->repo, err);

    if (rc == PITR_OK)
        rc = prove_all(v, &h, err);
    history_release(&h);
    return rc;
}
