#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "oplog/update_diff.h"

/*
 * Both diffs are read into lists, and each field that both change gets the one change that does
 * what the two do. Fields do not influence each other but for the order of those that are appended:
 * strict replay appends only what is in `i`, so the `i` of the result has first those of `a` that
 * `b` does not move, then those of `b`.
 *
 *   a \ b |  d     u            i     b                  s
 *   ------+------------------------------------------------------------
 *     d   |  d     -            i     -                  -
 *     u   |  d     u            i     u (b applied)      u (s applied)
 *     i   |  d     i (b's)      i     i (b applied)      i (s applied)
 *     b   |  d     u            i     b (both joined)    -
 *     s   |  d     u            i     -                  s (both composed)
 *
 * What strict replay cannot meet (-) is not composed. A `d` stays where `i` came before it: the
 * document may have had the field, as `i` moves those that exist.
 *
 * When composing turns out to be impossible, writing goes on to the end of the diffs, so that a
 * malformed one is found; the caller throws the result away.
 */

/* An array that was cut and then grows has nulls between, which the result must write out one by
 * one. A server writes out what it appends, so there are few; a hostile length asks for any number
 * of them. */
enum { MAX_NULLS = 1000 };

struct composer {
    struct update_job *job;
    bool possible;
};

static enum pitr_rc compose_docs(struct composer *c, const struct belem *a, const struct belem *b,
                                 int depth, struct pitr_err *err);
static enum pitr_rc compose_arrays(struct composer *c, const struct belem *a, const struct belem *b,
                                   int depth, struct pitr_err *err);

static enum pitr_rc
give_up(struct composer *c)
{
    c->possible = false;
    return PITR_OK;
}

/* Write the sub-diff that does what sub-diffs `a` and then `b` do, under the name of `a`. */
static enum pitr_rc
compose_subs(struct composer *c, const struct belem *a, const struct belem *b, int depth,
             struct pitr_err *err)
{
    bool is_array = diff_is_array(a);
    size_t mark;

    if (depth > BSON_MAX_DEPTH || is_array != diff_is_array(b))
        return give_up(c);
    if (update_put_head(c->job, BSON_DOC, a->name, a->name_len, err) != PITR_OK ||
        update_begin_doc(c->job, &mark, err) != PITR_OK)
        return err->rc;
    if ((is_array ? compose_arrays(c, a, b, depth, err) : compose_docs(c, a, b, depth, err)) !=
        PITR_OK)
        return err->rc;
    return update_end_doc(c->job, mark, err);
}

static enum pitr_rc
put_int(struct update_job *job, const char *name, uint32_t value, struct pitr_err *err)
{
    if (update_put_head(job, BSON_INT, name, strlen(name), err) != PITR_OK)
        return err->rc;
    return buf_append_le32(job->out, value, err);
}

/* The bytes that `a` puts after its offset end where `b` cuts; what `b` cuts away further back was
 * not put by `a` at all. */
static enum pitr_rc
compose_binaries(struct composer *c, const struct belem *a, const struct belem *b,
                 struct pitr_err *err)
{
    const size_t head_len = 5; /* of a binary value: length and subtype */
    struct belem put, then;
    uint32_t at, cut;
    size_t mark, kept;

    if (binary_diff_parse(a, &at, &put, err) != PITR_OK ||
        binary_diff_parse(b, &cut, &then, err) != PITR_OK)
        return err->rc;
    kept = cut > at ? cut - at : 0;
    if (kept > put.value_len - head_len)
        return give_up(c);
    if (update_put_head(c->job, BSON_DOC, a->name, a->name_len, err) != PITR_OK ||
        update_begin_doc(c->job, &mark, err) != PITR_OK ||
        put_int(c->job, "o", cut < at ? cut : at, err) != PITR_OK ||
        update_put_head(c->job, BSON_BIN, "d", 1, err) != PITR_OK ||
        buf_append_le32(c->job->out, (uint32_t)(kept + then.value_len - head_len), err) !=
            PITR_OK ||
        buf_append_u8(c->job->out, put.value[4], err) != PITR_OK ||
        update_copy(c->job, put.value + head_len, put.value + head_len + kept, err) != PITR_OK ||
        update_copy(c->job, then.value + head_len, then.end, err) != PITR_OK)
        return err->rc;
    return update_end_doc(c->job, mark, err);
}

