#include "base/job.h"

void
job_phase(struct job *job, const char *phase, uint64_t documents_total, uint64_t bytes_total)
{
    atomic_store_explicit(&job->documents, 0, memory_order_relaxed);
    atomic_store_explicit(&job->bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&job->documents_total, documents_total, memory_order_relaxed);
    atomic_store_explicit(&job->bytes_total, bytes_total, memory_order_relaxed);
    atomic_store_explicit(&job->phase, phase, memory_order_release);
}

void
job_advance(struct job *job, uint64_t documents, uint64_t bytes)
{
    atomic_fetch_add_explicit(&job->documents, documents, memory_order_relaxed);
    atomic_fetch_add_explicit(&job->bytes, bytes, memory_order_relaxed);
}

enum pitr_rc
job_check(const struct job *job, struct pitr_err *err)
{
    if (job->stop != NULL && atomic_load_explicit(job->stop, memory_order_relaxed))
        return pitr_fail(err, PITR_INTERRUPTED, "stopped on request; run the command again");
    return PITR_OK;
}
