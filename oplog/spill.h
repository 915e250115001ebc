/*
 * spill.h - memory that the nets of one replay share, and the file for what exceeds it.
 *
 * Callers say what they hold; who finds the budget exceeded writes to the file. The file is made
 * when it is first needed, in TMPDIR (or /var/tmp), and has no name: it is gone with the process,
 * however that ends. Space that is given back is punched out of it.
 *
 * spill_read() may be called by several threads; everything else by one.
 */
#ifndef PITR_OPLOG_SPILL_H
#define PITR_OPLOG_SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct spill;

/* `budget` in bytes of memory. */
PITR_MUST enum pitr_rc spill_new(struct spill **out, uint64_t budget, struct pitr_err *err);
void spill_free(struct spill *s);
void spill_freep(struct spill **s);

/* Account for memory taken or given back. */
void spill_hold(struct spill *s, size_t bytes);
void spill_release(struct spill *s, size_t bytes);
bool spill_is_over(const struct spill *s);
uint64_t spill_budget(const struct spill *s);

/* Bytes at the end of the file; *at is where they begin. Fails: IO, FULL, the message naming the
 * folder and TMPDIR. */
PITR_MUST enum pitr_rc spill_write(struct spill *s, const void *data, size_t len, uint64_t *at,
                                   struct pitr_err *err);
PITR_MUST enum pitr_rc spill_read(struct spill *s, void *data, size_t len, uint64_t at,
                                  struct pitr_err *err);
/* The extent is not needed any more. */
void spill_discard(struct spill *s, uint64_t at, uint64_t len);

#endif
