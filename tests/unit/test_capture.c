#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/capture.h"
#include "oplog/tail.h"
#include "tests/support/oplog_array.h"
#include "tests/support/tmpdir.h"

/* An oplog whose first begin() is followed at once by another process's `tail --once`. */
struct rival {
    struct oplog_source source;
    struct oplog_array oplog;
    struct repo *repo;
    bool wants_to_run;
    uint64_t open_since; /* start of a transaction that is still open, or 0 */
};

static void
add_entries(struct rival *r, uint32_t from, uint32_t to)
{
    for (uint32_t s = from; s < to; s++)
        oplog_array_add(&r->oplog, ts_make(s, 1), 1, 'i', 20, 'x');
}

static struct optime
newest(const struct rival *r)
{
    return r->oplog.entries[r->oplog.visible - 1].at;
}

/* Begins the repository's chain, later than what begin() has just answered. */
static void
run_rival(struct rival *r)
{
    PITR_AUTO(tail_freep) struct tail *tail = NULL;
    struct optime until;
    struct tail_result result;
    struct pitr_err err;

    r->wants_to_run = false;
    add_entries(r, 20, 22);
    until = newest(r);
    assert_int_equal(tail_new(&tail,
                              &(struct tail_opts){.blob = repo_blob(r->repo),
                                                  .keys = repo_keys(r->repo),
                                                  .source = &r->source,
                                                  .codec = CODEC_LZ4},
                              &err),
                     PITR_OK);
    assert_int_equal(tail_run(tail, &until, &result, &err), PITR_OK);
}

static enum pitr_rc
rival_seek(struct oplog_source *s, uint64_t from, struct pitr_err *err)
{
    struct oplog_source *inner = &((struct rival *)s)->oplog.source;

    return inner->ops->seek(inner, from, err);
}

static enum pitr_rc
rival_next(struct oplog_source *s, const uint8_t **data, size_t *len, struct pitr_err *err)
{
    struct oplog_source *inner = &((struct rival *)s)->oplog.source;

    return inner->ops->next(inner, data, len, err);
}

static enum pitr_rc
rival_bounds(struct oplog_source *s, struct optime *oldest, struct optime *majority,
             struct pitr_err *err)
{
    struct oplog_source *inner = &((struct rival *)s)->oplog.source;

    return inner->ops->bounds(inner, oldest, majority, err);
}

static enum pitr_rc
rival_begin(struct oplog_source *s, struct optime *begin, struct pitr_err *err)
{
    struct rival *r = (struct rival *)s;

    (void)err;
    *begin = newest(r);
    if (r->wants_to_run)
        run_rival(r);
    else if (r->open_since != 0)
        begin->ts = r->open_since;
    return PITR_OK;
}

static void
rival_free(struct oplog_source *s)
{
    (void)s;
}

static const struct oplog_source_ops rival_ops = {
    .seek = rival_seek,
    .next = rival_next,
    .bounds = rival_bounds,
    .begin = rival_begin,
    .free = rival_free,
};

static int
setup(void **state)
{
    struct rival *r = calloc(1, sizeof *r);
    PITR_AUTO(str_freep) char *path = NULL;
    void *dir = NULL;
    struct pitr_err err;
    bool created;

    if (r == NULL || tmpdir_setup(&dir) != 0)
        return -1;
    path = tmpdir_path(dir, "repo");
    if (repo_init(path, &created, &err) != PITR_OK ||
        repo_open(&r->repo, path, REPO_WRITE, NULL, &err) != PITR_OK)
        return -1;
    tmpdir_teardown(&dir); /* REPLACED */
    r->source.ops = &rival_ops;
    oplog_array_init(&r->oplog);
    add_entries(r, 10, 15);
    *state = r;
    return 0;
}
