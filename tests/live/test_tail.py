"""The tailer: it survives what happens to servers and to itself, and a hole in the oplog is never
passed over in silence."""

import fcntl
import pathlib
import random
import signal
import threading
import time

import pytest
from bson import Timestamp

from harness import oracle, workload
from harness.mongod import ReplicaSet, wait_for
from harness.pitr import Pitr, stamp
from harness.workload import Workload


def check_latest(pitr, source, target):
    pitr.restore("--to", "latest", "--drop", "--no-pre-snapshot", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))


def restorable_until(pitr):
    ranges = pitr.run("status").json["restorable"]
    return max(((r["to"]["t"], r["to"]["i"]) for r in ranges), default=(0, 0))


def test_once_captures_all_and_says_what(source, target, pitr):
    source.client["t"].c.insert_one({"_id": 1})
    pitr.ok("snapshot")
    source.client["t"].c.insert_many([{"_id": i} for i in range(2, 50)])
    now = source.now()
    done = pitr.ok("tail", "--once")
    assert not [f for f in ("first", "last", "operations", "bytes", "segments") if f not in done]
    assert (done["last"]["t"], done["last"]["i"]) >= (now.time, now.inc)
    assert done["operations"] >= 48
    again = pitr.ok("tail", "--once")
    assert again["operations"] <= 5  # at most periodic no-ops
    check_latest(pitr, source, target)


