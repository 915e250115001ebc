/*
 * signals.h - SIGINT and SIGTERM as a request to stop, taken by a thread of their own.
 *
 * No handler runs in the middle of anything and no global state is needed: the signals are blocked
 * in every thread, and one thread waits for them. The first sets the stop flag and calls whoever
 * asked; the second ends the program at once with 130, which is as safe as any crash. SIGPIPE is
 * ignored: a write says EPIPE.
 */
#ifndef PITR_CLI_SIGNALS_H
#define PITR_CLI_SIGNALS_H

#include <stdatomic.h>

#include "base/err.h"

struct signals;

/* Before any other thread is started, as threads inherit what is blocked. Borrows `stop`. */
PITR_MUST enum pitr_rc signals_start(struct signals **out, atomic_bool *stop, struct pitr_err *err);
void signals_free(struct signals *s);

/* Call `stop` on the first signal, at once if it has come already. NULL takes the wish back; after
 * that it is not running any more. */
void signals_on_stop(struct signals *s, void (*stop)(void *arg), void *arg);

#endif
