"""What a server does that its oplog shows in its own way: prepared transactions, index builds,
collations, every type, documents as large as they come, users and roles, series and capped
collections. Each test takes a snapshot, changes things, and asks for the moment back."""

import datetime
import threading
from contextlib import contextmanager

import bson
import pymongo
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo import IndexModel, ReturnDocument, UpdateOne

from harness import oracle
from harness.mongod import ReplicaSet, wait_for
from harness.pitr import Pitr, stamp
from harness.workload import EPOCH


@pytest.fixture(scope="module")
def shared_source():
    with ReplicaSet(test_commands=True) as rs:
        yield rs


def restores_now(source, target, pitr, users=False):
    """Captures what there is and compares the newest restorable moment with the source."""
    truth = oracle.state_now(source.client, users)
    pitr.ok("tail", "--once")
    done = pitr.restore("--to", "latest", "--drop", "--no-pre-snapshot", target=target.uri)
    oracle.assert_equal(truth, oracle.state_now(target.client, users))
    return done


def restores_at(target, pitr, truth, ts):
    pitr.restore("--to", stamp(ts), "--drop", "--no-pre-snapshot", target=target.uri)
    oracle.assert_equal(truth, oracle.state_now(target.client), f"state at {stamp(ts)}")


class Transaction:
    """A transaction by its raw commands, so that it can be prepared as a sharded cluster does."""

    def __init__(self, source):
        # A client of its own, so that nobody else ever uses the session.
        self.client = pymongo.MongoClient(source.uri, w="majority")
        self.session = self.client.start_session(causal_consistency=False)
        self.number = Int64(1)
        self.started = False

    def command(self, database, command):
        raw = {**command, "txnNumber": self.number, "autocommit": False}
        if not self.started:
            raw["startTransaction"] = True
            self.started = True
        return self.client[database].command(raw, session=self.session)

    def prepare(self):
        reply = self.command("admin", {"prepareTransaction": 1, "writeConcern": {"w": "majority"}})
        return reply["prepareTimestamp"]

    def commit(self, at=None):
        more = {"commitTimestamp": at} if at else {}
        return self.command("admin", {"commitTransaction": 1, **more})

    def abort(self):
        return self.command("admin", {"abortTransaction": 1})

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        if kind is not None and self.started:
            try:
                self.abort()
            except Exception:
                pass  # it has ended already
        self.session.end_session()
        self.client.close()


def write_in(txn, database, name, documents=(), updates=(), deletes=()):
    if documents:
        txn.command(database, {"insert": name, "documents": list(documents)})
    if updates:
        txn.command(database, {"update": name, "updates": [
            {"q": {"_id": k}, "u": u} for k, u in updates]})
    if deletes:
        txn.command(database, {"delete": name, "deletes": [
            {"q": {"_id": k}, "limit": 1} for k in deletes]})


def test_a_prepared_transaction_open_across_the_snapshot(source, target, pitr):
    coll = source.client["prep"].c
    coll.insert_many([{"_id": i, "n": i} for i in range(5)])
    with Transaction(source) as txn:
        write_in(txn, "prep", "c", [{"_id": 10}], [(1, {"$set": {"n": 100}})], [2])
        at = txn.prepare()
        coll.insert_one({"_id": 11})
        pitr.ok("snapshot")  # does not wait for it
        coll.insert_one({"_id": 12})
        restores_now(source, target, pitr)
        txn.commit(at)
    coll.insert_one({"_id": 13})
    restores_now(source, target, pitr)
    first = pitr.ok("list")["snapshots"][0]
    assert first["begin"]["t"] * 2**32 + first["begin"]["i"] <= at.time * 2**32 + at.inc


def test_a_prepared_transaction_open_at_the_moment_counts_by_its_commit_timestamp(
        source, target, pitr):
    coll = source.client["prep"].c
    coll.insert_many([{"_id": i, "n": i} for i in range(5)])
    pitr.ok("snapshot")
    before = coll.find_one({"_id": 1})
    with Transaction(source) as txn:
        write_in(txn, "prep", "c", [{"_id": 10}], [(1, {"$set": {"n": 100}})], [2])
        prepared = txn.prepare()
        coll.insert_one({"_id": 11})
        middle = source.now()
        commit = Timestamp(middle.time, middle.inc)
        coll.insert_one({"_id": 12})
        later = source.now()
        txn.commit(commit)
    truth = oracle.state_now(source.client)
    last = source.now()
    assert prepared < middle < later < last
    pitr.ok("tail", "--once")

    def at(ts):
        pitr.restore("--to", stamp(ts), "--drop", "--no-pre-snapshot", target=target.uri)
        found = target.client["prep"].c
        return {d["_id"] for d in found.find()}, found.find_one({"_id": 1})

    assert at(prepared) == ({0, 1, 2, 3, 4}, before)
    assert at(middle) == ({0, 1, 3, 4, 10, 11}, {"_id": 1, "n": 100})
    assert at(later) == ({0, 1, 3, 4, 10, 11, 12}, {"_id": 1, "n": 100})
    restores_at(target, pitr, truth, last)


