#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"

static enum pitr_rc (*const commands[CMD_COUNT])(struct app *app, struct pitr_err *err) = {
    [CMD_INIT] = cmd_init,
    [CMD_SNAPSHOT] = cmd_snapshot,
    [CMD_TAIL] = cmd_tail,
    [CMD_RESTORE] = cmd_restore,
    [CMD_LIST] = cmd_list,
    [CMD_SHOW] = cmd_show,
    [CMD_LOG] = cmd_log,
    [CMD_DIFF] = cmd_diff,
    [CMD_EXPORT] = cmd_export,
    [CMD_IMPORT] = cmd_import,
    [CMD_VERIFY] = cmd_verify,
    [CMD_STATUS] = cmd_status,
    [CMD_CHECK] = cmd_check,
    [CMD_INDEX_REBUILD] = cmd_index_rebuild,
    [CMD_CONFIG_SHOW] = cmd_config_show,
    [CMD_VERSION] = cmd_version,
    [CMD_HELP] = cmd_help,
};

/*
 * libmongoc logs while it is loaded, before anybody could tell it not to: "Falling back to malloc
 * for counters", once a killed process has left its shared memory behind and its pid comes again.
 * This takes the place of the library's own default handler, as a definition in the program does;
 * what matters of its later messages comes back as errors.
 */
void
mongoc_log_default_handler(mongoc_log_level_t level, const char *domain, const char *message,
                           void *data)
{
    (void)level;
    (void)domain;
    (void)message;
    (void)data;
}

/* Also before the command line is understood: a mistake in it is reported as it asks for. */
static bool
wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

static void
choose_log_level(struct app *app)
{
    size_t verbose = app->opts.values[OPT_VERBOSE].len;

    app->log = (struct log){.fd = STDERR_FILENO,
                            .level = verbose == 0   ? LOG_WARNING
                                     : verbose == 1 ? LOG_INFO
                                                    : LOG_DEBUG};
    app->job.log = app_log(app);
    app->job.stop = &app->stop;
}

/* Help must not depend on a configuration that is right. */
static bool
needs_config(enum command_id command)
{
    return command != CMD_HELP && command != CMD_VERSION;
}

static enum pitr_rc
run(struct app *app, int argc, char **argv, struct pitr_err *err)
{
    enum pitr_rc rc;

    if (opts_parse(&app->opts, argc, argv, err) != PITR_OK ||
        signals_start(&app->signals, &app->stop, err) != PITR_OK)
        return err->rc;
    choose_log_level(app);
    if (needs_config(app->opts.command) &&
        config_load(&app->config, &app->opts, environ, err) != PITR_OK)
        return err->rc;
    mongo_init();
    rc = commands[app->opts.command](app, err);
    app_progress_end(app);
    mongo_cleanup();
    return rc;
}

/*
 * A standard descriptor that the caller has closed would be given to the next file or connection,
 * and what is printed would be written into that. What takes its place refuses to be used.
 */
static bool
occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

int
main(int argc, char **argv)
{
    struct app app = {.is_json = wants_json(argc, argv)};
    struct pitr_err err = {.rc = PITR_OK};
    enum pitr_rc rc;

    if (!occupy_standard_descriptors())
        return exit_code(PITR_INTERNAL);
    rc = run(&app, argc, argv, &err);
    if (rc != PITR_OK)
        app_fail(&app, &err);
    signals_free(app.signals);
    config_release(&app.config);
    opts_release(&app.opts);
    return exit_code(rc);
}
