"""`pitr log`: the operation an operator looks for is found, and its timestamp is the one to restore
by."""

import datetime
import json
import subprocess
import uuid

import pytest
from bson import Decimal128, Int64, ObjectId, json_util

from harness import oracle
from harness.mongod import ReplicaSet
from harness.pitr import Pitr, clean_environment, stamp


@pytest.fixture
def captured(pitr):
    """The program, whose repository holds the oplog from here on."""
    pitr.ok("tail", "--once")
    return pitr


def log(pitr, *args):
    return pitr.run("log", *args)


def found(pitr, *args):
    """The operations of a search that must succeed."""
    result = log(pitr, *args)
    assert result.rc == 0, str(result)
    return [o for o in result.objects if "kind" in o]


def text(pitr, *args):
    result = pitr.run("log", *args, use_json=False)
    assert result.rc == 0, str(result)
    return result.stdout


def at(operation, field="ts"):
    return f"{operation[field]['t']},{operation[field]['i']}"


def value(operation, field):
    return json_util.loads(json.dumps(operation[field]))


def test_an_update_is_found_by_id_by_namespace_and_by_time(source, target, captured):
    pitr = captured
    db = source.client["shop"]
    db.orders.insert_many([{"_id": i, "n": 0} for i in range(10)])
    pitr.ok("snapshot")
    before = source.now()
    db.orders.update_one({"_id": 7}, {"$set": {"n": 1, "a.b": "x"}, "$unset": {"gone": ""}})
    good = oracle.state_now(source.client)
    db.orders.update_one({"_id": 7}, {"$set": {"n": -1}})
    db.other.insert_one({"_id": 7})
    pitr.ok("tail", "--once")

    by_id = found(pitr, "--id", "7.0", "--ns", "shop.orders")
    assert [o["kind"] for o in by_id] == ["insert", "update", "update"]
    assert value(by_id[0], "o") == {"_id": 7, "n": 0}
    assert value(by_id[2], "id") == 7
    assert by_id[2]["ns"] == "shop.orders" and by_id[2]["txn"] is None
    assert value(by_id[2], "o")["diff"] == {"u": {"n": -1}}

    later = found(pitr, "--ns", "shop.*", "--id", "7", "--from", stamp(before),
                  "--exclude-ns", "shop.other")
    assert [o["kind"] for o in later] == ["update", "update"]
    assert later == by_id[1:]
    one = found(pitr, "--from", at(by_id[1]), "--to", at(by_id[1]), "--kind", "update")
    assert one == by_id[1:2]
    second = datetime.datetime.fromtimestamp(by_id[2]["ts"]["t"], datetime.timezone.utc)
    by_second = found(pitr, "--from", second.isoformat(), "--to", second.isoformat())
    assert by_id[2] in by_second
    assert all(o["ts"]["t"] == by_id[2]["ts"]["t"] for o in by_second)
    first = found(pitr, "--ns", "shop.orders", "--limit", "3")
    assert [o["kind"] for o in first] == ["command", "insert", "insert"]

    shown = text(pitr, "--id", "7", "--ns", "shop.orders", "--kind", "update")
    assert f"{by_id[1]['time']} {at(by_id[1])}  update  shop.orders  _id: 7" in shown
    assert "    set n = 1, add a = {\"b\":\"x\"}\n" in shown
    assert "    set n = -1\n" in shown

    pitr.restore("--before", at(by_id[2]), "--drop", target=target.uri)
    oracle.assert_equal(good, oracle.state_now(target.client))


def test_ids_of_every_kind_are_found(source, captured):
    ids = {
        "507f1f77bcf86cd799439011": ObjectId("507f1f77bcf86cd799439011"),
        "order 66": "order 66",
        "\"42\"": "42",
        "-1.5": Decimal128("-1.50"),
        "{\"$numberLong\": \"9007199254740993\"}": Int64(9007199254740993),
        "{\"region\": \"eu\", \"n\": 1}": {"region": "eu", "n": 1.0},
        "{\"$uuid\": \"00112233-4455-6677-8899-aabbccddeeff\"}":
            uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"),
        "{\"$date\": \"2026-11-23T14:03:07Z\"}": datetime.datetime(2026, 11, 23, 14, 3, 7),
        "null": None,
        "true": True,
    }
    options = json_util.CANONICAL_JSON_OPTIONS.with_options(
        uuid_representation=4, tz_aware=False, tzinfo=None)
    coll = source.client["ids"].get_collection(
        "c", codec_options=source.client["ids"].codec_options.with_options(uuid_representation=4))
    coll.insert_many([{"_id": i} for i in ids.values()])
    captured.ok("tail", "--once")
    for written, stored in ids.items():
        operations = found(captured, "--ns", "ids.c", "--id", written)
        assert len(operations) == 1, written
        assert json_util.loads(json.dumps(operations[0]["id"]), json_options=options) == stored


