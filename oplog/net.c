#include "oplog/net.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "oplog/docid.h"

enum net_state {
    STATE_PUT,   /* the final document starts from `doc`, then `ops` */
    STATE_GONE,  /* deleted */
    STATE_PATCH, /* the final document is the base's with `ops` applied */
};

/* What the first operation after the fuzzy window says about the base. */
enum net_need { NEED_NOTHING, NEED_BASE, NEED_NO_BASE };

/* One update waiting to be applied; bytes follow the struct. */
struct net_op {
    struct net_op *next;
    uint32_t len;
    bool strict, upsert;
    uint8_t o[];
};

struct net_entry {
    uint64_t hash;
    const uint8_t *key; /* canonical _id */
    const uint8_t *doc; /* STATE_PUT: starting document */
    struct net_op *ops, *last_op;
    uint64_t seq; /* order of the insert that made the document */
    uint32_t key_len, doc_len, nops;
    uint8_t state, need;
    atomic_bool seen; /* the base had it; set by net_filter() */
};

struct net {
    enum update_field_order order;
    struct spill *spill; /* borrowed, or NULL */
    struct arena arena;
    struct net_entry **slots; /* open addressing, linear probing; a power of two */
    size_t nslots, used;
    uint64_t next_seq;
    struct buf key; /* scratch of the adding thread */
};

/* Updates on one document are folded once so many have gathered, which bounds the list that a hot
 * document's final form is computed from. */
enum { NET_FOLD_OPS = 64 };

enum pitr_rc
net_new(struct net **out, enum update_field_order order, struct spill *spill, struct pitr_err *err)
{
    struct net *n = calloc(1, sizeof *n);

    if (n == NULL)
        return pitr_fail(err, PITR_NOMEM, "net map");
    n->order = order;
    n->spill = spill;
    *out = n;
    return PITR_OK;
}

void
net_clear(struct net *n)
{
    arena_release(&n->arena);
    free(n->slots);
    n->slots = NULL;
    n->nslots = n->used = 0;
}

void
net_free(struct net *n)
{
    if (n == NULL)
        return;
    net_clear(n);
    buf_release(&n->key);
    free(n);
}

void
net_freep(struct net **n)
{
    net_free(*n);
    *n = NULL;
}

bool
net_is_empty(const struct net *n)
{
    return n->used == 0;
}

/* Canonical _id of the document or key `doc` into `key`, for messages too. */
static enum pitr_rc
key_of(struct buf *key, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct belem id;
    bool found;

    buf_clear(key);
    if (bson_find(doc, len, "_id", &found, &id, err) != PITR_OK)
        return err->rc;
    if (!found)
        return pitr_fail(err, PITR_CORRUPT, "a document of %zu bytes has no _id", len);
    return docid_append(key, &id, err);
}

static size_t
slot_of(const struct net *n, uint64_t hash, const uint8_t *key, size_t key_len)
{
    size_t mask = n->nslots - 1;
    size_t i = (size_t)hash & mask;

    for (;; i = (i + 1) & mask) {
        const struct net_entry *e = n->slots[i];

        if (e == NULL ||
            (e->hash == hash && e->key_len == key_len && memcmp(e->key, key, key_len) == 0))
            return i;
    }
}

static enum pitr_rc
grow(struct net *n, struct pitr_err *err)
{
    size_t nslots = n->nslots == 0 ? 64 : n->nslots * 2;
    struct net_entry **slots = calloc(nslots, sizeof(struct net_entry *));

    if (slots == NULL)
        return pitr_fail(err, PITR_NOMEM, "net map of %zu entries", nslots);
    for (size_t i = 0; i < n->nslots; i++) {
        struct net_entry *e = n->slots[i];
        size_t at;

        if (e == NULL)
            continue;
        for (at = (size_t)e->hash & (nslots - 1); slots[at] != NULL; at = (at + 1) & (nslots - 1))
            continue;
        slots[at] = e;
    }
    free(n->slots);
    n->slots = slots;
    n->nslots = nslots;
    return PITR_OK;
}

