/*
 * pattern.h - namespace patterns: "db.coll" with '*', and renames between them.
 *
 * '*' stands for any run of characters, also an empty one, dots included; there is no other special
 * character. The first dot of a namespace separates database and collection. A rename FROM=TO maps
 * the k-th '*' of FROM to the k-th of TO.
 */
#ifndef PITR_BASE_PATTERN_H
#define PITR_BASE_PATTERN_H

#include <stdbool.h>

#include "base/err.h"

/* "db.coll" or "db.*", at least one dot and both sides non-empty. Fails: USAGE. */
PITR_MUST enum pitr_rc pattern_check(const char *pattern, struct pitr_err *err);
bool pattern_match(const char *pattern, const char *ns);

struct rename_rule {
    char *from, *to; /* owned */
};
/* "FROM=TO" with the same number of '*' on both sides. Fails: USAGE, NOMEM. */
PITR_MUST enum pitr_rc rename_parse(struct rename_rule *out, const char *text,
                                    struct pitr_err *err);
void rename_release(struct rename_rule *r);
/* If `ns` matches, *out is the new name (malloc'ed, the caller's); otherwise *out is NULL. */
PITR_MUST enum pitr_rc rename_apply(const struct rename_rule *r, const char *ns, char **out,
                                    struct pitr_err *err);

#endif
