#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "oplog/net_internal.h"
#include "oplog/update_compose.h"

/* Updates are folded when so many have gathered, or so many bytes: onto the document, which bounds
 * the list that a hot document is computed from; or, where the document is not known, into each
 * other. What cannot be folded doubles the limits. */
enum { FOLD_ON_DOC = 64, FOLD_EACH_OTHER = 16, FOLD_BYTES = 64 << 10 };

/* What malloc() adds, about. */
enum { MALLOC_COST = 16 };

static void
set_fold_limits(struct net_entry *e)
{
    uint32_t least = e->content == CONTENT_PUT ? FOLD_ON_DOC : FOLD_EACH_OTHER;

    e->fold_nops = e->nops > least / 2 ? 2 * e->nops : least;
    e->fold_len = 2 * e->ops_len + FOLD_BYTES;
    if (e->content == CONTENT_PUT)
        e->fold_len += e->doc_len;
}

void
net_entry_init(struct net_entry *e, size_t npasts)
{
    for (uint8_t i = 0; i < STANDS; i++)
        e->from[i] = i < npasts ? i : STAND_BAD_PAST;
    e->content = CONTENT_UPDATES;
    set_fold_limits(e);
}

static void
op_free(struct net *n, struct net_op *op)
{
    spill_user_release(&n->user, sizeof *op + op->len + MALLOC_COST);
    free(op);
}

static void
forget_ops(struct net *n, struct net_entry *e)
{
    while (e->ops != NULL) {
        struct net_op *op = e->ops;

        e->ops = op->next;
        op_free(n, op);
    }
    e->last_op = NULL;
    e->nops = 0;
    e->ops_len = 0;
}

/* `doc` becomes the entry's, or NULL. */
static void
set_doc(struct net *n, struct net_entry *e, uint8_t *doc, size_t len)
{
    if (e->doc != NULL)
        spill_user_release(&n->user, e->doc_len + (size_t)MALLOC_COST);
    free(e->doc);
    e->doc = doc;
    e->doc_len = (uint32_t)len;
    if (doc != NULL)
        spill_user_hold(&n->user, len + MALLOC_COST);
}

static enum pitr_rc
copy_doc(struct net *n, struct net_entry *e, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    uint8_t *copy = malloc(len);

    if (copy == NULL)
        return pitr_fail(err, PITR_NOMEM, "net map: document of %zu bytes", len);
    memcpy(copy, doc, len);
    set_doc(n, e, copy, len);
    return PITR_OK;
}

void
net_entry_release(struct net *n, struct net_entry *e)
{
    forget_ops(n, e);
    set_doc(n, e, NULL, 0);
}

enum pitr_rc
net_entry_put(struct net *n, struct net_entry *e, const uint8_t *doc, size_t len, uint64_t seq,
              struct pitr_err *err)
{
    if (copy_doc(n, e, doc, len, err) != PITR_OK)
        return err->rc;
    forget_ops(n, e);
    e->content = CONTENT_PUT;
    e->seq = seq;
    set_fold_limits(e);
    return PITR_OK;
}

void
net_entry_drop(struct net *n, struct net_entry *e)
{
    net_entry_release(n, e);
    e->content = CONTENT_GONE;
}

bool
net_ops_next(struct net_ops_cursor *c, struct net_op_view *out)
{
    if (c->op != NULL) {
        *out = (struct net_op_view){.o = c->op->o, .len = c->op->len, .flags = c->op->flags};
        c->op = c->op->next;
        return true;
    }
    if (c->at == c->end)
        return false;
    *out = (struct net_op_view){.o = c->at + 5, .len = get_le32(c->at), .flags = c->at[4]};
    c->at += 5 + (size_t)out->len;
    return true;
}

