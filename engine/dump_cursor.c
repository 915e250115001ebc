#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "engine/dumpdir.h"
#include "mongo/bsonio.h"

/* Documents of a server are at most 16 MiB; internal ones may be 16 KiB longer. */
enum { DOCUMENT_MAX = (16 << 20) + (16 << 10), READ_AHEAD = 256 << 10 };

struct dump_cursor {
    const char *path; /* borrowed; NULL: an empty collection */
    FILE *plain;      /* one of these two */
    gzFile gzip;
    uint64_t offset; /* of the next document, decompressed */
    struct buf doc;
};

static bool
is_compressed(const char *path)
{
    size_t len = strlen(path);

    return len > 3 && strcmp(path + len - 3, ".gz") == 0;
}

enum pitr_rc
dump_cursor_open(struct dump_cursor **out, const struct dump_coll *coll, struct pitr_err *err)
{
    PITR_AUTO(dump_cursor_freep) struct dump_cursor *c = calloc(1, sizeof *c);
    PITR_AUTO(fd_closep) int fd = -1;

    if (c == NULL)
        return pitr_fail(err, PITR_NOMEM, "cursor");
    c->path = coll->path;
    if (c->path != NULL) {
        if (fs_open(&fd, c->path, O_RDONLY, 0, err) != PITR_OK)
            return err->rc;
        /* zlib would read plain files as well, but take a length of 0x8b1f for its own magic. */
        if (is_compressed(c->path))
            c->gzip = gzdopen(fd, "rb");
        else
            c->plain = fdopen(fd, "rb");
        if (c->gzip == NULL && c->plain == NULL)
            return pitr_fail(err, PITR_NOMEM, "read %s", c->path);
        fd = -1;
        if ((c->gzip != NULL && gzbuffer(c->gzip, READ_AHEAD) != 0) ||
            (c->plain != NULL && setvbuf(c->plain, NULL, _IOFBF, READ_AHEAD) != 0))
            return pitr_fail(err, PITR_NOMEM, "read %s", c->path);
    }
    *out = c;
    c = NULL;
    return PITR_OK;
}

void
dump_cursor_free(struct dump_cursor *c)
{
    if (c == NULL)
        return;
    if (c->gzip != NULL)
        gzclose(c->gzip);
    if (c->plain != NULL)
        fclose(c->plain);
    buf_release(&c->doc);
    free(c);
}

void
dump_cursor_freep(struct dump_cursor **c)
{
    dump_cursor_free(*c);
    *c = NULL;
}

/* Up to `len` bytes, fewer only at the end of the file. */
static enum pitr_rc
read_some(struct dump_cursor *c, uint8_t *to, unsigned len, size_t *got, struct pitr_err *err)
{
    const char *reason;
    int n, code;

    if (c->plain != NULL) {
        *got = fread(to, 1, len, c->plain);
        if (ferror(c->plain))
            return pitr_fail_errno(err, errno, "read");
        return PITR_OK;
    }
    n = gzread(c->gzip, to, len);
    reason = gzerror(c->gzip, &code);
    if (n < 0 || (code != Z_OK && code != Z_STREAM_END))
        return pitr_fail(err, code == Z_ERRNO ? PITR_IO : PITR_CORRUPT, "%s", reason);
    *got = (size_t)n;
    return PITR_OK;
}

/* Append exactly `len` bytes to the document; *at_end when there is not one byte more. */
static enum pitr_rc
read_bytes(struct dump_cursor *c, unsigned len, bool *at_end, struct pitr_err *err)
{
    size_t got = 0;

    if (buf_reserve(&c->doc, len, err) != PITR_OK ||
        read_some(c, c->doc.data + c->doc.len, len, &got, err) != PITR_OK)
        return err->rc;
    *at_end = got == 0;
    if (got > 0 && got < len)
        return pitr_fail(err, PITR_CORRUPT, "the file ends inside of a document");
    c->doc.len += got;
    return PITR_OK;
}

static enum pitr_rc
read_document(struct dump_cursor *c, bool *at_end, struct pitr_err *err)
{
    bool short_read;
    size_t len;

    buf_clear(&c->doc);
    if (read_bytes(c, 4, at_end, err) != PITR_OK || *at_end)
        return *at_end ? PITR_OK : err->rc;
    len = bson_len(c->doc.data);
    if (len < 5 || len > DOCUMENT_MAX)
        return pitr_fail(err, PITR_CORRUPT, "a document of %zu bytes", len);
    if (read_bytes(c, (unsigned)len - 4, &short_read, err) != PITR_OK)
        return err->rc;
    if (short_read)
        return pitr_fail(err, PITR_CORRUPT, "the file ends inside of a document");
    return bson_check(c->doc.data, c->doc.len, err);
}

enum pitr_rc
dump_cursor_next(struct dump_cursor *c, const uint8_t **doc, size_t *len, struct pitr_err *err)
{
    bool at_end = false;

    *doc = NULL;
    if (c->path == NULL)
        return PITR_OK;
    if (read_document(c, &at_end, err) != PITR_OK)
        return pitr_wrap(err, "%s, offset %" PRIu64, c->path, c->offset);
    if (at_end)
        return PITR_OK;
    c->offset += c->doc.len;
    *doc = c->doc.data;
    *len = c->doc.len;
    return PITR_OK;
}
