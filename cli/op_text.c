#include "cli/op_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/text.h"
#include "mongo/extjson_write.h"

/* An update on its way to be a list of changes. */
struct rendering {
    struct buf *out;
    struct buf path; /* of the diff in hand */
    uint64_t changes;
    struct pitr_err *err;
};

static enum pitr_rc
add(struct buf *out, const char *text, struct pitr_err *err)
{
    return buf_append(out, text, strlen(text), err);
}

/* What was written from `start` on is longer than people read: keep its beginning, whole characters
 * only, and tell the size of the whole. */
static enum pitr_rc
cut(struct buf *out, size_t start, size_t bytes, struct pitr_err *err)
{
    char size[AMOUNT_LEN], text[AMOUNT_LEN + 16];
    size_t end = start + OP_TEXT_VALUE_MAX;

    if (out->len <= end)
        return PITR_OK;
    while (end > start && (out->data[end] & 0xc0) == 0x80)
        end--;
    out->len = end;
    snprintf(text, sizeof text, "... (%s)", format_bytes(size, bytes));
    return add(out, text, err);
}

enum pitr_rc
op_text_doc(struct buf *out, const uint8_t *doc, size_t len, struct pitr_err *err)
{
    size_t start = out->len;

    if (extjson_write_doc(out, doc, len, EXTJSON_RELAXED, OP_TEXT_VALUE_MAX + 1, err) != PITR_OK)
        return err->rc;
    return cut(out, start, len, err);
}

enum pitr_rc
op_text_value(struct buf *out, const struct belem *e, struct pitr_err *err)
{
    size_t start = out->len;

    if (extjson_write_value(out, e, EXTJSON_RELAXED, OP_TEXT_VALUE_MAX + 1, err) != PITR_OK)
        return err->rc;
    return cut(out, start, e->value_len, err);
}

/* Begin a change: what is done to the path so far and then to the field. Changes past the last that
 * is shown are only counted; then *shown is false. */
static enum pitr_rc
begin_change(struct rendering *r, const char *verb, bool *shown)
{
    *shown = ++r->changes <= OP_TEXT_CHANGES_MAX;
    if (!*shown)
        return PITR_OK;
    if ((r->changes > 1 && add(r->out, ", ", r->err) != PITR_OK) ||
        add(r->out, verb, r->err) != PITR_OK)
        return r->err->rc;
    return buf_append(r->out, r->path.data, r->path.len, r->err);
}

/* A field's name as a step of a path; in quotes where it could be taken for more than one step. */
static enum pitr_rc
add_name(struct buf *out, const char *name, size_t len, struct pitr_err *err)
{
    const char *quote = "";

    if (len == 0 || strpbrk(name, ".[]\"\\, =") != NULL)
        quote = "\"";
    if (add(out, quote, err) != PITR_OK || extjson_write_chars(out, name, len, err) != PITR_OK)
        return err->rc;
    return add(out, quote, err);
}

static enum pitr_rc
add_step(struct buf *out, bool is_first, const char *name, size_t len, struct pitr_err *err)
{
    if (!is_first && add(out, ".", err) != PITR_OK)
        return err->rc;
    return add_name(out, name, len, err);
}

/* One field of section d, u, i or b. */
static enum pitr_rc
render_field(struct rendering *r, char section, const struct belem *e)
{
    const char *verb = section == 'd' ? "unset " : section == 'i' ? "add " : "set ";
    bool shown;

    if (begin_change(r, section == 'b' ? "patch " : verb, &shown) != PITR_OK)
        return r->err->rc;
    if (!shown)
        return PITR_OK;
    if (add_step(r->out, r->path.len == 0, e->name, e->name_len, r->err) != PITR_OK)
        return r->err->rc;
    if (section == 'd')
        return PITR_OK;
    if (add(r->out, " = ", r->err) != PITR_OK)
        return r->err->rc;
    return op_text_value(r->out, e, r->err);
}

static enum pitr_rc
render_section(struct rendering *r, const struct belem *section)
{
    struct biter it;
    struct belem e;

    if (section->type != BSON_DOC)
        return PITR_OK;
    if (biter_init(&it, section->value, section->value_len, r->err) != PITR_OK)
        return r->err->rc;
    for (;;) {
        if (biter_next(&it, &e, r->err) != PITR_OK)
            return r->err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (render_field(r, section->name[0], &e) != PITR_OK)
            return r->err->rc;
    }
}

static enum pitr_rc render_diff(struct rendering *r, const uint8_t *diff, size_t len, int depth);

/* "sNAME": go on one step further down, and come back. */
static enum pitr_rc
render_sub(struct rendering *r, const struct belem *e, bool in_array, int depth)
{
    size_t was = r->path.len;

    if (e->type != BSON_DOC)
        return PITR_OK;
    if (in_array) {
        if (add(&r->path, "[", r->err) != PITR_OK ||
            extjson_write_chars(&r->path, e->name + 1, e->name_len - 1, r->err) != PITR_OK ||
            add(&r->path, "]", r->err) != PITR_OK)
            return r->err->rc;
    } else if (add_step(&r->path, was == 0, e->name + 1, e->name_len - 1, r->err) != PITR_OK) {
        return r->err->rc;
    }
    if (render_diff(r, e->value, e->value_len, depth + 1) != PITR_OK)
        return r->err->rc;
    r->path.len = was;
    return PITR_OK;
}

