#include "engine/lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base_cursor.h"
#include "engine/state.h"
#include "mongo/ns.h"
#include "oplog/docid.h"

/* Progress and the wish to stop are looked at this often; a power of two. */
enum { LOOKUP_STRIDE = 1024, NS_LEN = 512 };

void
lookup_result_release(struct lookup_result *r)
{
    buf_release(&r->doc);
    fs_names_release(&r->names);
    *r = (struct lookup_result){0};
}

/* Where one collection's documents at the moment come from. */
struct place {
    const struct coll_node *node; /* NULL: nothing in the base */
    struct net *net;              /* NULL: the base as it is */
    const uint8_t *uuid;
};

static bool
is_called(const char *db, const char *name, const char *ns)
{
    size_t db_len = strlen(db);

    return strncmp(ns, db, db_len) == 0 && ns[db_len] == '.' && strcmp(ns + db_len + 1, name) == 0;
}

/* The collection called `ns` at the moment; false if there was none. */
static bool
place_find(struct place *out, const struct state *s, const char *ns)
{
    for (size_t i = 0; s->replay == NULL && i < s->manifest.ncolls; i++) {
        const struct coll_node *c = &s->manifest.colls[i];

        *out = (struct place){.node = c, .uuid = c->uuid};
        if (is_called(c->db, c->name, ns))
            return true;
    }
    for (size_t i = 0; s->replay != NULL && i < replay_count(s->replay); i++) {
        const struct replay_coll *c = replay_at(s->replay, i);

        if (c->dropped || c->excluded || !is_called(c->db, c->name, ns))
            continue;
        *out = (struct place){.net = c->net, .uuid = c->uuid};
        if (c->base != REPLAY_NO_BASE)
            out->node = &s->manifest.colls[c->base];
        return true;
    }
    return false;
}

/* The base's document of that _id, copied into `out`, which stays empty if there is none. */
static enum pitr_rc
read_base(const struct state *s, const struct coll_node *node, const struct buf *key,
          struct buf *out, struct job *job, struct pitr_err *err)
{
    PITR_AUTO(base_cursor_freep) struct base_cursor *cur = NULL;
    PITR_AUTO(buf_release) struct buf found_key = {0};
    uint64_t documents = 0;

    job_phase(job, "look up", node->print.documents, node->print.bytes);
    if (base_cursor_open(&cur, s->store, node, err) != PITR_OK)
        return err->rc;
    for (;;) {
        const uint8_t *doc;
        struct belem id;
        size_t len;
        bool found;

        if (base_cursor_next(cur, &doc, &len, err) != PITR_OK)
            return err->rc;
        if (doc == NULL)
            return PITR_OK;
        job_advance(job, 1, len);
        if ((++documents & (LOOKUP_STRIDE - 1)) == 0 && job_check(job, err) != PITR_OK)
            return err->rc;
        buf_clear(&found_key);
        if (bson_find(doc, len, "_id", &found, &id, err) != PITR_OK ||
            (found && docid_append(&found_key, &id, err) != PITR_OK))
            return err->rc;
        if (found && found_key.len == key->len && memcmp(found_key.data, key->data, key->len) == 0)
            return buf_append(out, doc, len, err);
    }
}

/* The final document of that _id into `out`, which stays empty if there is none. */
static enum pitr_rc
place_read(const struct state *s, const struct place *p, const struct buf *key, struct buf *out,
           struct job *job, struct pitr_err *err)
{
    PITR_AUTO(buf_release) struct buf base = {0};
    PITR_AUTO(buf_release) struct buf made = {0};
    PITR_AUTO(buf_release) struct buf scratch = {0};
    const uint8_t *doc = NULL;
    size_t len = 0;

    if (p->node != NULL && read_base(s, p->node, key, &base, job, err) != PITR_OK)
        return err->rc;
    if (p->net == NULL || net_is_empty(p->net))
        return buf_append(out, base.data, base.len, err);
    if ((base.len > 0 ? net_final(p->net, base.data, base.len, base.data, base.len, &doc, &len,
                                  &made, &scratch, err)
                      : net_final_stranger(p->net, key->data, key->len, &doc, &len, &made, &scratch,
                                           err)) != PITR_OK)
        return err->rc;
    return doc == NULL ? PITR_OK : buf_append(out, doc, len, err);
}

static enum pitr_rc
load(struct state *out, const struct lookup_opts *o, const struct history *h,
     const struct choice *choice, const struct buf *key, struct pitr_err *err)
{
    char visible[NS_LEN], *ns = visible;
    const struct selection sel = {.ns = &ns, .nns = 1};
    const struct state_opts opts = {.memory = o->memory, .only = key};
    const char *dot = strchr(o->ns, '.');

    /* What is found is asked of the replay itself; the selection only keeps the rest small. */
    snprintf(visible, sizeof visible, "%.*s.%s", (int)(dot - o->ns), o->ns,
             ns_visible_name(dot + 1));
    return state_load(out, o->repo, h, choice, &sel, &opts, o->job, err);
}

