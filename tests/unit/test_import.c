/* A mongodump directory becomes a snapshot, in a repository that no server is asked about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/import.h"
#include "engine/import_source.h"
#include "engine/window.h"
#include "mongo/bsonio.h"
#include "tests/support/ejson.h"
#include "tests/support/tmpdir.h"

#define UUID_A "000102030405060708090a0b0c0d0eff"

struct fixture {
    char *dump;
    struct repo *repo;
    struct job job;
};

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
put_documents(const char *dir, const char *name, int n)
{
    struct buf all = {0}, one = {0};
    struct pitr_err err;
    char text[64];

    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "{\"_id\":%d}", i);
        ejson(&one, text);
        assert_int_equal(buf_append(&all, one.data, one.len, &err), PITR_OK);
    }
    put(dir, name, all.data, all.len);
    buf_release(&all);
    buf_release(&one);
}

static struct fixture
setup_at(const char *dir)
{
    struct fixture f = {.dump = tmpdir_path(dir, "dump")};
    char *repo = tmpdir_path(dir, "repo");
    struct pitr_err err;
    bool created;

    assert_int_equal(mkdir(f.dump, 0700), 0);
    assert_int_equal(repo_init(repo, &created, &err), PITR_OK);
    assert_int_equal(repo_open(&f.repo, repo, REPO_WRITE, NULL, &err), PITR_OK);
    free(repo);
    return f;
}

static void
teardown_of(struct fixture *f)
{
    repo_free(f->repo);
    free(f->dump);
}

static enum pitr_rc
import(struct fixture *f, struct import_result *result, struct pitr_err *err)
{
    struct import_opts opts = {
        .repo = f->repo, .job = &f->job, .dir = f->dump, .label = "friday", .codec = CODEC_ZSTD};

    return import_run(&opts, result, err);
}

static struct manifest
import_ok(struct fixture *f)
{
    struct import_result result;
    struct manifest m;
    struct pitr_err err;

    if (import(f, &result, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(manifest_read(f->repo, result.manifest.id, &m, &err), PITR_OK);
    import_result_release(&result);
    return m;
}

static const struct coll_node *
find(const struct manifest *m, const char *db, const char *name)
{
    for (size_t i = 0; i < m->ncolls; i++)
        if (strcmp(m->colls[i].db, db) == 0 && strcmp(m->colls[i].name, name) == 0)
            return &m->colls[i];
    fail_msg("%s.%s is missing", db, name);
    return NULL;
}

static void
expect_bson(const struct buf *have, const char *json)
{
    struct buf want = {0};

    ejson(&want, json);
    assert_int_equal(have->len, want.len);
    assert_memory_equal(have->data, want.data, want.len);
    buf_release(&want);
}

static void
collections_come_with_options_indexes_and_uuid(void **state)
{
    struct fixture f = setup_at(*state);
    struct manifest m;
    const struct coll_node *a;

    put_documents(f.dump, "shop/a.bson", 1000);
    put_text(f.dump, "shop/a.metadata.json",
             "{\"options\":{\"capped\":true},\"indexes\":[{\"v\":2,\"key\":{\"_id\":1},\"name\":"
             "\"_id_\",\"clustered\":true},{\"v\":2,\"key\":{\"x\":1},\"name\":\"x_1\"}],"
             "\"uuid\":\"" UUID_A "\",\"collectionName\":\"a\",\"type\":\"collection\"}");
    put_text(f.dump, "prelude.json", "{\"ServerVersion\":\"6.0.5\"}");
    m = import_ok(&f);
    assert_string_equal(m.mode, "import");
    assert_string_equal(m.label, "friday");
    assert_string_equal(m.server_version, "6.0.5");
    assert_string_equal(m.cluster.set_name, "");
    assert_false(m.pitr);
    assert_int_equal(m.ncolls, 1);
    a = find(&m, "shop", "a");
    assert_memory_equal(a->uuid, "\0\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xff", 16);
    assert_int_equal(a->print.documents, 1000);
    expect_bson(&a->options, "{\"capped\":true}");
    expect_bson(&a->indexes, "{\"0\":{\"v\":2,\"key\":{\"x\":1},\"name\":\"x_1\"}}");
    manifest_release(&m);
    teardown_of(&f);
}

static void
no_two_collections_have_one_uuid(void **state)
{
    static const char metadata[] =
        "{\"options\":{},\"indexes\":[],\"uuid\":\"" UUID_A "\",\"type\":\"collection\"}";
    struct fixture f = setup_at(*state);
    struct manifest m;

    put_text(f.dump, "shop/a.metadata.json", metadata);
    put_text(f.dump, "copy/a.metadata.json", metadata);
    put_documents(f.dump, "shop/bare.bson", 1);
    put_documents(f.dump, "copy/bare.bson", 1);
    m = import_ok(&f);
    assert_int_equal(m.ncolls, 4);
    for (size_t i = 0; i < m.ncolls; i++)
        for (size_t k = i + 1; k < m.ncolls; k++)
            assert_memory_not_equal(m.colls[i].uuid, m.colls[k].uuid, 16);
    assert_memory_equal(find(&m, "copy", "a")->uuid, "\0\1\2\3", 4);
    assert_int_equal(find(&m, "shop", "a")->uuid[6] >> 4, 4);
    assert_int_equal(find(&m, "shop", "bare")->uuid[8] >> 6, 2);
    manifest_release(&m);
    teardown_of(&f);
}

static void
views_series_and_users_are_collections_as_on_a_server(void **state)
{
    struct fixture f = setup_at(*state);
    struct manifest m;

    put_text(f.dump, "shop/v.metadata.json",
             "{\"options\":{\"viewOn\":\"a\",\"pipeline\":[]},\"indexes\":[],\"type\":\"view\"}");
    put_text(f.dump, "shop/s.metadata.json",
             "{\"options\":{\"timeseries\":{\"timeField\":\"t\"}},\"indexes\":[],"
             "\"collectionName\":\"s\",\"type\":\"timeseries\"}");
    put_documents(f.dump, "admin/system.users.bson", 2);
    put_documents(f.dump, "admin/system.roles.bson", 3);
    put_documents(f.dump, "admin/system.version.bson", 1);
    m = import_ok(&f);
    assert_int_equal(m.ncolls, 4);
    assert_int_equal(find(&m, "admin", "system.users")->print.documents, 2);
    assert_int_equal(find(&m, "admin", "system.roles")->print.documents, 3);
    assert_int_equal(find(&m, "shop", "system.buckets.s")->print.documents, 0);
    /* The view, and the one that a time-series collection is. */
    assert_int_equal(find(&m, "shop", "system.views")->print.documents, 2);
    manifest_release(&m);
    teardown_of(&f);
}

