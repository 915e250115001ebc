/*
 * Entries as a 6.0 server wrote them, damaged: each field removed or of another type, and random
 * damage at any depth. Replay refuses what it needs and does not find, names it, and survives the
 * rest. The vector file is a whole oplog, so that it replays strictly from an empty base.
 *
 * SEED in the environment repeats a run of the random part.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mongo/bsonedit.h"
#include "oplog/replay.h"
#include "tests/support/ejson.h"

enum { MAX_ENTRIES = 256, LINE_MAX_LEN = 1 << 16, RANDOM_RUNS = 4000 };

struct log {
    struct buf entries[MAX_ENTRIES];
    size_t n;
};

static int
load(void **state)
{
    static const char path[] = PITR_SOURCE_DIR "/tests/vectors/oplog-entries.jsonl";
    struct log *log = calloc(1, sizeof *log);
    char *line = malloc(LINE_MAX_LEN);
    FILE *in = fopen(path, "r");

    *state = log;
    if (log == NULL || line == NULL || in == NULL)
        return 1;
    while (log->n < MAX_ENTRIES && fgets(line, LINE_MAX_LEN, in) != NULL)
        ejson(&log->entries[log->n++], line);
    fclose(in);
    free(line);
    return log->n < 50;
}

static int
unload(void **state)
{
    struct log *log = *state;

    for (size_t i = 0; i < log->n; i++)
        buf_release(&log->entries[i]);
    free(log);
    return 0;
}

static enum pitr_rc
feed(struct replay *r, const struct buf *entry, struct pitr_err *err)
{
    struct oplog_entry e;

    if (oplog_entry_parse(&e, entry->data, entry->len, err) != PITR_OK)
        return err->rc;
    return replay_entry(r, &e, err);
}

static enum pitr_rc
count_document(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    (void)doc;
    (void)len;
    (void)err;
    ++*(size_t *)arg;
    return PITR_OK;
}

static enum pitr_rc
finish(struct replay *r, size_t *documents, struct pitr_err *err)
{
    *documents = 0;
    if (replay_finish(r, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < replay_count(r); i++)
        if (!replay_at(r, i)->dropped &&
            net_rest(replay_at(r, i)->net, count_document, documents, err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

/* Replay with entry `at` in the form `instead`, up to and with it, or to the end. The base holds
 * what a new server holds. */
static enum pitr_rc
replay_damaged(const struct log *log, size_t at, const struct buf *instead, bool to_the_end,
               struct pitr_err *err)
{
    static const struct buf none = {0};
    static const uint8_t start[UUID_LEN] = {1};
    PITR_AUTO(replay_freep) struct replay *r = NULL;
    const struct replay_opts opts = {.to = UINT64_MAX, .order = FIELD_ORDER_NUMERIC};
    size_t documents;

