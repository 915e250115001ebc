/*
 * ns.h - names of collections as the server stores them and as users see them.
 */
#ifndef PITR_MONGO_NS_H
#define PITR_MONGO_NS_H

#include <stdbool.h>
#include <stddef.h>

/* A time-series collection keeps its measurements in a collection of its name behind this prefix.
 */
#define NS_BUCKETS_PREFIX "system.buckets."
bool ns_is_buckets(const char *name);

/* The name users know: without the prefix of a time-series collection's buckets. Points into
 * `name`. */
const char *ns_visible_name(const char *name);

/* True if one of the patterns (base/pattern.h) matches db.name, or db and the name users see. */
bool ns_is_excluded(char *const *patterns, size_t n, const char *db, const char *name);

#endif