/* Whether strict replay can meet the two in a row. */
static bool
can_follow(enum field_change a, enum field_change b)
{
    switch (a) {
    case CHANGE_DELETE:
        return b == CHANGE_DELETE || b == CHANGE_INSERT;
    case CHANGE_UPDATE:
    case CHANGE_INSERT:
        return true;
    case CHANGE_BINARY:
        return b != CHANGE_SUB;
    case CHANGE_SUB:
        return b != CHANGE_BINARY;
    }
    return false;
}

/* What a field of `a` becomes, in the place it has in `a`. */
static enum field_change
outcome(const struct diff_field *a)
{
    const struct diff_field *b = a->peer;

    if (b == NULL)
        return a->change;
    if (b->change == CHANGE_DELETE)
        return CHANGE_DELETE;
    if (b->change == CHANGE_UPDATE && a->change != CHANGE_INSERT)
        return CHANGE_UPDATE;
    return a->change;
}

static enum pitr_rc
copy_field(struct composer *c, const struct diff_field *f, int depth, struct pitr_err *err)
{
    if (f->change == CHANGE_SUB && update_check_diff(c->job, &f->e, depth + 1, err) != PITR_OK)
        return err->rc;
    return update_copy(c->job, f->e.start, f->e.end, err);
}

static enum pitr_rc
compose_field(struct composer *c, const struct diff_field *a, int depth, struct pitr_err *err)
{
    const struct diff_field *b = a->peer;

    if (b == NULL)
        return copy_field(c, a, depth, err);
    switch (b->change) {
    case CHANGE_BINARY:
        return a->change == CHANGE_BINARY ? compose_binaries(c, &a->e, &b->e, err)
                                          : update_binary_diff(c->job, &a->e, &b->e, err);
    case CHANGE_SUB:
        if (a->change == CHANGE_SUB)
            return compose_subs(c, &a->e, &b->e, depth + 1, err);
        return update_sub_diff(c->job, a->name, a->name_len, &a->e, &b->e, depth + 1, err);
    default:
        return copy_field(c, b, depth, err);
    }
}

/* A section that is open once it has a field. Sub-diffs stand alone, without one. */
struct section {
    enum field_change change;
    size_t mark;
    bool open;
};

static enum pitr_rc
section_open(struct composer *c, struct section *s, struct pitr_err *err)
{
    static const char *const names[] = {
        [CHANGE_DELETE] = "d", [CHANGE_UPDATE] = "u", [CHANGE_INSERT] = "i", [CHANGE_BINARY] = "b"};

    if (s->open || s->change == CHANGE_SUB)
        return PITR_OK;
    s->open = true;
    if (update_put_head(c->job, BSON_DOC, names[s->change], 1, err) != PITR_OK)
        return err->rc;
    return update_begin_doc(c->job, &s->mark, err);
}

static enum pitr_rc
compose_section(struct composer *c, const struct diff_fields *a, const struct diff_fields *b,
                enum field_change change, int depth, struct pitr_err *err)
{
    struct section s = {.change = change};

    for (size_t i = 0; i < a->n; i++) {
        const struct diff_field *f = &a->all[i];

        if (outcome(f) != change || (f->peer != NULL && f->peer->change == CHANGE_INSERT))
            continue;
        if (section_open(c, &s, err) != PITR_OK || compose_field(c, f, depth, err) != PITR_OK)
            return err->rc;
    }
    for (size_t i = 0; i < b->n; i++) {
        const struct diff_field *f = &b->all[i];

        if (f->change != change || (f->peer != NULL && change != CHANGE_INSERT))
            continue;
        if (section_open(c, &s, err) != PITR_OK || copy_field(c, f, depth, err) != PITR_OK)
            return err->rc;
    }
    return s.open ? update_end_doc(c->job, s.mark, err) : PITR_OK;
}

/* Let the changes of one field find each other. A sub-diff that nothing is left of is still read,
 * so that a malformed one is found. */
