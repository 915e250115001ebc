"""Restores: exact with --drop, selective with --ns and --rename, safe by default, repeatable."""

import signal
import subprocess
import time
import uuid

import pytest
from bson import json_util

from harness import oracle, workload
from harness.pitr import clean_environment, stamp


def fill(client):
    for database in ("shop", "blog"):
        for name in ("orders", "items"):
            coll = client[database][name]
            coll.insert_many([{"_id": i, "db": database, "n": i} for i in range(200)])
            coll.create_index("n", name="by_n")


@pytest.fixture
def filled(source, pitr):
    """A repository with one snapshot of four collections and a few changes after it."""
    fill(source.client)
    pitr.first = pitr.ok("snapshot")
    source.client["shop"].orders.update_many({}, {"$inc": {"n": 1000}})
    pitr.ok("tail", "--once")
    return pitr


def test_drop_makes_the_target_exactly_the_past(source, target, filled):
    target.client["shop"].orders.insert_one({"_id": "stranger"})
    target.client["shop"].unknown.insert_one({"_id": 1})
    target.client["unknown"].c.insert_one({"_id": 1})
    filled.restore("--to", "latest", "--drop", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))


def test_a_report_agrees_with_what_is_there(source, target, filled):
    done = filled.restore("--to", "latest", target=target.uri)
    truth = oracle.state_now(source.client)
    assert done["verified"] is True
    assert done["snapshot"] == filled.first["id"]
    assert done["documents"] == truth.documents()
    assert done["collections"] == 4
    assert done["operations"] >= 200
    assert done["seconds"] >= 0


def test_a_target_with_data_is_refused_and_left_alone(target, filled):
    target.client["mine"].c.insert_one({"_id": "precious"})
    before = oracle.state_now(target.client)
    filled.fails(2, "restore", "--to", "latest", "--target", target.uri, "--yes", says="--drop")
    oracle.assert_equal(before, oracle.state_now(target.client))


def test_ns_restores_only_what_it_names(source, target, filled):
    filled.restore("--to", "latest", "--ns", "shop.*", target=target.uri)
    wanted = oracle.state_now(source.client).only(lambda ns: ns.startswith("shop."))
    oracle.assert_equal(wanted, oracle.state_now(target.client))


def test_ns_with_drop_touches_nothing_else(source, target, filled):
    target.client["mine"].c.insert_one({"_id": "precious"})
    target.client["shop"].items.insert_one({"_id": "to stay"})
    target.client["shop"].orders.insert_one({"_id": "to go"})
    filled.restore("--to", "latest", "--ns", "shop.orders", "--drop", target=target.uri)
    assert target.client["mine"].c.count_documents({}) == 1
    assert target.client["shop"].items.count_documents({}) == 1
    found = oracle.state_now(target.client).only(lambda ns: ns == "shop.orders")
    wanted = oracle.state_now(source.client).only(lambda ns: ns == "shop.orders")
    oracle.assert_equal(wanted, found)


def test_exclude_ns_leaves_out_what_it_names(source, target, filled):
    filled.restore("--to", "latest", "--exclude-ns", "*.items", target=target.uri)
    wanted = oracle.state_now(source.client).only(lambda ns: not ns.endswith(".items"))
    oracle.assert_equal(wanted, oracle.state_now(target.client))


def test_rename_restores_beside_the_living_data(source, filled):
    before = oracle.state_now(source.client)
    filled.restore("--to", "latest", "--ns", "shop.*", "--rename", "shop.*=shop_then.*")
    after = oracle.state_now(source.client)
    then = after.only(lambda ns: ns.startswith("shop_then."))
    wanted = before.only(lambda ns: ns.startswith("shop.")).renamed(
        lambda ns: ns.replace("shop.", "shop_then.", 1))
    oracle.assert_equal(wanted, then)
    oracle.assert_equal(before, after.only(lambda ns: not ns.startswith("shop_then.")))


def test_latest_and_snapshot_id_leave_the_oplog_alone(source, target, filled):
    filled.restore("--latest", target=target.uri)
    assert target.client["shop"].orders.find_one({"_id": 5})["n"] == 5
    filled.restore("--snapshot", filled.first["id"], "--drop", target=target.uri)
    assert target.client["shop"].orders.find_one({"_id": 5})["n"] == 5
    filled.restore("--to", "latest", "--drop", target=target.uri)
    assert target.client["shop"].orders.find_one({"_id": 5})["n"] == 1005


def test_a_restore_in_place_keeps_what_it_replaces(source, target, filled):
    source.client["shop"].orders.delete_many({"_id": {"$lt": 100}})
    source.client["shop"].added.insert_one({"_id": 1})
    spoiled = oracle.state_now(source.client)
    known = {s["id"] for s in filled.ok("list")["snapshots"]}
    filled.restore("--snapshot", filled.first["id"], "--drop")
    assert source.client["shop"].orders.count_documents({}) == 200
    assert "added" not in source.client["shop"].list_collection_names()
    new = [s["id"] for s in filled.ok("list")["snapshots"] if s["id"] not in known]
    assert len(new) == 1, "one snapshot of the state before the restore"
    filled.restore("--snapshot", new[0], "--drop", target=target.uri)
    oracle.assert_equal(spoiled, oracle.state_now(target.client))


