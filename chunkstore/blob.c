#include "chunkstore/blob.h"

#include <inttypes.h>

enum pitr_rc
blob_create(struct blob *b, const char *name, struct blob_writer **out, struct pitr_err *err)
{
    return b->ops->create(b, name, out, err);
}

enum pitr_rc
blob_write(struct blob_writer *w, const void *data, size_t len, struct pitr_err *err)
{
    return w->blob->ops->write(w, data, len, err);
}

enum pitr_rc
blob_commit(struct blob_writer *w, bool replace, struct pitr_err *err)
{
    return w->blob->ops->commit(w, replace, err);
}

void
blob_writer_free(struct blob_writer *w)
{
    if (w != NULL)
        w->blob->ops->writer_free(w);
}

void
blob_writer_freep(struct blob_writer **w)
{
    blob_writer_free(*w);
    *w = NULL;
}

enum pitr_rc
blob_read(struct blob *b, const char *name, uint64_t offset, void *data, size_t len,
          struct pitr_err *err)
{
    return b->ops->read(b, name, offset, data, len, err);
}

enum pitr_rc
blob_size(struct blob *b, const char *name, uint64_t *size, struct pitr_err *err)
{
    return b->ops->size(b, name, size, err);
}

enum pitr_rc
blob_list(struct blob *b, const char *prefix, blob_visit *visit, void *arg, struct pitr_err *err)
{
    return b->ops->list(b, prefix, visit, arg, err);
}

enum pitr_rc
blob_remove(struct blob *b, const char *name, struct pitr_err *err)
{
    return b->ops->remove(b, name, err);
}

void
blob_free(struct blob *b)
{
    if (b != NULL)
        b->ops->free(b);
}

void
blob_freep(struct blob **b)
{
    blob_free(*b);
    *b = NULL;
}

enum pitr_rc
blob_put(struct blob *b, const char *name, const void *data, size_t len, bool replace,
         struct pitr_err *err)
{
    PITR_AUTO(blob_writer_freep) struct blob_writer *w = NULL;

    if (blob_create(b, name, &w, err) != PITR_OK || blob_write(w, data, len, err) != PITR_OK)
        return err->rc;
    return blob_commit(w, replace, err);
}

enum pitr_rc
blob_get(struct blob *b, const char *name, size_t limit, struct buf *out, struct pitr_err *err)
{
    uint64_t size = 0;

    buf_clear(out);
    if (blob_size(b, name, &size, err) != PITR_OK)
        return err->rc;
    if (size > limit)
        return pitr_fail(err, PITR_CORRUPT, "%s has %" PRIu64 " bytes; at most %zu were expected",
                         name, size, limit);
    if (buf_reserve(out, (size_t)size, err) != PITR_OK)
        return pitr_wrap(err, "%s", name);
    if (blob_read(b, name, 0, out->data, (size_t)size, err) != PITR_OK)
        return err->rc;
    out->len = (size_t)size;
    return PITR_OK;
}