    if (replay_new(&r, &opts, err) != PITR_OK ||
        replay_add_base(r, "new", "server", start, &none, &none, 0, false, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < (to_the_end ? log->n : at + 1); i++)
        if (feed(r, i == at ? instead : &log->entries[i], err) != PITR_OK)
            return err->rc;
    return to_the_end ? finish(r, &documents, err) : PITR_OK;
}

static void
an_undamaged_oplog_replays(void **state)
{
    const struct log *log = *state;
    struct pitr_err err;

    if (replay_damaged(log, 0, &log->entries[0], true, &err) != PITR_OK)
        fail_msg("%s", err.msg);
}

/* The value of one of the types a field may not have; none is right for all. */
struct value {
    uint8_t type;
    const char *bytes;
    size_t len;
};

static const struct value values[] = {
    {BSON_NIL, "", 0},         {BSON_INT, "\7\0\0\0", 4},   {BSON_STRING, "\2\0\0\0x", 6},
    {BSON_DOC, "\5\0\0\0", 5}, {BSON_ARRAY, "\5\0\0\0", 5}, {BSON_BIN, "\2\0\0\0\4ab", 7},
    {BSON_MIN, "", 0},
};
enum { VALUES = sizeof values / sizeof values[0], REMOVED = VALUES, DAMAGES };

/* Copy the document with its field `name` damaged, or, with `inside`, the field of that
 * sub-document. *out is a document also if there is no such field. */
static void
damage(struct buf *out, const uint8_t *doc, size_t len, const char *inside, const char *name,
       size_t how)
{
    PITR_AUTO(buf_release) struct buf sub = {0};
    const char *const except[] = {name, NULL};
    struct pitr_err err;
    struct belem e;
    bool found;

    buf_clear(out);
    if (inside != NULL) {
        assert_int_equal(bson_find(doc, len, inside, &found, &e, &err), PITR_OK);
        assert_true(found);
        damage(&sub, e.value, e.value_len, NULL, name, how);
        assert_int_equal(buf_append(out, doc, len, &err), PITR_OK);
        assert_int_equal(bdoc_set(out, e.type, inside, sub.data, sub.len, &err), PITR_OK);
    } else if (how == REMOVED) {
        assert_int_equal(bdoc_copy_except(out, doc, len, except, &err), PITR_OK);
    } else {
        assert_int_equal(buf_append(out, doc, len, &err), PITR_OK);
        assert_int_equal(
            bdoc_set(out, values[how].type, name, values[how].bytes, values[how].len, &err),
            PITR_OK);
    }
}

static bool
has_field(const struct buf *entry, const char *inside, const char *name, struct belem *e)
{
    struct pitr_err err;
    bool found;

    if (inside == NULL)
        return bson_find(entry->data, entry->len, name, &found, e, &err) == PITR_OK && found;
    return bson_find(entry->data, entry->len, inside, &found, e, &err) == PITR_OK && found &&
           e->type == BSON_DOC &&
           bson_find(e->value, e->value_len, name, &found, e, &err) == PITR_OK && found;
}

/* What `o` begins with, or `op` of others than commands. */
static const char *
kind_of(const struct buf *entry)
{
    struct belem op, o;
    struct biter it;
    struct pitr_err err;

    assert_true(has_field(entry, NULL, "op", &op));
    if (op.value[4] != 'c')
        return (const char *)op.value + 4;
    assert_true(has_field(entry, NULL, "o", &o));
    assert_int_equal(biter_init(&it, o.value, o.value_len, &err), PITR_OK);
    assert_int_equal(biter_next(&it, &o, &err), PITR_OK);
    return o.name;
}

/* What a kind of entry cannot do without; kind NULL: every one. `may_lack`: absence means
 * something. */
static const struct need {
    const char *kind, *inside, *field;
    bool may_lack;
    uint8_t also; /* a second type that is right */
} needs[] = {
    {NULL, NULL, "ts", false, 0},
    {NULL, NULL, "t", true, BSON_INT},
    {NULL, NULL, "v", false, 0},
    {NULL, NULL, "op", false, 0},
    {NULL, NULL, "ns", false, 0},
    {NULL, NULL, "o", false, 0},
    {NULL, NULL, "wall", true, 0},
    {NULL, NULL, "lsid", true, BSON_DOC},
    {NULL, NULL, "txnNumber", true, BSON_INT},
    {NULL, NULL, "prevOpTime", true, 0},
    {NULL, "prevOpTime", "ts", false, 0},
    {NULL, "prevOpTime", "t", false, BSON_INT},
    {"i", NULL, "ui", false, 0},
    {"i", "o", "_id", false, UINT8_MAX},
    {"u", NULL, "ui", false, 0},
    {"u", NULL, "o2", false, 0},
    {"u", "o2", "_id", false, UINT8_MAX},
    {"d", NULL, "ui", false, 0},
    {"d", "o", "_id", false, UINT8_MAX},
    {"create", NULL, "ui", false, 0},
    {"create", "o", "idIndex", true, 0},
    {"drop", NULL, "ui", false, 0},
    {"renameCollection", NULL, "ui", false, 0},
    {"renameCollection", "o", "to", false, 0},
    {"renameCollection", "o", "stayTemp", true, 0},
    {"renameCollection", "o", "dropTarget", true, 0},
    {"createIndexes", NULL, "ui", false, 0},
    {"createIndexes", "o", "name", false, BSON_STRING},
    {"createIndexes", "o", "key", false, BSON_DOC},
    {"commitIndexBuild", NULL, "ui", false, 0},
    {"commitIndexBuild", "o", "indexes", false, BSON_ARRAY},
    {"dropIndexes", NULL, "ui", false, 0},
    {"dropIndexes", "o", "index", false, BSON_STRING},
    {"collMod", NULL, "ui", false, 0},
    {"collMod", "o", "index", true, 0},
    {"collMod", "o", "validator", true, BSON_DOC},
    {"collMod", "o", "validationLevel", true, BSON_STRING},
    {"collMod", "o", "validationAction", true, BSON_STRING},
    {"collMod", "o", "cappedSize", true, BSON_INT},
    {"collMod", "o", "cappedMax", true, BSON_INT},
    {"collMod", "o", "timeseries", true, BSON_DOC},
    {"collMod", "o", "expireAfterSeconds", true, BSON_INT},
    {"collMod", "o", "changeStreamPreAndPostImages", true, BSON_DOC},
    {"emptycapped", NULL, "ui", false, 0},
    {"applyOps", "o", "partialTxn", true, 0},
    {"applyOps", "o", "prepare", true, 0},
    {"applyOps", "o", "alwaysUpsert", true, 0},
    {"applyOps", "o", "count", true, 0},
    {"commitTransaction", NULL, "prevOpTime", false, 0},
    {"commitTransaction", "o", "commitTimestamp", false, 0},
    {"abortTransaction", NULL, "prevOpTime", false, 0},
};

static bool
is_harmless(const struct need *need, const struct belem *e, size_t how)
{
    if (how == REMOVED)
        return need->may_lack;
    if (need->also == UINT8_MAX) /* any type but array is an _id */
        return true;
    return values[how].type == need->also || values[how].type == e->type ||
           (e->type == BSON_LONG && values[how].type == BSON_INT);
}

static void
check_need(const struct log *log, size_t at, const struct need *need, size_t *checked)
{
    PITR_AUTO(buf_release) struct buf damaged = {0};
    const struct buf *entry = &log->entries[at];
    const bool is_part = need->inside != NULL && strcmp(need->inside, "prevOpTime") == 0;
    char told[64];
    struct pitr_err err;
    struct belem e;

    if ((need->kind != NULL && strcmp(need->kind, kind_of(entry)) != 0) ||
        !has_field(entry, need->inside, need->field, &e))
        return;
    snprintf(told, sizeof told, "%s%s", need->also == UINT8_MAX ? "" : "field ",
             is_part ? need->inside : need->field);
    for (size_t how = 0; how < DAMAGES; how++) {
        if (is_harmless(need, &e, how))
            continue;
        damage(&damaged, entry->data, entry->len, need->inside, need->field, how);
        if (replay_damaged(log, at, &damaged, false, &err) == PITR_OK)
            fail_msg("entry %zu (%s): %s damaged in way %zu is taken", at, kind_of(entry),
                     need->field, how);
        if (strstr(err.msg, told) == NULL)
            fail_msg("entry %zu (%s): %s is not named in: %s", at, kind_of(entry), need->field,
                     err.msg);
        ++*checked;
    }
}

static void
a_field_that_is_needed_is_named_when_it_is_damaged(void **state)
{
    const struct log *log = *state;

    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
        size_t checked = 0;

        for (size_t at = 0; at < log->n; at++)
            check_need(log, at, &needs[i], &checked);
        if (checked == 0)
            fail_msg("no entry has %s.%s", needs[i].inside == NULL ? "" : needs[i].inside,
                     needs[i].field);
    }
}

