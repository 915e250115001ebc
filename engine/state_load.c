#include <stdlib.h>
#include <string.h>

#include "engine/dumpdir.h"
#include "engine/load_options.h"
#include "engine/state_internal.h"
#include "mongo/ns.h"

/* 5.0 binaries order the new fields of `$v: 1` updates differently from 4.4. */
static enum update_field_order
field_order(const struct manifest *m)
{
    return strncmp(m->server_version, "4.", 2) == 0 ? FIELD_ORDER_BYTES : FIELD_ORDER_NUMERIC;
}

static bool
mod_drops_preimages(const struct manifest *m)
{
    return strtol(m->server_version, NULL, 10) >= 6;
}

static enum pitr_rc
replay_base(struct replay *r, const struct manifest *m, struct pitr_err *err)
{
    static const struct buf nothing;

    for (size_t i = 0; i < m->ncolls; i++) {
        const struct coll_node *c = &m->colls[i];

        if (replay_add_base(r, c->db, c->name, c->uuid, &c->options, &c->indexes, i, false, err) !=
            PITR_OK)
            return err->rc;
    }
    for (size_t i = 0; i < m->nexcluded; i++) {
        const struct excluded_coll *x = &m->excluded[i];
        PITR_AUTO(str_freep) char *db = strdup(x->ns);
        char *dot = db == NULL ? NULL : strchr(db, '.');

        if (db == NULL)
            return pitr_fail(err, PITR_NOMEM, "namespace %s", x->ns);
        if (dot == NULL)
            return pitr_fail(err, PITR_CORRUPT, "snapshot %s: excluded namespace \"%s\"", m->id,
                             x->ns);
        *dot = '\0';
        if (replay_add_base(r, db, dot + 1, x->uuid, &nothing, &nothing, REPLAY_NO_BASE, true,
                            err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

enum { STATE_MEMORY = 256 << 20 };

struct walk {
    struct replay *replay;
    struct job *job;
    uint64_t to, entries;
};

static enum pitr_rc
walk_entry(void *arg, const struct oplog_entry *e, bool *stop, struct pitr_err *err)
{
    struct walk *w = arg;

    if (e->ts > w->to && replay_pending(w->replay) == 0) {
        *stop = true;
        return PITR_OK;
    }
    w->entries++;
    if ((w->entries & 1023) == 0) {
        job_advance(w->job, 1024, 0);
        if (job_check(w->job, err) != PITR_OK)
            return err->rc;
    }
    return replay_entry(w->replay, e, err);
}

static uint64_t
count_segments(const struct chain *chain, const struct chain_span *span, uint64_t from, uint64_t to)
{
    uint64_t n = 0;

    for (size_t i = span->seg; i < span->seg + span->segs; i++)
        n += chain->segments[i].last.ts >= from && chain->segments[i].first.ts <= to;
    return n;
}

/* Everything the chain says up to the moment. Past it the outcome of transactions that are prepared
 * then is looked for; what else stands there, known or not, is nobody's business. */
static enum pitr_rc
walk_chain(struct walk *walk, struct repo *repo, const struct chain *chain,
           const struct manifest *m, uint64_t last, struct pitr_err *err)
{
    const uint64_t to = walk->to;

    if (chain_walk(chain, repo_blob(repo), repo_keys(repo), m->timeline, m->begin.ts, to,
                   walk_entry, walk, err) != PITR_OK)
        return err->rc;
    if (to >= last || replay_pending(walk->replay) == 0)
        return PITR_OK;
    return chain_walk(chain, repo_blob(repo), repo_keys(repo), m->timeline, to + 1, last,
                      walk_entry, walk, err);
}

/* Net the chain over the base's catalog. */
static enum pitr_rc
net_chain(struct state *s, struct repo *repo, const struct chain *chain, const struct state_opts *o,
          struct job *job, struct pitr_err *err)
{
    const struct manifest *m = &s->manifest;
    const struct chain_span *span = chain_covering(chain, m->timeline, m->begin.ts, s->to);
    struct replay_opts opts = {
        .t_start = m->t_start.ts,
        .t_end = m->t_end.ts,
        .to = s->to,
        .order = field_order(m),
        .mod_drops_preimages = mod_drops_preimages(m),
        .exclude = m->exclude,
        .nexclude = m->nexclude,
        .only = o->only,
    };
    struct walk walk = {.job = job, .to = s->to};

    if (span == NULL)
        return pitr_fail(
            err, PITR_GAP,
            "the captured oplog does not reach from snapshot %s to %u,%u without a gap", m->id,
            ts_secs(s->to), ts_inc(s->to));
    job_phase(job, "replay", 0, 0);
    if (spill_new(&s->spill, o->memory == 0 ? STATE_MEMORY : o->memory, err) != PITR_OK)
        return err->rc;
    opts.spill = s->spill;
    if (replay_new(&s->replay, &opts, err) != PITR_OK || replay_base(s->replay, m, err) != PITR_OK)
        return err->rc;
    walk.replay = s->replay;
    if (walk_chain(&walk, repo, chain, m, span->last, err) != PITR_OK ||
        replay_finish(s->replay, err) != PITR_OK)
        return err->rc;
    s->segments = count_segments(chain, span, m->begin.ts, s->to);
    s->operations = replay_operations(s->replay);
    s->prepared_left_out = replay_pending(s->replay);
    s->to = replay_last(s->replay);
    return PITR_OK;
}

/* Whoever does not ask for such a collection is not bothered with it. */
static enum pitr_rc
refuse_unseen(const struct replay_coll *c, const char *source_ns, struct pitr_err *err)
{
    char when[TS_TEXT_LEN];

    ts_format(when, c->unseen_ts);
    return pitr_fail(err, PITR_GAP,
                     "%s was called %s, which the snapshot leaves out, until it was renamed at %s, "
                     "so its documents were never captured; restore a time before that, leave it "
                     "out with --exclude-ns, or take a new snapshot",
                     source_ns, c->unseen_as, when);
}

static enum pitr_rc
select_replayed(struct state *s, const struct selection *sel, struct pitr_err *err)
{
    for (size_t i = 0; i < replay_count(s->replay); i++) {
        struct replay_coll *rc = replay_at(s->replay, i);
        struct state_coll *c;

        if (rc->dropped || rc->excluded)
            continue;
        if (state_add(s, sel, rc->db, rc->name, &rc->options, &rc->indexes, &c, err) != PITR_OK)
            return err->rc;
        if (c == NULL)
            continue;
        if (rc->unseen)
            return refuse_unseen(rc, c->source_ns, err);
        c->net = rc->net;
        c->uuid = rc->uuid;
        if (rc->base != REPLAY_NO_BASE)
            c->node = &s->manifest.colls[rc->base];
    }
    return PITR_OK;
}

static enum pitr_rc
select_manifest(struct state *s, const struct selection *sel, struct pitr_err *err)
{
    for (size_t i = 0; i < s->manifest.ncolls; i++) {
        const struct coll_node *node = &s->manifest.colls[i];
        struct state_coll *c;

        if (state_add(s, sel, node->db, node->name, &node->options, &node->indexes, &c, err) !=
            PITR_OK)
            return err->rc;
        if (c == NULL)
            continue;
        c->node = node;
        c->uuid = node->uuid;
    }
    return PITR_OK;
}

/* Names of time-series collections, "db.name", out of a system.views. */
static enum pitr_rc
note_series(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *name = NULL;
    struct belem id, on;
    const char *text;
    size_t text_len;
    bool found, has_on;

    if (bson_find(doc, len, "_id", &found, &id, err) != PITR_OK ||
        bson_find(doc, len, "viewOn", &has_on, &on, err) != PITR_OK)
        return err->rc;
    if (!found || !has_on || !belem_string(&on, &text, &text_len) || !ns_is_buckets(text) ||
        !belem_string(&id, &text, &text_len))
        return PITR_OK;
    name = strndup(text, text_len);
    if (name == NULL)
        return pitr_fail(err, PITR_NOMEM, "view");
    return fs_names_add(arg, name, err);
}

static enum pitr_rc
count_document(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    (void)doc;
    (void)len;
    (void)err;
    ++*(uint64_t *)arg;
    return PITR_OK;
}

static bool
is_among(const struct fs_names *names, const char *name)
{
    for (size_t i = 0; i < names->len; i++)
        if (strcmp(names->at[i], name) == 0)
            return true;
    return false;
}

/*
 * Creating a time-series collection under a name that an ordinary one gets at the same time fails,
 * and leaves empty buckets that nothing shows. They are left out: with them in place, a server
 * takes inserts into the ordinary collection for measurements.
 */
static enum pitr_rc
leave_out_leftovers(struct state *s, struct job *job, struct pitr_err *err)
{
    PITR_AUTO(fs_names_release) struct fs_names series = {0};
    size_t keep = 0;

    for (size_t i = 0; i < s->ncolls; i++)
        if (s->colls[i].kind == STATE_VIEWS &&
            state_stream(s, &s->colls[i], note_series, &series, err) != PITR_OK)
            return err->rc;
    for (size_t i = 0; i < s->ncolls; i++) {
        struct state_coll c = s->colls[i];
        uint64_t documents = 1;

        if (load_is_buckets(&c.load) && !is_among(&series, c.source_ns)) {
            documents = 0;
            if (state_stream(s, &c, count_document, &documents, err) != PITR_OK)
                return err->rc;
        }
        if (documents != 0) {
            s->colls[i] = s->colls[keep];
            s->colls[keep++] = c;
        } else {
            log_event(
                job->log, LOG_INFO, "restore",
                "the empty buckets of %s belong to no time-series collection and are left out",
                c.source_ns);
        }
    }
    while (s->ncolls > keep)
        state_coll_release(&s->colls[--s->ncolls]);
    return PITR_OK;
}

enum pitr_rc
state_load(struct state *out, struct repo *repo, const struct history *h,
           const struct choice *choice, const struct selection *sel, const struct state_opts *opts,
           struct job *job, struct pitr_err *err)
{
    struct state *s = out;

    s->to = choice->to;
    if (manifest_read(repo, h->snapshots[choice->snapshot].id, &s->manifest, err) != PITR_OK ||
        repo_store(repo, &s->store, err) != PITR_OK)
        return err->rc;
    if (s->manifest.pitr) {
        if (net_chain(s, repo, &h->chain, opts, job, err) != PITR_OK ||
            select_replayed(s, sel, err) != PITR_OK)
            return err->rc;
    } else if (select_manifest(s, sel, err) != PITR_OK) {
        return err->rc;
    }
    if (leave_out_leftovers(s, job, err) != PITR_OK)
        return err->rc;
    return state_sort(s, err);
}

/* A collection of a dump whose documents are in memory: views, users, roles. */
static enum pitr_rc
add_literal(struct state *s, const struct selection *sel, const char *db, const char *name,
            const struct buf *docs, struct pitr_err *err)
{
    static const struct buf nothing;
    struct state_coll *c;

    if (state_add(s, sel, db, name, &nothing, &nothing, &c, err) != PITR_OK)
        return err->rc;
    if (c != NULL)
        c->literal = docs;
    return PITR_OK;
}

enum pitr_rc
state_load_dump(struct state *out, const char *dir, const struct selection *sel,
                struct pitr_err *err)
{
    struct state *s = out;

    if (dumpdir_open(&s->dump, dir, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < dumpdir_len(s->dump); i++) {
        const struct dump_coll *d = dumpdir_at(s->dump, i);
        struct state_coll *c;

        if (state_add(s, sel, d->coll.db, d->coll.name, &d->coll.options, &d->coll.indexes, &c,
                      err) != PITR_OK)
            return err->rc;
        if (c == NULL)
            continue;
        c->uuid = d->has_uuid ? d->uuid : NULL;
        c->dumped = d;
    }
    for (size_t i = 0; i < dumpdir_views_len(s->dump); i++) {
        const struct dump_views *v = dumpdir_views_at(s->dump, i);

        if (add_literal(s, sel, v->db, "system.views", &v->docs, err) != PITR_OK)
            return err->rc;
    }
    if (dumpdir_users(s->dump, &s->dump_users, &s->dump_roles, err) != PITR_OK ||
        add_literal(s, sel, "admin", "system.users", &s->dump_users, err) != PITR_OK ||
        add_literal(s, sel, "admin", "system.roles", &s->dump_roles, err) != PITR_OK)
        return err->rc;
    return state_sort(s, err);
}
