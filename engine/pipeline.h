/*
 * pipeline.h - the stages of a scan: readers -> chunker -> queue -> workers -> ordered chunk lists.
 *
 * A reader thread takes one collection at a time, the largest first, and fills chunk after chunk in
 * a ring of slots of its own. A full slot goes to the workers, which compute its id, look it up,
 * and compress and store it if it is new. Slots come back in any order; the reader retires them in
 * ring order, so a collection's list names its chunks in the order of the scan. The ring bounds the
 * memory (slots times the longest chunk, per reader) and is the back-pressure on the server's
 * cursor: nothing is kept per chunk beyond it.
 *
 * The first error of any thread wins, stops all others, and is returned.
 */
#ifndef PITR_ENGINE_PIPELINE_H
#define PITR_ENGINE_PIPELINE_H

#include "base/job.h"
#include "engine/doc_source.h"
#include "engine/manifest.h"

struct pipeline_opts {
    struct doc_source *source; /* borrowed, like all below */
    struct store_writer *writer;
    const struct repo_keys *keys;
    struct job *job;
    enum frame_codec codec;
    int level;
    unsigned readers, workers; /* at least 1 each */
    /* Asked between chunks by every reader; a failure ends the run. NULL: nothing to ask. */
    enum pitr_rc (*check)(void *arg, struct pitr_err *err);
    void *check_arg;
};

struct pipeline_result {
    struct coll_node *nodes; /* one per collection still there; owned, in no order */
    size_t nnodes;
    uint64_t chunks_new, bytes_new; /* data chunks that were not stored before */
};

/*
 * Scan the collections of `list`. One that is dropped meanwhile is left out; one that is renamed is
 * scanned again under its new name, so a node's name and options may be newer than the list's. A
 * UUID listed twice is scanned once. `list` is consumed: reordered, and its entries moved to the
 * nodes. Fails: what source, store and check fail with, NOMEM.
 */
PITR_MUST enum pitr_rc pipeline_run(const struct pipeline_opts *opts, struct source_list *list,
                                    struct pipeline_result *out, struct pitr_err *err);
void pipeline_result_release(struct pipeline_result *r);

#endif
