/* How a chain is put together from the names of its objects. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oplog/chain.h"

/* Names as the listing gave them, before anything is concluded from them. */
struct listing {
    struct segment_info *segments;
    size_t nsegments, segments_cap;
    struct gap *gaps;
    size_t ngaps, gaps_cap;
};

static void
listing_release(struct listing *l)
{
    free(l->segments);
    free(l->gaps);
}

/* Room for one more item of `size` bytes in the array *items; counts grow by doubling. */
static enum pitr_rc
make_room(void **items, size_t len, size_t *cap, size_t size, struct pitr_err *err)
{
    size_t more = *cap == 0 ? 16 : *cap * 2;
    void *grown;

    if (len < *cap)
        return PITR_OK;
    grown = reallocarray(*items, more, size);
    if (grown == NULL)
        return pitr_fail(err, PITR_NOMEM, "oplog chain: %zu objects", more);
    *items = grown;
    *cap = more;
    return PITR_OK;
}

static enum pitr_rc
list_object(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    struct listing *l = arg;
    struct segment_info segment;
    struct gap gap;
    void *items;

    (void)size;
    if (segment_name_parse(&segment, name)) {
        items = l->segments;
        if (make_room(&items, l->nsegments, &l->segments_cap, sizeof segment, err) != PITR_OK)
            return err->rc;
        l->segments = items;
        l->segments[l->nsegments++] = segment;
    } else if (gap_name_parse(&gap, name)) {
        items = l->gaps;
        if (make_room(&items, l->ngaps, &l->gaps_cap, sizeof gap, err) != PITR_OK)
            return err->rc;
        l->gaps = items;
        l->gaps[l->ngaps++] = gap;
    }
    return PITR_OK;
}

static int
compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int
compare_segments(const void *pa, const void *pb)
{
    const struct segment_info *a = pa, *b = pb;

    if (a->timeline != b->timeline)
        return compare_u64(a->timeline, b->timeline);
    if (a->first.ts != b->first.ts)
        return compare_u64(a->first.ts, b->first.ts);
    if (a->last.ts != b->last.ts)
        return compare_u64(a->last.ts, b->last.ts);
    return compare_u64(a->prev.ts, b->prev.ts);
}

static int
compare_gaps(const void *pa, const void *pb)
{
    const struct gap *a = pa, *b = pb;

    if (a->timeline != b->timeline)
        return compare_u64(a->timeline, b->timeline);
    if (a->after.ts != b->after.ts)
        return compare_u64(a->after.ts, b->after.ts);
    return compare_u64(a->before.ts, b->before.ts);
}

static bool
joins(const struct chain_span *span, const struct segment_info *next)
{
    return next->timeline == span->timeline && next->prev.ts == span->last;
}

static enum pitr_rc
build_spans(struct chain *c, struct pitr_err *err)
{
    struct chain_span *span = NULL;
    size_t cap = 0, i;
    void *items;

    for (i = 0; i < c->nsegments; i++) {
        const struct segment_info *s = &c->segments[i];

        if (span == NULL || !joins(span, s)) {
            items = c->spans;
            if (make_room(&items, c->nspans, &cap, sizeof *c->spans, err) != PITR_OK)
                return err->rc;
            c->spans = items;
            span = &c->spans[c->nspans++];
            *span = (struct chain_span){
                .timeline = s->timeline, .prev = s->prev.ts, .first = s->first.ts, .seg = i};
        }
        span->last = s->last.ts;
        span->segs++;
    }
    return PITR_OK;
}

/* The last span of the gap's timeline that starts at or before its `after`, or NULL; *next is the
 * span that follows in the timeline, or NULL. */
static const struct chain_span *
span_before(const struct chain *c, const struct gap *gap, const struct chain_span **next)
{
    const struct chain_span *before = NULL;
    size_t i;

    *next = NULL;
    for (i = 0; i < c->nspans; i++) {
        const struct chain_span *s = &c->spans[i];

        if (s->timeline != gap->timeline)
            continue;
        if (s->first > gap->after.ts) {
            *next = s;
            break;
        }
        before = s;
    }
    return before;
}

