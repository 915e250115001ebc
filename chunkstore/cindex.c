#include "chunkstore/cindex.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "chunkstore/cindex_files.h"

/* Byte layout: docs/format.md, "Index". */
enum { KEY_LEN = CHUNK_ID_LEN + 1, VALUE_LEN = 40, PACK_VALUE_LEN = 24, SUM_LEN = 8 };
#define MAP_SIZE_DEFAULT ((size_t)64 << 30)
#define MAP_SIZE_MIN ((size_t)64 << 10)

struct cindex {
    char *dir;                  /* owned */
    char gen[CINDEX_GEN_LEN];   /* folder of this generation, below dir */
    char *folder;               /* dir/gen; owned */
    struct fs_lock *shared;     /* held by a reader that cannot use LMDB's lock file */
    bool writable, published;   /* constants after publish */
    bool dirty, broken;         /* stamp removed; do not stamp again. Guarded by write_lock */
    pthread_mutex_t write_lock; /* one transaction that writes; taken before map_lock */
    pthread_rwlock_t map_lock;  /* shared: a transaction runs; exclusive: the map is resized */
    MDB_env *env;
    MDB_dbi frames, packs;
};

/* LMDB's codes are negative, those of the system positive. */
static enum pitr_rc
lmdb_fail(struct pitr_err *err, int rc, const char *what)
{
    if (rc > 0)
        return pitr_fail_errno(err, rc, "index: %s", what);
    switch (rc) {
    case MDB_MAP_FULL:
        return pitr_fail(err, PITR_FULL, "index: %s: %s", what, mdb_strerror(rc));
    case MDB_CORRUPTED:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_PAGE_NOTFOUND:
    case MDB_INCOMPATIBLE:
    case MDB_NOTFOUND:
    case MDB_PANIC:
        return pitr_fail(err, PITR_CORRUPT, "index: %s: %s", what, mdb_strerror(rc));
    default:
        return pitr_fail(err, PITR_INTERNAL, "index: %s: %s", what, mdb_strerror(rc));
    }
}

static void
txn_abortp(MDB_txn **txn)
{
    if (*txn != NULL)
        mdb_txn_abort(*txn);
    *txn = NULL;
}

static void
rwlock_unlockp(pthread_rwlock_t **lock)
{
    if (*lock != NULL)
        pthread_rwlock_unlock(*lock);
}

