"""What differs between two moments, and one document at one moment, against the true states."""

import datetime
import json
import os
import signal
import subprocess
import uuid

import bson
import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp, json_util

from harness import oracle, workload
from harness.pitr import clean_environment, stamp
from harness.workload import Workload

BUCKETS = "system.buckets."
# What a server may spell out or leave out of a collection's options.
VOID = {"validator": {}, "validationLevel": "strict", "validationAction": "error",
        "changeStreamPreAndPostImages": {"enabled": False}}


def raw(value):
    """The bytes of a document in canonical Extended JSON."""
    return bson.encode(json_util.loads(json.dumps(value),
                                       json_options=json_util.CANONICAL_JSON_OPTIONS))


def text(value):
    return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS)


class Truth:
    """The state now, with what diff knows collections by."""

    def __init__(self, source):
        self.at = source.now()
        self.uuids, self.collections, self.views = {}, {}, {}
        state = oracle.state_now(source.client)
        for database in {ns.split(".")[0] for ns in state.collections}:
            for info in source.client[database].list_collections():
                if "uuid" in info["info"]:
                    self.uuids[f"{database}.{info['name']}"] = bytes(info["info"]["uuid"])
        for ns, found in state.collections.items():
            if found.kind == "view":
                self.views[ns] = found.options
            elif found.kind == "collection":
                found.ns, found.visible = ns, ns.replace(f".{BUCKETS}", ".", 1)
                self.collections[self.uuids[ns]] = found


def pairs(a, b):
    """By UUID, the rest by the server's name."""
    for key in a.collections.keys() & b.collections.keys():
        yield a.collections[key], b.collections[key], True
    gone = {c.ns: c for k, c in a.collections.items() if k not in b.collections}
    new = {c.ns: c for k, c in b.collections.items() if k not in a.collections}
    for ns in gone.keys() | new.keys():
        yield gone.get(ns), new.get(ns), False


def spelled(options):
    return {k: v for k, v in options.items() if VOID.get(k) != v}


def expected(a, b, keep=lambda ns: True, named=()):
    """All differences as {(ns, change, detail): what}."""
    found = {}
    for x, y, same in pairs(a, b):
        names = [c.visible for c in (x, y) if c is not None]
        if not any(keep(n) for n in names):
            continue
        ns = names[-1]
        if x is None or y is None:
            found[ns, f"collection_{'added' if x is None else 'removed'}", None] = \
                len((x or y).documents)
            if ns not in named:
                continue
        elif not same:
            found[ns, "collection_replaced", None] = None
        elif x.visible != y.visible:
            found[ns, "collection_renamed", x.visible] = None
        if x is not None and y is not None:
            if spelled(x.options) != spelled(y.options):
                found[ns, "options_changed", None] = None
            indexes(found, ns, x.indexes, y.indexes)
        documents(found, ns, x.documents if x else [], y.documents if y else [])
    for ns in filter(keep, a.views.keys() | b.views.keys()):
        if a.views.get(ns) != b.views.get(ns):
            change = "added" if ns not in a.views else "removed" if ns not in b.views else "changed"
            found[ns, f"view_{change}", None] = None
    return found


def indexes(found, ns, before, after):
    # What every collection has, or none: the options tell whether it is clustered.
    before, after = ({i["name"]: i for i in side if not i.get("clustered") and i["name"] != "_id_"}
                     for side in (before, after))
    for name in before.keys() | after.keys():
        if text(before.get(name)) != text(after.get(name)):
            change = ("added" if name not in before else
                      "removed" if name not in after else "changed")
            found[ns, f"index_{change}", name] = None


def documents(found, ns, before, after):
    before, after = oracle.by_id(before), oracle.by_id(after)
    for key in before.keys() | after.keys():
        x, y = before.get(key), after.get(key)
        if x != y:
            change = "added" if x is None else "removed" if y is None else "changed"
            found[ns, change, key] = (x, y)


