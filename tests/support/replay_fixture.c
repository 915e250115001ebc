#include "tests/support/replay_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bson/bson.h>

#include "tests/support/ejson.h"

static char *const excluded_names[] = {"shop.tmp*", "shop.weather"};

void
fixture_base(struct fixture *f, const char *db, const char *name, uint8_t last, const char *options,
             bool excluded)
{
    struct buf opts = {0}, indexes = {0};
    uint8_t uuid[UUID_LEN] = {[15] = last};

    ejson(&opts, options);
    ejson(&indexes, "{\"0\":{\"v\":2,\"key\":{\"_id\":1},\"name\":\"_id_\"}}");
    assert_int_equal(replay_add_base(f->r, db, name, uuid, &opts, &indexes,
                                     excluded ? REPLAY_NO_BASE : replay_count(f->r), excluded,
                                     &f->err),
                     PITR_OK);
    buf_release(&opts);
    buf_release(&indexes);
}

static int
setup(void **state, enum update_field_order order)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct replay_opts opts = {.t_start = ts_make(FIXTURE_T_START, 1),
                               .t_end = ts_make(FIXTURE_T_END, 1),
                               .to = ts_make(FIXTURE_MOMENT, 1),
                               .order = order,
                               .exclude = excluded_names,
                               .nexclude = 2};

    *state = f;
    if (f == NULL || replay_new(&f->r, &opts, &f->err) != PITR_OK)
        return 1;
    fixture_base(f, "shop", "orders", 1, "{}", false);
    return 0;
}

int
fixture_setup(void **state)
{
    return setup(state, FIELD_ORDER_NUMERIC);
}

int
fixture_setup_44(void **state)
{
    return setup(state, FIELD_ORDER_BYTES);
}

int
fixture_teardown(void **state)
{
    struct fixture *f = *state;

    replay_free(f->r);
    buf_release(&f->entry);
    free(f);
    return 0;
}

enum pitr_rc
fixture_feed_in_term(struct fixture *f, unsigned at, int term, const char *rest)
{
    struct oplog_entry e;
    char text[8192];
    int n =
        snprintf(text, sizeof text,
                 "{\"ts\":{\"$timestamp\":{\"t\":%u,\"i\":1}},\"t\":{\"$numberLong\":\"%d\"},"
                 "\"v\":{\"$numberLong\":\"2\"},\"wall\":{\"$date\":{\"$numberLong\":\"0\"}},%s}",
                 at, term, rest);

    assert_true(n > 0 && (size_t)n < sizeof text);
    ejson(&f->entry, text);
    if (oplog_entry_parse(&e, f->entry.data, f->entry.len, &f->err) != PITR_OK)
        return f->err.rc;
    return replay_entry(f->r, &e, &f->err);
}

enum pitr_rc
fixture_feed(struct fixture *f, unsigned at, const char *rest)
{
    return fixture_feed_in_term(f, at, 1, rest);
}

void
fixture_ok(struct fixture *f, unsigned at, const char *rest)
{
    if (fixture_feed(f, at, rest) != PITR_OK)
        fail_msg("%s: %s", rest, f->err.msg);
}

void
fixture_refused(struct fixture *f, unsigned at, const char *rest, enum pitr_rc rc, const char *says,
                const char *also)
{
    if (fixture_feed(f, at, rest) != rc)
        fail_msg("%s: not refused, or not rightly", rest);
    if (strstr(f->err.msg, says) == NULL || strstr(f->err.msg, also) == NULL)
        fail_msg("\"%s\" and \"%s\" are not in: %s", says, also, f->err.msg);
}

static void
append(struct fixture *f, const char *text)
{
    size_t used = strlen(f->text), cap = sizeof f->text;

    assert_true((size_t)snprintf(f->text + used, cap - used, "%s", text) < cap - used);
}

static void
append_json(struct fixture *f, const uint8_t *doc, size_t len, const char *end)
{
    char *text = ejson_text(doc, len);

    append(f, text);
    append(f, end);
    bson_free(text);
}

static enum pitr_rc
append_doc(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    (void)err;
    append_json(arg, doc, len, "");
    return PITR_OK;
}

const char *
fixture_catalog(struct fixture *f)
{
    if (replay_finish(f->r, &f->err) != PITR_OK)
        fail_msg("%s", f->err.msg);
    f->text[0] = '\0';
    for (size_t i = 0; i < replay_count(f->r); i++) {
        struct replay_coll *c = replay_at(f->r, i);

        if (c->dropped || c->excluded)
            continue;
        append(f, c->db);
        append(f, ".");
        append(f, c->name);
        append(f, c->base == REPLAY_NO_BASE ? " new " : " base ");
        append_json(f, c->options.data, c->options.len, " ");
        append_json(f, c->indexes.data, c->indexes.len, " ");
        if (net_rest(c->net, append_doc, f, &f->err) != PITR_OK)
            fail_msg("%s", f->err.msg);
        append(f, "\n");
    }
    return f->text;
}

const char *
fixture_document(struct fixture *f, const char *base)
{
    struct buf doc = {0}, out = {0}, scratch = {0};
    enum net_verdict verdict;

    ejson(&doc, base);
    if (net_filter(replay_at(f->r, 0)->net, doc.data, doc.len, &verdict, &out, &scratch, &f->err) !=
        PITR_OK)
        fail_msg("%s", f->err.msg);
    f->text[0] = '\0';
    if (verdict == NET_DROP)
        append(f, "gone");
    else if (verdict == NET_CHANGED)
        append_json(f, out.data, out.len, "");
    else
        append_json(f, doc.data, doc.len, "");
    buf_release(&doc);
    buf_release(&out);
    buf_release(&scratch);
    return f->text;
}
