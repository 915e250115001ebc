/* The command line: what is accepted, and in which words the rest is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "cli/opts.h"

enum { WORDS_MAX = 16 };

/* A command line as main() gets it: words that can be written to. */
struct line {
    char *words[WORDS_MAX];
    int n;
    struct opts opts;
    struct pitr_err err;
};

static void
line_release(struct line *l)
{
    for (int i = 0; i < l->n; i++)
        free(l->words[i]);
    opts_release(&l->opts);
}

/* Words separated by single spaces, "pitr" in front. */
static enum pitr_rc
parse(struct line *l, const char *text)
{
    size_t at = 0;

    *l = (struct line){0};
    l->words[l->n++] = strdup("pitr");
    while (text[at] != '\0') {
        size_t len = strcspn(text + at, " ");

        assert_true(l->n < WORDS_MAX);
        l->words[l->n++] = strndup(text + at, len);
        at += len + (text[at + len] == ' ' ? 1 : 0);
    }
    return opts_parse(&l->opts, l->n, l->words, &l->err);
}

static void
expect_refusal(const char *text, const char *message)
{
    struct line l;

    assert_int_equal(parse(&l, text), PITR_USAGE);
    assert_string_equal(l.err.msg, message);
    line_release(&l);
}

static void
global_options_stand_on_either_side_of_the_command(void **state)
{
    static const char *const texts[] = {"--repo X --json snapshot", "snapshot --repo X --json",
                                        "--json snapshot --repo=X"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct line l;

        assert_int_equal(parse(&l, texts[i]), PITR_OK);
        assert_int_equal(l.opts.command, CMD_SNAPSHOT);
        assert_true(opts_has(&l.opts, OPT_JSON));
        assert_string_equal(opts_text(&l.opts, OPT_REPO), "X");
        assert_false(opts_has(&l.opts, OPT_QUIET));
        line_release(&l);
    }
}

static void
values_may_begin_with_a_dash_or_hold_an_equals_sign(void **state)
{
    struct line l;

    (void)state;
    assert_int_equal(parse(&l, "snapshot --label --odd"), PITR_OK);
    assert_string_equal(opts_text(&l.opts, OPT_LABEL), "--odd");
    line_release(&l);
    assert_int_equal(parse(&l, "restore --latest --rename a.*=b.*"), PITR_OK);
    assert_string_equal(opts_text(&l.opts, OPT_RENAME), "a.*=b.*");
    line_release(&l);
    assert_int_equal(parse(&l, "snapshot --label="), PITR_OK);
    assert_string_equal(opts_text(&l.opts, OPT_LABEL), "");
    line_release(&l);
}

static void
options_that_repeat_keep_every_value_in_order(void **state)
{
    struct line l;

    (void)state;
    assert_int_equal(parse(&l, "restore --latest --ns a.* --ns=b.c"), PITR_OK);
    assert_int_equal(l.opts.values[OPT_NS].len, 2);
    assert_string_equal(l.opts.values[OPT_NS].at[0], "a.*");
    assert_string_equal(l.opts.values[OPT_NS].at[1], "b.c");
    line_release(&l);
    expect_refusal("restore --to latest --to latest", "--to: given twice; give it once");
}

static void
letters_can_be_joined(void **state)
{
    struct line l;

    (void)state;
    assert_int_equal(parse(&l, "-vv status"), PITR_OK);
    assert_int_equal(l.opts.values[OPT_VERBOSE].len, 2);
    line_release(&l);
    expect_refusal("-x status", "-x: unknown option; did you mean -q, -v or -h?");
}

static void
words_after_the_command_are_its_arguments(void **state)
{
    struct line l;

    (void)state;
    assert_int_equal(parse(&l, "show -- --id"), PITR_OK);
    assert_int_equal(l.opts.args.len, 1);
    assert_string_equal(l.opts.args.at[0], "--id");
    line_release(&l);
    expect_refusal("import", "import: needs DIR; see pitr help import");
    expect_refusal("list all", "list: unexpected argument \"all\"; see pitr help list");
}