static void
mutex_unlockp(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

enum pitr_rc
cindex_lock(struct fs_lock **out, const char *dir, struct pitr_err *err)
{
    return cindex_files_lock(out, dir, err);
}

static void
close_env(struct cindex *x)
{
    if (x->env != NULL)
        mdb_env_close(x->env);
    x->env = NULL;
}

/*
 * MDB_NOSYNC: nothing is lost that matters, because a machine that stops while the index is open
 * leaves no stamp, and then the index is built anew. MDB_NOTLS: read transactions belong to a call,
 * not to a thread. A process that dies leaves whole pages, as the root moves last.
 */
static enum pitr_rc
open_env(struct cindex *x, size_t map_size, unsigned flags, struct pitr_err *err)
{
    int rc;

    for (;;) {
        close_env(x);
        rc = mdb_env_create(&x->env);
        if (rc != 0)
            return lmdb_fail(err, rc, "create");
        if ((rc = mdb_env_set_mapsize(x->env, map_size)) != 0 ||
            (rc = mdb_env_set_maxdbs(x->env, 2)) != 0 ||
            (rc = mdb_env_set_maxreaders(x->env, 512)) != 0)
            return lmdb_fail(err, rc, "set up");
        rc = mdb_env_open(x->env, x->folder, flags, 0640);
        if (rc == 0)
            return PITR_OK;
        /* Address space can be limited. */
        if (rc != ENOMEM || map_size <= MAP_SIZE_MIN)
            return lmdb_fail(err, rc, "open");
        map_size /= 2;
    }
}

static enum pitr_rc
open_tables(struct cindex *x, struct pitr_err *err)
{
    PITR_AUTO(txn_abortp) MDB_txn *txn = NULL;
    unsigned create = x->writable ? MDB_CREATE : 0;
    int rc;

    rc = mdb_txn_begin(x->env, NULL, x->writable ? 0 : MDB_RDONLY, &txn);
    if (rc != 0)
        return lmdb_fail(err, rc, "begin");
    if ((rc = mdb_dbi_open(txn, "frames", create, &x->frames)) != 0 ||
        (rc = mdb_dbi_open(txn, "packs", create, &x->packs)) != 0)
        return lmdb_fail(err, rc, "open tables");
    rc = mdb_txn_commit(txn);
    txn = NULL;
    if (rc != 0)
        return lmdb_fail(err, rc, "open tables");
    return PITR_OK;
}

/* NULL with *err set when out of memory. */
static struct cindex *
cindex_alloc(const struct cindex_opts *opts, const char *gen, struct pitr_err *err)
{
    struct cindex *x = calloc(1, sizeof *x);

    if (x == NULL) {
        pitr_fail(err, PITR_NOMEM, "index");
        return NULL;
    }
    pthread_mutex_init(&x->write_lock, NULL);
    pthread_rwlock_init(&x->map_lock, NULL);
    memcpy(x->gen, gen, sizeof x->gen);
    x->published = true;
    x->dir = strdup(opts->dir);
    if (x->dir == NULL || fs_join(&x->folder, opts->dir, gen, err) != PITR_OK) {
        pitr_fail(err, PITR_NOMEM, "index");
        cindex_free(x);
        return NULL;
    }
    return x;
}

/* For reading. LMDB wants to write its lock file; without the right to, the writer's lock is shared
 * instead, which keeps writers out as long as we read. */
static enum pitr_rc
open_to_read(struct cindex *x, size_t map_size, struct pitr_err *err)
{
    if (open_env(x, map_size, MDB_RDONLY | MDB_NOTLS, err) == PITR_OK)
        return PITR_OK;
    if (err->rc != PITR_DENIED)
        return err->rc;
    if (cindex_files_share(&x->shared, x->dir, err) != PITR_OK)
        return err->rc;
    return open_env(x, map_size, MDB_RDONLY | MDB_NOTLS | MDB_NOLOCK, err);
}

static enum pitr_rc
open_generation(struct cindex **out, const struct cindex_opts *opts, const char *gen, bool vouched,
                struct pitr_err *err)
{
    PITR_AUTO(cindex_freep) struct cindex *x = cindex_alloc(opts, gen, err);
    size_t map_size = opts->map_size != 0 ? opts->map_size : MAP_SIZE_DEFAULT;
    int dead;

    if (x == NULL || cindex_files_check(x->folder, vouched, err) != PITR_OK)
        return err->rc;
    if (opts->lock == NULL) {
        if (open_to_read(x, map_size, err) != PITR_OK)
            return err->rc;
    } else {
        if (open_env(x, map_size, MDB_NOSYNC | MDB_NOTLS, err) != PITR_OK)
            return err->rc;
        x->writable = true;
        mdb_reader_check(x->env, &dead);
    }
    if (open_tables(x, err) != PITR_OK)
        return err->rc;
    *out = x;
    x = NULL;
    return PITR_OK;
}

enum pitr_rc
cindex_open(struct cindex **out, const struct cindex_opts *opts, struct pitr_err *err)
{
    struct cindex_state before = {0}, now = {0};

    if (cindex_files_state(&before, opts->dir, opts->lock != NULL, err) != PITR_OK)
        return err->rc;
    for (int attempt = 0;; attempt++) {
        struct pitr_err ignored;

        if (open_generation(out, opts, before.gen, before.vouched, err) == PITR_OK)
            return PITR_OK;
        if ((err->rc != PITR_CORRUPT && err->rc != PITR_NOTFOUND) || attempt == 2)
            break;
        /* A writer may have begun to change the files, or replaced them, while we looked. */
        if (cindex_files_state(&now, opts->dir, opts->lock != NULL, &ignored) != PITR_OK ||
            (strcmp(now.gen, before.gen) == 0 && now.vouched == before.vouched))
            break;
        before = now;
    }
    return pitr_wrap(err, "index %s", opts->dir);
}

enum pitr_rc
cindex_build(struct cindex **out, const struct cindex_opts *opts, struct pitr_err *err)
{
    PITR_AUTO(cindex_freep) struct cindex *x = NULL;
    char gen[CINDEX_GEN_LEN];

    if (cindex_files_new_gen(gen, err) != PITR_OK)
        return err->rc;
    x = cindex_alloc(opts, gen, err);
    if (x == NULL)
        return err->rc;
    if (fs_mkdir(x->folder, err) != PITR_OK)
        return pitr_wrap(err, "index %s", opts->dir);
    x->writable = true;
    x->published = false;
    x->dirty = true;
    if (cindex_files_mark_open(x->folder, err) != PITR_OK ||
        open_env(x, opts->map_size != 0 ? opts->map_size : MAP_SIZE_DEFAULT, MDB_NOSYNC | MDB_NOTLS,
                 err) != PITR_OK ||
        open_tables(x, err) != PITR_OK)
        return pitr_wrap(err, "index %s", opts->dir);
    *out = x;
    x = NULL;
    return PITR_OK;
}

enum pitr_rc
cindex_publish(struct cindex *x, struct pitr_err *err)
{
    int rc = mdb_env_sync(x->env, 1);

    if (rc != 0)
        return lmdb_fail(err, rc, "sync");
    if (fs_sync_dir(x->folder, err) != PITR_OK ||
        cindex_files_set_current(x->dir, x->gen, err) != PITR_OK)
        return pitr_wrap(err, "index %s", x->dir);
    x->published = true;
    cindex_files_remove_others(x->dir, x->gen);
    return PITR_OK;
}

void
cindex_free(struct cindex *x)
{
    bool stamp;

    if (x == NULL)
        return;
    stamp =
        x->dirty && !x->broken && x->published && x->env != NULL && mdb_env_sync(x->env, 1) == 0;
    close_env(x);
    if (stamp)
        cindex_files_stamp(x->folder);
    if (!x->published)
        cindex_files_remove(x->folder);
    fs_lock_free(x->shared);
    pthread_rwlock_destroy(&x->map_lock);
    pthread_mutex_destroy(&x->write_lock);
    free(x->folder);
    free(x->dir);
    free(x);
}

void
cindex_freep(struct cindex **x)
{
    cindex_free(*x);
    *x = NULL;
}

bool
cindex_is_current(struct cindex *x)
{
    struct cindex_state state = {0};
    struct pitr_err ignored;

    return cindex_files_state(&state, x->dir, true, &ignored) == PITR_OK &&
           strcmp(state.gen, x->gen) == 0;
}

static void
put_sum(const uint8_t *key, size_t key_len, uint8_t *value, size_t value_len)
{
    uint64_t sum = XXH64(value, value_len - SUM_LEN, XXH64(key, key_len, 0));

    put_le64(value + value_len - SUM_LEN, sum);
}

static bool
sum_fits(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len)
{
    return get_le64(value + value_len - SUM_LEN) ==
           XXH64(value, value_len - SUM_LEN, XXH64(key, key_len, 0));
}

/* A bigger map: twice the size, or without `grow` whatever another process made of it. */
static enum pitr_rc
resize_map(struct cindex *x, bool grow, struct pitr_err *err)
{
    MDB_envinfo info;
    int rc;

    pthread_rwlock_wrlock(&x->map_lock);
    mdb_env_info(x->env, &info);
    rc = mdb_env_set_mapsize(x->env, grow ? 2 * info.me_mapsize : 0);
    pthread_rwlock_unlock(&x->map_lock);
    return rc == 0 ? PITR_OK : lmdb_fail(err, rc, "resize the map");
}

/* Begin to read with map_lock shared; the caller ends the transaction and then unlocks. */
static enum pitr_rc
begin_read(struct cindex *x, MDB_txn **txn, pthread_rwlock_t **locked, struct pitr_err *err)
{
    int rc;

    for (;;) {
        pthread_rwlock_rdlock(&x->map_lock);
        rc = mdb_txn_begin(x->env, NULL, MDB_RDONLY, txn);
        if (rc == 0) {
            *locked = &x->map_lock;
            return PITR_OK;
        }
        pthread_rwlock_unlock(&x->map_lock);
        if (rc != MDB_MAP_RESIZED)
            return lmdb_fail(err, rc, "begin to read");
        if (resize_map(x, false, err) != PITR_OK)
            return err->rc;
    }
}

/* First entry at or after *key, into *key and *data. */
static int
seek(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *data)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, table, &cursor);

    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, key, data, MDB_SET_RANGE);
    mdb_cursor_close(cursor);
    return rc;
}

