#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "oplog/docid.h"
#include "oplog/net_internal.h"

/* What is known of one _id: an entry of the map, or a record of the file. */
struct found {
    struct net_standing s;
    const uint8_t *key;
    uint32_t key_len;
    struct net_ops_cursor ops;
    struct net_entry *entry; /* NULL: in the file */
    uint64_t seq, ordinal;   /* in the file */
    bool several;            /* updates; in the file */
};

static void
found_in_map(struct found *f, struct net_entry *e)
{
    *f = (struct found){.s = net_standing(e->from[STAND_NONE]),
                        .key = e->key,
                        .key_len = e->key_len,
                        .ops.op = e->ops,
                        .entry = e};
}

static void
found_in_file(struct found *f, const struct net_record *r)
{
    *f = (struct found){.s = net_standing(r->from[STAND_NONE]),
                        .key = r->key,
                        .key_len = r->key_len,
                        .ops = {.at = r->ops, .end = r->ops + r->ops_len},
                        .seq = r->seq,
                        .ordinal = r->ordinal,
                        .several = r->nops > 1};
}

/* KIND_NONE: no operation named it. What is found may lie in `block`. */
static enum pitr_rc
find(const struct net *n, const uint8_t *key, size_t key_len, struct buf *block, struct found *f,
     struct pitr_err *err)
{
    uint64_t hash = XXH3_64bits(key, key_len);
    struct net_record r;
    bool found;

    *f = (struct found){.s.kind = KIND_NONE};
    if (n->sealed == NULL) {
        struct net_entry *e = n->used == 0 ? NULL : n->slots[net_slot_of(n, hash, key, key_len)];

        if (e != NULL)
            found_in_map(f, e);
        return PITR_OK;
    }
    if (!net_sealed_names(n->sealed, hash))
        return PITR_OK;
    if (net_index_find(&n->sealed->by_key, n->user.spill, hash, key, key_len, block, &found, &r,
                       err) != PITR_OK)
        return err->rc;
    if (found)
        found_in_file(f, &r);
    return PITR_OK;
}

/* The base has it; true: it had it already. */
static bool
mark_seen(struct net *n, const struct found *f)
{
    uint64_t bit = (uint64_t)1 << f->ordinal % 64;

    if (f->entry != NULL)
        return atomic_exchange_explicit(&f->entry->seen, true, memory_order_relaxed);
    return (atomic_fetch_or_explicit(&n->sealed->seen[f->ordinal / 64], bit, memory_order_relaxed) &
            bit) != 0;
}

static uint64_t
seen_word(const struct net *n, uint64_t word)
{
    return atomic_load_explicit(&n->sealed->seen[word], memory_order_relaxed);
}

static bool
is_seen(const struct net *n, uint64_t ordinal)
{
    return (seen_word(n, ordinal / 64) >> ordinal % 64 & 1) != 0;
}

/* `scratch` may hold the updates: what is in the file needs a third buffer if there are several. */
static enum pitr_rc
patch(const struct net *n, const struct found *f, const uint8_t *base, size_t len, struct buf *out,
      struct buf *scratch, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf third = {0};

    return net_ops_apply(n, f->ops, false, base, len, out, f->several ? &third : scratch, err);
}

enum pitr_rc
net_filter(struct net *n, const uint8_t *doc, size_t len, enum net_verdict *verdict,
           struct buf *out, struct buf *scratch, struct pitr_err *err)
{
    struct found f;
    bool again;

    *verdict = NET_KEEP;
    if (net_is_empty(n))
        return PITR_OK;
    if (net_key_of(out, doc, len, err) != PITR_OK ||
        find(n, out->data, out->len, scratch, &f, err) != PITR_OK)
        return err->rc;
    if (f.s.kind == KIND_NONE)
        return PITR_OK;
    if (f.s.need == NEED_NO_BASE)
        return net_refuse(err, f.key, f.key_len,
                          "the oplog inserts a document that the snapshot has already");
    again = mark_seen(n, &f);
    if (f.s.kind != KIND_PATCH) {
        *verdict = NET_DROP;
        return PITR_OK;
    }
    if (again)
        return net_refuse(err, f.key, f.key_len, "the snapshot holds a document twice");
    *verdict = NET_CHANGED;
    return patch(n, &f, doc, len, out, scratch, err);
}

/* The document of an entry of the map whose document the base does not have, or not at its place;
 * *doc is NULL if there is none. */
static enum pitr_rc
own_in_map(const struct net *n, const struct net_entry *e, const uint8_t **doc, size_t *len,
           struct buf *out, struct buf *scratch, struct pitr_err *err)
{
    *doc = e->doc;
    *len = e->doc_len;
    if (e->doc == NULL || e->ops == NULL)
        return PITR_OK;
    if (net_ops_apply(n, (struct net_ops_cursor){.op = e->ops}, e->content == CONTENT_UPDATES,
                      e->doc, e->doc_len, out, scratch, err) != PITR_OK)
        return err->rc;
    *doc = out->data;
    *len = out->len;
    return PITR_OK;
}

