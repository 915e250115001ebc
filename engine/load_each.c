#include <pthread.h>
#include <stdlib.h>

#include "engine/load_internal.h"

enum { THREADS_MAX = 16 };

struct crew {
    struct target *target;
    size_t n;
    enum pitr_rc (*each)(struct target *t, struct conn *c, size_t i, void *arg,
                         struct pitr_err *err);
    void *arg;
    atomic_size_t next;
    atomic_bool failed;
    pthread_mutex_t lock; /* guards first */
    struct pitr_err first;
};

static enum pitr_rc
work(struct crew *crew, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;

    if (conn_take(&c, crew->target->mongo, err) != PITR_OK)
        return err->rc;
    while (!atomic_load(&crew->failed)) {
        size_t i = atomic_fetch_add(&crew->next, 1);

        if (i >= crew->n)
            break;
        if (job_check(crew->target->job, err) != PITR_OK ||
            crew->each(crew->target, c, i, crew->arg, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static void *
crew_thread(void *arg)
{
    struct crew *crew = arg;
    struct pitr_err err;

    if (work(crew, &err) != PITR_OK) {
        pthread_mutex_lock(&crew->lock);
        if (crew->first.rc == PITR_OK)
            crew->first = err;
        pthread_mutex_unlock(&crew->lock);
        atomic_store(&crew->failed, true);
    }
    return NULL;
}

enum pitr_rc
target_each(struct target *t, unsigned threads, size_t n,
            enum pitr_rc (*each)(struct target *t, struct conn *c, size_t i, void *arg,
                                 struct pitr_err *err),
            void *arg, struct pitr_err *err)
{
    struct crew crew = {.target = t, .n = n, .each = each, .arg = arg};
    pthread_t ids[THREADS_MAX];
    unsigned started = 0, wanted = threads < THREADS_MAX ? threads : THREADS_MAX;
    int failed = 0;

    pthread_mutex_init(&crew.lock, NULL);
    if (wanted > n)
        wanted = (unsigned)n;
    while (started < wanted && failed == 0) {
        failed = pthread_create(&ids[started], NULL, crew_thread, &crew);
        started += failed == 0;
    }
    while (started > 0)
        pthread_join(ids[--started], NULL);
    pthread_mutex_destroy(&crew.lock);
    if (crew.first.rc != PITR_OK) {
        *err = crew.first;
        return err->rc;
    }
    return failed == 0 ? PITR_OK : pitr_fail_errno(err, failed, "thread");
}
