/*
 * bench.h - what the programs of this folder share: time, threads over a list, and failing loudly.
 *
 * A benchmark that cannot do its work ends the process with 1 and a line on stderr: a number from
 * half of the work would be worse than none.
 */
#ifndef PITR_BENCH_BENCH_H
#define PITR_BENCH_BENCH_H

#include <stdint.h>

#include "base/err.h"

double bench_now(void); /* monotonic, seconds */

void bench_die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void bench_must(enum pitr_rc rc, const struct pitr_err *err);

/* A small generator (splitmix64), so that data depends on the seed alone. */
uint64_t bench_random(uint64_t *state);
uint32_t bench_below(uint64_t *state, uint32_t n); /* 0..n-1 */

/* Call `each` for 0..n-1 in ascending order of start, from `threads` threads numbered from 0. */
void bench_each(unsigned threads, size_t n, void (*each)(void *arg, size_t i, unsigned thread),
                void *arg);

/* One JSON line: `amount` units of work were done in each of seconds[0..n). */
void bench_print(const char *name, const char *unit, double amount, const double *seconds,
                 size_t n);

/* A fresh folder below TMPDIR, or /tmp; the caller frees the path. */
char *bench_folder(void);
void bench_folder_remove(char *path); /* with all it holds; frees the path */

#endif
