#include "cli/log_print.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "cli/op_text.h"
#include "cli/report.h"
#include "mongo/extjson_write.h"

enum { WRITE_AT = 64 << 10 };

static const char *
kind_name(enum search_kind kind)
{
    switch (kind) {
    case SEARCH_INSERT:
        return "insert";
    case SEARCH_UPDATE:
        return "update";
    case SEARCH_DELETE:
        return "delete";
    case SEARCH_COMMAND:
        return "command";
    case SEARCH_NOOP:
        return "noop";
    default:
        return "unknown";
    }
}

enum pitr_rc
log_print_flush(struct log_print *p, struct pitr_err *err)
{
    return app_stream(p->app, &p->out, err);
}

static enum pitr_rc
flush_if_due(struct log_print *p, struct pitr_err *err)
{
    if (!p->at_once && p->out.buf.len < WRITE_AT)
        return text_check(&p->out, err);
    return log_print_flush(p, err);
}

void
log_print_release(struct log_print *p)
{
    text_release(&p->out);
    buf_release(&p->json);
}

/* Member `key` from the scratch buffer. */
static void
put_scratch(struct log_print *p, struct json *j, const char *key)
{
    json_raw(j, key, (const char *)p->json.data, p->json.len);
    buf_clear(&p->json);
}

static enum pitr_rc
put_doc(struct log_print *p, struct json *j, const char *key, const uint8_t *doc, size_t len,
        struct pitr_err *err)
{
    if (doc == NULL) {
        json_null(j, key);
        return PITR_OK;
    }
    if (extjson_write_doc(&p->json, doc, len, EXTJSON_CANONICAL, 0, err) != PITR_OK)
        return err->rc;
    put_scratch(p, j, key);
    return PITR_OK;
}

static enum pitr_rc
put_id(struct log_print *p, struct json *j, const struct belem *id, struct pitr_err *err)
{
    if (id->type == BSON_EOD) {
        json_null(j, "id");
        return PITR_OK;
    }
    if (extjson_write_value(&p->json, id, EXTJSON_CANONICAL, 0, err) != PITR_OK)
        return err->rc;
    put_scratch(p, j, "id");
    return PITR_OK;
}

static enum pitr_rc
put_txn(struct log_print *p, struct json *j, const struct op *op, struct pitr_err *err)
{
    const struct ops_txn *txn = op->txn;

    if (txn == NULL) {
        json_null(j, "txn");
        return PITR_OK;
    }
    json_object(j, "txn");
    if (put_doc(p, j, "lsid", txn->lsid, txn->lsid_len, err) != PITR_OK)
        return err->rc;
    json_int(j, "txn_number", txn->txn_number);
    json_bool(j, "prepared", txn->prepared);
    json_ts(j, "committed", txn->committed);
    json_count(j, "operation", op->index);
    json_count(j, "operations", txn->count);
    json_object_end(j);
    return PITR_OK;
}

static void
put_uuid(struct json *j, const struct oplog_entry *e)
{
    char uuid[2 * UUID_LEN + 1];

    if (e == NULL || e->uuid == NULL) {
        json_null(j, "uuid");
        return;
    }
    hex_encode(uuid, e->uuid, UUID_LEN);
    json_text(j, "uuid", uuid);
}

static enum pitr_rc
hit_json(struct log_print *p, const struct search_hit *hit, struct pitr_err *err)
{
    const struct op *op = hit->op;
    const struct oplog_entry *e = op->e;
    struct json j = {.out = &p->out};

    json_object(&j, NULL);
    json_ts(&j, "ts", op->ts);
    json_time_ms(&j, "time", (int64_t)ts_secs(op->ts) * 1000);
    json_time_ms(&j, "wall", op->wall_ms);
    json_int(&j, "timeline", hit->timeline);
    json_text(&j, "kind", kind_name(hit->kind));
    json_text(&j, "ns", hit->ns[0] == '\0' ? NULL : hit->ns);
    put_uuid(&j, e);
    if (put_id(p, &j, &hit->id, err) != PITR_OK ||
        put_doc(p, &j, "o", e == NULL ? NULL : e->o, e == NULL ? 0 : e->o_len, err) != PITR_OK ||
        put_doc(p, &j, "o2", e == NULL ? NULL : e->o2, e == NULL ? 0 : e->o2_len, err) != PITR_OK ||
        put_txn(p, &j, op, err) != PITR_OK)
        return err->rc;
    json_ts(&j, "entry", op->logged);
    json_text(&j, "note", op->note);
    if (put_doc(p, &j, "raw", e == NULL ? op->raw : NULL, op->raw_len, err) != PITR_OK)
        return err->rc;
    json_object_end(&j);
    text_add(&p->out, "\n");
    return PITR_OK;
}

