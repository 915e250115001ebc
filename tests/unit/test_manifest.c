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
#include "base/bytes.h"

static struct repo *
open_new(const char *dir)
{
    struct pitr_err err;
    struct repo *r = NULL;
    bool created;

    assert_int_equal(repo_init(dir, &created, &err), PITR_OK);
    assert_int_equal(repo_open(&r, dir, REPO_WRITE, NULL, &err), PITR_OK);
    return r;
}

/* A manifest with everything in it, of collections whose data nobody looks at. */
static void
fill(struct manifest *m, const char *id)
{
    static const char *const names[][2] = {{"b", "x"}, {"a", "y"}, {"a", "x"}, {"a", "x"}};

    *m = (struct manifest){.mode = "scan",
                           .pitr = true,
                           .timeline = 3,
                           .host = "db1:27017",
                           .fcv = "6.0",
                           .server_version = "6.0.5",
                           .tool_version = "0.1.0",
                           .begin = {.ts = 10, .term = 1},
                           .t_start = {.ts = 20, .term = 1},
                           .t_end = {.ts = 30, .term = 2},
                           .started_ms = 1000,
                           .finished_ms = 2000,
                           .chunks_new = 5,
                           .bytes_new = 6};
    snprintf(m->id, sizeof m->id, "%s", id);
    snprintf(m->cluster.set_name, sizeof m->cluster.set_name, "rs0");
    m->label = strdup("before the upgrade");
    m->nexclude = 1;
    m->exclude = calloc(1, sizeof *m->exclude);
    m->exclude[0] = strdup("tmp.*");
    m->nexcluded = 1;
    m->excluded = calloc(1, sizeof *m->excluded);
    m->excluded[0].ns = strdup("tmp.x");
    m->excluded[0].uuid[3] = 9;
    m->ncolls = 4;
    m->colls = calloc(m->ncolls, sizeof *m->colls);
    for (size_t i = 0; i < m->ncolls; i++) {
        struct coll_node *c = &m->colls[i];

        c->db = strdup(names[i][0]);
        c->name = strdup(names[i][1]);
        c->uuid[0] = (uint8_t)(9 - i);
        c->print = (struct fingerprint){.lo = i, .hi = 7, .documents = 100 + i, .bytes = 1000};
        c->chunks = 10;
        c->nlists = i;
        c->lists = i > 0 ? calloc(i, sizeof *c->lists) : NULL;
    }
}

static void
store(struct repo *r, struct manifest *m)
{
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    struct store *s;
    struct pitr_err err;

    assert_int_equal(repo_store(r, &s, &err), PITR_OK);
    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    assert_int_equal(sealer_new(&sealer, repo_keys(r), CODEC_ZSTD, 0, &err), PITR_OK);
    assert_int_equal(manifest_store_nodes(m, w, sealer, &err), PITR_OK);
    assert_int_equal(store_writer_finish(w, NULL, &err), PITR_OK);
    assert_int_equal(manifest_publish(r, m, &err), PITR_OK);
}

static void
store_id(struct repo *r, const char *id)
{
    struct manifest m;

    fill(&m, id);
    store(r, &m);
    manifest_release(&m);
}

#define ID_1 "20261123T140307Z-aaaaaa"
#define ID_2 "20261124T140307Z-bbbbbb"
#define ID_3 "20261124T150307Z-cccccc"

static void
a_manifest_comes_back_whole(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    struct manifest m, got;
    struct pitr_err err;

    fill(&m, ID_1);
    store(r, &m);
    assert_int_equal(manifest_read(r, ID_1, &got, &err), PITR_OK);
    assert_string_equal(got.id, ID_1);
    assert_string_equal(got.label, "before the upgrade");
    assert_true(got.pitr);
    assert_int_equal(got.timeline, 3);
    assert_int_equal(got.begin.ts, 10);
    assert_int_equal(got.t_end.term, 2);
    assert_int_equal(got.collections, 4);
    assert_int_equal(got.documents, 406);
    assert_int_equal(got.chunks, 40);
    assert_string_equal(got.exclude[0], "tmp.*");
    assert_string_equal(got.excluded[0].ns, "tmp.x");
    assert_int_equal(got.excluded[0].uuid[3], 9);
    assert_string_equal(got.cluster.set_name, "rs0");
    assert_int_equal(got.ndbs, 2);
    assert_int_equal(got.ncolls, 4);
    for (size_t i = 0; i < got.ncolls; i++) {
        assert_string_equal(got.colls[i].db, m.colls[i].db);
        assert_string_equal(got.colls[i].name, m.colls[i].name);
        assert_memory_equal(got.colls[i].uuid, m.colls[i].uuid, 16);
        assert_true(fingerprint_equal(&got.colls[i].print, &m.colls[i].print));
        assert_int_equal(got.colls[i].nlists, m.colls[i].nlists);
        assert_int_equal(got.colls[i].options.len, 5);
    }
    manifest_release(&got);
    manifest_release(&m);
}

