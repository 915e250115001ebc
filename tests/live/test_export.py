"""export writes what mongorestore loads, import reads what mongodump wrote, and both are exact.

Each test that loads or dumps runs with the harness's own loader; those called "stock" run the
tools themselves, where they are to be had (harness/dump.py tells how)."""

import datetime
import gzip as gz
import os
import random
import resource
import signal
import subprocess
import time

import bson
import pytest
from bson import json_util

from harness import dump, oracle, workload
from harness.pitr import Pitr, clean_environment, stamp

STOCK = pytest.mark.skipif(dump.tool("mongorestore") is None or dump.tool("mongodump") is None,
                           reason="mongodump and mongorestore are not here (PITR_TEST_TOOLS)")
TOOLS = [pytest.param(dump.Pymongo, id="own"), pytest.param(dump.Stock, id="stock", marks=STOCK)]
GZIP = [pytest.param(False, id="plain"), pytest.param(True, id="gzip")]
NAMES = ["a b", "a+b", "per%cent", "%2F", "sl/ash", "ключ", "new\nline", 'quote"\'', "x" * 246,
         "ж" * 60, "tmp.agg_out.1", "x.y", "~*()!-_"]
# What pymongo cannot make: DBPointer, symbol, undefined, and a key that is there twice.
RAW = bson.encode({"_id": "raw"})[:-1] + (
    b"\x0cp\0\x04\0\0\0d.c\0abcdefghijkl" b"\x0es\0\x02\0\0\0s\0" b"\x06u\0" b"\x10k\0\x01\0\0\0"
    b"\x10k\0\x02\0\0\0" b"\x10\0\x03\0\0\0" b"\0")


def flags(gzip):
    return ["--gzip"] if gzip else []


def raw_documents(rng):
    documents = [bson.encode({"_id": i, "v": workload.value(rng)}) for i in range(300)]
    documents.append(sized(RAW))
    documents.append(bson.encode({"_id": "scope", "c": bson.Code("f()", {"x": 1})}))
    documents.append(bson.encode({"_id": "long", "pad": "p" * 9_000_000}))
    return [bson.raw_bson.RawBSONDocument(d) for d in documents]


def sized(document):
    return len(document).to_bytes(4, "little") + document[4:]


def fill_indexes(db):
    db.create_collection("fr", collation={"locale": "fr", "strength": 1})
    db.fr.create_index("a")
    db.fr.create_index("b", collation={"locale": "simple"})
    db.ix.insert_many([{"_id": i, "a": i, "p": str(i), "g": [1, i]} for i in range(20)])
    db.ix.create_index("a", hidden=True, unique=True)
    db.ix.create_index("e", expireAfterSeconds=3600)
    db.ix.create_index([("t", "text")], weights={"t": 5}, default_language="french")
    db.ix.create_index([("g", "2dsphere")], sparse=True)
    db.ix.create_index([("$**", 1)], wildcardProjection={"x": 1})
    db.ix.create_index("p", partialFilterExpression={"p": {"$type": "string"}, "q": {"$gte": 5}})
    db.create_collection("strict", validationLevel="moderate", validationAction="warn", validator={
        "$jsonSchema": {"bsonType": "object", "properties": {"n": {"bsonType": ["int", "null"]}}}})
    db.create_collection("images", changeStreamPreAndPostImages={"enabled": True})
    db.create_collection("ring", capped=True, size=1 << 20, max=50)
    db.ring.insert_many([{"_id": 1000 - i} for i in range(70)])


def fill_series(db):
    db.create_collection("temps", expireAfterSeconds=10**8, timeseries={
        "timeField": "t", "metaField": "m", "granularity": "minutes"})
    minute = datetime.timedelta(minutes=1)
    db.temps.insert_many([{"t": workload.EPOCH + i * minute, "m": {"x": i % 3}, "v": i,
                           "loc": {"type": "Point", "coordinates": [1, 2]}} for i in range(50)])
    for keys in ([("t", -1)], [("m", 1)], [("m.x", -1), ("t", 1)], [("v", -1), ("m.x", 1)],
                 [("loc", "2dsphere")], [("m.h", "hashed")]):
        db.temps.create_index(keys)
    db.temps.create_index("v", name="part", partialFilterExpression={"v": {"$gt": 1}})
    db.create_collection("empty", timeseries={"timeField": "t"})
    db.command({"create": "hot", "viewOn": "temps", "pipeline": [{"$match": {"v": {"$gt": 3}}}]})
    db.command({"create": "hotter", "viewOn": "hot", "pipeline": []})


