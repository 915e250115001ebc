/*
 * clock.h - time as the rest of pitr sees it: passed in, never taken from a global in the middle.
 */
#ifndef PITR_BASE_CLOCK_H
#define PITR_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

int64_t clock_wall_ms(void);     /* Unix time, milliseconds */
int64_t clock_mono_ms(void);     /* monotonic, milliseconds; for durations and deadlines */
void clock_sleep_ms(int64_t ms); /* returns early on a signal */

#define CLOCK_TEXT_LEN 21
/* "2026-11-23T14:03:07Z"; years outside 0..9999 come out as the nearest time inside. */
void clock_format(char out[CLOCK_TEXT_LEN], int64_t unix_seconds);

/* RFC 3339 with a zone and whole seconds. Fails: USAGE, saying what is missing (zone, date, ...) or
 * not accepted (a fraction). */
PITR_MUST enum pitr_rc clock_parse(int64_t *unix_seconds, const char *text, struct pitr_err *err);

#endif
