/*
 * bare_load URI CONNECTIONS BATCH_DOCUMENTS FOLDER - load a raw dump, and build its indexes.
 *
 * The floor under every restore. FOLDER holds DB.COLL.bson (documents end to end) and DB.COLL.index
 * (a createIndexes command, or nothing) for every collection; the files are mapped and touched
 * before the clock starts. Then: create the collections, insert unordered batches with w:1 over
 * several connections, and build the indexes of two collections at once. A batch goes to whichever
 * connection is free, batches of all collections mixed in proportion to their sizes, so that the
 * connections meet in one collection as little as possible.
 *
 * The URI should say retryWrites=false: a retryable write costs the server a record of its own.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "bench/bench.h"
#include "mongo/conn.h"

enum { COLLECTIONS_MAX = 256, CONNECTIONS_MAX = 32, BATCH_BYTES = 2 << 20, BUILDS_AT_ONCE = 2 };

struct file {
    const uint8_t *data;
    size_t len;
};

struct coll {
    char db[64], name[256];
    struct file documents, index;
};

struct batch {
    const struct coll *coll;
    const uint8_t *data;
    size_t documents;
    double due; /* share of its collection that lies before it */
};

struct load {
    struct coll colls[COLLECTIONS_MAX];
    size_t ncolls;
    struct batch *batches;
    size_t nbatches, cap;
    size_t batch_documents;
    uint64_t documents, bytes;
    struct conn *conns[CONNECTIONS_MAX];
};

/* Mapped and read, so that the load itself waits for no disk. An empty file is fine. */
static struct file
file_map(const char *folder, const char *name)
{
    struct file f = {0};
    struct stat st;
    char *path;
    void *data;
    int fd;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        bench_die("out of memory");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        bench_die("%s: cannot be read", path);
    if (st.st_size > 0) {
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        if (data == MAP_FAILED)
            bench_die("%s: cannot be mapped", path);
        f = (struct file){.data = data, .len = (size_t)st.st_size};
    }
    close(fd);
    free(path);
    return f;
}

static void
add_batch(struct load *l, const struct batch *b)
{
    if (l->nbatches == l->cap) {
        l->cap = l->cap * 2 + 1024;
        l->batches = realloc(l->batches, l->cap * sizeof *l->batches);
        if (l->batches == NULL)
            bench_die("out of memory");
    }
    l->batches[l->nbatches++] = *b;
    l->documents += b->documents;
}

static void
cut_batches(struct load *l, const struct coll *c)
{
    struct batch b = {.coll = c, .data = c->documents.data};
    size_t at = 0, start = 0;

    while (at < c->documents.len) {
        size_t len = get_le32(c->documents.data + at);

        if (len < 5 || len > c->documents.len - at)
            bench_die("%s.%s: no document at byte %zu", c->db, c->name, at);
        if (b.documents == l->batch_documents || at + len - start > BATCH_BYTES) {
            add_batch(l, &b);
            start = at;
            b = (struct batch){.coll = c,
                               .data = c->documents.data + at,
                               .due = (double)at / (double)c->documents.len};
        }
        b.documents++;
        at += len;
    }
    if (b.documents > 0)
        add_batch(l, &b);
    l->bytes += c->documents.len;
}

static int
largest_first(const void *a, const void *b)
{
    const struct coll *x = a, *y = b;

    return (x->documents.len < y->documents.len) - (x->documents.len > y->documents.len);
}

static void
read_folder(struct load *l, const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *e;

    if (dir == NULL)
        bench_die("%s: cannot be read", folder);
    while ((e = readdir(dir)) != NULL) {
        const char *dot = strchr(e->d_name, '.'), *end = strstr(e->d_name, ".bson");
        char index[300];
        struct coll *c;

        if (end == NULL || dot == end || l->ncolls == COLLECTIONS_MAX)
            continue;
        c = &l->colls[l->ncolls++];
        snprintf(c->db, sizeof c->db, "%.*s", (int)(dot - e->d_name), e->d_name);
        snprintf(c->name, sizeof c->name, "%.*s", (int)(end - dot - 1), dot + 1);
        snprintf(index, sizeof index, "%.*s.index", (int)(end - e->d_name), e->d_name);
        c->documents = file_map(folder, e->d_name);
        c->index = file_map(folder, index);
    }
    closedir(dir);
}

static int
by_due(const void *a, const void *b)
{
    const struct batch *x = a, *y = b;

    if (x->due < y->due || x->due > y->due)
        return x->due < y->due ? -1 : 1;
    return (x->data > y->data) - (x->data < y->data);
}

