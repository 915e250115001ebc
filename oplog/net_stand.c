#include "base/bytes.h"
#include "oplog/net_internal.h"

struct net_standing
net_standing(uint8_t stand)
{
    if (stand >= STAND_PATCH)
        return (struct net_standing){
            .kind = KIND_PATCH,
            .need = (stand - STAND_PATCH) % 2 == 1 ? NEED_BASE : NEED_NOTHING,
            .seed = stand >= STAND_PATCH_SEED,
        };
    if (stand >= STAND_GONE)
        return (struct net_standing){.kind = KIND_GONE,
                                     .need = (enum net_need)(stand - STAND_GONE)};
    if (stand >= STAND_PUT)
        return (struct net_standing){.kind = KIND_PUT, .need = (enum net_need)(stand - STAND_PUT)};
    return (struct net_standing){.kind = KIND_NONE};
}

static uint8_t
put(enum net_need need)
{
    return (uint8_t)(STAND_PUT + need);
}

static uint8_t
gone(enum net_need need)
{
    return (uint8_t)(STAND_GONE + need);
}

static uint8_t
patch(enum net_need need, bool seed)
{
    return (uint8_t)(STAND_PATCH + (need == NEED_BASE) + 2 * seed);
}

static uint8_t
step_insert(struct net_standing s, enum op_mode mode)
{
    if (s.kind == KIND_NONE)
        return put(mode == OP_STRICT ? NEED_NO_BASE : NEED_NOTHING);
    if (mode == OP_LENIENT)
        return put(s.need);
    if (s.kind == KIND_PUT || (s.kind == KIND_PATCH && (s.need == NEED_BASE || s.seed)))
        return STAND_BAD_INSERT;
    if (s.kind == KIND_PATCH && mode == OP_STRICT)
        return STAND_BAD_LACKS;
    return put(s.need);
}

static uint8_t
step_delete(struct net_standing s, enum op_mode mode)
{
    if (s.kind == KIND_GONE && mode != OP_LENIENT)
        return STAND_BAD_DELETE;
    if (mode == OP_STRICT && (s.kind == KIND_NONE || (s.kind == KIND_PATCH && !s.seed)))
        return gone(NEED_BASE);
    return gone(s.need);
}

static uint8_t
step_update(struct net_standing s, enum op_mode mode, bool upsert)
{
    bool needs = mode == OP_STRICT && !upsert && !s.seed;

    switch (s.kind) {
    case KIND_PUT:
        return put(s.need);
    case KIND_GONE:
        if (upsert)
            return put(s.need);
        return mode == OP_LENIENT ? gone(s.need) : STAND_BAD_UPDATE;
    default:
        return patch(needs ? NEED_BASE : s.need, s.seed || upsert);
    }
}

uint8_t
net_stand_step(uint8_t stand, enum net_op_kind kind, enum op_mode mode, bool upsert)
{
    if (stand >= STANDS)
        return stand;
    switch (kind) {
    case NET_INSERT:
        return step_insert(net_standing(stand), mode);
    case NET_DELETE:
        return step_delete(net_standing(stand), mode);
    default:
        return step_update(net_standing(stand), mode, upsert);
    }
}

enum pitr_rc
net_refuse(struct pitr_err *err, const uint8_t *key, size_t key_len, const char *what)
{
    char hex[2 * 48 + 1];
    size_t shown = key_len < 48 ? key_len : 48;

    hex_encode(hex, key, shown);
    return pitr_fail(err, PITR_CORRUPT, "%s (canonical _id %s%s)", what, hex,
                     shown < key_len ? "..." : "");
}

enum pitr_rc
net_anomaly(struct pitr_err *err, const uint8_t *key, size_t key_len, uint8_t dead_end)
{
    switch (dead_end) {
    case STAND_BAD_INSERT:
        return net_refuse(err, key, key_len, "insert of a document that exists");
    case STAND_BAD_LACKS:
        return net_refuse(err, key, key_len, "update of a document that the base lacks");
    case STAND_BAD_DELETE:
        return net_refuse(err, key, key_len, "delete of a document that is deleted already");
    case STAND_BAD_UPDATE:
        return net_refuse(err, key, key_len, "update of a document that is deleted");
    default:
        return pitr_fail(err, PITR_INTERNAL, "net: standing %d", dead_end);
    }
}
