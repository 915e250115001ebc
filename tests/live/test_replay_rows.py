"""Where backup tools have failed when they replayed an oplog, one test for each failure; and
restores of a part, whose names change while the oplog goes on."""

import time

import pytest

from harness import oracle
from harness.mongod import ReplicaSet
from harness.pitr import Pitr, stamp


def restores_now(source, target, pitr, *selection):
    pitr.ok("tail", "--once")
    pitr.restore("--to", "latest", "--drop", "--no-pre-snapshot", *selection, target=target.uri)
    return oracle.state_now(target.client)


def is_exact(source, target, pitr):
    oracle.assert_equal(oracle.state_now(source.client), restores_now(source, target, pitr))


def fill(coll, count=50):
    coll.insert_many([{"_id": i, "n": i, "from": coll.full_name} for i in range(count)])
    coll.create_index("n", unique=True, name="by_n")


def rename(source, old, new, **options):
    source.client.admin.command({"renameCollection": old, "to": new, **options})


def test_renamed_collection_keeps_indexes_and_leaves_no_ghost(source, target, pitr):
    db = source.client["moved"]
    for name in ("a", "b"):
        fill(db[name])
    db.a.create_index("from", partialFilterExpression={"n": {"$gt": 5}})
    pitr.ok("snapshot")
    db.a.rename("c")
    db.c.rename("b", dropTarget=True)
    rename(source, "moved.b", "elsewhere.b")
    is_exact(source, target, pitr)
    assert target.client["elsewhere"].list_collection_names() == ["b"]
    assert "moved" not in target.client.list_database_names()


def test_out_leaves_no_temporaries(source, target, pitr):
    db = source.client["outs"]
    fill(db.a)
    pitr.ok("snapshot")
    list(db.a.aggregate([{"$match": {"n": {"$lt": 9}}}, {"$out": "result"}]))
    db.result.create_index("n")
    list(db.a.aggregate([{"$match": {"n": {"$gt": 9}}}, {"$out": "result"}]))
    list(db.a.aggregate([{"$out": {"db": "outs2", "coll": "there"}}]))
    list(db.a.aggregate([{"$merge": {"into": "merged", "whenMatched": "replace"}}]))
    is_exact(source, target, pitr)
    assert sorted(target.client["outs"].list_collection_names()) == ["a", "merged", "result"]
    # In the middle of an $out its temporary collection is there, and no restore shows it.
    made = source.client.local["oplog.rs"].find_one(
        {"o.create": {"$regex": "^tmp.agg_out"}, "ns": "outs.$cmd"})
    pitr.restore("--to", stamp(made["ts"]), "--drop", target=target.uri)
    assert target.client["outs"].list_collection_names() == ["a"]


def test_hidden_index_stays_hidden(source, target, pitr):
    db = source.client["hid"]
    fill(db.c)
    db.c.create_index("from", name="first", hidden=True)
    pitr.ok("snapshot")
    db.c.create_index([("from", -1)], name="second", hidden=True)
    db.command({"collMod": "c", "index": {"name": "by_n", "hidden": True}})
    is_exact(source, target, pitr)
    hidden = {i["name"] for i in target.client["hid"].c.list_indexes() if i.get("hidden")}
    assert hidden == {"first", "second", "by_n"}


def test_collections_created_after_the_moment_are_gone(source, target, pitr):
    db = source.client["oops"]
    fill(db.c, 500)
    pitr.ok("snapshot")
    db.c.update_many({}, {"$inc": {"n": 1000}})
    truth = oracle.state_now(source.client)
    source.client.drop_database("oops")
    drop = source.client.local["oplog.rs"].find_one(
        {"op": "c", "ns": "oops.$cmd", "o.drop": "c"}, sort=[("$natural", -1)])
    db.c.insert_one({"new": "collection of the same name"})
    db.later.insert_one({"n": 1})
    source.client["later"].c.insert_one({"n": 1})
    is_exact(source, target, pitr)
    pitr.restore("--before", stamp(drop["ts"]), "--drop", target=target.uri)
    oracle.assert_equal(truth, oracle.state_now(target.client))


def test_documents_that_bypassed_validation_are_restored(source, target, pitr):
    db = source.client["odd"]
    db.create_collection("c", validator={"n": {"$type": "int"}})
    db.c.insert_one({"_id": 0, "n": "no int"}, bypass_document_validation=True)
    pitr.ok("snapshot")
    db.c.insert_one({"_id": 1, "n": "no int"}, bypass_document_validation=True)
    db.c.update_one({"_id": 1}, {"$set": {"m": 1}}, bypass_document_validation=True)
    is_exact(source, target, pitr)


