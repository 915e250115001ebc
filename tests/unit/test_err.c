#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"

static void
fail_returns_the_code_and_keeps_the_text(void **state)
{
    struct pitr_err err;

    (void)state;
    assert_int_equal(pitr_fail(&err, PITR_GAP, "gap of %d s", 7), PITR_GAP);
    assert_int_equal(err.rc, PITR_GAP);
    assert_string_equal(err.msg, "gap of 7 s");
}

static void
wraps_read_from_outside_in(void **state)
{
    struct pitr_err err;

    (void)state;
    pitr_fail(&err, PITR_IO, "timeout");
    assert_int_equal(pitr_wrap(&err, "blob %s", "b"), PITR_IO);
    assert_int_equal(pitr_wrap(&err, "pack"), PITR_IO);
    assert_string_equal(err.msg, "pack: blob b: timeout");
}

static void
context_that_does_not_fit_is_dropped_and_the_cause_stays(void **state)
{
    char large[sizeof((struct pitr_err *)0)->msg];
    struct pitr_err err;

    (void)state;
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    pitr_fail(&err, PITR_IO, "cause");
    pitr_wrap(&err, "%s", large);
    assert_string_equal(err.msg, "cause");
}

static void
context_that_just_fits_is_kept(void **state)
{
    char head[sizeof((struct pitr_err *)0)->msg - 8 + 1];
    struct pitr_err err;

    (void)state;
    memset(head, 'x', sizeof head - 1);
    head[sizeof head - 1] = '\0';
    pitr_fail(&err, PITR_IO, "cause");
    pitr_wrap(&err, "%s", head);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_string_equal(err.msg + strlen(err.msg) - 7, ": cause");
}

static void
a_message_that_is_too_long_is_cut_and_terminated(void **state)
{
    char large[2 * sizeof((struct pitr_err *)0)->msg];
    struct pitr_err err;

    (void)state;
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    pitr_fail(&err, PITR_IO, "%s", large);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    pitr_fail_errno(&err, ENOSPC, "%s", large);
    assert_int_equal(err.rc, PITR_FULL);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
}

static void
errno_values_choose_the_code(void **state)
{
    static const struct {
        int errnum;
        enum pitr_rc rc;
    } known[] = {
        {ENOSPC, PITR_FULL},  {EDQUOT, PITR_FULL},  {EFBIG, PITR_FULL},    {EACCES, PITR_DENIED},
        {EPERM, PITR_DENIED}, {EROFS, PITR_DENIED}, {EEXIST, PITR_EXISTS}, {ENOENT, PITR_NOTFOUND},
        {ENOMEM, PITR_NOMEM}, {EIO, PITR_IO},       {EISDIR, PITR_IO},
    };
    struct pitr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(pitr_fail_errno(&err, known[i].errnum, "x"), known[i].rc);
    pitr_fail_errno(&err, EIO, "read %s", "f");
    assert_string_equal(err.msg, "read f: Input/output error");
}

static void
every_code_has_its_own_name(void **state)
{
    (void)state;
    for (int a = PITR_OK; a <= PITR_ABORTED; a++) {
        assert_string_not_equal(pitr_rc_name((enum pitr_rc)a), "unknown");
        for (int b = PITR_OK; b < a; b++)
            assert_string_not_equal(pitr_rc_name((enum pitr_rc)a), pitr_rc_name((enum pitr_rc)b));
    }
    assert_string_equal(pitr_rc_name((enum pitr_rc)(PITR_ABORTED + 1)), "unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_returns_the_code_and_keeps_the_text),
        cmocka_unit_test(wraps_read_from_outside_in),
        cmocka_unit_test(context_that_does_not_fit_is_dropped_and_the_cause_stays),
        cmocka_unit_test(context_that_just_fits_is_kept),
        cmocka_unit_test(a_message_that_is_too_long_is_cut_and_terminated),
        cmocka_unit_test(errno_values_choose_the_code),
        cmocka_unit_test(every_code_has_its_own_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
