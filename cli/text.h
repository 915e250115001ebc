/*
 * text.h - what a command says: text built in memory and written at once, aligned tables, and
 * numbers as people read them.
 *
 * A struct text remembers the first failed allocation and ignores what is added after it, so that
 * callers check once, at the end. A zeroed struct text is empty and valid.
 */
#ifndef PITR_CLI_TEXT_H
#define PITR_CLI_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct text {
    struct buf buf;
    struct pitr_err err; /* the first failure, or rc PITR_OK */
};

void text_add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_bytes(struct text *t, const char *data, size_t len);
PITR_MUST enum pitr_rc text_check(const struct text *t, struct pitr_err *err);
void text_release(struct text *t);

enum { AMOUNT_LEN = 32 };
const char *format_bytes(char out[AMOUNT_LEN], uint64_t bytes);    /* "12 B", "3.4 MiB" */
const char *format_count(char out[AMOUNT_LEN], uint64_t n);        /* "1,234,567" */
const char *format_seconds(char out[AMOUNT_LEN], int64_t seconds); /* "42 s", "3 h 20 min" */
/* "2026-11-23T14:03:07Z (1795442587,3)"; "-" for 0. */
enum { MOMENT_TEXT_LEN = 64 };
const char *format_moment(char out[MOMENT_TEXT_LEN], uint64_t ts);
const char *format_time_ms(char out[AMOUNT_LEN], int64_t unix_ms); /* RFC 3339; "-" for 0 */

/* Columns as wide as their widest cell, two spaces between them. */
struct table {
    const char *const *head; /* column titles; one that begins with '>' is right-aligned */
    size_t columns;
    struct text cells; /* NUL-terminated, row by row */
    size_t ncells;
};
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(struct text *out, const struct table *t);
void table_release(struct table *t);

#endif