static void
the_cluster_and_what_is_restorable_stay_what_they_are(void **state)
{
    struct fixture f = setup_at(*state);
    struct manifest m;
    struct history h = {0};
    struct cluster_id cluster;
    struct pitr_err err;
    bool known;

    put_documents(f.dump, "shop/a.bson", 5);
    m = import_ok(&f);
    assert_int_equal(repo_cluster(f.repo, &cluster, &known, &err), PITR_OK);
    assert_false(known);
    assert_int_equal(history_load(&h, f.repo, &err), PITR_OK);
    assert_int_equal(h.nsnapshots, 1);
    assert_int_equal(h.nwindows, 0);
    assert_null(history_newest(&h));
    history_release(&h);
    manifest_release(&m);
    teardown_of(&f);
}

static void
any_truncation_publishes_nothing_and_names_the_file(void **state)
{
    struct fixture f = setup_at(*state);
    struct import_result result;
    struct fs_names ids = {0};
    struct pitr_err err;
    struct buf doc = {0};
    struct manifest m;

    ejson(&doc, "{\"_id\":1,\"text\":\"some text\"}");
    put_documents(f.dump, "shop/b.bson", 5);
    for (size_t len = 1; len < doc.len; len++) {
        put(f.dump, "shop/a.bson", doc.data, len);
        assert_int_equal(import(&f, &result, &err), PITR_CORRUPT);
        assert_non_null(strstr(err.msg, "shop/a.bson, offset 0: the file ends inside of a "));
    }
    assert_int_equal(manifest_list(f.repo, &ids, &err), PITR_OK);
    assert_int_equal(ids.len, 0);
    put(f.dump, "shop/a.bson", doc.data, doc.len);
    m = import_ok(&f);
    assert_int_equal(m.documents, 6);
    manifest_release(&m);
    buf_release(&doc);
    teardown_of(&f);
}