enum pitr_rc
cindex_get(struct cindex *x, const struct chunk_id *id, enum frame_type type, bool *found,
           struct cindex_value *value, struct pitr_err *err)
{
    PITR_AUTO(rwlock_unlockp) pthread_rwlock_t *locked = NULL;
    PITR_AUTO(txn_abortp) MDB_txn *txn = NULL;
    uint8_t raw_key[KEY_LEN];
    MDB_val key = {KEY_LEN, raw_key}, data;
    const uint8_t *k, *v;
    int rc;

    memcpy(raw_key, id->b, CHUNK_ID_LEN);
    raw_key[CHUNK_ID_LEN] = (uint8_t)type;
    if (begin_read(x, &txn, &locked, err) != PITR_OK)
        return err->rc;
    if (type == 0)
        rc = seek(txn, x->frames, &key, &data);
    else
        rc = mdb_get(txn, x->frames, &key, &data);
    *found = false;
    if (rc == MDB_NOTFOUND)
        return PITR_OK;
    if (rc != 0)
        return lmdb_fail(err, rc, "look up");
    k = key.mv_data;
    v = data.mv_data;
    if (key.mv_size == KEY_LEN && memcmp(k, id->b, CHUNK_ID_LEN) != 0)
        return PITR_OK;
    if (key.mv_size != KEY_LEN || data.mv_size != VALUE_LEN || !sum_fits(k, KEY_LEN, v, VALUE_LEN))
        return pitr_fail(err, PITR_CORRUPT, "index: damaged entry");
    memcpy(value->pack.b, v, PACK_ID_LEN);
    value->offset = get_le64(v + 16);
    value->frame_len = get_le32(v + 24);
    value->raw_len = get_le32(v + 28);
    value->type = (enum frame_type)k[CHUNK_ID_LEN];
    *found = true;
    return PITR_OK;
}

