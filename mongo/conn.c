#include "mongo/conn.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mongo/cleanup.h"

enum {
    SELECT_MS = 10000,
    DISCOVER_MS = 3000,
    CONNECT_MS = 5000, /* a member that does not answer keeps each client waiting once a minute */
    KEEP_CONNS = 32,
    REASON_LEN = 512,
};

struct mongo {
    mongoc_uri_t *uri;
    char safe[512];
    const struct log *log;
    pthread_mutex_t lock;   /* guards the two below */
    mongoc_client_t **idle; /* given back, most recently used last */
    size_t nidle;
    size_t keep; /* most of them */
};

struct conn {
    struct mongo *m;
    mongoc_client_t *client;
};

void
mongo_init(void)
{
    mongoc_log_set_handler(NULL, NULL);
    mongoc_init();
}

void
mongo_cleanup(void)
{
    mongoc_cleanup();
}

/* Scheme and hosts: enough to know which server is meant, and nothing secret. */
static void
format_safe(char *out, size_t size, const mongoc_uri_t *uri)
{
    const char *srv = mongoc_uri_get_srv_hostname(uri);
    const mongoc_host_list_t *h;
    size_t used;

    if (srv != NULL) {
        snprintf(out, size, "mongodb+srv://%s/", srv);
        return;
    }
    snprintf(out, size, "mongodb://");
    for (h = mongoc_uri_get_hosts(uri); h != NULL; h = h->next) {
        used = strlen(out);
        snprintf(out + used, size - used, "%s%s", h->host_and_port, h->next != NULL ? "," : "/");
    }
}

/* True when `code` is one of the server's ways to say "not now": elections, shutdown, a cursor or
 * snapshot that is gone, or a wait that took too long. */
static bool
is_passing_code(uint32_t code)
{
    static const uint32_t codes[] = {
        6,     /* HostUnreachable */
        7,     /* HostNotFound */
        43,    /* CursorNotFound */
        50,    /* MaxTimeMSExpired */
        89,    /* NetworkTimeout */
        91,    /* ShutdownInProgress */
        133,   /* FailedToSatisfyReadPreference */
        134,   /* ReadConcernMajorityNotAvailableYet */
        136,   /* CappedPositionLost */
        175,   /* QueryPlanKilled */
        189,   /* PrimarySteppedDown */
        216,   /* ElectionInProgress */
        237,   /* CursorKilled */
        246,   /* SnapshotUnavailable */
        262,   /* ExceededTimeLimit */
        9001,  /* SocketException */
        10107, /* NotWritablePrimary */
        11600, /* InterruptedAtShutdown */
        11601, /* Interrupted */
        11602, /* InterruptedDueToReplStateChange */
        13435, /* NotPrimaryNoSecondaryOk */
        13436, /* NotPrimaryOrSecondary */
    };
    size_t i;

    for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i] == code)
            return true;
    }
    return false;
}

static bool
has_passing_label(const bson_t *reply)
{
    return reply != NULL && (mongoc_error_has_label(reply, "RetryableWriteError") ||
                             mongoc_error_has_label(reply, "ResumableChangeStreamError") ||
                             mongoc_error_has_label(reply, "TransientTransactionError"));
}

static bool
is_server_error(const bson_error_t *cause)
{
    return cause->domain == MONGOC_ERROR_SERVER || cause->domain == MONGOC_ERROR_QUERY ||
           cause->domain == MONGOC_ERROR_COMMAND || cause->domain == MONGOC_ERROR_WRITE_CONCERN;
}

static bool
is_auth_failure(const bson_error_t *cause)
{
    enum { AUTHENTICATION_FAILED = 18 };

    return (cause->domain == MONGOC_ERROR_CLIENT &&
            cause->code == MONGOC_ERROR_CLIENT_AUTHENTICATE) ||
           cause->domain == MONGOC_ERROR_SASL || cause->domain == MONGOC_ERROR_SCRAM ||
           (is_server_error(cause) && cause->code == AUTHENTICATION_FAILED);
}

static bool
is_passing(const bson_error_t *cause, const bson_t *reply)
{
    return cause->domain == MONGOC_ERROR_STREAM || has_passing_label(reply) ||
           (is_server_error(cause) && is_passing_code(cause->code));
}

/* The cause's text on one line. Server selection puts what went wrong into brackets, and words
 * about its own options around them: then only the inside is taken. */
