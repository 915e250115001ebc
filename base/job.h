/*
 * job.h - what every long-running job is given: a log, counters to show, and a way to be stopped.
 *
 * The job writes the counters, a display thread reads them; each is a relaxed atomic, so a reader
 * may see one ahead of another. `stop` is set by a signal handler: the job looks at it between
 * units of work and ends with PITR_INTERRUPTED, leaving nothing half published.
 */
#ifndef PITR_BASE_JOB_H
#define PITR_BASE_JOB_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

struct job {
    const struct log *log;       /* may be NULL */
    _Atomic(const char *) phase; /* static text: "scan", "load", ...; NULL before the first */
    atomic_uint_fast64_t documents, documents_total; /* total 0: unknown */
    atomic_uint_fast64_t bytes, bytes_total;         /* plaintext BSON bytes of the phase */
    atomic_uint_fast64_t bytes_stored;               /* new bytes written to the repository */
    atomic_bool *stop;                               /* may be NULL */
};

/* Enter a phase: counters back to zero, totals as given. */
void job_phase(struct job *job, const char *phase, uint64_t documents_total, uint64_t bytes_total);
void job_advance(struct job *job, uint64_t documents, uint64_t bytes);
/* PITR_OK, or INTERRUPTED when asked to stop. */
PITR_MUST enum pitr_rc job_check(const struct job *job, struct pitr_err *err);

#endif
