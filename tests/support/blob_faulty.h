/*
 * blob_faulty.h - a blob driver that wraps another and fails at the k-th call.
 *
 * Calls are counted from 1 since the last blob_faulty_arm(): create, write, commit, read, size,
 * list and remove. FAULT_ONCE fails that call with the chosen code and leaves no trace. The others
 * are crashes: the call and all after it fail with IO, as if the machine had gone; what they differ
 * in is what becomes of a commit that was under way.
 */
#ifndef PITR_TESTS_SUPPORT_BLOB_FAULTY_H
#define PITR_TESTS_SUPPORT_BLOB_FAULTY_H

#include "chunkstore/blob.h"

enum blob_fault {
    FAULT_NONE,
    FAULT_ONCE,
    FAULT_CRASH_KEEP,     /* the object is there, though nobody was told */
    FAULT_CRASH_DROP,     /* it is not */
    FAULT_CRASH_TRUNCATE, /* half of it is: what a driver without atomic puts would leave */
};

/* Borrows `inner`, which outlives it. */
PITR_MUST enum pitr_rc blob_faulty_new(struct blob **out, struct blob *inner, struct pitr_err *err);
/* Start counting anew. `code` is for FAULT_ONCE. */
void blob_faulty_arm(struct blob *b, enum blob_fault fault, uint64_t k, enum pitr_rc code);
/* Has the fault happened since? */
bool blob_faulty_fired(struct blob *b);

#endif
