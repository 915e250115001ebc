"""The truth: what a cluster holds, read by a client that knows nothing of backups.

A State holds every user database (not admin, local, config): per collection its type, options,
indexes and the raw bytes of every document; on request the users and roles too. Collections are
equal when they hold the same documents byte for byte; capped ones must also agree in order.

state_at(client, T) reads each collection at cluster time T, while writers go on. The server cannot
read its catalog at a past time, nor a capped collection, so that needs a phase without DDL, and
capped collections are left out of it. state_now(client) reads everything with read concern
majority; it is the truth at T when nothing is written after T.
"""

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

NOT_USER = ("admin", "config", "local")
RAW = CodecOptions(document_class=RawBSONDocument)
MAJORITY = ReadConcern("majority")
BUCKETS = "system.buckets."
SHOWN = 5


class Unreadable(Exception):
    """The collection cannot be read at that time any more."""


class Collection:
    def __init__(self, kind, options, indexes, documents):
        self.kind = kind
        self.options = options
        self.indexes = indexes
        self.ordered = bool(options.get("capped"))
        self.documents = documents if self.ordered else sorted(documents)


class State:
    def __init__(self):
        self.collections = {}
        self.users = None
        self.roles = None

    def documents(self):
        return sum(len(c.documents) for c in self.collections.values())

    def only(self, keep):
        """The part of the state whose namespaces satisfy keep(ns)."""
        part = State()
        part.collections = {ns: c for ns, c in self.collections.items() if keep(ns)}
        return part

    def renamed(self, rename):
        """The same state with each namespace ns called rename(ns)."""
        other = State()
        other.collections = {rename(ns): c for ns, c in self.collections.items()}
        return other


def catalog(client):
    """Yields (db, name, kind, options) of all that a user can see, but for bookkeeping."""
    for database in sorted(client.list_database_names()):
        if database in NOT_USER:
            continue
        infos = list(client[database].list_collections())
        series = {i["name"] for i in infos if i["type"] == "timeseries"}
        for info in infos:
            name = info["name"]
            if is_leftover(client[database], name, series):
                continue
            # Views are compared by their definition; system.profile is not replicated. A restore
            # leaves temporary collections out, as does a server that becomes primary.
            if name in ("system.views", "system.profile") or info["options"].get("temp"):
                continue
            yield database, name, info["type"], info["options"]


def is_leftover(db, name, series):
    """Empty buckets that no time-series collection shows: its creation failed."""
    return (name.startswith(BUCKETS) and name[len(BUCKETS):] not in series
            and db[name].find_one() is None)


def indexes_of(client, database, name):
    """Finished ones only. Of buckets, while an index is built, the server tells which are finished
    only by their names in the collection that users see."""
    finished = None
    try:
        specs = list_indexes(client, database, name, includeBuildUUIDs=True)
    except OperationFailure:
        if not name.startswith(BUCKETS):
            raise
        specs = list_indexes(client, database, name)
        shown_ones = list_indexes(client, database, name[len(BUCKETS):], includeBuildUUIDs=True)
        finished = {i["name"] for i in shown_ones if "buildUUID" not in i}
    kept = (dict(i) for i in specs if "buildUUID" not in i)
    kept = (i for i in kept if finished is None or i["name"] in finished)
    return sorted(kept, key=lambda i: i["name"])


def list_indexes(client, database, name, **options):
    command = {"listIndexes": name, "cursor": {"batchSize": 1000}, **options}
    return client[database].command(command)["cursor"]["firstBatch"]


class Past(ReadConcern):
    """Snapshot reads of a transaction at a time of the caller's choice."""

    def __init__(self, ts):
        super().__init__("snapshot")
        self.ts = ts

    @property
    def document(self):
        return {"level": "snapshot", "atClusterTime": self.ts}


def read_in_transaction_at(client, session, database, name, ts):
    """Before 5.0 only transactions read at a time, and of the past only with a long history."""
    with session.start_transaction(read_concern=Past(ts)):
        coll = client[database].get_collection(name, codec_options=RAW)
        return [bytes(d.raw) for d in coll.find(session=session)]


def read_at(client, session, database, name, ts):
    """Raw documents of one collection at cluster time ts."""
    if client.server_info()["versionArray"][0] < 5:
        return read_in_transaction_at(client, session, database, name, ts)
    db = client.get_database(database, codec_options=RAW)
    cursor = db.command(
        {"find": name, "batchSize": 10_000,
         "readConcern": {"level": "snapshot", "atClusterTime": ts}},
        session=session, codec_options=RAW)["cursor"]
    # A collection dropped or renamed since looks empty and carries no time.
    if cursor.get("atClusterTime") != ts:
        raise Unreadable(f"{database}.{name} at {ts}")
    documents = [bytes(d.raw) for d in cursor["firstBatch"]]
    while cursor["id"]:
        cursor = db.command({"getMore": cursor["id"], "collection": name}, session=session,
                            codec_options=RAW)["cursor"]
        documents += [bytes(d.raw) for d in cursor["nextBatch"]]
    return documents


def read_now(client, database, name, order, concern=MAJORITY):
    coll = client[database].get_collection(name, codec_options=RAW, read_concern=concern)
    return [bytes(d.raw) for d in coll.find(sort=order)]