static enum pitr_rc
copy_bytes(struct net *n, const uint8_t *data, size_t len, const uint8_t **out,
           struct pitr_err *err)
{
    void *copy;

    if (arena_alloc(&n->arena, len, &copy, err) != PITR_OK)
        return err->rc;
    memcpy(copy, data, len);
    *out = copy;
    return PITR_OK;
}

/* The entry of the _id in `doc`; *fresh tells that it was made just now (state is then unset). */
static enum pitr_rc
entry_for(struct net *n, const uint8_t *doc, size_t len, struct net_entry **out, bool *fresh,
          struct pitr_err *err)
{
    struct net_entry *e;
    uint64_t hash;
    size_t at;
    void *mem;

    if (key_of(&n->key, doc, len, err) != PITR_OK)
        return err->rc;
    if (n->used * 4 >= n->nslots * 3 && grow(n, err) != PITR_OK)
        return err->rc;
    hash = XXH3_64bits(n->key.data, n->key.len);
    at = slot_of(n, hash, n->key.data, n->key.len);
    *fresh = n->slots[at] == NULL;
    if (!*fresh) {
        *out = n->slots[at];
        return PITR_OK;
    }
    if (arena_alloc(&n->arena, sizeof *e, &mem, err) != PITR_OK)
        return err->rc;
    e = mem;
    *e = (struct net_entry){.hash = hash, .key_len = (uint32_t)n->key.len};
    if (copy_bytes(n, n->key.data, n->key.len, &e->key, err) != PITR_OK)
        return err->rc;
    n->slots[at] = e;
    n->used++;
    *out = e;
    return PITR_OK;
}

static enum pitr_rc
anomaly(struct pitr_err *err, const struct net_entry *e, const char *what)
{
    char hex[2 * 48 + 1];
    size_t shown = e->key_len < 48 ? e->key_len : 48;

    hex_encode(hex, e->key, shown);
    return pitr_fail(err, PITR_CORRUPT, "%s (canonical _id %s%s)", what, hex,
                     shown < e->key_len ? "..." : "");
}

static void
forget_ops(struct net_entry *e)
{
    e->ops = e->last_op = NULL;
    e->nops = 0;
}

enum pitr_rc
net_insert(struct net *n, const uint8_t *doc, size_t len, enum op_mode mode, struct pitr_err *err)
{
    struct net_entry *e = NULL;
    bool fresh = false;

    if (entry_for(n, doc, len, &e, &fresh, err) != PITR_OK)
        return err->rc;
    if (fresh) {
        e->need = mode == OP_STRICT ? NEED_NO_BASE : NEED_NOTHING;
    } else if (mode != OP_LENIENT) {
        if (e->state == STATE_PUT ||
            (e->state == STATE_PATCH && (e->need == NEED_BASE || e->doc != NULL)))
            return anomaly(err, e, "insert of a document that exists");
        if (e->state == STATE_PATCH && mode == OP_STRICT)
            return anomaly(err, e, "update of a document that the base lacks");
    }
    if (copy_bytes(n, doc, len, &e->doc, err) != PITR_OK)
        return err->rc;
    e->state = STATE_PUT;
    e->doc_len = (uint32_t)len;
    e->seq = n->next_seq++;
    forget_ops(e);
    return PITR_OK;
}

enum pitr_rc
net_delete(struct net *n, const uint8_t *key, size_t key_len, enum op_mode mode,
           struct pitr_err *err)
{
    struct net_entry *e = NULL;
    bool fresh = false;