/* Whether the recorded gap l->gaps[at] is what became of the capture. */
static bool
gap_holds(const struct chain *c, const struct listing *l, size_t at)
{
    const struct gap *g = &l->gaps[at];
    const struct chain_span *next, *before = span_before(c, g, &next);

    if (before == NULL || g->after.ts > before->last)
        return true; /* what stood before it was pruned; the record is all that is known */
    if (g->after.ts < before->last)
        return false;
    if (next != NULL)
        return g->before.ts == next->first;
    /* Nothing was captured after it yet: of several attempts, the last one counts. */
    return at + 1 == l->ngaps || l->gaps[at + 1].timeline != g->timeline ||
           l->gaps[at + 1].after.ts != g->after.ts;
}

static enum pitr_rc
add_gap(struct chain *c, size_t *cap, const struct gap *gap, struct pitr_err *err)
{
    void *items = c->gaps;

    if (make_room(&items, c->ngaps, cap, sizeof *gap, err) != PITR_OK)
        return err->rc;
    c->gaps = items;
    c->gaps[c->ngaps++] = *gap;
    return PITR_OK;
}

static enum pitr_rc
add_recorded(struct chain *c, size_t *cap, const struct gap *named, struct blob *blob,
             const struct repo_keys *keys, struct pitr_err *err)
{
    struct gap g = *named;
    char name[SEGMENT_NAME_LEN];

    gap_name(name, named);
    if (gap_read(&g, blob, keys, name, err) != PITR_OK) {
        if (err->rc != PITR_CORRUPT)
            return err->rc;
        g = *named;
        g.is_damaged = true;
        snprintf(g.reason, sizeof g.reason, "its record is damaged");
    }
    return add_gap(c, cap, &g, err);
}

static bool
is_explained(const struct chain *c, const struct chain_span *a, const struct chain_span *b)
{
    size_t i;

    for (i = 0; i < c->ngaps; i++) {
        if (c->gaps[i].timeline == a->timeline && c->gaps[i].after.ts == a->last &&
            c->gaps[i].before.ts == b->first)
            return true;
    }
    return false;
}

/* Where two spans of a timeline stand apart without a record, segments were lost. */
static enum pitr_rc
add_lost(struct chain *c, size_t *cap, struct pitr_err *err)
{
    size_t i;

    for (i = 0; i + 1 < c->nspans; i++) {
        const struct chain_span *a = &c->spans[i], *b = a + 1;
        struct gap g = {.timeline = a->timeline,
                        .after = {.ts = a->last, .term = -1},
                        .before = {.ts = b->first, .term = -1}};

        if (a->timeline != b->timeline || b->first <= a->last || is_explained(c, a, b))
            continue;
        snprintf(g.reason, sizeof g.reason, "one or more segments are missing from the repository");
        if (add_gap(c, cap, &g, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
build_gaps(struct chain *c, const struct listing *l, struct blob *blob,
           const struct repo_keys *keys, struct pitr_err *err)
{
    size_t cap = 0, i;

    for (i = 0; i < l->ngaps; i++) {
        if (gap_holds(c, l, i) && add_recorded(c, &cap, &l->gaps[i], blob, keys, err) != PITR_OK)
            return err->rc;
    }
    if (add_lost(c, &cap, err) != PITR_OK)
        return err->rc;
    if (c->ngaps > 1)
        qsort(c->gaps, c->ngaps, sizeof *c->gaps, compare_gaps);
    return PITR_OK;
}

enum pitr_rc
chain_load(struct chain *out, struct blob *blob, const struct repo_keys *keys, struct pitr_err *err)
{
    PITR_AUTO(listing_release) struct listing l = {0};

    *out = (struct chain){0};
    if (blob_list(blob, "oplog/", list_object, &l, err) != PITR_OK)
        return pitr_wrap(err, "oplog chain");
    if (l.nsegments > 1)
        qsort(l.segments, l.nsegments, sizeof *l.segments, compare_segments);
    if (l.ngaps > 1)
        qsort(l.gaps, l.ngaps, sizeof *l.gaps, compare_gaps);
    out->segments = l.segments;
    out->nsegments = l.nsegments;
    l.segments = NULL;
    if (build_spans(out, err) != PITR_OK || build_gaps(out, &l, blob, keys, err) != PITR_OK)
        return pitr_wrap(err, "oplog chain");
    return PITR_OK;
}

void
chain_release(struct chain *c)
{
    free(c->segments);
    free(c->spans);
    free(c->gaps);
    *c = (struct chain){0};
}
