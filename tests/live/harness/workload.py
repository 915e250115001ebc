"""A seeded writer with several threads that does to a database what applications do.

mode "crud" changes documents only: the catalog stands still, so the truth at any time can be read
while it runs. mode "full" also creates, drops, renames and alters collections, indexes, views and
databases. Between pause() and resume() nothing is written, so the state then is a fixed point; but
prepared transactions (only with prepares=True) stay open over it and end when they please.

What a server of an older version does not know it refuses, so one writer serves them all.

Operations that the server refuses (a race with a drop, a duplicate key) are part of the game: they
are counted by code in `refused`. Any other exception ends the writer and is raised by stop().
"""

import datetime
import random
import threading
import time
import uuid
from collections import Counter, deque

from bson import Binary, Decimal128, Int64, ObjectId, Regex, Timestamp
from bson.code import Code
from bson.max_key import MaxKey
from bson.min_key import MinKey
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne, WriteConcern
from pymongo.errors import (BulkWriteError, ConfigurationError, ConnectionFailure,
                            OperationFailure)

from harness.mongod import NEWEST, Features

DATABASE = "wl_shop"
OTHER_DATABASE = "wl_other"
DOOMED_DATABASE = "wl_doomed"
# Collections that crud knows; created by prepare() and not touched by DDL in crud mode.
PLAIN = ["c0", "c1", "c2", "c3"]
CLUSTERED = "clustered"
CAPPED = "capped"
SERIES = "series"
EXPIRING = "expiring"
COLLATED = "collated"
BIG = "big"
PREPARED = ["p0", "p1", "p2"]
EXPIRE_SECONDS = 3600
EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def prepare(client, seed=1, documents=300, features=None):
    """Creates the collections that the writer works on, with indexes and some data."""
    features = features or Features(NEWEST)
    rng = random.Random(f"prepare-{seed}")
    db = client[DATABASE]
    for name in PLAIN:
        db.create_collection(name)
        db[name].insert_many([document(rng, i, odd=False) for i in range(documents)])
        db[name].create_index([("n", 1), ("s", -1)])
    db.c0.create_index("tags")
    db.c1.create_index("o.x", sparse=True)
    db.c2.create_index([("s", "hashed")])
    db.c3.create_index("u", unique=True, partialFilterExpression={"u": {"$gt": 0}})
    options = {"clusteredIndex": {"key": {"_id": 1}, "unique": True}} if features.clustered else {}
    db.create_collection(CLUSTERED, **options)
    db[CLUSTERED].insert_many([{"_id": i, "n": i} for i in range(50)])
    db.create_collection(CAPPED, capped=True, size=65536, max=100)
    options = {"timeseries": {"timeField": "at", "metaField": "sensor"}} if features.time_series else {}
    db.create_collection(SERIES, **options)
    db[EXPIRING].create_index("at", expireAfterSeconds=EXPIRE_SECONDS)
    db.create_collection(COLLATED, collation={"locale": "en", "strength": 2})
    for name in PREPARED + [BIG]:
        db.create_collection(name)
    db.command({"create": "cheap", "viewOn": "c0", "pipeline": [{"$match": {"n": {"$lt": 50}}}]})


def value(rng, depth=0):
    """A value of any BSON type."""
    makers = [
        lambda: rng.randrange(-1000, 1000),
        lambda: Int64(rng.randrange(1 << 40)),
        lambda: rng.choice([0.0, -0.0, 1.5, float("inf"), rng.random() * 1e9]),
        lambda: rng.choice(["", "a", "naïve", "ключ", "x" * rng.randrange(200), "nul\0inside"]),
        lambda: rng.random() < 0.5,
        lambda: None,
        lambda: EPOCH + datetime.timedelta(milliseconds=rng.randrange(10**10)),
        lambda: Decimal128(str(rng.randrange(10**9) / 1000)),
        lambda: ObjectId(rng.randbytes(12)),
        lambda: Binary(rng.randbytes(rng.randrange(64)), rng.choice([0, 5, 128])),
        lambda: Regex("^a.*b$", "i"),
        lambda: Timestamp(rng.randrange(1, 1 << 31), rng.randrange(1 << 31)),
        lambda: Code("function () { return 1; }"),
        lambda: rng.choice([MinKey(), MaxKey()]),
        lambda: Binary(uuid.UUID(int=rng.getrandbits(128)).bytes, 4),
    ]
    if depth < 3:
        makers += [lambda: [value(rng, depth + 1) for _ in range(rng.randrange(6))],
                   lambda: {rng.choice("abcxyz019"): value(rng, depth + 1)
                            for _ in range(rng.randrange(5))}] * 2
    return rng.choice(makers)()


