#include "scan.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/pipeline.h"

static enum pitr_rc
store_all(struct repo *repo, struct doc_array *a, struct manifest *m, struct store_writer *w,
          struct pitr_err *err)
{
    PITR_AUTO(sealer_freep) struct sealer *sealer = NULL;
    struct doc_source *source = doc_array_source(a);
    struct source_list list = {0};
    struct pipeline_result scanned = {0};
    struct job job = {0};
    enum pitr_rc rc = source->ops->list(source, &list, err);

    if (rc == PITR_OK)
        rc = pipeline_run(&(struct pipeline_opts){.source = source,
                                                  .writer = w,
                                                  .keys = repo_keys(repo),
                                                  .job = &job,
                                                  .codec = CODEC_LZ4,
                                                  .readers = 2,
                                                  .workers = 2},
                          &list, &scanned, err);
    source_list_release(&list);
    if (rc != PITR_OK)
        return rc;
    m->colls = scanned.nodes;
    m->ncolls = scanned.nnodes;
    m->chunks_new = scanned.chunks_new;
    m->bytes_new = scanned.bytes_new;
    if (sealer_new(&sealer, repo_keys(repo), CODEC_LZ4, 0, err) != PITR_OK ||
        manifest_store_nodes(m, w, sealer, err) != PITR_OK)
        return err->rc;
    return store_writer_finish(w, NULL, err);
}

enum pitr_rc
scan_snapshot(struct repo *repo, struct doc_array *a, const char *id, struct manifest *out,
              struct pitr_err *err)
{
    PITR_AUTO(store_writer_freep) struct store_writer *w = NULL;
    struct manifest m = {.mode = "scan", .tool_version = "test"};
    struct store *store;
    enum pitr_rc rc;

    snprintf(m.id, sizeof m.id, "%s", id);
    if (repo_store(repo, &store, err) != PITR_OK || store_writer_new(&w, store, err) != PITR_OK)
        return err->rc;
    rc = store_all(repo, a, &m, w, err);
    if (rc == PITR_OK)
        rc = manifest_publish(repo, &m, err);
    if (rc == PITR_OK && out != NULL)
        *out = m;
    else
        manifest_release(&m);
    return rc;
}