def test_a_prepared_transaction_that_aborts_or_stays_open_is_left_out(source, target, pitr):
    coll = source.client["prep"].c
    coll.insert_one({"_id": 0})
    pitr.ok("snapshot")
    with Transaction(source) as txn:
        write_in(txn, "prep", "c", [{"_id": 1}])
        txn.prepare()
        txn.abort()
    with Transaction(source) as txn:
        write_in(txn, "prep", "c", [{"_id": 2}])
        txn.prepare()
        coll.insert_one({"_id": 3})
        try:
            restores_now(source, target, pitr)
        finally:
            txn.abort()
    restores_now(source, target, pitr)
    assert sorted(d["_id"] for d in target.client["prep"].c.find()) == [0, 3]


def test_a_large_prepared_transaction_spans_entries(source, target, pitr):
    coll = source.client["prep"].c
    coll.insert_one({"_id": "before"})
    with Transaction(source) as txn:
        for i in range(24):
            write_in(txn, "prep", "c", [{"_id": i, "pad": "x" * 900_000}])
        at = txn.prepare()
        prepared = source.client.local["oplog.rs"].find_one({"ts": at})
        assert prepared["o"]["prepare"] and prepared["o"]["count"] == 24
        pitr.ok("snapshot")
        coll.insert_one({"_id": "meanwhile"})
        txn.commit(at)
    restores_now(source, target, pitr)


@contextmanager
def hanging(source, failpoint):
    admin = source.client.admin
    admin.command({"configureFailPoint": failpoint, "mode": "alwaysOn"})
    try:
        yield
    finally:
        admin.command({"configureFailPoint": failpoint, "mode": "off"})


def test_an_index_build_from_before_the_snapshot_that_commits_after_the_moment(
        source, target, pitr):
    db = source.client["build"]
    db.c.insert_many([{"_id": i, "a": i, "b": -i} for i in range(20)])
    build = threading.Thread(target=lambda: db.command({"createIndexes": "c", "indexes": [
        {"key": {"a": 1}, "name": "a_1"}, {"key": {"b": 1}, "name": "b_1", "sparse": True}]}))
    with hanging(source, "hangAfterStartingIndexBuild"):
        build.start()
        wait_for(lambda: len(list(db.c.list_indexes())) == 3, 30, "index build")
        pitr.ok("snapshot")
        db.c.update_one({"_id": 1}, {"$set": {"a": 100}})
        moment = source.now()
    build.join()
    db.c.insert_one({"_id": "after"})
    restores_now(source, target, pitr)
    assert {i["name"] for i in target.client["build"].c.list_indexes()} == {"_id_", "a_1", "b_1"}
    pitr.restore("--to", stamp(moment), "--drop", target=target.uri)
    found = target.client["build"].c
    assert [i["name"] for i in found.list_indexes()] == ["_id_"]
    assert found.find_one({"_id": 1}) == {"_id": 1, "a": 100, "b": -1}


def test_an_index_build_that_fails_leaves_nothing(source, target, pitr):
    db = source.client["build"]
    db.c.insert_many([{"_id": i, "a": 1} for i in range(20)])
    pitr.ok("snapshot")
    with pytest.raises(Exception, match="duplicate key"):
        db.c.create_index("a", unique=True)
    db.c.create_index("a")
    restores_now(source, target, pitr)


def test_a_transaction_that_makes_a_collection_and_its_index(source, target, pitr):
    db = source.client["made"]
    pitr.ok("snapshot")
    with source.client.start_session() as session, session.start_transaction():
        db.create_collection("c", session=session)
        db.c.create_indexes([IndexModel("a", name="by_a", unique=True)], session=session)
        db.c.insert_many([{"_id": i, "a": i} for i in range(3)], session=session)
        db.other.insert_one({"_id": 1}, session=session)
    restores_now(source, target, pitr)


