/* Claims about engine/oplog_search.h: what a search of the captured oplog finds, and what it says
 * of what is not captured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/oplog_search.h"
#include "oplog/docid.h"
#include "tests/support/ejson.h"
#include "tests/support/oplog_repo.h"

#define INSERT(n) "{\"op\":\"i\",\"ns\":\"d.c\",\"o\":{\"_id\":" #n "}}"
#define TXN "\"lsid\":{\"id\":1},\"txnNumber\":{\"$numberLong\":\"7\"},"
#define OTHER "\"lsid\":{\"id\":2},\"txnNumber\":{\"$numberLong\":\"7\"},"
#define FIRST                                                                                      \
    "\"prevOpTime\":{\"ts\":{\"$timestamp\":{\"t\":0,\"i\":0}},\"t\":{\"$numberLong\":\"-1\"}},"
#define AFTER(at) "\"prevOpTime\":{\"ts\":{\"$timestamp\":{\"t\":" #at ",\"i\":1}},\"t\":1},"
#define COMMAND "\"op\":\"c\",\"ns\":\"admin.$cmd\",\"o\":"
#define DOC(op, ns, n)                                                                             \
    "\"op\":\"" op "\",\"ns\":\"" ns "\",\"o\":{\"_id\":" n "},\"o2\":{\"_id\":" n "}"

struct fixture {
    struct oplog_repo repo;
    struct segment_info last; /* of the last segment; entries 0: none */
    struct search_opts opts;
    struct pitr_err err;
    char said[2048];
    unsigned limit;
};

/* One entry of a segment; text NULL ends a list. */
struct line {
    uint32_t at;
    const char *rest;
};

static void
must(enum pitr_rc rc, const struct pitr_err *err)
{
    if (rc != PITR_OK)
        fail_msg("%s", err->msg);
}

/* Seal `lines` as one segment behind the one before, or as the start of a chain. */
static void
seal(struct fixture *f, uint32_t timeline, bool joins, const struct line *lines)
{
    PITR_AUTO(segment_writer_freep) struct segment_writer *w = NULL;
    PITR_AUTO(buf_release) struct buf raw = {0};
    struct segment_writer_opts opts = {.blob = f->repo.blob,
                                       .sealer = f->repo.sealer,
                                       .timeline = timeline,
                                       .prev = joins ? &f->last : NULL};
    struct segment_info info;
    struct oplog_stamp stamp;
    char text[1024];

    must(segment_writer_new(&w, &opts, &f->err), &f->err);
    for (; lines->rest != NULL; lines++) {
        snprintf(text, sizeof text,
                 "{\"ts\":{\"$timestamp\":{\"t\":%u,\"i\":1}},\"t\":{\"$numberLong\":\"1\"},"
                 "\"v\":{\"$numberLong\":\"2\"},%s}",
                 lines->at, lines->rest);
        ejson(&raw, text);
        must(oplog_entry_stamp(&stamp, raw.data, raw.len, &f->err), &f->err);
        must(segment_writer_add(w, raw.data, raw.len, &stamp, &f->err), &f->err);
    }
    must(segment_writer_finish(w, &info, &f->err), &f->err);
    f->last = info;
}

static void say(struct fixture *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
say(struct fixture *f, const char *fmt, ...)
{
    size_t len = strlen(f->said);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f->said + len, sizeof f->said - len, fmt, ap);
    va_end(ap);
}

/* "SECOND NS[ _id]; " */
static enum pitr_rc
found(void *arg, const struct search_hit *hit, bool *stop, struct pitr_err *err)
{
    struct fixture *f = arg;

    (void)err;
    say(f, "%u %s", ts_secs(hit->op->ts), hit->kind == SEARCH_UNKNOWN ? "?" : hit->ns);
    if (hit->id.type != BSON_EOD)
        say(f, " %d", (int)*hit->id.value);
    say(f, "; ");
    if (f->limit != 0 && --f->limit == 0)
        *stop = true;
    return PITR_OK;
}

