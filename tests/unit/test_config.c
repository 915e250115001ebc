/* Settings: file, then environment, then flags; every mistake with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "cli/config.h"
#include "tests/support/tmpdir.h"

/* Loads what a file (NULL: none), an environment and flags say together. */
struct setup {
    char *path;
    struct opts opts;
    struct config config;
    struct pitr_err err;
};

static void
setup_release(struct setup *s)
{
    free(s->path);
    opts_release(&s->opts);
    config_release(&s->config);
}

static enum pitr_rc
load(struct setup *s, void **state, const char *file, char *const *env, char *flag)
{
    static char *const no_env[] = {NULL};
    char program[] = "pitr", command[] = "snapshot", option[] = "--config";
    char *argv[6] = {program, command};
    int argc = 2;

    *s = (struct setup){0};
    s->path = tmpdir_path(*state, "pitr.yaml");
    if (file != NULL) {
        assert_int_equal(fs_write_file(s->path, file, strlen(file), true, &s->err), PITR_OK);
        argv[argc++] = option;
        argv[argc++] = s->path;
    }
    if (flag != NULL)
        argv[argc++] = flag;
    assert_int_equal(opts_parse(&s->opts, argc, argv, &s->err), PITR_OK);
    return config_load(&s->config, &s->opts, env == NULL ? no_env : env, &s->err);
}

static void
expect_refusal(void **state, const char *file, const char *message)
{
    struct setup s;
    char wanted[512];

    assert_int_equal(load(&s, state, file, NULL, NULL), PITR_USAGE);
    snprintf(wanted, sizeof wanted, "%s%s", s.path, message);
    assert_string_equal(s.err.msg, wanted);
    setup_release(&s);
}

static void
assert_setting(const struct config *c, enum config_key key, const char *value, const char *origin)
{
    struct text out = {0};

    config_value(&out, c, key);
    text_bytes(&out, "", 1);
    assert_string_equal((const char *)out.buf.data, value);
    text_release(&out);
    if (origin == NULL)
        assert_null(c->origin[key]);
    else
        assert_string_equal(c->origin[key], origin);
}

static void
nothing_said_gives_the_defaults(void **state)
{
    struct setup s;

    assert_int_equal(load(&s, state, NULL, NULL, NULL), PITR_OK);
    assert_null(s.config.repo);
    assert_setting(&s.config, CONFIG_CODEC, "zstd", NULL);
    assert_setting(&s.config, CONFIG_TAIL_INTERVAL, "60", NULL);
    assert_setting(&s.config, CONFIG_RPO, "900", NULL);
    assert_setting(&s.config, CONFIG_SNAPSHOT_AGE, "93600", NULL);
    setup_release(&s);
}

static void
nested_and_dotted_names_mean_the_same(void **state)
{
    static const char *const files[] = {
        "tail:\n  interval: 30\nlimits:\n  rpo: 20m\n  snapshotAge: 2d\nlevel: 3\n",
        "tail.interval: 30s\nlimits.rpo: 1200\nlimits.snapshotAge: 48h\nlevel: 3\n",
        "{\"tail\": {\"interval\": 30}, \"limits\": {\"rpo\": 1200, \"snapshotAge\": \"48h\"},\n"
        "\t\"level\": 3}"};

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct setup s;

        assert_int_equal(load(&s, state, files[i], NULL, NULL), PITR_OK);
        assert_int_equal(s.config.tail_interval, 30);
        assert_int_equal(s.config.rpo, 1200);
        assert_int_equal(s.config.snapshot_age, 172800);
        assert_int_equal(s.config.level, 3);
        setup_release(&s);
    }
}

static void
the_later_source_wins_and_is_named(void **state)
{
    char variable[] = "MONGODB_BACKUP_PATH=/env", flag[] = "--repo=/flag", empty[] = "MONGODB_URI=";
    char *const env[] = {variable, empty, NULL};
    struct setup s;
    char origin[512];

    assert_int_equal(load(&s, state, "codec: lz4\nrepo: /file\n", NULL, NULL), PITR_OK);
    snprintf(origin, sizeof origin, "%s:2", s.path);
    assert_setting(&s.config, CONFIG_REPO, "/file", origin);
    setup_release(&s);
    assert_int_equal(load(&s, state, "repo: /file\n", env, NULL), PITR_OK);
    assert_setting(&s.config, CONFIG_REPO, "/env", "MONGODB_BACKUP_PATH");
    assert_null(s.config.uri);
    setup_release(&s);
    assert_int_equal(load(&s, state, "repo: /file\n", env, flag), PITR_OK);
    assert_setting(&s.config, CONFIG_REPO, "/flag", "--repo");
    setup_release(&s);
}

static void
excluded_collections_are_a_list_or_one(void **state)
{
    struct setup s;

    assert_int_equal(load(&s, state, "excludeCollections: [a.b, 'c.*']\n", NULL, NULL), PITR_OK);
    assert_int_equal(s.config.nexclude, 2);
    assert_setting(&s.config, CONFIG_EXCLUDE, "a.b, c.*", s.config.origin[CONFIG_EXCLUDE]);
    setup_release(&s);
    assert_int_equal(load(&s, state, "excludeCollections: a.b\n", NULL, NULL), PITR_OK);
    assert_int_equal(s.config.nexclude, 1);
    setup_release(&s);
    assert_int_equal(load(&s, state, "excludeCollections: []\n", NULL, NULL), PITR_OK);
    assert_int_equal(s.config.nexclude, 0);
    setup_release(&s);
}

