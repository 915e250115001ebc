/*
 * measure REPORT COMMAND... - run a command; write what it cost to the file REPORT, as JSON.
 *
 * The peak memory that the kernel accounts to a process starts at that of the process it was forked
 * from, so an interpreter cannot measure a small program by itself; this program is small enough.
 * SIGTERM and SIGINT are left to the command: send them to the process group.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

static double
seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* Our own disposition is inherited by the command unless it is set back. */
static pid_t
start(char **command)
{
    posix_spawnattr_t attr;
    sigset_t ours;
    pid_t pid;
    int failed;

    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigdefault(&attr, &ours);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
    failed = posix_spawnp(&pid, command[0], NULL, &attr, command, environ);
    posix_spawnattr_destroy(&attr);
    if (failed != 0)
        bench_die("%s: %s", command[0], strerror(failed));
    return pid;
}

int
main(int argc, char **argv)
{
    struct rusage usage;
    int status;
    double begin;
    pid_t pid;
    FILE *report;

    if (argc < 3)
        bench_die("usage: measure REPORT COMMAND...");
    begin = bench_now();
    pid = start(argv + 2);
    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR)
            bench_die("wait: %s", strerror(errno));
    report = fopen(argv[1], "w");
    if (report == NULL)
        bench_die("%s: %s", argv[1], strerror(errno));
    fprintf(report, "{\"rc\":%d,\"seconds\":%.4f,\"user\":%.3f,\"system\":%.3f,\"rss_kib\":%ld}\n",
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), bench_now() - begin,
            seconds(usage.ru_utime), seconds(usage.ru_stime), usage.ru_maxrss);
    return fclose(report) == 0 ? 0 : 1;
}