static void
any_damage_of_any_field_is_survived(void **state)
{
    const struct log *log = *state;
    PITR_AUTO(buf_release) struct buf damaged = {0};
    struct pitr_err err;
    struct biter it;
    struct belem e, inner;

    for (size_t at = 0; at < log->n; at++) {
        const struct buf *entry = &log->entries[at];

        assert_int_equal(biter_init(&it, entry->data, entry->len, &err), PITR_OK);
        while (biter_next(&it, &e, &err) == PITR_OK && e.type != BSON_EOD) {
            struct biter sub;

            for (size_t how = 0; how < DAMAGES; how++) {
                damage(&damaged, entry->data, entry->len, NULL, e.name, how);
                if (replay_damaged(log, at, &damaged, true, &err) != PITR_OK)
                    assert_true(err.msg[0] != '\0');
            }
            if (e.type != BSON_DOC || biter_init(&sub, e.value, e.value_len, &err) != PITR_OK)
                continue;
            while (biter_next(&sub, &inner, &err) == PITR_OK && inner.type != BSON_EOD)
                for (size_t how = 0; how < DAMAGES; how++) {
                    damage(&damaged, entry->data, entry->len, e.name, inner.name, how);
                    if (replay_damaged(log, at, &damaged, true, &err) != PITR_OK)
                        assert_true(err.msg[0] != '\0');
                }
        }
    }
}

static uint64_t
next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void
random_bytes_are_survived(void **state)
{
    const struct log *log = *state;
    PITR_AUTO(buf_release) struct buf damaged = {0};
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 20261123;
    struct pitr_err err;

    printf("SEED=%llu\n", (unsigned long long)seed);
    seed |= 1;
    for (int run = 0; run < RANDOM_RUNS; run++) {
        size_t at = next_random(&seed) % log->n;
        size_t hits = 1 + next_random(&seed) % 3;

        buf_clear(&damaged);
        assert_int_equal(buf_append(&damaged, log->entries[at].data, log->entries[at].len, &err),
                         PITR_OK);
        while (hits-- > 0)
            damaged.data[next_random(&seed) % damaged.len] ^=
                (uint8_t)(1 + next_random(&seed) % 255);
        if (replay_damaged(log, at, &damaged, true, &err) != PITR_OK)
            assert_true(err.msg[0] != '\0');
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_undamaged_oplog_replays),
        cmocka_unit_test(a_field_that_is_needed_is_named_when_it_is_damaged),
        cmocka_unit_test(any_damage_of_any_field_is_survived),
        cmocka_unit_test(random_bytes_are_survived),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
