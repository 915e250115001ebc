/*
 * commands.h - one function per command: options in, engine called, result printed.
 */
#ifndef PITR_CLI_COMMANDS_H
#define PITR_CLI_COMMANDS_H

#include "cli/app.h"

PITR_MUST enum pitr_rc cmd_init(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_snapshot(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_tail(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_restore(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_list(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_show(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_log(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_diff(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_export(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_import(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_verify(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_status(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_check(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_index_rebuild(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_config_show(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_version(struct app *app, struct pitr_err *err);
PITR_MUST enum pitr_rc cmd_help(struct app *app, struct pitr_err *err);

#endif
