/*
 * bare_oplog URI SECS INC BATCH_MIB - read the oplog from a timestamp to its end, throwing the
 * entries away.
 *
 * The floor under capture: one plain cursor on local.oplog.rs with read concern majority. BATCH_MIB
 * bounds one answer of the server; 0 leaves it to driver and server, who make it 16 MiB.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "mongo/conn.h"

struct sum {
    uint64_t entries, bytes;
};

static int64_t
average_entry(struct conn *c)
{
    bson_t cmd = BSON_INITIALIZER, reply;
    struct pitr_err err;
    bson_iter_t it;
    int64_t average;

    BSON_APPEND_UTF8(&cmd, "collStats", "oplog.rs");
    bench_must(conn_command(c, "local", &cmd, true, &reply, &err), &err);
    average = bson_iter_init_find(&it, &reply, "avgObjSize") ? bson_iter_as_int64(&it) : 0;
    bson_destroy(&reply);
    bson_destroy(&cmd);
    return average;
}

static struct sum
scan(struct conn *c, uint32_t secs, uint32_t inc, int64_t batch_entries)
{
    mongoc_collection_t *oplog = mongoc_client_get_collection(conn_client(c), "local", "oplog.rs");
    mongoc_read_concern_t *concern = mongoc_read_concern_new();
    bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER, range;
    mongoc_cursor_t *cursor;
    struct sum sum = {0};
    const bson_t *doc;
    bson_error_t cause;

    BSON_APPEND_DOCUMENT_BEGIN(&filter, "ts", &range);
    BSON_APPEND_TIMESTAMP(&range, "$gte", secs, inc);
    bson_append_document_end(&filter, &range);
    if (batch_entries > 0)
        BSON_APPEND_INT64(&opts, "batchSize", batch_entries);
    mongoc_read_concern_set_level(concern, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
    mongoc_collection_set_read_concern(oplog, concern);
    cursor = mongoc_collection_find_with_opts(oplog, &filter, &opts, NULL);
    while (mongoc_cursor_next(cursor, &doc)) {
        sum.entries++;
        sum.bytes += doc->len;
    }
    if (mongoc_cursor_error(cursor, &cause))
        bench_die("find local.oplog.rs: %s", cause.message);
    mongoc_cursor_destroy(cursor);
    mongoc_read_concern_destroy(concern);
    mongoc_collection_destroy(oplog);
    bson_destroy(&filter);
    bson_destroy(&opts);
    return sum;
}

int
main(int argc, char **argv)
{
    PITR_AUTO(mongo_freep) struct mongo *m = NULL;
    struct mongo_opts opts = {.max_conns = 1};
    struct conn *c = NULL;
    int64_t batch_entries = 0;
    struct pitr_err err;
    struct sum sum;
    uint32_t secs, inc;
    double start;

    if (argc != 5)
        bench_die("usage: bare_oplog URI SECS INC BATCH_MIB");
    opts.uri = argv[1];
    secs = (uint32_t)strtoul(argv[2], NULL, 10);
    inc = (uint32_t)strtoul(argv[3], NULL, 10);
    mongo_init();
    bench_must(mongo_open(&m, &opts, &err), &err);
    bench_must(conn_take(&c, m, &err), &err);
    if (strtod(argv[4], NULL) > 0)
        batch_entries = (int64_t)(strtod(argv[4], NULL) * (1 << 20)) / (average_entry(c) + 1) + 1;
    start = bench_now();
    sum = scan(c, secs, inc, batch_entries);
    printf("{\"seconds\":%.4f,\"entries\":%llu,\"bytes\":%llu}\n", bench_now() - start,
           (unsigned long long)sum.entries, (unsigned long long)sum.bytes);
    conn_give(c);
    mongo_freep(&m);
    mongo_cleanup();
    return 0;
}