def state_at(client, ts):
    state = State()
    with client.start_session(causal_consistency=False) as session:
        for database, name, kind, options in list(catalog(client)):
            documents, indexes = [], []
            if kind == "collection":
                if options.get("capped"):
                    continue
                documents = read_at(client, session, database, name, ts)
                indexes = indexes_of(client, database, name)
            state.collections[f"{database}.{name}"] = Collection(kind, options, indexes, documents)
    return state


def state_now(client, users=False, concern=MAJORITY):
    state = State()
    for database, name, kind, options in list(catalog(client)):
        documents, indexes = [], []
        if kind == "collection":
            order = [("$natural", 1)] if options.get("capped") else None
            documents = read_now(client, database, name, order, concern)
            indexes = indexes_of(client, database, name)
        state.collections[f"{database}.{name}"] = Collection(kind, options, indexes, documents)
    if users:
        state.users = [without(u, "userId") for u in client.admin["system.users"].find().sort("_id")]
        state.roles = list(client.admin["system.roles"].find().sort("_id"))
    return state


def without(document, field):
    return {k: v for k, v in document.items() if k != field}


def without_capped(state):
    return state.only(lambda ns: not state.collections[ns].ordered)


def compare(expected, actual, own_pace=False):
    """Differences as readable lines, the first few of each kind; an empty list means equal.
    own_pace: the servers do not log evictions, so of capped collections each has a newest part."""
    lines = []
    for ns in sorted(expected.collections.keys() | actual.collections.keys()):
        want, have = expected.collections.get(ns), actual.collections.get(ns)
        if have is None:
            lines.append(f"{ns}: missing ({want.kind}, {len(want.documents)} documents)")
        elif want is None:
            lines.append(f"{ns}: should not exist ({have.kind}, {len(have.documents)} documents)")
        else:
            lines += compare_collection(ns, want, have, own_pace)
    if expected.users is not None and actual.users is not None:
        if expected.users != actual.users:
            lines.append(f"users: expected {expected.users}, found {actual.users}")
        if expected.roles != actual.roles:
            lines.append(f"roles: expected {expected.roles}, found {actual.roles}")
    return lines


def compare_collection(ns, want, have, own_pace):
    lines = []
    if want.kind != have.kind:
        lines.append(f"{ns}: expected a {want.kind}, found a {have.kind}")
    if want.options != have.options:
        lines.append(f"{ns}: options: expected {want.options}, found {have.options}")
    lines += compare_indexes(ns, want.indexes, have.indexes)
    if own_pace and want.ordered and have.ordered:
        lines += compare_newest(ns, want, have)
    elif want.documents != have.documents:
        lines += compare_documents(ns, want, have)
    return lines


def compare_newest(ns, want, have):
    """One holds the newest documents of the other, in the same order, and both are full."""
    short, long = sorted((want.documents, have.documents), key=len)
    if short != long[len(long) - len(short):]:
        return compare_documents(ns, want, have)
    if len(short) < len(long):
        limits = have.options
        size = sum(map(len, short)) + len(long[-len(short) - 1])
        if size <= limits["size"] and len(short) < limits.get("max", len(long) + 1):
            return [f"{ns}: expected {len(want.documents)} documents, found {len(have.documents)}, "
                    f"and there is room for more: {size} bytes of {limits['size']}"]
    return []


def compare_indexes(ns, want, have):
    lines = []
    want, have = ({i["name"]: i for i in side} for side in (want, have))
    for name in sorted(want.keys() | have.keys()):
        a, b = want.get(name), have.get(name)
        # The order of a compound key counts, and dicts compare without it.
        if a != b or list(a["key"].items()) != list(b["key"].items()):
            lines.append(f"{ns}: index {name}: expected {a}, found {b}")
    return lines


def compare_documents(ns, want, have):
    lines = []
    if len(want.documents) != len(have.documents):
        lines.append(f"{ns}: expected {len(want.documents)} documents, found {len(have.documents)}")
    a, b = by_id(want.documents), by_id(have.documents)
    for key in [k for k in a if k not in b][:SHOWN]:
        lines.append(f"{ns}: missing {shown(a[key])}")
    for key in [k for k in b if k not in a][:SHOWN]:
        lines.append(f"{ns}: should not exist {shown(b[key])}")
    for key in [k for k in a if k in b and a[k] != b[k]][:SHOWN]:
        lines.append(f"{ns}: expected {shown(a[key])}\n{' ' * len(ns)}  found    {shown(b[key])}")
    if not lines:
        at = next((i for i, (x, y) in enumerate(zip(want.documents, have.documents)) if x != y), "?")
        lines.append(f"{ns}: same documents in another order, first at position {at}")
    return lines


def by_id(documents):
    found = {}
    for raw in documents:
        found[bson.encode({"_id": bson.decode(raw).get("_id")})] = raw
    return found


def shown(raw):
    text = repr(bson.decode(raw))
    return text if len(text) <= 400 else f"{text[:400]}... ({len(raw)} bytes)"


def assert_equal(expected, actual, what="", own_pace=False):
    lines = compare(expected, actual, own_pace)
    assert not lines, f"{what}: {len(lines)} differences\n" + "\n".join(lines[:20])
