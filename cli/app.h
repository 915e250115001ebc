/*
 * app.h - what every command is given, and what all of them do alike: open, print, fail.
 */
#ifndef PITR_CLI_APP_H
#define PITR_CLI_APP_H

#include "base/job.h"
#include "cli/config.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "engine/repo.h"

struct app {
    struct opts opts;
    struct config config;
    struct log log;
    struct job job;
    atomic_bool stop;
    struct signals *signals;
    struct progress *progress; /* NULL without a terminal */
    bool is_json;
    bool has_answered; /* stdout has its JSON object, or takes nothing */
};

/* 0 to 8 and 130: docs/cli.md. */
int exit_code(enum pitr_rc rc);

/* NULL with --quiet. */
const struct log *app_log(const struct app *app);

/* The repository of --repo. Fails: USAGE when none is named, and as repo_open(). */
PITR_MUST enum pitr_rc app_repo(struct app *app, enum repo_mode mode, struct repo **out,
                                struct pitr_err *err);
PITR_MUST enum pitr_rc app_repo_at(struct app *app, const char *path, enum repo_mode mode,
                                   struct repo **out, struct pitr_err *err);
/* A pool on the source, or on --target (the source where it is not given). Fails: USAGE when no
 * server is named, and as mongo_open(). */
PITR_MUST enum pitr_rc app_source(struct app *app, struct mongo **out, struct pitr_err *err);
PITR_MUST enum pitr_rc app_target(struct app *app, struct mongo **out, struct pitr_err *err);

/* Show progress of app->job from here on, where there is a terminal and nobody said otherwise. */
void app_progress(struct app *app);
void app_progress_end(struct app *app);

/* Write a command's whole output to stdout, with a newline behind a JSON object. Fails: INTERNAL
 * when stdout cannot be written. */
PITR_MUST enum pitr_rc app_print(struct app *app, struct text *out, struct pitr_err *err);

/* Write a piece of output as it is, and empty it, for commands that print as they find. Where
 * nobody reads any more (`| head`), the program ends by SIGPIPE, as usual tools do. Fails: as
 * above. */
PITR_MUST enum pitr_rc app_stream(struct app *app, struct text *out, struct pitr_err *err);

/* Member "error" of an object, as every failure prints it. */
void json_error(struct json *j, const struct pitr_err *err);
/* One line on stderr, and the object on stdout unless the command has answered itself. */
void app_fail(struct app *app, const struct pitr_err *err);

#endif