def test_ids_that_a_collation_tells_apart_or_not(source, target, pitr):
    db = source.client["coll"]
    for strength in (2, 3):
        db.create_collection(f"s{strength}", collation={"locale": "en", "strength": strength})
    db.s2.insert_many([{"_id": "abc", "n": 0}, {"_id": "x", "n": 0}])
    db.s3.insert_many([{"_id": "abc", "n": 0}, {"_id": "ABC", "n": 0}])
    pitr.ok("snapshot")
    # With strength 2 this is one document, whose _id is written in another way each time.
    db.s2.update_one({"_id": "ABC"}, {"$inc": {"n": 1}})
    db.s2.replace_one({"_id": "aBC"}, {"n": 2, "replaced": True})
    db.s2.delete_one({"_id": "X"})
    db.s2.insert_one({"_id": "X", "n": 5})
    db.s2.update_one({"_id": "x"}, {"$set": {"n": 6}})
    db.s2.update_one({"_id": "New"}, {"$set": {"n": 1}}, upsert=True)
    db.s2.update_one({"_id": "nEW"}, {"$set": {"n": 2}}, upsert=True)
    db.s3.update_one({"_id": "ABC"}, {"$inc": {"n": 1}})
    db.s3.delete_one({"_id": "abc"})
    restores_now(source, target, pitr)
    assert {d["_id"]: d["n"] for d in target.client["coll"].s2.find()} == {
        "abc": 2, "X": 6, "New": 2}


LIMIT = 16 * 1024 * 1024


def test_documents_as_large_as_a_server_takes(source, target, pitr):
    coll = source.client["large"].c
    overhead = len(bson.encode({"_id": 0, "pad": "", "n": 0}))
    pad = "x" * (LIMIT - overhead)
    coll.insert_one({"_id": 0, "pad": pad, "n": 0})
    coll.insert_one({"_id": 1, "pad": "small", "n": 0})
    pitr.ok("snapshot")
    coll.update_one({"_id": 0}, {"$set": {"n": 7}})
    coll.insert_one({"_id": 2, "pad": pad, "n": 1})
    coll.replace_one({"_id": 1}, {"_id": 1, "pad": pad, "n": 2})
    coll.update_one({"_id": 1}, {"$inc": {"n": 1}})
    restores_now(source, target, pitr)


ODD_VALUES = {
    "double": -0.0, "nan": float("nan"), "inf": float("-inf"), "string": "nul\0inside",
    "empty": "", "array": [], "binary": Binary(b"\0\1", 128), "old binary": Binary(b"abc", 2),
    "uuid": Binary(b"0123456789abcdef", 4), "old uuid": Binary(b"0123456789abcdef", 3),
    "oid": ObjectId(b"0123456789ab"), "false": False, "date": EPOCH,
    "early": datetime.datetime(1, 1, 1), "null": None, "regex": Regex("a\u00e4(", "imsx"),
    "code": Code("f()"), "scoped": Code("f()", {"x": 1, "": {"$a": 2}}), "int": -1,
    "long": Int64(1), "ts": Timestamp(1, 2), "zero ts": Timestamp(0, 0), "min": MinKey(),
    "max": MaxKey(), "ref": DBRef("c", 1, "d"), "dec": Decimal128("1.10"),
    "dec nan": Decimal128("NaN"), "dec snan": Decimal128("sNaN"), "dec inf": Decimal128("-Infinity"),
    "dec zero": Decimal128("-0E+10"), "": "empty name", "dots.in.name": 1, "$dollar": 1,
    "deep": {"": {"": [{"": 1}]}, "a.b": {"$c": [None]}},
}


def element(kind, name, value):
    return bytes([kind]) + name.encode() + b"\0" + value


def text(value):
    raw = value.encode() + b"\0"
    return len(raw).to_bytes(4, "little") + raw


def document(*elements):
    body = b"".join(elements) + b"\0"
    return (len(body) + 4).to_bytes(4, "little") + body


def int32(value):
    return value.to_bytes(4, "little", signed=True)


# Types that the driver reads but does not write.
OLD_TYPES = [(0x06, b""), (0x0c, text("db.c") + b"0123456789ab"), (0x0e, text("symbol"))]


