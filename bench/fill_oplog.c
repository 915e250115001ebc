/*
 * fill_oplog URI DB OPERATIONS PAYLOAD SEED - fill the oplog as several clients do: retryable
 * inserts, updates and deletes, mixed.
 *
 * Two fifths of the operations insert a document with PAYLOAD bytes of words, two fifths replace
 * the words of one, a fifth deletes one. Every client has documents of its own; those of two
 * clients share a collection. An entry is about 250 bytes longer than what it carries: session,
 * statement, collection, times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/shop.h"
#include "mongo/conn.h"

enum { CLIENTS = 4, BATCH = 500, LIVE_MAX = 4096 };

struct client {
    struct conn *conn;
    struct shop_maker maker;
    int64_t live[LIVE_MAX]; /* _ids to update and delete; when full, nothing is inserted */
    uint32_t lives;
    int64_t made;
    int64_t number;
};

struct fill {
    struct shop_words words;
    const char *db;
    uint64_t operations;
    size_t payload;
    struct client clients[CLIENTS];
};

static void
insert(struct client *c, mongoc_bulk_operation_t *bulk, size_t payload)
{
    int64_t id = c->number << 40 | c->made++;
    bson_t doc = BSON_INITIALIZER;
    bson_error_t cause;

    BSON_APPEND_INT64(&doc, "_id", id);
    BSON_APPEND_INT64(&doc, "user", (int64_t)bench_below(&c->maker.state, 1000000));
    BSON_APPEND_UTF8(&doc, "text", shop_text(&c->maker, payload));
    if (!mongoc_bulk_operation_insert_with_opts(bulk, &doc, NULL, &cause))
        bench_die("insert: %s", cause.message);
    c->live[c->lives++] = id;
    bson_destroy(&doc);
}

static void
update(struct client *c, mongoc_bulk_operation_t *bulk, size_t payload)
{
    bson_t which = BSON_INITIALIZER, change = BSON_INITIALIZER, set;
    bson_error_t cause;

    BSON_APPEND_INT64(&which, "_id", c->live[bench_below(&c->maker.state, c->lives)]);
    BSON_APPEND_DOCUMENT_BEGIN(&change, "$set", &set);
    BSON_APPEND_UTF8(&set, "text", shop_text(&c->maker, payload));
    bson_append_document_end(&change, &set);
    if (!mongoc_bulk_operation_update_one_with_opts(bulk, &which, &change, NULL, &cause))
        bench_die("update: %s", cause.message);
    bson_destroy(&which);
    bson_destroy(&change);
}

static void
delete_one(struct client *c, mongoc_bulk_operation_t *bulk)
{
    uint32_t at = bench_below(&c->maker.state, c->lives);
    bson_t which = BSON_INITIALIZER;
    bson_error_t cause;

    BSON_APPEND_INT64(&which, "_id", c->live[at]);
    c->live[at] = c->live[--c->lives];
    if (!mongoc_bulk_operation_remove_one_with_opts(bulk, &which, NULL, &cause))
        bench_die("delete: %s", cause.message);
    bson_destroy(&which);
}

/* Runs of one kind, as a bulk write sends each run as one command. */
static void
write_batch(struct fill *f, struct client *c, mongoc_collection_t *coll)
{
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(coll, NULL);
    bson_t reply;
    bson_error_t cause;

    for (uint32_t i = 0; i < BATCH; i++) {
        if (c->lives == 0 || (i < BATCH * 2 / 5 && c->lives < LIVE_MAX))
            insert(c, bulk, f->payload);
        else if (i < BATCH * 4 / 5)
            update(c, bulk, f->payload);
        else
            delete_one(c, bulk);
    }
    if (mongoc_bulk_operation_execute(bulk, &reply, &cause) == 0)
        bench_die("%s: %s", f->db, cause.message);
    bson_destroy(&reply);
    mongoc_bulk_operation_destroy(bulk);
}

static void
fill_batch(void *arg, size_t i, unsigned thread)
{
    struct fill *f = arg;
    struct client *c = &f->clients[thread];
    mongoc_collection_t *coll = mongoc_client_get_collection(conn_client(c->conn), f->db,
                                                             thread % 2 == 0 ? "orders" : "users");

    (void)i;
    write_batch(f, c, coll);
    mongoc_collection_destroy(coll);
}

static void
run(struct fill *f, const char *uri, uint64_t seed)
{
    PITR_AUTO(mongo_freep) struct mongo *m = NULL;
    struct mongo_opts opts = {.uri = uri, .max_conns = CLIENTS};
    struct pitr_err err;

    bench_must(mongo_open(&m, &opts, &err), &err);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &f->clients[i];

        c->number = i + 1;
        c->maker = (struct shop_maker){.words = &f->words, .state = seed * CLIENTS + i};
        bench_must(conn_take(&c->conn, m, &err), &err);
    }
    bench_each(CLIENTS, f->operations / BATCH, fill_batch, f);
    for (unsigned i = 0; i < CLIENTS; i++)
        conn_give(f->clients[i].conn);
}

int
main(int argc, char **argv)
{
    struct fill *f = calloc(1, sizeof *f);
    uint64_t seed;

    if (argc != 6 || f == NULL)
        bench_die("usage: fill_oplog URI DB OPERATIONS PAYLOAD SEED");
    f->db = argv[2];
    f->operations = strtoull(argv[3], NULL, 10);
    f->payload = strtoull(argv[4], NULL, 10);
    seed = strtoull(argv[5], NULL, 10);
    shop_words_make(&f->words, seed);
    mongo_init();
    run(f, argv[1], seed);
    printf("{\"operations\":%llu}\n", (unsigned long long)(f->operations / BATCH * BATCH));
    mongo_cleanup();
    free(f);
    return 0;
}
