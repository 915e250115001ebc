/*
 * log_print.h - operations that were found, for people or as JSON, written while they are found.
 *
 * For people: one line says when, what and where, a second one, indented, what it did. JSON: one
 * object a line, docs/json.md.
 */
#ifndef PITR_CLI_LOG_PRINT_H
#define PITR_CLI_LOG_PRINT_H

#include "cli/app.h"
#include "engine/oplog_search.h"

struct log_print {
    struct app *app;
    struct text out;  /* not written yet */
    struct buf json;  /* scratch: one value */
    uint64_t limit;   /* 0: none */
    uint64_t printed; /* operations */
    bool at_once;     /* a person is waiting: write after every operation */
};

/* The sink of a search, whose results go to `p`. */
struct search_sink log_print_sink(struct log_print *p);
PITR_MUST enum pitr_rc log_print_flush(struct log_print *p, struct pitr_err *err);
void log_print_release(struct log_print *p);

#endif
