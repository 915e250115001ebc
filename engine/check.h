/*
 * check.h - can this source be backed up into this repository: questions to ask before the bad
 * night. Reads only.
 */
#ifndef PITR_ENGINE_CHECK_H
#define PITR_ENGINE_CHECK_H

#include "engine/repo.h"

enum check_state { CHECK_OK, CHECK_WARNING, CHECK_PROBLEM };

struct check_item {
    const char *name; /* static: "server", "privileges", ... */
    enum check_state state;
    char detail[512]; /* one sentence: what was found, and what to do about it */
};

enum { CHECK_ITEMS_MAX = 16 };
struct check_report {
    struct check_item items[CHECK_ITEMS_MAX];
    size_t len;
};
bool check_is_ok(const struct check_report *report); /* no item is a problem */
const char *check_state_name(enum check_state state);

/* `repo` may be opened REPO_READ. Fails: DB, DB_LOST, IO, CORRUPT ... when it cannot look. */
PITR_MUST enum pitr_rc check_run(struct check_report *out, struct repo *repo, struct mongo *mongo,
                                 struct pitr_err *err);

/*
 * The part of the privileges item that asks nobody: whether `status`, the reply to connectionStatus
 * with showPrivileges, allows what a backup needs. Fails: CORRUPT.
 */
PITR_MUST enum pitr_rc check_privileges(struct check_item *out, const bson_t *status,
                                        struct pitr_err *err);

/* Whether `status`, the same reply, allows the action on the collection; an empty `coll` stands for
 * any that is no system collection. True for a connection without a user: whether it may do
 * anything at all is not in the reply. */
bool privileges_allow(const bson_t *status, const char *action, const char *db, const char *coll);

#endif
