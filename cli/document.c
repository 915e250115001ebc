#include "cli/document.h"

#include <string.h>

#include "engine/diff_fields.h"
#include "mongo/extjson_write.h"

/* Of one line: bytes of a value, and how many changes. */
enum { VALUE_BYTES = 60, CHANGES_MAX = 8, INDENT = 2 };

/* What writes into out->buf failed or not; a struct text remembers the first failure. */
static void
note(struct text *out, enum pitr_rc rc, const struct pitr_err *err)
{
    if (rc != PITR_OK && out->err.rc == PITR_OK)
        out->err = *err;
}

static void
write_doc(struct text *out, const uint8_t *doc, size_t len, enum extjson_form form)
{
    struct pitr_err err;

    if (out->err.rc == PITR_OK)
        note(out, extjson_write_doc(&out->buf, doc, len, form, 0, &err), &err);
}

static void
write_value(struct text *out, const struct belem *e, enum extjson_form form, size_t most)
{
    struct pitr_err err;
    size_t at = out->buf.len;

    if (out->err.rc == PITR_OK)
        note(out, extjson_write_value(&out->buf, e, form, most, &err), &err);
    if (most == 0 || out->err.rc != PITR_OK || out->buf.len - at <= most)
        return;
    /* Not inside of a character. */
    for (at += most; (out->buf.data[at] & 0xc0) == 0x80; at--)
        continue;
    out->buf.len = at;
    text_add(out, "...");
}

static bool
find_id(struct text *out, const uint8_t *doc, size_t len, struct belem *id)
{
    struct pitr_err err;
    bool found = false;

    note(out, bson_find(doc, len, "_id", &found, id, &err), &err);
    return found;
}

/* Member `key` with the JSON in `value`. */
static void
put(struct json *j, const char *key, const struct text *value)
{
    note(j->out, value->err.rc, &value->err);
    if (value->err.rc == PITR_OK)
        json_raw(j, key, (const char *)value->buf.data, value->buf.len);
}

void
document_json(struct json *j, const char *key, const uint8_t *doc, size_t len)
{
    PITR_AUTO(text_release) struct text value = {0};

    if (doc == NULL)
        return;
    write_doc(&value, doc, len, EXTJSON_CANONICAL);
    put(j, key, &value);
}

void
document_id_json(struct json *j, const uint8_t *doc, size_t len)
{
    PITR_AUTO(text_release) struct text value = {0};
    struct belem id;

    if (!find_id(j->out, doc, len, &id))
        return;
    write_value(&value, &id, EXTJSON_CANONICAL, 0);
    put(j, "id", &value);
}

/* JSON on one line, read byte by byte: strings are passed over, as the brackets in them are none.
 */
struct layout {
    struct text *out;
    unsigned indent;
    unsigned inlined; /* depth inside a typed value, 0: outside */
};

static void
break_line(struct layout *l)
{
    text_add(l->out, "\n%*s", (int)l->indent, "");
}

/* The string that begins at `at`, quotes included. */
static size_t
string_len(const char *at, const char *end)
{
    const char *s = at + 1;

    while (s < end && *s != '"')
        s += *s == '\\' ? 2 : 1;
    return (size_t)((s < end ? s + 1 : end) - at);
}

static bool
stays_inline(const char *at, const char *end)
{
    const char *next = at + 1;

    while (next < end && *next == ' ')
        next++;
    return next >= end || *next == '}' || *next == ']' ||
           (*at == '{' && end - next > 1 && next[0] == '"' && next[1] == '$');
}

static void
lay_out_bracket(struct layout *l, const char *at, const char *end)
{
    bool opens = *at == '{' || *at == '[';

    if (opens && (l->inlined > 0 || stays_inline(at, end)))
        l->inlined++;
    else if (opens)
        l->indent += INDENT;
    if (opens) {
        text_bytes(l->out, at, 1);
        if (l->inlined == 0)
            break_line(l);
        return;
    }
    if (l->inlined == 0) {
        l->indent -= INDENT;
        break_line(l);
    } else {
        l->inlined--;
    }
    text_bytes(l->out, at, 1);
}

