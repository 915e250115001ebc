#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunkstore/store_internal.h"

/* Enters packs into an index from their tables of contents. */
struct filler {
    struct store *store;
    struct cindex *index;
    struct opener *opener;
    uint64_t known, added; /* packs that were in the index already, and others */
    bool mismatch;         /* a known pack has another size now */
};

/* Frames of a pack without a table, gathered by pack_scan(). */
struct salvage {
    struct pack_entry *entries; /* owned */
    size_t count, cap;
};

static void
salvage_release(struct salvage *found)
{
    free(found->entries);
}

static enum pitr_rc
salvage_add(void *arg, const struct pack_entry *entry, const uint8_t *frame, struct pitr_err *err)
{
    struct salvage *found = arg;

    (void)frame;
    if (found->count == found->cap) {
        size_t cap = found->cap == 0 ? 256 : 2 * found->cap;
        struct pack_entry *entries = reallocarray(found->entries, cap, sizeof *entries);

        if (entries == NULL)
            return pitr_fail(err, PITR_NOMEM, "table of %zu frames", cap);
        found->entries = entries;
        found->cap = cap;
    }
    found->entries[found->count++] = *entry;
    return PITR_OK;
}

/* A pack without a usable table: what its frames say themselves. Nothing readable is entered too,
 * so that the pack counts as known. */
static enum pitr_rc
fill_damaged(struct filler *f, const struct pack_id *id, const char *name, uint64_t size,
             const char *why, struct pitr_err *err)
{
    PITR_AUTO(salvage_release) struct salvage found = {0};
    struct pack_scan_result result = {0};

    log_event(f->store->log, LOG_INFO, "store", "%s; reading its frames one by one", why);
    if (f->store->damaged[0] == '\0')
        snprintf(f->store->damaged, sizeof f->store->damaged, "%s", name);
    if (pack_scan(f->store->blob, name, salvage_add, &found, &result, err) != PITR_OK &&
        err->rc != PITR_CORRUPT)
        return err->rc;
    return cindex_put_pack(f->index, id, size, found.entries, found.count, err);
}

static enum pitr_rc
fill_pack(struct filler *f, const struct pack_id *id, const char *name, uint64_t size,
          struct pitr_err *err)
{
    PITR_AUTO(pack_reader_freep) struct pack_reader *pack = NULL;
    const struct pack_entry *entries;
    size_t count;

    if (pack_reader_open(&pack, f->store->blob, name, f->opener, err) != PITR_OK) {
        struct pitr_err why = *err;

        if (err->rc == PITR_CORRUPT)
            return fill_damaged(f, id, name, size, why.msg, err);
        return err->rc;
    }
    entries = pack_reader_entries(pack, &count);
    return cindex_put_pack(f->index, id, size, entries, count, err);
}

static enum pitr_rc
visit_pack(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    struct filler *f = arg;
    uint64_t known_size = 0;
    bool known = false;
    struct pack_id id;

    if (!pack_name_parse(&id, name))
        return PITR_OK;
    if (cindex_get_pack(f->index, &id, &known, &known_size, err) != PITR_OK)
        return err->rc;
    if (known) {
        f->known++;
        f->mismatch = f->mismatch || known_size != size;
        return PITR_OK;
    }
    if (fill_pack(f, &id, name, size, err) != PITR_OK) {
        if (err->rc == PITR_NOTFOUND)
            return PITR_OK; /* removed since it was listed */
        return err->rc;
    }
    f->added++;
    return PITR_OK;
}

static enum pitr_rc
fill(struct filler *f, struct pitr_err *err)
{
    PITR_AUTO(opener_freep) struct opener *opener = NULL;

    if (opener_new(&opener, &f->store->keys, err) != PITR_OK)
        return err->rc;
    f->opener = opener;
    return blob_list(f->store->blob, PACK_FOLDER, visit_pack, f, err);
}

/* A whole new index in `dir`. */
static enum pitr_rc
build_index(struct store *s, const char *dir, const struct fs_lock *lock, struct cindex **out,
            struct pitr_err *err)
{
    PITR_AUTO(cindex_freep) struct cindex *x = NULL;
    const struct cindex_opts opts = {.dir = dir, .lock = lock};
    struct filler f = {.store = s};
    uint64_t packs = 0, frames = 0;

