"""Snapshots: everything a database can hold, read while it changes, and cheap the second time."""

import random
import threading

from bson import ObjectId, Timestamp
from pymongo import IndexModel

from harness import oracle, workload
from harness.mongod import Standalone
from harness.pitr import Pitr, stamp
from harness.workload import Workload

FIELDS = ("id", "mode", "begin", "t_start", "t_end", "collections", "documents", "bytes_raw",
          "bytes_new", "bytes_stored", "chunks", "chunks_new", "seconds")


def make_every_kind(client):
    db = client["kinds"]
    db.create_collection("plain")
    db.create_collection("capped", capped=True, size=1 << 16, max=50)
    db.create_collection("collated", collation={"locale": "sv", "strength": 2})
    db.create_collection("clustered", clusteredIndex={"key": {"_id": 1}, "unique": True})
    db.create_collection("expiring", expireAfterSeconds=10**8,
                         clusteredIndex={"key": {"_id": 1}, "unique": True})
    db.create_collection("validated", validator={"n": {"$type": "int"}}, validationLevel="moderate",
                         validationAction="warn")
    db.create_collection("images", changeStreamPreAndPostImages={"enabled": True})
    db.create_collection("series", timeseries={"timeField": "at", "metaField": "m",
                                               "granularity": "hours"}, expireAfterSeconds=10**8)
    db.create_collection("empty")
    db.create_collection("engine", storageEngine={
        "wiredTiger": {"configString": "block_compressor=zlib"}})
    # Named against the order in which they must be made.
    db.command({"create": "m_view", "viewOn": "plain", "pipeline": [{"$match": {"n": 1}}],
                "collation": {"locale": "fr"}})
    db.command({"create": "a_view_on_view", "viewOn": "m_view", "pipeline": [],
                "collation": {"locale": "fr"}})
    rng = random.Random(1)
    for name in ("plain", "capped", "collated", "validated", "images"):
        db[name].insert_many([workload.document(rng, ObjectId(rng.randbytes(12)))
                              for _ in range(80)])
    db.clustered.insert_many([{"_id": i} for i in range(80)])
    db.series.insert_many([{"at": workload.EPOCH, "m": i % 3, "v": i} for i in range(80)])
    db.plain.create_indexes([
        IndexModel([("n", 1), ("s", -1)]), IndexModel("u", unique=True, sparse=True),
        IndexModel("s", partialFilterExpression={"n": {"$gt": 3}}, name="part"),
        IndexModel("t", expireAfterSeconds=10**8), IndexModel([("h", "hashed")]),
        IndexModel([("$**", 1)], wildcardProjection={"o": 1, "s": 1}),
        IndexModel([("g", "2dsphere"), ("n", 1)]), IndexModel([("g2", "2d")], bits=20, min=-10, max=10),
        IndexModel([("a", "text"), ("b", "text")], weights={"a": 5}, default_language="german"),
        IndexModel("c", collation={"locale": "de", "strength": 1}, name="coll"),
        IndexModel("hid", hidden=True)])
    db.series.create_index([("m", 1), ("at", -1)])
    client["another"].c.insert_one({"_id": 1})


def test_every_kind_of_collection_and_index_comes_back(source, target, pitr):
    make_every_kind(source.client)
    truth = oracle.state_now(source.client)
    done = pitr.ok("snapshot")
    assert not [f for f in FIELDS if f not in done]
    assert done["documents"] >= truth.documents()
    pitr.restore("--snapshot", done["id"], "--drop", target=target.uri)
    oracle.assert_equal(truth, oracle.state_now(target.client))


def test_a_snapshot_under_load_is_the_state_at_its_t_end(source, target, pitr, seed):
    workload.prepare(source.client, seed, documents=3000)
    with Workload(source.client, seed, writers_pause=0) as writer:
        writer.wait_done(50)
        done = pitr.ok("snapshot", "--mode", "scan")
        writer.wait_done(50)
        t_end = Timestamp(done["t_end"]["t"], done["t_end"]["i"])
        truth = oracle.state_at(source.client, t_end)
    # No tailer ran: the snapshot captured its own window.
    pitr.restore("--snapshot", done["id"], "--drop", target=target.uri)
    oracle.assert_equal(truth, oracle.without_capped(oracle.state_now(target.client)))