def reported(objects):
    found = {}
    for o in objects[:-1]:
        change, detail, what = o["change"], None, None
        if change in ("collection_added", "collection_removed"):
            what = o["documents"]
        elif change == "collection_renamed":
            detail = o["was"]
        elif change.startswith("index_"):
            detail = json_util.loads(json.dumps(o.get("after") or o["before"]))["name"]
        elif "id" in o:
            detail = raw({"_id": o["id"]})
            what = tuple(raw(o[side]) if side in o else None for side in ("before", "after"))
        key = (o["ns"], change, detail)
        assert key not in found, f"told twice: {key}"
        found[key] = what
    summary = objects[-1]
    assert summary["summary"] and summary["complete"]
    assert summary["differences"] == len(objects) - 1
    for change in ("added", "removed", "changed"):
        assert summary[change] == sum(1 for k in found if k[1] == change)
    return found


def diff(pitr, a, b, *args):
    """Without users and roles, which the truths here do not hold."""
    hidden = [] if "admin.system.users" in args else ["--exclude-ns", "admin.system.*"]
    return pitr.run("diff", a, b, *hidden, *args)


def check(result, want):
    assert result.rc == 0, str(result)
    have = reported(result.objects)
    lines = [f"missing {k}: {want[k]}" for k in want.keys() - have.keys()]
    lines += [f"unexpected {k}: {have[k]}" for k in have.keys() - want.keys()]
    lines += [f"{k}: expected {want[k]}, found {have[k]}" for k in want.keys() & have.keys()
              if want[k] != have[k]]
    assert not lines, f"{len(lines)} wrong\n" + "\n".join(line[:600] for line in lines[:10])




def test_a_random_history_is_told_exactly(source, pitr, tmp_path, seed):
    workload.prepare(source.client, seed, documents=150)
    with Workload(source.client, seed, mode="full") as writer:
        writer.wait_done(60)
        pitr.ok("snapshot", "--mode", "scan")  # while everything changes
        writer.wait_done(150)
        writer.pause()
        a = Truth(source)
        first = pitr.ok("snapshot", "--mode", "scan")
        segments = {p for p in (tmp_path / "repo/oplog").rglob("*") if p.is_file()}
        writer.resume()
        writer.wait_done(400)
        writer.pause()
        pitr.ok("tail", "--once")
        between = {p for p in (tmp_path / "repo/oplog").rglob("*") if p.is_file()} - segments
        b = Truth(source)
        source.client.wl_other.mark.insert_one({})
        source.client.wl_other.mark.drop()
        second = pitr.ok("snapshot", "--mode", "scan")
        writer.resume()
        writer.wait_done(30)
    pitr.ok("tail", "--once")
    want = expected(a, b)
    print(f"{len(want)} differences, {writer.done.total()} operations")
    check(diff(pitr, stamp(a.at), stamp(b.at)), want)
    check(diff(pitr, stamp(a.at), stamp(b.at), "--memory", "1"), want)
    shared = diff(pitr, first["id"], second["id"])
    check(shared, want)
    assert shared.json["from_snapshot"] == shared.json["to_snapshot"] == first["id"]
    check(diff(pitr, stamp(a.at), stamp(b.at), "--ns", "wl_shop.c*", "--exclude-ns", "wl_shop.c1"),
          expected(a, b, lambda ns: ns.startswith("wl_shop.c") and ns != "wl_shop.c1"))
    for name in sorted({c.visible for t in (a, b) for c in t.collections.values()})[-3:]:
        check(diff(pitr, stamp(a.at), stamp(b.at), "--ns", name),
              expected(a, b, lambda ns: ns == name, named=[name]))
    # Without the oplog between them, each snapshot is its own base.
    for path in between:
        path.unlink()
    apart = diff(pitr, first["id"], second["id"], "--memory", "1")
    check(apart, want)
    assert apart.json["to_snapshot"] == second["id"]


