#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/verify_internal.h"

/* BSON's smallest document, and the longest the server can have stored, with room. */
enum { DOC_MIN = 5, DOC_MAX = 64 << 20 };

/* What is known of a collection while its chunks pass by. */
struct passage {
    struct fingerprint print;
    uint64_t chunks;
    struct buf chunk;
    struct buf parts; /* of the long document that is being joined */
};

static enum pitr_rc
is_new(struct verify *v, const struct chunk_id *list, bool *added, struct pitr_err *err)
{
    enum pitr_rc rc;

    pthread_mutex_lock(&v->lock);
    rc = idset_add(&v->visited, list, FRAME_LIST, added, err);
    pthread_mutex_unlock(&v->lock);
    return rc;
}

enum pitr_rc
verify_coll_quick(struct verify *v, struct store_reader *reader, const struct coll_node *c,
                  struct pitr_err *err)
{
    for (size_t i = 0; i < c->nlists; i++) {
        struct chunk_entry *entries = NULL;
        size_t n = 0;
        bool added;
        enum pitr_rc rc = is_new(v, &c->lists[i], &added, err);

        if (rc == PITR_OK && !added)
            continue;
        if (rc == PITR_OK)
            rc = list_read(reader, &c->lists[i], &entries, &n, err);
        for (size_t k = 0; rc == PITR_OK && k < n; k++) {
            rc = store_check(reader, &entries[k].id, false, err);
            if (rc == PITR_OK && k % 1024 == 0)
                rc = job_check(v->opts->job, err);
        }
        free(entries);
        if (rc != PITR_OK)
            return rc;
        atomic_fetch_add(&v->chunks, n);
    }
    return PITR_OK;
}

static enum pitr_rc
pass_documents(struct passage *p, const struct chunk_entry *e, struct pitr_err *err)
{
    const uint8_t *at = p->chunk.data;
    size_t left = p->chunk.len;
    uint32_t documents = 0;

    while (left > 0) {
        size_t len = left >= DOC_MIN ? get_le32(at) : 0;

        if (len < DOC_MIN || len > left || at[len - 1] != 0)
            return pitr_fail(err, PITR_CORRUPT, "a chunk does not hold whole documents");
        (void)fingerprint_add(&p->print, at, len);
        documents++;
        at += len;
        left -= len;
    }
    if (documents != e->documents)
        return pitr_fail(err, PITR_CORRUPT, "a chunk holds %u documents, its list says %u",
                         documents, e->documents);
    return PITR_OK;
}

static enum pitr_rc
pass_part(struct passage *p, const struct chunk_entry *e, struct pitr_err *err)
{
    if (p->parts.len + p->chunk.len > DOC_MAX)
        return pitr_fail(err, PITR_CORRUPT, "a document in parts is longer than any can be");
    if (buf_append(&p->parts, p->chunk.data, p->chunk.len, err) != PITR_OK)
        return err->rc;
    if (e->documents == 0)
        return PITR_OK;
    if (p->parts.len < DOC_MIN || get_le32(p->parts.data) != p->parts.len)
        return pitr_fail(err, PITR_CORRUPT, "the parts of a long document do not join");
    (void)fingerprint_add(&p->print, p->parts.data, p->parts.len);
    buf_clear(&p->parts);
    return PITR_OK;
}

static enum pitr_rc
pass_chunk(struct passage *p, struct store_reader *reader, const struct chunk_entry *e,
           struct pitr_err *err)
{
    if (store_get(reader, e->type, &e->id, &p->chunk, err) != PITR_OK)
        return err->rc;
    if (p->chunk.len != e->raw_len)
        return pitr_fail(err, PITR_CORRUPT, "a chunk has %zu bytes, its list says %u", p->chunk.len,
                         e->raw_len);
    p->chunks++;
    if (e->type == FRAME_PART)
        return pass_part(p, e, err);
    if (p->parts.len > 0)
        return pitr_fail(err, PITR_CORRUPT, "a long document lacks its last part");
    return pass_documents(p, e, err);
}

static enum pitr_rc
pass_list(struct verify *v, struct passage *p, struct store_reader *reader,
          const struct chunk_id *list, struct pitr_err *err)
{
    struct chunk_entry *entries = NULL;
    size_t n = 0;
    enum pitr_rc rc = list_read(reader, list, &entries, &n, err);

    for (size_t i = 0; rc == PITR_OK && i < n; i++) {
        rc = pass_chunk(p, reader, &entries[i], err);
        if (rc == PITR_OK)
            rc = job_check(v->opts->job, err);
        job_advance(v->opts->job, entries[i].documents, entries[i].raw_len);
    }
    free(entries);
    return rc;
}

enum pitr_rc
verify_coll_data(struct verify *v, struct store_reader *reader, const struct coll_node *c,
                 struct pitr_err *err)
{
    struct passage p = {0};
    enum pitr_rc rc = PITR_OK;

    for (size_t i = 0; rc == PITR_OK && i < c->nlists; i++)
        rc = pass_list(v, &p, reader, &c->lists[i], err);
    if (rc == PITR_OK && p.parts.len > 0)
        rc = pitr_fail(err, PITR_CORRUPT, "a long document lacks its last part");
    if (rc == PITR_OK && (p.chunks != c->chunks || !fingerprint_equal(&p.print, &c->print)))
        rc = pitr_fail(err, PITR_CORRUPT,
                       "the documents are not those the manifest promises: %llu of %llu bytes, "
                       "not %llu of %llu, or other content",
                       (unsigned long long)p.print.documents, (unsigned long long)p.print.bytes,
                       (unsigned long long)c->print.documents, (unsigned long long)c->print.bytes);
    buf_release(&p.chunk);
    buf_release(&p.parts);
    return rc;
}
