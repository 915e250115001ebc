/*
 * json.h - writes one JSON value, compact, into a struct text.
 *
 * Calls nest as the value does; commas are placed here. `key` is NULL inside arrays and for the
 * outermost value. Integers are printed whole (a reader needs 64 bits for them), doubles with three
 * decimals. Bytes that are no UTF-8 become U+FFFD, so the output is always valid JSON.
 */
#ifndef PITR_CLI_JSON_H
#define PITR_CLI_JSON_H

#include "cli/text.h"

struct json {
    struct text *out; /* borrowed */
    bool wants_comma;
};

void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_array(struct json *j, const char *key);
void json_array_end(struct json *j);

void json_text(struct json *j, const char *key, const char *value); /* NULL: null */
void json_int(struct json *j, const char *key, int64_t value);
void json_count(struct json *j, const char *key, uint64_t value);
void json_double(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
/* A value that is JSON already. */
void json_raw(struct json *j, const char *key, const char *value, size_t len);

/* The forms every command uses. */
void json_ts(struct json *j, const char *key, uint64_t ts); /* {"t":SECS,"i":INC}, null for 0 */
void json_time_ms(struct json *j, const char *key, int64_t unix_ms); /* RFC 3339, null for 0 */

#endif
