#include "engine/pace.h"

#include <string.h>

#define PACE_NOTE "state/restore-pace"

/* Loading, indexing and reading back 1.6 million documents of 476 MB takes the server of the
 * benchmarks 12.4 s on two cores, about half of it for the number of documents. */
static const double SECONDS_PER_DOCUMENT = 4e-6, SECONDS_PER_BYTE = 1.25e-8;
/* Shorter ones measure the server's round trips. */
static const double SECONDS_TO_LEARN = 0.2;

double
pace_model(uint64_t documents, uint64_t bytes)
{
    return (double)documents * SECONDS_PER_DOCUMENT + (double)bytes * SECONDS_PER_BYTE;
}

enum pitr_rc
pace_read(struct pace *out, struct repo *r, const char *target, struct pitr_err *err)
{
    bson_t note = BSON_INITIALIZER;
    bson_iter_t at;
    bool found;
    enum pitr_rc rc;

    *out = (struct pace){.factor = 1.0};
    rc = repo_note_read(r, PACE_NOTE, &note, &found, err);
    if (rc == PITR_OK && found && bson_iter_init_find(&at, &note, "target") &&
        BSON_ITER_HOLDS_UTF8(&at) && strcmp(bson_iter_utf8(&at, NULL), target) == 0 &&
        bson_iter_init_find(&at, &note, "factor") && BSON_ITER_HOLDS_DOUBLE(&at) &&
        bson_iter_double(&at) > 0)
        *out = (struct pace){.factor = bson_iter_double(&at), .is_measured = true};
    bson_destroy(&note);
    return rc;
}

enum pitr_rc
pace_learn(struct repo *r, const char *target, uint64_t documents, uint64_t bytes, double seconds,
           struct pitr_err *err)
{
    bson_t note = BSON_INITIALIZER;
    enum pitr_rc rc;

    if (seconds < SECONDS_TO_LEARN || documents == 0)
        return PITR_OK;
    BSON_APPEND_UTF8(&note, "target", target);
    BSON_APPEND_DOUBLE(&note, "factor", seconds / pace_model(documents, bytes));
    rc = repo_note_write(r, PACE_NOTE, &note, err);
    bson_destroy(&note);
    return rc;
}
