/*
 * update_diff.h - reading the diffs of a delta ($v: 2), for those who apply and those who compose.
 *
 * The grammar is that of docs/oplog.md. What these functions accept is well-formed at its level;
 * sub-diffs are elements to be read in turn. Pointers go into the diff.
 */
#ifndef PITR_OPLOG_UPDATE_DIFF_H
#define PITR_OPLOG_UPDATE_DIFF_H

#include "oplog/update_internal.h"

/* In the order of their sections. */
enum field_change { CHANGE_DELETE, CHANGE_UPDATE, CHANGE_INSERT, CHANGE_BINARY, CHANGE_SUB };

/* Most diffs name a few fields; those need no allocation, and no order to be searched. */
enum { FEW_FIELDS = 8 };

struct diff_field {
    const char *name;
    size_t name_len;
    enum field_change change;
    bool met;                /* while applying: the old document has it */
    struct diff_field *peer; /* while composing: the other diff's change of the field, or NULL */
    struct belem e;          /* the new value, or the diff of it */
};

/* A document diff. */
struct diff_fields {
    struct diff_field few[FEW_FIELDS];
    struct diff_field *all; /* in diff order: `few`, or owned */
    size_t n;
    struct diff_field **by_name; /* owned; NULL while `few` is enough */
};

void diff_fields_init(struct diff_fields *f);
void diff_fields_release(struct diff_fields *f);

/* Read a document diff into *f, which was initialised. Fails: CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc diff_fields_read(struct diff_fields *f, const struct belem *diff,
                                        struct pitr_err *err);

/* NULL if the diff does not name it. */
struct diff_field *diff_fields_find(const struct diff_fields *f, const char *name, size_t name_len);

/* The parts of a binary diff: how many of the old bytes stay, and those that follow them.
 * Fails: CORRUPT. */
PITR_MUST enum pitr_rc binary_diff_parse(const struct belem *e, uint32_t *offset,
                                         struct belem *bytes, struct pitr_err *err);

/* True if the first field of a sub-diff is `a`: it describes an array. */
bool diff_is_array(const struct belem *diff);

/* A position in an array diff; type BSON_EOD after its last change. */
struct array_change {
    struct biter it;
    struct belem e;
    bool is_sub;
    uint32_t index;
};

/* Read the head of an array diff and step to its first change. *limit: the exact new length if
 * *resized, otherwise an upper bound. Fails: CORRUPT. */
PITR_MUST enum pitr_rc array_change_first(struct array_change *c, const struct belem *diff,
                                          bool *resized, uint64_t *limit, struct pitr_err *err);

/* Step to the next change; indexes ascend and stay below `limit`. Fails: CORRUPT. */
PITR_MUST enum pitr_rc array_change_next(struct array_change *c, bool first, uint64_t limit,
                                         struct pitr_err *err);

#endif