def test_after_a_restore_in_place_the_next_snapshot_and_tail_go_on(source, target, filled):
    filled.restore("--snapshot", filled.first["id"], "--drop")
    filled.ok("snapshot")
    source.client["shop"].orders.insert_one({"_id": "after the restore"})
    filled.ok("tail", "--once")
    filled.restore("--to", "latest", "--drop", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))


def test_a_plan_says_what_would_happen_and_touches_nothing(target, filled):
    plan = filled.ok("restore", "--to", "latest", "--target", target.uri, "--plan")
    assert plan["snapshot"] == filled.first["id"]
    assert plan["operations"] > 0 and plan["segments"] > 0 and plan["documents"] > 0
    assert plan["expected_seconds"] > 0 and not plan["expected_is_measured"]
    assert oracle.state_now(target.client).collections == {}


def test_a_plan_goes_by_the_last_restore_into_the_target(source, target, pitr):
    source.client["large"].c.insert_many([{"_id": i, "pad": "x" * 1000} for i in range(60_000)])
    pitr.ok("snapshot")
    pitr.restore("--latest", target=target.uri)
    plan = pitr.ok("restore", "--latest", "--drop", "--target", target.uri, "--plan")
    assert plan["expected_is_measured"] and plan["dropped"] == ["large.c"]
    assert not plan["needs_drop"]
    assert pitr.ok("restore", "--latest", "--target", target.uri, "--plan")["needs_drop"]
    text = pitr.run("restore", "--latest", "--drop", "--target", target.uri, "--plan",
                    use_json=False).stdout
    for words in ("would replay", "would load", "would drop      large.c", "at the pace of the last"):
        assert words in text, text
    assert target.client["large"].c.estimated_document_count() == 60_000


def test_a_killed_restore_can_be_run_again(source, target, filled):
    source.client["large"].c.insert_many([{"_id": i, "pad": "x" * 1000} for i in range(30_000)])
    filled.ok("tail", "--once")
    command = filled.command("restore", "--to", "latest", "--target", target.uri, "--yes", "--drop")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=clean_environment())
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    filled.restore("--to", "latest", "--drop", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))


def test_users_and_roles_come_back_into_an_empty_cluster(source, target, pitr):
    admin, other = source.client.admin, target.client.admin
    try:
        admin.command({"createRole": "reader", "roles": [], "privileges": [
            {"resource": {"db": "shop", "collection": ""}, "actions": ["find"]}]})
        source.client["shop"].command({"createUser": "ann", "pwd": "first", "roles": [
            {"role": "reader", "db": "admin"}, "readWrite"], "customData": {"team": 1}})
        fill(source.client)
        pitr.ok("snapshot")
        source.client["shop"].command({"createUser": "bob", "pwd": "second", "roles": ["read"]})
        pitr.ok("tail", "--once")
        truth = oracle.state_now(source.client, users=True)
        pitr.restore("--to", "latest", target=target.uri)
        oracle.assert_equal(truth, oracle.state_now(target.client, users=True))
    finally:
        for database in (source.client["shop"], target.client["shop"]):
            database.command({"dropAllUsersFromDatabase": 1})
        for database in (admin, other):
            database.command({"dropAllRolesFromDatabase": 1})


def test_the_answer_names_the_last_operation_it_contains(source, target, filled):
    last = source.client.local["oplog.rs"].find_one(
        {"ns": "shop.orders", "op": "u"}, sort=[("$natural", -1)])["ts"]
    done = filled.restore("--to", stamp(last), target=target.uri)
    assert (done["to"]["t"], done["to"]["i"]) == (last.time, last.inc)


def write_mongodump(client, folder):
    """The files that mongodump writes, made without it."""
    for database, name, kind, options in oracle.catalog(client):
        if kind != "collection":
            continue
        place = folder / database
        place.mkdir(parents=True, exist_ok=True)
        raw = oracle.read_now(client, database, name, None)
        (place / f"{name}.bson").write_bytes(b"".join(raw))
        info = {"options": options, "indexes": oracle.indexes_of(client, database, name),
                "uuid": uuid.uuid4().hex, "collectionName": name, "type": "collection"}
        (place / f"{name}.metadata.json").write_text(
            json_util.dumps(info, json_options=json_util.CANONICAL_JSON_OPTIONS))


def test_a_mongodump_directory_restores(source, target, pitr, tmp_path):
    fill(source.client)
    source.client["blog"].items.create_index([("n", -1), ("db", 1)], unique=True)
    source.client["blog"].create_collection("strict", validator={"n": {"$type": "int"}})
    write_mongodump(source.client, tmp_path / "dump")
    pitr.restore("--backup-path", tmp_path / "dump", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))


def test_series_and_capped_collections_survive_a_restore_of_a_restore(source, target, pitr, seed):
    workload.prepare(source.client, seed)
    pitr.ok("snapshot")
    pitr.restore("--latest", "--drop", target=target.uri)
    source.client["wl_shop"].capped.insert_many([{"_id": i} for i in range(150)])
    pitr.ok("tail", "--once")
    pitr.restore("--to", "latest", "--drop", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))
