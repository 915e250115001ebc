/*
 * repo.h - a repository on disk: layout, identity, locks.
 *
 *     repository        one FRAME_REPO: format version, features, id, keys, creation time
 *     cluster           one FRAME_NOTE: identity of the cluster it belongs to (after first use)
 *     packs/ snapshots/ oplog/   the data (docs/format.md)
 *     intents/          one FRAME_NOTE per running snapshot: there may be unreferenced packs
 *     state/            last results and requests; losing it loses no data
 *     index/            LMDB, a cache
 *     locks/            kernel locks
 *     tmp/              unpublished files
 *
 * Required features that this program does not know make it refuse the repository.
 */
#ifndef PITR_ENGINE_REPO_H
#define PITR_ENGINE_REPO_H

#include "base/fs.h"
#include "chunkstore/store.h"
#include "mongo/conn.h"

struct repo;

#define REPO_FORMAT_VERSION 1

/* Make a repository in `path` (made when missing). Idempotent: an existing repository is left as it
 * is and *created is false. Refuses a directory that holds anything else. Fails: USAGE, IO, DENIED,
 * FULL. */
PITR_MUST enum pitr_rc repo_init(const char *path, bool *created, struct pitr_err *err);

enum repo_mode { REPO_READ, REPO_WRITE };
/* Fails: NOTFOUND (no repository there: says to run init), CORRUPT, DENIED (REPO_WRITE in a
 * directory that cannot be written), IO, USAGE (unknown required feature or newer format). */
PITR_MUST enum pitr_rc repo_open(struct repo **out, const char *path, enum repo_mode mode,
                                 const struct log *log, struct pitr_err *err);
/* The same for objects that live in `blob`, which the repository takes over, also on failure.
 * `path` is where the local part is: locks, state, index. */
PITR_MUST enum pitr_rc repo_open_on(struct repo **out, struct blob *blob, const char *path,
                                    enum repo_mode mode, const struct log *log,
                                    struct pitr_err *err);
void repo_free(struct repo *r);
void repo_freep(struct repo **r);

const char *repo_path(const struct repo *r);
void repo_id_text(const struct repo *r, char out[2 * REPO_ID_LEN + 1]);
struct blob *repo_blob(struct repo *r);
const struct repo_keys *repo_keys(const struct repo *r);
/* The chunk store, opened at first use (so commands that need no chunks never touch the index). */
PITR_MUST enum pitr_rc repo_store(struct repo *r, struct store **out, struct pitr_err *err);

/* "snapshot" or "tail". BUSY, naming the other process, when taken. */
PITR_MUST enum pitr_rc repo_lock(struct repo *r, const char *what, struct fs_lock **out,
                                 struct pitr_err *err);
/* state/<name>, for files that go beside the objects; *out is malloc'ed. */
PITR_MUST enum pitr_rc repo_state_path(struct repo *r, const char *name, char **out,
                                       struct pitr_err *err);

struct cluster_id {
    char set_name[128];      /* "" for a standalone */
    char replica_set_id[25]; /* "" for a standalone */
};
/* The cluster the repository belongs to; *known false before the first snapshot or tail. */
PITR_MUST enum pitr_rc repo_cluster(struct repo *r, struct cluster_id *out, bool *known,
                                    struct pitr_err *err);
/* Bind a new repository to the server's cluster, or check that it is the same one. A repository of
 * a standalone may become one of a replica set (that is how PITR is switched on). Fails: USAGE
 * (another cluster; names both). */
PITR_MUST enum pitr_rc repo_bind(struct repo *r, const struct server_info *server,
                                 struct pitr_err *err);

/* A small BSON file (FRAME_NOTE) under `name`. repo_note_read: *found false when missing. */
PITR_MUST enum pitr_rc repo_note_write(struct repo *r, const char *name, const bson_t *doc,
                                       struct pitr_err *err);
PITR_MUST enum pitr_rc repo_note_read(struct repo *r, const char *name, bson_t *doc, bool *found,
                                      struct pitr_err *err);

#endif