static void
collections_are_sorted_and_may_share_a_name(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    struct manifest got;
    struct pitr_err err;

    store_id(r, ID_1);
    assert_int_equal(manifest_read(r, ID_1, &got, &err), PITR_OK);
    assert_string_equal(got.colls[0].name, "x");
    assert_string_equal(got.colls[1].name, "x");
    assert_true(memcmp(got.colls[0].uuid, got.colls[1].uuid, 16) < 0);
    assert_string_equal(got.colls[2].name, "y");
    assert_string_equal(got.colls[3].db, "b");
    manifest_release(&got);
}

static void
snapshots_are_found_by_prefix_and_latest(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    struct manifest got;
    struct fs_names ids;
    struct pitr_err err;

    store_id(r, ID_2);
    store_id(r, ID_1);
    store_id(r, ID_3);
    assert_int_equal(manifest_list(r, &ids, &err), PITR_OK);
    assert_int_equal(ids.len, 3);
    assert_string_equal(ids.at[0], ID_1);
    fs_names_release(&ids);
    assert_int_equal(manifest_read_root(r, "latest", &got, &err), PITR_OK);
    assert_string_equal(got.id, ID_3);
    assert_int_equal(got.ncolls, 0);
    manifest_release(&got);
    assert_int_equal(manifest_read_root(r, "20261123", &got, &err), PITR_OK);
    assert_string_equal(got.id, ID_1);
    manifest_release(&got);
    assert_int_equal(manifest_read_root(r, "20261124", &got, &err), PITR_USAGE);
    assert_non_null(strstr(err.msg, ID_2 " and " ID_3));
    assert_int_equal(manifest_read_root(r, "20261124T145000Z", &got, &err), PITR_NOTFOUND);
    assert_string_equal(err.msg,
                        "no snapshot \"20261124T145000Z\"; the nearest are " ID_2 " and " ID_3);
    assert_int_equal(manifest_read_root(r, "", &got, &err), PITR_NOTFOUND);
}

static void
an_empty_repository_has_no_latest(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    struct manifest got;
    struct pitr_err err;

    assert_int_equal(manifest_read_root(r, "latest", &got, &err), PITR_NOTFOUND);
    assert_non_null(strstr(err.msg, "the repository has none yet"));
}

static void
a_published_snapshot_is_never_overwritten(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    struct manifest m;
    struct pitr_err err;

    store_id(r, ID_1);
    fill(&m, ID_1);
    assert_int_equal(manifest_publish(r, &m, &err), PITR_EXISTS);
    assert_non_null(strstr(err.msg, "publishing snapshot " ID_1));
    manifest_release(&m);
}

static void
damage_to_the_root_is_corrupt(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    PITR_AUTO(str_freep) char *path = tmpdir_path(*state, "snapshots/" ID_1 ".manifest");
    PITR_AUTO(str_freep) char *copy = tmpdir_path(*state, "snapshots/" ID_2 ".manifest");
    struct buf bytes = {0};
    struct manifest got;
    struct pitr_err err;

    store_id(r, ID_1);
    assert_int_equal(fs_read_file(&bytes, path, 1 << 20, &err), PITR_OK);
    for (size_t i = 0; i < bytes.len; i += 7) {
        bytes.data[i] ^= 0x10;
        assert_int_equal(fs_write_file(path, bytes.data, bytes.len, true, &err), PITR_OK);
        assert_int_equal(manifest_read_root(r, ID_1, &got, &err), PITR_CORRUPT);
        assert_non_null(strstr(err.msg, "snapshot " ID_1));
        bytes.data[i] ^= 0x10;
    }
    for (size_t len = 0; len < bytes.len; len += 13) {
        assert_int_equal(fs_write_file(path, bytes.data, len, true, &err), PITR_OK);
        assert_int_equal(manifest_read_root(r, ID_1, &got, &err), PITR_CORRUPT);
    }
    assert_int_equal(fs_write_file(copy, bytes.data, bytes.len, true, &err), PITR_OK);
    assert_int_equal(manifest_read_root(r, ID_2, &got, &err), PITR_CORRUPT);
    assert_non_null(strstr(err.msg, "it says it is snapshot " ID_1));
    buf_release(&bytes);
}

/* The id of entry `i` is a hash of i, so that lists are cut where real ones would be. */
static struct chunk_entry
entry_of(struct sealer *sealer, uint32_t i)
{
    struct chunk_entry e = {.raw_len = 1 + i, .documents = 1, .type = FRAME_DATA};
    struct pitr_err err;

    assert_int_equal(sealer_id(sealer, &i, sizeof i, &e.id, &err), PITR_OK);
    return e;
}

