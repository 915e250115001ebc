#include "engine/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine/window.h"
#include "oplog/oplog_mongo.h"

/* An oplog shorter than a day leaves no night to repair a stopped tailer in. A clock that is off by
 * seconds makes RPO and wall-clock targets wrong by as much; by a minute, useless. */
enum {
    WINDOW_WANTED_S = 24 * 3600,
    SKEW_WARNING_MS = 5000,
    SKEW_PROBLEM_MS = 60000,
};
static const uint64_t space_wanted = UINT64_C(1) << 30, space_needed = UINT64_C(64) << 20;

bool
check_is_ok(const struct check_report *report)
{
    for (size_t i = 0; i < report->len; i++)
        if (report->items[i].state == CHECK_PROBLEM)
            return false;
    return true;
}

const char *
check_state_name(enum check_state state)
{
    return state == CHECK_OK ? "ok" : state == CHECK_WARNING ? "warning" : "problem";
}

static void add(struct check_report *r, const char *name, enum check_state state, const char *fmt,
                ...) __attribute__((format(printf, 4, 5)));

static void
add(struct check_report *r, const char *name, enum check_state state, const char *fmt, ...)
{
    struct check_item *item = &r->items[r->len];
    va_list ap;

    if (r->len == CHECK_ITEMS_MAX)
        return;
    r->len++;
    item->name = name;
    item->state = state;
    va_start(ap, fmt);
    vsnprintf(item->detail, sizeof item->detail, fmt, ap);
    va_end(ap);
}

static void
check_server(struct check_report *r, const struct server_info *server)
{
    add(r, "server", CHECK_OK, "%s, MongoDB %s%s%s", server->host, server->version,
        server->fcv[0] == '\0' ? "" : ", feature compatibility version ", server->fcv);
    if (server->kind == SERVER_STANDALONE)
        add(r, "replica set", CHECK_WARNING,
            "none: snapshots are possible, restoring to any other moment is not; restart mongod "
            "with --replSet rs0 and run rs.initiate() once");
    else
        add(r, "replica set", CHECK_OK, "%s%s", server->set_name,
            server->is_primary ? ", reading from its primary" : ", reading from a secondary");
}

static enum pitr_rc
check_cluster(struct check_report *r, struct repo *repo, const struct server_info *server,
              struct pitr_err *err)
{
    struct cluster_id cluster;
    bool known, is_same, has_ids;

    if (repo_cluster(repo, &cluster, &known, err) != PITR_OK)
        return err->rc;
    has_ids = cluster.replica_set_id[0] != '\0' && server->replica_set_id[0] != '\0';
    is_same = has_ids ? strcmp(cluster.replica_set_id, server->replica_set_id) == 0
                      : strcmp(cluster.set_name, server->set_name) == 0;
    if (!known)
        add(r, "cluster", CHECK_OK, "the repository belongs to none yet");
    else if (!is_same && cluster.set_name[0] == '\0')
        add(r, "cluster", CHECK_OK,
            "a replica set now; the repository's snapshots so far have no oplog");
    else if (!is_same)
        add(r, "cluster", CHECK_PROBLEM,
            "the repository belongs to %s %s, the server to %s %s; name another repository",
            has_ids ? "the set with id" : "set",
            has_ids ? cluster.replica_set_id : cluster.set_name,
            has_ids                       ? "the one with id"
            : server->set_name[0] == '\0' ? "no set"
                                          : "set",
            has_ids ? server->replica_set_id : server->set_name);
    else if (server->kind == SERVER_REPLICA && !has_ids)
        add(r, "cluster", CHECK_WARNING,
            "the one the repository belongs to, by its name only; so that another set of the same "
            "name is refused, grant the user the role clusterMonitor");
    else
        add(r, "cluster", CHECK_OK, "the one the repository belongs to");
    return PITR_OK;
}

static enum pitr_rc
ask_privileges(struct check_report *r, struct conn *c, struct pitr_err *err)
{
    bson_t command = BSON_INITIALIZER, reply;
    struct check_item item = {.name = "privileges"};
    enum pitr_rc rc;

    BSON_APPEND_INT32(&command, "connectionStatus", 1);
    BSON_APPEND_BOOL(&command, "showPrivileges", true);
    rc = conn_command(c, "admin", &command, true, &reply, err);
    bson_destroy(&command);
    if (rc != PITR_OK)
        return rc;
    rc = check_privileges(&item, &reply, err);
    bson_destroy(&reply);
    if (rc == PITR_OK)
        add(r, item.name, item.state, "%s", item.detail);
    return rc;
}

/* Size and limit of the oplog in bytes; false when the user may not ask. */
static bool
oplog_size(struct conn *c, uint64_t *used, uint64_t *limit)
{
    bson_t command = BSON_INITIALIZER, reply;
    struct pitr_err ignored;
    bson_iter_t it;
    bool found = false;

    BSON_APPEND_UTF8(&command, "collStats", "oplog.rs");
    if (conn_command(c, "local", &command, true, &reply, &ignored) == PITR_OK) {
        found = bson_iter_init_find(&it, &reply, "size");
        *used = found ? (uint64_t)bson_iter_as_int64(&it) : 0;
        found = found && bson_iter_init_find(&it, &reply, "maxSize");
        *limit = found ? (uint64_t)bson_iter_as_int64(&it) : 0;
        bson_destroy(&reply);
    }
    bson_destroy(&command);
    return found;
}

