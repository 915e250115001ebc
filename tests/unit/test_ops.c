/* Claims about oplog/ops.h: the operations that entries bring into effect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "oplog/ops.h"
#include "tests/support/ejson.h"

#define INSERT(n) "{\"op\":\"i\",\"ns\":\"d.c\",\"o\":{\"_id\":" #n "}}"
#define TXN "\"lsid\":{\"id\":1},\"txnNumber\":{\"$numberLong\":\"7\"},"
#define FIRST                                                                                      \
    "\"prevOpTime\":{\"ts\":{\"$timestamp\":{\"t\":0,\"i\":0}},\"t\":{\"$numberLong\":\"-1\"}},"
#define AFTER(at) "\"prevOpTime\":{\"ts\":{\"$timestamp\":{\"t\":" #at ",\"i\":1}},\"t\":1},"
#define COMMAND "\"op\":\"c\",\"ns\":\"admin.$cmd\",\"o\":"

struct fixture {
    struct ops *ops;
    struct pitr_err err;
    char said[2048]; /* one operation a line */
    unsigned limit;
    const char *earlier; /* an entry that can be recovered, at second 1 */
};

/* "SECOND OP _id[ INDEX/COUNT][ logged SECOND][ prepared]", or "SECOND ? NOTE". */
static enum pitr_rc
note_op(void *arg, const struct op *op, bool *stop, struct pitr_err *err)
{
    struct fixture *f = arg;
    char *at = f->said + strlen(f->said), *end = f->said + sizeof f->said;
    struct belem id;
    bool found = false;

    at += snprintf(at, (size_t)(end - at), "%u ", ts_secs(op->ts));
    if (op->e == NULL) {
        at += snprintf(at, (size_t)(end - at), "? %.24s", op->note);
    } else {
        if (bson_find(op->e->o, op->e->o_len, "_id", &found, &id, err) != PITR_OK)
            return err->rc;
        at += snprintf(at, (size_t)(end - at), "%c %d", op->e->op, found ? (int)*id.value : -1);
    }
    if (op->txn != NULL)
        at += snprintf(at, (size_t)(end - at), " %u/%u", (unsigned)op->index,
                       (unsigned)op->txn->count);
    if (op->logged != op->ts)
        at += snprintf(at, (size_t)(end - at), " logged %u", ts_secs(op->logged));
    if (op->txn != NULL && op->txn->prepared)
        at += snprintf(at, (size_t)(end - at), " prepared");
    snprintf(at, (size_t)(end - at), "\n");
    if (f->limit != 0 && --f->limit == 0)
        *stop = true;
    return PITR_OK;
}

static void
entry(struct buf *raw, struct oplog_entry *e, unsigned at, unsigned term, const char *rest)
{
    char text[1024];
    struct pitr_err err;

    snprintf(text, sizeof text,
             "{\"ts\":{\"$timestamp\":{\"t\":%u,\"i\":1}},\"t\":{\"$numberLong\":\"%u\"},"
             "\"v\":{\"$numberLong\":\"2\"},\"wall\":{\"$date\":{\"$numberLong\":\"9000\"}},%s}",
             at, term, rest);
    ejson(raw, text);
    if (oplog_entry_parse(e, raw->data, raw->len, &err) != PITR_OK)
        fail_msg("%s: %s", text, err.msg);
}

static enum pitr_rc
give_earlier(void *arg, struct ops *o, const struct oplog_entry *e, struct pitr_err *err)
{
    struct fixture *f = arg;
    PITR_AUTO(buf_release) struct buf raw = {0};
    struct oplog_entry piece;

    if (f->earlier == NULL)
        return pitr_fail(err, PITR_NOTFOUND, "not captured");
    assert_int_equal(ts_secs(e->prev.ts), 1);
    entry(&raw, &piece, 1, 1, f->earlier);
    return ops_recover_piece(o, &piece, err);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    return f == NULL || ops_new(&f->ops, note_op, give_earlier, f, &f->err) != PITR_OK;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    ops_free(f->ops);
    free(f);
    return 0;
}

static void
feed_term(struct fixture *f, unsigned at, unsigned term, const char *rest)
{
    PITR_AUTO(buf_release) struct buf raw = {0};
    struct oplog_entry e;
    bool stop = false;

    entry(&raw, &e, at, term, rest);
    if (ops_entry(f->ops, &e, &stop, &f->err) != PITR_OK)
        fail_msg("%s: %s", rest, f->err.msg);
}