def identity(rng):
    """An _id out of a small set of every type that an _id may have, so that keys collide."""
    n = rng.randrange(300)
    return rng.choice([n, n, n, Int64(n + (1 << 33)), n + 0.5, f"id{n}", {"a": n, "b": {"c": 1}},
                       ObjectId(n.to_bytes(12, "big")), Decimal128(f"{n}.25"), n % 2 == 0, None,
                       EPOCH + datetime.timedelta(days=n), Binary(n.to_bytes(2, "big"), 0),
                       Binary(uuid.UUID(int=n).bytes, 4), Timestamp(n + 1, 1)])


def document(rng, key, odd=True):
    """odd: now and then with names of fields that older servers refuse."""
    made = {"_id": key, "n": rng.randrange(1000), "s": rng.choice("abcdef") * rng.randrange(30),
            "tags": [rng.choice("abcd") for _ in range(rng.randrange(5))],
            "o": {"x": rng.randrange(100), "y": {"z": [1, 2, {"k": rng.randrange(9)}]}},
            "items": [{"k": i, "v": rng.randrange(50)} for i in range(rng.randrange(6))]}
    for i in range(rng.randrange(4)):
        made[f"f{i}"] = value(rng)
    if rng.random() < 0.05:
        made.update({"": value(rng), "a.b": value(rng), "u": rng.randrange(-500, 0)})
    if odd and rng.random() < 0.01:
        made.update({"$x": value(rng), "o": {"$in": [1], "x": rng.randrange(100)}})
    if rng.random() < 0.1:
        made["pad"] = "p" * rng.randrange(20_000)
    return made


UPDATES = [
    lambda r: {"$set": {"n": r.randrange(1000)}},
    lambda r: {"$set": {"o.y.z.2.k": r.randrange(99), "o.new": value(r)}},
    lambda r: {"$set": {f"g{r.randrange(5)}": value(r), f"{r.randrange(20)}": value(r)}},
    lambda r: {"$set": {f"items.{r.randrange(8)}.v": r.randrange(50)}},
    lambda r: {"$unset": {f"f{r.randrange(4)}": 1, "o.new": 1}},
    lambda r: {"$unset": {f"items.{r.randrange(3)}": 1}},
    lambda r: {"$inc": {"n": r.randrange(-5, 6), "o.x": 1}},
    lambda r: {"$mul": {"n": 1.5}},
    lambda r: {"$push": {"tags": r.choice("abcdxyz")}},
    lambda r: {"$push": {"items": {"$each": [{"k": 7, "v": r.randrange(50)}], "$position": 0,
                                   "$slice": 8}}},
    lambda r: {"$push": {"tags": {"$each": ["m", "b"], "$sort": 1, "$slice": -6}}},
    lambda r: {"$pull": {"tags": r.choice("abcd")}},
    lambda r: {"$pop": {"items": r.choice([1, -1])}},
    lambda r: {"$addToSet": {"tags": {"$each": ["q", r.choice("abcd")]}}},
    lambda r: {"$rename": {"f0": "f9", "o.new": "moved"}},
    lambda r: {"$bit": {"o.x": {"xor": 5}}},
    lambda r: {"$min": {"n": 10}, "$max": {"o.x": 40}},
    lambda r: {"$currentDate": {"at": True}},
    lambda r: [{"$set": {"n": {"$add": [{"$ifNull": ["$o.x", 0]}, 1]}, "copy": "$s"}}],
    lambda r: [{"$set": {"items": {"$slice": [{"$ifNull": ["$items", []]}, 2]}}}],
    lambda r: [{"$unset": ["copy", "f1"]}, {"$set": {"tags": {"$reverseArray": {
        "$cond": [{"$isArray": "$tags"}, "$tags", []]}}}}],
    lambda r: [{"$replaceWith": {"$mergeObjects": [{"first": r.randrange(9)}, "$$ROOT"]}}],
    lambda r: [{"$replaceWith": {"$setField": {"field": r.choice(["", "a.b", {"$literal": "$x"}]),
                                               "input": "$$ROOT", "value": r.randrange(99)}}}],
    lambda r: [{"$replaceWith": {"$unsetField": {"field": r.choice(["a.b", "", "_id"]),
                                                 "input": "$$ROOT"}}}, {"$set": {"n": 1}}],
]

