#include "oplog/txn_entry.h"

#include "base/bytes.h"

/* multiOpType of vectored writes: the operations stand for themselves, whatever prevOpTime says. */
enum { MULTI_OP_SEPARATE = 1 };

bool
txn_entry_is_linked(const struct oplog_entry *e)
{
    return e->has_prev && e->multi_op_type != MULTI_OP_SEPARATE;
}

enum txn_ending
txn_ending_of(const struct belem *first)
{
    return belem_is(first, "commitTransaction")  ? TXN_IS_COMMITTED
           : belem_is(first, "abortTransaction") ? TXN_IS_ABORTED
                                                 : TXN_ENDS_NOT;
}

enum pitr_rc
txn_count_ops(const uint8_t *array, size_t len, uint64_t *n, struct pitr_err *err)
{
    struct biter it;
    struct belem op;

    *n = 0;
    if (biter_init(&it, array, len, err) != PITR_OK)
        return err->rc;
    for (;; (*n)++) {
        if (biter_next(&it, &op, err) != PITR_OK)
            return err->rc;
        if (op.type == BSON_EOD)
            return PITR_OK;
    }
}

enum pitr_rc
txn_commit_time(const struct oplog_entry *e, bool *found, uint64_t *ts, struct pitr_err *err)
{
    struct belem at;

    if (bson_find(e->o, e->o_len, "commitTimestamp", found, &at, err) != PITR_OK)
        return err->rc;
    *found = *found && at.type == BSON_TS;
    if (*found)
        *ts = get_le64(at.value);
    return PITR_OK;
}