def test_every_type_in_values(source, target, pitr):
    db = source.client["types"]
    db.c.insert_many([{"_id": k, "v": 0} for k in ODD_VALUES])
    pitr.ok("snapshot")
    db.c.bulk_write([UpdateOne({"_id": k}, [{"$set": {"v": {"$literal": v}}}])
                     for k, v in ODD_VALUES.items()])
    db.c.insert_one({"_id": "all", **{k: v for k, v in ODD_VALUES.items() if k}})
    db.c.insert_one({"_id": "names", "": 1, "a.b": 2, "$c": 3, "d": {"": 4, "$e": 5, "f.g": 6}})
    db.c.update_one({"_id": "names"}, [{"$replaceWith": {"$setField": {
        "field": "a.b", "input": "$$ROOT", "value": 7}}}])
    raw = source.client["types"]
    for i, (kind, value) in enumerate(OLD_TYPES):
        raw.old.insert_one(RawBSONDocument(document(element(0x10, "_id", int32(i)),
                                                    element(kind, "v", value))))
        raw.old.insert_one(RawBSONDocument(document(element(0x10, "_id", int32(10 + i)))))
        raw.old.update_one({"_id": 10 + i}, RawBSONDocument(document(
            element(0x03, "$set", document(element(kind, "x", value))))))
    restores_now(source, target, pitr)


def test_every_type_as_an_id(source, target, pitr):
    db = source.client["types"]
    ids = [v for v in ODD_VALUES.values() if not isinstance(v, (list, Regex, DBRef))
           and v != ODD_VALUES["deep"]]
    ids += [{"a": 1, "b": [1, 2]}, {"": 0}, Int64(2**62), 2.5, Decimal128("2.50"), True,
            "\0", "a", "a\0", Binary(b""), Code(""), {"a": Decimal128("1")}]
    unique = []
    for i, key in enumerate(ids):
        try:
            db.ids.insert_one({"_id": key, "n": i})
            unique.append(key)
        except Exception:
            continue  # equal to one before it, or no _id at all
    for kind, value in OLD_TYPES:
        try:
            db.ids.insert_one(RawBSONDocument(document(element(kind, "_id", value),
                                                       element(0x10, "n", int32(1)))))
        except Exception:
            continue
    assert len(unique) >= 25
    pitr.ok("snapshot")
    db.ids.update_many({}, {"$inc": {"n": 1000}})
    for key in unique[::3]:
        db.ids.delete_one({"_id": key})
    for key in unique[::6]:
        db.ids.insert_one({"_id": key, "again": True})
    # The same number in another type is the same document.
    db.ids.update_one({"_id": 2**62}, {"$set": {"found": "by double or long"}})
    db.ids.replace_one({"_id": Decimal128("2.5")}, {"replaced": True})
    restores_now(source, target, pitr)


def test_users_and_roles_that_change_after_the_snapshot(source, target, pitr):
    admin, db = source.client.admin, source.client["acc"]

    def clean(client):
        client["acc"].command({"dropAllUsersFromDatabase": 1})
        for name in ("acc", "admin"):
            client[name].command({"dropAllRolesFromDatabase": 1})

    try:
        db.c.insert_one({"_id": 1})
        for name in ("kept", "doomed", "changed"):
            admin.command({"createRole": name, "roles": [], "privileges": [
                {"resource": {"db": "acc", "collection": ""}, "actions": ["find"]}]})
            db.command({"createUser": name, "pwd": "one", "roles": [
                {"role": name, "db": "admin"}]})
        pitr.ok("snapshot")
        moment = source.now()
        truth = oracle.state_now(source.client, users=True)
        admin.command({"dropRole": "doomed"})
        admin.command({"updateRole": "changed", "roles": ["readAnyDatabase"]})
        db.command({"createRole": "new", "roles": ["read"], "privileges": []})
        db.command({"dropUser": "doomed"})
        db.command({"updateUser": "changed", "pwd": "two", "customData": {"x": 1}})
        db.command({"grantRolesToUser": "kept", "roles": ["new"]})
        restores_now(source, target, pitr, users=True)
        pitr.restore("--to", stamp(moment), "--drop", target=target.uri)
        oracle.assert_equal(truth, oracle.state_now(target.client, users=True))
    finally:
        clean(source.client)
        clean(target.client)


def measurements(first, count, sensor="s"):
    return [{"at": EPOCH + datetime.timedelta(seconds=i), "m": sensor, "v": i * 1.5, "w": f"x{i}"}
            for i in range(first, first + count)]