static void
commands_of_two_words_need_both(void **state)
{
    struct line l;

    (void)state;
    assert_int_equal(parse(&l, "index --json rebuild"), PITR_OK);
    assert_int_equal(l.opts.command, CMD_INDEX_REBUILD);
    assert_int_equal(l.opts.args.len, 0);
    line_release(&l);
    expect_refusal("config", "config: unknown command; did you mean config show?");
    expect_refusal("index drop", "index drop: unknown command; did you mean index rebuild?");
}

static void
unknown_words_are_named_with_the_nearest_known_one(void **state)
{
    (void)state;
    expect_refusal("snapshot --lable x", "--lable: unknown option; did you mean --label?");
    expect_refusal("snapshot --labl=x", "--labl: unknown option; did you mean --label?");
    expect_refusal("snapshto", "snapshto: unknown command; did you mean snapshot?");
    expect_refusal("qqqqqqqqqq", "qqqqqqqqqq: unknown command; see pitr help");
    expect_refusal("", "no command given; see pitr help");
}

static void
options_of_other_commands_are_refused(void **state)
{
    (void)state;
    expect_refusal("status --label x", "--label: not an option of status; see pitr help status");
    expect_refusal("--once list", "--once: not an option of list; see pitr help list");
}

static void
what_other_versions_have_is_refused_with_that_reason(void **state)
{
    (void)state;
    expect_refusal("prune --dry-run",
                   "--dry-run: this version of pitr does not have it; see pitr help");
    expect_refusal("push", "push: this version of pitr does not have this command; see pitr help");
    expect_refusal("snapshot --push",
                   "--push: this version of pitr does not have it; see pitr help");
}

static void
flags_take_no_value_and_values_are_needed(void **state)
{
    (void)state;
    expect_refusal("status --json=yes", "--json: takes no value");
    expect_refusal("status --repo", "--repo: needs a value: --repo PATH");
}

static void
help_and_version_are_found_in_every_form(void **state)
{
    struct line l;

    (void)state;
    assert_int_equal(parse(&l, "--help"), PITR_OK);
    assert_int_equal(l.opts.command, CMD_HELP);
    line_release(&l);
    assert_int_equal(parse(&l, "--version"), PITR_OK);
    assert_int_equal(l.opts.command, CMD_VERSION);
    line_release(&l);
    assert_int_equal(parse(&l, "restore -h"), PITR_OK);
    assert_int_equal(l.opts.command, CMD_HELP);
    assert_string_equal(l.opts.args.at[0], "restore");
    line_release(&l);
    assert_int_equal(parse(&l, "restore --drop --help"), PITR_OK);
    assert_int_equal(l.opts.command, CMD_HELP);
    line_release(&l);
}

static void
passwords_leave_the_process_list(void **state)
{
    struct line l;

    (void)state;
    assert_int_equal(parse(&l, "--uri mongodb://u:secret@h:1/ restore --latest "
                               "--target=mongodb://v:other@k/"),
                     PITR_OK);
    assert_string_equal(opts_text(&l.opts, OPT_URI), "mongodb://u:secret@h:1/");
    assert_string_equal(opts_text(&l.opts, OPT_TARGET), "mongodb://v:other@k/");
    assert_string_equal(l.words[2], "mongodb://u:******@h:1/");
    assert_string_equal(l.words[5], "--target=mongodb://v:*****@k/");
    line_release(&l);
}

static void
expect_hidden(const char *uri, const char *hidden)
{
    char *copy = strdup(uri);

    uri_hide_secrets(copy);
    assert_string_equal(copy, hidden);
    free(copy);
}

