/*
 * diff_internal.h - shared by diff.c (the story), diff_docs.c (documents) and diff_catalog.c
 * (options, indexes, views).
 */
#ifndef PITR_ENGINE_DIFF_INTERNAL_H
#define PITR_ENGINE_DIFF_INTERNAL_H

#include "engine/diff.h"
#include "engine/state.h"

struct diff {
    const struct diff_opts *o;
    struct state from, to;
    struct spill *spill; /* of temporary tables */
    struct diff_result *result;
    bool has_match; /* something that is selected was there at one of the moments */
    bool is_over;   /* the limit is reached: what failed with ABORTED did not fail */
};

/* One collection at both moments; either is NULL where it is not there. */
struct diff_pair {
    const struct state_coll *from, *to;
};

/* The same by UUID, whatever its name is. Where collections have no UUID, none is. */
bool diff_is_same_coll(const struct state_coll *a, const struct state_coll *b);

/* Hand one difference to the sink, or end the run at the limit. */
PITR_MUST enum pitr_rc diff_tell(struct diff *d, const struct diff_item *item,
                                 struct pitr_err *err);

/* One document that differs; one of them is NULL where it is not there. */
typedef enum pitr_rc diff_visit(void *arg, const uint8_t *before, size_t before_len,
                                const uint8_t *after, size_t after_len, struct pitr_err *err);
/* Every document of the pair that differs, each once. */
PITR_MUST enum pitr_rc diff_documents(struct diff *d, const struct diff_pair *p, diff_visit *visit,
                                      void *arg, struct pitr_err *err);

/* Options and indexes of a collection that is there at both moments. */
PITR_MUST enum pitr_rc diff_catalog(struct diff *d, const struct diff_pair *p,
                                    struct pitr_err *err);
/* Views that are selected, out of the system.views of one database. */
PITR_MUST enum pitr_rc diff_views(struct diff *d, const struct diff_pair *p, struct pitr_err *err);

#endif
