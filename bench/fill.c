/*
 * fill URI DB PERCENT SEED - fill a database with a shop's data (shop.h), PERCENT of its full size.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/shop.h"
#include "mongo/conn.h"

enum { BATCH = 2000 };

struct fill {
    struct shop_words words;
    const char *db;
    uint64_t percent, seed;
    struct conn *conns[2];
    uint64_t bytes[2], documents[2];
};

static void
insert_batch(struct fill *f, mongoc_collection_t *coll, struct shop_maker *m,
             const struct shop_kind *k, uint64_t first, uint64_t n, unsigned thread)
{
    bson_t *docs[BATCH], opts = BSON_INITIALIZER;
    bson_error_t cause;
    bson_oid_t id;

    for (uint64_t i = 0; i < n; i++) {
        docs[i] = bson_new();
        bson_oid_init(&id, NULL);
        BSON_APPEND_OID(docs[i], "_id", &id);
        k->make(m, docs[i], first + i);
        f->bytes[thread] += docs[i]->len;
    }
    f->documents[thread] += n;
    BSON_APPEND_BOOL(&opts, "ordered", false);
    if (!mongoc_collection_insert_many(coll, (const bson_t **)docs, n, &opts, NULL, &cause))
        bench_die("insert into %s.%s: %s", f->db, k->name, cause.message);
    for (uint64_t i = 0; i < n; i++)
        bson_destroy(docs[i]);
    bson_destroy(&opts);
}

static void
build_indexes(struct fill *f, const struct shop_kind *k, unsigned thread)
{
    char *json = NULL;
    bson_error_t cause;
    struct pitr_err err;
    bson_t *cmd;

    if (asprintf(&json, "{\"createIndexes\":\"%s\",\"indexes\":%s}", k->name, k->indexes) < 0)
        bench_die("out of memory");
    cmd = bson_new_from_json((const uint8_t *)json, -1, &cause);
    if (cmd == NULL)
        bench_die("%s: %s", json, cause.message);
    bench_must(conn_command(f->conns[thread], f->db, cmd, false, NULL, &err), &err);
    bson_destroy(cmd);
    free(json);
}

static void
fill_one(void *arg, size_t i, unsigned thread)
{
    struct fill *f = arg;
    const struct shop_kind *k = shop_kind(i);
    uint64_t total = k->documents * f->percent / 100;
    struct shop_maker m = {.words = &f->words, .state = f->seed * SHOP_KINDS + i};
    mongoc_collection_t *coll =
        mongoc_client_get_collection(conn_client(f->conns[thread]), f->db, k->name);

    for (uint64_t at = 0; at < total; at += BATCH)
        insert_batch(f, coll, &m, k, at, total - at < BATCH ? total - at : BATCH, thread);
    mongoc_collection_destroy(coll);
    build_indexes(f, k, thread);
}

int
main(int argc, char **argv)
{
    PITR_AUTO(mongo_freep) struct mongo *m = NULL;
    struct fill *f = calloc(1, sizeof *f);
    struct mongo_opts opts = {0};
    struct pitr_err err;

    if (argc != 5 || f == NULL)
        bench_die("usage: fill URI DB PERCENT SEED");
    opts.uri = argv[1];
    f->db = argv[2];
    f->percent = strtoull(argv[3], NULL, 10);
    f->seed = strtoull(argv[4], NULL, 10);
    shop_words_make(&f->words, f->seed);
    mongo_init();
    bench_must(mongo_open(&m, &opts, &err), &err);
    for (unsigned i = 0; i < 2; i++)
        bench_must(conn_take(&f->conns[i], m, &err), &err);
    bench_each(2, SHOP_KINDS, fill_one, f);
    printf("{\"documents\":%llu,\"bytes\":%llu}\n",
           (unsigned long long)(f->documents[0] + f->documents[1]),
           (unsigned long long)(f->bytes[0] + f->bytes[1]));
    for (unsigned i = 0; i < 2; i++)
        conn_give(f->conns[i]);
    mongo_freep(&m);
    mongo_cleanup();
    free(f);
    return 0;
}