static enum pitr_rc
gap(void *arg, const struct gap *g, struct pitr_err *err)
{
    (void)err;
    say(arg, "gap %u-%u; ", ts_secs(g->after.ts), ts_secs(g->before.ts));
    return PITR_OK;
}

static enum pitr_rc
unfinished(void *arg, uint32_t timeline, size_t n, struct pitr_err *err)
{
    (void)err;
    say(arg, "unfinished %u on %u; ", (unsigned)n, (unsigned)timeline);
    return PITR_OK;
}

static enum pitr_rc
search(struct fixture *f)
{
    const struct search_sink sink = {
        .found = found, .gap = gap, .unfinished = unfinished, .arg = f};
    PITR_AUTO(chain_release) struct chain chain = {0};

    f->said[0] = '\0';
    must(chain_load(&chain, f->repo.blob, &f->repo.keys, &f->err), &f->err);
    return oplog_search(&chain, f->repo.blob, &f->repo.keys, &f->opts, &sink, &f->err);
}

static void
finds(struct fixture *f, const char *want)
{
    must(search(f), &f->err);
    assert_string_equal(f->said, want);
}

static void
range(struct fixture *f, uint32_t from, uint32_t to)
{
    f->opts.from = ts_make(from, 0);
    f->opts.to = ts_make(to, UINT32_MAX);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    if (f == NULL)
        return 1;
    oplog_repo_init(&f->repo);
    f->opts = (struct search_opts){.to = UINT64_MAX, .kinds = SEARCH_DEFAULT};
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    oplog_repo_release(&f->repo);
    free(f);
    return 0;
}

static void
bounds_are_part_of_the_range(void **state)
{
    struct fixture *f = *state;

    seal(f, 1, false, (struct line[]){{1, DOC("i", "d.c", "1")}, {2, DOC("u", "d.c", "2")}, {0}});
    seal(f, 1, true, (struct line[]){{3, DOC("d", "d.c", "3")}, {4, DOC("i", "d.c", "4")}, {0}});
    finds(f, "1 d.c 1; 2 d.c 2; 3 d.c 3; 4 d.c 4; ");
    range(f, 2, 3);
    finds(f, "2 d.c 2; 3 d.c 3; ");
    f->opts.from = f->opts.to = ts_make(4, 1);
    finds(f, "4 d.c 4; ");
}

static void
patterns_kinds_and_ids_choose(void **state)
{
    struct fixture *f = *state;
    PITR_AUTO(buf_release) struct buf id = {0}, doc = {0};
    char *ns[] = {"d.c", "d.w"}, *not [] = {"d.c*"};
    struct belem e;
    bool has;

    seal(f, 1, false,
         (struct line[]){{1, DOC("i", "d.c", "7")},
                         {2, DOC("i", "d.x", "7")},
                         {3, DOC("u", "d.c", "{\"$numberDouble\":\"7\"}")},
                         {4, DOC("d", "d.system.buckets.w", "7")},
                         {5, DOC("i", "d.c", "8")},
                         {6, "\"op\":\"n\",\"ns\":\"\",\"o\":{}"},
                         {7, "\"op\":\"c\",\"ns\":\"d.$cmd\",\"o\":{\"drop\":\"c\"}"},
                         {0}});
    f->opts.ns = ns;
    f->opts.nns = 2;
    finds(f, "1 d.c 7; 3 d.c 0; 4 d.system.buckets.w 7; 5 d.c 8; 7 d.c; ");
    ejson(&doc, "{\"_id\":7}");
    must(bson_find(doc.data, doc.len, "_id", &has, &e, &f->err), &f->err);
    must(docid_append(&id, &e, &f->err), &f->err);
    f->opts.id = &id;
    finds(f, "1 d.c 7; 3 d.c 0; 4 d.system.buckets.w 7; ");
    f->opts.nns = 0;
    f->opts.exclude_ns = not ;
    f->opts.nexclude_ns = 1;
    finds(f, "2 d.x 7; 4 d.system.buckets.w 7; ");
    f->opts.kinds = SEARCH_INSERT | SEARCH_UPDATE;
    finds(f, "2 d.x 7; ");
    f->opts.id = NULL;
    f->opts.kinds = SEARCH_NOOP;
    finds(f, "6 ; ");
}

