/*
 * document.h - documents in the output of commands.
 *
 * In JSON output a document is canonical Extended JSON, which keeps every type; for people it is
 * relaxed Extended JSON. All of it is safe on a terminal (mongo/extjson_write.h). What cannot be
 * written is remembered by `out`, as text.h says.
 */
#ifndef PITR_CLI_DOCUMENT_H
#define PITR_CLI_DOCUMENT_H

#include <stddef.h>

#include "cli/json.h"

/* Member `key` with the document; nothing at all if doc is NULL. */
void document_json(struct json *j, const char *key, const uint8_t *doc, size_t len);
/* Member "id" with the document's _id. */
void document_id_json(struct json *j, const uint8_t *doc, size_t len);

/* The document on many lines, each indented by `indent` spaces, with a newline at the end. Typed
 * values, {"$oid": ...} and its kind, stay on one. */
void document_print(struct text *out, const uint8_t *doc, size_t len, unsigned indent);
/* The document's _id, cut when it is long. */
void document_print_id(struct text *out, const uint8_t *doc, size_t len);
/*
 * What changed, on the line in hand: "n: 1 -> 2; o.x: added 3; f: removed". Long values are cut,
 * and so are long lists.
 */
void document_print_changes(struct text *out, const uint8_t *before, size_t before_len,
                            const uint8_t *after, size_t after_len);

#endif
