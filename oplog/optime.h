/*
 * optime.h - positions in an oplog.
 *
 * A timestamp is BSON's 64-bit form: seconds in the high half, ordinal in the low half, so plain
 * integer comparison orders it. An optime adds the election term. Text forms are "SECS,INC" (also
 * "SECS:INC" when read).
 */
#ifndef PITR_OPLOG_OPTIME_H
#define PITR_OPLOG_OPTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct optime {
    uint64_t ts;  /* 0 means "none" */
    int64_t term; /* -1 where unknown */
};

enum { TS_TEXT_LEN = 24 }; /* "4294967295,4294967295" and its NUL */

static inline uint64_t
ts_make(uint32_t secs, uint32_t inc)
{
    return (uint64_t)secs << 32 | inc;
}
static inline uint32_t
ts_secs(uint64_t ts)
{
    return (uint32_t)(ts >> 32);
}
static inline uint32_t
ts_inc(uint64_t ts)
{
    return (uint32_t)ts;
}

void ts_format(char out[TS_TEXT_LEN], uint64_t ts);
/* "SECS,INC" or "SECS:INC", nothing else around it. */
bool ts_parse(uint64_t *ts, const char *text);

#endif
