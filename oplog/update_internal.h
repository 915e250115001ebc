/*
 * update_internal.h - what the kinds of update share: the job and the writing of its result.
 *
 * A result is written front to back into job->out, sub-documents included: update_begin_doc()
 * leaves room for a length that update_end_doc() fills in. Elements that stay as they are should be
 * copied in runs with update_copy().
 *
 * The top level of the result already starts with the old document's _id when a kind gets to work.
 * Every other top-level _id that it writes must be handed to update_pin_id().
 */
#ifndef PITR_OPLOG_UPDATE_INTERNAL_H
#define PITR_OPLOG_UPDATE_INTERNAL_H

#include "mongo/bsonio.h"
#include "oplog/update.h"

/*
 * A result above this is CORRUPT. It is four times what the server stores, because a fuzzy window
 * may mix the fields of several states, and it keeps a damaged array index from filling the memory.
 */
#define UPDATE_MAX_RESULT ((size_t)64 << 20)

struct update_job {
    struct buf *out;
    size_t base;     /* where the result starts in out */
    struct belem id; /* the first top-level _id of the old document */
    size_t id_len;   /* of the _id element at the start of the result */
    enum update_field_order order;
    bool strict;
};

/* The key of an array element: the decimal digits of an index, counted up in place. */
struct array_key {
    char text[12];
    size_t len;
};

void array_key_init(struct array_key *k);
void array_key_next(struct array_key *k);

/* An array index as the server reads one: digits only, leading zeros allowed, at most UINT32_MAX.
 * False for anything else. */
bool array_index_parse(const char *text, size_t len, uint32_t *index);

/* Start a document or array in job->out; *mark is for update_end_doc(). Fails: NOMEM. */
PITR_MUST enum pitr_rc update_begin_doc(struct update_job *job, size_t *mark, struct pitr_err *err);

/* Close it. Fails: NOMEM; CORRUPT if the result is too large. */
PITR_MUST enum pitr_rc update_end_doc(struct update_job *job, size_t mark, struct pitr_err *err);

/* Type byte and name of an element whose value follows. Fails: NOMEM. */
PITR_MUST enum pitr_rc update_put_head(struct update_job *job, uint8_t type, const char *name,
                                       size_t name_len, struct pitr_err *err);

/* An element of this name with the type and value of `e`. Fails: NOMEM. */
PITR_MUST enum pitr_rc update_put_elem(struct update_job *job, const char *name, size_t name_len,
                                       const struct belem *e, struct pitr_err *err);

/* Copy the bytes [from, to). Fails: NOMEM. */
PITR_MUST enum pitr_rc update_copy(struct update_job *job, const uint8_t *from, const uint8_t *to,
                                   struct pitr_err *err);

/* Append nulls to an array until its next index is `index`; *next and *key move along.
 * Fails: NOMEM; CORRUPT if the result is too large. */
PITR_MUST enum pitr_rc update_pad(struct update_job *job, struct array_key *key, uint32_t *next,
                                  uint32_t index, struct pitr_err *err);

/* Write the old document's _id, as the first element of the result. Fails: NOMEM. */
PITR_MUST enum pitr_rc update_put_id(struct update_job *job, struct pitr_err *err);

/* If an _id was written at out offset `mark`, move it to the front of the result, in place of the
 * _id that is there: the value is the same, its number type may differ. Fails: CORRUPT if it is
 * another value than the old document's; NOMEM. */
PITR_MUST enum pitr_rc update_pin_id(struct update_job *job, size_t mark, struct pitr_err *err);

/* Write the fields of the old document pre[0..len) as changed by the delta `diff` (the element
 * o.diff), in the open top-level document. Fails: CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc update_delta(struct update_job *job, const uint8_t *pre, size_t len,
                                    const struct belem *diff, struct pitr_err *err);

/* Write element `name` as the sub-diff, at `depth` of its delta, makes it of `old` (NULL: an index
 * beyond the array). Fails: CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc update_sub_diff(struct update_job *job, const char *name, size_t name_len,
                                       const struct belem *old, const struct belem *diff, int depth,
                                       struct pitr_err *err);

/* Write the element `old` as the binary diff makes it: the old bytes up to the offset, then the new
 * ones; what follows in the old value is gone. Fails: CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc update_binary_diff(struct update_job *job, const struct belem *old,
                                          const struct belem *diff, struct pitr_err *err);

/* Read a sub-diff to its ends, writing nothing. Fails: CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc update_check_diff(struct update_job *job, const struct belem *diff,
                                         int depth, struct pitr_err *err);

/* The same for the element o.diff. */
PITR_MUST enum pitr_rc update_check_doc_diff(struct update_job *job, const struct belem *diff,
                                             struct pitr_err *err);

/* Append to job->out the delta (a whole `o`) that does what the deltas with the diffs `a` and then
 * `b` (elements o.diff) do. If *possible is false, what was appended is worth nothing.
 * Fails: CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc update_compose_deltas(struct update_job *job, const struct belem *a,
                                             const struct belem *b, bool *possible,
                                             struct pitr_err *err);

/* As update_delta() for the $set and $unset sections of the modifiers o[0..o_len). Fails: CORRUPT,
 * NOMEM. */
PITR_MUST enum pitr_rc update_modifiers(struct update_job *job, const uint8_t *pre, size_t len,
                                        const uint8_t *o, size_t o_len, struct pitr_err *err);

#endif
