/*
 * suggest.h - the nearest known word, for "did you mean".
 */
#ifndef PITR_CLI_SUGGEST_H
#define PITR_CLI_SUGGEST_H

#include <stddef.h>

/* The one of known[0..n) that takes the fewest single-character edits to reach from `word`, or of
 * which `word` is the beginning; NULL when none is near enough to be what was meant. */
const char *suggest_nearest(const char *word, const char *const *known, size_t n);

#endif