VALIDATOR = {"$jsonSchema": {"bsonType": "object", "properties": {"n": {"bsonType": "int"}}}}


class Workload:
    def __init__(self, client, seed=1, mode="crud", threads=4, writers_pause=0.002,
                 prepares=False, test_commands=False):
        assert mode in ("crud", "full")
        self.open = []
        # One applyOps locks all there is, and waits for prepared transactions as they wait for it.
        self.ddl = [(kind, weight) for kind, weight in DDL if not (prepares and kind is apply_ops)]
        if test_commands:
            self.ddl += TEST_DDL
        self.client = client
        self.seed = seed
        self.mode = mode
        self.rest = writers_pause
        self.done = Counter()
        self.refused = Counter()
        self.points = deque(maxlen=5000)
        self.errors = []
        self.lock = threading.Condition()
        self.paused = False
        self.ended = False
        self.busy = 0
        self.threads = [threading.Thread(target=self._work, args=(i,), daemon=True)
                        for i in range(threads)]
        if prepares:
            self.threads += [threading.Thread(target=self._prepare, daemon=True),
                             threading.Thread(target=self._end_prepared, daemon=True)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def pause(self):
        """Returns when no operation is under way; none starts before resume()."""
        with self.lock:
            self.paused = True
            assert self.lock.wait_for(lambda: self.busy == 0, timeout=60)

    def resume(self, mode=None):
        with self.lock:
            self.mode = mode or self.mode
            self.paused = False
            self.lock.notify_all()

    def wait_done(self, more, seconds=120):
        """Returns when `more` further operations were done, or an error ended the writer."""
        goal = sum(self.done.copy().values()) + more
        deadline = time.monotonic() + seconds
        while sum(self.done.copy().values()) < goal and not self.errors:
            assert time.monotonic() < deadline, f"the writer is stuck: {self.refused}"
            time.sleep(0.01)

    def stop(self):
        with self.lock:
            self.ended = True
            self.paused = False
            self.lock.notify_all()
        for thread in self.threads:
            thread.join(60)
        if self.errors:
            raise self.errors[0]

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *exc):
        try:
            self.stop()
        except Exception:
            if kind is None:
                raise

    def _work(self, number):
        rng = random.Random(f"{self.seed}-{number}")
        wait = threading.Event()
        session = self.client.start_session()
        while True:
            with self.lock:
                self.lock.wait_for(lambda: self.ended or not self.paused)
                if self.ended:
                    session.end_session()
                    return
                self.busy += 1
                mode = self.mode
            try:
                self._one(rng, session, mode)
            except Exception as e:  # reported by stop()
                with self.lock:
                    self.errors.append(e)
                    self.ended = True
            finally:
                with self.lock:
                    self.busy -= 1
                    self.lock.notify_all()
            wait.wait(self.rest)

    def _prepare(self):
        """Keeps up to three prepared transactions open, each for a while of its own. Another thread
        ends them: to begin one may have to wait for the end of others."""
        rng = random.Random(f"{self.seed}-prepare")
        wait = threading.Event()
        while not self.ended:
            wait.wait(0.05 + rng.random() * 0.3)
            free = set(PREPARED) - {p.name for p in list(self.open)}
            if free and not self.paused:
                self._try("prepare", lambda: self.open.append(
                    Prepared(rng, self.client, rng.choice(sorted(free)))))

    def _end_prepared(self):
        rng = random.Random(f"{self.seed}-end")
        wait = threading.Event()
        while not self.ended or self.open or self.threads[-2].is_alive():
            wait.wait(0.02)
            now = time.monotonic()
            for due in [p for p in list(self.open) if p.due <= now or self.ended]:
                self._try("end_prepared", lambda due=due: due.end(rng, self.client))
                self.open.remove(due)

    def _try(self, name, action):
        try:
            action()
            self.done[name] += 1
        except (OperationFailure, ConnectionFailure) as e:
            self.refused[f"{name} {getattr(e, 'code', 'connection')}"] += 1
        except Exception as e:  # reported by stop()
            with self.lock:
                self.errors.append(e)
                self.ended = True

    def _one(self, rng, session, mode):
        kinds = CRUD if mode == "crud" or rng.random() < 0.8 else self.ddl
        operation = rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
        name = operation.__name__
        try:
            operation(rng, self.client, session)
            self.done[name] += 1
        except (OperationFailure, BulkWriteError) as e:
            self.refused[f"{name} {e.code}"] += 1
        except (ConnectionFailure, ConfigurationError):
            # A server that is killed or steps down: the writer goes on when it is back. While no
            # member is known at all, the client says that sessions are not supported.
            self.refused[f"{name} connection"] += 1
        if session.operation_time is not None:
            self.points.append(session.operation_time)


