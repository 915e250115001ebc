#include "engine/window.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { TARGET_LEN = 96 };

static int
compare_windows(const void *a, const void *b)
{
    const struct window *x = a, *y = b;

    if (x->timeline != y->timeline)
        return x->timeline < y->timeline ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

bool
history_is_good(const struct history *h, const struct manifest *snapshot)
{
    return !snapshot->pitr || chain_covering(&h->chain, snapshot->timeline, snapshot->begin.ts,
                                             snapshot->t_end.ts) != NULL;
}

const struct manifest *
history_newest(const struct history *h)
{
    for (size_t i = h->nsnapshots; i-- > 0;)
        if (!manifest_is_import(&h->snapshots[i]) && history_is_good(h, &h->snapshots[i]))
            return &h->snapshots[i];
    return NULL;
}

static bool
window_of(const struct history *h, const struct manifest *m, struct window *out)
{
    const struct chain_span *span;

    if (!m->pitr)
        return false;
    span = chain_covering(&h->chain, m->timeline, m->begin.ts, m->t_end.ts);
    if (span == NULL)
        return false;
    *out = (struct window){.timeline = m->timeline, .from = m->t_end.ts, .to = span->last};
    return true;
}

enum pitr_rc
history_derive(struct history *h, struct pitr_err *err)
{
    struct window *windows = calloc(h->nsnapshots + 1, sizeof *windows);
    size_t n = 0, merged = 0;

    if (windows == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu snapshots", h->nsnapshots);
    for (size_t i = 0; i < h->nsnapshots; i++)
        if (window_of(h, &h->snapshots[i], &windows[n]))
            n++;
    qsort(windows, n, sizeof *windows, compare_windows);
    for (size_t i = 0; i < n; i++) {
        struct window *last = merged == 0 ? NULL : &windows[merged - 1];

        if (last != NULL && last->timeline == windows[i].timeline && windows[i].from <= last->to) {
            if (windows[i].to > last->to)
                last->to = windows[i].to;
        } else {
            windows[merged++] = windows[i];
        }
    }
    free(h->windows);
    h->windows = windows;
    h->nwindows = merged;
    return PITR_OK;
}

/* Ids tell the second a snapshot was begun in, which is too coarse to order by. */
static int
compare_snapshots(const void *a, const void *b)
{
    const struct manifest *x = a, *y = b;

    if (x->finished_ms != y->finished_ms)
        return x->finished_ms < y->finished_ms ? -1 : 1;
    return strcmp(x->id, y->id);
}

static enum pitr_rc
load_snapshots(struct history *h, struct repo *r, const struct fs_names *ids, struct pitr_err *err)
{
    h->snapshots = calloc(ids->len + 1, sizeof *h->snapshots);
    if (h->snapshots == NULL)
        return pitr_fail(err, PITR_NOMEM, "%zu snapshots", ids->len);
    for (size_t i = 0; i < ids->len; i++) {
        enum pitr_rc rc = manifest_read_root(r, ids->at[i], &h->snapshots[h->nsnapshots], err);

        if (rc == PITR_OK)
            h->nsnapshots++;
        else if (rc == PITR_CORRUPT)
            rc = fs_names_add(&h->damaged, err->msg, err);
        else if (rc == PITR_NOTFOUND) /* removed since it was listed */
            rc = PITR_OK;
        if (rc != PITR_OK)
            return rc;
    }
    qsort(h->snapshots, h->nsnapshots, sizeof *h->snapshots, compare_snapshots);
    return PITR_OK;
}

enum pitr_rc
history_load(struct history *out, struct repo *r, struct pitr_err *err)
{
    PITR_AUTO(history_release) struct history h = {0};
    PITR_AUTO(fs_names_release) struct fs_names ids = {0};

    /* Snapshots before the oplog: one that is listed has its window captured already. */
    if (manifest_list(r, &ids, err) != PITR_OK || load_snapshots(&h, r, &ids, err) != PITR_OK ||
        chain_load(&h.chain, repo_blob(r), repo_keys(r), err) != PITR_OK ||
        history_derive(&h, err) != PITR_OK)
        return err->rc;
    *out = h;
    h = (struct history){0};
    return PITR_OK;
}

void
history_release(struct history *h)
{
    for (size_t i = 0; i < h->nsnapshots; i++)
        manifest_release(&h->snapshots[i]);
    free(h->snapshots);
    fs_names_release(&h->damaged);
    chain_release(&h->chain);
    free(h->windows);
    *h = (struct history){0};
}

/* Digits, a comma or colon, digits: what is meant as an oplog timestamp. */
static bool
looks_like_ts(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789,:")] == '\0';
}

static enum pitr_rc
parse_stamp(uint64_t *ts, const char *text, struct pitr_err *err)
{
    if (!ts_parse(ts, text))
        return pitr_fail(err, PITR_USAGE,
                         "\"%s\" is no oplog timestamp; write SECS,INC such as 1795442587,3", text);
    return PITR_OK;
}

enum pitr_rc
moment_parse(struct moment *out, const char *text, struct pitr_err *err)
{
    struct moment m = {0};
    int64_t seconds;

    if (strcmp(text, "latest") == 0) {
        m.kind = MOMENT_LATEST;
    } else if (looks_like_ts(text)) {
        m.kind = MOMENT_TS;
        if (parse_stamp(&m.value, text, err) != PITR_OK)
            return err->rc;
    } else {
        m.kind = MOMENT_SECOND;
        if (clock_parse(&seconds, text, err) != PITR_OK)
            return err->rc;
        m.value = seconds < 0 ? 0 : (uint64_t)seconds;
    }
    *out = m;
    return PITR_OK;
}

enum pitr_rc
moment_parse_before(struct moment *out, const char *text, struct pitr_err *err)
{
    struct moment m = {.kind = MOMENT_BEFORE};

    if (parse_stamp(&m.value, text, err) != PITR_OK)
        return err->rc;
    *out = m;
    return PITR_OK;
}

/* The last timestamp of a second; no operation ever has it, so it stands for the second's end. */
static uint64_t
end_of_second(uint64_t seconds)
{
    return seconds > UINT32_MAX ? UINT64_MAX : ts_make((uint32_t)seconds, UINT32_MAX);
}

/* The timestamp a moment comes to; only for those that name one. */
static uint64_t
moment_ts(const struct moment *m)
{
    if (m->kind == MOMENT_SECOND)
        return end_of_second(m->value);
    if (m->kind == MOMENT_BEFORE)
        return m->value == 0 ? 0 : m->value - 1;
    return m->value;
}

static void
describe(char out[TARGET_LEN], const struct moment *m)
{
    char when[CLOCK_TEXT_LEN], stamp[TS_TEXT_LEN];

    if (m->kind == MOMENT_SECOND) {
        clock_format(when, m->value > INT64_MAX ? INT64_MAX : (int64_t)m->value);
        snprintf(out, TARGET_LEN, "%s", when);
        return;
    }
    ts_format(stamp, m->value);
    clock_format(when, ts_secs(m->value));
    snprintf(out, TARGET_LEN, "%s%s (%s)", m->kind == MOMENT_BEFORE ? "before " : "", stamp, when);
}

/* The end of a window as targets that would be accepted: its last second that is complete, if it
 * has one, and its last timestamp. */
static void
describe_end(char out[TARGET_LEN], const struct window *w)
{
    char when[CLOCK_TEXT_LEN], stamp[TS_TEXT_LEN];

    ts_format(stamp, w->to);
    if (ts_secs(w->to) == 0 || end_of_second(ts_secs(w->to) - 1) < w->from) {
        snprintf(out, TARGET_LEN, "%s", stamp);
        return;
    }
    clock_format(when, (int64_t)ts_secs(w->to) - 1);
    snprintf(out, TARGET_LEN, "%s or %s", when, stamp);
}

static void
describe_start(char out[TARGET_LEN], const struct window *w)
{
    char when[CLOCK_TEXT_LEN], stamp[TS_TEXT_LEN];

    ts_format(stamp, w->from);
    if (end_of_second(ts_secs(w->from)) > w->to) {
        snprintf(out, TARGET_LEN, "%s", stamp);
        return;
    }
    clock_format(when, ts_secs(w->from));
    snprintf(out, TARGET_LEN, "%s or %s", when, stamp);
}

/* First timestamp after a gap: of a gap that ends a timeline, the next timeline's first. */
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

static const struct gap *
gap_around(const struct history *h, uint64_t ts)
{
    for (size_t i = h->chain.ngaps; i-- > 0;) {
        const struct gap *g = &h->chain.gaps[i];

        if (g->after.ts < ts && ts < end_of_gap(&h->chain, g))
            return g;
    }
    return NULL;
}

static bool
has_oplog(const struct history *h)
{
    for (size_t i = 0; i < h->nsnapshots; i++)
        if (h->snapshots[i].pitr)
            return true;
    return false;
}

static enum pitr_rc
refuse_nothing(const struct history *h, const char *what, struct pitr_err *err)
{
    if (h->nsnapshots == 0 && h->damaged.len > 0)
        return pitr_fail(err, PITR_CORRUPT, "%s: no snapshot can be read: %s", what,
                         h->damaged.at[0]);
    if (h->nsnapshots == 0)
        return pitr_fail(err, PITR_GAP,
                         "%s: the repository holds no snapshot yet; take one with 'pitr snapshot'",
                         what);
    if (!has_oplog(h))
        return pitr_fail(
            err, PITR_GAP,
            "%s: the snapshots were taken from a server without an oplog, or imported; "
            "restore one of them as it is, with --snapshot %s",
            what, h->snapshots[h->nsnapshots - 1].id);
    return pitr_fail(err, PITR_GAP,
                     "%s: no snapshot has its captured oplog; take a new one with 'pitr snapshot'",
                     what);
}

/* `ts` lies in no window; `below` and `above` are the nearest ones, one of them may be NULL. */
static enum pitr_rc
refuse_between(const struct history *h, uint64_t ts, const char *what, const struct window *below,
               const struct window *above, struct pitr_err *err)
{
    const struct gap *gap = gap_around(h, ts);
    char end[TARGET_LEN] = "", start[TARGET_LEN] = "";

    if (below != NULL)
        describe_end(end, below);
    if (above != NULL)
        describe_start(start, above);
    if (below == NULL)
        return pitr_fail(err, PITR_GAP,
                         "%s is before the first restorable moment; the nearest is %s", what,
                         start);
    if (gap != NULL && above != NULL)
        return pitr_fail(err, PITR_GAP,
                         "%s lies in a gap of the captured oplog (%s); the nearest restorable "
                         "moments are %s before it, and %s after it",
                         what, gap->reason, end, start);
    if (gap != NULL)
        return pitr_fail(err, PITR_GAP,
                         "%s lies in a gap of the captured oplog (%s); the nearest restorable "
                         "moment is %s",
                         what, gap->reason, end);
    if (above != NULL)
        return pitr_fail(err, PITR_GAP,
                         "%s lies in a gap: no snapshot before it joins the captured oplog; the "
                         "nearest restorable moments are %s before it, and %s after it",
                         what, end, start);
    return pitr_fail(err, PITR_GAP,
                     "%s is after the last captured operation; the nearest restorable moment is "
                     "%s; 'pitr tail --once' captures what the server has by now",
                     what, end);
}

static enum pitr_rc
refuse(const struct history *h, const struct moment *m, struct pitr_err *err)
{
    const struct window *below = NULL, *above = NULL;
    uint64_t ts = moment_ts(m);
    char what[TARGET_LEN], end[TARGET_LEN];

    describe(what, m);
    if (h->nwindows == 0)
        return refuse_nothing(h, what, err);
    for (size_t i = 0; i < h->nwindows; i++) {
        const struct window *w = &h->windows[i];

        if (w->to < ts && (below == NULL || w->to >= below->to))
            below = w;
        if (w->from > ts && (above == NULL || w->from < above->from))
            above = w;
    }
    if (m->kind == MOMENT_SECOND && below != NULL && ts_secs(below->to) == m->value) {
        describe_end(end, below);
        return pitr_fail(err, PITR_GAP,
                         "%s is not captured to its end: more operations of that second may "
                         "follow; the nearest restorable moment is %s",
                         what, end);
    }
    return refuse_between(h, ts, what, below, above, err);
}

/* The newest snapshot a restore to `to` inside `w` can start from; every window begins at one. */
static enum pitr_rc
choose_base(const struct history *h, const struct window *w, uint64_t to, struct choice *out,
            struct pitr_err *err)
{
    bool found = false;

    for (size_t i = 0; i < h->nsnapshots; i++) {
        const struct manifest *m = &h->snapshots[i];

        if (!m->pitr || m->timeline != w->timeline || m->t_end.ts < w->from || m->t_end.ts > to ||
            !history_is_good(h, m))
            continue;
        if (!found || m->t_end.ts >= h->snapshots[out->snapshot].t_end.ts)
            out->snapshot = i;
        found = true;
    }
    if (!found)
        return pitr_fail(err, PITR_INTERNAL, "a window without a snapshot");
    out->to = to;
    return PITR_OK;
}

static enum pitr_rc
choose_snapshot(const struct history *h, size_t i, struct choice *out, struct pitr_err *err)
{
    const struct manifest *m = &h->snapshots[i];

    if (!history_is_good(h, m))
        return pitr_fail(err, PITR_GAP,
                         "snapshot %s: the oplog captured while it was taken is missing, so it "
                         "cannot be made exact; choose another one ('pitr list')",
                         m->id);
    *out = (struct choice){.snapshot = i, .to = m->pitr ? m->t_end.ts : 0};
    return PITR_OK;
}

static enum pitr_rc
choose_named(const struct history *h, const char *id, struct choice *out, struct pitr_err *err)
{
    size_t found = 0, at = 0, len = strlen(id);

    for (size_t i = 0; i < h->nsnapshots; i++) {
        if (strncmp(h->snapshots[i].id, id, len) != 0)
            continue;
        at = i;
        found++;
    }
    if (found == 1 && len > 0)
        return choose_snapshot(h, at, out, err);
    for (size_t i = 0; found == 0 && i < h->damaged.len; i++)
        if (strncmp(h->damaged.at[i] + strlen("snapshot "), id, len) == 0)
            return pitr_fail(err, PITR_CORRUPT, "%s", h->damaged.at[i]);
    if (h->nsnapshots == 0)
        return pitr_fail(err, PITR_NOTFOUND, "snapshot %s: the repository holds no snapshot", id);
    return pitr_fail(err, PITR_NOTFOUND, "snapshot %s: %s; the newest is %s, 'pitr list' has all",
                     id, found > 1 ? "more than one id begins like this" : "there is none",
                     h->snapshots[h->nsnapshots - 1].id);
}

static enum pitr_rc
choose_last_snapshot(const struct history *h, struct choice *out, struct pitr_err *err)
{
    const struct manifest *own = history_newest(h);

    if (own != NULL)
        return choose_snapshot(h, (size_t)(own - h->snapshots), out, err);
    for (size_t i = h->nsnapshots; i-- > 0;)
        if (manifest_is_import(&h->snapshots[i]))
            return choose_snapshot(h, i, out, err);
    return refuse_nothing(h, "latest", err);
}

static enum pitr_rc
choose_latest(const struct history *h, struct choice *out, struct pitr_err *err)
{
    if (h->nwindows > 0) {
        const struct window *w = &h->windows[h->nwindows - 1];

        return choose_base(h, w, w->to, out, err);
    }
    return choose_last_snapshot(h, out, err);
}

enum pitr_rc
history_choose(const struct history *h, const struct moment *m, struct choice *out,
               struct pitr_err *err)
{
    uint64_t to;

    *out = (struct choice){0};
    if (m->kind == MOMENT_LATEST)
        return choose_latest(h, out, err);
    if (m->kind == MOMENT_LAST_SNAPSHOT)
        return choose_last_snapshot(h, out, err);
    if (m->kind == MOMENT_SNAPSHOT)
        return choose_named(h, m->id, out, err);
    to = moment_ts(m);
    for (size_t i = h->nwindows; i-- > 0;)
        if (h->windows[i].from <= to && to <= h->windows[i].to)
            return choose_base(h, &h->windows[i], to, out, err);
    return refuse(h, m, err);
}

bool
history_choose_older(const struct history *h, struct choice *choice)
{
    const struct manifest *now = &h->snapshots[choice->snapshot], *best = NULL;

    for (size_t i = 0; now->pitr && i < h->nsnapshots; i++) {
        const struct manifest *m = &h->snapshots[i];

        if (m->pitr && m->timeline == now->timeline && m->t_end.ts < now->t_end.ts &&
            (best == NULL || m->t_end.ts >= best->t_end.ts) &&
            chain_covering(&h->chain, m->timeline, m->begin.ts, choice->to) != NULL) {
            best = m;
            choice->snapshot = i;
        }
    }
    return best != NULL;
}
