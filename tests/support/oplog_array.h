/*
 * oplog_array.h - an oplog in memory, as an oplog_source, that can do what real ones do: grow, roll
 * over, be rewritten, lag and lose its connection.
 */
#ifndef PITR_TESTS_OPLOG_ARRAY_H
#define PITR_TESTS_OPLOG_ARRAY_H

#include "base/buf.h"
#include "oplog/oplog_source.h"

struct array_entry {
    struct buf bson;
    struct optime at;
};

struct oplog_array {
    struct oplog_source source; /* pass &array.source to the tailer; its free() does nothing */
    struct array_entry *entries;
    size_t len, cap;
    size_t oldest;  /* entries before it have been dropped */
    size_t visible; /* entries from it on are not majority-committed yet */
    size_t next;    /* where the read stands */
    bool is_open;   /* false: next() is lost until seek() */
    unsigned seeks, nexts;
    /* Called at the start of every next(), may change everything above; may be NULL. */
    void (*hook)(void *arg, struct oplog_array *a);
    void *hook_arg;
    unsigned lose; /* this many calls from now fail with DB_LOST */
};

void oplog_array_init(struct oplog_array *a);
void oplog_array_release(struct oplog_array *a);
/* Add an entry, visible at once: an insert with `pad` bytes of `fill`, or a no-op when op is 'n'.
 */
void oplog_array_add(struct oplog_array *a, uint64_t ts, int64_t term, char op, size_t pad,
                     char fill);
/* Drop the entries from index `from` on, as a rollback does. */
void oplog_array_cut(struct oplog_array *a, size_t from);

/* One entry's BSON, appended to *out. */
void make_entry(struct buf *out, uint64_t ts, int64_t term, char op, size_t pad, char fill);

#endif