class Prepared:
    """A transaction that is prepared, as those of a sharded cluster are. It has a collection of its
    own: whoever comes near one of its documents waits for its end. The server lets tests alone
    prepare on a replica set."""

    def __init__(self, rng, client, name):
        self.name = name
        coll = client[DATABASE][name]
        self.due = time.monotonic() + rng.choice([0, 0.1, 1, 3])
        self.session = client.start_session(causal_consistency=False)
        self.session.start_transaction()
        # When such a transaction is aborted, 4.4.2 brings back a document that it wrote and deleted.
        deletes_own = client.server_info()["versionArray"][0] >= 5
        keys = set(range(12))
        try:
            for _ in range(rng.randrange(1, 12)):
                key = rng.choice(sorted(keys))
                if not deletes_own and len(keys) > 1:
                    keys.remove(key)
                rng.choice([
                    lambda: coll.update_one({"_id": key}, {"$set": {"v": value(rng)}}, upsert=True,
                                            session=self.session),
                    lambda: coll.replace_one({"_id": key}, {"r": value(rng)}, upsert=True,
                                             session=self.session),
                    lambda: coll.delete_one({"_id": key}, session=self.session),
                    lambda: coll.insert_one({"_id": ObjectId(rng.randbytes(12)), "v": key},
                                            session=self.session)])()
            self.at = client.admin.command("prepareTransaction", 1, session=self.session,
                                           writeConcern={"w": "majority"})["prepareTimestamp"]
        except BaseException:
            self.session.end_session()
            raise

    def end(self, rng, client):
        try:
            if rng.random() < 0.25:
                self.session.abort_transaction()
            else:
                client.admin.command("commitTransaction", 1, commitTimestamp=self.at,
                                     session=self.session)
        finally:
            self.session.end_session()


def plain(rng, client):
    return client[DATABASE][rng.choice(PLAIN)]


def insert(rng, client, session):
    plain(rng, client).insert_one(document(rng, identity(rng)), session=session)


def insert_many(rng, client, session):
    made = [document(rng, ObjectId(rng.randbytes(12))) for _ in range(rng.randrange(1, 20))]
    plain(rng, client).insert_many(made, ordered=False, session=session)


def update(rng, client, session):
    plain(rng, client).update_one({"_id": identity(rng)}, rng.choice(UPDATES)(rng), session=session)


def update_any(rng, client, session):
    plain(rng, client).update_many({"n": {"$lt": rng.randrange(100)}}, rng.choice(UPDATES)(rng),
                                   session=session)


