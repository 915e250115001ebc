/*
 * op_ns.h - which namespaces an operation is about, and whether patterns mean them.
 */
#ifndef PITR_ENGINE_OP_NS_H
#define PITR_ENGINE_OP_NS_H

#include "oplog/entry.h"

enum { OP_NS_LEN = 512 }; /* a server's namespace has at most 255 bytes; longer ones are cut */

struct op_ns {
    char ns[OP_NS_LEN]; /* "db.coll", or "db" for what concerns a whole database; "" for neither */
    char to[OP_NS_LEN]; /* the other name of a rename, or "" */
    bool is_database;
};

/* Of any operation; only commands take work. */
void op_ns_of(struct op_ns *out, const struct oplog_entry *e);

/* One of `patterns` means one of the names, or may mean a collection of the database. */
bool op_ns_matches(const struct op_ns *names, char *const *patterns, size_t n);
/* All of the names are meant, or every collection of the database. */
bool op_ns_excluded(const struct op_ns *names, char *const *patterns, size_t n);

#endif
