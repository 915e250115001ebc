/*
 * cleanup.h - ends for libmongoc's and libbson's own objects, for PITR_AUTO.
 *
 *     PITR_AUTO(cursor_freep) mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(...);
 *
 * Each destroys what the pointer owns, if anything, and sets it to NULL. A handle has to go before
 * the client it came from; as variables are cleaned up in reverse order of their declaration, it is
 * enough to declare it later. bson_freep() is for a bson_t on the heap (bson_new, BCON_NEW); one
 * that was initialised in place ends with bson_destroy().
 */
#ifndef PITR_MONGO_CLEANUP_H
#define PITR_MONGO_CLEANUP_H

#include <mongoc/mongoc.h>

void bson_freep(bson_t **b);
void uri_freep(mongoc_uri_t **uri);
void client_freep(mongoc_client_t **client);
void database_freep(mongoc_database_t **db);
void collection_freep(mongoc_collection_t **coll);
void cursor_freep(mongoc_cursor_t **cursor);

#endif
