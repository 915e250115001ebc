"""The cases, in the order they are run: those that write to the source come last."""

import os
import random
import time

from harness.mongod import ReplicaSet
from pymongo import DeleteOne, InsertOne, UpdateOne

from . import measure

OPERATIONS = 200_000
TAIL_SECONDS = 10


def alternate(runs, first, second):
    """Runs both `runs` times, the one that begins changing each time."""
    for i in range(runs):
        for work in (first, second) if i % 2 == 0 else (second, first):
            work()


def snapshot_of(codec, limit):
    def case(b):
        scans, small_scans, runs = [], [], []
        b.scan()  # The server's cache is warm for both afterwards.

        def scan():
            scans.append(b.scan())
            small_scans.append(b.scan(measure.SMALL_BATCH_MIB))

        def take():
            repo = b.repository()
            run = b.snapshot(repo, codec)
            runs.append(run)
            b.drop(repo)

        alternate(b.args.runs, scan, take)
        best = min(runs, key=lambda r: r.seconds)
        b.record(f"snapshot-{codec}", [r.seconds for r in runs], limit, scans,
                 bytes_per_s=round(b.data["bytes"] / best.seconds),
                 ratio_small_batches=round(best.seconds / min(small_scans), 4),
                 bytes_stored=best.json["bytes_stored"], cpu_seconds=round(best.cpu, 3),
                 peak_rss_mib=round(max(r.rss_mib for r in runs), 1))
    return case


def snapshot_unchanged(b):
    """A second snapshot of the same data: the share of it that is stored again."""
    repo = b.repository()
    b.snapshot(repo)
    run = b.snapshot(repo)
    b.drop(repo)
    share = run.json["bytes_stored"] / run.json["bytes_raw"]
    b.record("snapshot-unchanged", [run.seconds], 0.01, value=share, unit="of the data",
             bytes_per_s=round(b.data["bytes"] / run.seconds),
             peak_rss_mib=round(run.rss_mib, 1))


def rss_snapshot(b):
    repo = b.repository()
    run = b.snapshot(repo)
    b.drop(repo)
    b.record("rss-snapshot", [run.seconds], 256, value=run.rss_mib, unit="MiB",
             peak_rss_mib=round(run.rss_mib, 1))


def restore(b):
    """Restore with verification, against a bare loader with the same indexes."""
    repo = b.repository()
    taken = b.snapshot(repo).json["id"]
    folder = b.dump()
    loads, runs = [], []
    alternate(b.args.runs, lambda: loads.append(b.bare_load(folder)),
              lambda: runs.append(b.restore(repo, "--snapshot", taken)))
    b.drop(repo)
    b.drop_dump()
    assert all(load["documents"] == b.data["documents"] for load in loads)
    assert all(run.json["verified"] for run in runs)
    best = min(runs, key=lambda r: r.seconds)
    b.record("restore", [r.seconds for r in runs], 1.25, [load["seconds"] for load in loads],
             bytes_per_s=round(b.data["bytes"] / best.seconds), cpu_seconds=round(best.cpu, 3),
             peak_rss_mib=round(max(r.rss_mib for r in runs), 1))


class Writer:
    """Mixed operations on the orders and users of the source: two fifths inserts, two fifths
    updates, one fifth deletes. A document is not touched again once it is deleted, so the order of
    the kinds within a batch does not matter."""

    def __init__(self, b, seed):
        self.db = b.source.client[measure.DATABASE]
        self.random = random.Random(seed)
        self.ids = {}
        self.made = 0
        for name in ("orders", "users"):
            self.ids[name] = [d["_id"] for d in self.db[name].find({}, {"_id": 1})]

    def batch(self, name, n):
        requests = []
        ids = self.ids[name]
        for _ in range(n):
            self.made += 1
            which = self.random.random()
            if which < 0.4 or not ids:
                key = f"new-{self.made}-{self.random.getrandbits(32):08x}"
                requests.append(InsertOne({
                    "_id": key, "number": self.random.getrandbits(62), "mail": key,
                    "state": "new", "user": self.made, "note": "written while it was measured"}))
                ids.append(key)
            elif which < 0.8:
                requests.append(UpdateOne(
                    {"_id": self.random.choice(ids)},
                    {"$set": {"state": self.random.choice(["paid", "sent", "lost"])},
                     "$inc": {"changes": 1}}))
            else:
                at = self.random.randrange(len(ids))
                ids[at], ids[-1] = ids[-1], ids[at]
                requests.append(DeleteOne({"_id": ids.pop()}))
        self.db[name].bulk_write(requests, ordered=False)

    def write(self, operations, seconds=None):
        """Writes so many operations, or until the time is over; returns how many."""
        end = time.monotonic() + seconds if seconds else None
        done = 0
        while done < operations if end is None else time.monotonic() < end:
            self.batch("orders" if done % 2000 else "users", 1000)
            done += 1000
        return done


def restore_replay(b):
    """The same restore with and without the operations after the snapshot."""
    repo = b.repository()
    taken = b.snapshot(repo).json["id"]
    b.say(f"writing {OPERATIONS} operations")
    Writer(b, measure.SEED).write(OPERATIONS)
    tail = b.pitr(repo, "tail", "--once", uri=b.source.uri)
    plain, replayed = [], []
    alternate(b.args.runs, lambda: plain.append(b.restore(repo, "--snapshot", taken)),
              lambda: replayed.append(b.restore(repo, "--to", "latest")))
    b.drop(repo)
    operations = replayed[0].json["operations"]
    assert operations >= OPERATIONS
    extra = min(r.seconds for r in replayed) - min(r.seconds for r in plain)
    b.record("restore-replay", [r.seconds for r in replayed], 1.2, [r.seconds for r in plain],
             operations=operations, extra_seconds=round(extra, 3),
             tail_seconds=round(tail.seconds, 3),
             peak_rss_mib=round(max(r.rss_mib for r in replayed), 1))


