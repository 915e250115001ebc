/*
 * micro_net - how fast captured operations are netted, on one thread.
 *
 * A million entries of about 300 bytes, as a driver's retryable writes leave them: two fifths
 * inserts, two fifths updates, one fifth deletes, over half a million documents of the base and the
 * new ones. "net" takes the entries from memory straight to oplog/net.h; "replay" is what a restore
 * does: read a sealed segment, parse, and replay, here without a limit of memory, in "replay-spill"
 * within SPILL_BUDGET. "filter" and "filter-spill" then stream the half million documents of the
 * base through it, in the order of their numbers, and take the rest.
 */
#include <bson/bson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bench/bench.h"
#include "oplog/replay.h"
#include "oplog/segment.h"

enum {
    ROUNDS = 3,
    ENTRIES = 1000000,
    BASE_DOCUMENTS = 500000,
    FIRST_SECOND = 1000000,
    SPILL_BUDGET = 16 << 20
};

static const uint8_t uuid[UUID_LEN] = {[0] = 0x5a, [6] = 0x40, [8] = 0x80, [15] = 1};

struct bench {
    struct buf log; /* entries end to end */
    uint32_t *live; /* numbers of the documents that exist */
    size_t nlive;
    uint32_t born; /* the next new document's number */
    uint64_t state;
    struct repo_keys keys;
    struct blob *blob;
    char segment[SEGMENT_NAME_LEN];
};

static void
append_id(bson_t *doc, uint32_t number)
{
    bson_oid_t id = {{0x65}};

    put_le32(id.bytes + 8, number);
    BSON_APPEND_OID(doc, "_id", &id);
}

static void
make_insert(struct bench *b, bson_t *entry)
{
    bson_t o;

    BSON_APPEND_UTF8(entry, "op", "i");
    BSON_APPEND_DOCUMENT_BEGIN(entry, "o", &o);
    append_id(&o, b->born);
    BSON_APPEND_INT32(&o, "user", (int32_t)bench_below(&b->state, 100000));
    BSON_APPEND_UTF8(&o, "path", "/some/path/in/the/shop");
    BSON_APPEND_DATE_TIME(&o, "at", 1767225600000);
    bson_append_document_end(entry, &o);
    b->live[b->nlive++] = b->born++;
}

static void
make_update(struct bench *b, bson_t *entry)
{
    bson_t o, diff, set, o2;

    BSON_APPEND_UTF8(entry, "op", "u");
    BSON_APPEND_DOCUMENT_BEGIN(entry, "o", &o);
    BSON_APPEND_INT32(&o, "$v", 2);
    BSON_APPEND_DOCUMENT_BEGIN(&o, "diff", &diff);
    BSON_APPEND_DOCUMENT_BEGIN(&diff, "u", &set);
    BSON_APPEND_INT32(&set, "user", (int32_t)bench_below(&b->state, 100000));
    BSON_APPEND_UTF8(&set, "state", "sent");
    bson_append_document_end(&diff, &set);
    bson_append_document_end(&o, &diff);
    bson_append_document_end(entry, &o);
    BSON_APPEND_DOCUMENT_BEGIN(entry, "o2", &o2);
    append_id(&o2, b->live[bench_below(&b->state, (uint32_t)b->nlive)]);
    bson_append_document_end(entry, &o2);
}

static void
make_delete(struct bench *b, bson_t *entry)
{
    uint32_t victim = bench_below(&b->state, (uint32_t)b->nlive);
    bson_t o;

    BSON_APPEND_UTF8(entry, "op", "d");
    BSON_APPEND_DOCUMENT_BEGIN(entry, "o", &o);
    append_id(&o, b->live[victim]);
    bson_append_document_end(entry, &o);
    b->live[victim] = b->live[--b->nlive];
}