def test_a_lock_that_was_held_for_a_moment_leaves_no_trace(source, pitr):
    """`status` holds it to see whether somebody captures; whoever waited for it was not refused."""
    source.client["a"].c.insert_one({})
    pitr.ok("snapshot")
    with open(pathlib.Path(pitr.repo) / "locks/tail.lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        timer = threading.Timer(0.5, fcntl.flock, (lock, fcntl.LOCK_UN))
        timer.start()
        with pitr.tail("--interval", "1") as tail:
            timer.join()
            source.client["a"].c.insert_one({})
            now = source.now()
            wait_for(lambda: restorable_until(pitr) >= (now.time, now.inc), 30, "the tailer")
            tail.stop()


def test_a_backlog_is_read_in_large_replies(source, target, pitr):
    pitr.ok("snapshot")
    source.client["t"].c.insert_many([{"_id": i, "pad": "x" * 100} for i in range(30_000)])

    def replies():
        return source.client.admin.command("serverStatus")["opcounters"]["getmore"]

    before = replies()
    assert pitr.ok("tail", "--once")["operations"] >= 30_000
    assert replies() - before < 100
    check_latest(pitr, source, target)


def test_entries_of_every_size_are_captured_in_order(source, target, pitr):
    """Small ones, ones that fill a batch of the tailer, and ones that are none of its batches'."""
    coll = source.client["t"].c
    coll.insert_one({"_id": "first"})
    pitr.ok("snapshot")
    sizes = random.Random(7)
    for i in range(60):
        n = sizes.choice([10, 1000, 500_000, 1_048_000, 1_048_576, 3_000_000])
        coll.insert_one({"_id": i, "pad": sizes.randbytes(n)})
        coll.update_one({"_id": "first"}, {"$push": {"seen": i}})
    coll.insert_one({"_id": "largest", "pad": sizes.randbytes(16_000_000)})
    done = pitr.ok("tail", "--once")
    assert done["segments"] > 1
    check_latest(pitr, source, target)


def test_a_following_tailer_seals_in_time(source, pitr):
    source.client["t"].c.insert_one({"_id": 1})
    pitr.ok("snapshot")
    with pitr.tail("--interval", "1") as tail:
        source.client["t"].c.insert_one({"_id": 2})
        now = source.now()
        wait_for(lambda: restorable_until(pitr) >= (now.time, now.inc), 15, "a sealed segment")
        assert pitr.ok("status")["healthy"] is True
        tail.stop()


def test_a_stopped_tailer_has_sealed_what_it_saw(source, target, pitr):
    source.client["t"].c.insert_one({"_id": 1})
    pitr.ok("snapshot")
    with pitr.tail("--interval", "600") as tail:
        time.sleep(1)
        source.client["t"].c.insert_many([{"_id": i} for i in range(2, 100)])
        now = source.now()
        time.sleep(1.5)
        tail.stop()
    until = restorable_until(pitr)
    assert until >= (now.time, now.inc)


def test_killed_at_any_moment_it_loses_and_doubles_nothing(source, target, pitr, seed):
    rng = random.Random(seed)
    workload.prepare(source.client, seed)
    with Workload(source.client, seed, mode="full") as writer:
        pitr.ok("snapshot")
        for _ in range(12):
            with pitr.tail("--interval", "1") as tail:
                time.sleep(rng.random() * 1.5)
                assert tail.running(), tail.said()
                tail.kill()
        truths = []
        for _ in range(3):
            writer.pause()
            truths.append((source.now(), oracle.state_now(source.client)))
            writer.resume()
            writer.wait_done(30)
        writer.pause()
        pitr.ok("tail", "--once")
        check_latest(pitr, source, target)
    for ts, truth in truths:
        pitr.restore("--to", stamp(ts), "--drop", target=target.uri)
        oracle.assert_equal(truth, oracle.state_now(target.client), stamp(ts))
    pitr.ok("verify", "--data")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_outlives_a_restart_of_the_server(target, tmp_path, how):
    with ReplicaSet() as source:
        coll = source.client["t"].get_collection("c")
        coll.insert_one({"_id": 0})
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        pitr.ok("snapshot")
        with pitr.tail("--interval", "1") as tail:
            # A server that is not there when a tailer starts is another story.
            coll.insert_one({"_id": "under way"})
            now = source.now()
            wait_for(lambda: restorable_until(pitr) >= (now.time, now.inc), 60, "the tailer")
            for i in range(1, 4):
                coll.insert_one({"_id": i})
                source.restart(source.nodes[0], how)
                coll.insert_one({"_id": f"after {i}"})
            now = source.now()
            wait_for(lambda: restorable_until(pitr) >= (now.time, now.inc), 60, "the tailer")
            assert tail.running(), tail.said()
            tail.stop()
        check_latest(pitr, source, target)


def test_it_outlives_elections(target, tmp_path, seed):
    with ReplicaSet(nodes=3) as source:
        workload.prepare(source.client, seed)
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        pitr.ok("snapshot")
        with Workload(source.client, seed) as writer, pitr.tail("--interval", "1") as tail:
            writer.wait_done(100)
            source.step_down()
            writer.wait_done(100)
            pitr.ok("snapshot", "--mode", "scan")
            source.restart(source.primary(), signal.SIGKILL)
            writer.wait_done(100)
            writer.pause()
            now = source.now()
            wait_for(lambda: restorable_until(pitr) >= (now.time, now.inc), 60, "the tailer")
            assert tail.running(), tail.said()
            tail.stop()
            check_latest(pitr, source, target)
    assert not pitr.run("status").json["gaps"]


def test_a_rolled_over_oplog_is_a_gap_and_never_hidden(target, tmp_path):
    with ReplicaSet(oplog_mb=2, sync_delay=1) as source:
        coll = source.client["t"].c
        coll.insert_one({"_id": "old"})
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        pitr.ok("snapshot")
        coll.insert_one({"_id": "captured"})
        last = pitr.ok("tail", "--once")["last"]
        before_gap = oracle.state_now(source.client)
        coll.insert_one({"_id": "lost"})
        lost = source.now()
        source.roll_oplog_over(source.now())

        pitr.fails(6, "tail", "--once", says="gap")
        status = pitr.run("status")
        assert status.rc == 8, str(status)
        assert status.json["healthy"] is False
        assert status.json["gaps"], str(status)
        pitr.fails(6, "restore", "--to", stamp(lost), "--target", target.uri, "--drop", "--yes")
        pitr.restore("--to", f"{last['t']},{last['i']}", "--drop", target=target.uri)
        oracle.assert_equal(before_gap, oracle.state_now(target.client))

        pitr.ok("snapshot")
        coll.insert_one({"_id": "new"})
        pitr.ok("tail", "--once")
        assert pitr.ok("status")["healthy"] is True
        check_latest(pitr, source, target)
        # The hole stays a hole.
        pitr.fails(6, "restore", "--to", stamp(lost), "--target", target.uri, "--drop", "--yes")


def test_a_following_tailer_reports_the_gap_and_goes_on(target, tmp_path):
    with ReplicaSet(oplog_mb=2, sync_delay=1) as source:
        coll = source.client["t"].c
        coll.insert_one({"_id": "old"})
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        pitr.ok("snapshot")
        source.roll_oplog_over(source.now())
        with pitr.tail("--interval", "1") as tail:
            wait_for(lambda: pitr.run("status").json["gaps"], 30, "a gap record")
            coll.insert_one({"_id": "new"})
            tail.stop()
            assert "gap" in tail.said().lower()
        check = pitr.run("status")
        if check.rc == 8:  # the tailer itself took no new base
            pitr.ok("snapshot")
        pitr.ok("tail", "--once")
        check_latest(pitr, source, target)


def test_capture_of_the_window_outlives_a_small_oplog(target, tmp_path):
    """A scan writes down its own window as it goes, so rolling over behind it does no harm."""
    with ReplicaSet(oplog_mb=2, sync_delay=1) as source:
        source.client["t"].c.insert_many([{"_id": i, "pad": "x" * 2000} for i in range(20_000)])
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        with pitr.tail("--interval", "1") as tail:
            pitr.ok("snapshot")
            source.client["t"].c.update_many({"_id": {"$mod": [3, 0]}}, {"$set": {"n": 1}})
            now = source.now()
            wait_for(lambda: restorable_until(pitr) >= (now.time, now.inc), 30, "the tailer")
            tail.stop()
        check_latest(pitr, source, target)


def test_a_prepared_transaction_takes_effect_at_its_commit_time(target, tmp_path):
    with ReplicaSet(test_commands=True) as source:
        coll = source.client["prep"].c
        coll.insert_one({"_id": 0})
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        pitr.ok("snapshot")
        with source.client.start_session() as session:
            session.start_transaction()
            coll.insert_one({"_id": 1}, session=session)
            prepared = source.client.admin.command({"prepareTransaction": 1}, session=session)
            between = prepared["prepareTimestamp"]
            source.client["prep"].other.insert_one({"_id": "meanwhile"})
            commit = Timestamp(between.time, between.inc + 1)
            # The driver's own commit would not send the time that a prepared transaction needs.
            source.client.admin.command({"commitTransaction": 1, "commitTimestamp": commit},
                                        session=session)
            entry = source.client.local["oplog.rs"].find_one(
                {"o.commitTransaction": 1}, sort=[("$natural", -1)])
        pitr.ok("tail", "--once")
        assert entry["o"]["commitTimestamp"] == commit < entry["ts"]
        sizes = []
        for ts in (between, commit, entry["ts"]):
            pitr.restore("--to", stamp(ts), "--drop", target=target.uri)
            with source.client.start_session() as session:
                truth = oracle.read_at(source.client, session, "prep", "c", ts)
            assert sorted(truth) == sorted(oracle.read_now(target.client, "prep", "c", None))
            sizes.append(len(truth))
        # A reader sees it from the commit timestamp on, before the oplog says so.
        assert sizes == [1, 2, 2]