@pytest.fixture
def changed(source, pitr):
    """One of everything, between two moments."""
    db, other = source.client.shop, source.client.other
    db.orders.insert_many([{"_id": i, "n": i, "items": [{"k": 1}, {"k": 2}]} for i in range(50)])
    db.old.insert_many([{"_id": i} for i in range(5)])
    db.again.insert_many([{"_id": i, "v": 1} for i in range(4)])
    db.gone.insert_many([{"_id": i} for i in range(7)])
    db.emptied.insert_many([{"_id": i} for i in range(3)])
    db.orders.create_index("n", name="n", expireAfterSeconds=10**8)
    db.orders.create_index("lost", name="lost")
    db.command({"create": "cheap", "viewOn": "orders", "pipeline": []})
    db.command({"create": "gone_view", "viewOn": "orders", "pipeline": []})
    db.create_collection("series", timeseries={"timeField": "at"})
    other.calm.insert_many([{"_id": i} for i in range(10)])
    pitr.ok("snapshot")
    # Born after the base, and emptied between the moments.
    db.born.insert_many([{"_id": i} for i in range(6)])
    a = Truth(source)
    db.orders.update_one({"_id": 1}, {"$set": {"n": Int64(1), "items.1.k": 3}, "$unset": {"x": 1}})
    db.orders.update_one({"_id": 2}, {"$set": {"note": "new"}})
    db.orders.delete_one({"_id": 3})
    db.orders.insert_one({"_id": "new"})
    db.orders.delete_one({"_id": 4})
    db.orders.insert_one({"_id": 4, "n": 4, "items": [{"k": 1}, {"k": 2}]})  # as it was
    db.orders.update_one({"_id": 5}, {"$inc": {"n": 1}})
    db.orders.update_one({"_id": 5}, {"$inc": {"n": -1}})
    db.old.rename("renamed")
    db.renamed.insert_one({"_id": 99})
    db.again.drop()
    db.again.insert_many([{"_id": i, "v": i % 2} for i in range(1, 6)])
    db.gone.drop()
    db.made.insert_many([{"_id": i} for i in range(3)])
    db.emptied.delete_many({})
    db.born.drop()
    db.born.insert_one({"_id": 2, "x": 1})
    db.command({"collMod": "orders", "index": {"name": "n", "expireAfterSeconds": 10**8 + 1}})
    db.command({"collMod": "orders", "validator": {"n": {"$exists": True}}})
    db.orders.drop_index("lost")
    db.orders.create_index("items.k", name="k")
    db.gone_view.drop()
    db.command({"collMod": "cheap", "viewOn": "orders", "pipeline": [{"$match": {"n": 1}}]})
    db.command({"create": "new_view", "viewOn": "old", "pipeline": []})
    db.series.insert_one({"at": datetime.datetime(2026, 1, 1), "v": 1})
    list(other.calm.aggregate([{"$limit": 3}, {"$out": "out"}]))
    b = Truth(source)
    pitr.ok("tail", "--once")
    return a, b


def test_every_kind_of_difference_is_told_once(changed, pitr):
    a, b = changed
    want = expected(a, b)
    kinds = {k[1] for k in want}
    assert kinds == {"added", "removed", "changed", "collection_added", "collection_removed",
                     "collection_renamed", "collection_replaced", "options_changed", "index_added",
                     "index_removed", "index_changed", "view_added", "view_removed", "view_changed"}
    done = diff(pitr, stamp(a.at), stamp(b.at))
    check(done, want)
    assert {o["ns"] for o in done.objects[:-1] if o.get("buckets")} == {"shop.series"}
    check(diff(pitr, stamp(a.at), stamp(b.at), "--ns", "shop.old"),
          expected(a, b, lambda ns: ns in ("shop.old", "shop.renamed")))
    check(diff(pitr, stamp(a.at), stamp(b.at), "--ns", "shop.gone"),
          expected(a, b, lambda ns: ns == "shop.gone", named=["shop.gone"]))
    check(diff(pitr, stamp(a.at), stamp(b.at), "--ns", "shop.cheap"),
          expected(a, b, lambda ns: ns == "shop.cheap"))
    assert len(diff(pitr, stamp(a.at), stamp(a.at)).objects) == 1


def test_a_snapshot_in_between_changes_nothing(changed, source, pitr):
    a, b = changed
    before = reported(diff(pitr, stamp(a.at), stamp(b.at)).objects)
    pitr.ok("snapshot")
    source.client.shop.orders.insert_one({"_id": "last", "n": 1})
    c = Truth(source)
    pitr.ok("tail", "--once")
    assert reported(diff(pitr, stamp(a.at), stamp(b.at)).objects) == before
    check(diff(pitr, stamp(a.at), stamp(c.at)), expected(a, c))
    check(diff(pitr, stamp(b.at), "latest"), expected(b, c))


