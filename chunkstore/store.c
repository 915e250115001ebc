#include "chunkstore/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "chunkstore/store_internal.h"

enum { PACK_TARGET_DEFAULT = 32 << 20 };

enum pitr_rc
store_open(struct store **out, const struct store_opts *opts, struct pitr_err *err)
{
    PITR_AUTO(store_freep) struct store *s = calloc(1, sizeof *s);

    if (s == NULL)
        return pitr_fail(err, PITR_NOMEM, "store");
    pthread_rwlock_init(&s->index_lock, NULL);
    s->blob = opts->blob;
    s->keys = *opts->keys;
    s->log = opts->log;
    s->read_only = opts->read_only;
    s->pack_target = opts->pack_target != 0 ? opts->pack_target : PACK_TARGET_DEFAULT;
    s->index_dir = strdup(opts->index_dir);
    if (s->index_dir == NULL)
        return pitr_fail(err, PITR_NOMEM, "store");
    if (store_index_open(s, err) != PITR_OK)
        return err->rc;
    *out = s;
    s = NULL;
    return PITR_OK;
}

void
store_free(struct store *s)
{
    if (s == NULL)
        return;
    store_index_close(s);
    pthread_rwlock_destroy(&s->index_lock);
    crypto_wipe(&s->keys, sizeof s->keys);
    free(s->index_dir);
    free(s);
}

void
store_freep(struct store **s)
{
    store_free(*s);
    *s = NULL;
}

static enum pitr_rc
add_usage(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    struct store_usage *usage = arg;
    struct pack_id id;

    (void)err;
    if (pack_name_parse(&id, name)) {
        usage->packs++;
        usage->pack_bytes += size;
    }
    return PITR_OK;
}

enum pitr_rc
store_usage(struct store *s, struct store_usage *out, struct pitr_err *err)
{
    uint64_t packs;
    enum pitr_rc rc;

    *out = (struct store_usage){0};
    if (blob_list(s->blob, PACK_FOLDER, add_usage, out, err) != PITR_OK)
        return err->rc;
    pthread_rwlock_rdlock(&s->index_lock);
    rc = cindex_count(s->index, &packs, &out->chunks, err);
    pthread_rwlock_unlock(&s->index_lock);
    return rc;
}
