#include "cli/progress.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { REFRESH_MS = 200, RATE_AFTER_MS = 1000, LINE_BYTES = 256, PART_BYTES = 64 };

struct progress {
    struct job *job;
    int fd;
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    bool is_over, is_paused, is_shown;
    const char *phase; /* the one whose age is counted */
    int64_t phase_since_ms;
};

/* Best effort: a terminal that went away is no reason to stop a backup. */
static void
put(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
}

static void
append(char *line, const char *text)
{
    size_t used = strlen(line);

    snprintf(line + used, LINE_BYTES - used, "%s%s", used == 0 ? "" : "  ", text);
}

static void
append_rate(char *line, uint64_t bytes, uint64_t total, int64_t ms)
{
    char text[PART_BYTES], amount[AMOUNT_LEN];
    uint64_t per_second;

    if (ms < RATE_AFTER_MS || bytes == 0)
        return;
    per_second = (uint64_t)((double)bytes * 1000 / (double)ms);
    snprintf(text, sizeof text, "%s/s", format_bytes(amount, per_second));
    append(line, text);
    if (total <= bytes || per_second == 0)
        return;
    snprintf(text, sizeof text, "%s left",
             format_seconds(amount, (int64_t)((total - bytes) / per_second)));
    append(line, text);
}

void
progress_line(char out[PROGRESS_LINE_LEN], const struct job *job, int64_t ms)
{
    const char *phase = atomic_load_explicit(&job->phase, memory_order_acquire);
    uint64_t documents = atomic_load_explicit(&job->documents, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&job->bytes, memory_order_relaxed);
    uint64_t total = atomic_load_explicit(&job->bytes_total, memory_order_relaxed);
    uint64_t stored = atomic_load_explicit(&job->bytes_stored, memory_order_relaxed);
    char line[LINE_BYTES] = "", text[PART_BYTES], a[AMOUNT_LEN], b[AMOUNT_LEN];

    append(line, phase == NULL ? "starting" : phase);
    if (total > 0) {
        snprintf(text, sizeof text, "%3.0f%%",
                 bytes >= total ? 100.0 : (double)bytes * 100 / (double)total);
        append(line, text);
    }
    if (documents > 0) {
        snprintf(text, sizeof text, "%s docs", format_count(a, documents));
        append(line, text);
    }
    if (bytes > 0) {
        snprintf(text, sizeof text, "%s", format_bytes(a, bytes));
        append(line, text);
        append_rate(line, bytes, total, ms);
    }
    if (stored > 0) {
        snprintf(text, sizeof text, "%s stored", format_bytes(b, stored));
        append(line, text);
    }
    snprintf(out, PROGRESS_LINE_LEN, "%.*s", PROGRESS_LINE_LEN - 1, line);
}

static void
show(struct progress *p)
{
    const char *phase = atomic_load_explicit(&p->job->phase, memory_order_acquire);
    char line[PROGRESS_LINE_LEN], all[LINE_BYTES];
    int64_t now = clock_mono_ms();

    if (phase != p->phase || p->phase_since_ms == 0) {
        p->phase = phase;
        p->phase_since_ms = now;
    }
    progress_line(line, p->job, now - p->phase_since_ms);
    /* Back to the first column, so that a log line does not begin behind this one. */
    snprintf(all, sizeof all, "\r\033[K%s\r", line);
    put(p->fd, all);
    p->is_shown = true;
}

static void
wipe(struct progress *p)
{
    if (p->is_shown)
        put(p->fd, "\r\033[K");
    p->is_shown = false;
}

static void *
run(void *arg)
{
    struct progress *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!p->is_over) {
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += REFRESH_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        pthread_cond_timedwait(&p->changed, &p->lock, &until);
        if (!p->is_over && !p->is_paused)
            show(p);
    }
    wipe(p);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct progress *
progress_start(struct job *job, int fd)
{
    struct progress *p = calloc(1, sizeof *p);

    if (p == NULL)
        return NULL;
    p->job = job;
    p->fd = fd;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    if (pthread_create(&p->thread, NULL, run, p) != 0) {
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->lock);
        free(p);
        return NULL;
    }
    return p;
}

void
progress_end(struct progress *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->is_over = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static void
set_paused(struct progress *p, bool is_paused)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->is_paused = is_paused;
    if (is_paused)
        wipe(p);
    pthread_mutex_unlock(&p->lock);
}

void
progress_pause(struct progress *p)
{
    set_paused(p, true);
}

void
progress_resume(struct progress *p)
{
    set_paused(p, false);
}