def rss_tail(b):
    """Catching up a backlog, and keeping up with a busy writer."""
    repo = b.repository()
    b.snapshot(repo)
    writer = Writer(b, measure.SEED + 1)
    b.say(f"writing {OPERATIONS} operations")
    writer.write(OPERATIONS)
    run = b.pitr(repo, "tail", "--once", uri=b.source.uri)
    operations = run.json["operations"]
    assert operations >= OPERATIONS
    b.record("rss-tail-backlog", [run.seconds], 64, value=run.rss_mib, unit="MiB",
             operations=operations, operations_per_s=round(operations / run.seconds),
             peak_rss_mib=round(run.rss_mib, 1))
    process = b.start(b.pitr_command(repo, "tail", "--interval", "5", uri=b.source.uri))
    written = writer.write(0, TAIL_SECONDS)
    run = b.stop(process)
    b.drop(repo)
    b.record("rss-tail", [run.seconds], 64, value=run.rss_mib, unit="MiB", operations=written,
             cpu_seconds=round(run.cpu, 3), peak_rss_mib=round(run.rss_mib, 1))


def catch_up(name, operations, payload):
    """`tail --once` over an oplog that was filled while no tailer ran, against a bare scan of the
    same entries: from the last one captured before to the end."""
    def case(b):
        with measure.plain_set() as source:
            repo = b.repository()
            start = b.pitr(repo, "tail", "--once", uri=source.uri).json["last"]
            amount = max(4000, round(operations * b.args.scale))
            b.say(f"filling an oplog with {amount} operations")
            b.tool("fill_oplog", source.uri, measure.DATABASE, amount, payload, measure.SEED)
            source.client.admin.command("fsync")
            scans, small_scans, runs = [], [], []

            def scan(batch_mib):
                done = b.tool("bare_oplog", source.uri, start["t"], start["i"], batch_mib).json
                assert done["entries"] > amount
                return done["seconds"]

            def scan_both():
                scans.append(scan(0))
                small_scans.append(scan(measure.OPLOG_BATCH_MIB))

            def tail():
                copy = b.copy(repo)
                run = b.pitr(copy, "tail", "--once", uri=source.uri)
                b.drop(copy)
                assert run.json["entries"] >= amount
                runs.append(run)

            scan(0)  # The server's cache is warm for both afterwards.
            alternate(b.args.runs, scan_both, tail)
            b.drop(repo)
        best = min(runs, key=lambda r: r.seconds)
        b.record(f"tail-catch-up{name}", [r.seconds for r in runs], 1 / 0.6, scans,
                 share_of_scan=round(min(scans) / best.seconds, 4),
                 share_of_small_batches=round(min(small_scans) / best.seconds, 4),
                 entries=best.json["entries"], bytes=best.json["bytes"],
                 entries_per_s=round(best.json["entries"] / best.seconds),
                 bytes_per_s=round(best.json["bytes"] / best.seconds),
                 cpu_seconds=round(best.cpu, 3),
                 peak_rss_mib=round(max(r.rss_mib for r in runs), 1))
    return case


def rss_double(b):
    """The peak of a snapshot and of a backlog must not follow the size of the data."""
    repo = b.repository()
    single = b.snapshot(repo)
    b.drop(repo)
    b.say("filling a second database")
    b.fill(measure.DATABASE + "2", measure.SEED + 2)
    repo = b.repository()
    double = b.snapshot(repo)
    b.drop(repo)
    b.record("rss-double", [double.seconds], 1.1, value=double.rss_mib / single.rss_mib,
             unit="of the peak with half the data", peak_rss_mib=round(double.rss_mib, 1))


def small(b):
    """Fixed costs: a database of 50 documents."""
    with ReplicaSet(history=300) as source, ReplicaSet(history=300) as target:
        source.client["tiny"]["notes"].insert_many({"n": n, "text": "x" * 50} for n in range(50))
        source.client["tiny"]["notes"].create_index("n")
        snapshots, restores = [], []
        for _ in range(max(3, b.args.runs)):
            repo = b.repository()
            snapshots.append(b.snapshot(repo, uri=source.uri))
            target.wipe()
            restores.append(b.pitr(repo, "restore", "--latest", "--target", target.uri, "--yes"))
            b.drop(repo)
        b.record("small-snapshot", [r.seconds for r in snapshots], 0.5)
        b.record("small-restore", [r.seconds for r in restores], 1.0)


def micro(*programs):
    """Programs that print seconds and amounts themselves; limits are rates a core."""
    limits = {"replay": 300_000}

    def case(b):
        env = {"TMPDIR": "/dev/shm"} if os.access("/dev/shm", os.W_OK) else {}
        for program in programs:
            for line in b.tool(program, env=env).objects:
                rate = line["amount"] / min(line["seconds"])
                b.record(f"micro-{line['name']}", line["seconds"], limits.get(line["name"]),
                         value=rate, unit=f"{line['unit']}/s", at_least=True)
    return case


CASES = {
    "micro": micro("micro_store", "micro_net", "micro_update"),
    "small": small,
    "snapshot-zstd": snapshot_of("zstd", 3.2),
    "snapshot-lz4": snapshot_of("lz4", 2.2),
    "snapshot-unchanged": snapshot_unchanged,
    "rss-snapshot": rss_snapshot,
    "restore": restore,
    "restore-replay": restore_replay,
    "rss-tail": rss_tail,
    "tail-catch-up": catch_up("", 2_000_000, 60),
    "tail-catch-up-3k": catch_up("-3k", 300_000, 2700),
    "rss-double": rss_double,
}