static enum pitr_rc
check_oplog(struct check_report *r, struct conn *c, struct mongo *m, struct pitr_err *err)
{
    struct oplog_source *source = NULL;
    struct optime oldest, newest;
    uint64_t used = 0, limit = 0;
    char first[CLOCK_TEXT_LEN], last[CLOCK_TEXT_LEN], size[64] = "";
    bool is_full = true, is_known;
    int64_t seconds;
    enum pitr_rc rc;

    if (oplog_mongo_new(&source, m, err) != PITR_OK)
        return err->rc;
    rc = source->ops->bounds(source, &oldest, &newest, err);
    source->ops->free(source);
    if (rc != PITR_OK)
        return rc;
    is_known = oplog_size(c, &used, &limit);
    if (is_known) {
        /* mongod trims in steps, so an oplog that is at its limit is seldom quite full. */
        is_full = used > limit / 10 * 8;
        snprintf(size, sizeof size, ", %" PRIu64 " of %" PRIu64 " MiB", used >> 20, limit >> 20);
    }
    clock_format(first, ts_secs(oldest.ts));
    clock_format(last, ts_secs(newest.ts));
    seconds = (int64_t)ts_secs(newest.ts) - (int64_t)ts_secs(oldest.ts);
    if (seconds >= WINDOW_WANTED_S || !is_full)
        add(r, "oplog", CHECK_OK, "%s to %s, %.1f h%s%s", first, last, (double)seconds / 3600, size,
            seconds < WINDOW_WANTED_S ? ": young, not full yet" : "");
    else
        add(r, "oplog", CHECK_WARNING,
            "%s to %s, only %.1f h%s: a tailer that stands still for longer loses entries; make "
            "the oplog larger (replSetResizeOplog) so that it holds 24 h",
            first, last, (double)seconds / 3600, size);
    return PITR_OK;
}

static enum pitr_rc
check_clock(struct check_report *r, struct conn *c, struct pitr_err *err)
{
    bson_t command = BSON_INITIALIZER, reply;
    int64_t before = clock_wall_ms(), after, skew;
    bson_iter_t it;
    enum pitr_rc rc;

    BSON_APPEND_INT32(&command, "hello", 1);
    rc = conn_command(c, "admin", &command, true, &reply, err);
    bson_destroy(&command);
    if (rc != PITR_OK)
        return rc;
    after = clock_wall_ms();
    if (bson_iter_init_find(&it, &reply, "localTime") && BSON_ITER_HOLDS_DATE_TIME(&it)) {
        skew = bson_iter_date_time(&it) - (before + (after - before) / 2);
        if (skew > SKEW_WARNING_MS || skew < -SKEW_WARNING_MS)
            add(r, "clock",
                skew > SKEW_PROBLEM_MS || skew < -SKEW_PROBLEM_MS ? CHECK_PROBLEM : CHECK_WARNING,
                "the server's clock is %.1f s %s this host's; let both follow NTP",
                (double)(skew < 0 ? -skew : skew) / 1000, skew < 0 ? "behind" : "ahead of");
        else
            add(r, "clock", CHECK_OK, "server and host differ by %.1f s",
                (double)(skew < 0 ? -skew : skew) / 1000);
    }
    bson_destroy(&reply);
    return PITR_OK;
}

static enum pitr_rc
check_space(struct check_report *r, struct repo *repo, struct pitr_err *err)
{
    uint64_t free_bytes;

    if (fs_free_bytes(&free_bytes, repo_path(repo), err) != PITR_OK)
        return err->rc;
    if (free_bytes >= space_wanted)
        add(r, "free space", CHECK_OK, "%.1f GiB beside the repository",
            (double)free_bytes / (double)space_wanted);
    else
        add(r, "free space", free_bytes < space_needed ? CHECK_PROBLEM : CHECK_WARNING,
            "only %" PRIu64 " MiB left beside the repository; capture stops when it is full",
            free_bytes >> 20);
    return PITR_OK;
}

static enum pitr_rc
check_snapshots(struct check_report *r, struct repo *repo, struct pitr_err *err)
{
    PITR_AUTO(history_release) struct history h = {0};
    char when[CLOCK_TEXT_LEN];

    if (history_load(&h, repo, err) != PITR_OK)
        return err->rc;
    if (h.damaged.len > 0) {
        add(r, "snapshots", CHECK_PROBLEM, "%s", h.damaged.at[0]);
        return PITR_OK;
    }
    if (h.nsnapshots == 0) {
        add(r, "snapshots", CHECK_WARNING, "none yet; take the first with 'pitr snapshot'");
        return PITR_OK;
    }
    clock_format(when, h.snapshots[h.nsnapshots - 1].finished_ms / 1000);
    add(r, "snapshots", CHECK_OK, "%zu, the newest of %s", h.nsnapshots, when);
    return PITR_OK;
}

enum pitr_rc
check_run(struct check_report *out, struct repo *repo, struct mongo *mongo, struct pitr_err *err)
{
    PITR_AUTO(conn_givep) struct conn *c = NULL;
    struct server_info server;

    out->len = 0;
    if (conn_take(&c, mongo, err) != PITR_OK || server_inspect(c, &server, err) != PITR_OK ||
        server_require(&server, false, err) != PITR_OK)
        return err->rc;
    check_server(out, &server);
    if (check_cluster(out, repo, &server, err) != PITR_OK || ask_privileges(out, c, err) != PITR_OK)
        return err->rc;
    /* Without the privileges the rest could only repeat that they are missing. */
    if (server.kind == SERVER_REPLICA && check_is_ok(out) &&
        check_oplog(out, c, mongo, err) != PITR_OK)
        return err->rc;
    if (check_clock(out, c, err) != PITR_OK || check_space(out, repo, err) != PITR_OK ||
        check_snapshots(out, repo, err) != PITR_OK)
        return err->rc;
    return PITR_OK;
}