static struct coll_node
list_of(struct repo *r, uint32_t from, uint32_t to)
{
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    PITR_AUTO(list_writer_freep) struct list_writer *lw = NULL;
    struct coll_node node = {0};
    struct store *s;
    struct pitr_err err;

    assert_int_equal(repo_store(r, &s, &err), PITR_OK);
    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    assert_int_equal(sealer_new(&sealer, repo_keys(r), CODEC_LZ4, 0, &err), PITR_OK);
    assert_int_equal(list_writer_new(&lw, w, sealer, &err), PITR_OK);
    for (uint32_t i = from; i < to; i++) {
        struct chunk_entry e = entry_of(sealer, i);

        assert_int_equal(list_writer_add(lw, &e, &err), PITR_OK);
    }
    assert_int_equal(list_writer_finish(lw, &node, &err), PITR_OK);
    assert_int_equal(store_writer_finish(w, NULL, &err), PITR_OK);
    return node;
}

static void
lists_hold_their_entries_in_order(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    PITR_AUTO(store_reader_freep) struct store_reader *reader = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    struct coll_node node = list_of(r, 0, 30000);
    struct store *s;
    struct pitr_err err;
    uint32_t next = 0;

    assert_int_equal(node.chunks, 30000);
    assert_true(node.nlists >= 4 && node.nlists < 40);
    assert_int_equal(repo_store(r, &s, &err), PITR_OK);
    assert_int_equal(store_reader_new(&reader, s, &err), PITR_OK);
    assert_int_equal(sealer_new(&sealer, repo_keys(r), CODEC_LZ4, 0, &err), PITR_OK);
    for (size_t i = 0; i < node.nlists; i++) {
        struct chunk_entry *entries;
        size_t n;

        assert_int_equal(list_read(reader, &node.lists[i], &entries, &n, &err), PITR_OK);
        assert_true(n >= 256 || i + 1 == node.nlists);
        assert_true(n <= 8192);
        for (size_t k = 0; k < n; k++, next++) {
            struct chunk_entry want = entry_of(sealer, next);

            assert_memory_equal(entries[k].id.b, want.id.b, CHUNK_ID_LEN);
            assert_int_equal(entries[k].raw_len, want.raw_len);
        }
        free(entries);
    }
    assert_int_equal(next, 30000);
    coll_node_release(&node);
}

static void
one_chunk_more_in_front_changes_few_lists(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    struct coll_node a = list_of(r, 1, 60000), b = list_of(r, 0, 60000);
    size_t shared = 0;

    for (size_t i = 0; i < a.nlists; i++)
        for (size_t k = 0; k < b.nlists; k++)
            shared += memcmp(&a.lists[i], &b.lists[k], sizeof a.lists[i]) == 0;
    assert_true(shared + 4 >= a.nlists);
    coll_node_release(&a);
    coll_node_release(&b);
}

static void
a_list_that_is_none_is_corrupt(void **state)
{
    PITR_AUTO(repo_freep) struct repo *r = open_new(*state);
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    PITR_AUTO(store_reader_freep) struct store_reader *reader = NULL;
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    uint8_t bad[3][41] = {{0}};
    struct chunk_id ids[4];
    struct chunk_entry *entries;
    struct store *s;
    struct pitr_err err;
    size_t n;

    for (int i = 0; i < 3; i++) {
        put_le32(bad[i] + 32, i == 1 ? 0 : 9); /* no bytes */
        put_le32(bad[i] + 36, i == 2 ? 0 : 1); /* no documents */
        bad[i][40] = i == 0 ? FRAME_NODE : FRAME_DATA;
    }
    assert_int_equal(repo_store(r, &s, &err), PITR_OK);
    assert_int_equal(store_writer_new(&w, s, &err), PITR_OK);
    assert_int_equal(sealer_new(&sealer, repo_keys(r), CODEC_LZ4, 0, &err), PITR_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(store_put(w, sealer, FRAME_LIST, bad[i], 41, &ids[i], NULL, &err),
                         PITR_OK);
    assert_int_equal(store_put(w, sealer, FRAME_LIST, bad, 42, &ids[3], NULL, &err), PITR_OK);
    assert_int_equal(store_writer_finish(w, NULL, &err), PITR_OK);
    assert_int_equal(store_reader_new(&reader, s, &err), PITR_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(list_read(reader, &ids[i], &entries, &n, &err), PITR_CORRUPT);
        assert_non_null(strstr(err.msg, "chunk list "));
    }
}

int
main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_manifest_comes_back_whole),
        IN_FOLDER(collections_are_sorted_and_may_share_a_name),
        IN_FOLDER(snapshots_are_found_by_prefix_and_latest),
        IN_FOLDER(an_empty_repository_has_no_latest),
        IN_FOLDER(a_published_snapshot_is_never_overwritten),
        IN_FOLDER(damage_to_the_root_is_corrupt),
        IN_FOLDER(lists_hold_their_entries_in_order),
        IN_FOLDER(one_chunk_more_in_front_changes_few_lists),
        IN_FOLDER(a_list_that_is_none_is_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
