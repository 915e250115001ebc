#include "cli/report.h"

#include <stdio.h>

void
report_snapshot_json(struct json *j, const struct manifest *m)
{
    json_text(j, "id", m->id);
    json_text(j, "mode", m->mode);
    json_text(j, "label", m->label);
    json_bool(j, "pitr", m->pitr);
    json_int(j, "timeline", m->timeline);
    json_time_ms(j, "started", m->started_ms);
    json_time_ms(j, "finished", m->finished_ms);
    json_ts(j, "begin", m->begin.ts);
    json_ts(j, "t_start", m->t_start.ts);
    json_ts(j, "t_end", m->t_end.ts);
    json_count(j, "collections", m->collections);
    json_count(j, "documents", m->documents);
    json_count(j, "bytes_raw", m->bytes_raw);
    json_count(j, "bytes_new", m->bytes_new);
    json_count(j, "bytes_stored", m->bytes_stored);
    json_count(j, "chunks", m->chunks);
    json_count(j, "chunks_new", m->chunks_new);
}

static void
window_json(struct json *j, const struct window *w)
{
    json_object(j, NULL);
    json_int(j, "timeline", w->timeline);
    json_ts(j, "from", w->from);
    json_ts(j, "to", w->to);
    json_time_ms(j, "from_time", (int64_t)ts_secs(w->from) * 1000);
    json_time_ms(j, "to_time", (int64_t)ts_secs(w->to) * 1000);
    json_object_end(j);
}

void
report_gap_json(struct json *j, const char *key, const struct gap *g)
{
    json_object(j, key);
    json_int(j, "timeline", g->timeline);
    json_ts(j, "after", g->after.ts);
    json_ts(j, "before", g->before.ts);
    json_time_ms(j, "after_time", (int64_t)ts_secs(g->after.ts) * 1000);
    json_time_ms(j, "before_time", (int64_t)ts_secs(g->before.ts) * 1000);
    json_time_ms(j, "detected", g->detected_ms);
    json_text(j, "reason", g->reason);
    json_object_end(j);
}

void
report_windows_json(struct json *j, const struct history *h)
{
    json_array(j, "restorable");
    for (size_t i = 0; i < h->nwindows; i++)
        window_json(j, &h->windows[i]);
    json_array_end(j);
    json_array(j, "gaps");
    for (size_t i = 0; i < h->chain.ngaps; i++)
        report_gap_json(j, NULL, &h->chain.gaps[i]);
    json_array_end(j);
}

void
report_windows(struct text *out, const struct history *h)
{
    char from[MOMENT_TEXT_LEN], to[MOMENT_TEXT_LEN];

    for (size_t i = 0; i < h->nwindows; i++)
        text_add(out, "%s%s to %s\n", i == 0 ? "restorable  " : "            ",
                 format_moment(from, h->windows[i].from), format_moment(to, h->windows[i].to));
    if (h->nwindows == 0)
        text_add(out, "restorable  %s\n",
                 h->nsnapshots == 0 ? "nothing yet" : "each snapshot as it is, no other moment");
    for (size_t i = 0; i < h->chain.ngaps; i++) {
        const struct gap *g = &h->chain.gaps[i];

        text_add(out, "%safter %s, before %s: %s\n", i == 0 ? "gaps        " : "            ",
                 format_moment(from, g->after.ts),
                 g->before.ts == 0 ? "a new timeline" : format_moment(to, g->before.ts), g->reason);
    }
}
