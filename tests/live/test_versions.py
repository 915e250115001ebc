"""Servers of 4.4, 5.0 and 6.0: what differs between them, and moving from one to the next.

That every moment comes back is shown for each version by test_pitr_exact.py."""

import pytest

from harness import mongod, oracle, workload
from harness.mongod import ReplicaSet
from harness.pitr import Pitr, stamp
from harness.sweep import run_in_version
from harness.workload import Workload

OLD = [v for v in mongod.VERSIONS if v != mongod.NEWEST]


@pytest.fixture(scope="module", params=mongod.VERSIONS)
def pair(request):
    """A source and a target of one version."""
    run_in_version(request.param)
    with ReplicaSet(version=request.param) as source, ReplicaSet(version=request.param) as target:
        yield source, target


@pytest.fixture
def same(pair, tmp_path):
    source, target = pair
    source.wipe()
    target.wipe()
    return source, target, Pitr(tmp_path / "repo", source.uri).init()


def comes_back(pitr, source, target):
    source.settle()
    pitr.ok("tail", "--once")
    pitr.restore("--to", "latest", "--drop", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client),
                        own_pace=not source.features.logs_evictions)


def test_the_server_is_of_the_version_that_was_asked_for(pair):
    source, _ = pair
    assert source.client.server_info()["version"].startswith(source.version + ".")


def test_what_a_coll_mod_leaves_unsaid_is_as_on_the_server(same):
    """From 6.0 on a collMod of anything else takes recordPreImages away."""
    source, target, pitr = same
    db = source.client["mods"]
    pitr.ok("snapshot")
    for name, change in {"a": {"validationLevel": "off"}, "b": {"recordPreImages": True},
                         "c": {"index": {"name": "n_1", "hidden": True}}}.items():
        db.create_collection(name, recordPreImages=True)
        db[name].create_index("n")
        db.command({"collMod": name, **change})
    if source.features.images:
        db.create_collection("d", changeStreamPreAndPostImages={"enabled": True})
        db.command({"collMod": "d", "recordPreImages": True})
    comes_back(pitr, source, target)


def test_new_fields_stand_where_the_server_put_them(same):
    """Modifiers are applied in an order that is not the one they are logged in."""
    source, target, pitr = same
    coll = source.client["order"].c
    coll.insert_many([{"_id": i, "pad": "x" * 200} for i in range(3)])
    pitr.ok("snapshot")
    coll.update_one({"_id": 0}, {"$set": {"c": 1, "10": 1, "9": 1, "a": 1}})
    coll.update_one({"_id": 1}, {"$set": {"q.10": 1, "q.9": 1, "n.m.o": 1}})
    coll.update_one({"_id": 2}, [{"$set": {"z": 1, "b": {"y": 2, "a": 3}}}])
    comes_back(pitr, source, target)


def test_an_id_that_a_capped_collection_has_lost_may_come_again(same):
    source, target, pitr = same
    db = source.client["capped"]
    db.create_collection("c", capped=True, size=4096, max=3)
    db.c.insert_many([{"_id": f"first {i}", "round": 0} for i in range(3)])
    pitr.ok("snapshot")
    for i in range(40):
        db.c.insert_one({"_id": i % 7, "round": 1 + i // 7})
    comes_back(pitr, source, target)
    assert [d["_id"] for d in target.client["capped"].c.find()] == [2, 3, 4]


def test_a_capped_collection_keeps_its_newest_document_however_large(same):
    source, target, pitr = same
    if not source.features.logs_evictions:
        pytest.skip("4.4 refuses a document that is larger than its collection may be")
    source.client["capped"].create_collection("c", capped=True, size=4096)
    pitr.ok("snapshot")
    source.client["capped"].c.insert_many([{"_id": 1}, {"_id": 2, "pad": "x" * 6000}])
    comes_back(pitr, source, target)
    assert [d["_id"] for d in target.client["capped"].c.find()] == [2]


def test_images_of_retryable_writes_are_no_documents(same):
    source, target, pitr = same
    coll = source.client["images"].c
    coll.insert_many([{"_id": i, "n": i} for i in range(9)])
    pitr.ok("snapshot")
    coll.find_one_and_update({"_id": 1}, {"$inc": {"n": 1}}, return_document=True)
    coll.find_one_and_replace({"_id": 2}, {"m": 1})
    coll.find_one_and_delete({"_id": 3})
    comes_back(pitr, source, target)


def test_users_and_roles_come_back(same):
    source, target, pitr = same
    db = source.client["accounts"]
    for rs in (source, target):
        rs.client["accounts"].command({"dropAllUsersFromDatabase": 1})
        rs.client["accounts"].command({"dropAllRolesFromDatabase": 1})
    pitr.ok("snapshot")
    db.command({"createRole": "reader", "roles": [], "privileges": [
        {"resource": {"db": "accounts", "collection": ""}, "actions": ["find"]}]})
    db.command({"createUser": "eve", "pwd": "x", "roles": ["reader"]})
    truth = oracle.state_now(source.client, users=True)
    source.settle()
    pitr.ok("tail", "--once")
    pitr.restore("--to", "latest", "--drop", target=target.uri)
    found = oracle.state_now(target.client, users=True)
    assert len(found.users) == 1 and len(found.roles) == 1
    oracle.assert_equal(truth, found)


@pytest.mark.parametrize("version", OLD)
def test_an_old_source_is_restored_into_a_new_server(version, seed, target, tmp_path):
    run_in_version(version)
    with ReplicaSet(version=version) as source:
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        workload.prepare(source.client, seed, features=source.features)
        with Workload(source.client, seed, mode="full") as writer:
            writer.wait_done(100)
            pitr.ok("snapshot")
            writer.wait_done(400)
            writer.pause()
            ts, truth = source.now(), oracle.state_now(source.client)
            writer.resume()
            writer.wait_done(50)
        pitr.ok("tail", "--once")
        pitr.restore("--to", stamp(ts), "--drop", target=target.uri)
        found = oracle.state_now(target.client)
        oracle.assert_equal(truth, found, own_pace=not source.features.logs_evictions)