def test_people_can_read_it(changed, pitr):
    a, b = changed
    out = pitr.run("diff", stamp(a.at), stamp(b.at), use_json=False).stdout
    for line in ["shop.orders\n", "  ~ 1  n: {\"$numberInt\":\"1\"} -> {\"$numberLong\":\"1\"}; "
                 "items.1.k: 2 -> 3\n", "  ~ 2  note: added \"new\"\n", "  + \"new\"\n", "  - 3\n",
                 "  index ~ n  expireAfterSeconds: 100000000 -> 100000001\n", "  index - lost\n",
                 "  index + k\n", "  options  validator: added ", "  renamed from shop.old\n",
                 "  replaced by another collection of this name\n", "  view ~  pipeline.0: added ",
                 "  the collection was removed, 7 documents\n",
                 "shop.series (time-series: its documents are buckets)\n",
                 "  documents: 1 added, 1 removed, 2 changed\n", "result      "]:
        assert line in out, f"{line!r} not in\n{out}"
    out = pitr.run("diff", stamp(b.at), stamp(b.at), use_json=False).stdout
    assert "no difference" in out


def test_credentials_are_never_shown(source, pitr):
    pitr.ok("snapshot")
    a = source.now()
    source.client.admin.command({"createUser": "eve", "pwd": "hidden", "roles": []})
    try:
        pitr.ok("tail", "--once")
        done = diff(pitr, stamp(a), "latest", "--ns", "admin.system.users")
    finally:
        source.client.admin.command({"dropUser": "eve"})
    assert done.rc == 0 and "admin.eve" in done.stdout, str(done)
    assert "SCRAM" not in done.stdout
    assert all("after" not in o for o in done.objects)


def test_a_limit_ends_the_list_and_says_so(changed, pitr):
    a, b = changed
    done = diff(pitr, stamp(a.at), stamp(b.at), "--limit", "3")
    assert len(done.objects) == 4 and not done.json["complete"]
    assert done.json["differences"] == 3
    all_of_it = len(diff(pitr, stamp(a.at), stamp(b.at)).objects) - 1
    assert diff(pitr, stamp(a.at), stamp(b.at), "--limit", all_of_it).json["complete"]
    out = pitr.run("diff", stamp(a.at), stamp(b.at), "--limit", "1", use_json=False)
    assert out.rc == 0 and "there are more" in out.stdout


def test_a_reader_that_went_away_ends_it_quietly(changed, pitr):
    a, b = changed
    command = pitr.command("diff", stamp(a.at), stamp(b.at))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=clean_environment()) as process:
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == -signal.SIGPIPE and said == b""


def test_mistakes_are_named(changed, pitr):
    a, b = changed
    pitr.fails(2, "diff", stamp(b.at), stamp(a.at), says="earlier moment first")
    pitr.fails(2, "diff", stamp(a.at), stamp(b.at), "--ns", "shop.nothing*", says="no namespace")
    pitr.fails(2, "diff", stamp(a.at), stamp(b.at), "--limit", "0", says="--limit")
    pitr.fails(2, "diff", stamp(a.at), "yesterday", says="TO")
    pitr.fails(6, "diff", "5,1", stamp(b.at), says=["FROM", "nearest"])
    pitr.fails(6, "diff", "20990101T000000Z-ffffff", "latest", says="there is none")


IDS = [42, Int64(1 << 40), 2.5, "text", "", {"a": 1, "b": {"c": None}}, ObjectId(),
       Decimal128("1.10"), True, None, datetime.datetime(2026, 5, 1, tzinfo=datetime.timezone.utc),
       Binary(b"\0\1", 0), Binary(uuid.uuid4().bytes, 4), Timestamp(5, 6), MinKey(), MaxKey()]


