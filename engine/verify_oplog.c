#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/verify_internal.h"
#include "oplog/chain.h"
#include "oplog/gap.h"

/* Head and foot of a segment, and with `data` its entries. */
static enum pitr_rc
read_segment(struct verify *v, const char *name, struct segment_info *info, struct pitr_err *err)
{
    PITR_AUTO(segment_reader_freep) struct segment_reader *reader = NULL;
    const struct verify_opts *opts = v->opts;
    const uint8_t *data;
    size_t len;

    if (segment_reader_open(&reader, repo_blob(opts->repo), repo_keys(opts->repo), name, info,
                            err) != PITR_OK)
        return err->rc;
    while (opts->data) {
        if (segment_reader_next(reader, &data, &len, err) != PITR_OK)
            return err->rc;
        if (data == NULL)
            break;
    }
    return PITR_OK;
}

static bool
joins(const struct segment_info *before, const struct segment_info *after)
{
    return after->prev.ts == before->last.ts && after->prev.term == before->last.term &&
           memcmp(after->prev_hash, before->hash, SEGMENT_HASH_LEN) == 0;
}

static enum pitr_rc
verify_span(struct verify *v, const struct chain *chain, const struct chain_span *span,
            struct pitr_err *err)
{
    struct segment_info before = {0};
    bool has_before = false;

    for (size_t i = span->seg; i < span->seg + span->segs; i++) {
        struct segment_info info = {0};
        char name[SEGMENT_NAME_LEN];
        enum pitr_rc rc;

        if (job_check(v->opts->job, err) != PITR_OK)
            return err->rc;
        segment_name(name, &chain->segments[i]);
        rc = read_segment(v, name, &info, err);
        if (rc == PITR_OK && has_before && !joins(&before, &info))
            rc = pitr_fail(err, PITR_CORRUPT, "%s does not join the segment before it", name);
        has_before = rc == PITR_OK;
        before = info;
        v->result->segments++;
        if (rc != PITR_OK && verify_problem(v, "oplog", err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
verify_gap(struct verify *v, const struct gap *gap, struct pitr_err *err)
{
    char after[TS_TEXT_LEN], before[TS_TEXT_LEN], what[400];

    ts_format(after, gap->after.ts);
    ts_format(before, gap->before.ts);
    if (gap->is_damaged) {
        pitr_fail(err, PITR_CORRUPT, "the record of the gap after %s cannot be read", after);
        return verify_problem(v, "oplog", err);
    }
    if (!gap->is_recorded) {
        pitr_fail(err, PITR_CORRUPT, "the segments between %s and %s are missing: %s", after,
                  before, gap->reason);
        return verify_problem(v, "oplog", err);
    }
    snprintf(what, sizeof what, "oplog: gap on timeline %" PRIu32 " after %s: %s", gap->timeline,
             after, gap->reason);
    pthread_mutex_lock(&v->lock);
    v->result->gaps++;
    if (v->opts->report != NULL)
        v->opts->report(v->opts->arg, FINDING_GAP, what);
    pthread_mutex_unlock(&v->lock);
    return PITR_OK;
}

static enum pitr_rc
verify_window(struct verify *v, const struct chain *chain, const struct manifest *m,
              struct pitr_err *err)
{
    char begin[TS_TEXT_LEN], end[TS_TEXT_LEN];

    if (!m->pitr || chain_covering(chain, m->timeline, m->begin.ts, m->t_end.ts) != NULL)
        return PITR_OK;
    ts_format(begin, m->begin.ts);
    ts_format(end, m->t_end.ts);
    pitr_fail(err, PITR_CORRUPT,
              "snapshot %s: the oplog from %s to %s, without which it cannot be restored, is not "
              "complete",
              m->id, begin, end);
    return verify_problem(v, "oplog", err);
}

enum pitr_rc
verify_oplog(struct verify *v, const struct manifest *roots, size_t n, struct pitr_err *err)
{
    struct chain chain = {0};
    enum pitr_rc rc = chain_load(&chain, repo_blob(v->opts->repo), repo_keys(v->opts->repo), err);

    for (size_t i = 0; rc == PITR_OK && i < chain.nspans; i++)
        rc = verify_span(v, &chain, &chain.spans[i], err);
    for (size_t i = 0; rc == PITR_OK && i < chain.ngaps; i++)
        rc = verify_gap(v, &chain.gaps[i], err);
    for (size_t i = 0; rc == PITR_OK && i < n; i++)
        rc = verify_window(v, &chain, &roots[i], err);
    chain_release(&chain);
    return rc;
}