static enum pitr_rc
check_made(const struct net_record *rest, struct pitr_err *err)
{
    if ((rest->content & REST_FAILED) == 0)
        return PITR_OK;
    return pitr_fail(err, PITR_CORRUPT, "%.*s", (int)rest->doc_len, (const char *)rest->doc);
}

/* The same, of what was found. */
static enum pitr_rc
own(const struct net *n, const struct found *f, const uint8_t **doc, size_t *len, struct buf *out,
    struct buf *scratch, struct pitr_err *err)
{
    struct net_record r;
    bool found;

    *doc = NULL;
    *len = 0;
    if (f->entry != NULL)
        return own_in_map(n, f->entry, doc, len, out, scratch, err);
    if (f->s.kind != KIND_PUT && !f->s.seed)
        return PITR_OK;
    if (net_index_find(&n->sealed->by_seq, n->user.spill, f->seq, NULL, 0, scratch, &found, &r,
                       err) != PITR_OK)
        return err->rc;
    if (!found)
        return spill_damaged(err);
    if (check_made(&r, err) != PITR_OK)
        return err->rc;
    buf_clear(out);
    if (buf_append(out, r.doc, r.doc_len, err) != PITR_OK)
        return err->rc;
    *doc = out->data;
    *len = out->len;
    return PITR_OK;
}

enum pitr_rc
net_final(struct net *n, const uint8_t *key, size_t key_len, const uint8_t *base, size_t base_len,
          const uint8_t **doc, size_t *len, struct buf *out, struct buf *scratch,
          struct pitr_err *err)
{
    struct found f;

    *doc = base;
    *len = base_len;
    if (net_is_empty(n))
        return PITR_OK;
    if (net_key_of(out, key, key_len, err) != PITR_OK ||
        find(n, out->data, out->len, scratch, &f, err) != PITR_OK)
        return err->rc;
    if (f.s.kind == KIND_NONE)
        return PITR_OK;
    if (base == NULL || f.s.kind != KIND_PATCH)
        return own(n, &f, doc, len, out, scratch, err);
    if (patch(n, &f, base, base_len, out, scratch, err) != PITR_OK)
        return err->rc;
    *doc = out->data;
    *len = out->len;
    return PITR_OK;
}

enum pitr_rc
net_final_stranger(struct net *n, const uint8_t *key, size_t key_len, const uint8_t **doc,
                   size_t *len, struct buf *out, struct buf *scratch, struct pitr_err *err)
{
    struct found f;

    *doc = NULL;
    *len = 0;
    if (find(n, key, key_len, scratch, &f, err) != PITR_OK)
        return err->rc;
    return f.s.kind == KIND_NONE ? PITR_OK : own(n, &f, doc, len, out, scratch, err);
}

void
net_rewind(struct net *n)
{
    for (size_t i = 0; i < n->nslots; i++)
        if (n->slots[i] != NULL)
            atomic_store_explicit(&n->slots[i]->seen, false, memory_order_relaxed);
    for (uint64_t i = 0; n->sealed != NULL && i <= n->sealed->count / 64; i++)
        atomic_store_explicit(&n->sealed->seen[i], 0, memory_order_relaxed);
}

static enum pitr_rc
missed(const struct found *f, struct pitr_err *err)
{
    return net_refuse(err, f->key, f->key_len,
                      f->s.need == NEED_BASE
                          ? "the oplog changes a document that the snapshot lacks"
                          : "an update in the snapshot's window never found its document");
}