def test_updates_are_shown_by_what_they_change(source, captured):
    coll = source.client["shop"].orders
    big = "x" * 5000
    coll.insert_one({"_id": 1, "a": {"b": 1, "c": 2}, "list": [1, 2, 3, {"p": 1}], "old": 1,
                     "pad": big, "pad2": big})
    coll.update_one({"_id": 1}, {"$set": {"a.b": 5, "list.1": 7, "list.3.p": 2, "new": {"z": 1}},
                                 "$unset": {"old": "", "a.c": ""}})
    coll.update_one({"_id": 1}, {"$set": {"pad": "\x1b[31mred\x00"}})
    coll.update_one({"_id": 1}, [{"$set": {"list": {"$slice": ["$list", 2]}}}])
    coll.replace_one({"_id": 1}, {"whole": big})
    coll.delete_one({"_id": 1})
    captured.ok("tail", "--once")
    shown = text(captured, "--ns", "shop.orders", "--kind", "update", "--kind", "delete")
    lines = [line for line in shown.splitlines() if line.startswith("    ")]
    assert sorted(lines[0].strip().split(", ")) == sorted([
        "unset old", "add new = {\"z\":1}", "unset a.c", "set a.b = 5", "set list[1] = 7",
        "set list[3].p = 2"])
    assert lines[1] == "    set pad = \"\\u001b[31mred\\u0000\""
    assert lines[2] == "    resize list to 2"
    assert lines[3].startswith("    replaced by {\"_id\":1,\"whole\":\"xxx")
    assert lines[3].endswith("x... (4.9 KiB)") and len(lines[3]) < 300
    assert len(lines) == 4 and shown.splitlines()[-1].endswith("delete  shop.orders  _id: 1")
    assert "\x1b" not in shown and "\0" not in shown


def test_a_delete_in_a_transaction_has_the_timestamp_of_the_commit(source, target, pitr):
    client = source.client
    client["shop"].orders.insert_many([{"_id": i} for i in range(3)])
    pitr.ok("snapshot")
    good = oracle.state_now(client)
    with client.start_session() as session:
        with session.start_transaction():
            client["shop"].orders.delete_one({"_id": 1}, session=session)
            client["shop"].orders.update_one({"_id": 2}, {"$set": {"x": 1}}, session=session)
        number = session._server_session.transaction_id
    with client.start_session() as session:
        session.start_transaction()
        client["shop"].orders.delete_one({"_id": 0}, session=session)
        session.abort_transaction()
    pitr.ok("tail", "--once")

    deletes = found(pitr, "--ns", "shop.orders", "--kind", "delete")
    assert [value(o, "id") for o in deletes] == [1]
    txn = deletes[0]["txn"]
    assert (txn["operation"], txn["operations"], txn["prepared"]) == (1, 2, False)
    assert txn["txn_number"] == number and "id" in txn["lsid"]
    assert txn["committed"] == deletes[0]["ts"] == deletes[0]["entry"]
    assert "(transaction, 1 of 2)" in text(pitr, "--id", "1", "--kind", "delete")
    pitr.restore("--before", at(deletes[0]), "--drop", target=target.uri)
    oracle.assert_equal(good, oracle.state_now(target.client))


def big_transaction(client, session, ids):
    """More than 16 MB: several oplog entries."""
    for i in ids:
        client["big"].c.insert_one({"_id": i, "pad": "x" * 4_000_000}, session=session)


def test_a_transaction_of_several_entries_is_listed_once_at_its_commit(source, captured):
    client = source.client
    client["big"].c.insert_one({"_id": "first"})
    with client.start_session() as session:
        with session.start_transaction():
            big_transaction(client, session, range(5))
    with client.start_session() as session:
        session.start_transaction()
        big_transaction(client, session, range(100, 105))
        session.abort_transaction()
    captured.ok("tail", "--once")

    inserts = found(captured, "--ns", "big.c", "--kind", "insert")[1:]
    assert [value(o, "id") for o in inserts] == list(range(5))
    assert [o["txn"]["operation"] for o in inserts] == list(range(1, 6))
    assert {o["txn"]["operations"] for o in inserts} == {5}
    commit = at(inserts[0])
    assert {at(o) for o in inserts} == {commit} == {at(inserts[-1], "entry")}
    assert len({at(o, "entry") for o in inserts}) > 1
    # The pieces were logged before the range, and are looked up.
    assert found(captured, "--from", commit, "--to", commit) == inserts
    assert found(captured, "--to", at(inserts[0], "entry"), "--id", "3") == []
    shown = text(captured, "--from", commit, "--id", "0")
    assert f"(transaction, 1 of 5, logged at {at(inserts[0], 'entry')})" in shown


