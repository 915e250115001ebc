/*
 * Directories as mongodump writes them, made by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "engine/dump_name.h"
#include "engine/dumpdir.h"
#include "mongo/bsonio.h"
#include "tests/support/ejson.h"
#include "tests/support/tmpdir.h"

/* Write a file below the test's folder; the folders of `name` are made. */
static void
put(const char *dir, const char *name, const void *data, size_t len)
{
    char *path = tmpdir_path(dir, name), *slash = strrchr(path, '/');
    FILE *f;

    *slash = '\0';
    mkdir(path, 0700);
    *slash = '/';
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static void
put_text(const char *dir, const char *name, const char *text)
{
    put(dir, name, text, strlen(text));
}

static void
put_gzip(const char *dir, const char *name, const void *data, size_t len)
{
    char *path;
    gzFile f;

    put(dir, name, "", 0);
    path = tmpdir_path(dir, name);
    f = gzopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, data, (unsigned)len), (int)len);
    assert_int_equal(gzclose(f), Z_OK);
    free(path);
}

static struct buf
two_documents(void)
{
    struct buf a = {0}, b = {0};
    struct pitr_err err;

    ejson(&a, "{\"_id\":1,\"\":{\"a.b\":null}}");
    ejson(&b, "{\"_id\":2}");
    assert_int_equal(buf_append(&a, b.data, b.len, &err), PITR_OK);
    buf_release(&b);
    return a;
}