static void
format_reason(char out[REASON_LEN], const bson_error_t *cause)
{
    const char *open = strchr(cause->message, '['), *close = strrchr(cause->message, ']');
    const char *text = cause->message;
    size_t len = strlen(text), i;

    if (cause->domain == MONGOC_ERROR_SERVER_SELECTION && open != NULL && close > open + 1) {
        text = open + 1;
        len = (size_t)(close - text);
    }
    if (len > REASON_LEN - 1)
        len = REASON_LEN - 1;
    while (len > 0 && text[len - 1] == '.')
        len--; /* it becomes part of a longer sentence */
    for (i = 0; i < len; i++)
        out[i] = text[i] == '\n' || text[i] == '\r' ? ' ' : text[i];
    out[len] = '\0';
    if (len == 0)
        snprintf(out, REASON_LEN, "no reason given");
}

/* The server repeats the whole command that it refuses: its name says enough. */
static void
shorten_refusal(char reason[REASON_LEN])
{
    static const char before[] = " to execute command { ";
    char *at = strstr(reason, before), *name;
    size_t len;

    if (at == NULL)
        return;
    name = at + strlen(before);
    len = strcspn(name, ": ");
    at += strlen(" to execute ");
    memmove(at, name, len);
    at[len] = '\0';
}

static enum pitr_rc
fail_at(struct pitr_err *err, const char *address, const char *user, const bson_error_t *cause,
        const bson_t *reply, const char *what)
{
    enum { UNAUTHORIZED = 13 };
    char reason[REASON_LEN];

    format_reason(reason, cause);
    if (cause->domain == MONGOC_ERROR_SERVER_SELECTION)
        return pitr_fail(err, PITR_DB_LOST,
                         "cannot reach %s: %s; check the address and that mongod is running",
                         address, reason);
    if (is_auth_failure(cause))
        return pitr_fail(err, PITR_DB,
                         "authentication failed for user %s on %s: %s; check user, password and "
                         "authSource",
                         user, address, reason);
    if (is_server_error(cause) && cause->code == UNAUTHORIZED) {
        shorten_refusal(reason);
        return pitr_fail(err, PITR_DB, "%s: %s; give user %s the role it lacks", what, reason,
                         user);
    }
    if (is_passing(cause, reply))
        return pitr_fail(err, PITR_DB_LOST, "%s: %s", what, reason);
    return pitr_fail(err, PITR_DB, "%s: %s", what, reason);
}

static enum pitr_rc
fail_on_uri(struct pitr_err *err, const mongoc_uri_t *uri, const char *safe,
            const bson_error_t *cause, const bson_t *reply, const char *what)
{
    const char *user = mongoc_uri_get_username(uri);

    return fail_at(err, safe, user != NULL ? user : "(none)", cause, reply, what);
}

enum pitr_rc
conn_fail(struct conn *c, const bson_error_t *cause, const bson_t *reply, const char *what,
          struct pitr_err *err)
{
    return fail_on_uri(err, c->m->uri, c->m->safe, cause, reply, what);
}

static enum pitr_rc
new_client(mongoc_client_t **out, const struct mongo *m, const mongoc_uri_t *uri,
           struct pitr_err *err)
{
    bson_error_t cause;

    *out = mongoc_client_new_from_uri_with_error(uri, &cause);
    if (*out == NULL)
        return fail_on_uri(err, uri, m->safe, &cause, NULL, "connect");
    mongoc_client_set_error_api(*out, MONGOC_ERROR_API_VERSION_2);
    return PITR_OK;
}

/* A member named alone, without a word on how to connect: it may have to be found again under
 * another name after an election. */
static bool
wants_discovery(const mongoc_uri_t *uri)
{
    const mongoc_host_list_t *hosts = mongoc_uri_get_hosts(uri);

    return mongoc_uri_get_srv_hostname(uri) == NULL && hosts != NULL && hosts->next == NULL &&
           hosts->host[0] != '/' && mongoc_uri_get_replica_set(uri) == NULL &&
           !mongoc_uri_has_option(uri, MONGOC_URI_DIRECTCONNECTION) &&
           !mongoc_uri_has_option(uri, MONGOC_URI_LOADBALANCED);
}

