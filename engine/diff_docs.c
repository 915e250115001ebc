#include <string.h>

#include "engine/base_cursor.h"
#include "engine/diff_internal.h"
#include "mongo/bsonedit.h"

/* Progress and the wish to stop are looked at this often; a power of two. */
enum { DIFF_STRIDE = 1024 };

/* A document, or none. */
struct bytes {
    const uint8_t *doc;
    size_t len;
};

struct compare {
    struct diff *diff;
    const struct state_coll *from, *to;
    diff_visit *visit;
    void *arg;
    struct net *table; /* what is gathered to be compared later; owned */
    struct buf a, b;   /* documents made for the earlier and the later moment */
    struct buf scratch;
    uint64_t documents, bytes; /* since progress was told */
};

static void
compare_release(struct compare *c)
{
    net_free(c->table);
    buf_release(&c->a);
    buf_release(&c->b);
    buf_release(&c->scratch);
}

static enum pitr_rc
advance(struct compare *c, size_t len, struct pitr_err *err)
{
    struct job *job = c->diff->o->job;

    c->documents++;
    c->bytes += len;
    if ((c->documents & (DIFF_STRIDE - 1)) != 0)
        return PITR_OK;
    job_advance(job, c->documents, c->bytes);
    c->documents = c->bytes = 0;
    return job_check(job, err);
}

static bool
is_equal(struct bytes a, struct bytes b)
{
    return (a.doc == NULL) == (b.doc == NULL) && a.len == b.len &&
           (a.doc == NULL || memcmp(a.doc, b.doc, a.len) == 0);
}

static enum pitr_rc
tell(struct compare *c, struct bytes before, struct bytes after, struct pitr_err *err)
{
    return c->visit(c->arg, before.doc, before.len, after.doc, after.len, err);
}

static enum pitr_rc
make_table(struct compare *c, struct pitr_err *err)
{
    if (c->table != NULL)
        return PITR_OK;
    return net_new(&c->table, FIELD_ORDER_NUMERIC, c->diff->spill, err);
}

/* {_id} of the document into the table. */
static enum pitr_rc
note_id(struct compare *c, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf key = {0};
    struct belem id;
    bool found;
    size_t at;

    if (bson_find(doc, len, "_id", &found, &id, err) != PITR_OK)
        return err->rc;
    if (!found)
        return pitr_fail(err, PITR_CORRUPT, "a document of %zu bytes has no _id", len);
    if (make_table(c, err) != PITR_OK || bdoc_begin(&key, &at, err) != PITR_OK ||
        bdoc_append(&key, "_id", &id, err) != PITR_OK || bdoc_end(&key, at, err) != PITR_OK)
        return err->rc;
    return net_insert(c->table, key.data, key.len, OP_LENIENT, err);
}

/*
 * One document of the common base. The later net holds every operation of the earlier one, so what
 * it does not name is the same at both moments.
 *
 * Where both nets say that the base's document does not matter, the fuzzy base may hold it twice
 * (deleted and inserted again while it was read): such are gathered, and told once, at the end.
 */
static enum pitr_rc
compare_base(struct compare *c, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    enum net_verdict on_from, on_to;
    struct bytes before = {doc, len}, after;

    if (net_filter(c->to->net, doc, len, &on_to, &c->b, &c->scratch, err) != PITR_OK)
        return err->rc;
    if (on_to == NET_KEEP)
        return PITR_OK;
    after = (struct bytes){c->b.data, c->b.len};
    if (net_filter(c->from->net, doc, len, &on_from, &c->a, &c->scratch, err) != PITR_OK)
        return err->rc;
    if (on_from == NET_CHANGED)
        before = (struct bytes){c->a.data, c->a.len};
    if ((on_from == NET_DROP && net_final(c->from->net, doc, len, doc, len, &before.doc,
                                          &before.len, &c->a, &c->scratch, err) != PITR_OK) ||
        (on_to == NET_DROP && net_final(c->to->net, doc, len, doc, len, &after.doc, &after.len,
                                        &c->b, &c->scratch, err) != PITR_OK))
        return err->rc;
    if (is_equal(before, after))
        return PITR_OK;
    if (on_from == NET_DROP && on_to == NET_DROP)
        return note_id(c, doc, len, err);
    return tell(c, before, after, err);
}

