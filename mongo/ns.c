#include "mongo/ns.h"

#include <stdio.h>
#include <string.h>

#include "base/pattern.h"

/* A server's namespace has at most 255 bytes. */
enum { NS_BUFFER = 512 };

bool
ns_is_buckets(const char *name)
{
    return strncmp(name, NS_BUCKETS_PREFIX, strlen(NS_BUCKETS_PREFIX)) == 0;
}

const char *
ns_visible_name(const char *name)
{
    return ns_is_buckets(name) ? name + strlen(NS_BUCKETS_PREFIX) : name;
}

bool
ns_is_excluded(char *const *patterns, size_t n, const char *db, const char *name)
{
    char ns[NS_BUFFER], visible[NS_BUFFER];

    snprintf(ns, sizeof ns, "%s.%s", db, name);
    snprintf(visible, sizeof visible, "%s.%s", db, ns_visible_name(name));
    for (size_t i = 0; i < n; i++)
        if (pattern_match(patterns[i], ns) || pattern_match(patterns[i], visible))
            return true;
    return false;
}
