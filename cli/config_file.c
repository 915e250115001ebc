#include "cli/config_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/fs.h"
#include "cli/suggest.h"

/* Settings are a page of text; a file beyond this is something else. */
enum { FILE_LIMIT = 1 << 20, KEYS_MAX = 64, NAME_MAX_LEN = 128, WHERE_LEN = 512 };

struct walk {
    const char *path;
    const struct config_keys *keys;
    const struct config_visitor *visitor;
    yaml_document_t *document;
    bool seen[KEYS_MAX];
};

static void
where_of(char out[WHERE_LEN], const struct walk *w, const yaml_node_t *node)
{
    snprintf(out, WHERE_LEN, "%s:%zu", w->path, node->start_mark.line + 1);
}

static const char *
scalar_of(const yaml_node_t *node)
{
    if (node == NULL || node->type != YAML_SCALAR_NODE ||
        strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
        return NULL;
    return (const char *)node->data.scalar.value;
}

/* "key:" with nothing behind it, "~" and "null" are no values; quoted they are text. */
static bool
is_null(const yaml_node_t *node, const char *text)
{
    return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static enum pitr_rc
take_scalar(struct walk *w, size_t key, const yaml_node_t *node, struct pitr_err *err)
{
    const char *text = scalar_of(node);
    char where[WHERE_LEN];

    where_of(where, w, node);
    if (text == NULL || is_null(node, text))
        return pitr_fail(err, PITR_USAGE, "%s: %s: needs a value%s", where, w->keys->names[key],
                         key == w->keys->list ? ", or a list of them" : "");
    return w->visitor->visit(w->visitor->arg, key, text, where, err);
}

static enum pitr_rc
take_known(struct walk *w, size_t key, const yaml_node_t *name, const yaml_node_t *value,
           struct pitr_err *err)
{
    char where[WHERE_LEN];

    where_of(where, w, name);
    if (w->seen[key])
        return pitr_fail(err, PITR_USAGE, "%s: %s: given twice; give it once", where,
                         w->keys->names[key]);
    w->seen[key] = true;
    if (value->type != YAML_SEQUENCE_NODE || key != w->keys->list)
        return take_scalar(w, key, value, err);
    for (yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top;
         i++)
        if (take_scalar(w, key, yaml_document_get_node(w->document, *i), err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

static bool
is_group(const struct walk *w, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < w->keys->len; i++)
        if (strncmp(w->keys->names[i], name, len) == 0 && w->keys->names[i][len] == '.')
            return true;
    return false;
}

static enum pitr_rc
unknown_key(const struct walk *w, const yaml_node_t *node, const char *name, struct pitr_err *err)
{
    const char *near = suggest_nearest(name, w->keys->names, w->keys->len);
    char where[WHERE_LEN];

    where_of(where, w, node);
    if (near != NULL)
        return pitr_fail(err, PITR_USAGE, "%s: unknown setting \"%s\"; did you mean %s?", where,
                         name, near);
    return pitr_fail(err, PITR_USAGE,
                     "%s: unknown setting \"%s\"; pitr config show lists the known ones", where,
                     name);
}

static enum pitr_rc walk_mapping(struct walk *w, const yaml_node_t *mapping, const char *group,
                                 struct pitr_err *err);

static enum pitr_rc
take_pair(struct walk *w, const yaml_node_pair_t *pair, const char *group, struct pitr_err *err)
{
    const yaml_node_t *key = yaml_document_get_node(w->document, pair->key);
    const yaml_node_t *value = yaml_document_get_node(w->document, pair->value);
    const char *text = scalar_of(key);
    char name[NAME_MAX_LEN], where[WHERE_LEN];

    if (text == NULL) {
        where_of(where, w, key);
        return pitr_fail(err, PITR_USAGE, "%s: the name of a setting must be plain text", where);
    }
    snprintf(name, sizeof name, "%s%s%s", group == NULL ? "" : group, group == NULL ? "" : ".",
             text);
    for (size_t i = 0; i < w->keys->len; i++)
        if (strcmp(w->keys->names[i], name) == 0)
            return take_known(w, i, key, value, err);
    /* One level of groups: names have one dot. */
    if (group == NULL && is_group(w, name) && value->type == YAML_MAPPING_NODE)
        return walk_mapping(w, value, name, err);
    return unknown_key(w, key, name, err);
}

static enum pitr_rc
walk_mapping(struct walk *w, const yaml_node_t *mapping, const char *group, struct pitr_err *err)
{
    for (yaml_node_pair_t *p = mapping->data.mapping.pairs.start;
         p < mapping->data.mapping.pairs.top; p++)
        if (take_pair(w, p, group, err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

static enum pitr_rc
load_document(yaml_parser_t *parser, yaml_document_t *document, const char *path,
              struct pitr_err *err)
{
    if (yaml_parser_load(parser, document))
        return PITR_OK;
    if (parser->error == YAML_MEMORY_ERROR)
        return pitr_fail(err, PITR_NOMEM, "config %s: out of memory", path);
    return pitr_fail(err, PITR_USAGE, "%s:%zu: no valid YAML: %s", path,
                     parser->problem_mark.line + 1,
                     parser->problem == NULL ? "cannot be parsed" : parser->problem);
}

static enum pitr_rc
walk_document(struct walk *w, struct pitr_err *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(w->document);
    char where[WHERE_LEN];

    if (root == NULL)
        return PITR_OK;
    if (root->type == YAML_MAPPING_NODE)
        return walk_mapping(w, root, NULL, err);
    where_of(where, w, root);
    return pitr_fail(err, PITR_USAGE, "%s: settings are lines of the form \"name: value\"", where);
}

enum pitr_rc
config_file_read(const char *path, const struct config_keys *keys,
                 const struct config_visitor *visitor, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf bytes = {0};
    struct walk w = {.path = path, .keys = keys, .visitor = visitor};
    yaml_document_t document;
    yaml_parser_t parser;
    enum pitr_rc rc;

    if (keys->len > KEYS_MAX)
        return pitr_fail(err, PITR_INTERNAL, "config: more than %d keys", (int)KEYS_MAX);
    if (fs_read_file(&bytes, path, FILE_LIMIT, err) != PITR_OK) {
        /* The repository is not at fault: what is wrong is the configuration. */
        err->rc = PITR_USAGE;
        return pitr_wrap(err, "config");
    }
    if (!yaml_parser_initialize(&parser))
        return pitr_fail(err, PITR_NOMEM, "config %s: out of memory", path);
    yaml_parser_set_input_string(&parser, bytes.data != NULL ? bytes.data : (uint8_t *)"",
                                 bytes.len);
    rc = load_document(&parser, &document, path, err);
    if (rc == PITR_OK) {
        w.document = &document;
        rc = walk_document(&w, err);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return rc;
}
