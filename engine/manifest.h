/*
 * manifest.h - what one snapshot holds: a Merkle tree whose root is the only commit point.
 *
 * root (object "snapshots/<id>.manifest", one FRAME_MANIFEST) -> database nodes -> collection nodes
 * -> lists -> chunks; nodes and lists are frames in packs, deduplicated like data, so an unchanged
 * collection or database costs nothing new. docs/format.md, "Manifest", gives every field.
 *
 * A collection is its UUID. Two collections of one fuzzy scan may carry the same name (one was
 * dropped, another renamed into its place while the scan ran); replay up to t_end leaves at most
 * one of them.
 */
#ifndef PITR_ENGINE_MANIFEST_H
#define PITR_ENGINE_MANIFEST_H

#include "base/fingerprint.h"
#include "engine/repo.h"
#include "oplog/optime.h"

enum { SNAPSHOT_ID_LEN = 24 }; /* "20261123T140307Z-1f2e3d" and its NUL */

/* One chunk of a run, in order. A document longer than the maximum chunk is a series of FRAME_PART
 * chunks (documents 0) closed by one that counts the document (documents 1, type FRAME_PART). */
struct chunk_entry {
    struct chunk_id id;
    uint32_t raw_len;
    uint32_t documents;
    enum frame_type type; /* FRAME_DATA or FRAME_PART */
};

struct coll_node {
    char *db, *name;    /* owned */
    uint8_t uuid[16];   /* every supported server has them, a standalone too */
    struct buf options; /* BSON document as listCollections gives it (no uuid) */
    struct buf indexes; /* BSON document "0","1",...: finished index specs as listIndexes gives
                           them, _id_ included */
    struct fingerprint print; /* of the base run as scanned; documents and bytes included */
    uint64_t chunks;
    struct chunk_id *lists; /* FRAME_LIST ids of the base run, in order; owned */
    size_t nlists;
};
void coll_node_release(struct coll_node *c);

/* A database and the frame that names its collections' nodes. */
struct db_node {
    char *db; /* owned */
    struct chunk_id id;
};

struct excluded_coll {
    char *ns; /* owned */
    uint8_t uuid[16];
};

struct manifest {
    char id[SNAPSHOT_ID_LEN];
    char mode[8]; /* "scan", "import"; "roll" later */
    char *label;  /* owned; NULL for none */
    bool pitr;    /* false: a standalone's, restorable only as itself */
    uint32_t timeline;
    struct cluster_id cluster;
    char host[272], server_version[32], fcv[16], tool_version[16];
    struct optime begin, t_start, t_end; /* ts 0 where there is no oplog */
    int64_t started_ms, finished_ms;
    uint64_t collections, documents, bytes_raw, chunks; /* totals over collections */
    uint64_t chunks_new, bytes_new, bytes_stored;       /* what this snapshot added */
    char **exclude;                                     /* patterns that were left out; owned */
    size_t nexclude;
    struct excluded_coll *excluded; /* collections left out, by UUID, so that replay knows them */
    size_t nexcluded;
    struct db_node *dbs; /* by name; owned. Filled by manifest_store_nodes() and by reading */
    size_t ndbs;
    struct coll_node *colls; /* by db, name, UUID; owned. Empty after manifest_read_root() */
    size_t ncolls;
};
void manifest_release(struct manifest *m);
/* Made of a mongodump directory: not of the repository's own server, as far as anyone knows. */
bool manifest_is_import(const struct manifest *m);

/* Snapshot ids, oldest first. */
PITR_MUST enum pitr_rc manifest_list(struct repo *r, struct fs_names *ids, struct pitr_err *err);
/* Root only: everything but colls. NOTFOUND names the nearest ids. `id` may be a unique prefix or
 * "latest", which is no import while there is anything else. */
PITR_MUST enum pitr_rc manifest_read_root(struct repo *r, const char *id, struct manifest *out,
                                          struct pitr_err *err);
/* Root and all collection nodes. */
PITR_MUST enum pitr_rc manifest_read(struct repo *r, const char *id, struct manifest *out,
                                     struct pitr_err *err);
/* Sort colls, store a node for each and one per database through `w` (the caller finishes `w`
 * afterwards), and fill in dbs, the totals and bytes_stored. */
PITR_MUST enum pitr_rc manifest_store_nodes(struct manifest *m, struct store_writer *w,
                                            struct sealer *sealer, struct pitr_err *err);
/* Publish the root: after this the snapshot exists. Everything it names must be durable. */
PITR_MUST enum pitr_rc manifest_publish(struct repo *r, const struct manifest *m,
                                        struct pitr_err *err);

/* The chunk list of a run, built as chunks complete and cut by content into FRAME_LIST chunks of
 * about 2,000 entries. */
struct list_writer;
PITR_MUST enum pitr_rc list_writer_new(struct list_writer **out, struct store_writer *w,
                                       struct sealer *sealer, struct pitr_err *err);
void list_writer_free(struct list_writer *lw);
void list_writer_freep(struct list_writer **lw);
PITR_MUST enum pitr_rc list_writer_add(struct list_writer *lw, const struct chunk_entry *e,
                                       struct pitr_err *err);
/* Close the last list and hand lists, nlists and chunks to `node`. */
PITR_MUST enum pitr_rc list_writer_finish(struct list_writer *lw, struct coll_node *node,
                                          struct pitr_err *err);
/* All entries of one FRAME_LIST; *entries is malloc'ed. Belongs to the reader's thread. Fails:
 * CORRUPT, IO, NOMEM. */
PITR_MUST enum pitr_rc list_read(struct store_reader *reader, const struct chunk_id *list,
                                 struct chunk_entry **entries, size_t *n, struct pitr_err *err);

#endif