/* A document {_id} that was gathered: what it finally is does not depend on the base. */
static enum pitr_rc
compare_gathered(void *arg, const uint8_t *key, size_t key_len, struct pitr_err *err)
{
    struct compare *c = arg;
    struct bytes before, after;

    if (net_final(c->from->net, key, key_len, NULL, 0, &before.doc, &before.len, &c->a, &c->scratch,
                  err) != PITR_OK ||
        net_final(c->to->net, key, key_len, NULL, 0, &after.doc, &after.len, &c->b, &c->scratch,
                  err) != PITR_OK)
        return err->rc;
    return tell(c, before, after, err);
}

/* What exists at the later moment and was not in the base. */
static enum pitr_rc
compare_born(void *arg, const struct net_stranger *s, struct pitr_err *err)
{
    struct compare *c = arg;
    struct bytes before, after = {s->doc, s->doc_len};

    if (advance(c, after.len, err) != PITR_OK)
        return err->rc;
    if (after.doc == NULL)
        return PITR_OK;
    if (net_final_stranger(c->from->net, s->key, s->key_len, &before.doc, &before.len, &c->a,
                           &c->scratch, err) != PITR_OK)
        return err->rc;
    return is_equal(before, after) ? PITR_OK : tell(c, before, after, err);
}

/* What existed at the earlier moment, was not in the base, and is gone. It may be unknown to the
 * later net: the collection may have been emptied in between. */
static enum pitr_rc
compare_gone(void *arg, const struct net_stranger *s, struct pitr_err *err)
{
    struct compare *c = arg;
    struct bytes before = {s->doc, s->doc_len}, after;

    if (advance(c, before.len, err) != PITR_OK)
        return err->rc;
    if (before.doc == NULL)
        return PITR_OK;
    if (net_final_stranger(c->to->net, s->key, s->key_len, &after.doc, &after.len, &c->b,
                           &c->scratch, err) != PITR_OK)
        return err->rc;
    return after.doc != NULL ? PITR_OK : tell(c, before, after, err);
}