static void
make_entry(struct bench *b, uint32_t number)
{
    uint32_t which = bench_below(&b->state, 5);
    bson_t entry = BSON_INITIALIZER, lsid;
    struct pitr_err err;

    BSON_APPEND_DOCUMENT_BEGIN(&entry, "lsid", &lsid);
    bson_append_binary(&lsid, "id", 2, BSON_SUBTYPE_UUID, uuid, UUID_LEN);
    bson_append_binary(&lsid, "uid", 3, BSON_SUBTYPE_BINARY, b->keys.id_key, 32);
    bson_append_document_end(&entry, &lsid);
    BSON_APPEND_INT64(&entry, "txnNumber", number);
    if (which < 2)
        make_insert(b, &entry);
    else if (which < 4)
        make_update(b, &entry);
    else
        make_delete(b, &entry);
    BSON_APPEND_UTF8(&entry, "ns", "shop.orders");
    bson_append_binary(&entry, "ui", 2, BSON_SUBTYPE_UUID, uuid, UUID_LEN);
    BSON_APPEND_INT32(&entry, "stmtId", 0);
    BSON_APPEND_TIMESTAMP(&entry, "ts", FIRST_SECOND + number / 1000, number % 1000 + 1);
    BSON_APPEND_INT64(&entry, "t", 1);
    BSON_APPEND_INT64(&entry, "v", 2);
    BSON_APPEND_DATE_TIME(&entry, "wall", (FIRST_SECOND + (int64_t)number / 1000) * 1000);
    bench_must(buf_append(&b->log, bson_get_data(&entry), entry.len, &err), &err);
    bson_destroy(&entry);
}

static void
seal_segment(struct bench *b)
{
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    PITR_AUTO(segment_writer_freep) struct segment_writer *w = NULL;
    struct segment_writer_opts opts = {.blob = b->blob, .timeline = 1};
    struct segment_info info;
    struct pitr_err err;

    bench_must(sealer_new(&sealer, &b->keys, CODEC_LZ4, 0, &err), &err);
    opts.sealer = sealer;
    bench_must(segment_writer_new(&w, &opts, &err), &err);
    for (size_t at = 0; at < b->log.len; at += get_le32(b->log.data + at)) {
        struct oplog_stamp stamp;
        size_t len = get_le32(b->log.data + at);

        bench_must(oplog_entry_stamp(&stamp, b->log.data + at, len, &err), &err);
        bench_must(segment_writer_add(w, b->log.data + at, len, &stamp, &err), &err);
    }
    bench_must(segment_writer_finish(w, &info, &err), &err);
    segment_name(b->segment, &info);
}

static double
net_once(struct bench *b)
{
    PITR_AUTO(net_freep) struct net *n = NULL;
    double start = bench_now();
    struct oplog_entry e;
    struct pitr_err err;

    bench_must(net_new(&n, FIELD_ORDER_NUMERIC, NULL, &err), &err);
    for (size_t at = 0; at < b->log.len; at += e.raw_len) {
        const uint8_t *raw = b->log.data + at;

        bench_must(oplog_entry_parse(&e, raw, get_le32(raw), &err), &err);
        if (e.op == 'i')
            bench_must(net_insert(n, e.o, e.o_len, OP_STRICT, &err), &err);
        else if (e.op == 'u')
            bench_must(net_update(n, e.o2, e.o2_len, e.o, e.o_len, false, OP_STRICT, &err), &err);
        else
            bench_must(net_delete(n, e.o, e.o_len, OP_STRICT, &err), &err);
    }
    return bench_now() - start;
}

static enum pitr_rc
take(void *arg, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    uint64_t *n = arg;

    (void)doc;
    (void)len;
    (void)err;
    (*n)++;
    return PITR_OK;
}

/* The documents that the oplog says the base must have, and an answer for each. */
static double
filter_once(struct bench *b, struct net *n)
{
    PITR_AUTO(buf_release) struct buf out = {0};
    PITR_AUTO(buf_release) struct buf scratch = {0};
    double start = bench_now();
    bson_t doc = BSON_INITIALIZER;
    uint64_t kept = 0;
    struct pitr_err err;

    for (uint32_t i = 0; i < BASE_DOCUMENTS; i++) {
        enum net_verdict verdict;

        bson_reinit(&doc);
        append_id(&doc, i);
        BSON_APPEND_INT32(&doc, "user", 0);
        bench_must(net_filter(n, bson_get_data(&doc), doc.len, &verdict, &out, &scratch, &err),
                   &err);
        kept += verdict != NET_DROP;
    }
    bson_destroy(&doc);
    bench_must(net_rest(n, take, &kept, &err), &err);
    if (kept != b->nlive)
        bench_die("%llu documents instead of %zu", (unsigned long long)kept, b->nlive);
    return bench_now() - start;
}

