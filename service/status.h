/*
 * status.h - is the backup healthy, and what can be restored: read from the repository alone.
 */
#ifndef PITR_SERVICE_STATUS_H
#define PITR_SERVICE_STATUS_H

#include "engine/window.h"

struct status_limits {
    int64_t rpo_seconds;      /* 900: the promise; 0: not judged */
    int64_t snapshot_seconds; /* 26 h: a day and some slack; 0: not judged */
};

struct status {
    bool healthy;
    int64_t rpo_seconds;     /* now - wall clock up to which capture is durable; -1: no capture */
    int64_t last_success_ms; /* end of the newest good snapshot; 0: none */
    struct history history;
    struct fs_names problems; /* sentences */
    bool tail_running;
};

/* `now_ms` is passed in. Unhealthy: no snapshot, snapshot too old, RPO exceeded, a gap newer than
 * the newest snapshot (new base wanted), an interrupted restore, a failed last run. A standalone's
 * repository has no RPO. */
PITR_MUST enum pitr_rc status_read(struct status *out, struct repo *r,
                                   const struct status_limits *limits, int64_t now_ms,
                                   struct pitr_err *err);
void status_release(struct status *s);

#endif