static void
a_file_that_goes_away_is_no_collection_that_was_dropped(void **state)
{
    struct fixture f = setup_at(*state);
    PITR_AUTO(dumpdir_freep) struct dumpdir *dir = NULL;
    struct source_list list;
    struct doc_source *source;
    struct doc_cursor *cursor;
    struct pitr_err err;
    char *path = tmpdir_path(f.dump, "shop/a.bson");

    put_documents(f.dump, "shop/a.bson", 1);
    assert_int_equal(dumpdir_open(&dir, f.dump, &err), PITR_OK);
    assert_int_equal(import_source_new(&source, dir, &err), PITR_OK);
    assert_int_equal(source->ops->list(source, &list, &err), PITR_OK);
    assert_int_equal(list.len, 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(source->ops->open(source, &list.at[0], &cursor, &err), PITR_IO);
    assert_non_null(strstr(err.msg, path));
    source_list_release(&list);
    source->ops->free(source);
    free(path);
    teardown_of(&f);
}

static void
expect_usage(struct fixture *f, const char *says)
{
    struct import_result result;
    struct pitr_err err;

    assert_int_equal(import(f, &result, &err), PITR_USAGE);
    if (strstr(err.msg, says) == NULL)
        fail_msg("\"%s\" is not in: %s", says, err.msg);
}

static void
what_is_no_dump_is_a_wrong_argument(void **state)
{
    struct fixture f = setup_at(*state);

    expect_usage(&f, "is no mongodump directory: no <database>/<collection>.bson in it");
    put_documents(f.dump, "shop/a.bson", 1);
    put_documents(f.dump, "oplog.bson", 1);
    expect_usage(&f, "oplog.bson: a dump with an oplog is not replayed");
    free(f.dump);
    f.dump = tmpdir_path(*state, "missing");
    expect_usage(&f, "missing: there is nothing there");
    put_text(*state, "archive", "x");
    free(f.dump);
    f.dump = tmpdir_path(*state, "archive");
    expect_usage(&f, "archive is a file: an archive of mongodump is not read");
    teardown_of(&f);
}

static void
another_snapshot_that_runs_is_busy(void **state)
{
    struct fixture f = setup_at(*state);
    struct import_result result;
    struct fs_lock *lock;
    struct pitr_err err;

    put_documents(f.dump, "shop/a.bson", 1);
    assert_int_equal(repo_lock(f.repo, "snapshot", &lock, &err), PITR_OK);
    assert_int_equal(import(&f, &result, &err), PITR_BUSY);
    assert_memory_equal(err.msg, "another snapshot is running: ", 29);
    fs_lock_free(lock);
    teardown_of(&f);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)
    const struct CMUnitTest tests[] = {
        CASE(collections_come_with_options_indexes_and_uuid),
        CASE(no_two_collections_have_one_uuid),
        CASE(views_series_and_users_are_collections_as_on_a_server),
        CASE(the_cluster_and_what_is_restorable_stay_what_they_are),
        CASE(any_truncation_publishes_nothing_and_names_the_file),
        CASE(a_file_that_goes_away_is_no_collection_that_was_dropped),
        CASE(what_is_no_dump_is_a_wrong_argument),
        CASE(another_snapshot_that_runs_is_busy),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
