#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/scan.h"
#include "../support/tmpdir.h"
#include "engine/verify.h"

#define ID_1 "20261123T140307Z-aaaaaa"
#define ID_2 "20261124T140307Z-bbbbbb"

struct fixture {
    struct repo *repo;
    struct doc_array *docs;
};

static struct fixture
setup_at(const char *dir)
{
    struct fixture f;
    struct pitr_err err;
    bool created;

    assert_int_equal(repo_init(dir, &created, &err), PITR_OK);
    assert_int_equal(repo_open(&f.repo, dir, REPO_WRITE, NULL, &err), PITR_OK);
    f.docs = doc_array_new();
    return f;
}

static void
teardown_of(struct fixture *f)
{
    repo_free(f->repo);
    doc_array_free(f->docs);
}

static struct manifest
take(struct fixture *f, const char *id)
{
    struct manifest m;
    struct pitr_err err;

    if (scan_snapshot(f->repo, f->docs, id, NULL, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    if (manifest_read(f->repo, id, &m, &err) != PITR_OK)
        fail_msg("%s", err.msg);
    return m;
}

static void
add_many(struct fixture *f, size_t coll, int n, size_t pad)
{
    for (int i = 0; i < n; i++)
        doc_array_add(f->docs, coll, i, pad + (size_t)i % 97, (uint32_t)i * 31 + (uint32_t)coll);
}

/* All bytes of a collection's chunks end to end: its documents, in the order of the scan. */
static void
join(struct fixture *f, const struct coll_node *c, struct buf *out)
{
    PITR_AUTO(store_reader_freep) struct store_reader *reader = NULL;
    struct store *store;
    struct pitr_err err;
    struct buf chunk = {0};

    assert_int_equal(repo_store(f->repo, &store, &err), PITR_OK);
    assert_int_equal(store_reader_new(&reader, store, &err), PITR_OK);
    for (size_t i = 0; i < c->nlists; i++) {
        struct chunk_entry *entries;
        size_t n;

        assert_int_equal(list_read(reader, &c->lists[i], &entries, &n, &err), PITR_OK);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(store_get(reader, entries[k].type, &entries[k].id, &chunk, &err),
                             PITR_OK);
            assert_int_equal(chunk.len, entries[k].raw_len);
            assert_true(chunk.len <= 256 << 10);
            assert_int_equal(buf_append(out, chunk.data, chunk.len, &err), PITR_OK);
        }
        free(entries);
    }
    buf_release(&chunk);
}

static void
check_content(struct fixture *f, const struct coll_node *c)
{
    struct buf joined = {0};
    size_t at = 0, coll = c->uuid[0];

    join(f, c, &joined);
    assert_int_equal(c->print.documents, doc_array_len(f->docs, coll));
    for (size_t i = 0; i < doc_array_len(f->docs, coll); i++) {
        const struct buf *doc = doc_array_doc(f->docs, coll, i);

        assert_true(joined.len - at >= doc->len);
        assert_memory_equal(joined.data + at, doc->data, doc->len);
        at += doc->len;
    }
    assert_int_equal(at, joined.len);
    assert_int_equal(c->print.bytes, joined.len);
    buf_release(&joined);
}

static void
documents_come_back_whole_and_in_order(void **state)
{
    struct fixture f = setup_at(*state);
    struct manifest m;

    for (int k = 0; k < 5; k++)
        add_many(&f, doc_array_coll(f.docs, k % 2 == 0 ? "a" : "b", k < 3 ? "x" : "y"), k * 3000,
                 200);
    m = take(&f, ID_1);
    assert_int_equal(m.ncolls, 5);
    assert_int_equal(m.documents, 30000);
    assert_true(m.chunks > 50);
    for (size_t i = 0; i < m.ncolls; i++)
        check_content(&f, &m.colls[i]);
    manifest_release(&m);
    teardown_of(&f);
}

static void
long_documents_are_split_and_joined(void **state)
{
    struct fixture f = setup_at(*state);
    size_t coll = doc_array_coll(f.docs, "a", "x");
    struct manifest m;

    doc_array_add(f.docs, coll, 1, 100, 1);
    doc_array_add(f.docs, coll, 2, 5 << 20, 2);
    doc_array_add(f.docs, coll, 3, 300 << 10, 3);
    doc_array_add(f.docs, coll, 4, 256 << 10, 4);
    doc_array_add(f.docs, coll, 5, 100, 5);
    m = take(&f, ID_1);
    check_content(&f, &m.colls[0]);
    assert_true(m.chunks > 5 * 4);
    manifest_release(&m);
    teardown_of(&f);
}

static void
an_unchanged_second_run_stores_no_chunk(void **state)
{
    struct fixture f = setup_at(*state);
    struct manifest first, second;

    add_many(&f, doc_array_coll(f.docs, "a", "x"), 20000, 300);
    first = take(&f, ID_1);
    second = take(&f, ID_2);
    assert_int_equal(first.chunks_new, first.chunks);
    assert_int_equal(second.chunks_new, 0);
    assert_int_equal(second.bytes_stored, 0);
    assert_memory_equal(&first.dbs[0].id, &second.dbs[0].id, sizeof first.dbs[0].id);
    manifest_release(&first);
    manifest_release(&second);
    teardown_of(&f);
}

static void
one_more_document_stores_little(void **state)
{
    struct fixture f = setup_at(*state);
    size_t coll = doc_array_coll(f.docs, "a", "x");
    struct manifest first, second;

    add_many(&f, coll, 20000, 300);
    first = take(&f, ID_1);
    doc_array_add(f.docs, coll, 1000000, 10, 1);
    second = take(&f, ID_2);
    assert_true(second.chunks_new >= 1 && second.chunks_new <= 2);
    manifest_release(&first);
    manifest_release(&second);
    teardown_of(&f);
}

static void
empty_databases_and_collections_are_fine(void **state)
{
    struct fixture f = setup_at(*state);
    struct manifest m = take(&f, ID_1);

    assert_int_equal(m.collections, 0);
    manifest_release(&m);
    (void)doc_array_coll(f.docs, "a", "empty");
    m = take(&f, ID_2);
    assert_int_equal(m.ncolls, 1);
    assert_int_equal(m.colls[0].nlists, 0);
    manifest_release(&m);
    teardown_of(&f);
}

static void
a_collection_renamed_under_the_cursor_is_there_once_under_its_new_name(void **state)
{
    struct fixture f = setup_at(*state);
    size_t coll = doc_array_coll(f.docs, "a", "old");
    struct manifest m;

    add_many(&f, coll, 5000, 300);
    doc_array_on_read(f.docs, coll, 3000, ARRAY_RENAME, "new");
    m = take(&f, ID_1);
    assert_int_equal(m.ncolls, 1);
    assert_string_equal(m.colls[0].name, "new");
    check_content(&f, &m.colls[0]);
    manifest_release(&m);
    teardown_of(&f);
}

static void
a_collection_dropped_under_the_cursor_is_left_out(void **state)
{
    struct fixture f = setup_at(*state);
    size_t gone = doc_array_coll(f.docs, "a", "gone"), stays = doc_array_coll(f.docs, "a", "stays");
    struct manifest m;

    add_many(&f, gone, 5000, 300);
    add_many(&f, stays, 100, 300);
    doc_array_on_read(f.docs, gone, 3000, ARRAY_DROP, NULL);
    m = take(&f, ID_1);
    assert_int_equal(m.ncolls, 1);
    assert_string_equal(m.colls[0].name, "stays");
    check_content(&f, &m.colls[0]);
    manifest_release(&m);
    teardown_of(&f);
}

static void
a_lost_connection_is_tried_again(void **state)
{
    struct fixture f = setup_at(*state);
    size_t coll = doc_array_coll(f.docs, "a", "x");
    struct manifest m;

    add_many(&f, coll, 3000, 300);
    doc_array_on_read(f.docs, coll, 2000, ARRAY_LOSE, NULL);
    m = take(&f, ID_1);
    check_content(&f, &m.colls[0]);
    manifest_release(&m);
    teardown_of(&f);
}

static void
a_failing_read_ends_everything_and_publishes_nothing(void **state)
{
    struct fixture f = setup_at(*state);
    struct fs_names ids;
    struct pitr_err err;

    for (int k = 0; k < 6; k++) {
        char name[8];

        snprintf(name, sizeof name, "c%d", k);
        add_many(&f, doc_array_coll(f.docs, "a", name), 2000, 300);
    }
    doc_array_on_read(f.docs, 3, 1500, ARRAY_FAIL, NULL);
    assert_int_equal(scan_snapshot(f.repo, f.docs, ID_1, NULL, &err), PITR_DB);
    assert_string_equal(err.msg, "the server said no");
    assert_int_equal(manifest_list(f.repo, &ids, &err), PITR_OK);
    assert_int_equal(ids.len, 0);
    fs_names_release(&ids);
    teardown_of(&f);
}

static void
ignore_report(void *arg, enum finding finding, const char *what)
{
    (void)finding;
    snprintf(arg, 1024, "%s", what);
}

static enum pitr_rc
verify(struct fixture *f, bool data, char text[1024], struct verify_result *result)
{
    struct job job = {0};
    struct pitr_err err;

    text[0] = '\0';
    return verify_run(
        &(struct verify_opts){
            .repo = f->repo, .job = &job, .data = data, .report = ignore_report, .arg = text},
        result, &err);
}

static void
verification_passes_what_is_whole(void **state)
{
    struct fixture f = setup_at(*state);
    struct verify_result result;
    struct manifest m;
    char text[1024];

    add_many(&f, doc_array_coll(f.docs, "a", "x"), 20000, 300);
    doc_array_add(f.docs, 0, -1, 1 << 20, 3);
    m = take(&f, ID_1);
    manifest_release(&m);
    m = take(&f, ID_2);
    assert_int_equal(verify(&f, false, text, &result), PITR_OK);
    assert_int_equal(result.snapshots, 2);
    assert_int_equal(result.chunks, m.chunks);
    assert_int_equal(verify(&f, true, text, &result), PITR_OK);
    assert_true(result.chunks > m.chunks); /* nodes and lists are frames, too */
    assert_true(result.bytes > 1 << 20);
    manifest_release(&m);
    teardown_of(&f);
}

static enum pitr_rc
keep_name(void *arg, const char *name, uint64_t size, struct pitr_err *err)
{
    (void)size;
    return fs_names_add(arg, name, err);
}

static void
verification_finds_a_flipped_byte_and_a_missing_pack(void **state)
{
    struct fixture f = setup_at(*state);
    struct fs_names packs = {0};
    struct verify_result result;
    struct manifest m;
    struct buf bytes = {0};
    struct pitr_err err;
    char text[1024];

    add_many(&f, doc_array_coll(f.docs, "a", "x"), 3000, 300);
    m = take(&f, ID_1);
    manifest_release(&m);
    assert_int_equal(blob_list(repo_blob(f.repo), "packs/", keep_name, &packs, &err), PITR_OK);
    assert_true(packs.len > 0);
    assert_int_equal(blob_get(repo_blob(f.repo), packs.at[0], 64 << 20, &bytes, &err), PITR_OK);
    bytes.data[bytes.len / 3] ^= 4;
    assert_int_equal(blob_put(repo_blob(f.repo), packs.at[0], bytes.data, bytes.len, true, &err),
                     PITR_OK);
    assert_int_equal(verify(&f, true, text, &result), PITR_CORRUPT);
    assert_true(result.problems > 0);
    assert_int_equal(blob_remove(repo_blob(f.repo), packs.at[0], &err), PITR_OK);
    assert_int_equal(verify(&f, false, text, &result), PITR_CORRUPT);
    assert_non_null(strstr(text, "snapshot " ID_1));
    buf_release(&bytes);
    fs_names_release(&packs);
    teardown_of(&f);
}

int
main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(documents_come_back_whole_and_in_order),
        IN_FOLDER(long_documents_are_split_and_joined),
        IN_FOLDER(an_unchanged_second_run_stores_no_chunk),
        IN_FOLDER(one_more_document_stores_little),
        IN_FOLDER(empty_databases_and_collections_are_fine),
        IN_FOLDER(a_collection_renamed_under_the_cursor_is_there_once_under_its_new_name),
        IN_FOLDER(a_collection_dropped_under_the_cursor_is_left_out),
        IN_FOLDER(a_lost_connection_is_tried_again),
        IN_FOLDER(a_failing_read_ends_everything_and_publishes_nothing),
        IN_FOLDER(verification_passes_what_is_whole),
        IN_FOLDER(verification_finds_a_flipped_byte_and_a_missing_pack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
