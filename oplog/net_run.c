#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "oplog/net_internal.h"

/*
 * A record, little-endian: check u32 (of everything after it), key_len u32, length of all u64,
 * hash u64, seq u64, ordinal u64, doc_len u32, nops u32, content u8, has_doc u8, from[STANDS], then
 * key, doc, and the updates: length u32, flags u8, bytes.
 */
enum { RECORD_HEAD = 50 + STANDS, OP_HEAD = 5, DISCARD_STEP = 1 << 20 };

static size_t
list_len(const struct net_op *op)
{
    size_t len = 0;

    for (; op != NULL; op = op->next)
        len += OP_HEAD + (size_t)op->len;
    return len;
}

enum pitr_rc
net_record_append(struct buf *out, const struct net_record *r, const struct net_op *list,
                  struct pitr_err *err)
{
    size_t ops_len = list != NULL ? list_len(list) : r->ops_len;
    size_t doc_len = r->doc != NULL ? r->doc_len : 0;
    size_t len = RECORD_HEAD + r->key_len + doc_len + ops_len;
    uint8_t *p, *at;

    if (buf_reserve(out, len, err) != PITR_OK)
        return err->rc;
    p = out->data + out->len;
    put_le32(p + 4, r->key_len);
    put_le64(p + 8, len);
    put_le64(p + 16, r->hash);
    put_le64(p + 24, r->seq);
    put_le64(p + 32, r->ordinal);
    put_le32(p + 40, (uint32_t)doc_len);
    put_le32(p + 44, r->nops);
    p[48] = r->content;
    p[49] = r->doc != NULL;
    memcpy(p + 50, r->from, STANDS);
    at = p + RECORD_HEAD;
    if (r->key_len != 0)
        memcpy(at, r->key, r->key_len);
    at += r->key_len;
    if (doc_len != 0)
        memcpy(at, r->doc, doc_len);
    at += doc_len;
    if (list == NULL && ops_len != 0)
        memcpy(at, r->ops, ops_len);
    for (; list != NULL; list = list->next) {
        put_le32(at, list->len);
        at[4] = list->flags;
        memcpy(at + OP_HEAD, list->o, list->len);
        at += OP_HEAD + (size_t)list->len;
    }
    put_le32(p, (uint32_t)XXH3_64bits(p + 4, len - 4));
    out->len += len;
    return PITR_OK;
}

/* Lengths and identity of a record, of which `len` bytes, at least a head's, are there; its key is
 * if they reach that far. */
static enum pitr_rc
parse_head(struct net_record *out, const uint8_t *data, uint64_t most, struct pitr_err *err)
{
    uint64_t len = get_le64(data + 8);

    *out = (struct net_record){.hash = get_le64(data + 16), .key_len = get_le32(data + 4)};
    out->key = data + RECORD_HEAD;
    out->raw = data;
    out->raw_len = (size_t)len;
    out->doc_len = get_le32(data + 40);
    if (len > most || len < RECORD_HEAD + (uint64_t)out->key_len + out->doc_len)
        return spill_damaged(err);
    return PITR_OK;
}

/* Updates tile their part of the record. */
static bool
ops_are_whole(const struct net_record *r)
{
    size_t at = 0;
    uint32_t n;

    for (n = 0; r->ops_len - at >= OP_HEAD; n++) {
        size_t len = get_le32(r->ops + at);

        at += OP_HEAD;
        if (len > r->ops_len - at)
            return false;
        at += len;
    }
    return at == r->ops_len && n == r->nops;
}

