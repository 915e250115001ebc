#include "engine/oplog_search.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/op_ns.h"
#include "engine/txn_pieces.h"
#include "oplog/docid.h"

/* Entries between two looks at whether to stop. */
enum { CHECK_EVERY = 4096 };

struct search {
    const struct chain *chain;
    struct blob *blob;
    const struct repo_keys *keys;
    const struct search_opts *opts;
    const struct search_sink *sink;
    uint32_t timeline; /* where the search is */
    struct ops *ops;
    bool stop, is_after; /* after: behind `to`, for ends of prepared transactions */
    uint64_t entries;
    struct buf id;                   /* scratch: key of an _id */
    char recent[OP_NS_LEN];          /* namespace of the last document operation, and */
    bool has_recent, recent_matches; /* whether it is one of those asked for: they come in runs */
};

static enum search_kind
kind_of(const struct op *op)
{
    if (op->e == NULL)
        return SEARCH_UNKNOWN;
    switch (op->e->op) {
    case 'i':
        return SEARCH_INSERT;
    case 'u':
        return SEARCH_UPDATE;
    case 'd':
        return SEARCH_DELETE;
    case 'c':
        return SEARCH_COMMAND;
    default:
        return SEARCH_NOOP;
    }
}

static bool
is_wanted(const struct search_opts *o, const struct op_ns *names)
{
    if (o->nns > 0 && !op_ns_matches(names, o->ns, o->nns))
        return false;
    return !op_ns_excluded(names, o->exclude_ns, o->nexclude_ns);
}

/* Documents: one comparison for an operation on the same collection as the one before. */
static bool
is_wanted_ns(struct search *s, const struct oplog_entry *e)
{
    struct op_ns names;

    if (s->opts->nns + s->opts->nexclude_ns == 0)
        return true;
    if (s->has_recent && strcmp(s->recent, e->ns) == 0)
        return s->recent_matches;
    op_ns_of(&names, e);
    memcpy(s->recent, names.ns, sizeof s->recent);
    s->has_recent = true;
    s->recent_matches = is_wanted(s->opts, &names);
    return s->recent_matches;
}

/* What cannot be understood may still say its namespace; where it does not, it may be any. */
static bool
is_wanted_raw(const struct search_opts *o, const struct op *op, struct op_ns *names)
{
    struct pitr_err ignored;
    struct belem ns;
    const char *text;
    size_t len;
    bool found = false;

    *names = (struct op_ns){0};
    if (op->raw == NULL ||
        bson_find(op->raw, op->raw_len, "ns", &found, &ns, &ignored) != PITR_OK || !found ||
        !belem_string(&ns, &text, &len) || strlen(text) != len || len == 0)
        return true;
    snprintf(names->ns, sizeof names->ns, "%s", text);
    return strstr(text, ".$cmd") != NULL || is_wanted(o, names);
}

static enum pitr_rc
find_id(const struct oplog_entry *e, struct belem *id, struct pitr_err *err)
{
    const uint8_t *doc = e->op == 'u' ? e->o2 : e->o;
    size_t len = e->op == 'u' ? e->o2_len : e->o_len;
    bool found = false;

    if (e->op != 'c' && e->op != 'n' && doc != NULL &&
        bson_find(doc, len, "_id", &found, id, err) != PITR_OK)
        return err->rc;
    if (!found)
        id->type = BSON_EOD;
    return PITR_OK;
}

static enum pitr_rc
is_wanted_id(struct search *s, const struct search_hit *hit, bool *wanted, struct pitr_err *err)
{
    const struct buf *want = s->opts->id;

    *wanted = want == NULL || hit->kind == SEARCH_UNKNOWN;
    if (*wanted || hit->id.type == BSON_EOD)
        return PITR_OK;
    buf_clear(&s->id);
    if (docid_append(&s->id, &hit->id, err) != PITR_OK)
        return err->rc;
    *wanted = s->id.len == want->len && memcmp(s->id.data, want->data, want->len) == 0;
    return PITR_OK;
}

static enum pitr_rc
consider(void *arg, const struct op *op, bool *stop, struct pitr_err *err)
{
    struct search *s = arg;
    struct search_hit hit = {.timeline = s->timeline, .kind = kind_of(op), .op = op};
    struct op_ns names = {0};
    bool wanted;

    if ((s->opts->kinds & hit.kind) == 0)
        return PITR_OK;
    if (op->e == NULL) {
        wanted = is_wanted_raw(s->opts, op, &names);
        hit.ns = names.ns;
    } else if (op->e->op == 'c') {
        op_ns_of(&names, op->e);
        wanted = is_wanted(s->opts, &names);
        hit.ns = names.ns;
    } else {
        wanted = is_wanted_ns(s, op->e);
        hit.ns = op->e->ns;
    }
    if (!wanted)
        return PITR_OK;
    if (op->e != NULL && find_id(op->e, &hit.id, err) != PITR_OK)
        return err->rc;
    if (is_wanted_id(s, &hit, &wanted, err) != PITR_OK)
        return err->rc;
    if (!wanted)
        return PITR_OK;
    if (s->sink->found(s->sink->arg, &hit, stop, err) != PITR_OK)
        return err->rc;
    s->stop = *stop;
    return PITR_OK;
}