def fill(client):
    rng = random.Random(5)
    workload.prepare(client, seed=3, documents=100)
    for name in NAMES:
        client["odd"].command({"insert": name, "documents": [{"_id": 1, "name": name}]})
    dump.insert(client["types"], "all", raw_documents(rng))
    fill_indexes(client["kinds"])
    fill_series(client["series"])
    client["kinds"]["system.js"].insert_one({"_id": "f", "value": bson.Code("function () {}")})
    client.admin.command("createRole", "clerk", roles=[], privileges=[
        {"resource": {"db": "odd", "collection": ""}, "actions": ["find"]}])
    client.admin.command("createUser", "anne", pwd="a", roles=["clerk"])
    client["odd"].command("createUser", "bert", pwd="b", roles=["read"])


def remove_users(client):
    for database in ("admin", "odd"):
        client[database].command("dropAllUsersFromDatabase")
        client[database].command("dropAllRolesFromDatabase")


def change(client):
    """What must not be in an export of the moment before."""
    client["kinds"].ix.update_many({}, {"$inc": {"a": 100}})
    client["kinds"].ix.drop_index("a_1")
    client["kinds"].ring.insert_one({"_id": "late"})
    client["odd"]["a b"].rename("later")
    client["series"].temps.insert_one({"t": workload.EPOCH, "m": 9, "v": 9})
    client["types"].all.delete_many({"_id": {"$type": "number"}})
    client["odd"].command("dropAllUsersFromDatabase")


class Past:
    """A repository with a moment in it whose truth is known, and things that came after."""

    def __init__(self, server, folder):
        fill(server.client)
        self.pitr = Pitr(folder / "repo", server.uri).init()
        self.snapshot = self.pitr.ok("snapshot")
        server.client["kinds"].ix.insert_one({"_id": "in time", "a": 1000})
        server.client["odd"].added.insert_one({"_id": 1})
        self.truth = oracle.state_now(server.client, users=True)
        self.moment = stamp(server.now())
        change(server.client)
        self.pitr.ok("tail", "--once")

    def export(self, out, *args):
        return self.pitr.ok("export", "--to", self.moment, "--out", out, *args)


@pytest.fixture(scope="module")
def past(shared_source, tmp_path_factory):
    remove_users(shared_source.client)
    shared_source.wipe()
    yield Past(shared_source, tmp_path_factory.mktemp("past"))
    remove_users(shared_source.client)


@pytest.fixture
def empty(target):
    remove_users(target.client)
    yield target
    remove_users(target.client)


def settled(state):
    """mongorestore takes a 2dsphere index on measurements that names no version for the oldest,
    which servers refuse; an export therefore names it, and the server remembers that it did."""
    for coll in state.collections.values():
        for index in coll.indexes:
            index.get("originalSpec", {}).pop("2dsphereIndexVersion", None)
    return state


def assert_same(truth, server, what=""):
    oracle.assert_equal(truth, settled(oracle.state_now(server.client, users=True)), what)


@pytest.mark.parametrize("gzip", GZIP)
@pytest.mark.parametrize("tools", TOOLS)
def test_an_export_of_a_past_moment_loads_as_it_was(past, empty, tmp_path, tools, gzip):
    out = tmp_path / "new" / "dump"
    done = past.export(out, *flags(gzip))
    assert done["documents"] == sum(len(c.documents) for ns, c in past.truth.collections.items())
    assert (done["users"], done["roles"]) == (2, 1)
    assert done["views"] == sum(c.kind == "view" for c in past.truth.collections.values())
    assert done["out"] == str(out)
    assert done["snapshot"] == past.snapshot["id"]
    assert stamp(bson.Timestamp(done["to"]["t"], done["to"]["i"])) == past.moment
    tools.load(empty, out, gzip)
    assert_same(past.truth, empty)


def test_an_export_comes_back_through_import(past, empty, tmp_path):
    past.export(tmp_path / "dump", "--gzip")
    fresh = Pitr(tmp_path / "repo").init()
    made = fresh.ok("import", tmp_path / "dump", "--label", "from friday", "--codec", "lz4")
    assert (made["mode"], made["pitr"], made["label"]) == ("import", False, "from friday")
    shown = fresh.ok("show", made["id"])
    assert shown["server_version"] == past.pitr.ok("show", "latest")["server_version"]
    ids = [n["uuid"] for n in shown["namespaces"]]
    assert len(ids) == len(set(ids))
    kept = {n["ns"]: n["uuid"] for n in past.pitr.ok("show", "latest")["namespaces"]}
    moved = {n["ns"] for n in shown["namespaces"] if kept.get(n["ns"]) != n["uuid"]}
    # Made by the server for what it is told in other ways than by creating a collection.
    assert {ns for ns in moved if ".system." not in ns} == {"odd.added"}
    fresh.ok("verify", "--data")
    fresh.restore("--snapshot", made["id"], target=empty.uri)
    assert_same(past.truth, empty)
    done = fresh.ok("export", "--snapshot", made["id"], "--out", tmp_path / "again")
    assert done["to"] is None
    fresh.restore("--backup-path", tmp_path / "again", "--drop", target=empty.uri)
    assert_same(past.truth, empty)