/* Is the name a view's? Views are documents named db.view, so one more lookup tells. */
static enum pitr_rc
look_for_view(struct lookup_result *out, const struct lookup_opts *o, const struct history *h,
              const struct choice *choice, struct pitr_err *err)
{
    PITR_AUTO(state_release) struct state state = {0};
    PITR_AUTO(buf_release) struct buf text = {0};
    PITR_AUTO(buf_release) struct buf key = {0};
    PITR_AUTO(buf_release) struct buf view = {0};
    size_t len = strlen(o->ns) + 1;
    struct belem id = {.type = BSON_STRING};
    char views[NS_LEN];
    struct place place;

    if (buf_append_le32(&text, (uint32_t)len, err) != PITR_OK ||
        buf_append(&text, o->ns, len, err) != PITR_OK)
        return err->rc;
    id.value = text.data;
    id.value_len = text.len;
    snprintf(views, sizeof views, "%.*s.system.views", (int)strcspn(o->ns, "."), o->ns);
    if (docid_append(&key, &id, err) != PITR_OK || load(&state, o, h, choice, &key, err) != PITR_OK)
        return err->rc;
    if (!place_find(&place, &state, views))
        return PITR_OK;
    if (place_read(&state, &place, &key, &view, o->job, err) != PITR_OK)
        return err->rc;
    if (view.len > 0)
        out->found = LOOKUP_VIEW;
    return PITR_OK;
}

static enum pitr_rc
list_names(struct fs_names *out, const struct state *s, struct pitr_err *err)
{
    size_t n = s->replay == NULL ? s->manifest.ncolls : replay_count(s->replay);
    char ns[NS_LEN];

    for (size_t i = 0; i < n; i++) {
        const struct replay_coll *c = s->replay == NULL ? NULL : replay_at(s->replay, i);

        if (c != NULL && (c->dropped || c->excluded))
            continue;
        snprintf(ns, sizeof ns, "%s.%s", c == NULL ? s->manifest.colls[i].db : c->db,
                 c == NULL ? s->manifest.colls[i].name : c->name);
        if (fs_names_add(out, ns, err) != PITR_OK)
            return err->rc;
    }
    fs_names_sort(out);
    return PITR_OK;
}

/* Why there is no collection of that name. */
static enum pitr_rc
explain(struct lookup_result *out, const struct lookup_opts *o, const struct history *h,
        const struct choice *choice, const struct state *s, struct pitr_err *err)
{
    size_t db_len = strcspn(o->ns, ".");
    char db[NS_LEN], buckets[NS_LEN];
    struct place place;

    snprintf(db, sizeof db, "%.*s", (int)db_len, o->ns);
    snprintf(buckets, sizeof buckets, "%.*s.%s%s", (int)db_len, o->ns, NS_BUCKETS_PREFIX,
             o->ns + db_len + 1);
    out->found = LOOKUP_NO_COLLECTION;
    if (place_find(&place, s, buckets))
        out->found = LOOKUP_SERIES;
    else if (ns_is_excluded(s->manifest.exclude, s->manifest.nexclude, db, o->ns + db_len + 1))
        out->found = LOOKUP_EXCLUDED;
    else if (look_for_view(out, o, h, choice, err) != PITR_OK)
        return err->rc;
    return list_names(&out->names, s, err);
}

static enum pitr_rc
check_ns(const char *ns, struct pitr_err *err)
{
    const char *dot = strchr(ns, '.');

    if (dot == NULL || dot == ns || dot[1] == '\0' || strchr(ns, '*') != NULL)
        return pitr_fail(err, PITR_USAGE, "--ns %.100s: name one collection, as db.coll", ns);
    if (strlen(ns) + sizeof NS_BUCKETS_PREFIX > NS_LEN)
        return pitr_fail(err, PITR_USAGE, "--ns %.100s...: no server allows a name so long", ns);
    return PITR_OK;
}

static enum pitr_rc
look_from(const struct lookup_opts *o, const struct history *h, const struct choice *choice,
          struct lookup_result *out, struct pitr_err *err)
{
    PITR_AUTO(state_release) struct state state = {0};
    struct place place;

    if (load(&state, o, h, choice, o->key, err) != PITR_OK)
        return err->rc;
    memcpy(out->snapshot, state.manifest.id, sizeof out->snapshot);
    out->to = state.to;
    if (!place_find(&place, &state, o->ns))
        return explain(out, o, h, choice, &state, err);
    memcpy(out->uuid, place.uuid, sizeof out->uuid);
    if (place_read(&state, &place, o->key, &out->doc, o->job, err) != PITR_OK)
        return pitr_wrap(err, "%s", o->ns);
    out->found = out->doc.len > 0 ? LOOKUP_DOCUMENT : LOOKUP_NO_DOCUMENT;
    return PITR_OK;
}

enum pitr_rc
lookup_run(const struct lookup_opts *o, struct lookup_result *out, struct pitr_err *err)
{
    PITR_AUTO(history_release) struct history h = {0};
    struct choice choice;

    if (check_ns(o->ns, err) != PITR_OK || history_load(&h, o->repo, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < h.damaged.len; i++)
        log_event(o->job->log, LOG_WARNING, "show", "not used: %s", h.damaged.at[i]);
    if (history_choose(&h, &o->moment, &choice, err) != PITR_OK)
        return err->rc;
    /* A snapshot that turns out to be damaged gives way to an older one. */
    while (look_from(o, &h, &choice, out, err) != PITR_OK) {
        const char *bad = h.snapshots[choice.snapshot].id;

        if (err->rc != PITR_CORRUPT || !history_choose_older(&h, &choice))
            return err->rc;
        log_event(o->job->log, LOG_WARNING, "show",
                  "not used: snapshot %s: %s; going on with the older snapshot %s", bad, err->msg,
                  h.snapshots[choice.snapshot].id);
        lookup_result_release(out);
    }
    return PITR_OK;
}
