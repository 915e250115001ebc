/*
 * diff.h - what differs between two moments: collections, their options and indexes, views, and
 * documents.
 *
 * Collections are followed by UUID, so a renamed one is compared across the rename. One that was
 * dropped and made again (as $out does) is compared by name. Everything is told as it is found;
 * what is kept in memory does not depend on how much differs.
 *
 * Both moments are made from one base snapshot where the captured oplog allows it. Then a document
 * that no operation since that snapshot names is the same at both, and only the others are
 * compared. Otherwise the documents of the earlier moment go into a temporary table, which spills
 * like a net (oplog/spill.h), and those of the later are looked up in it.
 *
 * Documents are compared byte by byte. The order of documents in capped collections is not
 * compared; and 4.4 does not log what it evicts from them, so what it evicted between the moments
 * is told only where each has a base of its own.
 */
#ifndef PITR_ENGINE_DIFF_H
#define PITR_ENGINE_DIFF_H

#include "engine/selection.h"
#include "engine/window.h"

enum diff_kind {
    DIFF_DOC_ADDED,
    DIFF_DOC_REMOVED,
    DIFF_DOC_CHANGED,
    DIFF_COLL_ADDED,
    DIFF_COLL_REMOVED,
    DIFF_COLL_RENAMED,
    DIFF_COLL_REPLACED, /* another collection of the same name */
    DIFF_OPTIONS,
    DIFF_INDEX_ADDED,
    DIFF_INDEX_REMOVED,
    DIFF_INDEX_CHANGED,
    DIFF_VIEW_ADDED,
    DIFF_VIEW_REMOVED,
    DIFF_VIEW_CHANGED,
};

/* One difference; pointers are valid during the call. */
struct diff_item {
    enum diff_kind kind;
    const char *ns;  /* as users see it; of a collection that is at both moments, the later name */
    const char *was; /* DIFF_COLL_RENAMED: the earlier name */
    bool is_buckets; /* of a time-series collection: documents are its buckets */
    /* The document, view, index or options; NULL where there is none. Users of the cluster come
     * without: their documents hold credentials. */
    const uint8_t *before, *after;
    size_t before_len, after_len;
    const uint8_t *id_doc; /* of a document: one that has its _id */
    size_t id_doc_len;
    uint64_t documents; /* DIFF_COLL_ADDED, DIFF_COLL_REMOVED */
};

struct diff_counts {
    uint64_t added, removed, changed;
};

struct diff_sink {
    enum pitr_rc (*item)(void *arg, const struct diff_item *item, struct pitr_err *err);
    /* After the items of a collection of which documents were told. */
    enum pitr_rc (*end)(void *arg, const char *ns, const struct diff_counts *counts,
                        struct pitr_err *err);
    void *arg;
};

struct diff_opts {
    struct repo *repo;
    struct job *job;
    struct moment from, to;
    /* A collection is taken if it is selected under either of its names. Documents of one that is
     * at one moment only are counted; they are told if `ns` names it without a '*'. */
    struct selection selection;
    uint64_t memory; /* bytes before a temporary file is used; 0: 256 MiB */
    uint64_t limit;  /* end after so many differences; 0: none */
    struct diff_sink sink;
};

struct diff_moment {
    char snapshot[SNAPSHOT_ID_LEN]; /* the base */
    uint64_t to;                    /* last operation contained; 0: a snapshot without oplog */
};

struct diff_result {
    struct diff_moment from, to;
    uint64_t collections;         /* compared, or at one moment only */
    uint64_t differences;         /* told */
    struct diff_counts documents; /* among them */
    bool is_cut;                  /* there are more than `limit` */
    double seconds;
};

/* Fails: USAGE (the moments are in the wrong order; nothing is selected), GAP, NOTFOUND (no such
 * snapshot), CORRUPT, what the sink returns, ... */
PITR_MUST enum pitr_rc diff_run(const struct diff_opts *o, struct diff_result *result,
                                struct pitr_err *err);

#endif