static void
the_sink_can_end_the_search(void **state)
{
    struct fixture *f = *state;

    seal(f, 1, false, (struct line[]){{1, DOC("i", "d.c", "1")}, {2, DOC("i", "d.c", "2")}, {0}});
    seal(f, 1, true, (struct line[]){{3, DOC("i", "d.c", "3")}, {0}});
    f->limit = 1;
    f->opts.has_to = true;
    finds(f, "1 d.c 1; ");
}

/* The second piece lies in a segment of its own, beside a transaction of the same number. */
static void
a_transaction_that_began_before_the_range_is_whole(void **state)
{
    struct fixture *f = *state;

    seal(f, 1, false,
         (struct line[]){
             {1, TXN FIRST COMMAND "{\"applyOps\":[" INSERT(1) "],\"partialTxn\":true}"}, {0}});
    seal(f, 1, true, (struct line[]){{2, DOC("i", "d.x", "0")}, {0}});
    seal(f, 1, true,
         (struct line[]){
             {3, OTHER FIRST COMMAND "{\"applyOps\":[" INSERT(9) "],\"partialTxn\":true}"},
             {4, TXN AFTER(1) COMMAND "{\"applyOps\":[" INSERT(2) "],\"partialTxn\":true}"},
             {5, TXN AFTER(4) COMMAND "{\"applyOps\":[" INSERT(3) "]}"},
             {0}});
    range(f, 5, 5);
    finds(f, "5 d.c 1; 5 d.c 2; 5 d.c 3; ");
    range(f, 4, 9);
    finds(f, "5 d.c 1; 5 d.c 2; 5 d.c 3; ");
    range(f, 1, 4);
    finds(f, "2 d.x 0; ");
}

static void
a_transaction_that_began_before_the_capture_says_so(void **state)
{
    struct fixture *f = *state;

    seal(f, 1, false,
         (struct line[]){
             {4, TXN AFTER(1) COMMAND "{\"applyOps\":[" INSERT(2) "],\"partialTxn\":true}"},
             {5, TXN AFTER(4) COMMAND "{\"applyOps\":[" INSERT(3) "]}"},
             {0}});
    finds(f, "5 ?; 5 d.c 3; ");
}

static void
a_prepared_transaction_belongs_to_its_commit_time(void **state)
{
    struct fixture *f = *state;

    seal(f, 1, false,
         (struct line[]){{1, TXN FIRST COMMAND "{\"applyOps\":[" INSERT(1) "],\"prepare\":true}"},
                         {2, DOC("i", "d.x", "0")},
                         {0}});
    finds(f, "2 d.x 0; unfinished 1 on 1; ");
    seal(f, 1, true,
         (struct line[]){{4, TXN AFTER(1) COMMAND
                          "{\"commitTransaction\":1,"
                          "\"commitTimestamp\":{\"$timestamp\":{\"t\":2,\"i\":1}}}"},
                         {5, DOC("i", "d.x", "5")},
                         {0}});
    finds(f, "2 d.x 0; 2 d.c 1; 5 d.x 5; ");
    range(f, 1, 2);
    finds(f, "2 d.x 0; 2 d.c 1; ");
    range(f, 1, 1);
    finds(f, "");
    range(f, 4, 5);
    finds(f, "2 d.c 1; 5 d.x 5; ");
}

