/*
 * restore_internal.h - the two halves of a restore: restore.c decides, restore_load.c touches the
 * target.
 */
#ifndef PITR_ENGINE_RESTORE_INTERNAL_H
#define PITR_ENGINE_RESTORE_INTERNAL_H

#include "engine/restore.h"
#include "engine/state.h"

/* What is loaded where. Borrowed by both halves. */
struct load_job {
    struct state *state;
    struct target *target;
    const struct selection *sel;
    struct job *job;
    bool exact; /* --drop: users that did not exist at the moment go */
    bool verify;
};

/* Views of the state under their target names: one target database and its system.views documents.
 */
struct view_set {
    char *db; /* owned */
    struct buf docs;
};
struct view_list {
    struct view_set *at;
    size_t len;
    struct fs_names names; /* "db.view" on the target */
};
void view_list_release(struct view_list *v);
PITR_MUST enum pitr_rc view_list_make(struct view_list *out, struct state *s,
                                      const struct selection *sel, struct pitr_err *err);
/* USAGE when patterns were given and select nothing at all. */
PITR_MUST enum pitr_rc view_list_check(const struct view_list *views, const struct state *s,
                                       const struct selection *sel, struct pitr_err *err);

/* Whether the target's user may drop, create, fill and, if that is wanted, read what it has to.
 * Fails: DB when it may not. */
PITR_MUST enum pitr_rc restore_check_rights(const struct load_job *j,
                                            const struct fs_names *dropped, struct pitr_err *err);

/* Create, insert, index, compare, TTL, views, users. The target's namespaces in the way are gone
 * already. */
PITR_MUST enum pitr_rc restore_load(const struct load_job *j, const struct view_list *views,
                                    struct pitr_err *err);

#endif