static enum pitr_rc
stream_base(struct compare *c, struct pitr_err *err)
{
    PITR_AUTO(base_cursor_freep) struct base_cursor *cur = NULL;
    const uint8_t *doc;
    size_t len;

    if (base_cursor_open(&cur, c->diff->to.store, c->to->node, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (base_cursor_next(cur, &doc, &len, err) != PITR_OK)
            return err->rc;
        if (doc == NULL)
            return PITR_OK;
        if (compare_base(c, doc, len, err) != PITR_OK || advance(c, len, err) != PITR_OK)
            return err->rc;
    }
}

/* Two nets over one base. */
static enum pitr_rc
compare_nets(struct compare *c, struct pitr_err *err)
{
    if (c->to->node != NULL) {
        if (net_is_empty(c->to->net))
            return PITR_OK;
        if (stream_base(c, err) != PITR_OK)
            return err->rc;
    }
    if (c->table != NULL && (net_seal(c->table, err) != PITR_OK ||
                             net_rest(c->table, compare_gathered, c, err) != PITR_OK))
        return err->rc;
    if (net_strangers(c->to->net, compare_born, c, err) != PITR_OK)
        return err->rc;
    return net_strangers(c->from->net, compare_gone, c, err);
}

static enum pitr_rc
enter_table(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct compare *c = arg;

    if (net_insert(c->table, doc, len, OP_LENIENT, err) != PITR_OK)
        return err->rc;
    return advance(c, len, err);
}

static enum pitr_rc
look_up(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct compare *c = arg;
    struct bytes before = {NULL, 0}, after = {doc, len};
    enum net_verdict verdict;

    if (net_filter(c->table, doc, len, &verdict, &c->a, &c->scratch, err) != PITR_OK)
        return err->rc;
    if (verdict != NET_KEEP && net_final(c->table, doc, len, NULL, 0, &before.doc, &before.len,
                                         &c->a, &c->scratch, err) != PITR_OK)
        return err->rc;
    if (!is_equal(before, after) && tell(c, before, after, err) != PITR_OK)
        return err->rc;
    return advance(c, len, err);
}

static enum pitr_rc
tell_left(void *arg, const struct net_stranger *s, struct pitr_err *err)
{
    return tell(arg, (struct bytes){s->doc, s->doc_len}, (struct bytes){NULL, 0}, err);
}

static enum pitr_rc
tell_removed(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct compare *c = arg;

    if (tell(c, (struct bytes){doc, len}, (struct bytes){NULL, 0}, err) != PITR_OK)
        return err->rc;
    return advance(c, len, err);
}

static enum pitr_rc
tell_added(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct compare *c = arg;

    if (tell(c, (struct bytes){NULL, 0}, (struct bytes){doc, len}, err) != PITR_OK)
        return err->rc;
    return advance(c, len, err);
}

/* Two streams of documents that need have nothing in common. */
static enum pitr_rc
compare_join(struct compare *c, struct pitr_err *err)
{
    if (make_table(c, err) != PITR_OK ||
        state_stream(&c->diff->from, c->from, enter_table, c, err) != PITR_OK ||
        net_seal(c->table, err) != PITR_OK ||
        state_stream(&c->diff->to, c->to, look_up, c, err) != PITR_OK)
        return err->rc;
    return net_strangers(c->table, tell_left, c, err);
}

bool
diff_is_same_coll(const struct state_coll *a, const struct state_coll *b)
{
    static const uint8_t none[UUID_LEN];

    return a->uuid != NULL && b->uuid != NULL && memcmp(a->uuid, b->uuid, UUID_LEN) == 0 &&
           memcmp(a->uuid, none, UUID_LEN) != 0;
}

static bool
is_one_base(const struct compare *c)
{
    return strcmp(c->diff->from.manifest.id, c->diff->to.manifest.id) == 0 &&
           diff_is_same_coll(c->from, c->to) && (c->from->node == NULL) == (c->to->node == NULL);
}

/* Nothing happened to the base at either moment, and it is the same bytes. */
static bool
is_untouched(const struct compare *c)
{
    const struct coll_node *a = c->from->node, *b = c->to->node;

    return a != NULL && b != NULL && (c->from->net == NULL || net_is_empty(c->from->net)) &&
           (c->to->net == NULL || net_is_empty(c->to->net)) && a->nlists == b->nlists &&
           (a->nlists == 0 || memcmp(a->lists, b->lists, a->nlists * sizeof *a->lists) == 0);
}

enum pitr_rc
diff_documents(struct diff *d, const struct diff_pair *p, diff_visit *visit, void *arg,
               struct pitr_err *err)
{
    PITR_AUTO(compare_release)
    struct compare c = {.diff = d, .from = p->from, .to = p->to, .visit = visit, .arg = arg};
    enum pitr_rc rc = PITR_OK;

    if (p->from == NULL)
        rc = state_stream(&d->to, p->to, tell_added, &c, err);
    else if (p->to == NULL)
        rc = state_stream(&d->from, p->from, tell_removed, &c, err);
    else if (is_untouched(&c))
        return PITR_OK;
    else if (is_one_base(&c) && p->from->net != NULL && p->to->net != NULL)
        rc = compare_nets(&c, err);
    else
        rc = compare_join(&c, err);
    job_advance(d->o->job, c.documents, c.bytes);
    return rc;
}
