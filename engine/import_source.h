/*
 * import_source.h - a mongodump directory as a doc_source, so that the pipeline of a scan reads it.
 *
 * The catalog is that of a server: views as system.views collections, users and roles of admin; a
 * collection without metadata has neither options nor index specs. Index specs of time-series
 * collections are in the form users see. UUIDs are those of the metadata, each used once; what has
 * none gets a random one.
 */
#ifndef PITR_ENGINE_IMPORT_SOURCE_H
#define PITR_ENGINE_IMPORT_SOURCE_H

#include "engine/doc_source.h"
#include "engine/dumpdir.h"

/* Borrows `dir`. confirm() and locate() have nothing to say about files. Fails as the functions
 * of dumpdir.h. */
PITR_MUST enum pitr_rc import_source_new(struct doc_source **out, const struct dumpdir *dir,
                                         struct pitr_err *err);

#endif
