#include "cli/moment_word.h"

#include <stdio.h>
#include <string.h>

/* Ids begin with eight digits and a T; neither a time nor a timestamp does. */
static bool
is_snapshot_id(const char *word)
{
    size_t digits = strspn(word, "0123456789");

    return digits > 0 && (word[digits] == 'T' || word[digits] == '\0') &&
           strlen(word) < SNAPSHOT_ID_LEN;
}

enum pitr_rc
moment_word(struct moment *out, const char *word, struct pitr_err *err)
{
    if (!is_snapshot_id(word))
        return moment_parse(out, word, err);
    *out = (struct moment){.kind = MOMENT_SNAPSHOT};
    snprintf(out->id, sizeof out->id, "%s", word);
    return PITR_OK;
}
