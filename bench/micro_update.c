/*
 * micro_update - update_apply() on one small document of ten fields, on one thread, for each kind
 * of update.
 */
#include <bson/bson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "bench/bench.h"
#include "oplog/update.h"

enum { ROUNDS = 5, UPDATES = 1000000 };

static int
measure(const char *name, const bson_t *pre, const char *json)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    bson_t *o = bson_new_from_json((const uint8_t *)json, -1, NULL);
    double seconds[ROUNDS];
    struct pitr_err err;

    if (o == NULL)
        return 1;
    for (int round = 0; round < ROUNDS; round++) {
        double start = bench_now();

        for (int i = 0; i < UPDATES; i++) {
            buf_clear(&out);
            if (update_apply(&out, bson_get_data(pre), pre->len, bson_get_data(o), o->len,
                             FIELD_ORDER_NUMERIC, true, &err) != PITR_OK) {
                fprintf(stderr, "%s: %s\n", name, err.msg);
                bson_destroy(o);
                return 1;
            }
        }
        seconds[round] = bench_now() - start;
    }
    bench_print(name, "updates", UPDATES, seconds, ROUNDS);
    bson_destroy(o);
    return 0;
}

int
main(void)
{
    bson_t *pre = bson_new();
    bson_oid_t id;
    int failed;

    bson_oid_init_from_string(&id, "0102030405060708090a0b0c");
    BSON_APPEND_OID(pre, "_id", &id);
    for (int i = 0; i < 8; i++) {
        static const char *const names[] = {"name", "mail", "city", "zip",
                                            "note", "kind", "tags", "state"};

        BSON_APPEND_UTF8(pre, names[i], "some text that is twenty to forty long");
    }
    BSON_APPEND_INT32(pre, "count", 1);
    failed = measure("update-delta-1", pre, "{\"$v\":2,\"diff\":{\"u\":{\"count\":2}}}") ||
             measure("update-delta-4", pre,
                     "{\"$v\":2,\"diff\":{\"d\":{\"zip\":false},\"u\":{\"count\":2,\"city\":\"x\"},"
                     "\"i\":{\"new\":1}}}") ||
             measure("update-modifiers-1", pre, "{\"$v\":1,\"$set\":{\"count\":2}}") ||
             measure("update-modifiers-4", pre,
                     "{\"$v\":1,\"$set\":{\"a.b\":1,\"city\":\"x\",\"count\":2},"
                     "\"$unset\":{\"zip\":true}}") ||
             measure("update-replacement", pre,
                     "{\"_id\":{\"$oid\":\"0102030405060708090a0b0c\"},\"a\":1,\"b\":\"text\"}");
    bson_destroy(pre);
    return failed;
}
