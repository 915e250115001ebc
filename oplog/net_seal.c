#include <stdlib.h>
#include <string.h>

#include "oplog/net_internal.h"

/* So many runs of one level are merged into one of the next: every record is rewritten once a
 * level. */
enum { RUNS_OF_A_LEVEL = 8 };

static int
by_hash_and_key(const void *a, const void *b)
{
    const struct net_entry *x = *(struct net_entry *const *)a;
    const struct net_entry *y = *(struct net_entry *const *)b;

    return net_key_compare(x->hash, x->key, x->key_len, y->hash, y->key, y->key_len);
}

static enum pitr_rc
add_run(struct net *n, const struct net_run *run, struct pitr_err *err)
{
    if (n->nruns == n->runs_cap) {
        size_t cap = n->runs_cap == 0 ? RUNS_OF_A_LEVEL : n->runs_cap * 2;
        struct net_run *grown = realloc(n->runs, cap * sizeof *grown);

        if (grown == NULL)
            return pitr_fail(err, PITR_NOMEM, "net: %zu runs", cap);
        n->runs = grown;
        n->runs_cap = cap;
    }
    n->runs[n->nruns++] = *run;
    return PITR_OK;
}

/* The map as a run. Its slots are sorted where they are, and hold every entry still if this fails,
 * so that they can be freed. */
static enum pitr_rc
write_map(struct net *n, struct pitr_err *err)
{
    PITR_AUTO(net_run_writer_release) struct net_run_writer w;
    PITR_AUTO(buf_release) struct buf raw = {0};
    struct net_run run;
    size_t len = 0;

    for (size_t i = 0; i < n->nslots; i++) {
        struct net_entry *e = n->slots[i];

        n->slots[i] = NULL;
        if (e != NULL)
            n->slots[len++] = e;
    }
    if (len > 1)
        qsort(n->slots, len, sizeof(struct net_entry *), by_hash_and_key);
    net_run_begin(&w, n->user.spill);
    for (size_t i = 0; i < len; i++) {
        buf_clear(&raw);
        if (net_record_append_entry(&raw, n->slots[i], err) != PITR_OK ||
            net_run_put(&w, raw.data, raw.len, err) != PITR_OK)
            return err->rc;
    }
    if (net_run_end(&w, &run, err) != PITR_OK || add_run(n, &run, err) != PITR_OK)
        return err->rc;
    net_clear_map(n);
    n->npasts = STANDS;
    return PITR_OK;
}

/* The last `count` runs become one. */
static enum pitr_rc
join_last(struct net *n, size_t count, struct pitr_err *err)
{
    struct net_run *first = &n->runs[n->nruns - count];
    struct net_run joined;

    if (net_runs_join(n, first, count, &joined, err) != PITR_OK)
        return err->rc;
    *first = joined;
    n->nruns -= count - 1;
    return PITR_OK;
}

static bool
level_is_full(const struct net *n)
{
    return n->nruns >= RUNS_OF_A_LEVEL &&
           n->runs[n->nruns - RUNS_OF_A_LEVEL].level <= n->runs[n->nruns - 1].level;
}