def upsert(rng, client, session):
    plain(rng, client).update_one({"_id": identity(rng)}, {"$set": {"n": 5, "o.up": value(rng)}},
                                  upsert=True, session=session)


def replace(rng, client, session):
    key = identity(rng)
    plain(rng, client).replace_one({"_id": key}, document(rng, key), upsert=True, session=session)


def delete(rng, client, session):
    plain(rng, client).delete_one({"_id": identity(rng)}, session=session)


def delete_many(rng, client, session):
    low = rng.randrange(1000)
    plain(rng, client).delete_many({"n": {"$gte": low, "$lt": low + 12}}, session=session)


def find_and_modify(rng, client, session):
    plain(rng, client).find_one_and_update({"_id": identity(rng)}, rng.choice(UPDATES)(rng),
                                           session=session)


def images(rng, client, session):
    """What a retry would be answered with, the server keeps as images of the document."""
    coll, key = plain(rng, client), identity(rng)
    if rng.random() < 0.3:
        coll.find_one_and_delete({"_id": key}, session=session)
    else:
        coll.find_one_and_replace({"_id": key}, document(rng, key), session=session,
                                  return_document=rng.random() < 0.5)


def expire(rng, client, session):
    """Deleted by the server in a second or two, where it is told to look that often."""
    now = datetime.datetime.now(datetime.timezone.utc)
    at = now - datetime.timedelta(seconds=EXPIRE_SECONDS - rng.random() * 2)
    key = identity(rng)
    client[DATABASE][EXPIRING].replace_one({"_id": key}, {"_id": key, "at": at, "v": value(rng)},
                                           upsert=True, session=session)


def collated(rng, client, session):
    """Ids that differ in case only are the same document."""
    coll = client[DATABASE][COLLATED]
    key = "".join(rng.choice([c, c.upper()]) for c in rng.choice("abcdef") + rng.choice("xyz"))
    kind = rng.randrange(4)
    if kind == 0:
        coll.delete_one({"_id": key}, session=session)
    elif kind == 1:
        coll.insert_one({"_id": key, "v": value(rng)}, session=session)
    else:
        coll.update_one({"_id": key}, {"$set": {"v": value(rng)}}, upsert=kind == 2, session=session)


def big(rng, client, session):
    """Up to the largest document there can be; one of two places, and mostly empty."""
    coll, key = client[DATABASE][BIG], rng.randrange(2)
    kind = rng.randrange(4)
    if kind < 2:
        coll.delete_one({"_id": key}, session=session)
    elif kind == 2:
        coll.update_one({"_id": key}, {"$set": {"n": rng.randrange(9)}}, session=session)
    else:
        size = rng.choice([1 << 20, 3 << 20, (16 << 20) - 200])
        coll.replace_one({"_id": key}, {"pad": rng.choice("xyz") * (size - 1000)
                                        + rng.randbytes(500).hex()},
                         upsert=True, session=session)


def bulk(rng, client, session):
    steps = []
    for _ in range(rng.randrange(2, 25)):
        key = identity(rng)
        steps.append(rng.choice([
            InsertOne(document(rng, ObjectId(rng.randbytes(12)))), DeleteOne({"_id": key}),
            UpdateOne({"_id": key}, rng.choice(UPDATES)(rng)),
            ReplaceOne({"_id": key}, document(rng, key), upsert=True),
            UpdateMany({"o.x": rng.randrange(100)}, {"$inc": {"n": 1}})]))
    plain(rng, client).bulk_write(steps, ordered=False, session=session)


def transaction(rng, client, session):
    with client.start_session() as own:
        own.start_transaction(write_concern=WriteConcern("majority"))
        for _ in range(rng.randrange(1, 8)):
            rng.choice([insert, update, replace, delete, insert_many])(rng, client, own)
        if rng.random() < 0.2:
            own.abort_transaction()
        else:
            own.commit_transaction()
        session.advance_operation_time(own.operation_time)


