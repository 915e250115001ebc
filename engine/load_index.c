#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/load_internal.h"
#include "engine/load_options.h"
#include "mongo/bsonedit.h"

/* Builds sort in memory on the server; more at once compete for it. */
enum { BUILDS_AT_ONCE = 3 };

/* A collection with something to build, and its size. */
struct build {
    const struct load_coll *coll;
    struct buf cmd;
    uint64_t documents;
};
struct builds {
    struct build *at; /* owned */
    size_t len;
};

static void
builds_release(struct builds *b)
{
    for (size_t i = 0; i < b->len; i++)
        buf_release(&b->at[i].cmd);
    free(b->at);
    *b = (struct builds){0};
}

static enum pitr_rc
builds_collect(struct builds *out, const struct load_coll *const *colls, size_t n,
               enum index_due due, struct pitr_err *err)
{
    out->at = calloc(n > 0 ? n : 1, sizeof *out->at);
    if (out->at == NULL)
        return pitr_fail(err, PITR_NOMEM, "index builds of %zu collections", n);
    for (size_t i = 0; i < n; i++) {
        struct build *b = &out->at[out->len];
        size_t count;

        /* Counted at once, so that whatever is in its buffer is released. */
        out->len++;
        if (load_index_command(&b->cmd, colls[i], due, &count, err) != PITR_OK)
            return err->rc;
        b->coll = colls[i];
        if (count == 0) {
            buf_release(&b->cmd);
            out->len--;
        }
    }
    return PITR_OK;
}

/* From the collection's metadata, so without reading it. The order of work is no reason to fail
 * when the user may write but not read. */
static enum pitr_rc
measure(struct target *t, struct conn *c, size_t i, void *arg, struct pitr_err *err)
{
    struct build *b = &((struct builds *)arg)->at[i];
    bson_t reply;
    bson_iter_t it;
    uint32_t code;

    if (target_simple(t, c, b->coll->db, BCON_NEW("count", BCON_UTF8(b->coll->name)), &reply, &code,
                      "count", err) != PITR_OK)
        return code == CODE_UNAUTHORIZED ? PITR_OK
                                         : pitr_wrap(err, "%s.%s", b->coll->db, b->coll->name);
    if (bson_iter_init_find(&it, &reply, "n"))
        b->documents = (uint64_t)bson_iter_as_int64(&it);
    bson_destroy(&reply);
    return PITR_OK;
}

static int
compare_sizes(const void *a, const void *b)
{
    const struct build *x = a, *y = b;

    return (x->documents < y->documents) - (x->documents > y->documents);
}

static enum pitr_rc
build(struct target *t, struct conn *c, size_t i, void *arg, struct pitr_err *err)
{
    const struct build *b = &((struct builds *)arg)->at[i];

    if (target_command(t, c, b->coll->db, &b->cmd, NULL, NULL, "create indexes", err) != PITR_OK)
        return pitr_wrap(err, "%s.%s", b->coll->db, b->coll->name);
    job_advance(t->job, b->documents, 0);
    return PITR_OK;
}

static enum pitr_rc
build_all(struct target *t, const struct load_coll *const *colls, size_t n, enum index_due due,
          struct pitr_err *err)
{
    PITR_AUTO(builds_release) struct builds builds = {0};

    if (builds_collect(&builds, colls, n, due, err) != PITR_OK ||
        target_each(t, 1, builds.len, measure, &builds, err) != PITR_OK)
        return err->rc;
    /* The longest first, or it would be built alone in the end. */
    if (builds.len > 1)
        qsort(builds.at, builds.len, sizeof *builds.at, compare_sizes);
    return target_each(t, BUILDS_AT_ONCE, builds.len, build, &builds, err);
}

enum pitr_rc
load_indexes(struct target *t, const struct load_coll *const *colls, size_t n, struct pitr_err *err)
{
    return build_all(t, colls, n, INDEX_NOW, err);
}

static enum pitr_rc
set_ttl_option(struct target *t, struct conn *c, const struct load_coll *coll, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf cmd = {0};
    const char *name = load_visible_name(coll);
    struct belem value;
    uint8_t len[4];
    size_t at;
    bool found;

    if (load_ttl_option(coll, &found, &value, err) != PITR_OK)
        return err->rc;
    if (!found)
        return PITR_OK;
    put_le32(len, (uint32_t)strlen(name) + 1);
    if (bdoc_begin(&cmd, &at, err) != PITR_OK ||
        bdoc_append_raw(&cmd, BSON_STRING, "collMod", len, sizeof len, err) != PITR_OK ||
        buf_append(&cmd, name, strlen(name) + 1, err) != PITR_OK ||
        bdoc_append(&cmd, "expireAfterSeconds", &value, err) != PITR_OK ||
        bdoc_end(&cmd, at, err) != PITR_OK)
        return err->rc;
    if (target_command(t, c, coll->db, &cmd, NULL, NULL, "set expireAfterSeconds", err) != PITR_OK)
        return pitr_wrap(err, "%s.%s", coll->db, coll->name);
    return PITR_OK;
}

enum pitr_rc
load_finish_ttl(struct target *t, const struct load_coll *const *colls, size_t n,
                struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;

    if (conn_take(&c, t->mongo, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < n; i++) {
        if (set_ttl_option(t, c, colls[i], err) != PITR_OK)
            return err->rc;
    }
    return build_all(t, colls, n, INDEX_LAST, err);
}