static enum pitr_rc
count_entry(struct search *s, struct pitr_err *err)
{
    if (s->opts->job == NULL || s->entries++ % CHECK_EVERY != 0)
        return PITR_OK;
    return job_check(s->opts->job, err);
}

static enum pitr_rc
visit_entry(void *arg, const struct oplog_entry *e, bool *stop, struct pitr_err *err)
{
    struct search *s = arg;

    if (count_entry(s, err) != PITR_OK)
        return err->rc;
    if (!s->is_after)
        return ops_entry(s->ops, e, stop, err);
    if (ops_entry_after(s->ops, e, s->opts->to, stop, err) != PITR_OK)
        return err->rc;
    if (ops_prepared(s->ops) == 0)
        *stop = true;
    return PITR_OK;
}

static enum pitr_rc
visit_unknown(void *arg, const uint8_t *data, size_t len, const struct oplog_stamp *stamp,
              const char *why, bool *stop, struct pitr_err *err)
{
    struct search *s = arg;
    struct op op = {.note = why,
                    .raw = data,
                    .raw_len = len,
                    .ts = stamp->ts,
                    .logged = stamp->ts,
                    .wall_ms = stamp->wall_ms};

    if (count_entry(s, err) != PITR_OK)
        return err->rc;
    return s->is_after ? PITR_OK : consider(s, &op, stop, err);
}

