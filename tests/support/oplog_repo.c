#include "tests/support/oplog_repo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support/blob_mem.h"
#include "tests/support/oplog_array.h"

static void
must(enum pitr_rc rc, const struct pitr_err *err)
{
    if (rc == PITR_OK)
        return;
    fprintf(stderr, "oplog_repo: %s\n", err->msg);
    abort();
}

void
oplog_repo_init(struct oplog_repo *r)
{
    struct pitr_err err;

    *r = (struct oplog_repo){0};
    memset(r->keys.repo_id, 0x11, sizeof r->keys.repo_id);
    memset(r->keys.id_key, 0x22, sizeof r->keys.id_key);
    must(blob_mem_new(&r->blob, &err), &err);
    must(sealer_new(&r->sealer, &r->keys, CODEC_LZ4, 0, &err), &err);
}

void
oplog_repo_release(struct oplog_repo *r)
{
    sealer_free(r->sealer);
    blob_free(r->blob);
}

struct segment_info
oplog_repo_segment(struct oplog_repo *r, uint32_t timeline, const struct segment_info *prev,
                   uint32_t first, uint32_t entries)
{
    struct segment_writer_opts opts = {.blob = r->blob,
                                       .sealer = r->sealer,
                                       .timeline = timeline,
                                       .prev = prev,
                                       .frame_target = 512};
    PITR_AUTO(segment_writer_freep) struct segment_writer *w = NULL;
    struct segment_info info;
    struct oplog_stamp stamp;
    struct pitr_err err;
    uint32_t i;

    must(segment_writer_new(&w, &opts, &err), &err);
    for (i = 0; i < entries; i++) {
        PITR_AUTO(buf_release) struct buf e = {0};

        make_entry(&e, ts_make(first + i, 1), 1, i % 4 == 3 ? 'n' : 'i', 20, 'x');
        must(oplog_entry_stamp(&stamp, e.data, e.len, &err), &err);
        must(segment_writer_add(w, e.data, e.len, &stamp, &err), &err);
    }
    must(segment_writer_finish(w, &info, &err), &err);
    return info;
}

static enum pitr_rc
list_one(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    struct object_names *out = arg;

    (void)size;
    if (out->len == sizeof out->at / sizeof out->at[0])
        return pitr_fail(err, PITR_INTERNAL, "too many objects");
    snprintf(out->at[out->len++], SEGMENT_NAME_LEN, "%s", name);
    return PITR_OK;
}

void
oplog_repo_list(struct oplog_repo *r, struct object_names *out)
{
    struct pitr_err err;

    out->len = 0;
    must(blob_list(r->blob, "oplog/", list_one, out, &err), &err);
}

uint64_t
property_seed(void)
{
    const char *text = getenv("SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)clock_wall_ms();

    printf("SEED=%" PRIu64 "\n", seed);
    return seed;
}

/* splitmix64 */
uint32_t
property_below(uint64_t *state, uint32_t n)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return (uint32_t)((z ^ z >> 31) % n);
}
