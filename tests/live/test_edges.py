"""Catalogs that servers can have but do not readily make again, and moments between two oplog
entries that belong together."""

import os
import pty
import re
import threading

import pytest

from harness import oracle
from harness.mongod import ReplicaSet, wait_for
from harness.pitr import Pitr, clean_environment, stamp
from harness.workload import EPOCH


def restore_equals(pitr, target, truth, *moment):
    pitr.restore(*moment, "--drop", target=target.uri)
    oracle.assert_equal(truth, oracle.state_now(target.client), " ".join(moment))


def test_a_moment_between_an_insert_and_its_eviction_restores(source, target, pitr):
    """A capped collection holds more than its maximum there; the server could not be asked for it."""
    db = source.client["edge"]
    db.create_collection("ring", capped=True, size=4096, max=5)
    db.ring.insert_many([{"_id": i} for i in range(5)])
    pitr.ok("snapshot")
    db.ring.insert_one({"_id": 5})
    pitr.ok("tail", "--once")
    inserted = source.client.local["oplog.rs"].find_one({"ns": "edge.ring", "o._id": 5, "op": "i"})
    evicted = source.client.local["oplog.rs"].find_one({"ns": "edge.ring", "op": "d"})
    assert inserted["ts"] < evicted["ts"]
    for ts, ids in [(inserted["ts"], [0, 1, 2, 3, 4, 5]), (evicted["ts"], [1, 2, 3, 4, 5])]:
        pitr.restore("--to", stamp(ts), "--drop", target=target.uri)
        ring = target.client["edge"].ring
        assert [d["_id"] for d in ring.find(sort=[("$natural", 1)])] == ids
        assert ring.options() == {"capped": True, "size": 4096, "max": 5}


def test_a_capped_collection_whose_limits_were_lowered_keeps_what_it_holds(source, target, pitr):
    db = source.client["edge"]
    db.create_collection("log", capped=True, size=100_000, max=100)
    db.log.insert_many([{"_id": i, "pad": "x" * 500} for i in range(80)])
    db.command({"collMod": "log", "cappedSize": 8192})
    db.command({"collMod": "log", "cappedMax": 10})
    pitr.ok("snapshot")
    restore_equals(pitr, target, oracle.state_now(source.client), "--latest")


def test_a_clustered_collection_that_was_made_capped_restores(source, target, pitr):
    db = source.client["edge"]
    db.create_collection("c", clusteredIndex={"key": {"_id": 1}, "unique": True})
    db.c.insert_many([{"_id": i} for i in range(5)])
    db.command({"convertToCapped": "c", "size": 8192})
    pitr.ok("snapshot")
    db.c.insert_one({"_id": 9})
    pitr.ok("tail", "--once")
    restore_equals(pitr, target, oracle.state_now(source.client), "--to", "latest")


def test_the_id_index_of_a_collection_made_by_apply_ops_is_of_the_old_version(source, target, pitr):
    source.client["edge"].c.insert_one({"_id": 0})
    pitr.ok("snapshot")
    source.client.admin.command(
        {"applyOps": [{"op": "c", "ns": "edge.$cmd", "o": {"create": "bare"}}]})
    source.client["edge"].bare.insert_one({"_id": 1})
    assert source.client["edge"].bare.index_information()["_id_"]["v"] == 1
    pitr.ok("tail", "--once")
    restore_equals(pitr, target, oracle.state_now(source.client), "--to", "latest")


@pytest.mark.parametrize("rename", [
    "edge.*=local.*", "edge.*=config.*", "edge.*=a b.*", f"edge.*={'d' * 64}.*",
    f"edge.*=x.{'c' * 252}_*", "edge.c=x.system.c", "edge.c=x.$c"])