static void
an_unknown_entry_stops_nothing(void **state)
{
    struct fixture *f = *state;
    char *ns[] = {"d.c"};

    seal(f, 1, false,
         (struct line[]){{1, DOC("i", "d.c", "1")},
                         {2, "\"op\":\"zz\",\"ns\":\"d.c\""},
                         {3, "\"op\":\"zz\",\"ns\":\"d.y\",\"o\":{}"},
                         {4, "\"op\":\"xx\""},
                         {5, DOC("i", "d.c", "5")},
                         {0}});
    finds(f, "1 d.c 1; 2 ?; 3 ?; 4 ?; 5 d.c 5; ");
    f->opts.ns = ns;
    f->opts.nns = 1;
    finds(f, "1 d.c 1; 2 ?; 4 ?; 5 d.c 5; ");
    f->opts.kinds = SEARCH_INSERT;
    finds(f, "1 d.c 1; 5 d.c 5; ");
}

static void
gaps_inside_the_range_are_told_in_their_place(void **state)
{
    struct fixture *f = *state;

    seal(f, 1, false, (struct line[]){{1, DOC("i", "d.c", "1")}, {0}});
    seal(f, 1, false, (struct line[]){{5, DOC("i", "d.c", "5")}, {6, DOC("i", "d.c", "6")}, {0}});
    seal(f, 2, false, (struct line[]){{9, DOC("i", "d.c", "9")}, {0}});
    finds(f, "1 d.c 1; gap 1-5; 5 d.c 5; 6 d.c 6; 9 d.c 9; ");
    range(f, 6, 9);
    finds(f, "6 d.c 6; 9 d.c 9; ");
    f->opts.from = ts_make(5, 1);
    finds(f, "5 d.c 5; 6 d.c 6; 9 d.c 9; ");
    range(f, 3, 5);
    finds(f, "gap 1-5; 5 d.c 5; ");
    range(f, 1, 1);
    finds(f, "1 d.c 1; gap 1-5; ");
    f->opts.to = ts_make(1, 1);
    finds(f, "1 d.c 1; ");
}

static void
what_was_asked_for_and_lies_outside_is_told(void **state)
{
    struct fixture *f = *state;

    seal(f, 1, false, (struct line[]){{5, DOC("i", "d.c", "5")}, {0}});
    f->opts.has_from = f->opts.has_to = true;
    range(f, 1, 9);
    finds(f, "gap 0-5; 5 d.c 5; gap 5-0; ");
    f->opts.from = f->opts.to = ts_make(5, 1);
    finds(f, "5 d.c 5; ");
}

static void
a_range_without_anything_captured_is_a_gap(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(search(f), PITR_GAP);
    assert_non_null(strstr(f->err.msg, "no operations are captured in this repository yet"));
    seal(f, 1, false, (struct line[]){{5, DOC("i", "d.c", "5")}, {0}});
    seal(f, 1, false, (struct line[]){{20, DOC("i", "d.c", "5")}, {0}});
    range(f, 7, 9);
    assert_int_equal(search(f), PITR_GAP);
    assert_string_equal(f->said, "");
    assert_string_equal(f->err.msg,
                        "nothing of this range is captured; captured are 1970-01-01T00:00:05Z "
                        "(5,1) to 1970-01-01T00:00:05Z (5,1), 1970-01-01T00:00:20Z (20,1) to "
                        "1970-01-01T00:00:20Z (20,1)");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bounds_are_part_of_the_range),
        TEST(patterns_kinds_and_ids_choose),
        TEST(the_sink_can_end_the_search),
        TEST(a_transaction_that_began_before_the_range_is_whole),
        TEST(a_transaction_that_began_before_the_capture_says_so),
        TEST(a_prepared_transaction_belongs_to_its_commit_time),
        TEST(an_unknown_entry_stops_nothing),
        TEST(gaps_inside_the_range_are_told_in_their_place),
        TEST(what_was_asked_for_and_lies_outside_is_told),
        TEST(a_range_without_anything_captured_is_a_gap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
