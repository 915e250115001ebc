/*
 * manifest_internal.h - what the writer and the reader of manifests share.
 */
#ifndef PITR_ENGINE_MANIFEST_INTERNAL_H
#define PITR_ENGINE_MANIFEST_INTERNAL_H

#include "engine/manifest.h"

enum { MANIFEST_VERSION = 1, NODE_VERSION = 1 };

#define MANIFEST_FOLDER "snapshots/"
#define MANIFEST_SUFFIX ".manifest"
enum { MANIFEST_NAME_LEN = 64 };

/* "snapshots/<id>.manifest" */
void manifest_object(char out[MANIFEST_NAME_LEN], const char *id);
/* The order of collections in a database node: db, name, UUID. */
int coll_node_compare(const struct coll_node *a, const struct coll_node *b);

#endif
