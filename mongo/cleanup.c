#include "mongo/cleanup.h"

void
bson_freep(bson_t **b)
{
    if (*b != NULL)
        bson_destroy(*b);
    *b = NULL;
}

void
uri_freep(mongoc_uri_t **uri)
{
    if (*uri != NULL)
        mongoc_uri_destroy(*uri);
    *uri = NULL;
}

void
client_freep(mongoc_client_t **client)
{
    if (*client != NULL)
        mongoc_client_destroy(*client);
    *client = NULL;
}

void
database_freep(mongoc_database_t **db)
{
    if (*db != NULL)
        mongoc_database_destroy(*db);
    *db = NULL;
}

void
collection_freep(mongoc_collection_t **coll)
{
    if (*coll != NULL)
        mongoc_collection_destroy(*coll);
    *coll = NULL;
}

void
cursor_freep(mongoc_cursor_t **cursor)
{
    if (*cursor != NULL)
        mongoc_cursor_destroy(*cursor);
    *cursor = NULL;
}
