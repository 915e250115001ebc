#include "chunkstore/cindex_files.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crypto.h"

/* Byte layout: docs/format.md, "Index". */
enum { STAMP_LEN = 32, STAMP_SIZE = 8, STAMP_HASH = 16, STAMP_SUM = 24 };
static const char stamp_magic[] = "PITRIX01";

/* What LMDB 0.9 believes without looking twice: page header, then the meta record. */
enum { META_AT = 16, META_LEN = 152, META_PSIZE = 24, META_FLAG = 0x08 };
#define LMDB_MAGIC UINT32_C(0xBEEFC0DE)

enum { BOOT_ID_MAX = 64, LOCK_TRIES = 17, LOCK_PAUSE_MS = 20 };

enum pitr_rc
cindex_files_lock(struct fs_lock **out, const char *dir, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;

    if (fs_join(&path, dir, "writer.lock", err) != PITR_OK)
        return err->rc;
    for (int i = 1; fs_lock_try(out, path, FS_LOCK_EXCLUSIVE, err) != PITR_OK; i++) {
        if (err->rc != PITR_BUSY || i == LOCK_TRIES)
            return pitr_wrap(err, "index");
        clock_sleep_ms(LOCK_PAUSE_MS);
    }
    return PITR_OK;
}

enum pitr_rc
cindex_files_share(struct fs_lock **out, const char *dir, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;

    if (fs_join(&path, dir, "writer.lock", err) != PITR_OK)
        return err->rc;
    if (fs_lock_try(out, path, FS_LOCK_SHARED, err) == PITR_OK)
        return PITR_OK;
    if (err->rc == PITR_DENIED || err->rc == PITR_NOTFOUND)
        return PITR_OK;
    return err->rc;
}

static enum pitr_rc
writer_lives(bool *out, const char *dir, struct pitr_err *err)
{
    PITR_AUTO(fs_lock_freep) struct fs_lock *probe = NULL;

    *out = false;
    if (cindex_files_share(&probe, dir, err) == PITR_OK)
        return PITR_OK;
    if (err->rc != PITR_BUSY)
        return err->rc;
    *out = true;
    return PITR_OK;
}

/* Identity of the machine's uptime; empty where the kernel does not tell. */
static void
read_boot_id(struct buf *out)
{
    struct pitr_err ignored;
    uint8_t text[BOOT_ID_MAX];
    ssize_t n;
    PITR_AUTO(fd_closep) int fd = -1;

    if (fs_open(&fd, "/proc/sys/kernel/random/boot_id", O_RDONLY, 0, &ignored) != PITR_OK)
        return;
    n = read(fd, text, sizeof text);
    if (n > 0 && buf_append(out, text, (size_t)n, &ignored) != PITR_OK)
        return;
}

/* Does `folder` carry the mark of a writer of this uptime? Any doubt is a no. */
static bool
is_marked_open(const char *dir, const char *gen)
{
    PITR_AUTO(buf_release) struct buf now = {0}, mark = {0};
    PITR_AUTO(str_freep) char *folder = NULL, *path = NULL;
    struct pitr_err ignored;

    read_boot_id(&now);
    if (now.len == 0 || fs_join(&folder, dir, gen, &ignored) != PITR_OK ||
        fs_join(&path, folder, "open", &ignored) != PITR_OK ||
        fs_read_file(&mark, path, BOOT_ID_MAX, &ignored) != PITR_OK)
        return false;
    return mark.len == now.len && memcmp(mark.data, now.data, now.len) == 0;
}

static bool
is_gen_name(const char *name)
{
    uint8_t raw[8];

    return strncmp(name, "g-", 2) == 0 && hex_decode(raw, sizeof raw, name + 2);
}

enum pitr_rc
cindex_files_state(struct cindex_state *out, const char *dir, bool own_lock, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf text = {0};
    PITR_AUTO(str_freep) char *path = NULL;
    bool alive = false;

    if (fs_join(&path, dir, "current", err) != PITR_OK ||
        fs_read_file(&text, path, CINDEX_GEN_LEN, err) != PITR_OK)
        return err->rc;
    *out = (struct cindex_state){0};
    if (text.len == CINDEX_GEN_LEN && text.data[CINDEX_GEN_LEN - 1] == '\n')
        memcpy(out->gen, text.data, CINDEX_GEN_LEN - 1);
    if (!is_gen_name(out->gen))
        return pitr_fail(err, PITR_CORRUPT, "%s names no generation", path);
    if (own_lock)
        return PITR_OK;
    if (writer_lives(&alive, dir, err) != PITR_OK)
        return err->rc;
    out->vouched = alive && is_marked_open(dir, out->gen);
    return PITR_OK;
}

