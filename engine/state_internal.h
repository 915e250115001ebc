/*
 * state_internal.h - shared by state.c (streams) and state_load.c (where collections come from).
 */
#ifndef PITR_ENGINE_STATE_INTERNAL_H
#define PITR_ENGINE_STATE_INTERNAL_H

#include "engine/state.h"

/* Take the collection db.name if it is selected; *out NULL if not. The pointer is valid until the
 * next call. */
PITR_MUST enum pitr_rc state_add(struct state *s, const struct selection *sel, const char *db,
                                 const char *name, const struct buf *options,
                                 const struct buf *indexes, struct state_coll **out,
                                 struct pitr_err *err);
void state_coll_release(struct state_coll *c);
/* Order by target name. Fails: USAGE when two would share one. */
PITR_MUST enum pitr_rc state_sort(struct state *s, struct pitr_err *err);

#endif