@pytest.mark.parametrize("gzip", GZIP)
@pytest.mark.parametrize("tools", TOOLS)
def test_a_dump_imports_and_restores(source, empty, tmp_path, tools, gzip):
    remove_users(source.client)
    fill(source.client)
    truth = oracle.state_now(source.client, users=True)
    tools.dump(source, tmp_path / "dump", gzip)
    pitr = Pitr(tmp_path / "repo").init()
    made = pitr.ok("import", tmp_path / "dump")
    pitr.restore("--snapshot", made["id"], target=empty.uri)
    assert_same(truth, empty, "imported")
    pitr.restore("--backup-path", tmp_path / "dump", "--drop", target=empty.uri)
    assert_same(truth, empty, "from the dump itself")
    remove_users(source.client)


def test_an_import_changes_nothing_for_the_cluster(source, target, pitr, tmp_path):
    source.client["shop"].orders.insert_one({"_id": 1})
    taken = pitr.ok("snapshot")
    target.client["other"].c.insert_one({"_id": "of another server"})
    dump.Pymongo.dump(target, tmp_path / "dump")
    before, healthy = pitr.ok("list")["restorable"], pitr.ok("status")
    made = pitr.ok("import", tmp_path / "dump")
    assert pitr.ok("list")["restorable"] == before
    assert pitr.ok("status")["last_success"] == healthy["last_success"]
    assert pitr.ok("show", "latest")["id"] == taken["id"]
    for moment in (["--latest"], ["--snapshot", "latest"], ["--to", "latest"]):
        plan = pitr.ok("restore", *moment, "--plan", "--drop", "--target", target.uri)
        assert plan["snapshot"] == taken["id"], moment
    source.client["shop"].orders.insert_one({"_id": 2})
    pitr.ok("tail", "--once")
    pitr.ok("snapshot")
    pitr.restore("--snapshot", made["id"], "--drop", target=target.uri)
    assert [d["_id"] for d in target.client["other"].c.find()] == ["of another server"]


def test_what_only_pitr_can_load_is_told_and_loaded(source, target, pitr, tmp_path):
    """mongorestore fails at each of these, whoever wrote the dump (docs/dumps.md)."""
    db = source.client["odd"]
    db.create_collection("s" * 230, timeseries={"timeField": "t"})
    db["s" * 230].insert_one({"t": workload.EPOCH})
    db["ж%" * 50].insert_one({"_id": 1})
    db.create_collection("both", clusteredIndex={"key": {"_id": 1}, "unique": True})
    db.command({"convertToCapped": "both", "size": 8192})
    db.create_collection("old", idIndex={"v": 1, "key": {"_id": 1}, "name": "_id_"})
    db.old.create_index("a", v=1)
    pitr.ok("snapshot")
    done = pitr.run("export", "--latest", "--out", tmp_path / "dump")
    assert done.rc == 0
    warnings = [line for line in done.stderr.splitlines() if "warning export: " in line]
    assert [any(name in line for line in warnings)
            for name in ("odd.sss", "odd.ж%", "odd.both", "odd.old")] == [True, True, True, False]
    pitr.restore("--backup-path", tmp_path / "dump", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))


def test_names_select_and_rename_what_is_exported(past, target, tmp_path):
    past.export(tmp_path / "dump", "--ns", "odd.*", "--exclude-ns", "odd.*+*",
                "--rename", "odd.*=even.*")
    assert sorted(os.listdir(tmp_path / "dump")) == ["even", "prelude.json"]
    dump.Pymongo.load(target, tmp_path / "dump")
    wanted = past.truth.only(lambda ns: ns.startswith("odd.") and "+" not in ns)
    oracle.assert_equal(wanted.renamed(lambda ns: ns.replace("odd.", "even.", 1)),
                        oracle.state_now(target.client))
    metadata = json_util.loads((tmp_path / "dump/even/x.y.metadata.json").read_text())
    assert metadata["uuid"] == "", "a copy is not the collection"


def refused(past, rc, out, *args, says=(), **options):
    """An export that fails leaves its surroundings as they were."""
    before = sorted(os.listdir(out.parent)) if out.parent.is_dir() else None
    line = past.pitr.fails(rc, "export", *args, "--out", out, says=says, **options)
    if before is not None:
        assert sorted(os.listdir(out.parent)) == before
    return line