def test_a_transaction_open_across_the_snapshot_counts_when_it_commits(source, target, pitr):
    coll = source.client["open"].c
    coll.insert_one({"_id": 0})
    with source.client.start_session() as session:
        session.start_transaction()
        coll.insert_one({"_id": 1}, session=session)
        coll.update_one({"_id": 0}, {"$set": {"changed": True}}, session=session)
        done = pitr.ok("snapshot")
        before = source.now()
        session.commit_transaction()
    pitr.ok("tail", "--once")
    pitr.restore("--snapshot", done["id"], "--drop", target=target.uri)
    assert list(target.client["open"].c.find()) == [{"_id": 0}]
    pitr.restore("--to", stamp(before), "--drop", target=target.uri)
    assert list(target.client["open"].c.find()) == [{"_id": 0}]
    pitr.restore("--to", "latest", "--drop", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))


def test_a_second_snapshot_of_the_same_data_stores_almost_nothing(source, pitr):
    rng = random.Random(2)
    for name in ("a", "b"):
        source.client["same"][name].insert_many(
            [{"_id": i, "pad": rng.randbytes(500)} for i in range(8000)])
    first = pitr.ok("snapshot", "--mode", "scan")
    assert first["bytes_raw"] > 8_000_000
    assert first["chunks_new"] > 50
    second = pitr.ok("snapshot", "--mode", "scan")
    assert second["bytes_raw"] == first["bytes_raw"]
    assert second["chunks_new"] <= 2
    assert second["bytes_stored"] < first["bytes_stored"] / 50
    assert second["id"] != first["id"]


def test_a_namespace_in_exclude_collections_is_left_out(source, target, tmp_path):
    db = source.client["shop"]
    for name in ("orders", "tmp_import", "tmp_old"):
        db[name].insert_one({"_id": name})
    source.client["other"].tmp_import.insert_one({"_id": 1})
    config = tmp_path / "pitr.yaml"
    config.write_text('excludeCollections: ["shop.tmp_*"]\n')
    pitr = Pitr(tmp_path / "repo", source.uri, config=config).init()
    pitr.ok("snapshot")
    db.tmp_import.insert_one({"_id": "after"})
    db.orders.insert_one({"_id": "after"})
    pitr.ok("tail", "--once")
    pitr.restore("--to", "latest", "--drop", target=target.uri)
    kept = oracle.state_now(source.client).only(lambda ns: not ns.startswith("shop.tmp_"))
    oracle.assert_equal(kept, oracle.state_now(target.client))


def test_a_standalone_server_can_be_snapshotted_and_restored(target, tmp_path):
    with Standalone() as alone:
        alone.client["solo"].c.insert_many([{"_id": i} for i in range(100)])
        alone.client["solo"].c.create_index("x")
        pitr = Pitr(tmp_path / "repo", alone.uri).init()
        done = pitr.ok("snapshot")
        pitr.restore("--snapshot", done["id"], "--drop", target=target.uri)
        oracle.assert_equal(oracle.state_now(alone.client), oracle.state_now(target.client))


def test_list_shows_every_snapshot_and_what_is_restorable(source, pitr):
    source.client["listed"].c.insert_one({"_id": 1})
    made = [pitr.ok("snapshot")["id"] for _ in range(2)]
    pitr.ok("tail", "--once")
    listed = pitr.ok("list")
    assert sorted(s["id"] for s in listed["snapshots"]) == sorted(made)
    assert listed["restorable"], listed
    assert not [f for f in ("id", "mode", "finished", "t_end", "collections", "documents", "bytes_raw")
                if f not in listed["snapshots"][0]]


def test_nothing_is_written_to_the_source(source, pitr):
    source.client["quiet"].c.insert_one({"_id": 1})
    before = source.now()
    pitr.ok("snapshot")
    pitr.ok("tail", "--once")
    written = list(source.client.local["oplog.rs"].find(
        {"ts": {"$gt": before}, "op": {"$ne": "n"}, "ns": {"$not": {"$regex": "^config\\."}}}))
    assert written == []


def test_two_snapshots_at_once_do_no_harm(source, target, pitr):
    source.client["both"].c.insert_many([{"_id": i, "pad": "x" * 1000} for i in range(3000)])
    results = []
    threads = [threading.Thread(target=lambda: results.append(pitr.run("snapshot")))
               for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    # One may find the repository busy, which is an answer; any other failure is not.
    assert sorted(r.rc for r in results) in ([0, 0], [0, 7]), [str(r) for r in results]
    pitr.ok("verify", "--data")
    pitr.restore("--latest", "--drop", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))