def test_series_that_grow_and_are_compressed_after_the_snapshot(source, target, pitr):
    db = source.client["series"]
    db.create_collection("t", timeseries={"timeField": "at", "metaField": "m"})
    db.t.insert_many(measurements(0, 10))
    pitr.ok("snapshot")
    for first in range(10, 1300, 129):
        db.t.insert_many(measurements(first, 129))
    db.t.insert_many([{**m, "new": [1, {"a": 2}]} for m in measurements(2000, 5, "other")])
    grown = source.now()
    truth = oracle.state_now(source.client)
    assert any(b["control"]["version"] == 2 for b in db["system.buckets.t"].find())
    db.command({"collMod": "t", "timeseries": {"granularity": "hours"}})
    db.t.delete_many({"m": "other"})
    db.create_collection("young", timeseries={"timeField": "at"}, expireAfterSeconds=10**9)
    db.young.insert_many([{"at": EPOCH, "v": i} for i in range(50)])
    db.t.create_index([("m", 1), ("at", -1)], name="by_m")
    restores_now(source, target, pitr)
    restores_at(target, pitr, truth, grown)


def test_conversion_to_capped(source, target, pitr):
    db = source.client["conv"]
    db.c.insert_many([{"_id": i, "pad": "x" * 100} for i in range(300)])
    db.c.create_index("pad", name="lost")
    pitr.ok("snapshot")
    db.c.update_one({"_id": 299}, {"$set": {"pad": "changed"}})
    db.command({"convertToCapped": "c", "size": 16384})
    db.c.insert_many([{"_id": i, "pad": "y" * 100} for i in range(1000, 1040)])
    assert db.c.count_documents({}) < 200
    restores_now(source, target, pitr)


def test_capped_collections_that_are_updated_and_deleted_from(source, target, pitr):
    db = source.client["ring"]
    db.create_collection("r", capped=True, size=8192, max=20)
    db.r.insert_many([{"_id": i, "n": i} for i in range(18)])
    pitr.ok("snapshot")
    db.r.update_many({"n": {"$gt": 5}}, {"$inc": {"n": 100}})
    db.r.delete_many({"_id": {"$in": [3, 9, 17]}})
    db.r.insert_many([{"_id": i, "n": i} for i in range(20, 40)])
    db.r.insert_one({"_id": 3, "n": "again"})
    restores_now(source, target, pitr)


def test_clustered_collections_with_expiry(source, target, pitr):
    db = source.client["clust"]
    db.create_collection("c", clusteredIndex={"key": {"_id": 1}, "unique": True, "name": "by id"},
                         expireAfterSeconds=10**9)
    db.c.insert_many([{"_id": EPOCH + datetime.timedelta(days=i), "n": i} for i in range(20)])
    pitr.ok("snapshot")
    db.c.delete_many({"n": {"$lt": 5}})
    db.c.update_many({}, {"$inc": {"n": 1}})
    db.c.insert_one({"_id": "no date"})
    db.command({"collMod": "c", "expireAfterSeconds": 10**9 + 1})
    restores_now(source, target, pitr)


def test_images_of_find_and_modify(source, target, pitr):
    coll = source.client["fam"].c
    coll.insert_many([{"_id": i, "n": 0} for i in range(5)])
    pitr.ok("snapshot")
    coll.find_one_and_update({"_id": 0}, {"$inc": {"n": 1}}, return_document=ReturnDocument.AFTER)
    coll.find_one_and_replace({"_id": 1}, {"replaced": True})
    coll.find_one_and_delete({"_id": 2})
    coll.find_one_and_update({"_id": 9}, {"$set": {"n": 5}}, upsert=True)
    assert source.client.local["oplog.rs"].find_one(
        {"ns": "fam.c", "needsRetryImage": {"$exists": True}})
    restores_now(source, target, pitr)


def test_the_same_with_images_in_the_oplog(source, target, pitr):
    admin, coll = source.client.admin, source.client["fam"].c
    coll.insert_many([{"_id": i, "n": 0} for i in range(5)])
    pitr.ok("snapshot")
    name = "storeFindAndModifyImagesInSideCollection"
    admin.command({"setParameter": 1, name: False})
    try:
        coll.find_one_and_update({"_id": 0}, {"$inc": {"n": 1}})
        coll.find_one_and_delete({"_id": 2})
    finally:
        admin.command({"setParameter": 1, name: True})
    assert source.client.local["oplog.rs"].find_one(
        {"ns": "fam.c", "preImageOpTime": {"$exists": True}})
    restores_now(source, target, pitr)


