#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "engine/load_compare.h"
#include "engine/load_internal.h"
#include "engine/load_options.h"
#include "mongo/cleanup.h"

/* Answers of about REPLY_TARGET bytes are read in half the time of the 16 MiB that the server sends
 * unasked: they stay in the processor's caches, and take less memory. */
enum { READERS = 2, PROGRESS_DOCUMENTS = 4096, REPLY_TARGET = 2 << 20, BATCH_MAX = 50000 };

struct check {
    const struct load_expect *expect;
    void (*report)(void *arg, const char *what);
    void *arg;
    pthread_mutex_t lock; /* guards report() and all below */
    size_t differences;
    char first[900];
};

/* What is said while one collection is looked at. */
struct findings {
    struct check *check;
    const struct load_coll *coll;
};

static void
tell(void *arg, const char *what)
{
    struct findings *f = arg;
    char text[900];

    snprintf(text, sizeof text, "%s.%s: %s", f->coll->db, f->coll->name, what);
    pthread_mutex_lock(&f->check->lock);
    if (f->check->differences++ == 0)
        snprintf(f->check->first, sizeof f->check->first, "%s", text);
    if (f->check->report != NULL)
        f->check->report(f->check->arg, text);
    pthread_mutex_unlock(&f->check->lock);
}

static int32_t
batch_size(const struct fingerprint *want)
{
    uint64_t average = want->documents > 0 ? want->bytes / want->documents + 1 : 1;
    uint64_t batch = REPLY_TARGET / average + 1;

    return batch > BATCH_MAX ? BATCH_MAX : (int32_t)batch;
}

static mongoc_cursor_t *
scan(const struct target *t, mongoc_collection_t *coll, const struct fingerprint *want)
{
    PITR_AUTO(bson_freep) bson_t *filter = bson_new();
    PITR_AUTO(bson_freep)
    bson_t *opts = BCON_NEW("hint", "{", "$natural", BCON_INT32(1), "}", "noCursorTimeout",
                            BCON_BOOL(true), "batchSize", BCON_INT32(batch_size(want)));
    mongoc_read_prefs_t *primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    mongoc_cursor_t *cursor;

    if (t->server.kind == SERVER_REPLICA)
        BCON_APPEND(opts, "readConcern", "{", "level", BCON_UTF8("majority"), "}");
    cursor = mongoc_collection_find_with_opts(coll, filter, opts, primary);
    mongoc_read_prefs_destroy(primary);
    return cursor;
}

static enum pitr_rc
fingerprint_collection(struct target *t, struct conn *c, const struct load_coll *coll,
                       const struct fingerprint *want, struct fingerprint *out,
                       struct pitr_err *err)
{
    PITR_AUTO(collection_freep)
    mongoc_collection_t *handle =
        mongoc_client_get_collection(conn_client(c), coll->db, coll->name);
    PITR_AUTO(cursor_freep) mongoc_cursor_t *cursor = scan(t, handle, want);
    struct fingerprint shown = {0};
    const bson_t *doc;
    bson_error_t cause;

    while (mongoc_cursor_next(cursor, &doc)) {
        fingerprint_add(out, bson_get_data(doc), doc->len);
        if (out->documents % PROGRESS_DOCUMENTS != 0)
            continue;
        if (job_check(t->job, err) != PITR_OK)
            return err->rc;
        job_advance(t->job, out->documents - shown.documents, out->bytes - shown.bytes);
        shown = *out;
    }
    job_advance(t->job, out->documents - shown.documents, out->bytes - shown.bytes);
    if (mongoc_cursor_error(cursor, &cause))
        return conn_fail(c, &cause, NULL, "read back", err);
    return PITR_OK;
}

static void
compare_documents(struct findings *f, const struct fingerprint *have,
                  const struct fingerprint *want)
{
    char text[160];

    if (fingerprint_equal(have, want))
        return;
    if (have->documents != want->documents)
        snprintf(text, sizeof text, "%" PRIu64 " documents, expected %" PRIu64, have->documents,
                 want->documents);
    else if (have->bytes != want->bytes)
        snprintf(text, sizeof text, "%" PRIu64 " bytes in %" PRIu64 " documents, expected %" PRIu64,
                 have->bytes, have->documents, want->bytes);
    else
        snprintf(text, sizeof text,
                 "the content of its %" PRIu64 " documents is not what was restored",
                 have->documents);
    tell(f, text);
}

static enum pitr_rc
check_collection(struct target *t, struct conn *c, struct findings *f,
                 const struct fingerprint *want, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf options = {0};
    PITR_AUTO(buf_release) struct buf indexes = {0};
    const struct difference_sink sink = {tell, f};
    struct fingerprint have = {0};
    const char *name;
    bool found;

    if (target_options(t, c, f->coll->db, f->coll->name, &found, &options, err) != PITR_OK)
        return err->rc;
    if (!found) {
        tell(f, "the collection is missing");
        return PITR_OK;
    }
    if (load_compare_options(f->coll, &options, &sink, err) != PITR_OK ||
        load_index_target(f->coll, &name, err) != PITR_OK ||
        target_indexes(t, c, f->coll->db, name, &indexes, err) != PITR_OK ||
        load_compare_indexes(f->coll, &indexes, &sink, err) != PITR_OK ||
        fingerprint_collection(t, c, f->coll, want, &have, err) != PITR_OK)
        return err->rc;
    compare_documents(f, &have, want);
    return PITR_OK;
}

static enum pitr_rc
check_one(struct target *t, struct conn *c, size_t i, void *arg, struct pitr_err *err)
{
    struct check *check = arg;
    struct findings f = {check, check->expect[i].coll};

    if (check_collection(t, c, &f, &check->expect[i].print, err) != PITR_OK)
        return pitr_wrap(err, "verify %s.%s", f.coll->db, f.coll->name);
    return PITR_OK;
}

enum pitr_rc
load_verify(struct target *t, const struct load_expect *expect, size_t n,
            void (*report)(void *arg, const char *what), void *arg, struct pitr_err *err)
{
    struct check check = {.expect = expect, .report = report, .arg = arg};
    enum pitr_rc rc;

    pthread_mutex_init(&check.lock, NULL);
    rc = target_each(t, READERS, n, check_one, &check, err);
    pthread_mutex_destroy(&check.lock);
    if (rc != PITR_OK)
        return rc;
    if (check.differences == 1)
        return pitr_fail(err, PITR_CORRUPT, "the target is not what was restored: %s", check.first);
    if (check.differences > 1)
        return pitr_fail(err, PITR_CORRUPT,
                         "the target is not what was restored: %zu differences, the first: %s",
                         check.differences, check.first);
    return PITR_OK;
}