static void
passwords_are_not_shown(void **state)
{
    char flag[] = "--uri=mongodb://u:secret@h/";
    struct setup s;

    assert_int_equal(load(&s, state, NULL, NULL, flag), PITR_OK);
    assert_string_equal(s.config.uri, "mongodb://u:secret@h/");
    assert_setting(&s.config, CONFIG_URI, "mongodb://u:******@h/", "--uri");
    setup_release(&s);
}

static void
unknown_settings_are_named_with_line_and_suggestion(void **state)
{
    expect_refusal(state, "repo: /x\n\nexcludeCollection: [a.b]\n",
                   ":3: unknown setting \"excludeCollection\"; did you mean excludeCollections?");
    expect_refusal(state, "tail:\n  intervall: 3\n",
                   ":2: unknown setting \"tail.intervall\"; did you mean tail.interval?");
    expect_refusal(state, "qqqqqqqqqqqqqqqq: 3\n",
                   ":1: unknown setting \"qqqqqqqqqqqqqqqq\"; pitr config show lists the known "
                   "ones");
}

static void
bad_values_are_named_with_line(void **state)
{
    expect_refusal(state, "codec: zst\n",
                   ":1: codec: codec \"zst\": choose zstd, lz4, zlib or none");
    expect_refusal(state, "\nlevel: x\n", ":2: level: \"x\" is no whole number from 0 to 22");
    expect_refusal(state, "tail.interval: 901\n",
                   ":1: tail.interval: \"901\" is no duration of 1 to 900 seconds; write 90, 90s, "
                   "15m, 26h or 2d");
    expect_refusal(state, "repo:\n", ":1: repo: needs a value");
    expect_refusal(state, "repo: [a]\n", ":1: repo: needs a value");
    expect_refusal(state, "repo: a\nrepo: b\n", ":2: repo: given twice; give it once");
    expect_refusal(state, "- a\n", ":1: settings are lines of the form \"name: value\"");
}

static void
a_file_that_is_no_yaml_is_refused_with_its_line(void **state)
{
    struct setup s;

    assert_int_equal(load(&s, state, "repo: a\n  b: [\n", NULL, NULL), PITR_USAGE);
    assert_non_null(strstr(s.err.msg, "pitr.yaml:2: no valid YAML: "));
    setup_release(&s);
}

static void
a_missing_file_is_a_usage_error(void **state)
{
    char flag[] = "--config=/nonexistent/pitr.yaml";
    struct setup s;

    assert_int_equal(load(&s, state, NULL, NULL, flag), PITR_USAGE);
    assert_non_null(strstr(s.err.msg, "/nonexistent/pitr.yaml"));
    setup_release(&s);
}

static void
a_bad_flag_is_named_by_its_option(void **state)
{
    char flag[] = "--codec=foo";
    struct setup s;

    assert_int_equal(load(&s, state, NULL, NULL, flag), PITR_USAGE);
    assert_string_equal(s.err.msg, "--codec: codec \"foo\": choose zstd, lz4, zlib or none");
    setup_release(&s);
}

static void
zlib_has_nine_levels(void **state)
{
    struct setup s;

    assert_int_equal(load(&s, state, "codec: zlib\nlevel: 12\n", NULL, NULL), PITR_USAGE);
    assert_string_equal(s.err.msg, "level: zlib has levels 1 to 9, not 12");
    setup_release(&s);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, tmpdir_setup, tmpdir_teardown)

static void
an_option_is_the_origin_of_its_setting(void **state)
{
    char program[] = "pitr", command[] = "restore", memory[] = "--memory=64";
    char *argv[] = {program, command, memory, NULL};
    char *const no_env[] = {NULL};
    struct setup s = {0};

    (void)state;
    assert_int_equal(opts_parse(&s.opts, 3, argv, &s.err), PITR_OK);
    assert_int_equal(config_load(&s.config, &s.opts, no_env, &s.err), PITR_OK);
    assert_setting(&s.config, CONFIG_MEMORY, "64", "--memory");
    setup_release(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(nothing_said_gives_the_defaults),
        IN_A_FOLDER(nested_and_dotted_names_mean_the_same),
        IN_A_FOLDER(the_later_source_wins_and_is_named),
        IN_A_FOLDER(excluded_collections_are_a_list_or_one),
        IN_A_FOLDER(passwords_are_not_shown),
        IN_A_FOLDER(unknown_settings_are_named_with_line_and_suggestion),
        IN_A_FOLDER(bad_values_are_named_with_line),
        IN_A_FOLDER(a_file_that_is_no_yaml_is_refused_with_its_line),
        IN_A_FOLDER(a_missing_file_is_a_usage_error),
        IN_A_FOLDER(a_bad_flag_is_named_by_its_option),
        IN_A_FOLDER(zlib_has_nine_levels),
        cmocka_unit_test(an_option_is_the_origin_of_its_setting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