    if (entry_for(n, key, key_len, &e, &fresh, err) != PITR_OK)
        return err->rc;
    if (!fresh && e->state == STATE_GONE && mode != OP_LENIENT)
        return anomaly(err, e, "delete of a document that is deleted already");
    if (mode == OP_STRICT && (fresh || (e->state == STATE_PATCH && e->doc == NULL)))
        e->need = NEED_BASE;
    e->state = STATE_GONE;
    e->doc = NULL;
    forget_ops(e);
    return PITR_OK;
}

/* Apply the list in order to the document `pre`; the result is in `out`, `scratch` holds what is
 * between. */
static enum pitr_rc
apply_ops(const struct net *n, const struct net_op *op, const uint8_t *pre, size_t pre_len,
          struct buf *out, struct buf *scratch, struct pitr_err *err)
{
    for (; op != NULL; op = op->next) {
        struct buf result;

        buf_clear(out);
        if (update_apply(out, pre, pre_len, op->o, op->len, n->order, op->strict, err) != PITR_OK)
            return err->rc;
        if (op->next == NULL)
            break;
        result = *out;
        *out = *scratch;
        *scratch = result;
        pre = result.data;
        pre_len = result.len;
    }
    return PITR_OK;
}

/* Replace a starting document and its gathered updates by their result. */
static enum pitr_rc
fold(struct net *n, struct net_entry *e, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(buf_release) struct buf scratch = {0};
    enum pitr_rc rc = apply_ops(n, e->ops, e->doc, e->doc_len, &out, &scratch, err);

    if (rc == PITR_OK)
        rc = copy_bytes(n, out.data, out.len, &e->doc, err);
    if (rc == PITR_OK) {
        e->doc_len = (uint32_t)out.len;
        forget_ops(e);
    }
    return rc;
}

static enum pitr_rc
append_op(struct net *n, struct net_entry *e, const uint8_t *o, size_t o_len, bool upsert,
          enum op_mode mode, struct pitr_err *err)
{
    struct net_op *op;
    void *mem;

    if (arena_alloc(&n->arena, sizeof *op + o_len, &mem, err) != PITR_OK)
        return err->rc;
    op = mem;
    *op = (struct net_op){.len = (uint32_t)o_len, .strict = mode == OP_STRICT, .upsert = upsert};
    memcpy(op->o, o, o_len);
    if (e->last_op != NULL)
        e->last_op->next = op;
    else
        e->ops = op;
    e->last_op = op;
    e->nops++;
    if (e->state == STATE_PUT && e->nops >= NET_FOLD_OPS)
        return fold(n, e, err);
    return PITR_OK;
}

/* {_id: ...} of the key document: what an upsert starts from. */
static enum pitr_rc
upsert_seed(struct buf *out, const uint8_t *key, size_t key_len, struct pitr_err *err)
{
    struct belem id;
    bool found;
    size_t elem_len;

    if (bson_find(key, key_len, "_id", &found, &id, err) != PITR_OK)
        return err->rc;
    if (!found)
        return pitr_fail(err, PITR_CORRUPT, "update without _id");
    elem_len = (size_t)(id.end - id.start);
    buf_clear(out);
    if (buf_append_le32(out, (uint32_t)(elem_len + 5), err) != PITR_OK ||
        buf_append(out, id.start, elem_len, err) != PITR_OK)
        return err->rc;
    return buf_append_u8(out, 0, err);
}

static enum pitr_rc
put_upsert_seed(struct net *n, struct net_entry *e, const uint8_t *key, size_t key_len,
                struct pitr_err *err)
{
    if (upsert_seed(&n->key, key, key_len, err) != PITR_OK ||
        copy_bytes(n, n->key.data, n->key.len, &e->doc, err) != PITR_OK)
        return err->rc;
    e->doc_len = (uint32_t)n->key.len;
    e->state = STATE_PUT;
    e->seq = n->next_seq++;
    return PITR_OK;
}