def test_what_an_administrator_does_with_apply_ops(source, target, pitr):
    db, admin = source.client["adm"], source.client.admin
    db.c.insert_many([{"_id": i, "n": i} for i in range(5)])
    pitr.ok("snapshot")
    admin.command({"applyOps": [
        {"op": "i", "ns": "adm.c", "o": {"_id": 1, "over": True}},
        {"op": "d", "ns": "adm.c", "o": {"_id": 77}},
        {"op": "u", "ns": "adm.c", "o2": {"_id": 50}, "o": {"$v": 2, "diff": {"i": {"a": 1}}}},
        {"op": "u", "ns": "adm.c", "o2": {"_id": 2}, "o": {"$v": 2, "diff": {"u": {"n": 22}}}}]})
    admin.command({"applyOps": [{"op": "u", "ns": "adm.c", "o2": {"_id": 3},
                                 "o": {"$v": 2, "diff": {"u": {"n": 33}}}}], "alwaysUpsert": False})
    admin.command({"applyOps": [
        {"op": "c", "ns": "adm.$cmd", "o": {"create": "d"}},
        {"op": "i", "ns": "adm.d", "o": {"_id": 1}},
        {"op": "c", "ns": "adm.$cmd", "o": {"renameCollection": "adm.d", "to": "adm.e"}},
        {"op": "c", "ns": "admin.$cmd", "o": {"applyOps": [
            {"op": "i", "ns": "adm.e", "o": {"_id": 2}}]}}]})
    assert sorted(d["_id"] for d in db.c.find()) == [0, 1, 2, 3, 4, 50]
    restores_now(source, target, pitr)


def test_collection_and_index_modifications(source, target, pitr):
    db = source.client["mods"]
    db.c.insert_many([{"_id": i, "a": i} for i in range(5)])
    db.c.create_index("a", name="a_1")
    db.c.create_index("t", name="t_1", expireAfterSeconds=10**9)
    db.create_collection("ring", capped=True, size=8192, max=20)
    pitr.ok("snapshot")
    truths = []

    def change(**command):
        db.command(command)
        truths.append((source.now(), oracle.state_now(source.client)))

    change(collMod="c", validationLevel="moderate")
    change(collMod="c", validator={"a": {"$gte": 0}})
    change(collMod="c", validator={})
    change(collMod="c", index={"name": "a_1", "hidden": True})
    change(collMod="c", index={"name": "a_1", "prepareUnique": True})
    change(collMod="c", index={"name": "a_1", "unique": True})
    change(collMod="c", index={"keyPattern": {"t": 1}, "expireAfterSeconds": 10**8})
    change(collMod="c", index={"name": "a_1", "hidden": False})
    change(collMod="c", changeStreamPreAndPostImages={"enabled": True})
    change(collMod="ring", cappedSize=16384, cappedMax=40)
    pitr.ok("tail", "--once")
    for ts, truth in truths[::3] + truths[-1:]:
        restores_at(target, pitr, truth, ts)


def test_setting_the_compatibility_version_that_there_is_changes_nothing(source, target, pitr):
    source.client["fcv"].c.insert_one({"_id": 1})
    pitr.ok("snapshot")
    source.client.admin.command({"setFeatureCompatibilityVersion": "6.0"})
    source.client["fcv"].c.insert_one({"_id": 2})
    restores_now(source, target, pitr)


def test_a_change_of_compatibility_version_wants_a_new_snapshot(target, tmp_path):
    with ReplicaSet() as source:
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        source.client["fcv"].c.insert_one({"_id": 1})
        pitr.ok("snapshot")
        source.client["fcv"].c.insert_one({"_id": 2})
        before = source.now()
        truth = oracle.state_now(source.client)
        source.client.admin.command({"setFeatureCompatibilityVersion": "5.0"})
        source.client["fcv"].c.insert_one({"_id": 3})
        pitr.ok("tail", "--once")
        pitr.fails(6, "restore", "--to", "latest", "--target", target.uri, "--yes", "--drop",
                   says=["compatibility version", "new snapshot"])
        restores_at(target, pitr, truth, before)
        pitr.ok("snapshot")
        source.client["fcv"].c.update_one({"_id": 3}, {"$set": {"a": 1}})
        restores_now(source, target, pitr)
