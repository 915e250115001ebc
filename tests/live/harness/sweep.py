"""Many moments of a busy server, each restored and compared with what the server held then.

A Sweep keeps a source, a follower of the source and a target of one version. It goes in rounds: in
each, writers work on an emptied source while a tailer follows (and is now and then restarted) and
snapshots are taken; truths are noted meanwhile; then each is restored into the target, in random
order and with random options, and compared. The truth at a moment comes from one of

- past: reads of the source at a time that has passed, while documents change (oracle.state_at);
- rest: the source while its writers hold still;
- follower: a secondary that is made to stop applying the oplog, wherever that happens to be:
  between the steps of a $out, a rename or an index build, or while a transaction is open.

What a round does follows from its seed, but the writers race, so a seed repeats the plan and not the
very entries. A failure therefore keeps what is needed to look into it: the repository, the source's
oplog and the truths, under build/sweep.
"""

import contextlib
import pathlib
import pickle
import random
import shutil
import tempfile
import threading
import time

import pymongo
import pytest
from bson import Timestamp
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from harness import oracle, workload
from harness.mongod import ROOT, ReplicaSet, wait_for, why_not
from harness.pitr import Pitr, stamp
from harness.workload import Workload

PER_ROUND = 25
# What a restore with --ns restricts itself to, told by the first letters of namespaces.
SUBSETS = ["wl_shop.c", "wl_shop.t", "wl_shop.", "wl_other."]


FOLLOWERS_LOST = 3
# Small transactions of several oplog entries.
LONGEST = "maxNumberOfTransactionOperationsInSingleOplogEntry"


class Truth:
    def __init__(self, kind, ts, state):
        self.kind = kind
        self.ts = ts
        self.state = state


