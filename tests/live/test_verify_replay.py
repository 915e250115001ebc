"""`verify --replay`: the oplog replayed from one scanned snapshot gives the next one."""

import pymongo
from bson import Timestamp

from harness import workload
from harness.mongod import ReplicaSet
from harness.pitr import Pitr
from harness.workload import Workload


def test_replay_between_scans_under_load_is_proven(source, pitr, seed):
    print(f"SEED={seed}")
    workload.prepare(source.client, seed)
    with Workload(source.client, seed, mode="full") as writer, pitr.tail("--interval", "2"):
        writer.wait_done(100)
        pitr.ok("snapshot")
        writer.wait_done(300)
        pitr.ok("snapshot")
        writer.wait_done(300)
        pitr.ok("snapshot", "--mode", "scan")
    done = pitr.ok("verify", "--replay")
    assert len(done["proven"]) == 2 and not done["unproven"] and not done["problems"], done


def test_one_snapshot_proves_nothing_and_says_so(source, pitr):
    pitr.ok("snapshot")
    done = pitr.run("verify", "--replay", use_json=False)
    assert done.rc == 0 and "nothing could be proven" in done.stdout, str(done)


def test_a_gap_between_scans_is_unproven_not_damaged(tmp_path):
    with ReplicaSet(oplog_mb=2, sync_delay=1) as rs:
        pitr = Pitr(tmp_path / "repo", rs.uri).init()
        rs.client["a"].c.insert_one({"_id": 1})
        first = pitr.ok("snapshot")["t_end"]
        rs.client["a"].c.insert_one({"_id": 2})
        rs.roll_oplog_over(Timestamp(first["t"], first["i"]))
        pitr.run("tail", "--once")
        pitr.ok("snapshot", "--mode", "scan")
        done = pitr.ok("verify", "--replay")
        assert not done["proven"] and len(done["unproven"]) == 1 and done["gaps"] == 1, done


def without_replication(rs, change):
    """Lets change(client) write to the only node of a set while it keeps no oplog."""
    node = rs.nodes[0]
    node.stop()
    whole = node.command
    at = whole.index("--replSet")
    node.command = whole[:at] + whole[at + 2:]
    node.start()
    client = pymongo.MongoClient(node.address, directConnection=True)
    change(client)
    client.close()
    node.stop()
    node.command = whole
    node.start()
    rs.wait_primary()


def test_a_change_that_the_oplog_lacks_is_found(tmp_path):
    with ReplicaSet() as rs:
        pitr = Pitr(tmp_path / "repo", rs.uri).init()
        db = rs.client["shop"]
        db.c.insert_many([{"_id": i, "n": i} for i in range(50)])
        db.d.insert_one({"_id": 1})
        db.e.create_index("t", expireAfterSeconds=10**8, name="ttl")
        pitr.ok("snapshot")
        db.c.update_one({"_id": 7}, {"$set": {"n": 70}})
        pitr.ok("tail", "--once")

        def change(client):
            client["shop"].c.update_one({"_id": 8}, {"$set": {"n": 80}})
            client["shop"].d.drop()
            client["shop"].command({"collMod": "e", "index": {"name": "ttl",
                                                              "expireAfterSeconds": 10**7}})
        without_replication(rs, change)
        pitr.ok("tail", "--once")
        pitr.ok("snapshot", "--mode", "scan")
        failed = pitr.run("verify", "--replay")
        assert failed.rc == 5, str(failed)
        text = "\n".join(failed.json["problems"])
        assert len(failed.json["problems"]) == 3, text
        for words in ("shop.c: replay gives 50 documents", "shop.d: replay gives it",
                      "shop.e: ttl: expireAfterSeconds differs"):
            assert words in text, text
