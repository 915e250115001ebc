/*
 * tailing.h - the capture of a real server's oplog into a repository: what `pitr tail` runs.
 *
 * tailing_open() takes the repository's tail lock, binds the repository to the server's cluster
 * and refuses servers without an oplog. tailing_run() captures. The lock is held until
 * tailing_free().
 */
#ifndef PITR_ENGINE_TAILING_H
#define PITR_ENGINE_TAILING_H

#include <stdbool.h>

#include "engine/repo.h"
#include "oplog/tail.h"

struct tailing;

struct tailing_opts {
    struct repo *repo;   /* opened REPO_WRITE; borrowed like all below */
    struct mongo *mongo; /* its waits should be bounded (mongo_opts.socket_ms), or a network that
                            swallows packets is noticed late */
    const struct log *log;
    bool once;           /* all that is majority-committed now, then end */
    int64_t interval_ms; /* seal this often */
};

/* Fails: BUSY (another tailer, or a snapshot that captures for itself), DB, DB_LOST, USAGE (another
 * cluster), IO, ... */
PITR_MUST enum pitr_rc tailing_open(struct tailing **out, const struct tailing_opts *opts,
                                    struct pitr_err *err);
void tailing_free(struct tailing *t);
void tailing_freep(struct tailing **t);
/*
 * Capture until tailing_stop(), or, once, what is committed now. *result is filled in either case.
 * A gap that is found is recorded and capture goes on behind it: once, the end is then GAP, with
 * everything after the gap captured; otherwise it is logged.
 */
PITR_MUST enum pitr_rc tailing_run(struct tailing *t, struct tail_result *result,
                                   struct pitr_err *err);
/* Seal and end; from any thread. */
void tailing_stop(struct tailing *t);

#endif