enum pitr_rc
net_update(struct net *n, const uint8_t *key, size_t key_len, const uint8_t *o, size_t o_len,
           bool upsert, enum op_mode mode, struct pitr_err *err)
{
    struct net_entry *e = NULL;
    enum update_kind kind;
    bool fresh = false;

    if (update_classify(o, o_len, &kind, err) != PITR_OK ||
        entry_for(n, key, key_len, &e, &fresh, err) != PITR_OK)
        return err->rc;
    if (fresh) {
        e->state = STATE_PATCH;
    } else if (e->state == STATE_GONE) {
        if (upsert) {
            if (put_upsert_seed(n, e, key, key_len, err) != PITR_OK)
                return err->rc;
        } else if (mode == OP_LENIENT) {
            return PITR_OK;
        } else {
            return anomaly(err, e, "update of a document that is deleted");
        }
    }
    if (e->state == STATE_PATCH) {
        if (mode == OP_STRICT && !upsert && e->doc == NULL)
            e->need = NEED_BASE;
        if (upsert && e->doc == NULL) {
            if (upsert_seed(&n->key, key, key_len, err) != PITR_OK ||
                copy_bytes(n, n->key.data, n->key.len, &e->doc, err) != PITR_OK)
                return err->rc;
            e->doc_len = (uint32_t)n->key.len;
            e->seq = n->next_seq++;
        }
    }
    return append_op(n, e, o, o_len, upsert, mode, err);
}

enum pitr_rc
net_seal(struct net *n, struct pitr_err *err)
{
    (void)n;
    (void)err;
    return PITR_OK;
}

/* NULL if no operation named it. */
static struct net_entry *
entry_find(const struct net *n, const uint8_t *key, size_t key_len)
{
    if (n->used == 0)
        return NULL;
    return n->slots[slot_of(n, XXH3_64bits(key, key_len), key, key_len)];
}

enum pitr_rc
net_filter(struct net *n, const uint8_t *doc, size_t len, enum net_verdict *verdict,
           struct buf *out, struct buf *scratch, struct pitr_err *err)
{
    struct net_entry *e;
    bool again;

    *verdict = NET_KEEP;
    if (n->used == 0)
        return PITR_OK;
    if (key_of(scratch, doc, len, err) != PITR_OK)
        return err->rc;
    e = entry_find(n, scratch->data, scratch->len);
    if (e == NULL)
        return PITR_OK;
    if (e->need == NEED_NO_BASE)
        return anomaly(err, e, "the oplog inserts a document that the snapshot has already");
    again = atomic_exchange_explicit(&e->seen, true, memory_order_relaxed);
    if (e->state != STATE_PATCH) {
        *verdict = NET_DROP;
        return PITR_OK;
    }
    if (again)
        return anomaly(err, e, "the snapshot holds a document twice");
    *verdict = NET_CHANGED;
    return apply_ops(n, e->ops, doc, len, out, scratch, err);
}