static enum pitr_rc
check_meta(int fd, const char *path, uint64_t offset, uint32_t *page_size, struct pitr_err *err)
{
    uint8_t raw[META_LEN];
    uint32_t size;

    if (fs_pread_all(fd, raw, sizeof raw, offset, path, err) != PITR_OK)
        return err->rc;
    size = get_le32(raw + META_AT + META_PSIZE);
    if ((get_le16(raw + 10) & META_FLAG) == 0 || get_le32(raw + META_AT) != LMDB_MAGIC ||
        get_le32(raw + META_AT + 4) != 1 || size < 512 || size > 65536 || (size & (size - 1)) != 0)
        return pitr_fail(err, PITR_CORRUPT, "%s is no database that this program can read", path);
    *page_size = size;
    return PITR_OK;
}

/* XXH3-64 of the whole file. */
static enum pitr_rc
hash_file(int fd, const char *path, uint64_t size, uint64_t *hash, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf block = {0};
    const size_t step = 1 << 20;
    XXH3_state_t *state;

    if (buf_reserve(&block, step, err) != PITR_OK)
        return err->rc;
    state = XXH3_createState();
    if (state == NULL)
        return pitr_fail(err, PITR_NOMEM, "hash of %s", path);
    XXH3_64bits_reset(state);
    for (uint64_t at = 0; at < size;) {
        size_t n = size - at < step ? (size_t)(size - at) : step;

        if (fs_pread_all(fd, block.data, n, at, path, err) != PITR_OK) {
            XXH3_freeState(state);
            return err->rc;
        }
        XXH3_64bits_update(state, block.data, n);
        at += n;
    }
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return PITR_OK;
}

static enum pitr_rc
check_stamp(int fd, const char *data_path, const char *folder, uint64_t size, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf stamp = {0};
    PITR_AUTO(str_freep) char *path = NULL;
    uint64_t hash = 0;

    if (fs_join(&path, folder, "stamp", err) != PITR_OK)
        return err->rc;
    if (fs_read_file(&stamp, path, STAMP_LEN, err) != PITR_OK) {
        if (err->rc != PITR_NOTFOUND)
            return err->rc;
        return pitr_fail(err, PITR_CORRUPT, "not closed by its last writer");
    }
    if (stamp.len != STAMP_LEN || memcmp(stamp.data, stamp_magic, STAMP_SIZE) != 0 ||
        XXH64(stamp.data, STAMP_SUM, 0) != get_le64(stamp.data + STAMP_SUM))
        return pitr_fail(err, PITR_CORRUPT, "%s is damaged", path);
    if (get_le64(stamp.data + STAMP_SIZE) != size)
        return pitr_fail(err, PITR_CORRUPT, "%s has %" PRIu64 " bytes, the stamp says %" PRIu64,
                         data_path, size, get_le64(stamp.data + STAMP_SIZE));
    if (hash_file(fd, data_path, size, &hash, err) != PITR_OK)
        return err->rc;
    if (hash != get_le64(stamp.data + STAMP_HASH))
        return pitr_fail(err, PITR_CORRUPT, "%s is not what the stamp says", data_path);
    return PITR_OK;
}

enum pitr_rc
cindex_files_check(const char *folder, bool vouched, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;
    PITR_AUTO(fd_closep) int fd = -1;
    uint32_t page_size = 0, second = 0;
    uint64_t size = 0;

    if (fs_join(&path, folder, "data.mdb", err) != PITR_OK ||
        fs_open(&fd, path, O_RDONLY, 0, err) != PITR_OK || fs_size(&size, path, err) != PITR_OK ||
        check_meta(fd, path, 0, &page_size, err) != PITR_OK ||
        check_meta(fd, path, page_size, &second, err) != PITR_OK)
        return err->rc;
    if (second != page_size || size % page_size != 0)
        return pitr_fail(err, PITR_CORRUPT, "%s is no whole number of pages", path);
    return vouched ? PITR_OK : check_stamp(fd, path, folder, size, err);
}

