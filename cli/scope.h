/*
 * scope.h - which backup, which moment, which namespaces: the options that restore and export
 * share.
 */
#ifndef PITR_CLI_SCOPE_H
#define PITR_CLI_SCOPE_H

#include "cli/app.h"
#include "engine/selection.h"
#include "engine/window.h"

struct scope {
    struct repo *repo;    /* owned; NULL if dump_dir is given */
    const char *dump_dir; /* a mongodump directory, or NULL */
    struct moment moment;
    struct selection selection;  /* borrows from the options and from `renames` */
    struct rename_rule *renames; /* owned */
};

/* With `writes` the repository is opened for writing where it can be. Fails: USAGE, GAP (no such
 * snapshot), and as repo_open(). */
PITR_MUST enum pitr_rc scope_read(struct scope *out, struct app *app, bool writes,
                                  struct pitr_err *err);
void scope_release(struct scope *s);

#endif
