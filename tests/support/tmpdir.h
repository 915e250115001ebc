/*
 * tmpdir.h - a folder of a test's own: cmocka setup and teardown.
 */
#ifndef PITR_TESTS_SUPPORT_TMPDIR_H
#define PITR_TESTS_SUPPORT_TMPDIR_H

/* *state becomes the path (below $TMPDIR or /tmp), malloc'ed; teardown removes the folder with
 * everything in it. */
int tmpdir_setup(void **state);
int tmpdir_teardown(void **state);

/* `name` below `dir`, malloc'ed. */
char *tmpdir_path(const char *dir, const char *name);

#endif