static void
only_secrets_of_a_uri_are_hidden(void **state)
{
    (void)state;
    expect_hidden("mongodb://h:27017/", "mongodb://h:27017/");
    expect_hidden("mongodb://h1:1,h2:2/db?replicaSet=rs0", "mongodb://h1:1,h2:2/db?replicaSet=rs0");
    expect_hidden("mongodb://u@h/", "mongodb://u@h/");
    expect_hidden("mongodb+srv://u:p@h/", "mongodb+srv://u:*@h/");
    expect_hidden("mongodb://u:a/b@c@h/", "mongodb://u:*****@h/");
    expect_hidden("mongodb://u:p@h/?tls=true&tlsCertificateKeyFilePassword=abc&w=1",
                  "mongodb://u:*@h/?tls=true&tlsCertificateKeyFilePassword=***&w=1");
    expect_hidden("mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:t",
                  "mongodb://h/?authMechanismProperties=*******************");
    expect_hidden("mongodb://h/?appName=a@b", "mongodb://h/?appName=a@b");
    expect_hidden("u:p@h", "u:*@h");
    expect_hidden("", "");
}

static char *
help_of(const char *command)
{
    struct text out = {0};
    struct pitr_err err;

    if (command == NULL)
        opts_help_overview(&out);
    else
        assert_int_equal(opts_help(&out, command, &err), PITR_OK);
    text_bytes(&out, "", 1);
    assert_int_equal(text_check(&out, &err), PITR_OK);
    return (char *)out.buf.data;
}

static void
help_fits_a_terminal_and_names_every_option(void **state)
{
    char *restore = help_of("restore"), *all = help_of(NULL);

    (void)state;
    assert_non_null(strstr(restore, "--no-pre-snapshot"));
    assert_non_null(strstr(restore, "--to TIME|latest"));
    assert_null(strstr(restore, "--once"));
    assert_non_null(strstr(all, "index rebuild"));
    assert_non_null(strstr(all, "-q, --quiet"));
    for (int i = 0; i < 2; i++) {
        const char *text = i == 0 ? restore : all;

        while (*text != '\0') {
            size_t len = strcspn(text, "\n");

            assert_in_range(len, 0, 79);
            text += len + (text[len] == '\n' ? 1 : 0);
        }
    }
    free(restore);
    free(all);
}

static void
help_for_an_unknown_command_suggests_one(void **state)
{
    struct text out = {0};
    struct pitr_err err;

    (void)state;
    assert_int_equal(opts_help(&out, "restor", &err), PITR_USAGE);
    assert_string_equal(err.msg, "help restor: unknown command; did you mean restore?");
    text_release(&out);
}

static void
the_reference_page_is_what_the_table_says(void **state)
{
    struct text made = {0};
    struct buf page = {0};
    struct pitr_err err;

    (void)state;
    opts_markdown(&made);
    assert_int_equal(text_check(&made, &err), PITR_OK);
    assert_int_equal(fs_read_file(&page, PITR_SOURCE_DIR "/docs/cli.md", 1 << 20, &err), PITR_OK);
    if (page.len != made.buf.len || memcmp(page.data, made.buf.data, page.len) != 0)
        fail_msg("docs/cli.md is out of date: pitr help --markdown > docs/cli.md");
    buf_release(&page);
    text_release(&made);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(global_options_stand_on_either_side_of_the_command),
        cmocka_unit_test(values_may_begin_with_a_dash_or_hold_an_equals_sign),
        cmocka_unit_test(options_that_repeat_keep_every_value_in_order),
        cmocka_unit_test(letters_can_be_joined),
        cmocka_unit_test(words_after_the_command_are_its_arguments),
        cmocka_unit_test(commands_of_two_words_need_both),
        cmocka_unit_test(unknown_words_are_named_with_the_nearest_known_one),
        cmocka_unit_test(options_of_other_commands_are_refused),
        cmocka_unit_test(what_other_versions_have_is_refused_with_that_reason),
        cmocka_unit_test(flags_take_no_value_and_values_are_needed),
        cmocka_unit_test(help_and_version_are_found_in_every_form),
        cmocka_unit_test(passwords_leave_the_process_list),
        cmocka_unit_test(only_secrets_of_a_uri_are_hidden),
        cmocka_unit_test(help_fits_a_terminal_and_names_every_option),
        cmocka_unit_test(help_for_an_unknown_command_suggests_one),
        cmocka_unit_test(the_reference_page_is_what_the_table_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
