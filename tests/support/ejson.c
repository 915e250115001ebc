#include "tests/support/ejson.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bson/bson.h>

void
ejson(struct buf *out, const char *text)
{
    struct pitr_err err;
    bson_error_t why;
    bson_t *doc = bson_new_from_json((const uint8_t *)text, -1, &why);

    if (doc == NULL)
        fail_msg("%s: %s", text, why.message);
    buf_clear(out);
    assert_int_equal(buf_append(out, bson_get_data(doc), doc->len, &err), PITR_OK);
    bson_destroy(doc);
}

char *
ejson_text(const uint8_t *doc, size_t len)
{
    bson_t view;

    assert_true(bson_init_static(&view, doc, len));
    return bson_as_relaxed_extended_json(&view, NULL);
}
