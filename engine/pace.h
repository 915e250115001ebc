/*
 * pace.h - how long a restore will take, learned from the last one into the same target.
 *
 * A model that counts documents and bytes gives the seconds a reference machine needs to load,
 * index and read back; the pace of a target is its measured time as a multiple of that. It is kept
 * in the repository ("state/restore-pace") and only ever used for estimates.
 */
#ifndef PITR_ENGINE_PACE_H
#define PITR_ENGINE_PACE_H

#include "engine/repo.h"

struct pace {
    double factor;    /* 1.0 until it is known */
    bool is_measured; /* by a restore into this target */
};

/* Seconds of the reference machine. */
double pace_model(uint64_t documents, uint64_t bytes);

/* `target` is a URI without secrets. Fails: IO, CORRUPT, NOMEM. */
PITR_MUST enum pitr_rc pace_read(struct pace *out, struct repo *r, const char *target,
                                 struct pitr_err *err);
/* Restores too short to measure are ignored. Fails: as repo_note_write(). */
PITR_MUST enum pitr_rc pace_learn(struct repo *r, const char *target, uint64_t documents,
                                  uint64_t bytes, double seconds, struct pitr_err *err);

#endif
