/*
 * dumpdir.h - a mongodump directory as a source of collections.
 *
 *     DIR/<db>/<collection>.bson[.gz]            documents, end to end
 *     DIR/<db>/<collection>.metadata.json[.gz]   options, indexes, type, full name
 *
 * File names are as in engine/dump_name.h; the metadata of one that was cut has it in full. Views
 * have metadata only. Time-series collections have metadata under the name users see and documents
 * as system.buckets.<name>.bson: here they are one collection of the latter name, as everywhere in
 * pitr, but with index specs in the form users see (see engine/load_options.h). A file without
 * metadata is a collection without options and indexes.
 *
 * A prelude.json[.gz] beside the databases names the server's version.
 *
 * Left out: config and local, system.profile, admin.system.version and keys, and anything in the
 * directory that is neither of the files above. An oplog.bson is refused: it makes the dump a state
 * that the collections alone do not have.
 */
#ifndef PITR_ENGINE_DUMPDIR_H
#define PITR_ENGINE_DUMPDIR_H

#include "engine/load.h"

struct dump_coll {
    struct load_coll coll; /* owned by the directory */
    uint8_t uuid[16];      /* as the metadata says, if has_uuid */
    bool has_uuid;
    char *path;          /* of the documents; NULL: there are none */
    uint64_t file_bytes; /* size of that file, compressed or not: for the order of work */
};
struct dump_views {
    char *db;
    struct buf docs; /* as in system.views, for load_views() */
};

struct dumpdir;
struct dump_cursor;

/* Reads all metadata, no documents. Fails: USAGE (no mongodump directory, or one with an oplog),
 * CORRUPT (metadata), NOTFOUND, IO. */
PITR_MUST enum pitr_rc dumpdir_open(struct dumpdir **out, const char *path, struct pitr_err *err);
void dumpdir_free(struct dumpdir *d);
void dumpdir_freep(struct dumpdir **d);

/* Of the server the dump was made of, as prelude.json has it; "" when nothing says. */
const char *dumpdir_server_version(const struct dumpdir *d);
/* Collections, sorted by database and name; without users, roles and system.views. */
size_t dumpdir_len(const struct dumpdir *d);
const struct dump_coll *dumpdir_at(const struct dumpdir *d, size_t i);
/* Databases that have views. */
size_t dumpdir_views_len(const struct dumpdir *d);
const struct dump_views *dumpdir_views_at(const struct dumpdir *d, size_t i);
/* Documents of admin.system.users and roles, concatenated; empty when the dump has none. */
PITR_MUST enum pitr_rc dumpdir_users(const struct dumpdir *d, struct buf *users, struct buf *roles,
                                     struct pitr_err *err);

/* A reader of one collection's documents, for one thread; borrows `coll`. */
PITR_MUST enum pitr_rc dump_cursor_open(struct dump_cursor **out, const struct dump_coll *coll,
                                        struct pitr_err *err);
/* Next document, checked for well-formed BSON and valid until the next call; *doc NULL at the end.
 * Fails: CORRUPT, the message naming file and offset; IO. */
PITR_MUST enum pitr_rc dump_cursor_next(struct dump_cursor *c, const uint8_t **doc, size_t *len,
                                        struct pitr_err *err);
void dump_cursor_free(struct dump_cursor *c);
void dump_cursor_freep(struct dump_cursor **c);

#endif
