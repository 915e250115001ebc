#include "oplog/net.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "oplog/docid.h"
#include "oplog/net_internal.h"

enum pitr_rc
net_new(struct net **out, enum update_field_order order, struct spill *spill, struct pitr_err *err)
{
    struct net *n = calloc(1, sizeof *n);

    if (n == NULL)
        return pitr_fail(err, PITR_NOMEM, "net map");
    n->order = order;
    n->npasts = 1;
    n->user.put_out = net_put_out;
    spill_join(spill, &n->user);
    *out = n;
    return PITR_OK;
}

void
net_clear_map(struct net *n)
{
    for (size_t i = 0; i < n->nslots; i++)
        if (n->slots[i] != NULL)
            net_entry_release(n, n->slots[i]);
    arena_release(&n->arena);
    free(n->slots);
    spill_user_release(&n->user, n->arena_held + n->nslots * sizeof(struct net_entry *));
    n->slots = NULL;
    n->nslots = n->used = n->arena_held = 0;
}

void
net_clear(struct net *n)
{
    net_clear_map(n);
    net_clear_file(n);
    n->npasts = 1;
    n->user.put_out = net_put_out;
}

void
net_free(struct net *n)
{
    if (n == NULL)
        return;
    net_clear(n);
    spill_leave(&n->user);
    buf_release(&n->key);
    buf_release(&n->seed);
    free(n);
}

void
net_freep(struct net **n)
{
    net_free(*n);
    *n = NULL;
}

void
net_allow_evictions(struct net *n)
{
    n->evicts = true;
}

bool
net_wants_base(const struct net *n, const struct net_standing *s)
{
    return s->need == NEED_BASE || (s->kind == KIND_PATCH && !s->seed && !n->evicts);
}

bool
net_is_empty(const struct net *n)
{
    return n->used == 0 && n->nruns == 0 && n->sealed == NULL;
}

enum pitr_rc
net_key_of(struct buf *key, const uint8_t *doc, size_t len, struct pitr_err *err)
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

size_t
net_slot_of(const struct net *n, uint64_t hash, const uint8_t *key, size_t key_len)
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
    spill_user_hold(&n->user, (nslots - n->nslots) * sizeof(struct net_entry *));
    n->slots = slots;
    n->nslots = nslots;
    return PITR_OK;
}

/* The entry and its key, in one piece. */
static enum pitr_rc
entry_new(struct net *n, uint64_t hash, struct net_entry **out, struct pitr_err *err)
{
    struct net_entry *e;
    uint8_t *key;
    void *mem;

    if (arena_alloc(&n->arena, sizeof *e + n->key.len, &mem, err) != PITR_OK)
        return err->rc;
    spill_user_hold(&n->user, n->arena.held - n->arena_held);
    n->arena_held = n->arena.held;
    e = mem;
    key = (uint8_t *)(e + 1);
    memcpy(key, n->key.data, n->key.len);
    *e = (struct net_entry){.hash = hash, .key = key, .key_len = (uint32_t)n->key.len};
    net_entry_init(e, n->npasts);
    *out = e;
    return PITR_OK;
}

/* The entry of the _id in `doc`, made if there is none. */
static enum pitr_rc
entry_for(struct net *n, const uint8_t *doc, size_t len, struct net_entry **out,
          struct pitr_err *err)
{
    uint64_t hash;
    size_t at;

    if (net_key_of(&n->key, doc, len, err) != PITR_OK)
        return err->rc;
    if (n->used * 4 >= n->nslots * 3 && grow(n, err) != PITR_OK)
        return err->rc;
    hash = XXH3_64bits(n->key.data, n->key.len);
    at = net_slot_of(n, hash, n->key.data, n->key.len);
    if (n->slots[at] == NULL) {
        if (entry_new(n, hash, &n->slots[at], err) != PITR_OK)
            return err->rc;
        n->used++;
    }
    *out = n->slots[at];
    return PITR_OK;
}

/* Where an entry stands after one more operation. */
struct step {
    struct net_entry *e;
    uint8_t from[STANDS];
};

/* An operation is refused when it can follow none of the pasts that the entry may have had. */
static enum pitr_rc
step(struct net *n, struct step *s, const uint8_t *key, size_t key_len, enum net_op_kind kind,
     enum op_mode mode, bool upsert, struct pitr_err *err)
{
    bool legal = false;

    if (entry_for(n, key, key_len, &s->e, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < n->npasts; i++) {
        s->from[i] = net_stand_step(s->e->from[i], kind, mode, upsert);
        legal = legal || s->from[i] < STANDS;
    }
    return legal ? PITR_OK : net_anomaly(err, s->e->key, s->e->key_len, s->from[STAND_NONE]);
}

static enum pitr_rc
commit(struct net *n, const struct step *s, struct pitr_err *err)
{
    memcpy(s->e->from, s->from, n->npasts);
    if (n->user.spill == NULL || !spill_is_over(n->user.spill))
        return PITR_OK;
    return spill_relieve(n->user.spill, err);
}

enum pitr_rc
net_insert(struct net *n, const uint8_t *doc, size_t len, enum op_mode mode, struct pitr_err *err)
{
    struct step s = {.e = NULL};

    if (step(n, &s, doc, len, NET_INSERT, mode, false, err) != PITR_OK ||
        net_entry_put(n, s.e, doc, len, n->next_seq++, err) != PITR_OK)
        return err->rc;
    return commit(n, &s, err);
}

enum pitr_rc
net_delete(struct net *n, const uint8_t *key, size_t key_len, enum op_mode mode,
           struct pitr_err *err)
{
    struct step s = {.e = NULL};

    if (step(n, &s, key, key_len, NET_DELETE, mode, false, err) != PITR_OK)
        return err->rc;
    net_entry_drop(n, s.e);
    return commit(n, &s, err);
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

enum pitr_rc
net_update(struct net *n, const uint8_t *key, size_t key_len, const uint8_t *o, size_t o_len,
           bool upsert, enum op_mode mode, struct pitr_err *err)
{
    struct net_update u = {.o = o, .len = (uint32_t)o_len};
    enum update_kind kind;
    struct step s = {.e = NULL};

    if (update_classify(o, o_len, &kind, err) != PITR_OK ||
        step(n, &s, key, key_len, NET_UPDATE, mode, upsert, err) != PITR_OK)
        return err->rc;
    if (mode == OP_STRICT)
        u.flags |= NET_OP_STRICT;
    if (upsert) {
        if (upsert_seed(&n->seed, key, key_len, err) != PITR_OK)
            return err->rc;
        u.flags |= NET_OP_UPSERT;
        u.seed = n->seed.data;
        u.seed_len = (uint32_t)n->seed.len;
        u.seq = n->next_seq++;
    }
    if (net_entry_update(n, s.e, &u, err) != PITR_OK)
        return err->rc;
    return commit(n, &s, err);
}