def test_a_document_of_any_id_is_shown_as_it_was(source, pitr):
    c = source.client.shop.c
    c.insert_many([{"_id": i, "pad": "x" * 100} for i in range(1000, 3000)])
    c.insert_many([{"_id": key, "v": 1} for key in IDS[::2]])
    pitr.ok("snapshot")
    before = source.now()
    for key in IDS:
        c.replace_one({"_id": key}, {"v": 1}, upsert=True)
    first = source.now()
    for key in IDS:
        c.update_one({"_id": key}, {"$set": {"v": 2, "o": {"x": [1, key]}}})
    changed = source.now()
    c.delete_many({"_id": {"$in": IDS}})
    deleted = source.now()
    pitr.ok("tail", "--once")

    def show(key, ts):
        return pitr.run("show", "--at", stamp(ts), "--ns", "shop.c", "--id", text(key))

    for n, key in enumerate(IDS):
        if n % 2 == 0:
            assert raw(show(key, before).json["document"]) == bson.encode({"_id": key, "v": 1})
        else:
            assert show(key, before).rc == 6
        done = show(key, changed)
        assert done.rc == 0, str(done)
        assert raw(done.json["document"]) == bson.encode({"_id": key, "v": 2, "o": {"x": [1, key]}})
        assert done.json["found"] and done.json["ns"] == "shop.c"
        assert done.json["bytes"] == len(raw(done.json["document"]))
    assert raw(show(42, first).json["document"]) == bson.encode({"_id": 42, "v": 1})
    assert raw(show(2000, deleted).json["document"])
    # Equal numbers are one _id, whatever their type.
    assert raw(show(42.0, changed).json["document"])[:5] != b""
    pitr.fails(6, "show", "--at", stamp(deleted), "--ns", "shop.c", "--id", "42",
               says=["shop.c", "no document", "42"])
    out = pitr.run("show", "--at", stamp(changed), "--ns", "shop.c", "--id", "42", use_json=False)
    assert out.rc == 0 and '{\n  "_id": 42,\n  "v": 2,\n  "o": {\n' in out.stdout


def test_show_says_what_it_cannot_show(source, pitr, tmp_path):
    db = source.client.shop
    db.orders.insert_one({"_id": 1})
    db.secret.insert_one({"_id": 1})
    db.command({"create": "cheap", "viewOn": "orders", "pipeline": []})
    config = tmp_path / "pitr.yaml"
    config.write_text("excludeCollections: [shop.secret]\n")
    pitr.config = config
    taken = pitr.ok("snapshot")
    db.create_collection("series", timeseries={"timeField": "at"})
    db.series.insert_one({"at": datetime.datetime(2026, 1, 1), "v": 1})
    bucket = db["system.buckets.series"].find_one()
    db.command({"create": "later_view", "viewOn": "orders", "pipeline": []})
    db.orders.drop()
    db.orders2.insert_one({"_id": 2})
    pitr.ok("tail", "--once")

    def where(ns, key="1", at="latest"):
        return "show", "--at", at, "--ns", ns, "--id", key

    pitr.fails(6, *where("shop.orders"), says=["no collection shop.orders", "shop.orders2"])
    assert pitr.ok(*where("shop.orders", at=taken["id"]))["document"] == \
        {"_id": {"$numberInt": "1"}}
    pitr.fails(6, *where("shop.secret"), says="left out of the backup")
    pitr.fails(2, *where("shop.cheap"), says="view")
    pitr.fails(2, *where("shop.later_view"), says="view")
    pitr.fails(2, *where("shop.series"), says="shop.system.buckets.series")
    found = pitr.ok(*where("shop.system.buckets.series", text(bucket["_id"])))
    assert raw(found["document"]) == bson.encode(bucket)
    pitr.fails(6, *where("shop.system.buckets.series", "1"), says="no document")
    pitr.fails(2, *where("shop.*"), says="--ns")
    pitr.fails(2, "show", says="--at TIME")
    pitr.fails(2, "show", taken["id"], "--at", "latest", says="--at TIME")
    pitr.fails(2, "show", "--at", "latest", "--ns", "shop.orders", says="--id")
    pitr.fails(6, *where("shop.orders", at="5,1"), says="nearest")


def test_a_damaged_snapshot_gives_way_to_an_older_one(source, pitr, tmp_path):
    c = source.client.shop.c
    c.insert_one({"_id": 1})
    first = pitr.ok("snapshot")
    packs = set((tmp_path / "repo/packs").rglob("*"))
    c.insert_many([{"_id": i, "pad": os.urandom(600)} for i in range(2, 2000)])
    newer = pitr.ok("snapshot")
    for pack in set((tmp_path / "repo/packs").rglob("*")) - packs:
        if pack.is_file():
            os.truncate(pack, pack.stat().st_size // 2)
    done = pitr.run("show", "--at", newer["id"], "--ns", "shop.c", "--id", "1")
    assert done.rc == 0 and done.json["snapshot"] == first["id"], str(done)
    assert newer["id"] in done.stderr