def clustered(rng, client, session):
    coll = client[DATABASE][CLUSTERED]
    key = rng.randrange(200)
    if rng.random() < 0.3:
        coll.delete_one({"_id": key}, session=session)
    else:
        coll.update_one({"_id": key}, {"$set": {"n": value(rng)}}, upsert=True, session=session)


def measure(rng, client, session):
    made = [{"at": EPOCH + datetime.timedelta(seconds=rng.randrange(7200)), "v": rng.random(),
             "sensor": rng.randrange(4)} for _ in range(rng.randrange(1, 40))]
    client[DATABASE][SERIES].insert_many(made, session=session)


def capped_insert(rng, client, session):
    made = [{"_id": ObjectId(rng.randbytes(12)), "line": "l" * rng.randrange(900)}
            for _ in range(rng.randrange(1, 30))]
    client[DATABASE][CAPPED].insert_many(made, session=session)


def scratch(rng):
    return f"t{rng.randrange(6)}"


def create(rng, client, session):
    options = rng.choice([
        {}, {"validator": VALIDATOR, "validationLevel": "moderate"},
        {"collation": {"locale": "de", "strength": 2}}, {"capped": True, "size": 32768},
        {"capped": True, "size": 5000, "max": rng.randrange(3, 20)},
        {"storageEngine": {"wiredTiger": {"configString": "block_compressor=zlib"}}},
        {"indexOptionDefaults": {"storageEngine": {"wiredTiger": {
            "configString": "prefix_compression=false"}}}},
        {"recordPreImages": True}, {"validator": VALIDATOR, "validationAction": "warn"},
        {"clusteredIndex": {"key": {"_id": 1}, "unique": True, "name": "by id"}},
        {"changeStreamPreAndPostImages": {"enabled": True}},
        {"timeseries": {"timeField": "at", "metaField": "m", "granularity": "minutes"}},
        {"expireAfterSeconds": 10**8, "clusteredIndex": {"key": {"_id": 1}, "unique": True}},
    ])
    client[DATABASE].command({"create": scratch(rng), **options}, session=session)


def fill(rng, client, session):
    made = [{"_id": rng.choice([i, f"k{i}", f"K{i}"]), "at": EPOCH, "m": i % 3, "n": i, "s": "ab"[i % 2],
             "p": {"type": "Point", "coordinates": [i % 90, i % 45]}, "text": "a quick brown fox"}
            for i in rng.sample(range(100), 25)]
    client[DATABASE][scratch(rng)].insert_many(made, ordered=False, session=session,
                                               bypass_document_validation=rng.random() < 0.5)


def change_scratch(rng, client, session):
    client[DATABASE][scratch(rng)].update_many({"n": {"$lt": rng.randrange(50)}},
                                               {"$inc": {"n": 1}, "$set": {"z": value(rng)}},
                                               session=session)


def drop(rng, client, session):
    client[DATABASE].command({"drop": scratch(rng)}, session=session)


def create_index(rng, client, session):
    index = rng.choice([
        {"key": {"n": 1}, "name": "n_1"}, {"key": {"n": 1, "s": -1}, "name": "compound"},
        {"key": {"n": 1, "_id": 1}, "name": "uniq", "unique": True},
        {"key": {"s": 1}, "name": "partial", "partialFilterExpression": {"n": {"$gt": 10}}},
        {"key": {"q": 1}, "name": "sparse", "sparse": True},
        {"key": {"at": 1}, "name": "ttl", "expireAfterSeconds": 10**8},
        {"key": {"$**": 1}, "name": "wild", "wildcardProjection": {"z": 0}},
        {"key": {"s": "hashed"}, "name": "hash"}, {"key": {"p": "2dsphere"}, "name": "geo"},
        {"key": {"text": "text"}, "name": "words", "weights": {"text": 3}},
        {"key": {"s": 1}, "name": "de", "collation": {"locale": "de", "strength": 1}},
        {"key": {"n": -1}, "name": "hidden", "hidden": True},
    ])
    name = rng.choice([scratch(rng), rng.choice(PLAIN)])
    client[DATABASE].command({"createIndexes": name, "indexes": [index]}, session=session)


