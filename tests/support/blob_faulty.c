#include "tests/support/blob_faulty.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct blob_faulty {
    struct blob base;
    struct blob *inner;
    enum blob_fault fault;
    uint64_t k;
    enum pitr_rc code;
    _Atomic uint64_t calls;
    atomic_bool fired;
};

struct writer_faulty {
    struct blob_writer base;
    struct blob_writer *inner;
    char *name;
    struct buf data; /* a copy, for FAULT_CRASH_TRUNCATE */
};

enum verdict { PASS, FAIL, FAIL_NOW }; /* FAIL_NOW: this very call is the k-th */

static enum verdict
count(struct blob_faulty *b, const char *what, struct pitr_err *err)
{
    uint64_t call = atomic_fetch_add(&b->calls, 1) + 1;

    if (b->fault == FAULT_NONE || call < b->k || (b->fault == FAULT_ONCE && call > b->k))
        return PASS;
    atomic_store(&b->fired, true);
    if (b->fault == FAULT_ONCE)
        pitr_fail(err, b->code, "injected failure of %s", what);
    else
        pitr_fail(err, PITR_IO, "injected crash at or before %s", what);
    return call == b->k ? FAIL_NOW : FAIL;
}

static enum pitr_rc
faulty_create(struct blob *base, const char *name, struct blob_writer **out, struct pitr_err *err)
{
    struct blob_faulty *b = (struct blob_faulty *)base;
    struct writer_faulty *w;

    if (count(b, "create", err) != PASS)
        return err->rc;
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return pitr_fail(err, PITR_NOMEM, "%s", name);
    w->base.blob = base;
    w->name = strdup(name);
    if (w->name == NULL || blob_create(b->inner, name, &w->inner, err) != PITR_OK) {
        if (w->name == NULL)
            pitr_fail(err, PITR_NOMEM, "%s", name);
        free(w->name);
        free(w);
        return err->rc;
    }
    *out = &w->base;
    return PITR_OK;
}

static enum pitr_rc
faulty_write(struct blob_writer *base, const void *data, size_t len, struct pitr_err *err)
{
    struct writer_faulty *w = (struct writer_faulty *)base;

    if (count((struct blob_faulty *)base->blob, "write", err) != PASS ||
        buf_append(&w->data, data, len, err) != PITR_OK)
        return err->rc;
    return blob_write(w->inner, data, len, err);
}

static enum pitr_rc
faulty_commit(struct blob_writer *base, bool replace, struct pitr_err *err)
{
    struct writer_faulty *w = (struct writer_faulty *)base;
    struct blob_faulty *b = (struct blob_faulty *)base->blob;
    enum verdict verdict = count(b, "commit", err);
    struct pitr_err ignored;
    enum pitr_rc rc = PITR_OK;

    if (verdict == PASS)
        return blob_commit(w->inner, replace, err);
    if (verdict == FAIL_NOW && b->fault == FAULT_CRASH_KEEP)
        rc = blob_commit(w->inner, replace, &ignored);
    if (verdict == FAIL_NOW && b->fault == FAULT_CRASH_TRUNCATE)
        rc = blob_put(b->inner, w->name, w->data.data, w->data.len / 2, replace, &ignored);
    return rc == PITR_OK ? err->rc : pitr_fail(err, PITR_INTERNAL, "%s", ignored.msg);
}

static void
faulty_writer_free(struct blob_writer *base)
{
    struct writer_faulty *w = (struct writer_faulty *)base;

    blob_writer_free(w->inner);
    buf_release(&w->data);
    free(w->name);
    free(w);
}

static enum pitr_rc
faulty_read(struct blob *base, const char *name, uint64_t offset, void *data, size_t len,
            struct pitr_err *err)
{
    struct blob_faulty *b = (struct blob_faulty *)base;

    if (count(b, "read", err) != PASS)
        return err->rc;
    return blob_read(b->inner, name, offset, data, len, err);
}

static enum pitr_rc
faulty_size(struct blob *base, const char *name, uint64_t *size, struct pitr_err *err)
{
    struct blob_faulty *b = (struct blob_faulty *)base;

    if (count(b, "size", err) != PASS)
        return err->rc;
    return blob_size(b->inner, name, size, err);
}

static enum pitr_rc
faulty_list(struct blob *base, const char *prefix, blob_visit *visit, void *arg,
            struct pitr_err *err)
{
    struct blob_faulty *b = (struct blob_faulty *)base;

    if (count(b, "list", err) != PASS)
        return err->rc;
    return blob_list(b->inner, prefix, visit, arg, err);
}

static enum pitr_rc
faulty_remove(struct blob *base, const char *name, struct pitr_err *err)
{
    struct blob_faulty *b = (struct blob_faulty *)base;

    if (count(b, "remove", err) != PASS)
        return err->rc;
    return blob_remove(b->inner, name, err);
}

static void
faulty_free(struct blob *base)
{
    free(base);
}

enum pitr_rc
blob_faulty_new(struct blob **out, struct blob *inner, struct pitr_err *err)
{
    static const struct blob_ops ops = {
        .driver = "faulty",
        .create = faulty_create,
        .write = faulty_write,
        .commit = faulty_commit,
        .writer_free = faulty_writer_free,
        .read = faulty_read,
        .size = faulty_size,
        .list = faulty_list,
        .remove = faulty_remove,
        .free = faulty_free,
    };
    struct blob_faulty *b = calloc(1, sizeof *b);

    if (b == NULL)
        return pitr_fail(err, PITR_NOMEM, "faulty blob");
    b->base.ops = &ops;
    b->inner = inner;
    *out = &b->base;
    return PITR_OK;
}

void
blob_faulty_arm(struct blob *base, enum blob_fault fault, uint64_t k, enum pitr_rc code)
{
    struct blob_faulty *b = (struct blob_faulty *)base;

    b->fault = fault;
    b->k = k;
    b->code = code;
    atomic_store(&b->calls, 0);
    atomic_store(&b->fired, false);
}

bool
blob_faulty_fired(struct blob *base)
{
    return atomic_load(&((struct blob_faulty *)base)->fired);
}
