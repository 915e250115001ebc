/*
 * entry.h - read one oplog entry, or one inner operation of applyOps.
 *
 * Pointers go into the entry's own bytes. Unknown `op` letters, a `v` other than 2, or a missing
 * mandatory field are CORRUPT, with the entry in the message: replay must never skip what it does
 * not understand. Operations on what only the server sees count as 'n'. Fields that replay has no
 * use for are ignored (docs/oplog.md lists both).
 */
#ifndef PITR_OPLOG_ENTRY_H
#define PITR_OPLOG_ENTRY_H

#include "mongo/bsonio.h"
#include "oplog/optime.h"

enum { UUID_LEN = 16 };

struct oplog_entry {
    const uint8_t *raw; /* the whole entry */
    size_t raw_len;
    uint64_t ts;     /* 0 in an inner operation */
    int64_t term;    /* -1 when absent */
    int64_t wall_ms; /* 0 when absent */
    char op;     /* 'i', 'u', 'd', 'c' or 'n'; what 'n' has besides ts, t and wall means nothing */
    bool upsert; /* b: true */
    const char *ns; /* NUL-terminated; "" when empty */
    size_t ns_len;
    const uint8_t *uuid; /* UUID_LEN bytes, or NULL */
    const uint8_t *o;    /* NULL only where the entry has none (then op is 'n') */
    size_t o_len;
    const uint8_t *o2; /* NULL when absent */
    size_t o2_len;
    /* Session of a transaction or retryable write; lsid NULL when absent. */
    const uint8_t *lsid;
    size_t lsid_len;
    int64_t txn_number;    /* -1 when absent */
    bool has_prev;         /* prevOpTime is present */
    struct optime prev;    /* ts 0 for the null optime that starts a chain */
    int64_t multi_op_type; /* 0 when absent */
};

/*
 * The part of an entry that capture depends on. It can be read from entries whose operation this
 * version does not know: they are stored all the same, and replay refuses them.
 */
struct oplog_stamp {
    uint64_t ts;
    int64_t term;    /* -1 when absent */
    int64_t wall_ms; /* 0 when absent */
    bool is_noop;
};

/* Fails: CORRUPT, when the entry is no document, or has no ts or op. */
PITR_MUST enum pitr_rc oplog_entry_stamp(struct oplog_stamp *stamp, const uint8_t *data, size_t len,
                                         struct pitr_err *err);

/* An entry as it stands in the oplog. Fails: CORRUPT, the message naming ts and field. */
PITR_MUST enum pitr_rc oplog_entry_parse(struct oplog_entry *e, const uint8_t *data, size_t len,
                                         struct pitr_err *err);
/* An element of an applyOps array: no ts, t, v. */
PITR_MUST enum pitr_rc oplog_entry_parse_inner(struct oplog_entry *e, const uint8_t *data,
                                               size_t len, struct pitr_err *err);

enum { ENTRY_TEXT_LEN = 601 };
/* An entry or operation as JSON for a message: what it does, without session and times, cut where
 * it gets too long. */
void oplog_entry_show(char out[ENTRY_TEXT_LEN], const uint8_t *data, size_t len);

#endif