def test_a_wall_clock_second_is_whole(source, target, pitr):
    db = source.client["seconds"]
    db.c.insert_one({"_id": 0})
    pitr.ok("snapshot")
    while time.time() % 1 > 0.3:
        time.sleep(0.01)
    stamps = []
    with source.client.start_session() as session:
        for i in range(1, 4):
            db.c.insert_one({"_id": i}, session=session)
            stamps.append(session.operation_time)
    second = stamps[0].time
    in_second = 1 + sum(1 for s in stamps if s.time == second)
    time.sleep(1.1)
    db.c.insert_one({"_id": "later"})
    pitr.ok("tail", "--once")

    def ids(*moment):
        pitr.restore(*moment, "--drop", target=target.uri)
        return [d["_id"] for d in target.client["seconds"].c.find().sort("_id")]

    assert ids("--to", stamp(stamps[1])) == [0, 1, 2]
    assert ids("--to", f"{stamps[1].time}:{stamps[1].inc}") == [0, 1, 2]
    assert ids("--before", stamp(stamps[1])) == [0, 1]
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
    assert ids("--to", text) == list(range(in_second))
    east = time.strftime("%Y-%m-%dT%H:%M:%S+02:00", time.gmtime(second + 7200))
    assert ids("--to", east) == list(range(in_second))
    assert "later" in ids("--to", "latest")


def test_gap_is_refused_not_jumped(target, tmp_path):
    with ReplicaSet(oplog_mb=2, sync_delay=1) as source:
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        coll = source.client["gap"].c
        coll.insert_one({"_id": "base"})
        pitr.ok("snapshot")
        coll.insert_one({"_id": "captured"})
        pitr.ok("tail", "--once")
        before = source.now()
        truth = oracle.state_now(source.client)
        coll.insert_one({"_id": "lost to the tailer"})
        lost = source.now()
        source.roll_oplog_over(lost)
        pitr.run("tail", "--once")
        coll.insert_one({"_id": "after the gap"})
        pitr.run("tail", "--once")
        pitr.fails(6, "restore", "--to", stamp(lost), "--target", target.uri, "--yes", "--drop",
                   says="gap")
        assert oracle.state_now(target.client).collections == {}
        pitr.restore("--to", stamp(before), "--drop", target=target.uri)
        oracle.assert_equal(truth, oracle.state_now(target.client))


NAMES = ["a.b.c", "with space", "\u043a\u043b\u044e\u0447", "$in", "x.tmp.y", "..", "-dash", "quote\"s",
         "per%cent", "a/b", "n" * 200, "tmp.agg_out.mine", "tmpAb3dE.renameCollection"]


def test_unusual_names(source, target, pitr):
    db = source.client["str-\u00e4nge"]
    created = []
    for name in NAMES:
        try:
            db.command({"create": name})
            created.append(name)
        except Exception:
            continue  # not a name for this server
        db.command({"insert": name, "documents": [{"_id": 1}]})
    assert len(created) >= 10, created
    pitr.ok("snapshot")
    for name in created:
        db.command({"insert": name, "documents": [{"_id": 2, "": 1, "a.b": 2, "$c": 3}]})
    is_exact(source, target, pitr)


# ---- a part of the state: names are those at the moment ----


@pytest.fixture
def shop(source, pitr):
    """A snapshot of two collections in each of two databases."""
    for database in ("in", "out"):
        for name in ("a", "b"):
            fill(source.client[database][name])
    pitr.ok("snapshot")
    for database in ("in", "out"):
        source.client[database].a.update_many({}, {"$inc": {"n": 1000}})
    return source.client


def part(source, keep):
    return oracle.state_now(source.client).only(keep)


def is_in(ns):
    return ns.startswith("in.")


def test_a_collection_renamed_into_the_selection_is_restored(source, target, pitr, shop):
    rename(source, "out.a", "out.moved")
    rename(source, "out.b", "in.moved")
    shop["in"].moved.update_many({}, {"$set": {"m": 1}})
    found = restores_now(source, target, pitr, "--ns", "in.*")
    oracle.assert_equal(part(source, is_in), found)
    assert "in.moved" in found.collections
    found = restores_now(source, target, pitr, "--ns", "out.moved")
    oracle.assert_equal(part(source, lambda ns: ns == "out.moved"),
                        found.only(lambda ns: ns == "out.moved"))


