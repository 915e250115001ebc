/*
 * libFuzzer target: one byte of flags (1: bytewise order), then BSON documents end to end, taken as
 * the entries of an oplog over a base of two collections, each of two documents. Whatever they are,
 * they are replayed or refused with a reason, and never as a bug.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mongo/bsonio.h"
#include "oplog/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool ok)
{
    if (!ok)
        abort();
}

static void
must(enum pitr_rc rc)
{
    require(rc == PITR_OK);
}

static void
add_base(struct replay *r, const char *name, uint8_t number)
{
    static const uint8_t options[] = {5, 0, 0, 0, 0};
    /* {"0": {name: "_id_"}} */
    static const char indexes[] = "\x1c\0\0\0\x03"
                                  "0\0\x14\0\0\0\x02name\0\x05\0\0\0_id_\0\0";
    struct buf opts = {.data = (uint8_t *)(uintptr_t)options, .len = sizeof options};
    struct buf specs = {.data = (uint8_t *)(uintptr_t)indexes, .len = sizeof indexes};
    uint8_t uuid[UUID_LEN] = {[UUID_LEN - 1] = number};
    struct pitr_err err;

    must(replay_add_base(r, "shop", name, uuid, &opts, &specs, number, false, &err));
}

/* The window is (10, 20], the moment 100. */
static struct replay *
start(uint8_t flags)
{
    struct replay_opts opts = {
        .t_start = ts_make(10, 1),
        .t_end = ts_make(20, 1),
        .to = ts_make(100, 1),
        .order = (flags & 1) != 0 ? FIELD_ORDER_BYTES : FIELD_ORDER_NUMERIC,
    };
    struct replay *r = NULL;
    struct pitr_err err;

    must(replay_new(&r, &opts, &err));
    add_base(r, "orders", 1);
    add_base(r, "items", 2);
    return r;
}

/* Nothing that the input holds may fail as a bug would. */
static bool
is_fine(enum pitr_rc rc, const struct pitr_err *err)
{
    if (rc == PITR_OK)
        return true;
    require(rc == err->rc && rc != PITR_INTERNAL && err->msg[0] != '\0');
    return false;
}

/* False when the replay stops. */
static bool
feed(struct replay *r, const uint8_t *data, size_t size)
{
    struct oplog_entry e;
    struct pitr_err err;
    size_t len;

    for (; size > 4; data += len, size -= len) {
        len = bson_len(data);
        if (len < 5 || len > size)
            break;
        if (!is_fine(oplog_entry_parse(&e, data, len, &err), &err) ||
            !is_fine(replay_entry(r, &e, &err), &err))
            return false;
    }
    return true;
}

static enum pitr_rc
see(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    struct biter it;

    (void)arg;
    return biter_init(&it, doc, len, err);
}

/* What restore does: the documents of the base, {_id: 1} and {_id: 2, a: {}}, then the others. */
static void
ask(struct net *n)
{
    static const char one[] = "\x0e\0\0\0\x10_id\0\x01\0\0\0";
    static const char two[] = "\x16\0\0\0\x10_id\0\x02\0\0\0\x03"
                              "a\0\x05\0\0\0\0";
    PITR_AUTO(buf_release) struct buf out = {0}, scratch = {0};
    enum net_verdict verdict;
    struct pitr_err err;

    if (is_fine(net_filter(n, (const uint8_t *)one, sizeof one, &verdict, &out, &scratch, &err),
                &err) &&
        is_fine(net_filter(n, (const uint8_t *)two, sizeof two, &verdict, &out, &scratch, &err),
                &err))
        is_fine(net_rest(n, see, NULL, &err), &err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PITR_AUTO(replay_freep) struct replay *r = NULL;
    struct pitr_err err;

    if (size < 1)
        return 0;
    r = start(data[0]);
    if (!feed(r, data + 1, size - 1) || !is_fine(replay_finish(r, &err), &err))
        return 0;
    for (size_t i = 0; i < replay_count(r); i++) {
        if (!replay_at(r, i)->dropped)
            ask(replay_at(r, i)->net);
    }
    return 0;
}
