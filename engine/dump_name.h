/*
 * dump_name.h - names of collections as names of files in a mongodump directory.
 *
 * Letters, digits and "-_.~" stand for themselves, any other byte is %XX; readers also take "+" for
 * a space. A name that becomes longer than 238 bytes is cut to 208 and gets "%24" (a dollar sign)
 * and the unpadded URL-safe Base64 of its SHA-1, which makes 238 again: with the longest suffix,
 * ".metadata.json.gz", a file name of 255. What was cut off is in the metadata, "collectionName".
 */
#ifndef PITR_ENGINE_DUMP_NAME_H
#define PITR_ENGINE_DUMP_NAME_H

#include <stdbool.h>

#include "base/err.h"

enum { DUMP_NAME_MAX = 238, DUMP_NAME_LEN = DUMP_NAME_MAX + 1 };

/* Fails: USAGE for a name longer than any server allows. */
PITR_MUST enum pitr_rc dump_name_encode(char out[DUMP_NAME_LEN], const char *name,
                                        struct pitr_err *err);
/* In place; what is no code stays as it is. */
void dump_name_decode(char *name);
/* Whether a file name without its suffix may be one that was cut. */
bool dump_name_is_cut(const char *file_name);

#endif
