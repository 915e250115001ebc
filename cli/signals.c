#include "cli/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXIT_INTERRUPTED = 130 };

struct signals {
    atomic_bool *stop;
    atomic_bool is_over;
    sigset_t waited;
    pthread_t thread;
    pthread_mutex_t lock; /* of the two below */
    void (*call)(void *arg);
    void *arg;
};

static void *
wait_for_signals(void *arg)
{
    struct signals *s = arg;
    int signal;

    for (;;) {
        if (sigwait(&s->waited, &signal) != 0 || atomic_load(&s->is_over))
            return NULL;
        if (atomic_exchange(s->stop, true))
            _exit(EXIT_INTERRUPTED);
        pthread_mutex_lock(&s->lock);
        if (s->call != NULL)
            s->call(s->arg);
        pthread_mutex_unlock(&s->lock);
    }
}

enum pitr_rc
signals_start(struct signals **out, atomic_bool *stop, struct pitr_err *err)
{
    struct signals *s = calloc(1, sizeof *s);
    int failed;

    if (s == NULL)
        return pitr_fail(err, PITR_NOMEM, "signals: out of memory");
    s->stop = stop;
    sigemptyset(&s->waited);
    sigaddset(&s->waited, SIGINT);
    sigaddset(&s->waited, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    /* A file size limit is then an error of write(), like a full disk. */
    signal(SIGXFSZ, SIG_IGN);
    pthread_mutex_init(&s->lock, NULL);
    failed = pthread_sigmask(SIG_BLOCK, &s->waited, NULL);
    if (failed == 0)
        failed = pthread_create(&s->thread, NULL, wait_for_signals, s);
    if (failed != 0) {
        pthread_mutex_destroy(&s->lock);
        free(s);
        return pitr_fail_errno(err, failed, "starting the signal thread");
    }
    *out = s;
    return PITR_OK;
}

void
signals_free(struct signals *s)
{
    if (s == NULL)
        return;
    atomic_store(&s->is_over, true);
    pthread_kill(s->thread, SIGTERM);
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void
signals_on_stop(struct signals *s, void (*stop)(void *arg), void *arg)
{
    pthread_mutex_lock(&s->lock);
    s->call = stop;
    s->arg = arg;
    if (stop != NULL && atomic_load(s->stop))
        stop(arg);
    pthread_mutex_unlock(&s->lock);
}