static struct dumpdir *
open_ok(const char *dir)
{
    struct dumpdir *d = NULL;
    struct pitr_err err;

    if (dumpdir_open(&d, dir, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    return d;
}

static void
expect_bson(const uint8_t *have, size_t len, const char *json)
{
    struct buf want = {0};

    ejson(&want, json);
    assert_int_equal(len, want.len);
    assert_memory_equal(have, want.data, len);
    buf_release(&want);
}

/* Reads a collection to its end, or to its error. */
static enum pitr_rc
read_all(const struct dump_coll *coll, struct buf *out, struct pitr_err *err)
{
    PITR_AUTO(dump_cursor_freep) struct dump_cursor *c = NULL;
    const uint8_t *doc;
    size_t len;

    if (dump_cursor_open(&c, coll, err) != PITR_OK)
        return err->rc;
    for (;;) {
        if (dump_cursor_next(c, &doc, &len, err) != PITR_OK)
            return err->rc;
        if (doc == NULL)
            return PITR_OK;
        assert_int_equal(buf_append(out, doc, len, err), PITR_OK);
    }
}

static void
expect_documents(const struct dump_coll *coll, const struct buf *want)
{
    struct buf have = {0};
    struct pitr_err err;

    assert_int_equal(read_all(coll, &have, &err), PITR_OK);
    assert_int_equal(have.len, want->len);
    assert_memory_equal(have.data, want->data, want->len);
    buf_release(&have);
}

static void
documents_options_and_indexes_are_read(void **state)
{
    struct buf docs = two_documents();
    struct dumpdir *d;
    const struct dump_coll *c;

    put(*state, "shop/a.bson", docs.data, docs.len);
    put_text(*state, "shop/a.metadata.json",
             "{\"options\":{\"capped\":true,\"size\":{\"$numberInt\":\"4096\"},\"validator\":"
             "{\"a\":{\"$type\":[\"string\"]}}},\"indexes\":[{\"v\":{\"$numberInt\":\"2\"},"
             "\"key\":{\"_id\":{\"$numberInt\":\"1\"}},\"name\":\"_id_\"}],\"uuid\":\"00\","
             "\"collectionName\":\"a\",\"type\":\"collection\"}");
    d = open_ok(*state);
    assert_int_equal(dumpdir_len(d), 1);
    c = dumpdir_at(d, 0);
    assert_string_equal(c->coll.db, "shop");
    assert_string_equal(c->coll.name, "a");
    assert_int_equal(c->file_bytes, docs.len);
    assert_true(load_is_capped(&c->coll));
    assert_int_equal(bson_len(c->coll.indexes.data), c->coll.indexes.len);
    expect_documents(c, &docs);
    dumpdir_free(d);
    buf_release(&docs);
}

static void
gzip_is_read_and_never_guessed(void **state)
{
    struct buf docs = two_documents(), odd = {0};
    struct dumpdir *d;
    struct pitr_err err;

    put_gzip(*state, "shop/a.bson.gz", docs.data, docs.len);
    put_gzip(*state, "shop/a.metadata.json.gz", "{\"options\":{\"x\":true}}", 22);
    /* A document whose length begins like a gzip file. */
    assert_int_equal(buf_reserve(&odd, 0x8b1f, &err), PITR_OK);
    memset(odd.data, 'x', 0x8b1f);
    memcpy(odd.data, "\x1f\x8b\0\0\x02s\0\x13\x8b\0\0", 11);
    odd.data[0x8b1f - 2] = odd.data[0x8b1f - 1] = 0;
    odd.len = 0x8b1f;
    put(*state, "shop/b.bson", odd.data, odd.len);
    d = open_ok(*state);
    expect_bson(dumpdir_at(d, 0)->coll.options.data, dumpdir_at(d, 0)->coll.options.len,
                "{\"x\":true}");
    expect_documents(dumpdir_at(d, 0), &docs);
    expect_documents(dumpdir_at(d, 1), &odd);
    dumpdir_free(d);
    buf_release(&docs);
    buf_release(&odd);
}

static void
names_are_decoded_and_cut_ones_completed(void **state)
{
    struct buf docs = two_documents();
    struct dumpdir *d;
    char name[300], cut[300], text[400];

    put(*state, "shop/a%2Fb%zz%25+%2B.bson", docs.data, docs.len);
    memset(name, 'n', 250);
    name[250] = '\0';
    memcpy(cut, name, 208);
    snprintf(cut + 208, sizeof cut - 208, "%%24ZXhhbXBsZWhhc2hleGFtcGxlaGE");
    snprintf(text, sizeof text, "shop/%s.bson", cut);
    put(*state, text, docs.data, docs.len);
    snprintf(text, sizeof text, "{\"options\":{},\"indexes\":[],\"collectionName\":\"%s\"}", name);
    snprintf(cut + strlen(cut), sizeof cut - strlen(cut), ".metadata.json");
    memmove(cut + 5, cut, strlen(cut) + 1);
    memcpy(cut, "shop/", 5);
    put_text(*state, cut, text);
    d = open_ok(*state);
    assert_int_equal(dumpdir_len(d), 2);
    assert_string_equal(dumpdir_at(d, 0)->coll.name, "a/b%zz% +");
    assert_string_equal(dumpdir_at(d, 1)->coll.name, name);
    expect_documents(dumpdir_at(d, 1), &docs);
    dumpdir_free(d);
    buf_release(&docs);
}

static void
a_time_series_collection_is_its_buckets(void **state)
{
    struct buf docs = two_documents();
    struct dumpdir *d;

    put(*state, "shop/system.buckets.w.bson", docs.data, docs.len);
    put_text(*state, "shop/w.metadata.json",
             "{\"options\":{\"timeseries\":{\"timeField\":\"t\"}},\"indexes\":[{\"key\":{\"t\":1},"
             "\"name\":\"t_1\"}],\"collectionName\":\"w\",\"type\":\"timeseries\"}");
    d = open_ok(*state);
    assert_int_equal(dumpdir_len(d), 1);
    assert_string_equal(dumpdir_at(d, 0)->coll.name, "system.buckets.w");
    assert_true(load_is_buckets(&dumpdir_at(d, 0)->coll));
    expect_documents(dumpdir_at(d, 0), &docs);
    dumpdir_free(d);
    buf_release(&docs);
}

/* Nothing beside the documents says what the cut name was. */
static void
buckets_with_a_cut_name_find_their_collection(void **state)
{
    struct buf docs = two_documents();
    struct dumpdir *d;
    struct pitr_err err;
    char visible[239], buckets[300], cut[DUMP_NAME_LEN], path[300], text[500];

    memset(visible, 's', 238);
    visible[238] = '\0';
    snprintf(buckets, sizeof buckets, "system.buckets.%s", visible);
    assert_int_equal(dump_name_encode(cut, buckets, &err), PITR_OK);
    assert_true(dump_name_is_cut(cut));
    snprintf(path, sizeof path, "shop/%s.bson", cut);
    put(*state, path, docs.data, docs.len);
    snprintf(path, sizeof path, "shop/%s.metadata.json", visible);
    snprintf(text, sizeof text,
             "{\"options\":{\"timeseries\":{\"timeField\":\"t\"}},\"indexes\":[],"
             "\"collectionName\":\"%s\",\"type\":\"timeseries\"}",
             visible);
    put_text(*state, path, text);
    d = open_ok(*state);
    assert_int_equal(dumpdir_len(d), 1);
    assert_string_equal(dumpdir_at(d, 0)->coll.name, buckets);
    expect_documents(dumpdir_at(d, 0), &docs);
    dumpdir_free(d);
    buf_release(&docs);
}

static void
uuids_are_read_where_there_are_any(void **state)
{
    struct dumpdir *d;

    put_text(*state, "shop/a.metadata.json",
             "{\"options\":{},\"indexes\":[],\"uuid\":\"000102030405060708090a0b0c0d0eff\"}");
    put_text(*state, "shop/b.metadata.json", "{\"options\":{},\"indexes\":[],\"uuid\":\"\"}");
    put_text(*state, "shop/c.metadata.json", "{\"options\":{},\"indexes\":[]}");
    d = open_ok(*state);
    assert_int_equal(dumpdir_len(d), 3);
    assert_true(dumpdir_at(d, 0)->has_uuid);
    assert_memory_equal(dumpdir_at(d, 0)->uuid, "\0\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xff", 16);
    assert_false(dumpdir_at(d, 1)->has_uuid);
    assert_false(dumpdir_at(d, 2)->has_uuid);
    dumpdir_free(d);
}

static void
a_prelude_names_the_server(void **state)
{
    struct dumpdir *d;
    struct pitr_err err;

    put_text(*state, "shop/a.metadata.json", "{\"options\":{},\"indexes\":[]}");
    d = open_ok(*state);
    assert_string_equal(dumpdir_server_version(d), "");
    dumpdir_free(d);
    put_text(*state, "prelude.json", "{\"ServerVersion\":\"6.0.5\",\"ToolVersion\":\"x\"}");
    d = open_ok(*state);
    assert_string_equal(dumpdir_server_version(d), "6.0.5");
    dumpdir_free(d);
    put_text(*state, "prelude.json", "{\"ServerVersion\":");
    assert_int_equal(dumpdir_open(&d, *state, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "prelude.json: JSON at byte"));
}

static void
views_become_documents_of_system_views(void **state)
{
    struct dumpdir *d;

    put_text(*state, "shop/v.1.metadata.json",
             "{\"options\":{\"viewOn\":\"a\",\"pipeline\":[{\"$match\":{\"a\":{\"$regex\":\"x\","
             "\"$exists\":true}}}]},\"indexes\":[],\"collectionName\":\"v.1\",\"type\":\"view\"}");
    put_text(*state, "shop/old.metadata.json", "{\"options\":{\"viewOn\":\"b\",\"pipeline\":[]}}");
    d = open_ok(*state);
    assert_int_equal(dumpdir_len(d), 0);
    assert_int_equal(dumpdir_views_len(d), 1);
    assert_string_equal(dumpdir_views_at(d, 0)->db, "shop");
    {
        const struct buf *docs = &dumpdir_views_at(d, 0)->docs;
        size_t first = bson_len(docs->data);

        expect_bson(docs->data, first, "{\"_id\":\"shop.old\",\"viewOn\":\"b\",\"pipeline\":[]}");
        assert_int_equal(docs->len, first + bson_len(docs->data + first));
    }
    dumpdir_free(d);
}

static void
an_empty_collection_needs_no_documents(void **state)
{
    struct dumpdir *d;
    struct buf none = {0};

    put_text(*state, "shop/a.metadata.json", "{\"options\":{},\"indexes\":[]}");
    put(*state, "shop/b.bson", "", 0);
    d = open_ok(*state);
    assert_int_equal(dumpdir_len(d), 2);
    expect_documents(dumpdir_at(d, 0), &none);
    expect_documents(dumpdir_at(d, 1), &none);
    dumpdir_free(d);
}

static void
users_and_roles_are_no_collections(void **state)
{
    struct buf docs = two_documents(), users = {0}, roles = {0};
    struct dumpdir *d;
    struct pitr_err err;

    put(*state, "admin/system.users.bson", docs.data, docs.len);
    put(*state, "admin/system.version.bson", docs.data, docs.len);
    put_text(*state, "admin/system.users.metadata.json", "{\"options\":{},\"indexes\":[]}");
    put(*state, "config/settings.bson", docs.data, docs.len);
    put(*state, "shop/a.bson", "", 0);
    d = open_ok(*state);
    assert_int_equal(dumpdir_len(d), 1);
    assert_int_equal(dumpdir_users(d, &users, &roles, &err), PITR_OK);
    assert_int_equal(users.len, docs.len);
    assert_int_equal(roles.len, 0);
    dumpdir_free(d);
    buf_release(&users);
    buf_release(&docs);
}

static void
expect_refused(const char *dir, enum pitr_rc rc, const char *part)
{
    struct dumpdir *d = NULL;
    struct pitr_err err;

    assert_int_equal(dumpdir_open(&d, dir, &err), rc);
    assert_null(d);
    if (strstr(err.msg, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.msg, part);
}

static void
an_oplog_is_refused(void **state)
{
    put(*state, "shop/a.bson", "", 0);
    put(*state, "oplog.bson", "", 0);
    expect_refused(*state, PITR_USAGE, "/oplog.bson: a dump with an oplog is not replayed");
}

static void
what_is_no_dump_is_refused(void **state)
{
    char *missing = tmpdir_path(*state, "missing");

    expect_refused(*state, PITR_USAGE, "is no mongodump directory");
    expect_refused(missing, PITR_NOTFOUND, "missing");
    put(*state, "a.bson", "", 0);
    expect_refused(*state, PITR_USAGE, "holds the files of one database");
    free(missing);
}

static void
two_files_for_one_collection_are_refused(void **state)
{
    put(*state, "shop/a.bson", "", 0);
    put_gzip(*state, "shop/a.bson.gz", "", 0);
    expect_refused(*state, PITR_USAGE, "are both shop.a");
}

static void
bad_metadata_is_corrupt(void **state)
{
    put_text(*state, "shop/a.metadata.json", "{\"options\":{");
    expect_refused(*state, PITR_CORRUPT, "a.metadata.json: JSON at byte 12: ");
}

/* Every proper prefix of the file ends between documents, or is an error. */
static void
any_truncation_is_seen(void **state)
{
    struct buf docs = two_documents();
    size_t first = bson_len(docs.data);

    for (size_t len = 0; len < docs.len; len++) {
        struct dumpdir *d;
        struct buf have = {0};
        struct pitr_err err;
        enum pitr_rc rc;

        put(*state, "shop/a.bson", docs.data, len);
        d = open_ok(*state);
        rc = read_all(dumpdir_at(d, 0), &have, &err);
        if (len == 0 || len == first) {
            assert_int_equal(rc, PITR_OK);
            assert_int_equal(have.len, len);
        } else {
            assert_int_equal(rc, PITR_CORRUPT);
            assert_non_null(strstr(err.msg, "the file ends inside of a document"));
        }
        buf_release(&have);
        dumpdir_free(d);
    }
    buf_release(&docs);
}

static void
a_broken_gzip_file_is_corrupt(void **state)
{
    struct buf docs = two_documents(), have = {0}, raw = {0};
    char *path = tmpdir_path(*state, "shop/a.bson.gz");
    struct pitr_err err;

    put_gzip(*state, "shop/a.bson.gz", docs.data, docs.len);
    assert_int_equal(fs_read_file(&raw, path, 4096, &err), PITR_OK);
    for (size_t len = 11; len < raw.len; len++) {
        struct dumpdir *d;

        put(*state, "shop/a.bson.gz", raw.data, len);
        d = open_ok(*state);
        assert_int_equal(read_all(dumpdir_at(d, 0), &have, &err), PITR_CORRUPT);
        dumpdir_free(d);
    }
    raw.data[raw.len - 8] ^= 1;
    put(*state, "shop/a.bson.gz", raw.data, raw.len);
    {
        struct dumpdir *d = open_ok(*state);

        assert_int_equal(read_all(dumpdir_at(d, 0), &have, &err), PITR_CORRUPT);
        assert_non_null(strstr(err.msg, "shop/a.bson.gz, offset "));
        dumpdir_free(d);
    }
    buf_release(&docs);
    buf_release(&have);
    buf_release(&raw);
    free(path);
}

static void
malformed_documents_are_corrupt(void **state)
{
    struct buf docs = two_documents(), have = {0};
    struct pitr_err err;
    struct dumpdir *d;

    docs.data[4] = 0x42; /* no such type */
    put(*state, "shop/a.bson", docs.data, docs.len);
    put(*state, "shop/b.bson", "\xff\xff\xff\x7f", 4);
    d = open_ok(*state);
    assert_int_equal(read_all(dumpdir_at(d, 0), &have, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "a.bson, offset 0: "));
    assert_int_equal(read_all(dumpdir_at(d, 1), &have, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "a document of 2147483647 bytes"));
    dumpdir_free(d);
    buf_release(&docs);
    buf_release(&have);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)
    const struct CMUnitTest tests[] = {
        CASE(documents_options_and_indexes_are_read),
        CASE(gzip_is_read_and_never_guessed),
        CASE(names_are_decoded_and_cut_ones_completed),
        CASE(a_time_series_collection_is_its_buckets),
        CASE(buckets_with_a_cut_name_find_their_collection),
        CASE(uuids_are_read_where_there_are_any),
        CASE(a_prelude_names_the_server),
        CASE(views_become_documents_of_system_views),
        CASE(an_empty_collection_needs_no_documents),
        CASE(users_and_roles_are_no_collections),
        CASE(an_oplog_is_refused),
        CASE(what_is_no_dump_is_refused),
        CASE(two_files_for_one_collection_are_refused),
        CASE(bad_metadata_is_corrupt),
        CASE(any_truncation_is_seen),
        CASE(a_broken_gzip_file_is_corrupt),
        CASE(malformed_documents_are_corrupt),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