static enum pitr_rc
pair_fields(struct composer *c, struct diff_fields *a, struct diff_fields *b, int depth,
            struct pitr_err *err)
{
    for (size_t i = 0; i < b->n; i++) {
        struct diff_field *then = &b->all[i];
        struct diff_field *first = diff_fields_find(a, then->name, then->name_len);

        if (first == NULL)
            continue;
        first->peer = then;
        then->peer = first;
        if (!can_follow(first->change, then->change))
            c->possible = false;
        if (first->change == CHANGE_SUB && then->change != CHANGE_SUB &&
            update_check_diff(c->job, &first->e, depth + 1, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

/* Write the sections of the diff that does what document diffs `a` and then `b` do. */
static enum pitr_rc
compose_docs(struct composer *c, const struct belem *a, const struct belem *b, int depth,
             struct pitr_err *err)
{
    PITR_AUTO(diff_fields_release) struct diff_fields first, then;
    size_t mark = c->job->out->len;

    diff_fields_init(&first);
    diff_fields_init(&then);
    if (diff_fields_read(&first, a, err) != PITR_OK || diff_fields_read(&then, b, err) != PITR_OK ||
        pair_fields(c, &first, &then, depth, err) != PITR_OK)
        return err->rc;
    /* Where the _id goes, and which of its bytes, does not follow the rules of other fields. */
    if (depth == 0 &&
        (diff_fields_find(&first, "_id", 3) != NULL || diff_fields_find(&then, "_id", 3) != NULL))
        c->possible = false;
    for (enum field_change change = CHANGE_DELETE; change <= CHANGE_SUB; change++) {
        if (compose_section(c, &first, &then, change, depth, err) != PITR_OK)
            return err->rc;
    }
    /* Sections without fields are no mistake, a diff without sections is one. */
    return c->job->out->len == mark ? give_up(c) : PITR_OK;
}

struct array_side {
    struct array_change at;
    bool resized;
    uint64_t limit; /* the length it makes; not resized: a bound of its indexes */
};

struct array_pair {
    struct array_side a, b;
    uint64_t next; /* `a` resizes: the result says what is from a.limit up to here */
    int depth;
};

static enum pitr_rc
side_first(struct array_side *s, const struct belem *diff, struct pitr_err *err)
{
    return array_change_first(&s->at, diff, &s->resized, &s->limit, err);
}

static enum pitr_rc
side_next(struct array_side *s, struct pitr_err *err)
{
    return array_change_next(&s->at, false, s->limit, err);
}

static bool
side_at_end(const struct array_side *s)
{
    return s->at.e.type == BSON_EOD;
}

/* Say that the elements up to `index` are null: `a` cut the array, and `b` made it grow. */
static enum pitr_rc
put_nulls(struct composer *c, struct array_pair *p, uint64_t index, struct pitr_err *err)
{
    char name[24];

    if (index > p->next && index - p->next > MAX_NULLS)
        return give_up(c);
    for (; p->next < index; p->next++) {
        int len = snprintf(name, sizeof name, "u%llu", (unsigned long long)p->next);

        if (update_put_head(c->job, BSON_NIL, name, (size_t)len, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
check_change(struct composer *c, const struct array_pair *p, const struct array_change *at,
             struct pitr_err *err)
{
    return at->is_sub ? update_check_diff(c->job, &at->e, p->depth + 1, err) : PITR_OK;
}

static enum pitr_rc
copy_change(struct composer *c, const struct array_pair *p, const struct array_change *at,
            struct pitr_err *err)
{
    if (check_change(c, p, at, err) != PITR_OK)
        return err->rc;
    return update_copy(c->job, at->e.start, at->e.end, err);
}

/* An element that only `a` changes. */
static enum pitr_rc
change_of_a(struct composer *c, struct array_pair *p, struct pitr_err *err)
{
    if (p->b.resized && p->a.at.index >= p->b.limit)
        return check_change(c, p, &p->a.at, err);
    return copy_change(c, p, &p->a.at, err);
}

/* An element that only `b` changes. Beyond the end that `a` made a sub-diff finds nothing, which
 * gives a null. */
static enum pitr_rc
change_of_b(struct composer *c, struct array_pair *p, struct pitr_err *err)
{
    const struct array_change *at = &p->b.at;

    if (!p->a.resized || at->index < p->a.limit)
        return copy_change(c, p, at, err);
    if (at->is_sub) {
        if (check_change(c, p, at, err) != PITR_OK)
            return err->rc;
        return put_nulls(c, p, (uint64_t)at->index + 1, err);
    }
    if (put_nulls(c, p, at->index, err) != PITR_OK)
        return err->rc;
    p->next = (uint64_t)at->index + 1;
    return copy_change(c, p, at, err);
}

static enum pitr_rc
change_of_both(struct composer *c, struct array_pair *p, struct pitr_err *err)
{
    const struct array_change *a = &p->a.at, *b = &p->b.at;

    if (!b->is_sub) {
        if (check_change(c, p, a, err) != PITR_OK)
            return err->rc;
        return copy_change(c, p, b, err);
    }
    if (a->is_sub)
        return compose_subs(c, &a->e, &b->e, p->depth + 1, err);
    return update_sub_diff(c->job, a->e.name, a->e.name_len, &a->e, &b->e, p->depth + 1, err);
}

static enum pitr_rc
merge_changes(struct composer *c, struct array_pair *p, struct pitr_err *err)
{
    while (!side_at_end(&p->a) || !side_at_end(&p->b)) {
        bool of_a = !side_at_end(&p->a), of_b = !side_at_end(&p->b);

        if (of_a && of_b && p->a.at.index != p->b.at.index) {
            of_a = p->a.at.index < p->b.at.index;
            of_b = !of_a;
        }
        if ((of_a && of_b ? change_of_both(c, p, err)
             : of_a       ? change_of_a(c, p, err)
                          : change_of_b(c, p, err)) != PITR_OK)
            return err->rc;
        if ((of_a && side_next(&p->a, err) != PITR_OK) ||
            (of_b && side_next(&p->b, err) != PITR_OK))
            return err->rc;
    }
    return PITR_OK;
}

/* Write the elements of the diff that does what array diffs `a` and then `b` do. */
static enum pitr_rc
compose_arrays(struct composer *c, const struct belem *a, const struct belem *b, int depth,
               struct pitr_err *err)
{
    struct array_pair p = {.depth = depth};
    struct buf *out = c->job->out;
    uint64_t length;
    size_t mark;

    if (side_first(&p.a, a, err) != PITR_OK || side_first(&p.b, b, err) != PITR_OK ||
        update_put_head(c->job, BSON_BOOLEAN, "a", 1, err) != PITR_OK ||
        buf_append_u8(out, 1, err) != PITR_OK)
        return err->rc;
    if ((p.a.resized || p.b.resized) && put_int(c->job, "l", 0, err) != PITR_OK)
        return err->rc;
    mark = out->len - 4;
    p.next = p.a.limit;
    if (merge_changes(c, &p, err) != PITR_OK)
        return err->rc;
    if (!p.a.resized && !p.b.resized)
        return PITR_OK;
    length = p.b.resized ? p.b.limit : p.next;
    if (length > INT32_MAX)
        return give_up(c);
    put_le32(out->data + mark, (uint32_t)length);
    return p.a.resized ? put_nulls(c, &p, length, err) : PITR_OK;
}

enum pitr_rc
update_compose_deltas(struct update_job *job, const struct belem *a, const struct belem *b,
                      bool *possible, struct pitr_err *err)
{
    struct composer c = {.job = job, .possible = true};
    size_t outer, inner;

    if (update_begin_doc(job, &outer, err) != PITR_OK || put_int(job, "$v", 2, err) != PITR_OK ||
        update_put_head(job, BSON_DOC, "diff", 4, err) != PITR_OK ||
        update_begin_doc(job, &inner, err) != PITR_OK ||
        compose_docs(&c, a, b, 0, err) != PITR_OK || update_end_doc(job, inner, err) != PITR_OK)
        return err->rc;
    *possible = c.possible;
    return update_end_doc(job, outer, err);
}
