#include "oplog/update.h"

#include <inttypes.h>
#include <string.h>

#include "oplog/update_internal.h"

/* The fields of `o` that decide what it is; type BSON_EOD where it has none. */
struct update_head {
    struct belem id, v, diff;
    const char *other; /* name of the first field that modifiers do not have, or NULL */
    bool has_modifier;
};

static bool
is_absent(const struct belem *e)
{
    return e->type == BSON_EOD;
}

static enum pitr_rc
head_scan(struct update_head *h, const uint8_t *o, size_t len, struct pitr_err *err)
{
    struct biter it;
    struct belem e;

    h->id.type = h->v.type = h->diff.type = BSON_EOD;
    h->other = NULL;
    h->has_modifier = false;
    if (biter_init(&it, o, len, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (belem_is(&e, "_id")) {
            h->id = e; /* that alone makes it a replacement */
            return PITR_OK;
        }
        if (belem_is(&e, "$set") || belem_is(&e, "$unset")) {
            h->has_modifier = true;
        } else if (belem_is(&e, "$v")) {
            if (is_absent(&h->v))
                h->v = e;
        } else {
            if (is_absent(&h->diff) && belem_is(&e, "diff"))
                h->diff = e;
            if (h->other == NULL)
                h->other = e.name;
        }
    }
}

static enum pitr_rc
head_classify(const struct update_head *h, enum update_kind *kind, struct pitr_err *err)
{
    int64_t version = 1;

    if (!is_absent(&h->id)) {
        *kind = UPDATE_REPLACE;
        return PITR_OK;
    }
    if (!is_absent(&h->v) && !belem_int64(&h->v, &version))
        return pitr_fail(err, PITR_CORRUPT, "update: $v is not an integer");
    if (version == 2) {
        *kind = UPDATE_DELTA;
        return PITR_OK;
    }
    if (version != 1)
        return pitr_fail(err, PITR_CORRUPT, "update: unknown version $v: %" PRId64, version);
    if (h->other != NULL)
        return pitr_fail(err, PITR_CORRUPT,
                         "update: field %.60s is neither _id nor a modifier that oplogs contain",
                         h->other);
    if (is_absent(&h->v) && !h->has_modifier)
        return pitr_fail(err, PITR_CORRUPT, "update: empty, neither replacement nor modifiers");
    *kind = UPDATE_MODIFIERS;
    return PITR_OK;
}

enum pitr_rc
update_classify(const uint8_t *o, size_t len, enum update_kind *kind, struct pitr_err *err)
{
    struct update_head h;

    if (head_scan(&h, o, len, err) != PITR_OK)
        return pitr_wrap(err, "update");
    return head_classify(&h, kind, err);
}

/* All of `o`, apart from its _id fields. */
static enum pitr_rc
replace(struct update_job *job, const uint8_t *o, size_t o_len, struct pitr_err *err)
{
    struct biter it;
    struct belem e;
    const uint8_t *run;

    if (biter_init(&it, o, o_len, err) != PITR_OK)
        return err->rc;
    run = it.at;
    for (;;) {
        if (biter_next(&it, &e, err) != PITR_OK)
            return err->rc;
        if (e.type == BSON_EOD)
            return update_copy(job, run, e.start, err);
        if (belem_is(&e, "_id")) {
            size_t mark;

            if (update_copy(job, run, e.start, err) != PITR_OK)
                return err->rc;
            mark = job->out->len;
            if (update_copy(job, e.start, e.end, err) != PITR_OK ||
                update_pin_id(job, mark, err) != PITR_OK)
                return err->rc;
            run = e.end;
        }
    }
}

static enum pitr_rc
apply_kind(struct update_job *job, enum update_kind kind, const struct update_head *h,
           const uint8_t *pre, size_t pre_len, const uint8_t *o, size_t o_len, struct pitr_err *err)
{
    switch (kind) {
    case UPDATE_REPLACE:
        return replace(job, o, o_len, err);
    case UPDATE_DELTA:
        if (h->diff.type != BSON_DOC)
            return pitr_fail(err, PITR_CORRUPT, "delta: no diff document");
        return update_delta(job, pre, pre_len, &h->diff, err);
    case UPDATE_MODIFIERS:
        return update_modifiers(job, pre, pre_len, o, o_len, err);
    }
    return pitr_fail(err, PITR_INTERNAL, "update of kind %d", (int)kind);
}

static enum pitr_rc
apply(struct update_job *job, const uint8_t *pre, size_t pre_len, const uint8_t *o, size_t o_len,
      struct pitr_err *err)
{
    struct update_head h;
    enum update_kind kind;
    size_t mark;
    bool found;

    if (head_scan(&h, o, o_len, err) != PITR_OK)
        return pitr_wrap(err, "update");
    if (head_classify(&h, &kind, err) != PITR_OK)
        return err->rc;
    if (bson_find(pre, pre_len, "_id", &found, &job->id, err) != PITR_OK)
        return pitr_wrap(err, "document to update");
    if (!found)
        return pitr_fail(err, PITR_CORRUPT, "document to update: no _id");
    if (buf_reserve(job->out, pre_len + o_len, err) != PITR_OK ||
        update_begin_doc(job, &mark, err) != PITR_OK || update_put_id(job, err) != PITR_OK ||
        apply_kind(job, kind, &h, pre, pre_len, o, o_len, err) != PITR_OK)
        return err->rc;
    return update_end_doc(job, mark, err);
}

enum pitr_rc
update_apply(struct buf *out, const uint8_t *pre, size_t pre_len, const uint8_t *o, size_t o_len,
             enum update_field_order order, bool strict, struct pitr_err *err)
{
    struct update_job job = {.out = out, .base = out->len, .order = order, .strict = strict};
    enum pitr_rc rc = apply(&job, pre, pre_len, o, o_len, err);

    if (rc != PITR_OK)
        out->len = job.base;
    return rc;
}
