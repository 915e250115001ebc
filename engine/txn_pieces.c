#include "engine/txn_pieces.h"

#include <stdlib.h>
#include <string.h>

#include "oplog/ops.h"

void
txn_pieces_release(struct txn_pieces *p)
{
    for (size_t i = 0; i < p->n; i++)
        buf_release(&p->at[i].raw);
    free(p->at);
    *p = (struct txn_pieces){0};
}

/* Put an empty piece in at `i`. */
static enum pitr_rc
insert_piece(struct txn_pieces *p, size_t i, struct pitr_err *err)
{
    struct txn_piece *at = realloc(p->at, (p->n + 1) * sizeof *at);

    if (at == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu pieces of a transaction", p->n + 1);
    p->at = at;
    memmove(&at[i + 1], &at[i], (p->n - i) * sizeof *at);
    at[i] = (struct txn_piece){0};
    p->n++;
    return PITR_OK;
}

struct collect {
    const struct oplog_entry *of;
    struct txn_pieces here;
};

static enum pitr_rc
collect_piece(void *arg, const struct oplog_entry *e, bool *stop, struct pitr_err *err)
{
    struct collect *c = arg;
    struct txn_piece *piece;

    (void)stop;
    if (!ops_is_piece(e) || e->txn_number != c->of->txn_number || e->lsid_len != c->of->lsid_len ||
        (e->lsid != NULL && memcmp(e->lsid, c->of->lsid, e->lsid_len) != 0))
        return PITR_OK;
    if (insert_piece(&c->here, c->here.n, err) != PITR_OK)
        return err->rc;
    piece = &c->here.at[c->here.n - 1];
    piece->at = (struct optime){.ts = e->ts, .term = e->term};
    piece->prev = e->prev;
    return buf_append(&piece->raw, e->raw, e->raw_len, err);
}

static enum pitr_rc
pass_over(void *arg, const uint8_t *data, size_t len, const struct oplog_stamp *stamp,
          const char *why, bool *stop, struct pitr_err *err)
{
    (void)arg;
    (void)data;
    (void)len;
    (void)stamp;
    (void)why;
    (void)stop;
    (void)err;
    return PITR_OK;
}

static const struct segment_info *
segment_at(const struct chain *chain, uint32_t timeline, uint64_t ts)
{
    for (size_t i = 0; i < chain->nsegments; i++) {
        const struct segment_info *s = &chain->segments[i];

        if (s->timeline == timeline && s->first.ts <= ts && ts <= s->last.ts)
            return s;
    }
    return NULL;
}

/* Put the pieces from *want back towards the first in front of `out`, as far as they are among
 * `here`, which is in order; *want is then what is missing, or has ts 0. */
static enum pitr_rc
follow_links(struct txn_pieces *out, struct txn_pieces *here, struct optime *want,
             struct pitr_err *err)
{
    for (size_t i = here->n; i-- > 0 && want->ts != 0;) {
        if (here->at[i].at.ts != want->ts || here->at[i].at.term != want->term)
            continue;
        if (insert_piece(out, 0, err) != PITR_OK)
            return err->rc;
        out->at[0] = here->at[i];
        here->at[i].raw = (struct buf){0};
        *want = out->at[0].prev;
    }
    return PITR_OK;
}

enum pitr_rc
txn_pieces_find(struct txn_pieces *out, const struct chain *chain, struct blob *blob,
                const struct repo_keys *keys, uint32_t timeline, const struct oplog_entry *e,
                struct pitr_err *err)
{
    struct optime want = e->prev;

    *out = (struct txn_pieces){0};
    while (want.ts != 0) {
        const struct segment_info *segment = segment_at(chain, timeline, want.ts);
        struct collect c = {.of = e};
        const struct chain_visitor v = {.entry = collect_piece, .unknown = pass_over, .arg = &c};
        uint64_t was = want.ts;
        enum pitr_rc rc;

        if (segment == NULL)
            return pitr_fail(err, PITR_NOTFOUND, "a piece of a transaction is not captured");
        rc = chain_walk_with(chain, blob, keys, timeline, segment->first.ts, want.ts, &v, err);
        if (rc == PITR_OK)
            rc = follow_links(out, &c.here, &want, err);
        txn_pieces_release(&c.here);
        if (rc != PITR_OK)
            return rc;
        /* Links lead back in time, so that this ends. */
        if (want.ts >= was)
            return pitr_fail(err, PITR_NOTFOUND, "a piece of a transaction is not captured");
    }
    return PITR_OK;
}