static void
lay_out(struct text *out, const char *at, size_t len, unsigned indent)
{
    struct layout l = {.out = out, .indent = indent};
    const char *end = at + len;

    text_add(out, "%*s", (int)indent, "");
    while (at < end) {
        size_t n = *at == '"' ? string_len(at, end) : 1;

        if (strchr("{}[]", *at) != NULL) {
            lay_out_bracket(&l, at, end);
        } else if (*at == ',') {
            text_add(out, l.inlined > 0 ? ", " : ",");
            if (l.inlined == 0)
                break_line(&l);
        } else if (*at == ':') {
            text_add(out, ": ");
        } else if (*at != ' ') {
            text_bytes(out, at, n);
        }
        at += n;
    }
    text_add(out, "\n");
}

void
document_print(struct text *out, const uint8_t *doc, size_t len, unsigned indent)
{
    PITR_AUTO(text_release) struct text line = {0};

    write_doc(&line, doc, len, EXTJSON_RELAXED);
    note(out, line.err.rc, &line.err);
    if (line.err.rc == PITR_OK)
        lay_out(out, (const char *)line.buf.data, line.buf.len, indent);
}

void
document_print_id(struct text *out, const uint8_t *doc, size_t len)
{
    struct belem id;

    if (find_id(out, doc, len, &id))
        write_value(out, &id, EXTJSON_RELAXED, VALUE_BYTES);
}

struct changes {
    struct text *out;
    unsigned shown;
};

static bool
is_equal(const struct text *a, const struct text *b)
{
    return a->buf.len == b->buf.len &&
           (a->buf.len == 0 || memcmp(a->buf.data, b->buf.data, a->buf.len) == 0);
}

/* Values that read alike differ in their type, or behind the cut. */
static void
print_both(struct text *out, const struct belem *before, const struct belem *after)
{
    PITR_AUTO(text_release) struct text a = {0};
    PITR_AUTO(text_release) struct text b = {0};
    enum extjson_form form = EXTJSON_RELAXED;

    write_value(&a, before, form, VALUE_BYTES);
    write_value(&b, after, form, VALUE_BYTES);
    if (is_equal(&a, &b)) {
        form = EXTJSON_CANONICAL;
        buf_clear(&a.buf);
        buf_clear(&b.buf);
        write_value(&a, before, form, VALUE_BYTES);
        write_value(&b, after, form, VALUE_BYTES);
    }
    if (is_equal(&a, &b)) {
        text_add(&a, " (%zu bytes)", before->value_len);
        text_add(&b, " (%zu bytes)", after->value_len);
    }
    note(out, a.err.rc, &a.err);
    note(out, b.err.rc, &b.err);
    text_bytes(out, (const char *)a.buf.data, a.buf.len);
    text_add(out, " -> ");
    text_bytes(out, (const char *)b.buf.data, b.buf.len);
}

static enum pitr_rc
print_change(void *arg, const struct field_change *c, bool *stop, struct pitr_err *err)
{
    struct changes *all = arg;
    struct text *out = all->out;

    if (all->shown > 0)
        text_add(out, "; ");
    if (all->shown++ == CHANGES_MAX) {
        text_add(out, "and more");
        *stop = true;
        return PITR_OK;
    }
    if (text_check(out, err) != PITR_OK ||
        extjson_write_chars(&out->buf, c->path, strlen(c->path), err) != PITR_OK)
        return err->rc;
    text_add(out, c->before == NULL ? ": added " : c->after == NULL ? ": removed " : ": ");
    if (c->before != NULL && c->after != NULL)
        print_both(out, c->before, c->after);
    else
        write_value(out, c->before != NULL ? c->before : c->after, EXTJSON_RELAXED, VALUE_BYTES);
    return PITR_OK;
}

void
document_print_changes(struct text *out, const uint8_t *before, size_t before_len,
                       const uint8_t *after, size_t after_len)
{
    struct changes all = {.out = out};
    struct pitr_err err;

    note(out, diff_fields(before, before_len, after, after_len, print_change, &all, &err), &err);
    if (all.shown == 0)
        text_add(out, "the same fields in another order");
}