def drop_index(rng, client, session):
    index = rng.choice(["*", "n_1", "compound", "uniq", "ttl", "wild", "hash", "hidden", ["geo"]])
    client[DATABASE].command({"dropIndexes": scratch(rng), "index": index}, session=session)


def modify(rng, client, session):
    change = rng.choice([
        {"validator": VALIDATOR}, {"validator": {}}, {"validationLevel": "off"},
        {"validationAction": "warn"}, {"index": {"name": "n_1", "hidden": rng.random() < 0.5}},
        {"index": {"name": "ttl", "expireAfterSeconds": rng.randrange(10**8, 10**9)}},
        {"changeStreamPreAndPostImages": {"enabled": rng.random() < 0.5}},
        {"expireAfterSeconds": rng.choice(["off", 10**8 + 5])},
        {"timeseries": {"granularity": "hours"}}, {"cappedSize": 65536},
        {"index": {"name": "hidden", "hidden": False}}, {"cappedMax": rng.randrange(5, 50)},
        {"index": {"keyPattern": {"n": 1}, "hidden": True}}, {"recordPreImages": True},
        {"index": {"name": "n_1", "prepareUnique": True}}, {"index": {"name": "n_1", "unique": True}},
        {"index": {"name": "n_1", "prepareUnique": False}}, {"validationLevel": "moderate"},
        {"timeseries": {"granularity": "minutes"}}, {"index": {"name": "n_1", "expireAfterSeconds": 10**8}},
        {"validator": {"n": {"$gte": 0}}, "validationLevel": "strict", "validationAction": "warn"},
    ])
    client[DATABASE].command({"collMod": scratch(rng), **change}, session=session)


def rename(rng, client, session):
    client.admin.command({"renameCollection": f"{DATABASE}.{scratch(rng)}",
                          "to": f"{DATABASE}.{scratch(rng)}", "dropTarget": rng.random() < 0.7},
                         session=session)


def rename_away(rng, client, session):
    """To another database and back: the server copies, and the collection gets a new UUID."""
    here, there = f"{DATABASE}.{scratch(rng)}", f"{OTHER_DATABASE}.{scratch(rng)}"
    if rng.random() < 0.5:
        here, there = there, here
    client.admin.command({"renameCollection": here, "to": there, "dropTarget": True},
                         session=session)


def out(rng, client, session):
    stage = rng.choice([{"$out": scratch(rng)}, {"$out": {"db": OTHER_DATABASE, "coll": scratch(rng)}},
                        {"$merge": {"into": scratch(rng), "whenMatched": "replace"}}])
    list(plain(rng, client).aggregate([{"$match": {"n": {"$lt": rng.randrange(400)}}}, stage],
                                      session=session))


def to_capped(rng, client, session):
    client[DATABASE].command({"convertToCapped": scratch(rng), "size": 16384}, session=session)


def view(rng, client, session):
    name = f"v{rng.randrange(5)}"
    pipeline = [{"$match": {"n": {"$gt": rng.randrange(100)}}}]
    kind = rng.randrange(3)
    on = rng.choice(PLAIN + ["v0", "v1", scratch(rng)])
    if kind == 0:
        command = {"create": name, "viewOn": on, "pipeline": pipeline}
        if rng.random() < 0.2:
            command["collation"] = {"locale": "fr"}
    elif kind == 1:
        command = {"collMod": name, "viewOn": on, "pipeline": pipeline}
    else:
        command = {"drop": name}
    client[DATABASE].command(command, session=session)


def doom(rng, client, session):
    """Makes a database and, every third time, drops it."""
    if rng.random() < 0.33:
        client[DOOMED_DATABASE].command({"dropDatabase": 1}, session=session)
    else:
        coll = client[DOOMED_DATABASE][scratch(rng)]
        coll.insert_many([{"n": i} for i in range(10)], session=session)
        coll.create_index("n", session=session)


