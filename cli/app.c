#include "cli/app.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Longer than any answer to a read of a server that is alive, short enough to notice a network that
 * swallows packets within a minute. A restore waits for index builds, which may take hours. */
enum { READ_SOCKET_MS = 30000, RESTORE_SOCKET_MS = INT32_MAX };

int
exit_code(enum pitr_rc rc)
{
    switch (rc) {
    case PITR_OK:
        return 0;
    case PITR_USAGE:
        return 2;
    case PITR_DB:
    case PITR_DB_LOST:
        return 3;
    case PITR_IO:
    case PITR_FULL:
    case PITR_DENIED:
    case PITR_NOTFOUND:
    case PITR_EXISTS:
        return 4;
    case PITR_CORRUPT:
        return 5;
    case PITR_GAP:
        return 6;
    case PITR_BUSY:
        return 7;
    case PITR_UNHEALTHY:
        return 8;
    case PITR_INTERRUPTED:
        return 130;
    case PITR_INTERNAL:
    case PITR_NOMEM:
    case PITR_ABORTED:
        break;
    }
    return 1;
}

const struct log *
app_log(const struct app *app)
{
    return opts_has(&app->opts, OPT_QUIET) ? NULL : &app->log;
}

enum pitr_rc
app_repo_at(struct app *app, const char *path, enum repo_mode mode, struct repo **out,
            struct pitr_err *err)
{
    if (strstr(path, "://") != NULL)
        return pitr_fail(err, PITR_USAGE,
                         "repository %s: this version of pitr keeps repositories in directories "
                         "only; name a directory",
                         path);
    return repo_open(out, path, mode, app_log(app), err);
}

enum pitr_rc
app_repo(struct app *app, enum repo_mode mode, struct repo **out, struct pitr_err *err)
{
    if (app->config.repo == NULL)
        return pitr_fail(err, PITR_USAGE,
                         "no repository named; give --repo PATH, or set MONGODB_BACKUP_PATH");
    return app_repo_at(app, app->config.repo, mode, out, err);
}

static enum pitr_rc
open_mongo(struct app *app, struct mongo_opts *opts, struct mongo **out, struct pitr_err *err)
{
    if (opts->uri == NULL)
        return pitr_fail(err, PITR_USAGE, "no server named; give --uri URI, or set MONGODB_URI");
    opts->log = app_log(app);
    return mongo_open(out, opts, err);
}

enum pitr_rc
app_source(struct app *app, struct mongo **out, struct pitr_err *err)
{
    struct mongo_opts opts = {.uri = app->config.uri, .socket_ms = READ_SOCKET_MS};

    return open_mongo(app, &opts, out, err);
}

enum pitr_rc
app_target(struct app *app, struct mongo **out, struct pitr_err *err)
{
    const char *uri = opts_text(&app->opts, OPT_TARGET);
    struct mongo_opts opts = {.uri = uri != NULL ? uri : app->config.uri,
                              .socket_ms = RESTORE_SOCKET_MS,
                              .primary_only = true};

    return open_mongo(app, &opts, out, err);
}

void
app_progress(struct app *app)
{
    if (app->progress == NULL && !app->is_json && !opts_has(&app->opts, OPT_QUIET) &&
        !opts_has(&app->opts, OPT_NO_PROGRESS) && isatty(STDERR_FILENO) == 1)
        app->progress = progress_start(&app->job, STDERR_FILENO);
}

void
app_progress_end(struct app *app)
{
    progress_end(app->progress);
    app->progress = NULL;
}

/* Ends the program: SIGPIPE is ignored everywhere else, so that a lost connection is an error. */
static void
end_without_reader(void)
{
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}

/* When it fails, there is no way to answer at all. */
static enum pitr_rc
write_out(struct app *app, const uint8_t *data, size_t len, bool needs_reader, struct pitr_err *err)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EPIPE && needs_reader)
            end_without_reader();
        if (n < 0) {
            pitr_fail_errno(err, errno, "writing to stdout");
            app->has_answered = true;
            /* Neither the repository nor the user's request is at fault. */
            return err->rc = PITR_INTERNAL;
        }
        data += n;
        len -= (size_t)n;
    }
    return PITR_OK;
}

enum pitr_rc
app_print(struct app *app, struct text *out, struct pitr_err *err)
{
    app_progress_end(app);
    if (app->is_json)
        text_add(out, "\n");
    if (text_check(out, err) != PITR_OK ||
        write_out(app, out->buf.data, out->buf.len, false, err) != PITR_OK)
        return err->rc;
    app->has_answered = app->is_json;
    return PITR_OK;
}

enum pitr_rc
app_stream(struct app *app, struct text *out, struct pitr_err *err)
{
    app_progress_end(app);
    if (text_check(out, err) != PITR_OK ||
        write_out(app, out->buf.data, out->buf.len, true, err) != PITR_OK)
        return err->rc;
    buf_clear(&out->buf);
    return PITR_OK;
}

void
json_error(struct json *j, const struct pitr_err *err)
{
    json_object(j, "error");
    json_text(j, "code", pitr_rc_name(err->rc));
    json_int(j, "exit", exit_code(err->rc));
    json_text(j, "message", err->msg);
    json_object_end(j);
}

void
app_fail(struct app *app, const struct pitr_err *err)
{
    PITR_AUTO(text_release) struct text out = {0};
    struct json j = {.out = &out};
    struct pitr_err ignored;
    char line[sizeof err->msg];

    app_progress_end(app);
    snprintf(line, sizeof line, "%s", err->msg);
    for (char *c = line; *c != '\0'; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    fprintf(stderr, "pitr: %s\n", line);
    if (!app->is_json || app->has_answered)
        return;
    json_object(&j, NULL);
    json_error(&j, err);
    json_object_end(&j);
    text_add(&out, "\n");
    if (text_check(&out, &ignored) == PITR_OK &&
        write_out(app, out.buf.data, out.buf.len, false, &ignored) != PITR_OK)
        fprintf(stderr, "pitr: %s\n", ignored.msg);
}
