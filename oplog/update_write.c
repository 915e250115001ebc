#include <string.h>

#include "base/bytes.h"
#include "oplog/docid.h"
#include "oplog/update_internal.h"

void
array_key_init(struct array_key *k)
{
    *k = (struct array_key){.text = "0", .len = 1};
}

void
array_key_next(struct array_key *k)
{
    size_t i = k->len;

    while (i > 0 && k->text[i - 1] == '9')
        k->text[--i] = '0';
    if (i > 0) {
        k->text[i - 1]++;
        return;
    }
    k->text[0] = '1';
    k->text[k->len++] = '0';
    k->text[k->len] = '\0';
}

bool
array_index_parse(const char *text, size_t len, uint32_t *index)
{
    uint64_t v = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
        if (v > UINT32_MAX)
            return false;
    }
    *index = (uint32_t)v;
    return len > 0;
}

static enum pitr_rc
too_large(struct pitr_err *err)
{
    return pitr_fail(err, PITR_CORRUPT, "update: the result is larger than %zu bytes",
                     UPDATE_MAX_RESULT);
}

enum pitr_rc
update_begin_doc(struct update_job *job, size_t *mark, struct pitr_err *err)
{
    *mark = job->out->len;
    return buf_append_le32(job->out, 0, err);
}

enum pitr_rc
update_end_doc(struct update_job *job, size_t mark, struct pitr_err *err)
{
    if (buf_append_u8(job->out, 0, err) != PITR_OK)
        return err->rc;
    if (job->out->len - job->base > UPDATE_MAX_RESULT)
        return too_large(err);
    put_le32(job->out->data + mark, (uint32_t)(job->out->len - mark));
    return PITR_OK;
}

enum pitr_rc
update_put_head(struct update_job *job, uint8_t type, const char *name, size_t name_len,
                struct pitr_err *err)
{
    struct buf *out = job->out;

    if (buf_reserve(out, 2 + name_len, err) != PITR_OK)
        return err->rc;
    out->data[out->len] = type;
    memcpy(out->data + out->len + 1, name, name_len);
    out->data[out->len + 1 + name_len] = 0;
    out->len += 2 + name_len;
    return PITR_OK;
}

enum pitr_rc
update_put_elem(struct update_job *job, const char *name, size_t name_len, const struct belem *e,
                struct pitr_err *err)
{
    if (update_put_head(job, e->type, name, name_len, err) != PITR_OK)
        return err->rc;
    return update_copy(job, e->value, e->end, err);
}

enum pitr_rc
update_copy(struct update_job *job, const uint8_t *from, const uint8_t *to, struct pitr_err *err)
{
    return buf_append(job->out, from, (size_t)(to - from), err);
}

enum pitr_rc
update_pad(struct update_job *job, struct array_key *key, uint32_t *next, uint32_t index,
           struct pitr_err *err)
{
    const size_t null_len = 3; /* the shortest null element: type, one digit, NUL */

    if (index > *next && index - *next > UPDATE_MAX_RESULT / null_len)
        return too_large(err);
    for (; *next < index; (*next)++) {
        if (update_put_head(job, BSON_NIL, key->text, key->len, err) != PITR_OK)
            return err->rc;
        array_key_next(key);
    }
    if (job->out->len - job->base > UPDATE_MAX_RESULT)
        return too_large(err);
    return PITR_OK;
}

static enum pitr_rc
same_id(const struct belem *a, const struct belem *b, bool *same, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf keys = {0};
    size_t split;

    if (docid_append(&keys, a, err) != PITR_OK)
        return err->rc;
    split = keys.len;
    if (docid_append(&keys, b, err) != PITR_OK)
        return err->rc;
    *same = keys.len == 2 * split && memcmp(keys.data, keys.data + split, split) == 0;
    return PITR_OK;
}

/* Move the _id written at out offset `mark` to the front, in place of the old document's. */
static enum pitr_rc
exchange_id(struct update_job *job, size_t mark, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf id = {0};
    uint8_t *at = job->out->data + job->base + 4;

    if (buf_append(&id, job->out->data + mark, job->out->len - mark, err) != PITR_OK)
        return err->rc;
    memmove(at + id.len, at + job->id_len, mark - job->base - 4 - job->id_len);
    memcpy(at, id.data, id.len);
    job->out->len = mark - job->id_len + id.len;
    job->id_len = id.len;
    return PITR_OK;
}

enum pitr_rc
update_put_id(struct update_job *job, struct pitr_err *err)
{
    job->id_len = (size_t)(job->id.end - job->id.start);
    return update_copy(job, job->id.start, job->id.end, err);
}

enum pitr_rc
update_pin_id(struct update_job *job, size_t mark, struct pitr_err *err)
{
    static const size_t head_len = 5; /* type byte, "_id", NUL */
    size_t len = job->out->len - mark;
    const uint8_t *written = job->out->data + mark;
    struct belem e = {0};
    bool same = false;

    if (len == 0)
        return PITR_OK;
    if (len == job->id_len && memcmp(job->out->data + job->base + 4, written, len) == 0) {
        job->out->len = mark;
        return PITR_OK;
    }
    e.type = written[0];
    e.value = written + head_len;
    e.value_len = len - head_len;
    if (same_id(&job->id, &e, &same, err) != PITR_OK)
        return err->rc;
    if (!same)
        return pitr_fail(err, PITR_CORRUPT, "update would change the _id of its document");
    return exchange_id(job, mark, err);
}