/* "uN" or "l" of an array's diff. */
static enum pitr_rc
render_element(struct rendering *r, const struct belem *e)
{
    bool is_length = belem_is(e, "l"), shown;

    if (begin_change(r, is_length ? "resize " : "set ", &shown) != PITR_OK)
        return r->err->rc;
    if (!shown)
        return PITR_OK;
    if (is_length) {
        if (add(r->out, " to ", r->err) != PITR_OK)
            return r->err->rc;
    } else if (add(r->out, "[", r->err) != PITR_OK ||
               extjson_write_chars(r->out, e->name + 1, e->name_len - 1, r->err) != PITR_OK ||
               add(r->out, "] = ", r->err) != PITR_OK) {
        return r->err->rc;
    }
    return op_text_value(r->out, e, r->err);
}

/* Recursion is bounded by the nesting BSON may have. */
static enum pitr_rc
render_diff(struct rendering *r, const uint8_t *diff, size_t len, int depth)
{
    bool is_first = true, in_array = false;
    enum pitr_rc rc = PITR_OK;
    struct biter it;
    struct belem e;

    if (depth > BSON_MAX_DEPTH)
        return pitr_fail(r->err, PITR_CORRUPT, "delta nested too deeply");
    if (biter_init(&it, diff, len, r->err) != PITR_OK)
        return r->err->rc;
    for (; rc == PITR_OK; is_first = false) {
        if (biter_next(&it, &e, r->err) != PITR_OK)
            return r->err->rc;
        if (e.type == BSON_EOD)
            break;
        if (is_first && belem_is(&e, "a"))
            in_array = true;
        else if (e.name[0] == 's')
            rc = render_sub(r, &e, in_array, depth);
        else if (in_array)
            rc = render_element(r, &e);
        else if (strlen(e.name) == 1)
            rc = render_section(r, &e);
    }
    return rc;
}

/* $set and $unset of $v 1; their paths are written with dots already. */
static enum pitr_rc
render_modifiers(struct rendering *r, const struct belem *section)
{
    bool is_unset = belem_is(section, "$unset"), shown;
    struct biter it;
    struct belem e;

    if (biter_init(&it, section->value, section->value_len, r->err) != PITR_OK)
        return r->err->rc;
    for (;;) {
        if (biter_next(&it, &e, r->err) != PITR_OK)
            return r->err->rc;
        if (e.type == BSON_EOD)
            return PITR_OK;
        if (begin_change(r, is_unset ? "unset " : "set ", &shown) != PITR_OK)
            return r->err->rc;
        if (!shown)
            continue;
        if (extjson_write_chars(r->out, e.name, e.name_len, r->err) != PITR_OK)
            return r->err->rc;
        if (is_unset)
            continue;
        if (add(r->out, " = ", r->err) != PITR_OK || op_text_value(r->out, &e, r->err) != PITR_OK)
            return r->err->rc;
    }
}

/* *known false: neither a delta nor modifiers, and no replacement: nothing this version knows. */
static enum pitr_rc
render_update(struct rendering *r, const struct oplog_entry *e, bool *known)
{
    struct belem id, version, diff, section;
    bool has_id, has_version, has_diff;
    struct biter it;
    int64_t v = 1;

    *known = false;
    if (bson_find(e->o, e->o_len, "_id", &has_id, &id, r->err) != PITR_OK ||
        bson_find(e->o, e->o_len, "$v", &has_version, &version, r->err) != PITR_OK ||
        bson_find(e->o, e->o_len, "diff", &has_diff, &diff, r->err) != PITR_OK)
        return r->err->rc;
    if (has_id) {
        *known = true;
        r->changes++;
        if (add(r->out, "replaced by ", r->err) != PITR_OK)
            return r->err->rc;
        return op_text_doc(r->out, e->o, e->o_len, r->err);
    }
    if (has_version && !belem_int64(&version, &v))
        return PITR_OK;
    if (v == 2 && has_diff && diff.type == BSON_DOC) {
        *known = true;
        return render_diff(r, diff.value, diff.value_len, 0);
    }
    if (v != 1)
        return PITR_OK;
    if (biter_init(&it, e->o, e->o_len, r->err) != PITR_OK)
        return r->err->rc;
    for (;;) {
        if (biter_next(&it, &section, r->err) != PITR_OK)
            return r->err->rc;
        if (section.type == BSON_EOD)
            return PITR_OK;
        if (section.type != BSON_DOC ||
            (!belem_is(&section, "$set") && !belem_is(&section, "$unset")))
            continue;
        *known = true;
        if (render_modifiers(r, &section) != PITR_OK)
            return r->err->rc;
    }
}

static enum pitr_rc
update_text(struct buf *out, const struct oplog_entry *e, struct pitr_err *err)
{
    struct rendering r = {.out = out, .err = err};
    char more[48];
    bool known;
    enum pitr_rc rc = render_update(&r, e, &known);

    buf_release(&r.path);
    if (rc != PITR_OK)
        return rc;
    if (!known)
        return op_text_doc(out, e->o, e->o_len, err);
    if (r.changes == 0)
        return add(out, "nothing changed", err);
    if (r.changes <= OP_TEXT_CHANGES_MAX)
        return PITR_OK;
    snprintf(more, sizeof more, ", and %" PRIu64 " more", r.changes - OP_TEXT_CHANGES_MAX);
    return add(out, more, err);
}

enum pitr_rc
op_text(struct buf *out, const struct oplog_entry *e, struct pitr_err *err)
{
    if (e->op == 'd' || e->o == NULL)
        return PITR_OK;
    return e->op == 'u' ? update_text(out, e, err) : op_text_doc(out, e->o, e->o_len, err);
}
