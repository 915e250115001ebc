#include "tests/support/blob_mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct object {
    char *name;
    struct buf data;
};

struct blob_mem {
    struct blob base;
    pthread_mutex_t lock;
    struct object **at; /* in byte order of names */
    size_t len, cap;
};

struct writer_mem {
    struct blob_writer base;
    struct object *object; /* NULL once committed */
};

static void
object_free(struct object *o)
{
    if (o == NULL)
        return;
    free(o->name);
    buf_release(&o->data);
    free(o);
}

/* First object whose name is not below `name`. */
static size_t
position(const struct blob_mem *b, const char *name)
{
    size_t i = 0;

    while (i < b->len && strcmp(b->at[i]->name, name) < 0)
        i++;
    return i;
}

static struct object *
lookup(const struct blob_mem *b, const char *name)
{
    size_t i = position(b, name);

    return i < b->len && strcmp(b->at[i]->name, name) == 0 ? b->at[i] : NULL;
}

struct buf *
blob_mem_object(struct blob *base, const char *name)
{
    struct object *o = lookup((struct blob_mem *)base, name);

    return o == NULL ? NULL : &o->data;
}

static enum pitr_rc
mem_create(struct blob *base, const char *name, struct blob_writer **out, struct pitr_err *err)
{
    struct writer_mem *w = calloc(1, sizeof *w);
    struct object *o = calloc(1, sizeof *o);
    char *copy = strdup(name);

    if (w == NULL || o == NULL || copy == NULL) {
        free(w);
        free(o);
        free(copy);
        return pitr_fail(err, PITR_NOMEM, "%s", name);
    }
    o->name = copy;
    w->base.blob = base;
    w->object = o;
    *out = &w->base;
    return PITR_OK;
}

static enum pitr_rc
mem_write(struct blob_writer *base, const void *data, size_t len, struct pitr_err *err)
{
    return buf_append(&((struct writer_mem *)base)->object->data, data, len, err);
}

static enum pitr_rc
insert(struct blob_mem *b, struct object *o, bool replace, struct pitr_err *err)
{
    size_t i = position(b, o->name);

    if (i < b->len && strcmp(b->at[i]->name, o->name) == 0) {
        if (!replace)
            return pitr_fail(err, PITR_EXISTS, "%s exists", o->name);
        object_free(b->at[i]);
        b->at[i] = o;
        return PITR_OK;
    }
    if (b->len == b->cap) {
        size_t cap = b->cap == 0 ? 16 : 2 * b->cap;
        struct object **at = realloc(b->at, cap * sizeof(struct object *));

        if (at == NULL)
            return pitr_fail(err, PITR_NOMEM, "%s", o->name);
        b->at = at;
        b->cap = cap;
    }
    memmove(b->at + i + 1, b->at + i, (b->len - i) * sizeof(struct object *));
    b->at[i] = o;
    b->len++;
    return PITR_OK;
}

static enum pitr_rc
mem_commit(struct blob_writer *base, bool replace, struct pitr_err *err)
{
    struct writer_mem *w = (struct writer_mem *)base;
    struct blob_mem *b = (struct blob_mem *)base->blob;
    enum pitr_rc rc;

    pthread_mutex_lock(&b->lock);
    rc = insert(b, w->object, replace, err);
    pthread_mutex_unlock(&b->lock);
    if (rc == PITR_OK)
        w->object = NULL;
    return rc;
}

static void
mem_writer_free(struct blob_writer *base)
{
    struct writer_mem *w = (struct writer_mem *)base;

    object_free(w->object);
    free(w);
}

static enum pitr_rc
mem_read(struct blob *base, const char *name, uint64_t offset, void *data, size_t len,
         struct pitr_err *err)
{
    struct blob_mem *b = (struct blob_mem *)base;
    enum pitr_rc rc = PITR_OK;
    const struct object *o;

    pthread_mutex_lock(&b->lock);
    o = lookup(b, name);
    if (o == NULL)
        rc = pitr_fail(err, PITR_NOTFOUND, "%s is not there", name);
    else if (offset > o->data.len || len > o->data.len - offset)
        rc = pitr_fail(err, PITR_CORRUPT, "%s ends at %zu", name, o->data.len);
    else if (len > 0)
        memcpy(data, o->data.data + offset, len);
    pthread_mutex_unlock(&b->lock);
    return rc;
}

static enum pitr_rc
mem_size(struct blob *base, const char *name, uint64_t *size, struct pitr_err *err)
{
    struct blob_mem *b = (struct blob_mem *)base;
    enum pitr_rc rc = PITR_OK;
    const struct object *o;

    pthread_mutex_lock(&b->lock);
    o = lookup(b, name);
    if (o == NULL)
        rc = pitr_fail(err, PITR_NOTFOUND, "%s is not there", name);
    else
        *size = o->data.len;
    pthread_mutex_unlock(&b->lock);
    return rc;
}

/* Not locked while visiting: the visitor reads objects. Tests do not write during a listing. */
static enum pitr_rc
mem_list(struct blob *base, const char *prefix, blob_visit *visit, void *arg, struct pitr_err *err)
{
    struct blob_mem *b = (struct blob_mem *)base;

    for (size_t i = 0; i < b->len; i++)
        if (strncmp(b->at[i]->name, prefix, strlen(prefix)) == 0 &&
            visit(arg, b->at[i]->name, b->at[i]->data.len, err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

static enum pitr_rc
mem_remove(struct blob *base, const char *name, struct pitr_err *err)
{
    struct blob_mem *b = (struct blob_mem *)base;
    size_t i;

    (void)err;
    pthread_mutex_lock(&b->lock);
    i = position(b, name);
    if (i < b->len && strcmp(b->at[i]->name, name) == 0) {
        object_free(b->at[i]);
        b->len--;
        memmove(b->at + i, b->at + i + 1, (b->len - i) * sizeof(struct object *));
    }
    pthread_mutex_unlock(&b->lock);
    return PITR_OK;
}

static void
mem_free(struct blob *base)
{
    struct blob_mem *b = (struct blob_mem *)base;

    for (size_t i = 0; i < b->len; i++)
        object_free(b->at[i]);
    free(b->at);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

enum pitr_rc
blob_mem_new(struct blob **out, struct pitr_err *err)
{
    static const struct blob_ops ops = {
        .driver = "mem",
        .create = mem_create,
        .write = mem_write,
        .commit = mem_commit,
        .writer_free = mem_writer_free,
        .read = mem_read,
        .size = mem_size,
        .list = mem_list,
        .remove = mem_remove,
        .free = mem_free,
    };
    struct blob_mem *b = calloc(1, sizeof *b);

    if (b == NULL)
        return pitr_fail(err, PITR_NOMEM, "blob in memory");
    b->base.ops = &ops;
    pthread_mutex_init(&b->lock, NULL);
    *out = &b->base;
    return PITR_OK;
}
