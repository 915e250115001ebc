#include "cli/commands.h"

enum pitr_rc
cmd_export(struct app *app, struct pitr_err *err)
{
    (void)app;
    return pitr_fail(err, PITR_USAGE, "export: this version does not have it");
}