enum pitr_rc
net_ops_apply(const struct net *n, struct net_ops_cursor ops, bool upserted, const uint8_t *pre,
              size_t pre_len, struct buf *out, struct buf *between, struct pitr_err *err)
{
    struct net_op_view op;
    bool first = true;

    while (net_ops_next(&ops, &op)) {
        if (upserted && (op.flags & NET_OP_UPSERT) == 0)
            continue;
        upserted = false;
        if (!first) {
            struct buf result = *out;

            *out = *between;
            *between = result;
            pre = result.data;
            pre_len = result.len;
        }
        first = false;
        buf_clear(out);
        if (update_apply(out, pre, pre_len, op.o, op.len, n->order, (op.flags & NET_OP_STRICT) != 0,
                         err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

/* Replace a starting document and its gathered updates by their result. Updates that cannot be
 * applied stay: whether that matters is seen when the document is asked for. */
static enum pitr_rc
fold_on_doc(struct net *n, struct net_entry *e, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(buf_release) struct buf between = {0};
    enum pitr_rc rc = net_ops_apply(n, (struct net_ops_cursor){.op = e->ops}, false, e->doc,
                                    e->doc_len, &out, &between, err);

    if (rc == PITR_CORRUPT)
        return PITR_OK;
    if (rc != PITR_OK || copy_doc(n, e, out.data, out.len, err) != PITR_OK)
        return err->rc;
    forget_ops(n, e);
    return PITR_OK;
}

static void
link_last(struct net_entry *e, struct net_op *op)
{
    op->prev = e->last_op;
    op->next = NULL;
    if (e->last_op != NULL)
        e->last_op->next = op;
    else
        e->ops = op;
    e->last_op = op;
    e->nops++;
    e->ops_len += op->len;
}

static struct net_op *
unlink_last(struct net_entry *e)
{
    struct net_op *op = e->last_op;

    e->last_op = op->prev;
    if (e->last_op != NULL)
        e->last_op->next = NULL;
    else
        e->ops = NULL;
    e->nops--;
    e->ops_len -= op->len;
    return op;
}

static enum pitr_rc
op_new(struct net *n, const uint8_t *o, size_t len, uint8_t flags, struct net_op **out,
       struct pitr_err *err)
{
    struct net_op *op = malloc(sizeof *op + len);

    if (op == NULL)
        return pitr_fail(err, PITR_NOMEM, "net map: update of %zu bytes", len);
    *op = (struct net_op){.len = (uint32_t)len, .flags = flags};
    memcpy(op->o, o, len);
    spill_user_hold(&n->user, sizeof *op + len + MALLOC_COST);
    *out = op;
    return PITR_OK;
}

/* Make one of the last two updates, if they can be. A long one takes in short ones only when those
 * have grown together to a fourth of it, so that it is not written anew for each of them. */
static enum pitr_rc
compose_last(struct net *n, struct net_entry *e, bool *composed, struct buf *work,
             struct pitr_err *err)
{
    struct net_op *b = e->last_op, *a = b->prev, *both;

    *composed = false;
    if (a == NULL || a->flags != NET_OP_STRICT || b->flags != NET_OP_STRICT || a->len / 4 > b->len)
        return PITR_OK;
    buf_clear(work);
    if (update_compose(work, a->o, a->len, b->o, b->len, n->order, composed, err) != PITR_OK) {
        *composed = false;
        return err->rc == PITR_CORRUPT ? PITR_OK : err->rc;
    }
    if (!*composed)
        return PITR_OK;
    if (op_new(n, work->data, work->len, NET_OP_STRICT, &both, err) != PITR_OK)
        return err->rc;
    op_free(n, unlink_last(e));
    op_free(n, unlink_last(e));
    link_last(e, both);
    return PITR_OK;
}

static enum pitr_rc
fold_each_other(struct net *n, struct net_entry *e, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf work = {0};
    struct net_op *todo = e->ops;
    enum pitr_rc rc = PITR_OK;

    e->ops = e->last_op = NULL;
    e->nops = 0;
    e->ops_len = 0;
    while (todo != NULL) {
        struct net_op *op = todo;
        bool composed = true;

        todo = op->next;
        link_last(e, op);
        while (composed && rc == PITR_OK)
            rc = compose_last(n, e, &composed, &work, err);
    }
    return rc;
}

static enum pitr_rc
fold(struct net *n, struct net_entry *e, struct pitr_err *err)
{
    enum pitr_rc rc =
        e->content == CONTENT_PUT ? fold_on_doc(n, e, err) : fold_each_other(n, e, err);

    set_fold_limits(e);
    return rc;
}

enum pitr_rc
net_entry_update(struct net *n, struct net_entry *e, const struct net_update *u,
                 struct pitr_err *err)
{
    bool upsert = (u->flags & NET_OP_UPSERT) != 0;
    struct net_op *op = NULL;

    if (e->content == CONTENT_GONE && !upsert)
        return PITR_OK; /* legal only if the operation was lenient, and then nothing happens */
    if (op_new(n, u->o, u->len, u->flags, &op, err) != PITR_OK)
        return err->rc;
    if (upsert && e->content != CONTENT_PUT && e->doc == NULL) {
        if (copy_doc(n, e, u->seed, u->seed_len, err) != PITR_OK) {
            op_free(n, op);
            return err->rc;
        }
        e->seq = u->seq;
        if (e->content == CONTENT_GONE)
            e->content = CONTENT_PUT;
        set_fold_limits(e);
    }
    link_last(e, op);
    return e->nops >= e->fold_nops || e->ops_len > e->fold_len ? fold(n, e, err) : PITR_OK;
}