static int
by_seq(const void *a, const void *b)
{
    const struct net_entry *x = *(struct net_entry *const *)a;
    const struct net_entry *y = *(struct net_entry *const *)b;

    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Entries of the map whose documents are not at the base's place. */
static enum pitr_rc
collect(struct net *n, struct net_entry **todo, size_t *ntodo, struct pitr_err *err)
{
    *ntodo = 0;
    for (size_t i = 0; i < n->nslots; i++) {
        struct found f;
        bool seen;

        if (n->slots[i] == NULL)
            continue;
        found_in_map(&f, n->slots[i]);
        seen = atomic_load_explicit(&f.entry->seen, memory_order_relaxed);
        if (!seen && net_wants_base(n, &f.s))
            return missed(&f, err);
        if (f.s.kind == KIND_PUT || (f.s.seed && !seen))
            todo[(*ntodo)++] = f.entry;
    }
    return PITR_OK;
}

static enum pitr_rc
rest_of_map(struct net *n, net_visit *visit, void *arg, struct pitr_err *err)
{
    struct net_entry **todo;
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(buf_release) struct buf scratch = {0};
    enum pitr_rc rc;
    size_t ntodo;

    if (n->used == 0)
        return PITR_OK;
    todo = malloc(n->used * sizeof(struct net_entry *));
    if (todo == NULL)
        return pitr_fail(err, PITR_NOMEM, "net map: order of %zu documents", n->used);
    rc = collect(n, todo, &ntodo, err);
    if (rc == PITR_OK && ntodo > 1)
        qsort(todo, ntodo, sizeof(struct net_entry *), by_seq);
    for (size_t i = 0; i < ntodo && rc == PITR_OK; i++) {
        const uint8_t *doc;
        size_t len;

        rc = own_in_map(n, todo[i], &doc, &len, &out, &scratch, err);
        if (rc == PITR_OK)
            rc = visit(arg, doc, len, err);
    }
    free(todo);
    return rc;
}

/* What a scan of a sealed net goes on with. */
struct walk {
    struct net *net;
    net_visit *visit;
    net_stranger_visit *meet;
    void *arg;
    struct buf key;
};

static enum pitr_rc
refuse_missed(void *arg, const struct net_record *r, struct pitr_err *err)
{
    const struct walk *w = arg;
    struct found f;

    if ((w->net->sealed->must[r->ordinal / 64] >> r->ordinal % 64 & 1) == 0 ||
        is_seen(w->net, r->ordinal))
        return PITR_OK;
    found_in_file(&f, r);
    return missed(&f, err);
}

static enum pitr_rc
visit_rest(void *arg, const struct net_record *r, struct pitr_err *err)
{
    const struct walk *w = arg;

    if ((r->content & REST_UNSEEN) != 0 && is_seen(w->net, r->ordinal))
        return PITR_OK;
    return check_made(r, err) != PITR_OK ? err->rc : w->visit(w->arg, r->doc, r->doc_len, err);
}

static enum pitr_rc
rest_of_file(struct net *n, net_visit *visit, void *arg, struct pitr_err *err)
{
    struct walk w = {.net = n, .visit = visit, .arg = arg};

    for (uint64_t i = 0; i <= n->sealed->count / 64; i++)
        if ((n->sealed->must[i] & ~seen_word(n, i)) != 0)
            return net_index_scan(&n->sealed->by_key, n->user.spill, refuse_missed, &w, err);
    return net_index_scan(&n->sealed->by_seq, n->user.spill, visit_rest, &w, err);
}

enum pitr_rc
net_rest(struct net *n, net_visit *visit, void *arg, struct pitr_err *err)
{
    enum pitr_rc rc =
        n->sealed != NULL ? rest_of_file(n, visit, arg, err) : rest_of_map(n, visit, arg, err);

    net_rewind(n);
    return rc;
}

static enum pitr_rc
strangers_of_map(struct net *n, net_stranger_visit *visit, void *arg, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(buf_release) struct buf scratch = {0};

    for (size_t i = 0; i < n->nslots; i++) {
        const struct net_entry *e = n->slots[i];
        struct net_stranger s;

        if (e == NULL || atomic_load_explicit(&e->seen, memory_order_relaxed))
            continue;
        s = (struct net_stranger){.key = e->key, .key_len = e->key_len};
        if (own_in_map(n, e, &s.doc, &s.doc_len, &out, &scratch, err) != PITR_OK ||
            visit(arg, &s, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
meet_document(void *arg, const struct net_record *r, struct pitr_err *err)
{
    struct walk *w = arg;
    struct net_stranger s = {.doc = r->doc, .doc_len = r->doc_len};

    if (is_seen(w->net, r->ordinal))
        return PITR_OK;
    if (check_made(r, err) != PITR_OK || net_key_of(&w->key, r->doc, r->doc_len, err) != PITR_OK)
        return err->rc;
    s.key = w->key.data;
    s.key_len = w->key.len;
    return w->meet(w->arg, &s, err);
}

static enum pitr_rc
meet_nothing(void *arg, const struct net_record *r, struct pitr_err *err)
{
    const struct walk *w = arg;
    struct net_stranger s = {.key = r->key, .key_len = r->key_len};
    struct net_standing standing = net_standing(r->from[STAND_NONE]);

    if (is_seen(w->net, r->ordinal) || standing.kind == KIND_PUT || standing.seed)
        return PITR_OK;
    return w->meet(w->arg, &s, err);
}

enum pitr_rc
net_strangers(struct net *n, net_stranger_visit *visit, void *arg, struct pitr_err *err)
{
    struct walk w = {.net = n, .meet = visit, .arg = arg};
    enum pitr_rc rc;

    if (n->sealed == NULL)
        return strangers_of_map(n, visit, arg, err);
    rc = net_index_scan(&n->sealed->by_seq, n->user.spill, meet_document, &w, err);
    if (rc == PITR_OK)
        rc = net_index_scan(&n->sealed->by_key, n->user.spill, meet_nothing, &w, err);
    buf_release(&w.key);
    return rc;
}