enum pitr_rc
net_record_parse(struct net_record *out, const uint8_t *data, size_t len, struct pitr_err *err)
{
    if (len < RECORD_HEAD)
        return spill_damaged(err);
    if (parse_head(out, data, len, err) != PITR_OK)
        return err->rc;
    if (get_le32(data) != (uint32_t)XXH3_64bits(data + 4, out->raw_len - 4))
        return spill_damaged(err);
    out->seq = get_le64(data + 24);
    out->ordinal = get_le64(data + 32);
    out->nops = get_le32(data + 44);
    out->content = data[48];
    memcpy(out->from, data + 50, STANDS);
    out->doc = data[49] != 0 ? out->key + out->key_len : NULL;
    out->ops = out->key + out->key_len + out->doc_len;
    out->ops_len = out->raw_len - RECORD_HEAD - out->key_len - out->doc_len;
    return ops_are_whole(out) ? PITR_OK : spill_damaged(err);
}

/* One of the buffers that merging needs, so that together they are an eighth of the budget. */
static size_t
buffer_len(const struct spill *s)
{
    uint64_t len = spill_budget(s) / 8 / (NET_MERGE_MAX + 1);

    if (len < 512)
        return 512;
    return len > 1 << 20 ? 1 << 20 : (size_t)len;
}

void
net_run_begin(struct net_run_writer *w, struct spill *spill)
{
    *w = (struct net_run_writer){.spill = spill, .cap = buffer_len(spill)};
}

void
net_run_writer_release(struct net_run_writer *w)
{
    buf_release(&w->pending);
}

static enum pitr_rc
run_flush(struct net_run_writer *w, const uint8_t *data, size_t len, struct pitr_err *err)
{
    uint64_t at;

    if (len == 0)
        return PITR_OK;
    if (spill_write(w->spill, data, len, &at, err) != PITR_OK)
        return err->rc;
    if (w->run.len == 0)
        w->run.at = at;
    w->run.len += len;
    return PITR_OK;
}

enum pitr_rc
net_run_put(struct net_run_writer *w, const uint8_t *raw, size_t len, struct pitr_err *err)
{
    if (w->pending.len + len > w->cap) {
        if (run_flush(w, w->pending.data, w->pending.len, err) != PITR_OK)
            return err->rc;
        buf_clear(&w->pending);
    }
    w->run.count++;
    if (len > w->cap)
        return run_flush(w, raw, len, err);
    return buf_append(&w->pending, raw, len, err);
}

enum pitr_rc
net_run_end(struct net_run_writer *w, struct net_run *out, struct pitr_err *err)
{
    if (run_flush(w, w->pending.data, w->pending.len, err) != PITR_OK)
        return err->rc;
    *out = w->run;
    return PITR_OK;
}

/* Reads a run from its beginning, and gives its space back as it goes. */
struct run_reader {
    struct spill *spill;
    uint64_t at, end, discarded; /* in the file: what is read next, the run's end */
    struct buf b;
    size_t pos, cap;
    bool more;
    struct net_record head;
};

static void
discard_to(struct run_reader *r, uint64_t at)
{
    if (at > r->discarded)
        spill_discard(r->spill, r->discarded, at - r->discarded);
    r->discarded = at;
}

/* At least `n` bytes at pos. */
static enum pitr_rc
fill(struct run_reader *r, size_t n, struct pitr_err *err)
{
    size_t have = r->b.len - r->pos, want;

    if (have >= n)
        return PITR_OK;
    if (n - have > r->end - r->at)
        return spill_damaged(err);
    if (r->at - have - r->discarded >= DISCARD_STEP)
        discard_to(r, r->at - have);
    if (have != 0)
        memmove(r->b.data, r->b.data + r->pos, have);
    r->pos = 0;
    r->b.len = have;
    want = (n > r->cap ? n : r->cap) - have;
    if (want > r->end - r->at)
        want = (size_t)(r->end - r->at);
    if (buf_reserve(&r->b, want, err) != PITR_OK ||
        spill_read(r->spill, r->b.data + have, want, r->at, err) != PITR_OK)
        return err->rc;
    r->at += want;
    r->b.len += want;
    return PITR_OK;
}

