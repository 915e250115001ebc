/*
 * selection.h - which namespaces a restore takes, what they are called on the target, and which of
 * the target's own namespaces it may drop. Pure.
 *
 * With renames and no include pattern, only what a rename names is taken: a renamed restore is a
 * side copy and must not collide with the rest.
 */
#ifndef PITR_ENGINE_SELECTION_H
#define PITR_ENGINE_SELECTION_H

#include <stdbool.h>

#include "base/pattern.h"

/* Borrowed arrays; an empty selection takes everything. */
struct selection {
    char *const *ns;
    size_t nns;
    char *const *exclude_ns;
    size_t nexclude_ns;
    const struct rename_rule *renames; /* the first that matches wins */
    size_t nrenames;
};

/* Everything, under its own name: also users and roles. */
bool selection_is_whole(const struct selection *s);
/* Taken, judged by the name users see at the moment. */
bool selection_takes(const struct selection *s, const char *ns);
/* Name on the target; malloc'ed, the caller's. */
PITR_MUST enum pitr_rc selection_target(const struct selection *s, const char *ns, char **out,
                                        struct pitr_err *err);
/* Whether `target`, what a rename made of `ns`, can be a namespace that holds users' data, on any
 * server; `prefix_len` bytes more go before the collection's name. Fails: USAGE. */
PITR_MUST enum pitr_rc selection_check_target(const char *ns, const char *target, size_t prefix_len,
                                              struct pitr_err *err);
/* True if an exact restore of this selection may drop the target's namespace `ns`: it lies where
 * restored namespaces lie. */
bool selection_covers(const struct selection *s, const char *ns);

#endif
