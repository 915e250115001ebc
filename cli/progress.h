/*
 * progress.h - one line on a terminal that says how far a job is.
 *
 * A thread of its own reads the job's counters five times a second and rewrites the line; at the
 * end the line is gone. Best effort: what cannot be shown is not shown.
 */
#ifndef PITR_CLI_PROGRESS_H
#define PITR_CLI_PROGRESS_H

#include "base/job.h"
#include "cli/text.h"

struct progress;

/* Borrows `job`. NULL when there is no thread to be had; every function takes NULL. */
struct progress *progress_start(struct job *job, int fd);
void progress_end(struct progress *p);
/* Take the line away while something else uses the terminal, and let it come back. */
void progress_pause(struct progress *p);
void progress_resume(struct progress *p);

/* What the line says; never longer than 79 columns. `ms` is the age of the phase. */
enum { PROGRESS_LINE_LEN = 80 };
void progress_line(char out[PROGRESS_LINE_LEN], const struct job *job, int64_t ms);

#endif
