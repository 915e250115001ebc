/*
 * window.h - which moments can be restored, and the choice of base for one of them.
 *
 * A window is [t_end of a snapshot, last entry of the chain span that joins it]; windows that
 * overlap are merged. A snapshot whose own oplog window [begin, t_end] is not captured opens none.
 * A snapshot without oplog (a standalone's, or an imported one) is a point of its own.
 *
 * An imported snapshot may be of any server, so it is only restored when it is named: no "latest"
 * means it while there is a snapshot of the repository's own server.
 *
 * A moment is a timestamp up to which every entry is applied. It is restorable if a window holds
 * it. All of a wall-clock second is the moment (second, largest ordinal): it lies in a window only
 * if an entry of a later second is captured, because before that more operations of the same second
 * may still come. "Before ts" is the moment ts - 1. If several timelines hold a moment, the newest
 * is meant.
 */
#ifndef PITR_ENGINE_WINDOW_H
#define PITR_ENGINE_WINDOW_H

#include "engine/manifest.h"
#include "oplog/chain.h"

struct window {
    uint32_t timeline;
    uint64_t from, to; /* timestamps, both restorable */
};

/* Everything that decides what is restorable, read once. */
struct history {
    struct manifest *snapshots; /* roots only, oldest first */
    size_t nsnapshots;
    /* One sentence, "snapshot ID: why", for each whose manifest is damaged. They open no windows,
     * and close none that others open: who reads a history has to tell of them. */
    struct fs_names damaged;
    struct chain chain;
    struct window *windows; /* by timeline, then from */
    size_t nwindows;
};
PITR_MUST enum pitr_rc history_load(struct history *out, struct repo *r, struct pitr_err *err);
/* The windows, from snapshots and chain: the part of history_load() that reads nothing. */
PITR_MUST enum pitr_rc history_derive(struct history *h, struct pitr_err *err);
/* Whether the oplog that makes this snapshot exact is captured (or it needs none). */
bool history_is_good(const struct history *h, const struct manifest *snapshot);
/* The newest good snapshot of the repository's own server, or NULL. */
const struct manifest *history_newest(const struct history *h);
void history_release(struct history *h);

enum moment_kind {
    MOMENT_LATEST,        /* newest restorable point */
    MOMENT_SECOND,        /* all of a wall-clock second: unix seconds in .value, 0 if before 1970 */
    MOMENT_TS,            /* up to and including timestamp .value */
    MOMENT_BEFORE,        /* everything before timestamp .value */
    MOMENT_SNAPSHOT,      /* t_end of snapshot .id */
    MOMENT_LAST_SNAPSHOT, /* t_end of the newest good snapshot, see history_newest() */
};
struct moment {
    enum moment_kind kind;
    uint64_t value;
    char id[SNAPSHOT_ID_LEN];
};
/* "latest", RFC 3339 with a zone, "SECS,INC", "SECS:INC". Fails: USAGE. */
PITR_MUST enum pitr_rc moment_parse(struct moment *out, const char *text, struct pitr_err *err);
PITR_MUST enum pitr_rc moment_parse_before(struct moment *out, const char *text,
                                           struct pitr_err *err);

struct choice {
    size_t snapshot; /* index into history.snapshots: the newest with t_end <= to */
    uint64_t
        to; /* replay every entry up to and including this timestamp; 0: a snapshot without oplog */
};
/* Fails: GAP, naming the nearest valid targets; NOTFOUND for an unknown snapshot id. A snapshot's
 * id may be a unique beginning of it. */
PITR_MUST enum pitr_rc history_choose(const struct history *h, const struct moment *m,
                                      struct choice *out, struct pitr_err *err);
/* The next older snapshot from which the same moment can be reached, for when a choice turns out to
 * be damaged; false if there is none. */
bool history_choose_older(const struct history *h, struct choice *choice);

#endif
