#include "oplog/chain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct chain_span *
chain_covering(const struct chain *c, uint32_t timeline, uint64_t from, uint64_t to)
{
    size_t i;

    for (i = 0; i < c->nspans; i++) {
        const struct chain_span *s = &c->spans[i];
        /* Nothing lies between prev and first: that is what a segment's prev says. */
        uint64_t start = s->prev != 0 ? s->prev + 1 : s->first;

        if (s->timeline == timeline && start <= from && to <= s->last)
            return s;
    }
    return NULL;
}

const struct chain_span *
chain_head(const struct chain *c)
{
    return c->nspans == 0 ? NULL : &c->spans[c->nspans - 1];
}

/* What the walk knows of the segment before, and where it is going. */
struct walk {
    struct blob *blob;
    const struct repo_keys *keys;
    uint64_t from, to;
    const struct chain_visitor *visitor;
    bool is_first, stop;
    struct segment_info before;
};

static enum pitr_rc
check_join(const struct walk *w, const struct segment_info *info, const char *name,
           struct pitr_err *err)
{
    if (w->is_first)
        return PITR_OK;
    if (info->prev.ts != w->before.last.ts || info->prev.term != w->before.last.term)
        return pitr_fail(err, PITR_CORRUPT,
                         "%s: its predecessor ends in another entry than it says", name);
    if (memcmp(info->prev_hash, w->before.hash, SEGMENT_HASH_LEN) != 0)
        return pitr_fail(err, PITR_CORRUPT, "%s: its predecessor is another than it was sealed on",
                         name);
    return PITR_OK;
}

static enum pitr_rc
visit_entry(struct walk *w, const char *name, const uint8_t *data, size_t len, struct pitr_err *err)
{
    struct oplog_entry e;
    struct oplog_stamp stamp;
    struct pitr_err ignored, why;

    if (oplog_entry_parse(&e, data, len, err) != PITR_OK) {
        if (oplog_entry_stamp(&stamp, data, len, &ignored) != PITR_OK)
            return pitr_wrap(err, "%s", name);
        /* An operation nobody asked for may well be unknown. */
        if (stamp.ts < w->from || stamp.ts > w->to)
            return PITR_OK;
        if (w->visitor->unknown == NULL)
            return pitr_wrap(err, "%s", name);
        why = *err;
        return w->visitor->unknown(w->visitor->arg, data, len, &stamp, why.msg, &w->stop, err);
    }
    if (e.ts < w->from || e.ts > w->to)
        return PITR_OK;
    return w->visitor->entry(w->visitor->arg, &e, &w->stop, err);
}

static enum pitr_rc
walk_segment(struct walk *w, const struct segment_info *named, struct pitr_err *err)
{
    PITR_AUTO(segment_reader_freep) struct segment_reader *r = NULL;
    char name[SEGMENT_NAME_LEN];
    struct segment_info info;
    const uint8_t *data;
    size_t len;

    segment_name(name, named);
    if (segment_reader_open(&r, w->blob, w->keys, name, &info, err) != PITR_OK ||
        check_join(w, &info, name, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (segment_reader_next(r, &data, &len, err) != PITR_OK)
            return err->rc;
        if (data == NULL)
            break;
        if (visit_entry(w, name, data, len, err) != PITR_OK)
            return err->rc;
        if (w->stop)
            return PITR_OK;
    }
    w->before = info;
    w->is_first = false;
    return PITR_OK;
}

enum pitr_rc
chain_walk(const struct chain *c, struct blob *blob, const struct repo_keys *keys,
           uint32_t timeline, uint64_t from, uint64_t to, chain_visit *visit, void *arg,
           struct pitr_err *err)
{
    struct chain_visitor v = {.entry = visit, .arg = arg};

    return chain_walk_with(c, blob, keys, timeline, from, to, &v, err);
}

enum pitr_rc
chain_walk_with(const struct chain *c, struct blob *blob, const struct repo_keys *keys,
                uint32_t timeline, uint64_t from, uint64_t to, const struct chain_visitor *v,
                struct pitr_err *err)
{
    const struct chain_span *span = chain_covering(c, timeline, from, to);
    struct walk w = {
        .blob = blob, .keys = keys, .from = from, .to = to, .visitor = v, .is_first = true};
    char a[TS_TEXT_LEN], b[TS_TEXT_LEN];
    size_t i;

    if (span == NULL) {
        ts_format(a, from);
        ts_format(b, to);
        return pitr_fail(err, PITR_GAP,
                         "the captured oplog of timeline %" PRIu32 " does not cover %s to %s",
                         timeline, a, b);
    }
    for (i = span->seg; i < span->seg + span->segs && !w.stop; i++) {
        const struct segment_info *s = &c->segments[i];

        if (s->last.ts < from)
            continue;
        if (s->first.ts > to)
            break;
        if (walk_segment(&w, s, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}