    if (cindex_build(&x, &opts, err) != PITR_OK)
        return err->rc;
    f.index = x;
    if (fill(&f, err) != PITR_OK || cindex_count(x, &packs, &frames, err) != PITR_OK)
        return pitr_wrap(err, "rebuild the index");
    log_event(s->log, LOG_INFO, "store",
              "index made from %" PRIu64 " packs with %" PRIu64 " chunks", packs, frames);
    *out = x;
    x = NULL;
    return PITR_OK;
}

static void
use_index(struct store *s, struct cindex *x)
{
    cindex_free(s->index);
    s->index = x;
    s->epoch++;
}

static void
remove_private_dir(struct store *s)
{
    if (s->private_dir != NULL)
        rmdir(s->private_dir);
    free(s->private_dir);
    s->private_dir = NULL;
}

/* The writer's own rebuild; `lock` is held. */
static enum pitr_rc
rebuild_to_write(struct store *s, struct pitr_err *err)
{
    PITR_AUTO(cindex_freep) struct cindex *x = NULL;

    if (build_index(s, s->index_dir, s->lock, &x, err) != PITR_OK ||
        cindex_publish(x, err) != PITR_OK)
        return err->rc;
    use_index(s, x);
    x = NULL;
    return PITR_OK;
}

/* A reader's rebuild where everybody finds it: for a moment the reader is the writer. */
static enum pitr_rc
rebuild_in_place(struct store *s, struct pitr_err *err)
{
    const struct cindex_opts opts = {.dir = s->index_dir};
    PITR_AUTO(fs_lock_freep) struct fs_lock *lock = NULL;
    PITR_AUTO(cindex_freep) struct cindex *x = NULL;

    if (fs_mkdirs(s->index_dir, err) != PITR_OK ||
        cindex_lock(&lock, s->index_dir, err) != PITR_OK ||
        build_index(s, s->index_dir, lock, &x, err) != PITR_OK || cindex_publish(x, err) != PITR_OK)
        return err->rc;
    cindex_freep(&x);
    fs_lock_freep(&lock);
    if (cindex_open(&x, &opts, err) != PITR_OK)
        return err->rc;
    use_index(s, x);
    x = NULL;
    remove_private_dir(s);
    return PITR_OK;
}

/* A reader's rebuild for itself alone. */
static enum pitr_rc
rebuild_privately(struct store *s, struct pitr_err *err)
{
    const char *base = getenv("TMPDIR");
    struct cindex *x = NULL;

    if (s->private_dir == NULL) {
        if (fs_join(&s->private_dir, base != NULL && *base != '\0' ? base : "/tmp",
                    "pitr-index-XXXXXX", err) != PITR_OK)
            return err->rc;
        if (mkdtemp(s->private_dir) == NULL) {
            pitr_fail_errno(err, errno, "make folder %s", s->private_dir);
            free(s->private_dir);
            s->private_dir = NULL;
            return err->rc;
        }
    }
    if (build_index(s, s->private_dir, NULL, &x, err) != PITR_OK)
        return err->rc;
    use_index(s, x);
    return PITR_OK;
}

static enum pitr_rc
rebuild_to_read(struct store *s, struct pitr_err *err)
{
    if (rebuild_in_place(s, err) == PITR_OK)
        return PITR_OK;
    if (err->rc == PITR_NOMEM)
        return err->rc;
    log_event(s->log, LOG_INFO, "store", "making a private index, because: %s", err->msg);
    return rebuild_privately(s, err);
}

/* Packs the index does not know are entered (a run that died between pack and index, packs copied
 * in); packs that are gone or changed mean that the index belongs to another state of things. */
static enum pitr_rc
reconcile(struct store *s, struct pitr_err *err)
{
    struct filler f = {.store = s, .index = s->index};
    uint64_t packs = 0, frames = 0;

    if (fill(&f, err) != PITR_OK || cindex_count(s->index, &packs, &frames, err) != PITR_OK) {
        if (err->rc != PITR_CORRUPT)
            return err->rc;
        f.mismatch = true;
    }
    if (!f.mismatch && packs == f.known + f.added)
        return PITR_OK;
    log_event(s->log, LOG_INFO, "store", "the index does not fit the packs; making it anew");
    return rebuild_to_write(s, err);
}

