/*
 * cindex_files.h - the files around the index's database: which generation is current, whether its
 * pages may be mapped, who writes. Only for cindex.c; cindex.h tells the story.
 */
#ifndef PITR_CHUNKSTORE_CINDEX_FILES_H
#define PITR_CHUNKSTORE_CINDEX_FILES_H

#include "base/fs.h"

/* "g-", 16 digits, NUL. */
enum { CINDEX_GEN_LEN = 2 + 16 + 1 };

struct cindex_state {
    char gen[CINDEX_GEN_LEN];
    bool vouched; /* a live writer has checked this generation's pages */
};

PITR_MUST enum pitr_rc cindex_files_lock(struct fs_lock **out, const char *dir,
                                         struct pitr_err *err);
/* Keep writers out. *out stays NULL where no writer is possible (no lock file, and no right to make
 * one). Fails: BUSY. */
PITR_MUST enum pitr_rc cindex_files_share(struct fs_lock **out, const char *dir,
                                          struct pitr_err *err);

/* Fails: NOTFOUND (no index), CORRUPT (`current` makes no sense), IO. `own_lock`: the caller is the
 * writer itself, and asks nobody. */
PITR_MUST enum pitr_rc cindex_files_state(struct cindex_state *out, const char *dir, bool own_lock,
                                          struct pitr_err *err);
/* May data.mdb in `folder` be mapped? Checks what LMDB reads first, and unless `vouched` the stamp.
 * Fails: CORRUPT, NOTFOUND, IO, DENIED. */
PITR_MUST enum pitr_rc cindex_files_check(const char *folder, bool vouched, struct pitr_err *err);

PITR_MUST enum pitr_rc cindex_files_new_gen(char gen[CINDEX_GEN_LEN], struct pitr_err *err);
PITR_MUST enum pitr_rc cindex_files_set_current(const char *dir, const char *gen,
                                                struct pitr_err *err);
PITR_MUST enum pitr_rc cindex_files_mark_open(const char *folder, struct pitr_err *err);
PITR_MUST enum pitr_rc cindex_files_unstamp(const char *folder, struct pitr_err *err);

/* Best effort: what is left undone costs a rebuild or some space, and the next writer sees to it.
 */
void cindex_files_stamp(const char *folder);
void cindex_files_remove(const char *folder);
void cindex_files_remove_others(const char *dir, const char *gen);

#endif