def test_a_collection_renamed_out_of_the_selection_is_not(source, target, pitr, shop):
    rename(source, "in.a", "in.b", dropTarget=True)
    rename(source, "in.b", "out.c")
    shop["in"].fresh.insert_one({"_id": 1})
    found = restores_now(source, target, pitr, "--ns", "in.*")
    assert list(found.collections) == ["in.fresh"]
    oracle.assert_equal(part(source, is_in), found)
    found = restores_now(source, target, pitr, "--exclude-ns", "out.*")
    assert list(found.collections) == ["in.fresh"]


def test_names_that_were_swapped_are_taken_as_they_are_at_the_moment(source, target, pitr, shop):
    rename(source, "in.a", "in.tmp")
    rename(source, "in.b", "in.a")
    rename(source, "in.tmp", "in.b")
    shop["in"].a.insert_one({"_id": "into what was b", "n": -1})
    found = restores_now(source, target, pitr, "--ns", "in.a")
    oracle.assert_equal(part(source, lambda ns: ns == "in.a"), found)
    assert target.client["in"].a.find_one({"_id": 0})["from"] == "in.b"


def test_rename_rules_see_the_name_at_the_moment(source, target, pitr, shop):
    rename(source, "in.a", "in.tmp")
    rename(source, "in.b", "in.a")
    rename(source, "in.tmp", "in.b")
    rename(source, "out.a", "in.c")
    found = restores_now(source, target, pitr, "--rename", "in.a=then.first", "--rename",
                         "in.*=then.*")
    names = {"in.a": "then.first", "in.b": "then.b", "in.c": "then.c"}
    oracle.assert_equal(part(source, is_in).renamed(names.get), found)


@pytest.fixture
def without_tmp(source, pitr, tmp_path):
    """A snapshot that leaves out what is called tmp-something."""
    pitr.config = tmp_path / "pitr.yaml"
    pitr.config.write_text('excludeCollections: ["*.tmp*"]\n')
    for name in ("a", "tmp_big", "tmp_other"):
        fill(source.client["in"][name])
    pitr.ok("snapshot")
    return pitr


def test_a_collection_whose_documents_were_left_out_bothers_only_who_wants_it(
        source, target, without_tmp):
    pitr, db = without_tmp, source.client["in"]
    db.a.update_many({}, {"$inc": {"n": 1000}})
    truth = oracle.state_now(source.client)
    before = source.now()
    db.tmp_big.rename("now_kept")
    db.a.update_many({}, {"$inc": {"n": 1000}})
    pitr.ok("tail", "--once")
    refused = pitr.fails(6, "restore", "--to", "latest", "--target", target.uri, "--yes", "--drop",
                         says=["in.now_kept", "in.tmp_big", "new snapshot", "--exclude-ns"])
    assert "restore a time before" in refused
    assert oracle.state_now(target.client).collections == {}
    pitr.fails(6, "restore", "--to", "latest", "--ns", "in.now_kept", "--target", target.uri,
               "--yes", says="in.now_kept")
    for selection in (["--ns", "in.a"], ["--exclude-ns", "in.now_kept"]):
        found = restores_now(source, target, pitr, *selection)
        oracle.assert_equal(part(source, lambda ns: ns == "in.a"), found)
    pitr.restore("--to", stamp(before), "--drop", target=target.uri)
    oracle.assert_equal(truth.only(lambda ns: ns == "in.a"), oracle.state_now(target.client))
    db.now_kept.drop()
    found = restores_now(source, target, pitr)
    oracle.assert_equal(part(source, lambda ns: ns == "in.a"), found)


def test_what_passes_through_a_left_out_name_is_restored(source, target, without_tmp):
    pitr, db = without_tmp, source.client["in"]
    db.b.insert_many([{"_id": i, "n": i} for i in range(20)])
    db.a.rename("tmp_swap")
    db.tmp_swap.update_many({}, {"$inc": {"n": 1000}})
    db.b.rename("a")
    db.tmp_swap.rename("b")
    list(db.b.aggregate([{"$out": "result"}]))
    rename(source, "in.result", "other.result")
    db.c.insert_many([{"_id": i} for i in range(5)])
    db.command({"convertToCapped": "c", "size": 4096})
    found = restores_now(source, target, pitr)
    oracle.assert_equal(part(source, lambda ns: ".tmp" not in ns), found)
    assert set(found.collections) == {"in.a", "in.b", "in.c", "other.result"}