/* Out of the scratch buffer, which holds text that is safe to show. */
static void
add_scratch(struct log_print *p, const char *before, const char *after)
{
    if (p->json.len == 0)
        return;
    text_add(&p->out, "%s", before);
    text_bytes(&p->out, (const char *)p->json.data, p->json.len);
    text_add(&p->out, "%s", after);
    buf_clear(&p->json);
}

static void
txn_text(struct log_print *p, const struct op *op)
{
    const struct ops_txn *txn = op->txn;
    char when[TS_TEXT_LEN];

    if (txn == NULL)
        return;
    text_add(&p->out, "  (transaction, %" PRIu64 " of %" PRIu64, op->index, txn->count);
    if (txn->prepared) {
        ts_format(when, txn->committed);
        text_add(&p->out, ", prepared, committed by %s", when);
    }
    if (op->logged != op->ts) {
        ts_format(when, op->logged);
        text_add(&p->out, ", logged at %s", when);
    }
    text_add(&p->out, ")");
}

static enum pitr_rc
hit_text(struct log_print *p, const struct search_hit *hit, struct pitr_err *err)
{
    const struct op *op = hit->op;
    char when[CLOCK_TEXT_LEN], stamp[TS_TEXT_LEN];

    clock_format(when, ts_secs(op->ts));
    ts_format(stamp, op->ts);
    text_add(&p->out, "%s %s  %s", when, stamp, kind_name(hit->kind));
    if (extjson_write_chars(&p->json, hit->ns, strlen(hit->ns), err) != PITR_OK)
        return err->rc;
    add_scratch(p, "  ", "");
    if (hit->id.type != BSON_EOD && op_text_value(&p->json, &hit->id, err) != PITR_OK)
        return err->rc;
    add_scratch(p, "  _id: ", "");
    txn_text(p, op);
    text_add(&p->out, "\n");
    if (op->note != NULL &&
        extjson_write_chars(&p->json, op->note, strlen(op->note), err) != PITR_OK)
        return err->rc;
    add_scratch(p, "    ", "\n");
    if (op->e != NULL
            ? op_text(&p->json, op->e, err) != PITR_OK
            : op->raw != NULL && op_text_doc(&p->json, op->raw, op->raw_len, err) != PITR_OK)
        return err->rc;
    add_scratch(p, "    ", "\n");
    return PITR_OK;
}

static enum pitr_rc
print_hit(void *arg, const struct search_hit *hit, bool *stop, struct pitr_err *err)
{
    struct log_print *p = arg;
    size_t start = p->out.buf.len;
    char when[TS_TEXT_LEN];

    if ((p->app->is_json ? hit_json(p, hit, err) : hit_text(p, hit, err)) != PITR_OK) {
        p->out.buf.len = start;
        ts_format(when, hit->op->logged);
        return pitr_wrap(err, "oplog entry %s", when);
    }
    p->printed++;
    *stop = p->limit != 0 && p->printed >= p->limit;
    return flush_if_due(p, err);
}

static void
gap_text(struct text *out, const struct gap *g)
{
    char when[MOMENT_TEXT_LEN];

    text_add(out, "gap");
    if (g->after.ts != 0)
        text_add(out, "  after %s", format_moment(when, g->after.ts));
    if (g->before.ts != 0)
        text_add(out, "%s before %s", g->after.ts != 0 ? "," : " ",
                 format_moment(when, g->before.ts));
    text_add(out, ": %s\n", g->reason);
}

static enum pitr_rc
print_gap(void *arg, const struct gap *gap, struct pitr_err *err)
{
    struct log_print *p = arg;
    struct json j = {.out = &p->out};

    if (p->app->is_json) {
        json_object(&j, NULL);
        report_gap_json(&j, "gap", gap);
        json_object_end(&j);
        text_add(&p->out, "\n");
    } else {
        gap_text(&p->out, gap);
    }
    return flush_if_due(p, err);
}

static enum pitr_rc
print_unfinished(void *arg, uint32_t timeline, size_t n, struct pitr_err *err)
{
    struct log_print *p = arg;
    struct json j = {.out = &p->out};

    if (p->app->is_json) {
        json_object(&j, NULL);
        json_object(&j, "unfinished");
        json_int(&j, "timeline", timeline);
        json_count(&j, "transactions", n);
        json_object_end(&j);
        json_object_end(&j);
        text_add(&p->out, "\n");
    } else {
        text_add(&p->out,
                 "unfinished  %zu transaction(s) were prepared whose end is not captured; their "
                 "operations are not shown\n",
                 n);
    }
    return flush_if_due(p, err);
}

struct search_sink
log_print_sink(struct log_print *p)
{
    return (struct search_sink){
        .found = print_hit, .gap = print_gap, .unfinished = print_unfinished, .arg = p};
}