enum pitr_rc
cindex_files_new_gen(char gen[CINDEX_GEN_LEN], struct pitr_err *err)
{
    uint8_t noise[8];

    if (crypto_random(noise, sizeof noise, err) != PITR_OK)
        return err->rc;
    memcpy(gen, "g-", 2);
    hex_encode(gen + 2, noise, sizeof noise);
    return PITR_OK;
}

enum pitr_rc
cindex_files_set_current(const char *dir, const char *gen, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;
    char text[CINDEX_GEN_LEN];

    if (fs_join(&path, dir, "current", err) != PITR_OK)
        return err->rc;
    memcpy(text, gen, CINDEX_GEN_LEN - 1);
    text[CINDEX_GEN_LEN - 1] = '\n';
    return fs_write_file(path, text, sizeof text, true, err);
}

enum pitr_rc
cindex_files_mark_open(const char *folder, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf boot = {0};
    PITR_AUTO(str_freep) char *path = NULL;

    read_boot_id(&boot);
    if (fs_join(&path, folder, "open", err) != PITR_OK)
        return err->rc;
    return fs_write_file(path, boot.data, boot.len, true, err);
}

enum pitr_rc
cindex_files_unstamp(const char *folder, struct pitr_err *err)
{
    PITR_AUTO(str_freep) char *path = NULL;

    if (fs_join(&path, folder, "stamp", err) != PITR_OK || fs_unlink(path, err) != PITR_OK)
        return err->rc;
    return fs_sync_dir(folder, err);
}

static void
remove_in(const char *folder, const char *name)
{
    PITR_AUTO(str_freep) char *path = NULL;
    struct pitr_err ignored;

    if (fs_join(&path, folder, name, &ignored) == PITR_OK)
        unlink(path);
}

void
cindex_files_stamp(const char *folder)
{
    PITR_AUTO(str_freep) char *data_path = NULL, *path = NULL;
    PITR_AUTO(fd_closep) int fd = -1;
    uint8_t stamp[STAMP_LEN];
    uint64_t size = 0, hash = 0;
    struct pitr_err ignored;

    if (fs_join(&data_path, folder, "data.mdb", &ignored) != PITR_OK ||
        fs_join(&path, folder, "stamp", &ignored) != PITR_OK ||
        fs_open(&fd, data_path, O_RDONLY, 0, &ignored) != PITR_OK ||
        fs_size(&size, data_path, &ignored) != PITR_OK ||
        hash_file(fd, data_path, size, &hash, &ignored) != PITR_OK)
        return;
    memcpy(stamp, stamp_magic, STAMP_SIZE);
    put_le64(stamp + STAMP_SIZE, size);
    put_le64(stamp + STAMP_HASH, hash);
    put_le64(stamp + STAMP_SUM, XXH64(stamp, STAMP_SUM, 0));
    if (fs_write_file(path, stamp, sizeof stamp, true, &ignored) == PITR_OK)
        remove_in(folder, "open");
}

void
cindex_files_remove(const char *folder)
{
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    struct pitr_err ignored;

    if (fs_list(&names, folder, &ignored) != PITR_OK)
        return;
    for (size_t i = 0; i < names.len; i++)
        remove_in(folder, names.at[i]);
    rmdir(folder);
}

void
cindex_files_remove_others(const char *dir, const char *gen)
{
    PITR_AUTO(fs_names_release) struct fs_names names = {0};
    struct pitr_err ignored;

    if (fs_list(&names, dir, &ignored) != PITR_OK)
        return;
    for (size_t i = 0; i < names.len; i++) {
        PITR_AUTO(str_freep) char *folder = NULL;

        if (strncmp(names.at[i], "current.tmp-", 12) == 0)
            remove_in(dir, names.at[i]);
        if (!is_gen_name(names.at[i]) || strcmp(names.at[i], gen) == 0)
            continue;
        if (fs_join(&folder, dir, names.at[i], &ignored) == PITR_OK)
            cindex_files_remove(folder);
    }
}
