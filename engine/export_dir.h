/*
 * export_dir.h - a directory that appears under its name once it is complete.
 *
 * Until export_dir_publish(), everything is in "<path>.part-<random>" beside it, with folders one
 * level deep. Freed before that, it is removed; a killed process leaves it.
 */
#ifndef PITR_ENGINE_EXPORT_DIR_H
#define PITR_ENGINE_EXPORT_DIR_H

#include "base/err.h"

struct export_dir;

/* `path` must not exist, or be an empty directory; its parents are made. Fails: USAGE, DENIED,
 * FULL, IO. */
PITR_MUST enum pitr_rc export_dir_begin(struct export_dir **out, const char *path,
                                        struct pitr_err *err);
/* Where to write. */
const char *export_dir_path(const struct export_dir *d);
/* Sync all folders (files must be already), and give the directory its name. */
PITR_MUST enum pitr_rc export_dir_publish(struct export_dir *d, struct pitr_err *err);
void export_dir_free(struct export_dir *d);
void export_dir_freep(struct export_dir **d);

#endif