/* The head and key of the next record. */
static enum pitr_rc
reader_look(struct run_reader *r, struct pitr_err *err)
{
    uint64_t left = r->b.len - r->pos + (r->end - r->at);

    r->more = left > 0;
    if (!r->more)
        return PITR_OK;
    if (fill(r, RECORD_HEAD, err) != PITR_OK ||
        parse_head(&r->head, r->b.data + r->pos, left, err) != PITR_OK ||
        fill(r, RECORD_HEAD + (size_t)r->head.key_len, err) != PITR_OK)
        return err->rc;
    r->head.key = r->b.data + r->pos + RECORD_HEAD;
    return PITR_OK;
}

static enum pitr_rc
reader_load(struct run_reader *r, struct net_record *out, struct pitr_err *err)
{
    if (fill(r, r->head.raw_len, err) != PITR_OK)
        return err->rc;
    return net_record_parse(out, r->b.data + r->pos, r->head.raw_len, err);
}

static enum pitr_rc
reader_skip(struct run_reader *r, struct pitr_err *err)
{
    r->pos += r->head.raw_len;
    if (r->pos == r->b.len && r->b.cap > 2 * r->cap) {
        buf_release(&r->b);
        r->pos = 0;
    }
    return reader_look(r, err);
}

/* The readers of one merge, oldest first. */
struct merge {
    struct net *net;
    struct run_reader in[NET_MERGE_MAX];
    size_t n;
    struct net_entry sum; /* of records with the same key */
    struct buf key, raw;
};

static void
merge_release(struct merge *m)
{
    for (size_t i = 0; i < m->n; i++) {
        if (!m->in[i].more)
            discard_to(&m->in[i], m->in[i].end);
        buf_release(&m->in[i].b);
    }
    net_entry_release(m->net, &m->sum);
    buf_release(&m->key);
    buf_release(&m->raw);
}

int
net_key_compare(uint64_t hash_a, const uint8_t *a, size_t a_len, uint64_t hash_b, const uint8_t *b,
                size_t b_len)
{
    size_t shorter = a_len < b_len ? a_len : b_len;
    int c;

    if (hash_a != hash_b)
        return hash_a < hash_b ? -1 : 1;
    c = shorter == 0 ? 0 : memcmp(a, b, shorter);
    if (c != 0)
        return c;
    return a_len < b_len ? -1 : a_len > b_len;
}

static int
compare(const struct net_record *a, const struct net_record *b)
{
    return net_key_compare(a->hash, a->key, a->key_len, b->hash, b->key, b->key_len);
}