static void
create_one(void *arg, size_t i, unsigned thread)
{
    struct load *l = arg;
    bson_t cmd = BSON_INITIALIZER;
    struct pitr_err err;

    BSON_APPEND_UTF8(&cmd, "create", l->colls[i].name);
    bench_must(conn_command(l->conns[thread], l->colls[i].db, &cmd, false, NULL, &err), &err);
    bson_destroy(&cmd);
}

static void
insert_one(void *arg, size_t i, unsigned thread)
{
    struct load *l = arg;
    const struct batch *b = &l->batches[i];
    mongoc_collection_t *coll =
        mongoc_client_get_collection(conn_client(l->conns[thread]), b->coll->db, b->coll->name);
    bson_t *docs = bson_malloc(b->documents * sizeof *docs);
    const bson_t **list = bson_malloc(b->documents * sizeof *list);
    bson_t opts = BSON_INITIALIZER;
    const uint8_t *at = b->data;
    bson_error_t cause;

    for (size_t k = 0; k < b->documents; k++) {
        size_t len = get_le32(at);

        if (!bson_init_static(&docs[k], at, len))
            bench_die("%s.%s: a damaged document", b->coll->db, b->coll->name);
        list[k] = &docs[k];
        at += len;
    }
    BSON_APPEND_BOOL(&opts, "ordered", false);
    BSON_APPEND_BOOL(&opts, "validate", false);
    BSON_APPEND_BOOL(&opts, "bypassDocumentValidation", true);
    if (!mongoc_collection_insert_many(coll, list, b->documents, &opts, NULL, &cause))
        bench_die("insert into %s.%s: %s", b->coll->db, b->coll->name, cause.message);
    bson_destroy(&opts);
    bson_free(list);
    bson_free(docs);
    mongoc_collection_destroy(coll);
}

static void
index_one(void *arg, size_t i, unsigned thread)
{
    struct load *l = arg;
    const struct coll *c = &l->colls[i];
    struct pitr_err err;
    bson_t cmd;

    if (c->index.len == 0)
        return;
    if (!bson_init_static(&cmd, c->index.data, c->index.len))
        bench_die("%s.%s: damaged command", c->db, c->name);
    bench_must(conn_command(l->conns[thread], c->db, &cmd, false, NULL, &err), &err);
}

static void
run(struct load *l, const char *uri, unsigned connections)
{
    struct mongo_opts opts = {.uri = uri, .max_conns = connections};
    PITR_AUTO(mongo_freep) struct mongo *m = NULL;
    struct pitr_err err;
    double start, inserted, end;

    bench_must(mongo_open(&m, &opts, &err), &err);
    for (unsigned i = 0; i < connections; i++)
        bench_must(conn_take(&l->conns[i], m, &err), &err);
    start = bench_now();
    bench_each(1, l->ncolls, create_one, l);
    bench_each(connections, l->nbatches, insert_one, l);
    inserted = bench_now();
    bench_each(BUILDS_AT_ONCE, l->ncolls, index_one, l);
    end = bench_now();
    printf("{\"seconds\":%.4f,\"insert_seconds\":%.4f,\"index_seconds\":%.4f,\"documents\":%llu,"
           "\"bytes\":%llu}\n",
           end - start, inserted - start, end - inserted, (unsigned long long)l->documents,
           (unsigned long long)l->bytes);
    for (unsigned i = 0; i < connections; i++)
        conn_give(l->conns[i]);
}

int
main(int argc, char **argv)
{
    struct load *l = calloc(1, sizeof *l);
    unsigned connections;

    if (argc != 5)
        bench_die("usage: bare_load URI CONNECTIONS BATCH_DOCUMENTS FOLDER");
    connections = (unsigned)strtoul(argv[2], NULL, 10);
    if (l == NULL || connections < BUILDS_AT_ONCE || connections > CONNECTIONS_MAX)
        bench_die("%s connections: %d to %d are possible", argv[2], BUILDS_AT_ONCE,
                  CONNECTIONS_MAX);
    l->batch_documents = strtoul(argv[3], NULL, 10);
    if (l->batch_documents == 0)
        bench_die("%s documents a batch", argv[3]);
    read_folder(l, argv[4]);
    qsort(l->colls, l->ncolls, sizeof *l->colls, largest_first);
    for (size_t i = 0; i < l->ncolls; i++)
        cut_batches(l, &l->colls[i]);
    qsort(l->batches, l->nbatches, sizeof *l->batches, by_due);
    mongo_init();
    run(l, argv[1], connections);
    mongo_cleanup();
    free(l->batches);
    free(l);
    return 0;
}
