/*
 * bare_scan URI CONNECTIONS BATCH_MIB DB... - read databases and throw the documents away.
 *
 * The floor under every snapshot: one cursor per collection in natural order with read concern
 * majority, the largest collection first, each connection taking the next one. BATCH_MIB bounds one
 * answer of the server (16 is the protocol's own limit).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "mongo/conn.h"

enum { COLLECTIONS_MAX = 256, CONNECTIONS_MAX = 32 };

struct coll {
    char db[64], name[256];
    int64_t bytes, average; /* as collStats says */
};

struct scan {
    struct coll colls[COLLECTIONS_MAX];
    size_t n;
    struct conn *conns[CONNECTIONS_MAX];
    int64_t batch_bytes;
    uint64_t documents[CONNECTIONS_MAX], bytes[CONNECTIONS_MAX];
};

static int64_t
number(const bson_t *doc, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, doc, name) ? bson_iter_as_int64(&it) : 0;
}

static void
add_collection(struct scan *s, struct conn *c, const char *db, const char *name)
{
    bson_t cmd = BSON_INITIALIZER, reply;
    struct pitr_err err;
    struct coll *coll;

    if (s->n == COLLECTIONS_MAX)
        bench_die("more than %d collections", COLLECTIONS_MAX);
    coll = &s->colls[s->n++];
    snprintf(coll->db, sizeof coll->db, "%s", db);
    snprintf(coll->name, sizeof coll->name, "%s", name);
    BSON_APPEND_UTF8(&cmd, "collStats", name);
    bench_must(conn_command(c, db, &cmd, true, &reply, &err), &err);
    coll->bytes = number(&reply, "size");
    coll->average = number(&reply, "avgObjSize");
    bson_destroy(&reply);
    bson_destroy(&cmd);
}

static void
add_database(struct scan *s, struct conn *c, const char *db)
{
    mongoc_database_t *database = mongoc_client_get_database(conn_client(c), db);
    bson_error_t cause;
    char **names = mongoc_database_get_collection_names_with_opts(database, NULL, &cause);

    if (names == NULL)
        bench_die("collections of %s: %s", db, cause.message);
    for (size_t i = 0; names[i] != NULL; i++)
        add_collection(s, c, db, names[i]);
    bson_strfreev(names);
    mongoc_database_destroy(database);
}

static int
largest_first(const void *a, const void *b)
{
    const struct coll *x = a, *y = b;

    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void
scan_one(void *arg, size_t i, unsigned thread)
{
    struct scan *s = arg;
    const struct coll *coll = &s->colls[i];
    mongoc_collection_t *handle =
        mongoc_client_get_collection(conn_client(s->conns[thread]), coll->db, coll->name);
    mongoc_read_concern_t *concern = mongoc_read_concern_new();
    bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    mongoc_cursor_t *cursor;
    const bson_t *doc;
    bson_error_t cause;

    BSON_APPEND_INT64(&opts, "batchSize", s->batch_bytes / (coll->average + 1) + 1);
    mongoc_read_concern_set_level(concern, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
    mongoc_collection_set_read_concern(handle, concern);
    cursor = mongoc_collection_find_with_opts(handle, &filter, &opts, NULL);
    while (mongoc_cursor_next(cursor, &doc)) {
        s->documents[thread]++;
        s->bytes[thread] += doc->len;
    }
    if (mongoc_cursor_error(cursor, &cause))
        bench_die("find %s.%s: %s", coll->db, coll->name, cause.message);
    mongoc_cursor_destroy(cursor);
    mongoc_read_concern_destroy(concern);
    mongoc_collection_destroy(handle);
    bson_destroy(&filter);
    bson_destroy(&opts);
}

static void
run(struct scan *s, const char *uri, unsigned connections, char *const *dbs)
{
    struct mongo_opts opts = {.uri = uri, .max_conns = connections};
    PITR_AUTO(mongo_freep) struct mongo *m = NULL;
    uint64_t documents = 0, bytes = 0;
    struct pitr_err err;
    double start;

    bench_must(mongo_open(&m, &opts, &err), &err);
    for (unsigned i = 0; i < connections; i++)
        bench_must(conn_take(&s->conns[i], m, &err), &err);
    start = bench_now();
    for (size_t i = 0; dbs[i] != NULL; i++)
        add_database(s, s->conns[0], dbs[i]);
    qsort(s->colls, s->n, sizeof *s->colls, largest_first);
    bench_each(connections, s->n, scan_one, s);
    for (unsigned i = 0; i < connections; i++) {
        documents += s->documents[i];
        bytes += s->bytes[i];
    }
    printf("{\"seconds\":%.4f,\"documents\":%llu,\"bytes\":%llu}\n", bench_now() - start,
           (unsigned long long)documents, (unsigned long long)bytes);
    for (unsigned i = 0; i < connections; i++)
        conn_give(s->conns[i]);
}

int
main(int argc, char **argv)
{
    struct scan *s = calloc(1, sizeof *s);
    unsigned connections;

    if (argc < 5)
        bench_die("usage: bare_scan URI CONNECTIONS BATCH_MIB DB...");
    connections = (unsigned)strtoul(argv[2], NULL, 10);
    if (s == NULL || connections < 1 || connections > CONNECTIONS_MAX)
        bench_die("%s connections", argv[2]);
    s->batch_bytes = (int64_t)strtoul(argv[3], NULL, 10) << 20;
    mongo_init();
    run(s, argv[1], connections, argv + 4);
    mongo_cleanup();
    free(s);
    return 0;
}
