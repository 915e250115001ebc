#include "oplog/optime.h"

#include <inttypes.h>
#include <stdio.h>

void
ts_format(char out[TS_TEXT_LEN], uint64_t ts)
{
    snprintf(out, TS_TEXT_LEN, "%" PRIu32 ",%" PRIu32, ts_secs(ts), ts_inc(ts));
}

/* Decimal digits up to UINT32_MAX; returns the first character after them, or NULL. */
static const char *
parse_u32(uint32_t *out, const char *text)
{
    uint64_t v = 0;
    const char *p = text;

    for (; *p >= '0' && *p <= '9'; p++) {
        v = v * 10 + (uint64_t)(*p - '0');
        if (v > UINT32_MAX)
            return NULL;
    }
    *out = (uint32_t)v;
    return p == text ? NULL : p;
}

bool
ts_parse(uint64_t *ts, const char *text)
{
    uint32_t secs, inc;
    const char *p = parse_u32(&secs, text);

    if (p == NULL || (*p != ',' && *p != ':'))
        return false;
    p = parse_u32(&inc, p + 1);
    if (p == NULL || *p != '\0')
        return false;
    *ts = ts_make(secs, inc);
    return true;
}
