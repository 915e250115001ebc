/*
 * scan.h - a snapshot of a doc_array without a server: the pipeline, nodes, packs, manifest.
 */
#ifndef PITR_TESTS_SUPPORT_SCAN_H
#define PITR_TESTS_SUPPORT_SCAN_H

#include "doc_array.h"
#include "engine/manifest.h"
#include "engine/repo.h"

/* Scan everything and publish a standalone's snapshot `id`. *out (may be NULL) gets the manifest.
 */
PITR_MUST enum pitr_rc scan_snapshot(struct repo *repo, struct doc_array *a, const char *id,
                                     struct manifest *out, struct pitr_err *err);

#endif
