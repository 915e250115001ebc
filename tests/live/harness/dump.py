"""Directories as mongodump writes them, written and loaded by a client that knows nothing of pitr.

What mongodump and mongorestore do is done here step by step with pymongo, so that the tests need
neither. Where both are there, in the folder that PITR_TEST_TOOLS names or in .deps/tools, Stock runs
them instead.
"""

import base64
import gzip as gz
import hashlib
import os
import pathlib
import subprocess
import urllib.parse

import bson
from bson import json_util

from harness.oracle import MAJORITY, RAW

ROOT = pathlib.Path(__file__).resolve().parents[3]
CANONICAL = json_util.CANONICAL_JSON_OPTIONS
BUCKETS = "system.buckets."
NAME_MAX, CUT_AT = 238, 208


def tool(name):
    """The path of a stock tool, or None."""
    path = pathlib.Path(os.environ.get("PITR_TEST_TOOLS", ROOT / ".deps/tools")) / name
    return str(path) if path.exists() else None


def file_name(collection):
    name = urllib.parse.quote_plus(collection)
    if len(name) > NAME_MAX:
        digest = hashlib.sha1(collection.encode()).digest()
        name = name[:CUT_AT] + "%24" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return name


def read(path):
    data = path.read_bytes()
    return gz.decompress(data) if path.suffix == ".gz" else data


def write(path, data, gzip):
    path.parent.mkdir(parents=True, exist_ok=True)
    if gzip:
        pathlib.Path(f"{path}.gz").write_bytes(gz.compress(data))
    else:
        path.write_bytes(data)


class Pymongo:
    """Dumps and loads with pymongo."""

    @staticmethod
    def dump(server, directory, gzip=False):
        directory = pathlib.Path(directory)
        for database in server.client.list_database_names():
            if database in ("local", "config"):
                continue
            for info in server.client[database].list_collections():
                dump_collection(server.client[database], info, directory / database, gzip)

    @staticmethod
    def load(server, directory, gzip=False):
        end = ".metadata.json" + (".gz" if gzip else "")
        views = []
        for path in sorted(pathlib.Path(directory).glob(f"*/*{end}")):
            metadata = json_util.loads(read(path).decode(), json_options=CANONICAL)
            name = metadata["collectionName"]
            check_file_name(path.name[:-len(end)], name)
            if path.parent.name == "admin" and name.startswith("system."):
                continue
            if metadata["type"] == "view":
                views.append((path.parent.name, name, metadata))
            else:
                load_collection(server.client[path.parent.name], name, metadata, path.parent, gzip)
        for database, name, metadata in sorted(views, key=lambda v: v[1]):
            server.client[database].command({"create": name, **metadata["options"]})
        load_users(server.client, pathlib.Path(directory) / "admin", gzip)


def check_file_name(stem, name):
    """Whole, or cut as mongodump cuts it."""
    if len(stem) == NAME_MAX and stem[CUT_AT:CUT_AT + 3] == "%24":
        assert stem[CUT_AT:] == file_name(name)[CUT_AT:]
    else:
        assert urllib.parse.unquote_plus(stem) == name


def dump_collection(db, info, directory, gzip):
    name, kind = info["name"], info["type"]
    if name.startswith("system."):
        kept = ("system.js",) if db.name != "admin" else ("system.users", "system.roles",
                                                          "system.version", "system.js")
        if name not in kept:
            return
    indexes = [] if kind == "view" else list(
        db.command({"listIndexes": name, "cursor": {"batchSize": 1000}})["cursor"]["firstBatch"])
    metadata = {"options": info["options"], "indexes": indexes, "uuid": "", "collectionName": name,
                "type": kind}
    if "uuid" in info["info"]:
        metadata["uuid"] = bytes(info["info"]["uuid"]).hex()
    text = json_util.dumps(metadata, json_options=CANONICAL)
    write(directory / f"{file_name(name)}.metadata.json", text.encode(), gzip)
    if kind != "view":
        stored = BUCKETS + name if kind == "timeseries" else name
        coll = db.get_collection(stored, codec_options=RAW, read_concern=MAJORITY)
        write(directory / f"{file_name(stored)}.bson",
              b"".join(bytes(d.raw) for d in coll.find(sort=[("$natural", 1)])), gzip)


def load_collection(db, name, metadata, directory, gzip):
    stored = BUCKETS + name if metadata["type"] == "timeseries" else name
    if name != "system.js":
        db.command({"create": name, **metadata["options"]})
    path = directory / (file_name_like(directory, stored, gzip))
    insert(db, stored, bson.decode_all(read(path), codec_options=RAW))
    indexes = [i for i in metadata["indexes"] if i["name"] != "_id_"]
    if indexes:
        collation = metadata["options"].get("collation")
        for index in indexes:
            if collation and "collation" not in index:
                index["collation"] = {"locale": "simple"}
        db.command({"createIndexes": name, "indexes": indexes})


def file_name_like(directory, name, gzip):
    """The documents' file; a space may be written in two ways."""
    end = ".bson" + (".gz" if gzip else "")
    for stem in (file_name(name), file_name(name).replace("+", "%20")):
        if (directory / (stem + end)).exists():
            return stem + end
    raise AssertionError(f"{directory}: no documents of {name}")


def insert(db, name, documents):
    for at in range(0, len(documents), 1000):
        db.command({"insert": name, "documents": documents[at:at + 1000], "ordered": True,
                    "bypassDocumentValidation": True})


def load_users(client, admin, gzip):
    """As mongorestore does it, which asks for the schema first."""
    end = ".bson" + (".gz" if gzip else "")
    found = {k: admin / f"system.{k}{end}" for k in ("users", "roles")}
    found = {k: path for k, path in found.items() if path.exists()}
    if not found:
        return
    version = bson.decode_all(read(admin / f"system.version{end}"))
    assert {"_id": "authSchema", "currentVersion": 5} in version
    command = {"_mergeAuthzCollections": 1}
    for kind, path in found.items():
        client.admin[f"temp{kind}"].drop()
        insert(client.admin, f"temp{kind}", bson.decode_all(read(path), codec_options=RAW))
        command[f"temp{kind.capitalize()}Collection"] = f"admin.temp{kind}"
    client.admin.command({**command, "drop": False, "db": ""})
    for kind in found:
        client.admin[f"temp{kind}"].drop()


class Stock:
    """The tools themselves."""

    @staticmethod
    def dump(server, directory, gzip=False):
        run(tool("mongodump"), "--uri", server.uri, "--out", str(directory), *flags(gzip))

    @staticmethod
    def load(server, directory, gzip=False):
        run(tool("mongorestore"), "--uri", server.uri, *flags(gzip), str(directory))


def flags(gzip):
    return ["--gzip"] if gzip else []


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stderr[-3000:]}"