def test_a_prepared_transaction_is_aimed_at_by_its_commit_time(target, tmp_path):
    with ReplicaSet(test_commands=True) as source:
        client = source.client
        coll = client["prep"].c
        coll.insert_one({"_id": 1, "n": 0})
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        pitr.ok("snapshot")
        good = oracle.state_now(client)
        with client.start_session() as session:
            session.start_transaction()
            coll.update_one({"_id": 1}, {"$set": {"n": 1}}, session=session)
            prepared = client.admin.command("prepareTransaction", session=session,
                                            writeConcern={"w": "majority"})["prepareTimestamp"]
            client["prep"].other.insert_one({"_id": "between"})
            pitr.ok("tail", "--once")
            waiting = log(pitr, "--ns", "prep.c", "--kind", "update")
            assert waiting.objects == [{"unfinished": {"timeline": 1, "transactions": 1}}]
            client.admin.command("commitTransaction", session=session, commitTimestamp=prepared)
        coll.insert_one({"_id": 2})
        pitr.ok("tail", "--once")
        [update] = found(pitr, "--ns", "prep.c", "--kind", "update")
        assert at(update) == stamp(prepared) and update["txn"]["prepared"] is True
        committed = update["txn"]["committed"]
        assert (committed["t"], committed["i"]) > (prepared.time, prepared.inc)
        # Also where its commit entry lies behind the range, or its prepare entry before it.
        assert found(pitr, "--to", stamp(prepared), "--ns", "prep.c", "--kind", "update") == [update]
        assert found(pitr, "--from", at(update["txn"], "committed"), "--id", "1") == [update]
        pitr.restore("--before", at(update), "--drop", target=target.uri)
        oracle.assert_equal(good, oracle.state_now(target.client))


def test_commands_are_found_by_every_name_they_concern(source, captured):
    db = source.client["shop"]
    db.old.insert_one({"_id": 1})
    db.old.rename("new")
    db.new.create_index("x")
    db.drop_collection("new")
    source.client["gone"].c.insert_one({"_id": 1})
    source.client.drop_database("gone")
    captured.ok("tail", "--once")

    def commands(*args):
        return [next(iter(o["o"])) for o in found(captured, "--kind", "command", *args)]

    assert commands("--ns", "shop.old") == ["create", "renameCollection"]
    assert commands("--ns", "shop.new")[0] == "renameCollection"
    assert commands("--ns", "shop.new")[-1] == "drop"
    assert "createIndexes" in commands("--ns", "shop.new") or \
        "commitIndexBuild" in commands("--ns", "shop.new")
    assert commands("--ns", "gone.anything") == ["dropDatabase"]
    assert commands("--ns", "gone.c") == ["create", "drop", "dropDatabase"]
    assert commands("--ns", "gone.c", "--exclude-ns", "gone.*") == []
    # Under the name a collection had then.
    assert [o["ns"] for o in found(captured, "--kind", "insert", "--id", "1")] == ["shop.old", "gone.c"]
    assert found(captured, "--kind", "insert", "--ns", "shop.new") == []
    assert "  command  shop.new\n    {\"drop\":\"new\"" in text(captured, "--ns", "shop.new")


def test_a_measurement_is_found_by_the_name_users_see(source, captured):
    db = source.client["shop"]
    db.create_collection("weather", timeseries={"timeField": "t"})
    db.weather.insert_one({"t": datetime.datetime(2026, 1, 1), "degrees": 21})
    captured.ok("tail", "--once")
    [bucket] = found(captured, "--ns", "shop.weather", "--kind", "insert")
    assert bucket["ns"] == "shop.system.buckets.weather"
    assert value(bucket, "o")["control"]["max"]["degrees"] == 21
    assert found(captured, "--ns", "shop.weather*", "--exclude-ns", "shop.weather",
                 "--kind", "insert") == []


