/*
 * replay_fixture.h - a replay over a small base, fed with entries written as extended JSON.
 *
 * Time is counted in seconds: the base was scanned in (10, 20], the moment is 100. It holds
 * shop.orders; shop.tmp_* and shop.weather were left out by the operator.
 */
#ifndef PITR_TESTS_SUPPORT_REPLAY_FIXTURE_H
#define PITR_TESTS_SUPPORT_REPLAY_FIXTURE_H

#include "oplog/replay.h"

enum { FIXTURE_T_START = 10, FIXTURE_T_END = 20, FIXTURE_MOMENT = 100 };

#define UUID_A "{\"$binary\":{\"base64\":\"AAAAAAAAAAAAAAAAAAAAAQ==\",\"subType\":\"04\"}}"
#define UUID_B "{\"$binary\":{\"base64\":\"AAAAAAAAAAAAAAAAAAAAAg==\",\"subType\":\"04\"}}"
#define UUID_C "{\"$binary\":{\"base64\":\"AAAAAAAAAAAAAAAAAAAAAw==\",\"subType\":\"04\"}}"

struct fixture {
    struct replay *r;
    struct pitr_err err;
    struct buf entry;
    char text[8192];
};

/* cmocka's setup and teardown; *state is a struct fixture. */
int fixture_setup(void **state);
int fixture_setup_44(void **state); /* the base comes from a 4.4 server */
int fixture_teardown(void **state);

/* One more collection of the base, with the UUID 00..0<last>. `excluded`: known by UUID only. */
void fixture_base(struct fixture *f, const char *db, const char *name, uint8_t last,
                  const char *options, bool excluded);

/* Feed one entry at second `at`; `rest` are its fields but ts, t, v and wall. */
enum pitr_rc fixture_feed(struct fixture *f, unsigned at, const char *rest);
enum pitr_rc fixture_feed_in_term(struct fixture *f, unsigned at, int term, const char *rest);
/* The same, which must go well, or must fail with rc and every one of `says` in the message. */
void fixture_ok(struct fixture *f, unsigned at, const char *rest);
void fixture_refused(struct fixture *f, unsigned at, const char *rest, enum pitr_rc rc,
                     const char *says, const char *also);

/* Finish, and all that is alive and not left out, a line each: "db.name base|new options indexes
 * documents that are not in the base". */
const char *fixture_catalog(struct fixture *f);
/* The final form of one base document of shop.orders, or "gone". After fixture_catalog(). */
const char *fixture_document(struct fixture *f, const char *base);

#define ID_INDEX "{ \"v\" : 2, \"key\" : { \"_id\" : 1 }, \"name\" : \"_id_\" }"
#define ORDERS "shop.orders base { } { \"0\" : " ID_INDEX " } "
#define WITH_INDEX(spec) "{ \"0\" : " ID_INDEX ", \"1\" : " spec " } "
#define A_INDEX "{ \"v\" : 2, \"key\" : { \"a\" : 1 }, \"name\" : \"a_1\" }"
#define A_SPEC "\"v\":2,\"key\":{\"a\":1},\"name\":\"a_1\""

#define INSERT(uuid, ns, doc) "\"op\":\"i\",\"ns\":\"" ns "\",\"ui\":" uuid ",\"o\":" doc
#define DELETE(uuid, ns, key) "\"op\":\"d\",\"ns\":\"" ns "\",\"ui\":" uuid ",\"o\":" key
#define UPDATE(uuid, ns, key, o)                                                                   \
    "\"op\":\"u\",\"ns\":\"" ns "\",\"ui\":" uuid ",\"o2\":" key ",\"o\":" o
#define SET(field) "{\"$v\":2,\"diff\":{\"u\":{" field "}}}"
#define COMMAND(uuid, o) "\"op\":\"c\",\"ns\":\"shop.$cmd\",\"ui\":" uuid ",\"o\":" o
#define CREATE(uuid, name, options)                                                                \
    COMMAND(uuid, "{\"create\":\"" name "\"" options                                               \
                  ",\"idIndex\":{\"v\":2,\"key\":{\"_id\":1},\"name\":\"_id_\"}}")
#define RENAME(uuid, from, to, more)                                                               \
    COMMAND(uuid,                                                                                  \
            "{\"renameCollection\":\"" from "\",\"to\":\"" to "\",\"stayTemp\":false" more "}")

#define SESSION(id, number)                                                                        \
    "\"lsid\":{\"id\":" #id "},\"txnNumber\":{\"$numberLong\":\"" #number "\"}"
#define LSID SESSION(1, 1)
#define TERM_PREV(t, term)                                                                         \
    "\"prevOpTime\":{\"ts\":{\"$timestamp\":{\"t\":" t ",\"i\":1}},\"t\":{\"$numberLong\":\"" term \
    "\"}}"
#define PREV(t) TERM_PREV(t, "1")
#define NO_PREV                                                                                    \
    "\"prevOpTime\":{\"ts\":{\"$timestamp\":{\"t\":0,\"i\":0}},\"t\":{\"$numberLong\":\"-1\"}}"
/* An applyOps entry; `session` is empty or ends in a comma, `ops` are its operations. */
#define APPLY_OPS(session, prev, ops, flags)                                                       \
    "\"op\":\"c\",\"ns\":\"admin.$cmd\"," session prev ",\"o\":{\"applyOps\":[" ops "]" flags "}"
#define APPLY(prev, doc, flags)                                                                    \
    APPLY_OPS(LSID ",", prev, "{" INSERT(UUID_A, "shop.orders", doc) "}", flags)
#define COUNT(n) ",\"count\":{\"$numberLong\":\"" #n "\"}"
#define COMMIT(prev, at)                                                                           \
    "\"op\":\"c\",\"ns\":\"admin.$cmd\"," LSID "," prev                                            \
    ",\"o\":{\"commitTransaction\":1,\"commitTimestamp\":{\"$timestamp\":{\"t\":" at ",\"i\":1}}}"
#define ABORT(prev)                                                                                \
    "\"op\":\"c\",\"ns\":\"admin.$cmd\"," LSID "," prev ",\"o\":{\"abortTransaction\":1}"

#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

#endif