def test_a_rename_to_a_name_no_server_takes_is_refused_before_the_target_is_touched(
        source, target, pitr, rename):
    source.client["edge"].c.insert_one({"_id": 0})
    target.client["mine"].c.insert_one({"_id": "precious"})
    pitr.ok("snapshot")
    before = oracle.state_now(target.client)
    pitr.fails(2, "restore", "--latest", "--rename", rename, "--target", target.uri, "--yes",
               says="--rename")
    oracle.assert_equal(before, oracle.state_now(target.client))
    assert pitr.ok("status")["problems"] == []


def test_a_rename_that_gives_a_view_the_name_of_a_collection_is_refused(source, target, pitr):
    source.client["edge"].c.insert_one({"_id": 0})
    source.client["edge"].command({"create": "v", "viewOn": "c", "pipeline": []})
    pitr.ok("snapshot")
    pitr.fails(2, "restore", "--latest", "--rename", "edge.c=x.same", "--rename", "edge.v=x.same",
               "--target", target.uri, "--yes", says="x.same")
    assert oracle.state_now(target.client).collections == {}


def on_terminal(command):
    """Exit code and all that the command shows on a terminal of 80 columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, clean_environment({"TERM": "xterm"}))
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            break
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_progress_counts_each_document_once(source, target, pitr):
    source.client["edge"].c.insert_many([{"_id": i, "pad": "x" * 1000} for i in range(60_000)])
    pitr.ok("snapshot")
    command = [a for a in pitr.command("restore", "--latest", "--target", target.uri,
                                       use_json=False) if a != "--no-progress"]
    rc, shown = on_terminal(command)
    assert rc == 0, shown
    counts = [int(n.replace(",", "")) for n in re.findall(r"load[^\r]*?([\d,]+) docs", shown)]
    assert counts, shown
    assert max(counts) <= 60_000, shown


def make_leftover(db, name):
    """What a time-series creation leaves that lost a race against an ordinary one."""
    db.create_collection(name)
    db[name].insert_one({"_id": 1})
    db.command({"create": f"system.buckets.{name}", "timeseries": {"timeField": "at"},
                "clusteredIndex": True})


def test_buckets_that_no_time_series_shows_do_no_harm(source, target, pitr):
    make_leftover(source.client["edge"], "c")
    make_leftover(source.client["edge"], "t")
    pitr.ok("snapshot")
    make_leftover(source.client["edge"], "d")
    make_leftover(source.client["edge"], "z")
    pitr.ok("tail", "--once")
    for name in ("c", "t"):
        make_leftover(target.client["edge"], name)
    pitr.restore("--to", "latest", "--drop", target=target.uri)
    db = target.client["edge"]
    assert sorted(db.list_collection_names()) == ["c", "d", "t", "z"]
    assert [list(db[name].find()) for name in "cdtz"] == [[{"_id": 1}]] * 4


def test_a_snapshot_while_an_index_of_a_series_is_built(target, tmp_path):
    """MongoDB 6.0 then fails to list the indexes of the buckets together with their builds."""
    with ReplicaSet(test_commands=True) as source:
        admin, db = source.client.admin, source.client["edge"]
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        db.create_collection("series", timeseries={"timeField": "at", "metaField": "m"})
        db.series.insert_many([{"at": EPOCH, "m": i, "v": i} for i in range(50)])
        db.series.create_index([("m", 1)], name="finished")
        hang = {"configureFailPoint": "hangAfterStartingIndexBuild"}
        admin.command({**hang, "mode": "alwaysOn"})
        build = threading.Thread(target=lambda: db.series.create_index([("v", -1)], name="late"))
        build.start()
        wait_for(lambda: len(db.command("listIndexes", "system.buckets.series")["cursor"]
                             ["firstBatch"]) == 2, 30, "index build")
        try:
            first = pitr.ok("snapshot")
        finally:
            admin.command({**hang, "mode": "off"})
            build.join()
        pitr.ok("tail", "--once")
        pitr.restore("--snapshot", first["id"], "--drop", target=target.uri)
        assert [i["name"] for i in target.client["edge"].series.list_indexes()] == ["finished"]
        restore_equals(pitr, target, oracle.state_now(source.client), "--to", "latest")
