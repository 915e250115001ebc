"""What the other live tests rely on: the oracle notices every kind of difference, reads the past
truly, and the writer really does all it is said to do."""

import bson
import pytest
from bson import Int64
from pymongo.errors import OperationFailure

from harness import oracle, workload
from harness.workload import Workload


def db_of(source):
    return source.client["harness"]


def differences_after(source, change):
    before = oracle.state_now(source.client, users=True)
    change(db_of(source))
    return oracle.compare(before, oracle.state_now(source.client, users=True))


CHANGES = {
    "a value": lambda db: db.c.update_one({"_id": 1}, {"$set": {"a": 2}}),
    "a type only": lambda db: db.c.update_one({"_id": 1}, {"$set": {"a": Int64(1)}}),
    "the order of fields": lambda db: db.c.replace_one({"_id": 2}, {"b": 1, "a": 1}),
    "the sign of zero": lambda db: db.c.update_one({"_id": 3}, {"$set": {"z": -0.0}}),
    "one document less": lambda db: db.c.delete_one({"_id": 1}),
    "one document more": lambda db: db.c.insert_one({"_id": 9}),
    "an empty collection more": lambda db: db.create_collection("empty"),
    "a collection less": lambda db: db.drop_collection("c"),
    "the name of a collection": lambda db: db.c.rename("d"),
    "an index more": lambda db: db.c.create_index("x"),
    "an index hidden": lambda db: db.command(
        {"collMod": "c", "index": {"name": "a_1_b_1", "hidden": True}}),
    "the order of index keys": lambda db: (db.c.drop_index("a_1_b_1"), db.c.create_index(
        [("b", 1), ("a", 1)], name="a_1_b_1")),
    "a validator": lambda db: db.command({"collMod": "c", "validator": {"a": {"$gt": 0}}}),
    "a view's pipeline": lambda db: db.command(
        {"collMod": "v", "viewOn": "c", "pipeline": [{"$match": {"a": 2}}]}),
    "the order of a capped collection": lambda db: (db.drop_collection("log"), make_log(db, [2, 1])),
    "a measurement": lambda db: db.series.insert_one({"at": workload.EPOCH, "v": 2}),
    "a user": lambda db: db.command({"createUser": "eve", "pwd": "x", "roles": []}),
}


def make_log(db, ids):
    db.create_collection("log", capped=True, size=4096)
    db.log.insert_many([{"_id": i} for i in ids])


@pytest.mark.parametrize("change", CHANGES)
def test_the_oracle_notices(source, change):
    db = db_of(source)
    db.command({"dropAllUsersFromDatabase": 1})
    db.c.insert_many([{"_id": 1, "a": 1}, {"_id": 2, "a": 1, "b": 1}, {"_id": 3, "z": 0.0}])
    db.c.create_index([("a", 1), ("b", 1)])
    db.command({"create": "v", "viewOn": "c", "pipeline": []})
    db.create_collection("series", timeseries={"timeField": "at"})
    make_log(db, [1, 2])
    assert differences_after(source, lambda db: None) == []
    assert differences_after(source, CHANGES[change]) != []
    db.command({"dropAllUsersFromDatabase": 1})


def test_a_new_insertion_order_is_no_difference(source):
    def reinsert(db):
        db.drop_collection("c")
        db.c.insert_many([{"_id": 2}, {"_id": 1}])
    db_of(source).c.insert_many([{"_id": 1}, {"_id": 2}])
    assert differences_after(source, reinsert) == []


def test_the_past_is_read_as_it_was_while_writers_go_on(source, seed):
    workload.prepare(source.client, seed)
    with Workload(source.client, seed) as writer:
        for _ in range(3):
            writer.pause()
            then, was = source.now(), oracle.state_now(source.client)
            writer.resume()
            writer.wait_done(200)
            oracle.assert_equal(oracle.without_capped(was), oracle.state_at(source.client, then))
            assert oracle.compare(was, oracle.state_now(source.client)) != []


def test_a_collection_dropped_since_is_not_taken_for_an_empty_one(source):
    db_of(source).c.insert_one({"_id": 1})
    then = source.now()
    db_of(source).drop_collection("c")
    with source.client.start_session() as session, pytest.raises(
            (oracle.Unreadable, OperationFailure)):
        oracle.read_at(source.client, session, "harness", "c", then)


def test_the_writer_does_everything_it_knows(source, seed):
    workload.prepare(source.client, seed)
    names = {kind.__name__ for kind, weight in workload.CRUD + workload.DDL if weight >= 0.5}
    with Workload(source.client, seed, mode="full", writers_pause=0) as writer:
        for _ in range(30):
            writer.wait_done(100)
            if not names - set(writer.done):
                break
    assert not names - set(writer.done), (names - set(writer.done), writer.refused)
    assert len(writer.points) > 100
    done, refused = sum(writer.done.values()), sum(writer.refused.values())
    assert refused < done, writer.refused


def test_the_documents_are_of_every_type(source, seed):
    workload.prepare(source.client, seed)
    with Workload(source.client, seed) as writer:
        writer.wait_done(500)
    types = set()
    for raw in oracle.state_now(source.client).collections[f"{workload.DATABASE}.c0"].documents:
        types |= {type(v).__name__ for v in bson.decode(raw).values()}
    assert types >= {"int", "Int64", "float", "str", "bool", "NoneType", "datetime", "Decimal128",
                     "ObjectId", "bytes", "Regex", "Timestamp", "dict", "list"}, types
