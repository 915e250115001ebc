#include "cli/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/pattern.h"
#include "cli/config_file.h"

/* Sealing less often than this would break the promised RPO of 15 minutes. */
enum {
    INTERVAL_MAX = 900,
    LEVEL_MAX = 22,
    CONNECTIONS_MAX = 64,
    MEMORY_MAX_MIB = 1 << 20,
    NO_OPTION = OPT_COUNT
};

struct key_spec {
    const char *name;
    const char *variable; /* environment; NULL for none */
    int option;           /* enum opt_id, or NO_OPTION */
};

static const struct key_spec keys[CONFIG_COUNT] = {
    [CONFIG_REPO] = {"repo", "MONGODB_BACKUP_PATH", OPT_REPO},
    [CONFIG_URI] = {"uri", "MONGODB_URI", OPT_URI},
    [CONFIG_EXCLUDE] = {"excludeCollections", NULL, NO_OPTION},
    [CONFIG_CODEC] = {"codec", NULL, OPT_CODEC},
    [CONFIG_LEVEL] = {"level", NULL, OPT_LEVEL},
    [CONFIG_TAIL_INTERVAL] = {"tail.interval", NULL, OPT_INTERVAL},
    [CONFIG_RPO] = {"limits.rpo", NULL, NO_OPTION},
    [CONFIG_SNAPSHOT_AGE] = {"limits.snapshotAge", NULL, NO_OPTION},
    [CONFIG_CONNECTIONS] = {"restore.connections", NULL, NO_OPTION},
    [CONFIG_MEMORY] = {"restore.memory", NULL, OPT_MEMORY},
};

const char *
config_name(enum config_key key)
{
    return keys[key].name;
}

static void
exclude_release(struct config *c)
{
    for (size_t i = 0; i < c->nexclude; i++)
        free(c->exclude[i]);
    free(c->exclude);
    c->exclude = NULL;
    c->nexclude = 0;
}

void
config_release(struct config *c)
{
    free(c->repo);
    free(c->uri);
    exclude_release(c);
    for (int i = 0; i < CONFIG_COUNT; i++)
        free(c->origin[i]);
    *c = (struct config){0};
}

static enum pitr_rc
set_text(char **field, const char *text, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *copy = strdup(text);
    char *old = *field;

    if (copy == NULL)
        return pitr_fail(err, PITR_NOMEM, "out of memory");
    *field = copy;
    copy = NULL;
    free(old);
    return PITR_OK;
}

static enum pitr_rc
set_number(int64_t *field, const char *text, int64_t least, int64_t most, struct pitr_err *err)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (text[0] == '\0' || *end != '\0' || errno != 0 || value < least || value > most)
        return pitr_fail(err, PITR_USAGE, "\"%s\" is no whole number from %" PRId64 " to %" PRId64,
                         text, least, most);
    *field = value;
    return PITR_OK;
}

/* Seconds, or a number with s, m, h or d behind it. */
static enum pitr_rc
set_duration(int64_t *field, const char *text, int64_t least, int64_t most, struct pitr_err *err)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'\0', 1}};
    long long value;
    char *end;

    errno = 0;
    value = strtoll(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (*end != units[i].unit || (*end != '\0' && end[1] != '\0') || end == text || errno != 0)
            continue;
        if (value < 0 || value > INT64_MAX / units[i].seconds)
            break;
        value *= units[i].seconds;
        if (value < least || value > most)
            break;
        *field = value;
        return PITR_OK;
    }
    return pitr_fail(err, PITR_USAGE,
                     "\"%s\" is no duration of %" PRId64 " to %" PRId64
                     " seconds; write 90, 90s, 15m, 26h or 2d",
                     text, least, most);
}

static enum pitr_rc
add_exclude(struct config *c, const char *pattern, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *copy = NULL;
    char **grown;

    if (pattern_check(pattern, err) != PITR_OK)
        return err->rc;
    copy = strdup(pattern);
    grown = copy == NULL ? NULL : realloc(c->exclude, (c->nexclude + 1) * sizeof *grown);
    if (grown == NULL)
        return pitr_fail(err, PITR_NOMEM, "out of memory");
    c->exclude = grown;
    c->exclude[c->nexclude++] = copy;
    copy = NULL;
    return PITR_OK;
}

static enum pitr_rc
set_value(struct config *c, enum config_key key, const char *text, struct pitr_err *err)
{
    int64_t number = 0;

    switch (key) {
    case CONFIG_REPO:
    case CONFIG_URI:
        if (text[0] == '\0')
            return pitr_fail(err, PITR_USAGE, "is empty");
        return set_text(key == CONFIG_REPO ? &c->repo : &c->uri, text, err);
    case CONFIG_EXCLUDE:
        return add_exclude(c, text, err);
    case CONFIG_CODEC:
        return codec_parse(&c->codec, text, err);
    case CONFIG_LEVEL:
        if (set_number(&number, text, 0, LEVEL_MAX, err) == PITR_OK)
            c->level = (int)number;
        return err->rc;
    case CONFIG_TAIL_INTERVAL:
        return set_duration(&c->tail_interval, text, 1, INTERVAL_MAX, err);
    case CONFIG_RPO:
        return set_duration(&c->rpo, text, 0, INT32_MAX, err);
    case CONFIG_SNAPSHOT_AGE:
        return set_duration(&c->snapshot_age, text, 0, INT32_MAX, err);
    case CONFIG_CONNECTIONS:
        if (set_number(&number, text, 1, CONNECTIONS_MAX, err) == PITR_OK)
            c->connections = (unsigned)number;
        return err->rc;
    case CONFIG_MEMORY:
        if (set_number(&number, text, 1, MEMORY_MAX_MIB, err) == PITR_OK)
            c->memory = (uint64_t)number << 20;
        return err->rc;
    case CONFIG_COUNT:
        break;
    }
    return pitr_fail(err, PITR_INTERNAL, "setting %d is not handled", (int)key);
}

