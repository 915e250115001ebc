#include "engine/base_cursor.h"
#include "engine/state.h"

enum { PROVE_THREADS = 2 };

static enum pitr_rc
check_chunks(struct state *s, struct job *job, struct pitr_err *err)
{
    job_phase(job, "check", 0, 0);
    for (size_t i = 0; i < s->ncolls; i++)
        if (s->colls[i].node != NULL &&
            base_check_chunks(s->store, s->colls[i].node, false, err) != PITR_OK)
            return err->rc;
    return PITR_OK;
}

/* Everything that will be used is read and checked: base and oplog. */
static enum pitr_rc
open_from(struct state *state, const struct state_source *source, const struct history *h,
          const struct choice *choice, const struct selection *sel, struct job *job,
          struct pitr_err *err)
{
    struct state_opts opts = {.memory = source->memory};

    if (state_load(state, source->repo, h, choice, sel, &opts, job, err) != PITR_OK ||
        check_chunks(state, job, err) != PITR_OK)
        return err->rc;
    return state_prove(state, PROVE_THREADS, job, err);
}

enum pitr_rc
state_open(struct state *out, const struct state_source *source, const struct selection *sel,
           struct job *job, struct pitr_err *err)
{
    PITR_AUTO(history_release) struct history h = {0};
    struct pitr_err first = {.rc = PITR_OK};
    struct choice choice;

    if (source->dump_dir != NULL) {
        if (state_load_dump(out, source->dump_dir, sel, err) != PITR_OK)
            return err->rc;
        return state_prove(out, PROVE_THREADS, job, err);
    }
    if (history_load(&h, source->repo, err) != PITR_OK)
        return err->rc;
    for (size_t i = 0; i < h.damaged.len; i++)
        log_event(job->log, LOG_WARNING, "restore", "not used: %s", h.damaged.at[i]);
    if (history_choose(&h, &source->moment, &choice, err) != PITR_OK)
        return err->rc;
    while (open_from(out, source, &h, &choice, sel, job, err) != PITR_OK) {
        const char *bad = h.snapshots[choice.snapshot].id;

        if (first.rc == PITR_OK)
            first = *err;
        if (err->rc != PITR_CORRUPT || !history_choose_older(&h, &choice)) {
            *err = first;
            return err->rc;
        }
        log_event(job->log, LOG_WARNING, "restore",
                  "not used: snapshot %s: %s; going on with the older snapshot %s", bad, err->msg,
                  h.snapshots[choice.snapshot].id);
        state_release(out);
    }
    return PITR_OK;
}