def test_what_cannot_be_written_is_refused(past, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("precious")
    (tmp_path / "file").write_text("precious")
    at = ["--to", past.moment]
    past.pitr.fails(2, "export", *at, says="--out")
    refused(past, 2, tmp_path / "full", *at, says=["full is not empty", "mine"])
    refused(past, 2, tmp_path / "file", *at, says="is no directory")
    refused(past, 4, tmp_path / "file/dump", *at, says="file")
    refused(past, 2, tmp_path / "dump", *at, "--ns", "nothing.*", says="no namespace")
    refused(past, 2, tmp_path / "dump", says="which moment")
    refused(past, 6, tmp_path / "dump", "--to", "2020-01-01T00:00:00Z", says="2020")
    refused(past, 6, tmp_path / "dump", "--snapshot", "nonsense", says="nonsense")
    assert (tmp_path / "full/mine").read_text() == (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("gzip", GZIP)
def test_a_full_disk_leaves_nothing(past, tmp_path, gzip):
    def small():
        # Left to itself, the kernel would end the program at the limit.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    refused(past, 4, tmp_path / "dump", "--to", past.moment, *flags(gzip),
            says=["dump.part-", ".bson", "too large"], preexec=small)


def test_an_empty_directory_is_good_enough(past, tmp_path):
    (tmp_path / "dump").mkdir()
    past.export(tmp_path / "dump")
    assert (tmp_path / "dump/kinds/ix.bson").exists()
    assert os.listdir(tmp_path) == ["dump"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_export_that_is_ended_is_absent_or_complete(past, tmp_path, seed, number):
    rng = random.Random(seed)
    started = time.monotonic()
    past.export(tmp_path / "whole")
    took = time.monotonic() - started
    wanted = listing(tmp_path / "whole")
    ended = 0
    for i in range(12):
        out = tmp_path / f"dump{i}"
        process = subprocess.Popen(past.pitr.command("export", "--to", past.moment, "--out", out),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=clean_environment())
        time.sleep(rng.random() * took)
        process.send_signal(number)
        rc = process.wait(30)
        ended += rc != 0
        # It may be ended before it listens to signals.
        assert rc in ((0, -9) if number == signal.SIGKILL else (0, -15, 130))
        if out.exists():
            assert listing(out) == wanted
        left = [n for n in os.listdir(tmp_path) if n.startswith(f"{out.name}.")]
        assert all(n.startswith(f"{out.name}.part-") for n in left)
        assert number == signal.SIGKILL or left == []
        assert rc != 0 or left == []
    assert ended > 0, "no export was ended; the seed's delays are too long"


def listing(directory):
    return sorted((str(p.relative_to(directory)), p.read_bytes())
                  for p in directory.rglob("*") if p.is_file())


def test_a_damaged_dump_is_told_with_file_and_offset(past, tmp_path):
    past.export(tmp_path / "dump", "--ns", "kinds.ix")
    pitr = Pitr(tmp_path / "repo").init()
    documents, metadata = (tmp_path / "dump/kinds" / n for n in ("ix.bson", "ix.metadata.json"))
    whole = documents.read_bytes()
    first = int.from_bytes(whole[:4], "little")
    documents.write_bytes(whole[:first + 7])
    pitr.fails(5, "import", tmp_path / "dump", says=["ix.bson, offset %d" % first, "ends inside"])
    documents.unlink()
    (tmp_path / "dump/kinds/ix.bson.gz").write_bytes(gz.compress(whole)[:-20])
    pitr.fails(5, "import", tmp_path / "dump", says="ix.bson.gz, offset")
    (tmp_path / "dump/kinds/ix.bson.gz").unlink()
    documents.write_bytes(whole)
    text = metadata.read_text()
    metadata.write_text(text[:len(text) // 2])
    pitr.fails(5, "import", tmp_path / "dump", says=["ix.metadata.json: JSON at byte"])
    metadata.write_text(text)
    assert pitr.ok("list")["snapshots"] == []
    assert pitr.ok("import", tmp_path / "dump")["documents"] == 21


def test_what_is_no_dump_is_a_wrong_argument(past, tmp_path):
    pitr = Pitr(tmp_path / "repo").init()
    (tmp_path / "archive").write_bytes(b"\x6d\xe2\x99\x81")
    (tmp_path / "nothing").mkdir()
    pitr.fails(2, "import", tmp_path / "missing", says="nothing there")
    pitr.fails(2, "import", tmp_path / "archive", says="archive of mongodump is not read")
    pitr.fails(2, "import", tmp_path / "nothing", says="no mongodump directory")
    past.export(tmp_path / "dump", "--ns", "kinds.ix")
    pitr.fails(2, "import", tmp_path / "dump/kinds", says="folder around it")
    (tmp_path / "dump/oplog.bson").write_bytes(b"")
    pitr.fails(2, "import", tmp_path / "dump", says="--oplogReplay")