static int
by_seq(const void *a, const void *b)
{
    const struct net_entry *x = *(struct net_entry *const *)a;
    const struct net_entry *y = *(struct net_entry *const *)b;

    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* The final document of an entry whose document the base does not have, or not at its place; *doc
 * is NULL if there is none. */
static enum pitr_rc
final_without_base(const struct net *n, const struct net_entry *e, const uint8_t **doc, size_t *len,
                   struct buf *out, struct buf *scratch, struct pitr_err *err)
{
    const struct net_op *op = e->ops;

    *doc = e->doc;
    *len = e->doc_len;
    while (e->state == STATE_PATCH && op != NULL && !op->upsert)
        op = op->next;
    if (e->doc == NULL || op == NULL)
        return PITR_OK;
    if (apply_ops(n, op, e->doc, e->doc_len, out, scratch, err) != PITR_OK)
        return err->rc;
    *doc = out->data;
    *len = out->len;
    return PITR_OK;
}

static enum pitr_rc
emit(const struct net *n, const struct net_entry *e, struct buf *out, struct buf *scratch,
     net_visit *visit, void *arg, struct pitr_err *err)
{
    const uint8_t *doc;
    size_t len;

    if (final_without_base(n, e, &doc, &len, out, scratch, err) != PITR_OK)
        return err->rc;
    return visit(arg, doc, len, err);
}

enum pitr_rc
net_rest(struct net *n, net_visit *visit, void *arg, struct pitr_err *err)
{
    struct net_entry **todo;
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(buf_release) struct buf scratch = {0};
    enum pitr_rc rc = PITR_OK;
    size_t ntodo = 0;

    if (n->used == 0)
        return PITR_OK;
    todo = malloc(n->used * sizeof(struct net_entry *));
    if (todo == NULL)
        return pitr_fail(err, PITR_NOMEM, "net map: order of %zu documents", n->used);
    for (size_t i = 0; i < n->nslots && rc == PITR_OK; i++) {
        struct net_entry *e = n->slots[i];
        bool seen;

        if (e == NULL)
            continue;
        seen = atomic_exchange_explicit(&e->seen, false, memory_order_relaxed);
        if (!seen && e->need == NEED_BASE)
            rc = anomaly(err, e, "the oplog changes a document that the snapshot lacks");
        else if (!seen && e->state == STATE_PATCH && e->doc == NULL)
            rc = anomaly(err, e, "an update in the snapshot's window never found its document");
        else if (e->state == STATE_PUT || (e->state == STATE_PATCH && !seen))
            todo[ntodo++] = e;
    }
    if (ntodo > 1)
        qsort(todo, ntodo, sizeof(struct net_entry *), by_seq);
    for (size_t i = 0; i < ntodo && rc == PITR_OK; i++)
        rc = emit(n, todo[i], &out, &scratch, visit, arg, err);
    free(todo);
    return rc;
}

void
net_rewind(struct net *n)
{
    for (size_t i = 0; i < n->nslots; i++)
        if (n->slots[i] != NULL)
            atomic_store_explicit(&n->slots[i]->seen, false, memory_order_relaxed);
}

enum pitr_rc
net_final(struct net *n, const uint8_t *key, size_t key_len, const uint8_t *base, size_t base_len,
          const uint8_t **doc, size_t *len, struct buf *out, struct buf *scratch,
          struct pitr_err *err)
{
    const struct net_entry *e;

    *doc = base;
    *len = base_len;
    if (n->used == 0)
        return PITR_OK;
    if (key_of(scratch, key, key_len, err) != PITR_OK)
        return err->rc;
    e = entry_find(n, scratch->data, scratch->len);
    if (e == NULL)
        return PITR_OK;
    if (base == NULL || e->state != STATE_PATCH)
        return final_without_base(n, e, doc, len, out, scratch, err);
    if (apply_ops(n, e->ops, base, base_len, out, scratch, err) != PITR_OK)
        return err->rc;
    *doc = out->data;
    *len = out->len;
    return PITR_OK;
}

enum pitr_rc
net_final_stranger(struct net *n, const uint8_t *key, size_t key_len, const uint8_t **doc,
                   size_t *len, struct buf *out, struct buf *scratch, struct pitr_err *err)
{
    const struct net_entry *e = entry_find(n, key, key_len);

    *doc = NULL;
    *len = 0;
    return e == NULL ? PITR_OK : final_without_base(n, e, doc, len, out, scratch, err);
}

enum pitr_rc
net_strangers(struct net *n, net_stranger_visit *visit, void *arg, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(buf_release) struct buf scratch = {0};

    for (size_t i = 0; i < n->nslots; i++) {
        const struct net_entry *e = n->slots[i];
        struct net_stranger s;

        if (e == NULL || atomic_load_explicit(&e->seen, memory_order_relaxed))
            continue;
        s = (struct net_stranger){.key = e->key, .key_len = e->key_len};
        if (final_without_base(n, e, &s.doc, &s.doc_len, &out, &scratch, err) != PITR_OK ||
            visit(arg, &s, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}