class Sweep:
    def __init__(self, version, seed, log=print):
        self.version = version
        self.seed = seed
        self.log = log
        self.done = {"past": 0, "rest": 0, "follower": 0}
        self.lost = 0
        self.resources = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.resources.close()
            raise
        return self

    def start(self):
        self.source = self.resources.enter_context(ReplicaSet(
            version=self.version, test_commands=True, ttl=True, follower=True,
            settings={LONGEST: random.Random(self.seed).choice([2, 4, 1000])}))
        self.target = self.resources.enter_context(ReplicaSet(version=self.version))
        self.follower = self.resources.enter_context(pymongo.MongoClient(
            self.source.follower.address, directConnection=True))

    def __exit__(self, *exc):
        self.resources.close()

    def run(self, targets):
        """Restores that many moments; the first difference raises an AssertionError."""
        number = 0
        while sum(self.done.values()) < targets:
            start = time.monotonic()
            left = targets - sum(self.done.values())
            self.round(number, min(PER_ROUND, left))
            number += 1
            self.log(f"{self.version} SEED={self.seed}: {sum(self.done.values())} of {targets} "
                     f"moments {self.done}, round {number} took {time.monotonic() - start:.0f} s")

    def lost_follower(self):
        """Aborted index builds end some secondaries of 4.4. That is no matter of ours; the servers
        are started anew, and what was not restored is not counted."""
        if self.source.follower.why_ended() is None or self.lost == FOLLOWERS_LOST:
            return False
        self.lost += 1
        self.log(f"{self.version} SEED={self.seed}: the follower ended: "
                 f"{self.source.follower.why_ended()}")
        self.resources.close()
        self.start()
        return True

    def round(self, number, count):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="pitr-sweep-"))
        try:
            round_ = Round(self, f"{self.seed}-{self.version}-{number}", folder, count)
            try:
                round_.run()
            except BaseException as e:
                if self.lost_follower():
                    return
                kept = ROOT / "build/sweep" / round_.name
                shutil.rmtree(kept, ignore_errors=True)
                round_.keep()
                shutil.copytree(folder, kept)
                if isinstance(e, Exception):
                    raise AssertionError(
                        f"round {number}; repeat: SEED={self.seed} ./dev sweep "
                        f"{number * PER_ROUND + count} {self.version}; kept in {kept}\n{e}") from e
                raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Round:
    def __init__(self, sweep, name, folder, count):
        self.sweep, self.name, self.folder, self.count = sweep, name, folder, count
        self.source, self.target, self.follower = sweep.source, sweep.target, sweep.follower
        self.rng = random.Random(name)
        self.pitr = Pitr(folder / "repo", self.source.uri)
        self.truths = []
        self.started = None
        self.snapshots = []
        self.failed = None
        self.what = "no restore"

    def run(self):
        self.empty(self.source)
        self.empty(self.target)
        self.pitr.init()
        self.started = self.source.now()
        workload.prepare(self.source.client, self.name, documents=100, features=self.source.features)
        with Workload(self.source.client, self.name, mode="full", test_commands=True,
                      prepares=self.rng.random() < 0.5) as self.writer:
            self.tail = self.pitr.tail("--interval", self.rng.choice(["1", "2", "5"]))
            try:
                self.gather()
                self.tail.stop()
            finally:
                self.tail.kill()
                self.thaw()
                for thread in self.snapshots:
                    thread.join()
        if self.failed:
            raise self.failed
        self.pitr.ok("tail", "--once")
        self.restore_all()
        self.pitr.ok("verify", "--data")

    def empty(self, rs):
        rs.wipe()
        admin = rs.client.admin
        admin["system.users"].find_one()  # the connection is alive
        for db in ("admin", workload.DATABASE):
            rs.client[db].command({"dropAllUsersFromDatabase": 1})
            rs.client[db].command({"dropAllRolesFromDatabase": 1})

    # Noting truths

    def gather(self):
        self.writer.wait_done(self.rng.randrange(30, 200))
        first = self.pitr.ok("snapshot", "--mode", "scan")
        valid = Timestamp(first["t_end"]["t"], first["t_end"]["i"])
        while len(self.truths) < self.count and not self.failed:
            self.step()
            self.truths = [t for t in self.truths if t.ts >= valid]

    def step(self):
        kind = self.rng.choices(["rest", "follower", "past", "snapshot", "tailer"],
                                [10, 16, 0.6, 2, 1])[0]
        self.writer.wait_done(self.rng.randrange(5, 60))
        if kind == "rest":
            self.truths.append(self.truth_at_rest())
        elif kind == "follower":
            self.truths.append(self.truth_of_follower())
        elif kind == "past":
            self.truths += self.truths_of_the_past(min(4, self.count - len(self.truths)))
        elif kind == "snapshot":
            thread = threading.Thread(target=self.take_snapshot)
            thread.start()
            self.snapshots.append(thread)
        else:
            self.restart_tailer()

    def take_snapshot(self):
        try:
            result = self.pitr.run("snapshot", "--mode", "scan")
            # 7: another snapshot is being taken.
            assert result.rc in (0, 7), str(result)
        except Exception as e:
            self.failed = e

    def restart_tailer(self):
        if self.rng.random() < 0.5:
            self.tail.stop()
        else:
            self.tail.kill()
        self.writer.wait_done(self.rng.randrange(5, 40))
        self.tail = self.pitr.tail("--interval", self.rng.choice(["1", "2", "5"]))

    def truth_at_rest(self):
        self.writer.pause()
        try:
            for _ in range(50):
                ts = self.source.now()
                state = oracle.state_now(self.source.client, users=True)
                if not self.written_after(ts):
                    return Truth("rest", ts, state)
                time.sleep(0.05)  # expired documents and prepared transactions go on
        finally:
            self.writer.resume()
        raise AssertionError("the source does not come to rest")

    def written_after(self, ts):
        return self.source.client.local["oplog.rs"].find_one(
            {"ts": {"$gt": ts}, "op": {"$ne": "n"}}) is not None

    def truth_of_follower(self):
        """Its reads are of the last batch that it applied, so nothing moves while it stands."""
        self.fail_point("alwaysOn")
        try:
            for _ in range(50):
                before = self.applied()
                try:
                    state = oracle.state_now(self.follower, users=True, concern=ReadConcern("local"))
                except OperationFailure:
                    continue  # the last batch was still being applied
                if self.applied() == before:
                    break
            else:
                raise AssertionError("the follower does not hold still")
        finally:
            self.thaw()
        # The source's majority is ahead of it, but the tailer must be able to get there.
        wait_for(lambda: self.source.now() >= before, 30, "majority")
        return Truth("follower", before, state)

    def applied(self):
        return self.follower.admin.command("isMaster")["lastWrite"]["opTime"]["ts"]

    def fail_point(self, mode):
        self.follower.admin.command({"configureFailPoint": "rsSyncApplyStop", "mode": mode})

    def thaw(self):
        self.fail_point("off")

    def truths_of_the_past(self, count):
        """Of documents alone: the catalog is not kept, and stands still meanwhile."""
        self.writer.pause()
        self.writer.points.clear()
        self.writer.resume(mode="crud")
        truths = []
        for _ in range(count):
            self.writer.wait_done(self.rng.randrange(20, 100))
            ts = self.rng.choice(list(self.writer.points.copy())[-60:])
            truths.append(Truth("past", ts, oracle.state_at(self.source.client, ts)))
        self.writer.pause()
        self.writer.resume(mode="full")
        return truths

    def undecided(self, truth):
        """Whether a transaction is prepared then that commits as of then. A reader of the past waits
        for it and sees it, and so does a restore; the other truths are of the time before."""
        return truth.kind != "past" and self.source.client.local["oplog.rs"].find_one(
            {"ts": {"$gt": truth.ts}, "o.commitTransaction": 1,
             "o.commitTimestamp": {"$lte": truth.ts}}) is not None

    # Restoring them

    def restore_all(self):
        self.rng.shuffle(self.truths)  # so that each restore has to undo another future
        for truth in self.truths:
            self.restore(truth)
            self.sweep.done[truth.kind] += 1

    def restore(self, truth):
        args = ["--to", stamp(truth.ts), "--drop", "--no-pre-snapshot"]
        wanted = truth.state
        if self.rng.random() < 0.3:
            args += ["--memory", "1"]
        if self.rng.random() < 0.1:
            subset = self.rng.choice(SUBSETS)
            args += ["--ns", subset + "*"]
            wanted = wanted.only(lambda ns: visible(ns).startswith(subset))
            self.empty(self.target)
        self.what = f"{truth.kind} truth at {stamp(truth.ts)}: restore {' '.join(args)}"
        if not wanted.collections:
            self.pitr.fails(2, "restore", *args, "--target", self.target.uri, "--yes",
                            says="no namespace")
            return
        done = self.pitr.restore(*args, target=self.target.uri)
        assert (done["to"]["t"], done["to"]["i"]) <= (truth.ts.time, truth.ts.inc)
        found = oracle.state_now(self.target.client, users=True)
        if truth.kind == "past":
            found = oracle.without_capped(found)
        if self.undecided(truth):
            for name in workload.PREPARED:
                wanted.collections.pop(f"{workload.DATABASE}.{name}", None)
                found.collections.pop(f"{workload.DATABASE}.{name}", None)
        # Between an insert and the eviction that it causes, only a target from 6.0 on can be held.
        own_pace = not self.source.features.logs_evictions or (
            truth.kind == "follower" and not self.source.features.capped_resize)
        oracle.assert_equal(wanted, found, self.what, own_pace=own_pace)

    def keep(self):
        """Notes in the folder what one needs to look into a failure."""
        (self.folder / "what.txt").write_text(self.what + "\n", encoding="utf-8")
        with open(self.folder / "truths.pickle", "wb") as f:
            pickle.dump([(t.kind, t.ts, t.state) for t in self.truths], f)
        oplog = self.source.client.get_database("local", codec_options=oracle.RAW)["oplog.rs"]
        with open(self.folder / "oplog.bson", "wb") as f:
            for entry in oplog.find({"ts": {"$gte": self.started or Timestamp(0, 0)}}):
                f.write(entry.raw)


def visible(ns):
    return ns.replace(oracle.BUCKETS, "", 1)


def run_in_version(version):
    """Skips a test where no server of the version can run, and says why."""
    reason = why_not(version)
    if reason:
        pytest.skip(reason)