static enum pitr_rc
find_earlier(void *arg, struct ops *o, const struct oplog_entry *e, struct pitr_err *err)
{
    struct search *s = arg;
    PITR_AUTO(txn_pieces_release) struct txn_pieces pieces = {0};
    struct oplog_entry piece;

    if (txn_pieces_find(&pieces, s->chain, s->blob, s->keys, s->timeline, e, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < pieces.n; i++)
        if (oplog_entry_parse(&piece, pieces.at[i].raw.data, pieces.at[i].raw.len, err) !=
                PITR_OK ||
            ops_recover_piece(o, &piece, err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

static enum pitr_rc
walk(struct search *s, uint64_t from, uint64_t to, struct pitr_err *err)
{
    const struct chain_visitor v = {.entry = visit_entry, .unknown = visit_unknown, .arg = s};

    return chain_walk_with(s->chain, s->blob, s->keys, s->timeline, from, to, &v, err);
}

/* Nothing lies between prev and first. */
static uint64_t
start_of(const struct chain_span *span)
{
    return span->prev != 0 ? span->prev + 1 : span->first;
}

/* Sets the part of the range that the span covers; false if there is none. */
static bool
clip(const struct search_opts *o, const struct chain_span *span, uint64_t *from, uint64_t *to)
{
    *from = o->from > start_of(span) ? o->from : start_of(span);
    *to = o->to < span->last ? o->to : span->last;
    return *from <= *to;
}

static enum pitr_rc
search_span(struct search *s, const struct chain_span *span, struct pitr_err *err)
{
    uint64_t from, to;

    if (!clip(s->opts, span, &from, &to))
        return PITR_OK;
    if (walk(s, from, to, err) != PITR_OK)
        return err->rc;
    if (s->stop || span->last <= to || ops_prepared(s->ops) == 0)
        return PITR_OK;
    s->is_after = true;
    if (walk(s, to + 1, span->last, err) != PITR_OK)
        return err->rc;
    s->is_after = false;
    return PITR_OK;
}

/* The first timestamp behind a gap; where it ends a timeline, the next one's first. */
static uint64_t
end_of_gap(const struct chain *c, const struct gap *g)
{
    uint64_t end = UINT64_MAX;

    if (g->before.ts != 0)
        return g->before.ts;
    for (size_t i = 0; i < c->nspans; i++)
        if (c->spans[i].timeline > g->timeline && c->spans[i].first > g->after.ts &&
            c->spans[i].first < end)
            end = c->spans[i].first;
    return end;
}

static enum pitr_rc
report_gap(struct search *s, const struct gap *g, struct pitr_err *err)
{
    if (s->stop || g->after.ts >= s->opts->to || end_of_gap(s->chain, g) <= s->opts->from)
        return PITR_OK;
    return s->sink->gap(s->sink->arg, g, err);
}

/* Gaps in front of `span` that were not looked at, from *next on; `span` NULL: all that are left.
 */
static enum pitr_rc
report_gaps(struct search *s, size_t *next, const struct chain_span *span, struct pitr_err *err)
{
    for (; *next < s->chain->ngaps; (*next)++) {
        const struct gap *g = &s->chain->gaps[*next];

        if (span != NULL && (g->timeline > span->timeline ||
                             (g->timeline == span->timeline && g->after.ts >= span->first)))
            break;
        if (report_gap(s, g, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

/* What was asked for before the first captured entry, or behind the last. */
static enum pitr_rc
report_outside(struct search *s, const struct chain_span *span, bool is_before,
               struct pitr_err *err)
{
    struct gap g = {.timeline = span->timeline};

    if (is_before) {
        g.before.ts = span->first;
        snprintf(g.reason, sizeof g.reason, "nothing before it is captured");
    } else {
        g.after.ts = span->last;
        snprintf(g.reason, sizeof g.reason, "nothing after it is captured yet");
    }
    return s->stop ? PITR_OK : s->sink->gap(s->sink->arg, &g, err);
}

static const struct chain_span *
oldest_of(const struct chain *c)
{
    const struct chain_span *oldest = &c->spans[0];

    for (size_t i = 1; i < c->nspans; i++)
        if (c->spans[i].first < oldest->first)
            oldest = &c->spans[i];
    return oldest;
}

static const struct chain_span *
newest_of(const struct chain *c)
{
    const struct chain_span *newest = &c->spans[0];

    for (size_t i = 1; i < c->nspans; i++)
        if (c->spans[i].last >= newest->last)
            newest = &c->spans[i];
    return newest;
}

static enum pitr_rc
end_timeline(struct search *s, struct pitr_err *err)
{
    size_t n = s->ops == NULL ? 0 : ops_prepared(s->ops);

    ops_freep(&s->ops);
    return n == 0 || s->stop ? PITR_OK : s->sink->unfinished(s->sink->arg, s->timeline, n, err);
}

static enum pitr_rc
begin_timeline(struct search *s, uint32_t timeline, struct pitr_err *err)
{
    if (s->ops != NULL && s->timeline == timeline)
        return PITR_OK;
    if (end_timeline(s, err) != PITR_OK)
        return err->rc;
    s->timeline = timeline;
    return ops_new(&s->ops, consider, find_earlier, s, err);
}

static enum pitr_rc
search_all(struct search *s, struct pitr_err *err)
{
    const struct chain *c = s->chain;
    const struct chain_span *oldest = oldest_of(c), *newest = newest_of(c);
    size_t gap = 0;

    if (s->opts->has_from && s->opts->from < start_of(oldest) &&
        report_outside(s, oldest, true, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < c->nspans && !s->stop; i++)
        if (begin_timeline(s, c->spans[i].timeline, err) != PITR_OK ||
            report_gaps(s, &gap, &c->spans[i], err) != PITR_OK ||
            search_span(s, &c->spans[i], err) != PITR_OK)
            return err->rc;
    if (end_timeline(s, err) != PITR_OK || report_gaps(s, &gap, NULL, err) != PITR_OK)
        return err->rc;
    if (s->opts->has_to && s->opts->to > newest->last)
        return report_outside(s, newest, false, err);
    return PITR_OK;
}

enum { RANGES_LEN = 640, MOMENT_LEN = CLOCK_TEXT_LEN + TS_TEXT_LEN + 3 };

static void
describe(char out[MOMENT_LEN], uint64_t ts)
{
    char when[CLOCK_TEXT_LEN], stamp[TS_TEXT_LEN];

    clock_format(when, ts_secs(ts));
    ts_format(stamp, ts);
    snprintf(out, MOMENT_LEN, "%s (%s)", when, stamp);
}

static enum pitr_rc
refuse_nothing(const struct chain *c, struct pitr_err *err)
{
    char ranges[RANGES_LEN] = "", from[MOMENT_LEN], to[MOMENT_LEN];
    size_t len = 0;

    if (c->nspans == 0)
        return pitr_fail(err, PITR_GAP,
                         "no operations are captured in this repository yet; 'pitr tail' captures "
                         "them");
    for (size_t i = 0; i < c->nspans && len < sizeof ranges; i++) {
        describe(from, c->spans[i].first);
        describe(to, c->spans[i].last);
        len += (size_t)snprintf(ranges + len, sizeof ranges - len, "%s%s to %s", i == 0 ? "" : ", ",
                                from, to);
    }
    return pitr_fail(err, PITR_GAP, "nothing of this range is captured; captured %s %s%s",
                     c->nspans == 1 ? "is" : "are", ranges, len < sizeof ranges ? "" : "...");
}

static bool
has_any(const struct search_opts *o, const struct chain *c)
{
    uint64_t from, to;

    for (size_t i = 0; i < c->nspans; i++)
        if (clip(o, &c->spans[i], &from, &to))
            return true;
    return false;
}

enum pitr_rc
oplog_search(const struct chain *chain, struct blob *blob, const struct repo_keys *keys,
             const struct search_opts *opts, const struct search_sink *sink, struct pitr_err *err)
{
    struct search s = {.chain = chain, .blob = blob, .keys = keys, .opts = opts, .sink = sink};
    enum pitr_rc rc;

    if (!has_any(opts, chain))
        return refuse_nothing(chain, err);
    rc = search_all(&s, err);
    ops_free(s.ops);
    buf_release(&s.id);
    return rc;
}