static void
feed(struct fixture *f, unsigned at, const char *rest)
{
    feed_term(f, at, 1, rest);
}

static void
feed_after(struct fixture *f, unsigned at, unsigned to, const char *rest)
{
    PITR_AUTO(buf_release) struct buf raw = {0};
    struct oplog_entry e;
    bool stop = false;

    entry(&raw, &e, at, 1, rest);
    assert_int_equal(ops_entry_after(f->ops, &e, ts_make(to, 1), &stop, &f->err), PITR_OK);
}

static void
a_plain_entry_is_one_operation(void **state)
{
    struct fixture *f = *state;

    feed(f, 5, "\"op\":\"u\",\"ns\":\"d.c\",\"o\":{\"_id\":3},\"o2\":{\"_id\":3}");
    feed(f, 6, "\"op\":\"n\",\"ns\":\"\",\"o\":{}");
    feed(f, 7, "\"op\":\"c\",\"ns\":\"d.$cmd\",\"o\":{\"drop\":\"c\"}");
    assert_string_equal(f->said, "5 u 3\n6 n -1\n7 c -1\n");
}

static void
an_apply_ops_of_a_user_is_its_operations(void **state)
{
    struct fixture *f = *state;

    feed(f, 5,
         TXN COMMAND "{\"applyOps\":[" INSERT(1) ",{\"op\":\"c\",\"ns\":\"admin.$cmd\",\"o\":"
                                                 "{\"applyOps\":[" INSERT(2) "]}}," INSERT(3) "]}");
    assert_string_equal(f->said, "5 i 1\n5 i 2\n5 i 3\n");
}

static void
vectored_writes_stand_for_themselves(void **state)
{
    struct fixture *f = *state;

    feed(f, 5,
         TXN AFTER(2) "\"multiOpType\":1," COMMAND "{\"applyOps\":[" INSERT(1) "," INSERT(2) "]}");
    assert_string_equal(f->said, "5 i 1\n5 i 2\n");
}

static void
a_transaction_of_several_entries_stands_at_its_last(void **state)
{
    struct fixture *f = *state;

    feed(f, 5,
         TXN FIRST COMMAND "{\"applyOps\":[" INSERT(1) "," INSERT(2) "],\"partialTxn\":true}");
    feed(f, 6, "\"op\":\"i\",\"ns\":\"d.c\",\"o\":{\"_id\":9}");
    feed(f, 7, TXN AFTER(5) COMMAND "{\"applyOps\":[" INSERT(3) "],\"partialTxn\":true}");
    feed(f, 8, TXN AFTER(7) COMMAND "{\"applyOps\":[" INSERT(4) "],\"count\":4}");
    assert_string_equal(f->said, "6 i 9\n8 i 1 1/4 logged 5\n8 i 2 2/4 logged 5\n"
                                 "8 i 3 3/4 logged 7\n8 i 4 4/4\n");
}

static void
a_transaction_of_one_entry_is_one_too(void **state)
{
    struct fixture *f = *state;

    feed(f, 5, TXN FIRST COMMAND "{\"applyOps\":[" INSERT(1) "," INSERT(2) "]}");
    assert_string_equal(f->said, "5 i 1 1/2\n5 i 2 2/2\n");
}

static void
prepare_at_5(struct fixture *f)
{
    feed(f, 5, TXN FIRST COMMAND "{\"applyOps\":[" INSERT(1) "],\"prepare\":true}");
    assert_int_equal(ops_prepared(f->ops), 1);
    assert_string_equal(f->said, "");
}

#define COMMIT_AT_6                                                                                \
    TXN AFTER(5) COMMAND "{\"commitTransaction\":1,"                                               \
                         "\"commitTimestamp\":{\"$timestamp\":{\"t\":6,\"i\":1}}}"

static void
a_prepared_transaction_has_its_commit_time(void **state)
{
    struct fixture *f = *state;

    prepare_at_5(f);
    feed(f, 8, COMMIT_AT_6);
    assert_string_equal(f->said, "6 i 1 1/1 logged 5 prepared\n");
    assert_int_equal(ops_prepared(f->ops), 0);
}