static int
put_entries(MDB_txn *txn, struct cindex *x, const struct pack_id *pack, uint64_t size,
            const struct pack_entry *entries, size_t count)
{
    uint8_t pack_key[PACK_ID_LEN], pack_value[PACK_VALUE_LEN];
    MDB_val key = {sizeof pack_key, pack_key}, data = {sizeof pack_value, pack_value};
    int rc;

    for (size_t i = 0; i < count; i++) {
        uint8_t raw_key[KEY_LEN], raw[VALUE_LEN];
        MDB_val frame_key = {sizeof raw_key, raw_key}, frame_data = {sizeof raw, raw};

        memcpy(raw_key, entries[i].id.b, CHUNK_ID_LEN);
        raw_key[CHUNK_ID_LEN] = (uint8_t)entries[i].type;
        memcpy(raw, pack->b, PACK_ID_LEN);
        put_le64(raw + 16, entries[i].offset);
        put_le32(raw + 24, entries[i].frame_len);
        put_le32(raw + 28, entries[i].raw_len);
        put_sum(raw_key, sizeof raw_key, raw, sizeof raw);
        rc = mdb_put(txn, x->frames, &frame_key, &frame_data, 0);
        if (rc != 0)
            return rc;
    }
    memcpy(pack_key, pack->b, sizeof pack_key);
    put_le64(pack_value, size);
    put_le64(pack_value + 8, count);
    put_sum(pack_key, sizeof pack_key, pack_value, sizeof pack_value);
    return mdb_put(txn, x->packs, &key, &data, 0);
}