static enum pitr_rc
open_to_write(struct store *s, struct pitr_err *err)
{
    struct cindex_opts opts = {.dir = s->index_dir};

    if (fs_mkdirs(s->index_dir, err) != PITR_OK ||
        cindex_lock(&s->lock, s->index_dir, err) != PITR_OK)
        return err->rc;
    opts.lock = s->lock;
    if (cindex_open(&s->index, &opts, err) == PITR_OK)
        return reconcile(s, err);
    if (err->rc == PITR_NOMEM)
        return err->rc;
    if (err->rc != PITR_NOTFOUND)
        log_event(s->log, LOG_INFO, "store", "%s; making the index anew", err->msg);
    return rebuild_to_write(s, err);
}

enum pitr_rc
store_index_open(struct store *s, struct pitr_err *err)
{
    const struct cindex_opts opts = {.dir = s->index_dir};

    if (!s->read_only)
        return open_to_write(s, err);
    if (cindex_open(&s->index, &opts, err) == PITR_OK)
        return PITR_OK;
    if (err->rc == PITR_NOMEM)
        return err->rc;
    if (err->rc != PITR_NOTFOUND)
        log_event(s->log, LOG_INFO, "store", "%s; making the index anew", err->msg);
    return rebuild_to_read(s, err);
}

void
store_index_damage(struct store *s, char out[STORE_NAME_LEN])
{
    pthread_rwlock_rdlock(&s->index_lock);
    memcpy(out, s->damaged, STORE_NAME_LEN);
    pthread_rwlock_unlock(&s->index_lock);
}

void
store_index_close(struct store *s)
{
    cindex_freep(&s->index);
    remove_private_dir(s);
    fs_lock_freep(&s->lock);
}

enum pitr_rc
store_index_get(struct store *s, const struct chunk_id *id, enum frame_type type, bool *found,
                struct cindex_value *value, uint64_t *epoch, struct pitr_err *err)
{
    enum pitr_rc rc;

    pthread_rwlock_rdlock(&s->index_lock);
    *epoch = s->epoch;
    rc = cindex_get(s->index, id, type, found, value, err);
    pthread_rwlock_unlock(&s->index_lock);
    return rc;
}

enum pitr_rc
store_index_put(struct store *s, const struct pack_id *pack, uint64_t size,
                const struct pack_entry *entries, size_t count, struct pitr_err *err)
{
    enum pitr_rc rc;

    pthread_rwlock_rdlock(&s->index_lock);
    rc = cindex_put_pack(s->index, pack, size, entries, count, err);
    pthread_rwlock_unlock(&s->index_lock);
    return rc;
}

/* With index_lock held exclusively. */
static enum pitr_rc
replace_index(struct store *s, bool *changed, struct pitr_err *err)
{
    const struct cindex_opts opts = {.dir = s->index_dir};
    struct cindex *x = NULL;

    if (s->lock == NULL && s->private_dir == NULL && !cindex_is_current(s->index) &&
        cindex_open(&x, &opts, err) == PITR_OK) {
        use_index(s, x);
        *changed = true;
        return PITR_OK;
    }
    /* Once is enough: what a whole new index does not know is not there. */
    if (s->rebuilt)
        return PITR_OK;
    s->rebuilt = true;
    if ((s->lock != NULL ? rebuild_to_write(s, err) : rebuild_to_read(s, err)) != PITR_OK)
        return err->rc;
    *changed = true;
    return PITR_OK;
}

enum pitr_rc
store_index_recover(struct store *s, uint64_t epoch, bool *changed, struct pitr_err *err)
{
    enum pitr_rc rc = PITR_OK;

    pthread_rwlock_wrlock(&s->index_lock);
    *changed = s->epoch != epoch;
    if (!*changed)
        rc = replace_index(s, changed, err);
    pthread_rwlock_unlock(&s->index_lock);
    return rc;
}

enum pitr_rc
store_rebuild_index(struct store *s, uint64_t *packs, uint64_t *chunks, struct pitr_err *err)
{
    enum pitr_rc rc;

    pthread_rwlock_wrlock(&s->index_lock);
    rc = s->lock != NULL ? rebuild_to_write(s, err) : rebuild_in_place(s, err);
    if (rc == PITR_OK)
        rc = cindex_count(s->index, packs, chunks, err);
    pthread_rwlock_unlock(&s->index_lock);
    return rc;
}
