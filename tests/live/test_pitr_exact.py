"""The promise: any time between the first snapshot and now comes back exactly.

harness/sweep.py tells how random moments are made, restored and compared. PITR_TEST_TARGETS is
another number of moments of each version; SEED repeats a run.
"""

import os

import pytest

from harness import oracle
from harness.pitr import stamp
from harness.sweep import Sweep, run_in_version

TARGETS = {"6.0": 60, "5.0": 25, "4.4": 25}


@pytest.mark.parametrize("version", TARGETS)
def test_every_moment_comes_back_exactly(version, seed):
    run_in_version(version)
    with Sweep(version, seed) as sweep:
        sweep.run(int(os.environ.get("PITR_TEST_TARGETS", TARGETS[version])))


def test_a_transaction_of_many_oplog_entries_is_whole_or_absent(source, target, pitr):
    coll = source.client["big"].c
    coll.insert_one({"_id": "before"})
    pitr.ok("snapshot")
    with source.client.start_session() as session:
        session.start_transaction()
        for i in range(24):
            coll.insert_one({"_id": i, "pad": "x" * 900_000}, session=session)
        session.commit_transaction()
        commit = session.operation_time
    entries = list(source.client.local["oplog.rs"].find(
        {"ts": {"$lte": commit}, "o.applyOps": {"$exists": True}}).sort("ts", -1).limit(2))
    assert entries[1]["o"].get("partialTxn"), "the transaction was meant to span entries"
    pitr.ok("tail", "--once")
    pitr.restore("--to", stamp(entries[1]["ts"]), "--drop", target=target.uri)
    assert target.client["big"].c.count_documents({}) == 1
    pitr.restore("--before", stamp(entries[0]["ts"]), "--drop", target=target.uri)
    assert target.client["big"].c.count_documents({}) == 1
    pitr.restore("--to", stamp(entries[0]["ts"]), "--drop", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))
