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
    void *dir;
    bool wants_to_run, is_running;
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
    r->is_running = true;
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
    r->is_running = false;
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
    if (r->is_running)
        return PITR_OK;
    if (r->open_since != 0)
        begin->ts = r->open_since;
    if (r->wants_to_run)
        run_rival(r);
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
    struct pitr_err err;
    bool created;

    if (r == NULL || tmpdir_setup(&r->dir) != 0)
        return -1;
    path = tmpdir_path(r->dir, "repo");
    if (repo_init(path, &created, &err) != PITR_OK ||
        repo_open(&r->repo, path, REPO_WRITE, NULL, &err) != PITR_OK)
        return -1;
    r->source.ops = &rival_ops;
    oplog_array_init(&r->oplog);
    add_entries(r, 10, 15);
    *state = r;
    return 0;
}

static int
teardown(void **state)
{
    struct rival *r = *state;

    repo_free(r->repo);
    oplog_array_release(&r->oplog);
    tmpdir_teardown(&r->dir);
    free(r);
    return 0;
}

static enum pitr_rc
start(struct rival *r, struct job *job, struct capture **c, struct optime *begin,
      struct optime *t_start, struct pitr_err *err)
{
    const struct capture_opts opts = {
        .repo = r->repo, .source = &r->source, .job = job, .interval_ms = 60000};

    return capture_start(c, &opts, begin, t_start, err);
}

static void
a_chain_begun_by_another_after_the_window_was_opened_is_fitted_to(void **state)
{
    struct rival *r = *state;
    PITR_AUTO(capture_freep) struct capture *c = NULL;
    struct job job = {0};
    struct optime begin, t_start, until;
    struct capture_result result;
    struct pitr_err err;

    r->wants_to_run = true;
    assert_int_equal(start(r, &job, &c, &begin, &t_start, &err), PITR_OK);
    assert_int_equal(begin.ts, ts_make(21, 1));
    assert_true(t_start.ts >= begin.ts);
    add_entries(r, 30, 32);
    until = newest(r);
    if (capture_finish(c, &until, &result, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    assert_false(result.gap_found);
}

static void
a_transaction_older_than_such_a_chain_is_refused(void **state)
{
    struct rival *r = *state;
    PITR_AUTO(capture_freep) struct capture *c = NULL;
    struct job job = {0};
    struct optime begin, t_start;
    struct pitr_err err;

    r->wants_to_run = true;
    r->open_since = ts_make(12, 1);
    assert_int_equal(start(r, &job, &c, &begin, &t_start, &err), PITR_GAP);
    assert_non_null(strstr(err.msg, "take the snapshot again when it has ended"));
}

static void
a_chain_of_its_own_begins_where_the_window_does(void **state)
{
    struct rival *r = *state;
    PITR_AUTO(capture_freep) struct capture *c = NULL;
    struct job job = {0};
    struct optime begin, t_start, until = newest(r);
    struct capture_result result;
    struct pitr_err err;

    r->open_since = ts_make(12, 1);
    assert_int_equal(start(r, &job, &c, &begin, &t_start, &err), PITR_OK);
    assert_int_equal(begin.ts, ts_make(12, 1));
    if (capture_finish(c, &until, &result, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(result.entries, 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_chain_begun_by_another_after_the_window_was_opened_is_fitted_to, setup, teardown),
        cmocka_unit_test_setup_teardown(a_transaction_older_than_such_a_chain_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_chain_of_its_own_begins_where_the_window_does, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
