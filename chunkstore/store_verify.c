#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "chunkstore/store_internal.h"

struct verifier {
    struct store *store;
    struct opener *opener;
    bool deep;
    void (*report)(void *arg, const char *what);
    void *arg;
    uint64_t frames, bytes, bad;
    const char *name; /* the pack at hand */
    struct buf frame, plain;
};

static void
verifier_release(struct verifier *v)
{
    opener_free(v->opener);
    buf_release(&v->frame);
    buf_release(&v->plain);
}

static void
report_bad(struct verifier *v, const char *what)
{
    v->bad++;
    if (v->report != NULL)
        v->report(v->arg, what);
}

static void
report_bad_frame(struct verifier *v, uint64_t offset, const char *why)
{
    char text[1200];

    snprintf(text, sizeof text, "%s: at %" PRIu64 ": %s", v->name, offset, why);
    report_bad(v, text);
}

/* The sealed frame against what the table says of it, and with `deep` against its id. */
static enum pitr_rc
check_frame(struct verifier *v, const struct pack_entry *e, const uint8_t *frame,
            struct pitr_err *err)
{
    struct frame_head head = {0};
    size_t used = 0;

    if (frame_head_parse(&head, frame, e->frame_len, err) != PITR_OK)
        return err->rc;
    if ((size_t)FRAME_HEAD_LEN + head.stored_len != e->frame_len || head.raw_len != e->raw_len ||
        head.type != e->type || head.codec != e->codec ||
        memcmp(head.id.b, e->id.b, sizeof head.id.b) != 0)
        return pitr_fail(err, PITR_CORRUPT, "not the frame that the table of contents lists");
    if (v->deep)
        return opener_open(v->opener, head.type, frame, e->frame_len, NULL, &v->plain, &used, err);
    return frame_check(frame, e->frame_len, &head, err);
}

/* Count a frame, or report it. Fails only for reasons that are not the frame's fault. */
static enum pitr_rc
count_frame(struct verifier *v, const struct pack_entry *e, const uint8_t *frame,
            struct pitr_err *err)
{
    if (check_frame(v, e, frame, err) == PITR_OK) {
        v->frames++;
        v->bytes += e->frame_len;
        return PITR_OK;
    }
    if (err->rc != PITR_CORRUPT)
        return err->rc;
    report_bad_frame(v, e->offset, err->msg);
    return PITR_OK;
}

static enum pitr_rc
verify_listed(struct verifier *v, const struct pack_reader *pack, struct pitr_err *err)
{
    size_t count;
    const struct pack_entry *entries = pack_reader_entries(pack, &count);

    for (size_t i = 0; i < count; i++) {
        buf_clear(&v->frame);
        if (buf_reserve(&v->frame, entries[i].frame_len, err) != PITR_OK ||
            blob_read(v->store->blob, v->name, entries[i].offset, v->frame.data,
                      entries[i].frame_len, err) != PITR_OK ||
            count_frame(v, &entries[i], v->frame.data, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
visit_frame(void *arg, const struct pack_entry *entry, const uint8_t *frame, struct pitr_err *err)
{
    return count_frame(arg, entry, frame, err);
}

/* A pack whose table is lost: say so, and how much of it can be read all the same. */
static enum pitr_rc
verify_forward(struct verifier *v, const char *why, struct pitr_err *err)
{
    struct pack_scan_result result = {0};
    char text[1200];

    if (pack_scan(v->store->blob, v->name, visit_frame, v, &result, err) != PITR_OK &&
        err->rc != PITR_CORRUPT)
        return err->rc;
    snprintf(text, sizeof text,
             "%s (read forward: %" PRIu64 " frames, %" PRIu64 " damaged, up to byte %" PRIu64 ")",
             why, result.frames, result.damaged, result.end);
    report_bad(v, text);
    return PITR_OK;
}

static enum pitr_rc
verify_pack(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    PITR_AUTO(pack_reader_freep) struct pack_reader *pack = NULL;
    struct verifier *v = arg;
    struct pack_id id;
    enum pitr_rc rc;

    (void)size;
    if (!pack_name_parse(&id, name))
        return PITR_OK;
    v->name = name;
    if (pack_reader_open(&pack, v->store->blob, name, v->opener, err) == PITR_OK) {
        rc = verify_listed(v, pack, err);
    } else if (err->rc == PITR_CORRUPT) {
        struct pitr_err why = *err;

        rc = verify_forward(v, why.msg, err);
    } else {
        rc = err->rc;
    }
    return rc == PITR_NOTFOUND ? PITR_OK : rc; /* removed since it was listed */
}

enum pitr_rc
store_verify(struct store *s, bool deep, void (*report)(void *arg, const char *what), void *arg,
             uint64_t *frames, uint64_t *bytes, uint64_t *bad, struct pitr_err *err)
{
    PITR_AUTO(verifier_release)
    struct verifier v = {.store = s, .deep = deep, .report = report, .arg = arg};

    if (opener_new(&v.opener, &s->keys, err) != PITR_OK ||
        blob_list(s->blob, PACK_FOLDER, verify_pack, &v, err) != PITR_OK)
        return err->rc;
    *frames = v.frames;
    *bytes = v.bytes;
    *bad = v.bad;
    return PITR_OK;
}