static void
behind_the_end_only_commit_times_before_it_count(void **state)
{
    struct fixture *f = *state;

    prepare_at_5(f);
    feed_after(f, 8, 5, "\"op\":\"i\",\"ns\":\"d.c\",\"o\":{\"_id\":9}");
    feed_after(f, 8, 5, COMMIT_AT_6);
    assert_string_equal(f->said, "");
    assert_int_equal(ops_prepared(f->ops), 0);
    prepare_at_5(f);
    feed_after(f, 8, 6, COMMIT_AT_6);
    assert_string_equal(f->said, "6 i 1 1/1 logged 5 prepared\n");
}

static void
what_was_aborted_never_comes(void **state)
{
    struct fixture *f = *state;

    prepare_at_5(f);
    feed(f, 6, TXN AFTER(5) COMMAND "{\"abortTransaction\":1}");
    assert_int_equal(ops_prepared(f->ops), 0);
    feed(f, 7, TXN FIRST COMMAND "{\"applyOps\":[" INSERT(1) "],\"partialTxn\":true}");
    feed_term(f, 8, 2, "\"op\":\"n\",\"ns\":\"\",\"o\":{}");
    assert_string_equal(f->said, "8 n -1\n");
}

static void
pieces_that_were_not_fed_are_asked_for(void **state)
{
    struct fixture *f = *state;

    f->earlier = TXN FIRST COMMAND "{\"applyOps\":[" INSERT(1) "],\"partialTxn\":true}";
    feed(f, 5, TXN AFTER(1) COMMAND "{\"applyOps\":[" INSERT(2) "],\"partialTxn\":true}");
    f->earlier = NULL;
    feed(f, 6, TXN AFTER(5) COMMAND "{\"applyOps\":[" INSERT(3) "]}");
    assert_string_equal(f->said, "6 i 1 1/3 logged 1\n6 i 2 2/3 logged 5\n6 i 3 3/3\n");
}

static void
a_prepared_transaction_that_was_not_fed_is_asked_for(void **state)
{
    struct fixture *f = *state;

    f->earlier = TXN FIRST COMMAND "{\"applyOps\":[" INSERT(1) "],\"prepare\":true}";
    feed(f, 5, TXN AFTER(1) COMMAND "{\"commitTransaction\":1}");
    assert_string_equal(f->said, "5 i 1 1/1 logged 1 prepared\n");
}

static void
what_is_lost_is_told_at_the_commit(void **state)
{
    struct fixture *f = *state;

    feed(f, 5, TXN AFTER(1) COMMAND "{\"applyOps\":[" INSERT(2) "],\"partialTxn\":true}");
    feed(f, 6, TXN AFTER(5) COMMAND "{\"applyOps\":[" INSERT(3) "]}");
    feed(f, 7, TXN AFTER(1) COMMAND "{\"commitTransaction\":1}");
    assert_string_equal(f->said, "6 ? earlier operations of th\n6 i 3 1/1\n"
                                 "7 ? commits a transaction wh 1/0\n");
}

static void
what_is_not_understood_stops_nothing(void **state)
{
    struct fixture *f = *state;

    feed(f, 5,
         TXN FIRST COMMAND
         "{\"applyOps\":[" INSERT(1) ",{\"op\":\"x\",\"ns\":\"d.c\"},7," INSERT(2) "]}");
    assert_string_equal(f->said, "5 i 1 1/4\n5 ? operation in applyOps: o 2/4\n"
                                 "5 ? applyOps holds something 3/4\n5 i 2 4/4\n");
}

static void
a_reader_can_stop_in_the_middle(void **state)
{
    struct fixture *f = *state;

    f->limit = 2;
    feed(f, 5, COMMAND "{\"applyOps\":[" INSERT(1) "," INSERT(2) "," INSERT(3) "]}");
    assert_string_equal(f->said, "5 i 1\n5 i 2\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_plain_entry_is_one_operation),
        TEST(an_apply_ops_of_a_user_is_its_operations),
        TEST(vectored_writes_stand_for_themselves),
        TEST(a_transaction_of_several_entries_stands_at_its_last),
        TEST(a_transaction_of_one_entry_is_one_too),
        TEST(a_prepared_transaction_has_its_commit_time),
        TEST(behind_the_end_only_commit_times_before_it_count),
        TEST(what_was_aborted_never_comes),
        TEST(pieces_that_were_not_fed_are_asked_for),
        TEST(a_prepared_transaction_that_was_not_fed_is_asked_for),
        TEST(what_is_lost_is_told_at_the_commit),
        TEST(what_is_not_understood_stops_nothing),
        TEST(a_reader_can_stop_in_the_middle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
