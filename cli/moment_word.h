/*
 * moment_word.h - a moment as one word of the command line.
 */
#ifndef PITR_CLI_MOMENT_WORD_H
#define PITR_CLI_MOMENT_WORD_H

#include "engine/window.h"

/* What moment_parse() takes, or the id of a snapshot, or the beginning of one: its state. Fails:
 * USAGE. */
PITR_MUST enum pitr_rc moment_word(struct moment *out, const char *word, struct pitr_err *err);

#endif
