/*
 * report.h - parts of output that several commands share.
 */
#ifndef PITR_CLI_REPORT_H
#define PITR_CLI_REPORT_H

#include "cli/json.h"
#include "engine/window.h"

/* Members of the current object: everything a manifest's root says. */
void report_snapshot_json(struct json *j, const struct manifest *m);

void report_gap_json(struct json *j, const char *key, const struct gap *g);

/* Arrays "restorable" and "gaps", and the same for people. */
void report_windows_json(struct json *j, const struct history *h);
void report_windows(struct text *out, const struct history *h);

#endif