def create_in_transaction(rng, client, session):
    with client.start_session() as own:
        own.start_transaction()
        name = f"x{rng.randrange(4)}"
        client[DATABASE].command({"create": name}, session=own)
        client[DATABASE].command({"createIndexes": name,
                                  "indexes": [{"key": {"a": 1}, "name": "a_1"}]}, session=own)
        client[DATABASE][name].insert_one({"a": value(rng)}, session=own)
        own.commit_transaction()
        session.advance_operation_time(own.operation_time)


def drop_made_in_transaction(rng, client, session):
    client[DATABASE].command({"drop": f"x{rng.randrange(4)}"}, session=session)


def slow_build(rng, client, session):
    """An index build that others find unfinished, write into and may abort."""
    point = {"configureFailPoint": "hangAfterStartingIndexBuild"}
    client.admin.command({**point, "mode": "alwaysOn"})
    threading.Timer(rng.choice([0.05, 0.2, 0.5]),
                    lambda: client.admin.command({**point, "mode": "off"})).start()
    create_index(rng, client, session)


def account(rng, client, session):
    name = f"u{rng.randrange(4)}"
    db = client[rng.choice([DATABASE, "admin"])]
    privileges = [{"resource": {"db": DATABASE, "collection": f"c{rng.randrange(4)}"},
                   "actions": ["find"]}]
    command = rng.choice([
        {"createUser": name, "pwd": "x", "mechanisms": ["SCRAM-SHA-256"],
         "roles": [{"role": "read", "db": DATABASE}]},
        {"updateUser": name, "customData": {"n": rng.randrange(99)}}, {"dropUser": name},
        {"createRole": f"r{name}", "privileges": privileges, "roles": []},
        {"updateRole": f"r{name}", "privileges": privileges}, {"dropRole": f"r{name}"},
        {"grantRolesToUser": name, "roles": [f"r{name}"]}])
    db.command(command, session=session)


def stored_function(rng, client, session):
    coll, key = client[DATABASE]["system.js"], f"f{rng.randrange(5)}"
    if rng.random() < 0.3:
        coll.delete_one({"_id": key}, session=session)
    else:
        coll.replace_one({"_id": key}, {"value": Code(f"function () {{ return {rng.random()}; }}")},
                         upsert=True, session=session)


def apply_ops(rng, client, session):
    """The command, as old tools use it: operations without a collection's UUID. By it 4.4 stores
    names of fields that it takes in no other way, not even from a restore."""
    ns, key = f"{DATABASE}.{rng.choice(PLAIN)}", identity(rng)
    operations = [
        {"op": "i", "ns": ns, "o": document(rng, key, odd=False)},
        {"op": "u", "ns": ns, "o2": {"_id": identity(rng)}, "o": {"$set": {"n": 3, "o.x": 4}}},
        {"op": "u", "ns": ns, "o2": {"_id": key}, "o": {"$v": 1, "$set": {"n": 2}}},
        {"op": "d", "ns": ns, "o": {"_id": identity(rng)}}]
    client.admin.command({"applyOps": rng.sample(operations, rng.randrange(1, 4))}, session=session)


def empty_capped(rng, client, session):
    client[DATABASE].command({"emptycapped": rng.choice([CAPPED, scratch(rng)])}, session=session)


CRUD = [(insert, 8), (insert_many, 4), (update, 14), (update_any, 2), (upsert, 5), (replace, 6),
        (delete, 6), (delete_many, 2), (find_and_modify, 4), (bulk, 4), (transaction, 6),
        (clustered, 3), (measure, 2), (images, 2), (expire, 2), (collated, 3), (big, 0.03)]

DDL = [(create, 6), (fill, 10), (change_scratch, 6), (drop, 2), (create_index, 8), (drop_index, 3),
       (modify, 6), (rename, 4), (rename_away, 3), (out, 3), (to_capped, 1), (view, 3), (doom, 3),
       (create_in_transaction, 1), (drop_made_in_transaction, 1), (capped_insert, 6),
       (stored_function, 1), (account, 2), (apply_ops, 0.5)]

# Only a server that runs with test commands does these.
TEST_DDL = [(slow_build, 1), (empty_capped, 0.5)]