/* Name of the set the URI's only host belongs to; "" when it belongs to none. */
static enum pitr_rc
ask_set_name(const struct mongo *m, char *out, size_t size, struct pitr_err *err)
{
    PITR_AUTO(client_freep) mongoc_client_t *client = NULL;
    bson_t hello = BSON_INITIALIZER, reply;
    bson_error_t cause;
    bson_iter_t it;
    bool ok;

    out[0] = '\0';
    if (new_client(&client, m, m->uri, err) != PITR_OK)
        return err->rc;
    BSON_APPEND_INT32(&hello, "hello", 1);
    ok = mongoc_client_command_simple(client, "admin", &hello, NULL, &reply, &cause);
    bson_destroy(&hello);
    if (!ok)
        fail_on_uri(err, m->uri, m->safe, &cause, &reply, "hello");
    else if (bson_iter_init_find(&it, &reply, "setName") && BSON_ITER_HOLDS_UTF8(&it))
        snprintf(out, size, "%s", bson_iter_utf8(&it, NULL));
    bson_destroy(&reply);
    return ok ? PITR_OK : err->rc;
}

/* A client of libmongoc without threads gives up at once by default; waiting for the selection
 * timeout is what carries it over an election. */
static void
try_again_and_again(mongoc_uri_t *uri)
{
    if (!mongoc_uri_has_option(uri, MONGOC_URI_SERVERSELECTIONTRYONCE))
        mongoc_uri_set_option_as_bool(uri, MONGOC_URI_SERVERSELECTIONTRYONCE, false);
}

/* Whether any member of the set can be reached by the name it gives itself. */
static bool
can_reach_members(const mongoc_uri_t *set_uri)
{
    PITR_AUTO(client_freep) mongoc_client_t *client = NULL;
    PITR_AUTO(uri_freep) mongoc_uri_t *probe = mongoc_uri_copy(set_uri);
    mongoc_read_prefs_t *nearest = mongoc_read_prefs_new(MONGOC_READ_NEAREST);
    mongoc_server_description_t *server;
    bson_error_t cause;

    /* Trying once is not enough: the names are only learnt from the first answer. */
    try_again_and_again(probe);
    mongoc_uri_set_option_as_int32(probe, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, DISCOVER_MS);
    client = mongoc_client_new_from_uri(probe);
    server = client == NULL ? NULL : mongoc_client_select_server(client, false, nearest, &cause);
    mongoc_read_prefs_destroy(nearest);
    if (server == NULL)
        return false;
    mongoc_server_description_destroy(server);
    return true;
}

static enum pitr_rc
discover(struct mongo *m, struct pitr_err *err)
{
    PITR_AUTO(uri_freep) mongoc_uri_t *set_uri = NULL;
    char set[128];

    if (ask_set_name(m, set, sizeof set, err) != PITR_OK)
        return err->rc;
    if (set[0] == '\0')
        return PITR_OK;
    set_uri = mongoc_uri_copy(m->uri);
    if (set_uri == NULL || !mongoc_uri_set_option_as_utf8(set_uri, MONGOC_URI_REPLICASET, set))
        return pitr_fail(err, PITR_INTERNAL, "%s: cannot name replica set %s", m->safe, set);
    if (can_reach_members(set_uri)) {
        mongoc_uri_destroy(m->uri);
        m->uri = set_uri;
        set_uri = NULL;
        return PITR_OK;
    }
    log_event(m->log, LOG_WARNING, "mongo",
              "members of replica set %s cannot be reached by the names they give; using %s alone, "
              "which will not survive an election",
              set, m->safe);
    return PITR_OK;
}

static void
read_from_primary(mongoc_uri_t *uri)
{
    mongoc_read_prefs_t *primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);

    mongoc_uri_set_read_prefs_t(uri, primary);
    mongoc_read_prefs_destroy(primary);
}

static enum pitr_rc
parse_uri(struct mongo *m, const struct mongo_opts *opts, struct pitr_err *err)
{
    bson_error_t cause;
    char reason[REASON_LEN];

    m->uri = mongoc_uri_new_with_error(opts->uri, &cause);
    if (m->uri == NULL) {
        format_reason(reason, &cause);
        return pitr_fail(err, PITR_USAGE,
                         "bad MongoDB URI: %s; it should look like "
                         "mongodb://user:password@host:27017/?authSource=admin",
                         reason);
    }
    format_safe(m->safe, sizeof m->safe, m->uri);
    if (mongoc_uri_get_appname(m->uri) == NULL)
        mongoc_uri_set_appname(m->uri, "pitr");
    if (!mongoc_uri_has_option(m->uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS))
        mongoc_uri_set_option_as_int32(m->uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS,
                                       opts->select_ms > 0 ? (int32_t)opts->select_ms : SELECT_MS);
    if (!mongoc_uri_has_option(m->uri, MONGOC_URI_CONNECTTIMEOUTMS))
        mongoc_uri_set_option_as_int32(m->uri, MONGOC_URI_CONNECTTIMEOUTMS, CONNECT_MS);
    if (opts->socket_ms > 0 && !mongoc_uri_has_option(m->uri, MONGOC_URI_SOCKETTIMEOUTMS))
        mongoc_uri_set_option_as_int32(m->uri, MONGOC_URI_SOCKETTIMEOUTMS,
                                       (int32_t)opts->socket_ms);
    if (opts->primary_only)
        read_from_primary(m->uri);
    return PITR_OK;
}