/* Seconds of the replay, and of streaming the base through it. */
static void
replay_once(struct bench *b, uint64_t budget, double *replay, double *filter)
{
    PITR_AUTO(spill_freep) struct spill *spill = NULL;
    PITR_AUTO(replay_freep) struct replay *r = NULL;
    PITR_AUTO(segment_reader_freep) struct segment_reader *reader = NULL;
    struct replay_opts opts = {.t_start = ts_make(1, 1),
                               .t_end = ts_make(2, 1),
                               .to = ts_make(UINT32_MAX, 1),
                               .order = FIELD_ORDER_NUMERIC};
    struct buf empty = {0};
    struct segment_info info;
    struct oplog_entry e;
    struct pitr_err err;
    const uint8_t *raw;
    size_t len;
    double start;

    bench_must(buf_append(&empty, "\x05\0\0\0", 5, &err), &err);
    if (budget != 0)
        bench_must(spill_new(&spill, budget, &err), &err);
    opts.spill = spill;
    bench_must(replay_new(&r, &opts, &err), &err);
    bench_must(replay_add_base(r, "shop", "orders", uuid, &empty, &empty, 0, false, &err), &err);
    start = bench_now();
    bench_must(segment_reader_open(&reader, b->blob, &b->keys, b->segment, &info, &err), &err);
    for (;;) {
        bench_must(segment_reader_next(reader, &raw, &len, &err), &err);
        if (raw == NULL)
            break;
        bench_must(oplog_entry_parse(&e, raw, len, &err), &err);
        bench_must(replay_entry(r, &e, &err), &err);
    }
    bench_must(replay_finish(r, &err), &err);
    buf_release(&empty);
    if (replay_operations(r) != ENTRIES)
        bench_die("replayed %llu operations of %d", (unsigned long long)replay_operations(r),
                  ENTRIES);
    *replay = bench_now() - start;
    *filter = filter_once(b, replay_at(r, 0)->net);
}

int
main(void)
{
    struct bench b = {.state = 1, .born = BASE_DOCUMENTS, .nlive = BASE_DOCUMENTS};
    char *folder = bench_folder();
    double net[ROUNDS], replay[2][ROUNDS], filter[2][ROUNDS];
    struct pitr_err err;

    b.live = malloc((BASE_DOCUMENTS + ENTRIES) * sizeof *b.live);
    if (b.live == NULL)
        bench_die("out of memory");
    for (uint32_t i = 0; i < BASE_DOCUMENTS; i++)
        b.live[i] = i;
    for (uint32_t i = 0; i < ENTRIES; i++)
        make_entry(&b, i);
    bench_must(blob_fs_new(&b.blob, folder, &err), &err);
    seal_segment(&b);
    for (int i = 0; i < ROUNDS; i++) {
        net[i] = net_once(&b);
        replay_once(&b, 0, &replay[0][i], &filter[0][i]);
        replay_once(&b, SPILL_BUDGET, &replay[1][i], &filter[1][i]);
    }
    bench_print("net", "operations", ENTRIES, net, ROUNDS);
    bench_print("replay", "operations", ENTRIES, replay[0], ROUNDS);
    bench_print("replay-spill", "operations", ENTRIES, replay[1], ROUNDS);
    bench_print("filter", "documents", BASE_DOCUMENTS, filter[0], ROUNDS);
    bench_print("filter-spill", "documents", BASE_DOCUMENTS, filter[1], ROUNDS);
    blob_free(b.blob);
    buf_release(&b.log);
    free(b.live);
    bench_folder_remove(folder);
    return 0;
}