/* One try; MDB_MAP_FULL leaves everything as it was. */
static int
put_pack_once(struct cindex *x, const struct pack_id *pack, uint64_t size,
              const struct pack_entry *entries, size_t count)
{
    PITR_AUTO(rwlock_unlockp) pthread_rwlock_t *locked = &x->map_lock;
    PITR_AUTO(txn_abortp) MDB_txn *txn = NULL;
    MDB_txn *ready;
    int rc;

    pthread_rwlock_rdlock(locked);
    rc = mdb_txn_begin(x->env, NULL, 0, &txn);
    if (rc != 0)
        return rc;
    rc = put_entries(txn, x, pack, size, entries, count);
    if (rc != 0)
        return rc;
    ready = txn;
    txn = NULL; /* commit frees it, whatever comes of it */
    return mdb_txn_commit(ready);
}

enum pitr_rc
cindex_put_pack(struct cindex *x, const struct pack_id *pack, uint64_t size,
                const struct pack_entry *entries, size_t count, struct pitr_err *err)
{
    PITR_AUTO(mutex_unlockp) pthread_mutex_t *locked = &x->write_lock;
    int rc;

    assert(x->writable);
    pthread_mutex_lock(locked);
    if (!x->dirty) {
        if (cindex_files_mark_open(x->folder, err) != PITR_OK ||
            cindex_files_unstamp(x->folder, err) != PITR_OK)
            return pitr_wrap(err, "index %s", x->dir);
        x->dirty = true;
    }
    for (;;) {
        rc = put_pack_once(x, pack, size, entries, count);
        if (rc == 0)
            return PITR_OK;
        if (rc != MDB_MAP_FULL && rc != MDB_MAP_RESIZED)
            break;
        if (resize_map(x, rc == MDB_MAP_FULL, err) != PITR_OK)
            return err->rc;
    }
    /* A full disk leaves the old tree intact; anything else makes the pages suspect. */
    if (rc != ENOSPC && rc != ENOMEM)
        x->broken = true;
    return lmdb_fail(err, rc, "enter a pack");
}

enum pitr_rc
cindex_get_pack(struct cindex *x, const struct pack_id *pack, bool *found, uint64_t *size,
                struct pitr_err *err)
{
    PITR_AUTO(rwlock_unlockp) pthread_rwlock_t *locked = NULL;
    PITR_AUTO(txn_abortp) MDB_txn *txn = NULL;
    uint8_t raw_key[PACK_ID_LEN];
    MDB_val key = {sizeof raw_key, raw_key}, data;
    int rc;

    memcpy(raw_key, pack->b, sizeof raw_key);
    if (begin_read(x, &txn, &locked, err) != PITR_OK)
        return err->rc;
    rc = mdb_get(txn, x->packs, &key, &data);
    *found = rc == 0;
    if (rc == MDB_NOTFOUND)
        return PITR_OK;
    if (rc != 0)
        return lmdb_fail(err, rc, "look up a pack");
    if (data.mv_size != PACK_VALUE_LEN ||
        !sum_fits(raw_key, sizeof raw_key, data.mv_data, PACK_VALUE_LEN))
        return pitr_fail(err, PITR_CORRUPT, "index: damaged entry");
    *size = get_le64(data.mv_data);
    return PITR_OK;
}

enum pitr_rc
cindex_count(struct cindex *x, uint64_t *packs, uint64_t *frames, struct pitr_err *err)
{
    PITR_AUTO(rwlock_unlockp) pthread_rwlock_t *locked = NULL;
    PITR_AUTO(txn_abortp) MDB_txn *txn = NULL;
    MDB_stat of_packs, of_frames;
    int rc;

    if (begin_read(x, &txn, &locked, err) != PITR_OK)
        return err->rc;
    if ((rc = mdb_stat(txn, x->packs, &of_packs)) != 0 ||
        (rc = mdb_stat(txn, x->frames, &of_frames)) != 0)
        return lmdb_fail(err, rc, "count");
    *packs = of_packs.ms_entries;
    *frames = of_frames.ms_entries;
    return PITR_OK;
}