enum pitr_rc
mongo_open(struct mongo **out, const struct mongo_opts *opts, struct pitr_err *err)
{
    PITR_AUTO(mongo_freep) struct mongo *m = calloc(1, sizeof *m);

    if (m == NULL)
        return pitr_fail(err, PITR_NOMEM, "connections");
    pthread_mutex_init(&m->lock, NULL);
    m->log = opts->log;
    m->keep = opts->max_conns > 0 ? opts->max_conns : KEEP_CONNS;
    m->idle = calloc(m->keep, sizeof *m->idle);
    if (m->idle == NULL)
        return pitr_fail(err, PITR_NOMEM, "connections");
    if (parse_uri(m, opts, err) != PITR_OK)
        return err->rc;
    if (wants_discovery(m->uri) && discover(m, err) != PITR_OK)
        return err->rc;
    try_again_and_again(m->uri);
    *out = m;
    m = NULL;
    return PITR_OK;
}

void
mongo_free(struct mongo *m)
{
    if (m == NULL)
        return;
    while (m->nidle > 0)
        mongoc_client_destroy(m->idle[--m->nidle]);
    free(m->idle);
    mongoc_uri_destroy(m->uri);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void
mongo_freep(struct mongo **m)
{
    mongo_free(*m);
    *m = NULL;
}

const char *
mongo_uri_safe(const struct mongo *m)
{
    return m->safe;
}

static mongoc_client_t *
take_idle(struct mongo *m)
{
    mongoc_client_t *client = NULL;

    pthread_mutex_lock(&m->lock);
    if (m->nidle > 0)
        client = m->idle[--m->nidle];
    pthread_mutex_unlock(&m->lock);
    return client;
}

enum pitr_rc
conn_take(struct conn **out, struct mongo *m, struct pitr_err *err)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL)
        return pitr_fail(err, PITR_NOMEM, "connection");
    c->m = m;
    c->client = take_idle(m);
    if (c->client == NULL && new_client(&c->client, m, m->uri, err) != PITR_OK) {
        free(c);
        return err->rc;
    }
    *out = c;
    return PITR_OK;
}

void
conn_give(struct conn *c)
{
    struct mongo *m;

    if (c == NULL)
        return;
    m = c->m;
    pthread_mutex_lock(&m->lock);
    if (m->nidle < m->keep) {
        m->idle[m->nidle++] = c->client;
        c->client = NULL;
    }
    pthread_mutex_unlock(&m->lock);
    if (c->client != NULL)
        mongoc_client_destroy(c->client);
    free(c);
}

void
conn_givep(struct conn **c)
{
    conn_give(*c);
    *c = NULL;
}

mongoc_client_t *
conn_client(struct conn *c)
{
    return c->client;
}

enum pitr_rc
conn_command(struct conn *c, const char *db, const bson_t *cmd, bool is_read, bson_t *reply,
             struct pitr_err *err)
{
    bson_t answer;
    bson_error_t cause;
    bson_iter_t it;
    char what[128];
    bool ok;

    if (is_read)
        ok = mongoc_client_read_command_with_opts(c->client, db, cmd, NULL, NULL, &answer, &cause);
    else
        ok = mongoc_client_write_command_with_opts(c->client, db, cmd, NULL, &answer, &cause);
    if (!ok) {
        snprintf(what, sizeof what, "%s on %s",
                 bson_iter_init(&it, cmd) && bson_iter_next(&it) ? bson_iter_key(&it) : "command",
                 db);
        conn_fail(c, &cause, &answer, what, err);
        bson_destroy(&answer);
        return err->rc;
    }
    if (reply != NULL)
        bson_steal(reply, &answer);
    else
        bson_destroy(&answer);
    return PITR_OK;
}
