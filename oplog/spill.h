/*
 * spill.h - memory that the nets of one replay share, and the file for what exceeds it.
 *
 * Users say what they hold. Who finds the budget exceeded calls spill_relieve(), and the largest
 * users write what they hold to the file, whoever they are: many small ones that pile up are no
 * better than a big one. The file is made when it is first needed, in TMPDIR (or /var/tmp), and has
 * no name: it is gone with the process, however that ends. Space that is given back is punched out
 * of it.
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
uint64_t spill_held(const struct spill *s);
/* Users hold more than their share, five eighths: the rest is for the buffers of sorting. */
bool spill_is_over(const struct spill *s);
uint64_t spill_budget(const struct spill *s);

/* Something that can write what it holds to the file; part of its owner. */
struct spill_user {
    struct spill *spill; /* NULL: memory without limit */
    struct spill_user *prev, *next;
    size_t held;
    /* Write all to the file and give the memory back; NULL: it cannot, now. */
    enum pitr_rc (*put_out)(struct spill_user *u, struct pitr_err *err);
};
/* `s` may be NULL. */
void spill_join(struct spill *s, struct spill_user *u);
/* What it still holds is given back. */
void spill_leave(struct spill_user *u);
void spill_user_hold(struct spill_user *u, size_t bytes);
void spill_user_release(struct spill_user *u, size_t bytes);
/* If it is over, let the largest users put out until half of the share is free. */
PITR_MUST enum pitr_rc spill_relieve(struct spill *s, struct pitr_err *err);

/* Bytes at the end of the file; *at is where they begin. Fails: IO, FULL, the message naming the
 * folder and TMPDIR. */
PITR_MUST enum pitr_rc spill_write(struct spill *s, const void *data, size_t len, uint64_t *at,
                                   struct pitr_err *err);
PITR_MUST enum pitr_rc spill_read(struct spill *s, void *data, size_t len, uint64_t at,
                                  struct pitr_err *err);
/* For users who find that what they read is not what they wrote: CORRUPT. */
enum pitr_rc spill_damaged(struct pitr_err *err);
/* The extent is not needed any more. */
void spill_discard(struct spill *s, uint64_t at, uint64_t len);

#endif
