#include "bench/bench.h"

#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { THREADS_MAX = 32 };

struct crew {
    size_t n;
    void (*each)(void *arg, size_t i, unsigned thread);
    void *arg;
    atomic_size_t next;
};

struct crew_member {
    struct crew *crew;
    unsigned number;
    pthread_t thread;
};

double
bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void
bench_die(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void
bench_must(enum pitr_rc rc, const struct pitr_err *err)
{
    if (rc != PITR_OK)
        bench_die("%s", err->msg);
}

uint64_t
bench_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

uint32_t
bench_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((bench_random(state) >> 32) * n >> 32);
}

static void *
crew_work(void *arg)
{
    struct crew_member *m = arg;
    size_t i;

    while ((i = atomic_fetch_add(&m->crew->next, 1)) < m->crew->n)
        m->crew->each(m->crew->arg, i, m->number);
    return NULL;
}

void
bench_each(unsigned threads, size_t n, void (*each)(void *arg, size_t i, unsigned thread),
           void *arg)
{
    struct crew crew = {.n = n, .each = each, .arg = arg};
    struct crew_member members[THREADS_MAX];

    if (threads < 1 || threads > THREADS_MAX)
        bench_die("%u threads: 1 to %d are possible", threads, THREADS_MAX);
    for (unsigned i = 0; i < threads; i++) {
        members[i] = (struct crew_member){.crew = &crew, .number = i};
        if (pthread_create(&members[i].thread, NULL, crew_work, &members[i]) != 0)
            bench_die("cannot start a thread");
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(members[i].thread, NULL);
}

void
bench_print(const char *name, const char *unit, double amount, const double *seconds, size_t n)
{
    printf("{\"name\":\"%s\",\"unit\":\"%s\",\"amount\":%.0f,\"seconds\":[", name, unit, amount);
    for (size_t i = 0; i < n; i++)
        printf("%s%.6f", i > 0 ? "," : "", seconds[i]);
    printf("]}\n");
}

char *
bench_folder(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = NULL;

    if (asprintf(&path, "%s/pitr-bench-XXXXXX", parent != NULL ? parent : "/tmp") < 0 ||
        mkdtemp(path) == NULL)
        bench_die("cannot make a temporary folder");
    return path;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void
bench_folder_remove(char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}