def test_noops_are_shown_on_request_only(source, captured):
    source.client.admin.command("appendOplogNote", 1, data={"hello": 1})
    captured.ok("tail", "--once")
    assert not [o for o in found(captured) if o["kind"] == "noop"]
    noops = found(captured, "--kind", "noop")
    assert {"hello": 1} in [value(o, "o") for o in noops] and {o["kind"] for o in noops} == {"noop"}


def test_a_gap_is_shown_where_it_is(tmp_path):
    with ReplicaSet(oplog_mb=2, sync_delay=1) as source:
        coll = source.client["t"].c
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        pitr.ok("tail", "--once")
        coll.insert_one({"_id": "old"})
        last = pitr.ok("tail", "--once")["last"]
        coll.insert_one({"_id": "lost"})
        source.roll_oplog_over(source.now())
        pitr.fails(6, "tail", "--once", says="gap")
        pitr.run("tail", "--once")
        coll.insert_one({"_id": "new"})
        pitr.ok("tail", "--once")

        result = log(pitr, "--ns", "t.c", "--kind", "insert")
        assert result.rc == 0, str(result)
        kinds = ["gap" if "gap" in o else o["id"] for o in result.objects]
        assert kinds == ["old", "gap", "new"], str(result)
        gap = result.objects[1]["gap"]
        assert gap["after"] == last and gap["reason"]
        shown = text(pitr, "--ns", "t.c", "--kind", "insert")
        assert [line.split()[0] for line in shown.splitlines()
                if not line.startswith("    ")][1] == "gap"
        # A search that ends before it does not touch it.
        assert len(log(pitr, "--to", f"{last['t']},{last['i']}", "--ns", "t.c").objects) == 2


def test_what_lies_outside_is_said(source, pitr):
    source.client["t"].c.insert_one({"_id": 1})
    pitr.ok("tail", "--once")
    around = log(pitr, "--from", "2020-01-01T00:00:00Z", "--to", "2090-01-01T00:00:00Z",
                 "--ns", "t.c", "--kind", "insert")
    assert around.rc == 0, str(around)
    assert [list(o)[0] for o in around.objects] == ["gap", "ts", "gap"]
    assert around.objects[0]["gap"]["after"] is None
    assert around.objects[2]["gap"]["before"] is None
    pitr.fails(6, "log", "--from", "2090-01-01T00:00:00Z", says=("captured is", "to"))
    pitr.fails(6, "log", "--to", "2020-01-01T00:00:00Z", says="captured is")
    assert text(pitr, "--ns", "no.such") == "no operation matches\n"


def test_an_empty_repository_holds_nothing(pitr):
    pitr.fails(6, "log", says=("no operations are captured", "pitr tail"))


@pytest.mark.parametrize("args, says", [
    (("--ns", "orders"), ("--ns", "DB.COLLECTION")),
    (("--exclude-ns", "orders"), "--exclude-ns"),
    (("--kind", "updte"), ("--kind updte", "did you mean update")),
    (("--limit", "0"), ("--limit 0", "whole number")),
    (("--limit", "many"), "--limit many"),
    (("--from", "yesterday"), "--from"),
    (("--from", "20,1", "--to", "10,1"), ("--from 20,1 is after --to 10,1",)),
    (("--id", "{guid}"), ("--id", "quotes")),
    (("--id", "1", "--kind", "command"), "--id finds inserts"),
])
def test_wrong_options_are_explained(pitr, args, says):
    pitr.fails(2, "log", *args, says=says)


def test_a_reader_that_has_enough_ends_it_quietly(source, captured):
    source.client["t"].c.insert_many([{"_id": i, "pad": "x" * 500} for i in range(5000)])
    captured.ok("tail", "--once")
    writer = subprocess.Popen(captured.command("log", "--ns", "t.c"), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=clean_environment())
    assert json.loads(writer.stdout.readline())["kind"]
    writer.stdout.close()
    assert writer.wait(30) == -13  # SIGPIPE
    assert writer.stderr.read() == b""
    writer.stderr.close()


def test_a_damaged_segment_is_named_after_what_came_before(source, captured, tmp_path):
    for i in range(2):
        source.client["t"].c.insert_many([{"_id": f"{i} {k}"} for k in range(100)])
        captured.ok("tail", "--once")
    newest = sorted((tmp_path / "repo/oplog").rglob("*.seg"))[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.chmod(0o600)
    newest.write_bytes(content)
    result = log(captured, "--ns", "t.c", "--kind", "insert")
    assert result.rc == 5, str(result)
    assert newest.name in result.stderr
    assert len([o for o in result.objects if "kind" in o]) >= 100
    assert result.json["error"]["code"] == "corrupt"
