#include "engine/doc_source.h"

#include <stdlib.h>

void
source_coll_release(struct source_coll *c)
{
    free(c->db);
    free(c->name);
    buf_release(&c->options);
    buf_release(&c->indexes);
    *c = (struct source_coll){0};
}

void
source_list_release(struct source_list *list)
{
    for (size_t i = 0; i < list->len; i++)
        source_coll_release(&list->at[i]);
    free(list->at);
    *list = (struct source_list){0};
}

enum pitr_rc
source_list_take(struct source_list *list, struct source_coll *c, struct pitr_err *err)
{
    if (list->len == list->cap) {
        size_t cap = list->cap == 0 ? 16 : 2 * list->cap;
        struct source_coll *grown = realloc(list->at, cap * sizeof *grown);

        if (grown == NULL)
            return pitr_fail(err, PITR_NOMEM, "list of %zu collections", cap);
        list->at = grown;
        list->cap = cap;
    }
    list->at[list->len++] = *c;
    *c = (struct source_coll){0};
    return PITR_OK;
}