enum pitr_rc
net_put_out(struct spill_user *u, struct pitr_err *err)
{
    struct net *n = (struct net *)u;

    if (n->used == 0)
        return PITR_OK;
    if (write_map(n, err) != PITR_OK)
        return err->rc;
    while (level_is_full(n))
        if (join_last(n, RUNS_OF_A_LEVEL, err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

static void
sealed_free(struct net_sealed *s)
{
    if (s == NULL)
        return;
    net_index_release(&s->by_key);
    net_index_release(&s->by_seq);
    free(s->named);
    free(s->must);
    free(s->seen);
    free(s);
}

void
net_clear_file(struct net *n)
{
    for (size_t i = 0; i < n->nruns; i++)
        spill_discard(n->user.spill, n->runs[i].at, n->runs[i].len);
    free(n->runs);
    n->runs = NULL;
    n->nruns = n->runs_cap = 0;
    sealed_free(n->sealed);
    n->sealed = NULL;
    if (n->sealed_held != 0)
        spill_user_release(&n->user, n->sealed_held);
    n->sealed_held = 0;
}

/* Four places in `named`, of the bits of the hash that the order of records uses least. */
enum { NAMED_PROBES = 4, NAMED_BITS_EACH = 10 };

static uint32_t
named_bit(const struct net_sealed *s, uint64_t hash, uint32_t probe)
{
    uint32_t h = (uint32_t)hash + probe * ((uint32_t)(hash >> 32) | 1);

    return (uint32_t)((uint64_t)h * s->nnamed >> 32);
}

static void
add_name(struct net_sealed *s, uint64_t hash)
{
    for (uint32_t i = 0; i < NAMED_PROBES; i++) {
        uint32_t bit = named_bit(s, hash, i);

        s->named[bit / 64] |= (uint64_t)1 << bit % 64;
    }
}

bool
net_sealed_names(const struct net_sealed *s, uint64_t hash)
{
    for (uint32_t i = 0; i < NAMED_PROBES; i++) {
        uint32_t bit = named_bit(s, hash, i);

        if ((s->named[bit / 64] >> bit % 64 & 1) == 0)
            return false;
    }
    return true;
}

/* A document of by_seq that waits in memory to be sorted. */
struct rest_doc {
    uint64_t seq;
    size_t at; /* its record in batch */
};

struct sealing {
    struct net *net;
    struct net_sealed *s;
    struct buf batch, raw, out, between;
    struct rest_doc *docs; /* in batch */
    size_t ndocs, docs_cap, batch_max;
    struct net_run *runs; /* batches, sorted by seq */
    size_t nruns, runs_cap;
};

static void
sealing_release(struct sealing *l)
{
    sealed_free(l->s);
    buf_release(&l->batch);
    buf_release(&l->raw);
    buf_release(&l->out);
    buf_release(&l->between);
    free(l->docs);
    free(l->runs);
}

/* Of a document in a batch, at most, beside its own length. */
enum { REST_COST = 128 };

static int
by_seq(const void *a, const void *b)
{
    const struct rest_doc *x = a, *y = b;

    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static enum pitr_rc
add_rest_run(struct sealing *l, const struct net_run *run, struct pitr_err *err)
{
    if (l->nruns == l->runs_cap) {
        size_t cap = l->runs_cap == 0 ? 16 : l->runs_cap * 2;
        struct net_run *grown = realloc(l->runs, cap * sizeof *grown);

        if (grown == NULL)
            return pitr_fail(err, PITR_NOMEM, "net: %zu runs", cap);
        l->runs = grown;
        l->runs_cap = cap;
    }
    l->runs[l->nruns++] = *run;
    return PITR_OK;
}

static enum pitr_rc
flush_batch(struct sealing *l, struct pitr_err *err)
{
    PITR_AUTO(net_run_writer_release) struct net_run_writer w;
    struct net_run run;

    net_run_begin(&w, l->net->user.spill);
    if (l->ndocs > 1)
        qsort(l->docs, l->ndocs, sizeof *l->docs, by_seq);
    for (size_t i = 0; i < l->ndocs; i++) {
        struct net_record r;

        if (net_record_parse(&r, l->batch.data + l->docs[i].at, l->batch.len - l->docs[i].at,
                             err) != PITR_OK ||
            net_run_put(&w, r.raw, r.raw_len, err) != PITR_OK)
            return err->rc;
    }
    if (net_run_end(&w, &run, err) != PITR_OK || add_rest_run(l, &run, err) != PITR_OK)
        return err->rc;
    buf_clear(&l->batch);
    l->ndocs = 0;
    return PITR_OK;
}

static enum pitr_rc
add_rest_doc(struct sealing *l, const struct net_record *r, struct pitr_err *err)
{
    size_t held = l->batch.len + l->docs_cap * sizeof *l->docs;

    if (l->ndocs != 0 && held + r->doc_len + REST_COST > l->batch_max &&
        flush_batch(l, err) != PITR_OK)
        return err->rc;
    if (l->ndocs == l->docs_cap) {
        size_t cap = l->docs_cap == 0 ? 64 : l->docs_cap * 2;
        struct rest_doc *grown = realloc(l->docs, cap * sizeof *grown);

        if (grown == NULL)
            return pitr_fail(err, PITR_NOMEM, "net: order of %zu documents", cap);
        l->docs = grown;
        l->docs_cap = cap;
    }
    l->docs[l->ndocs] = (struct rest_doc){.seq = r->hash, .at = l->batch.len};
    if (net_record_append(&l->batch, r, NULL, err) != PITR_OK)
        return err->rc;
    l->ndocs++;
    return PITR_OK;
}

/* The document that an entry makes where the base has none, for net_rest(). That it cannot be made
 * only matters when it is asked for. */
static enum pitr_rc
add_rest(struct sealing *l, const struct net_record *r, enum net_kind kind, struct pitr_err *err)
{
    struct net_ops_cursor ops = {.at = r->ops, .end = r->ops + r->ops_len};
    struct net_record rest = {.hash = r->seq,
                              .ordinal = l->s->count,
                              .doc = r->doc,
                              .doc_len = r->doc_len,
                              .content = kind == KIND_PATCH ? REST_UNSEEN : REST_ALWAYS};

    if (r->nops != 0) {
        if (net_ops_apply(l->net, ops, kind == KIND_PATCH, r->doc, r->doc_len, &l->out, &l->between,
                          err) == PITR_OK) {
            rest.doc = l->out.data;
            rest.doc_len = (uint32_t)l->out.len;
        } else if (err->rc == PITR_CORRUPT) {
            rest.content |= REST_FAILED;
            rest.doc = (const uint8_t *)err->msg;
            rest.doc_len = (uint32_t)strlen(err->msg);
        } else {
            return err->rc;
        }
    }
    return add_rest_doc(l, &rest, err);
}

/* One merged record: nothing older or newer exists. */
static enum pitr_rc
seal_one(void *arg, const struct net_record *r, struct pitr_err *err)
{
    struct sealing *l = arg;
    struct net_sealed *s = l->s;
    uint8_t stand = r->from[STAND_NONE];
    struct net_record final = {
        .hash = r->hash, .seq = r->seq, .ordinal = s->count, .key = r->key, .key_len = r->key_len};
    struct net_standing standing;

    if (stand >= STANDS)
        return net_anomaly(err, r->key, r->key_len, stand);
    standing = net_standing(stand);
    if (standing.kind == KIND_NONE)
        return PITR_OK;
    if (standing.kind == KIND_PATCH) {
        final.ops = r->ops;
        final.ops_len = r->ops_len;
        final.nops = r->nops;
    }
    final.from[STAND_NONE] = stand;
    buf_clear(&l->raw);
    if (net_record_append(&l->raw, &final, NULL, err) != PITR_OK ||
        net_index_add(&s->by_key, l->net->user.spill, r->hash, l->raw.data, l->raw.len, err) !=
            PITR_OK)
        return err->rc;
    if ((standing.kind == KIND_PUT || standing.seed) &&
        add_rest(l, r, standing.kind, err) != PITR_OK)
        return err->rc;
    add_name(s, r->hash);
    if (net_wants_base(l->net, &standing))
        s->must[s->count / 64] |= (uint64_t)1 << s->count % 64;
    s->count++;
    return PITR_OK;
}

static enum pitr_rc
index_rest(void *arg, const struct net_record *r, struct pitr_err *err)
{
    struct sealing *l = arg;

    return net_index_add(&l->s->by_seq, l->net->user.spill, r->hash, r->raw, r->raw_len, err);
}

/* All batches as one, with an index. */
static enum pitr_rc
merge_rest(struct sealing *l, struct pitr_err *err)
{
    size_t done = 0; /* runs before it are in later ones */

    if (l->ndocs != 0 && flush_batch(l, err) != PITR_OK)
        return err->rc;
    buf_release(&l->batch);
    free(l->docs);
    l->docs = NULL;
    l->docs_cap = 0;
    for (; l->nruns - done > NET_MERGE_MAX; done += NET_MERGE_MAX) {
        struct net_run joined;

        if (net_runs_join(l->net, l->runs + done, NET_MERGE_MAX, &joined, err) != PITR_OK ||
            add_rest_run(l, &joined, err) != PITR_OK)
            return err->rc;
    }
    if (net_runs_merge(l->net, l->runs + done, l->nruns - done, index_rest, l, err) != PITR_OK)
        return err->rc;
    return net_index_flush(&l->s->by_seq, l->net->user.spill, err);
}

/* At most `max` records: bitmaps for so many, and about ten bits each of names within a sixteenth
 * of the budget. */
static enum pitr_rc
sealed_new(struct net_sealed **out, uint64_t max, uint64_t budget, size_t *held,
           struct pitr_err *err)
{
    struct net_sealed *s = calloc(1, sizeof *s);
    size_t words = (size_t)(max / 64 + 1);
    uint64_t bits = max * NAMED_BITS_EACH;

    if (s == NULL)
        return pitr_fail(err, PITR_NOMEM, "net of %zu documents", (size_t)max);
    *out = s;
    if (bits > budget / 16 * 8)
        bits = budget / 16 * 8;
    s->nnamed = bits > UINT32_MAX ? UINT32_MAX : (uint32_t)bits | 64;
    s->named = calloc(s->nnamed / 64 + 1, sizeof *s->named);
    s->must = calloc(words, sizeof *s->must);
    s->seen = calloc(words, sizeof *s->seen);
    *held = (s->nnamed / 64 + 1 + 2 * words) * sizeof *s->must;
    if (s->named == NULL || s->must == NULL || s->seen == NULL)
        return pitr_fail(err, PITR_NOMEM, "net of %zu documents", (size_t)max);
    return PITR_OK;
}

static enum pitr_rc
seal_runs(struct net *n, struct pitr_err *err)
{
    PITR_AUTO(sealing_release)
    struct sealing l = {.net = n, .batch_max = (size_t)(spill_budget(n->user.spill) / 8)};
    uint64_t max = 0;
    size_t held = 0;

    for (size_t i = 0; i < n->nruns; i++)
        max += n->runs[i].count;
    if (sealed_new(&l.s, max, spill_budget(n->user.spill), &held, err) != PITR_OK ||
        net_runs_merge(n, n->runs, n->nruns, seal_one, &l, err) != PITR_OK ||
        net_index_flush(&l.s->by_key, n->user.spill, err) != PITR_OK ||
        merge_rest(&l, err) != PITR_OK)
        return err->rc;
    free(n->runs);
    n->runs = NULL;
    n->nruns = n->runs_cap = 0;
    n->sealed = l.s;
    l.s = NULL;
    held += (n->sealed->by_key.cap + n->sealed->by_seq.cap) * sizeof(struct net_block);
    spill_user_hold(&n->user, held);
    n->sealed_held = held;
    n->user.put_out = NULL;
    return PITR_OK;
}

enum pitr_rc
net_seal(struct net *n, struct pitr_err *err)
{
    if (n->nruns == 0)
        return PITR_OK;
    if (n->used != 0 && write_map(n, err) != PITR_OK)
        return err->rc;
    while (n->nruns > NET_MERGE_MAX)
        if (join_last(n, RUNS_OF_A_LEVEL, err) != PITR_OK)
            return err->rc;
    return seal_runs(n, err);
}