/* What happened to the document next stands in a newer record. */
static enum pitr_rc
absorb(struct net *n, struct net_entry *e, const struct net_record *r, struct pitr_err *err)
{
    struct net_ops_cursor ops = {.at = r->ops, .end = r->ops + r->ops_len};
    struct net_update u = {.seed = r->doc, .seed_len = r->doc_len, .seq = r->seq};
    struct net_op_view op;
    bool legal = false;

    for (size_t i = 0; i < STANDS; i++) {
        if (e->from[i] < STANDS)
            e->from[i] = r->from[e->from[i]];
        legal = legal || e->from[i] < STANDS;
    }
    if (!legal)
        return net_anomaly(err, r->key, r->key_len, e->from[STAND_NONE]);
    if (r->content == CONTENT_GONE)
        net_entry_drop(n, e);
    else if (r->content == CONTENT_PUT &&
             net_entry_put(n, e, r->doc, r->doc_len, r->seq, err) != PITR_OK)
        return err->rc;
    while (net_ops_next(&ops, &op)) {
        u.o = op.o;
        u.len = op.len;
        u.flags = op.flags;
        if (net_entry_update(n, e, &u, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

enum pitr_rc
net_record_append_entry(struct buf *out, const struct net_entry *e, struct pitr_err *err)
{
    struct net_record r = {.hash = e->hash,
                           .seq = e->seq,
                           .key = e->key,
                           .key_len = e->key_len,
                           .doc = e->doc,
                           .doc_len = e->doc_len,
                           .nops = e->nops,
                           .content = e->content};

    memcpy(r.from, e->from, STANDS);
    return net_record_append(out, &r, e->ops, err);
}

/* All records with the key of in[first], the oldest of them, as one. */
static enum pitr_rc
merge_key(struct merge *m, size_t first, struct net_record *out, struct pitr_err *err)
{
    struct net_record key = m->in[first].head, r;

    buf_clear(&m->key);
    if (buf_append(&m->key, key.key, key.key_len, err) != PITR_OK)
        return err->rc;
    key.key = m->key.data;
    net_entry_release(m->net, &m->sum);
    m->sum = (struct net_entry){.hash = key.hash, .key = key.key, .key_len = key.key_len};
    net_entry_init(&m->sum, STANDS);
    for (size_t i = first; i < m->n; i++) {
        if (!m->in[i].more || compare(&m->in[i].head, &key) != 0)
            continue;
        if (reader_load(&m->in[i], &r, err) != PITR_OK ||
            absorb(m->net, &m->sum, &r, err) != PITR_OK || reader_skip(&m->in[i], err) != PITR_OK)
            return err->rc;
    }
    buf_clear(&m->raw);
    if (net_record_append_entry(&m->raw, &m->sum, err) != PITR_OK)
        return err->rc;
    return net_record_parse(out, m->raw.data, m->raw.len, err);
}

static enum pitr_rc
merge_all(struct merge *m, net_run_sink *sink, void *arg, struct pitr_err *err)
{
    for (;;) {
        struct net_record r;
        size_t first = m->n, holders = 0;

        for (size_t i = 0; i < m->n; i++) {
            int c = !m->in[i].more  ? 1
                    : first == m->n ? -1
                                    : compare(&m->in[i].head, &m->in[first].head);

            if (c < 0)
                first = i;
            holders = c < 0 ? 1 : holders + (c == 0);
        }
        if (first == m->n)
            return PITR_OK;
        if (holders == 1) {
            if (reader_load(&m->in[first], &r, err) != PITR_OK || sink(arg, &r, err) != PITR_OK ||
                reader_skip(&m->in[first], err) != PITR_OK)
                return err->rc;
        } else if (merge_key(m, first, &r, err) != PITR_OK || sink(arg, &r, err) != PITR_OK) {
            return err->rc;
        }
    }
}

enum pitr_rc
net_runs_merge(struct net *n, const struct net_run *runs, size_t nruns, net_run_sink *sink,
               void *arg, struct pitr_err *err)
{
    PITR_AUTO(merge_release) struct merge m = {.net = n, .n = nruns};
    size_t cap = buffer_len(n->user.spill);

    for (size_t i = 0; i < nruns; i++)
        m.in[i] = (struct run_reader){.spill = n->user.spill,
                                      .at = runs[i].at,
                                      .end = runs[i].at + runs[i].len,
                                      .discarded = runs[i].at,
                                      .cap = cap,
                                      .more = true};
    for (size_t i = 0; i < nruns; i++)
        if (reader_look(&m.in[i], err) != PITR_OK)
            return err->rc;
    return merge_all(&m, sink, arg, err);
}

static enum pitr_rc
write_on(void *arg, const struct net_record *r, struct pitr_err *err)
{
    return net_run_put(arg, r->raw, r->raw_len, err);
}

enum pitr_rc
net_runs_join(struct net *n, const struct net_run *runs, size_t nruns, struct net_run *out,
              struct pitr_err *err)
{
    PITR_AUTO(net_run_writer_release) struct net_run_writer w;

    net_run_begin(&w, n->user.spill);
    for (size_t i = 0; i < nruns; i++)
        if (w.run.level <= runs[i].level)
            w.run.level = runs[i].level + 1;
    if (net_runs_merge(n, runs, nruns, write_on, &w, err) != PITR_OK)
        return err->rc;
    return net_run_end(&w, out, err);
}