/* One value of `key`, which stands at `where`; a list gives several, one after the other. */
static enum pitr_rc
take(struct config *c, enum config_key key, const char *text, const char *where,
     struct pitr_err *err)
{
    err->rc = PITR_OK;
    if (set_value(c, key, text, err) != PITR_OK)
        return pitr_wrap(err, "%s", where);
    return set_text(&c->origin[key], where, err);
}

/* What the walk through the file hands over. */
static enum pitr_rc
take_from_file(void *arg, size_t key, const char *text, const char *where, struct pitr_err *err)
{
    struct config *c = arg;

    err->rc = PITR_OK;
    if (set_value(c, (enum config_key)key, text, err) != PITR_OK)
        return pitr_wrap(err, "%s: %s", where, config_name((enum config_key)key));
    return set_text(&c->origin[key], where, err);
}

static const char *
variable_of(char *const *env, const char *name)
{
    size_t len = strlen(name);

    for (; *env != NULL; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

static enum pitr_rc
take_environment(struct config *c, char *const *env, struct pitr_err *err)
{
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const char *name = keys[i].variable;
        const char *text = name == NULL ? NULL : variable_of(env, name);

        if (text != NULL && text[0] != '\0' &&
            take(c, (enum config_key)i, text, name, err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
take_flags(struct config *c, const struct opts *opts, struct pitr_err *err)
{
    for (int i = 0; i < CONFIG_COUNT; i++) {
        static const char *const flags[OPT_COUNT] = {
            [OPT_REPO] = "--repo",   [OPT_URI] = "--uri",           [OPT_CODEC] = "--codec",
            [OPT_LEVEL] = "--level", [OPT_INTERVAL] = "--interval", [OPT_MEMORY] = "--memory",
        };
        int option = keys[i].option;
        const char *text = option == NO_OPTION ? NULL : opts_text(opts, (enum opt_id)option);

        if (text != NULL && take(c, (enum config_key)i, text, flags[option], err) != PITR_OK)
            return err->rc;
    }
    return PITR_OK;
}

static enum pitr_rc
check_together(const struct config *c, struct pitr_err *err)
{
    if (c->codec == CODEC_ZLIB && c->level > 9)
        return pitr_fail(err, PITR_USAGE, "level: zlib has levels 1 to 9, not %d", c->level);
    return PITR_OK;
}

enum pitr_rc
config_load(struct config *out, const struct opts *opts, char *const *env, struct pitr_err *err)
{
    PITR_AUTO(config_release)
    struct config c = {
        .codec = CODEC_ZSTD, .tail_interval = 60, .rpo = 900, .snapshot_age = 26 * 3600};
    const char *names[CONFIG_COUNT], *file = opts_text(opts, OPT_CONFIG);
    const struct config_keys known = {.names = names, .len = CONFIG_COUNT, .list = CONFIG_EXCLUDE};

    const struct config_visitor visitor = {.visit = take_from_file, .arg = &c};

    for (int i = 0; i < CONFIG_COUNT; i++)
        names[i] = keys[i].name;
    if (file != NULL && config_file_read(file, &known, &visitor, err) != PITR_OK)
        return err->rc;
    if (take_environment(&c, env, err) != PITR_OK || take_flags(&c, opts, err) != PITR_OK ||
        check_together(&c, err) != PITR_OK)
        return err->rc;
    *out = c;
    c = (struct config){0};
    return PITR_OK;
}

static void
add_uri(struct text *out, const char *uri)
{
    char *copy = strdup(uri);

    if (copy == NULL) {
        pitr_fail(&out->err, PITR_NOMEM, "out of memory");
        return;
    }
    uri_hide_secrets(copy);
    text_add(out, "%s", copy);
    free(copy);
}

void
config_value(struct text *out, const struct config *c, enum config_key key)
{
    switch (key) {
    case CONFIG_REPO:
        text_add(out, "%s", c->repo == NULL ? "" : c->repo);
        break;
    case CONFIG_URI:
        if (c->uri != NULL)
            add_uri(out, c->uri);
        break;
    case CONFIG_EXCLUDE:
        for (size_t i = 0; i < c->nexclude; i++)
            text_add(out, "%s%s", i == 0 ? "" : ", ", c->exclude[i]);
        break;
    case CONFIG_CODEC:
        text_add(out, "%s", codec_name(c->codec));
        break;
    case CONFIG_LEVEL:
        text_add(out, "%d", c->level);
        break;
    case CONFIG_TAIL_INTERVAL:
        text_add(out, "%" PRId64, c->tail_interval);
        break;
    case CONFIG_RPO:
        text_add(out, "%" PRId64, c->rpo);
        break;
    case CONFIG_SNAPSHOT_AGE:
        text_add(out, "%" PRId64, c->snapshot_age);
        break;
    case CONFIG_CONNECTIONS:
        text_add(out, "%u", c->connections);
        break;
    case CONFIG_MEMORY:
        text_add(out, "%" PRIu64, c->memory >> 20);
        break;
    case CONFIG_COUNT:
        break;
    }
}
