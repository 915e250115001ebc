"""Throwaway mongod processes: standalone servers and replica sets on free ports of 127.0.0.1.

Every server lives in its own temporary folder and is stopped by its own pid. If the tests
themselves are killed, the kernel kills the servers with them (parent-death signal).

A replica set rolls its oplog over within a second of heavy writing when it is started with
oplog_mb=2 and sync_delay=1: the oplog is truncated only behind the last checkpoint.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

ROOT = pathlib.Path(__file__).resolve().parents[3]
START_SECONDS = 60


VERSIONS = ("4.4", "5.0", "6.0")
NEWEST = VERSIONS[-1]


class Features:
    """What a server of this version has."""

    def __init__(self, version):
        number = tuple(int(part) for part in version.split("."))
        self.version = version
        self.transactions_make_collections = number >= (4, 4)
        self.time_series = number >= (5, 0)
        # Snapshot reads outside of transactions.
        self.snapshot_reads = number >= (5, 0)
        # Evictions from capped collections are deletes in the oplog; before, every node trims alone.
        self.logs_evictions = number >= (5, 0)
        self.delta_updates = number >= (5, 0)
        self.any_field_names = number >= (5, 0)
        self.clustered = number >= (5, 3)
        self.images = number >= (6, 0)
        self.prepare_unique = number >= (6, 0)
        self.capped_resize = number >= (6, 0)


def binary(version=NEWEST):
    if version == NEWEST:
        return os.environ.get("PITR_TEST_MONGOD", str(ROOT / ".deps/mongod-6.0/mongod"))
    return str(ROOT / f".deps/mongod-{version}/mongod")


def environment(version):
    """Older servers find the libraries of their time beside them."""
    if version == NEWEST:
        return None
    return {**os.environ, "LD_LIBRARY_PATH": os.path.dirname(binary(version))}


def why_not(version):
    """Why a server of this version cannot run here; None if it can."""
    try:
        done = subprocess.run([binary(version), "--version"], env=environment(version), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as e:
        return f"mongod {version} does not start here: {e}"
    if done.returncode != 0 or f"v{version}." not in done.stdout:
        return f"mongod {version} does not start here: {done.stdout.strip()[:300]}"
    return None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, seconds, what):
    """Polls until condition() is true and returns its value; its own errors count as false."""
    deadline = time.monotonic() + seconds
    error = None
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
        except PyMongoError as e:
            error = e
        time.sleep(0.05)
    raise TimeoutError(f"{what}: not within {seconds} s ({error})")


class Mongod:
    """One server process. It can be killed and started again on the same port and data."""

    def __init__(self, args=(), parameters=None, cache_gb=0.25, version=NEWEST):
        self.environment = environment(version)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pitr-mongod-"))
        (self.dir / "db").mkdir()
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process = None
        # TTL deletions would change what a test has just restored.
        settings = {"ttlMonitorEnabled": "false", "diagnosticDataCollectionEnabled": "false"}
        settings.update(parameters or {})
        self.command = [
            "setpriv", "--pdeathsig", "KILL", binary(version), "--dbpath", str(self.dir / "db"),
            "--port", str(self.port), "--bind_ip", "127.0.0.1", "--nounixsocket",
            "--wiredTigerCacheSizeGB", str(cache_gb), "--logpath", str(self.dir / "log"),
            "--logappend", *args,
        ]
        for name, value in settings.items():
            self.command += ["--setParameter", f"{name}={value}"]

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env=self.environment)
        client = pymongo.MongoClient(self.address, directConnection=True,
                                     serverSelectionTimeoutMS=500)
        try:
            wait_for(lambda: self._alive() and client.admin.command("isMaster"), START_SECONDS,
                     f"mongod on port {self.port}")
        finally:
            client.close()
        return self

    def _alive(self):
        if self.process.poll() is None:
            return True
        tail = (self.dir / "log").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"mongod exited with {self.process.returncode}:\n{tail}")

    def why_ended(self):
        """The last fatal line of the log of a server that ended by itself; None while it runs."""
        if self.process is None or self.process.poll() is None:
            return None
        lines = (self.dir / "log").read_text(errors="replace").splitlines()
        fatal = [line for line in lines if '"s":"F"' in line and "BACKTRACE" not in line]
        return fatal[0][:600] if fatal else f"exit code {self.process.returncode}"

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        self._end(signal.SIGTERM)

    def kill(self):
        self._end(signal.SIGKILL)

    def _end(self, number):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def remove(self):
        self.kill()
        if not os.environ.get("PITR_TEST_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)


class Standalone:
    """A mongod without a replica set: it has no oplog."""

    def __init__(self, **options):
        self.node = Mongod(**options)

    def __enter__(self):
        self.node.start()
        self.uri = f"mongodb://{self.node.address}/"
        self.client = pymongo.MongoClient(self.uri, directConnection=True)
        return self

    def __exit__(self, *exc):
        self.client.close()
        self.node.remove()


class ReplicaSet:
    """One or three nodes. With auth, user root/secret exists, and `uri` carries it.

    history: seconds that snapshot reads may look back. config_server: the role of a config
    server instead of plain data. test_commands: what only the server's own tests may do.
    ttl: expired documents are deleted every second instead of never. follower: a second node
    without a vote, which can be held still at any entry (needs test_commands). settings: further server parameters.
    """

    def __init__(self, nodes=1, oplog_mb=200, sync_delay=None, auth=False, history=3600,
                 config_server=False, test_commands=False, name="rs0", cache_gb=0.25,
                 version=NEWEST, ttl=False, follower=False, settings=None):
        self.version = version
        self.features = Features(version)
        self.name = name
        self.auth = auth
        window = "min" if self.features.snapshot_reads else "maxTarget"
        parameters = {f"{window}SnapshotHistoryWindowInSeconds": history, **(settings or {})}
        if test_commands:
            parameters["enableTestCommands"] = 1
        if ttl:
            parameters.update({"ttlMonitorEnabled": "true", "ttlMonitorSleepSecs": 1})
        args = ["--replSet", name, "--oplogSize", str(oplog_mb)]
        if sync_delay is not None:
            args += ["--syncdelay", str(sync_delay)]
        if config_server:
            args += ["--configsvr"]
        self.keyfile = None
        if auth:
            handle, self.keyfile = tempfile.mkstemp(prefix="pitr-key-")
            os.write(handle, b"a key that only this test knows")
            os.close(handle)
            args += ["--keyFile", self.keyfile]
        self.config_server = config_server
        self.nodes = [Mongod(args, parameters, cache_gb, version) for _ in range(nodes)]
        self.follower = Mongod(args, parameters, cache_gb, version) if follower else None
        self.client = None

    def _all(self):
        return self.nodes + ([self.follower] if self.follower else [])

    @property
    def hosts(self):
        return ",".join(n.address for n in self.nodes)

    @property
    def uri(self):
        who = "root:secret@" if self.auth else ""
        return f"mongodb://{who}{self.hosts}/?replicaSet={self.name}"

    def __enter__(self):
        try:
            for node in self._all():
                node.start()
            self._initiate()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _initiate(self):
        first = pymongo.MongoClient(self.nodes[0].address, directConnection=True)
        config = {
            "_id": self.name,
            "members": [{"_id": i, "host": n.address, "priority": 2 if i == 0 else 1}
                        for i, n in enumerate(self.nodes)],
            "settings": {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500},
        }
        if self.follower:
            config["members"].append({"_id": len(self.nodes), "host": self.follower.address,
                                      "priority": 0, "votes": 0})
        if self.config_server:
            config["configsvr"] = True
        first.admin.command({"replSetInitiate": config})
        wait_for(lambda: first.admin.command("isMaster")["ismaster"], START_SECONDS, "primary")
        if self.auth:
            first.admin.command({"createUser": "root", "pwd": "secret",
                                 "roles": [{"role": "root", "db": "admin"}]})
        first.close()
        self.client = pymongo.MongoClient(self.uri, w="majority")
        if len(self._all()) > 1:
            wait_for(self._all_secondaries, START_SECONDS, "secondaries")

    def _all_secondaries(self):
        members = self.client.admin.command("replSetGetStatus")["members"]
        states = sorted(m["stateStr"] for m in members)
        return states == ["PRIMARY"] + ["SECONDARY"] * (len(self._all()) - 1)

    def primary(self):
        """The Mongod that is primary now."""
        def find():
            host = self.client.admin.command("isMaster").get("primary")
            return next((n for n in self.nodes if n.address == host), None)
        return wait_for(find, START_SECONDS, "primary")

    def direct(self, node):
        """A client of one node alone."""
        who = "root:secret@" if self.auth else ""
        return pymongo.MongoClient(f"mongodb://{who}{node.address}/?directConnection=true")

    def restart(self, node, number=signal.SIGKILL):
        """Ends the node with the signal, starts it again and waits until the set has a primary."""
        node._end(number)
        node.start()
        self.wait_primary()

    def wait_primary(self):
        wait_for(lambda: self.client.admin.command("isMaster")["ismaster"], START_SECONDS,
                 "primary")

    def step_down(self):
        """Makes another node primary; returns when it is."""
        before = self.primary()
        try:
            self.client.admin.command({"replSetStepDown": 20, "secondaryCatchUpPeriodSecs": 10})
        except PyMongoError:
            pass  # The old primary may drop the connection instead of answering.
        wait_for(lambda: self.primary() is not before, START_SECONDS, "another primary")

    def roll_oplog_over(self, past):
        """Writes until the oldest oplog entry is newer than the timestamp `past`."""
        oplog = self.client.local["oplog.rs"]
        filler = self.client["oplog_filler"]["c"]

        def rolled():
            filler.insert_many([{"pad": "x" * 100_000} for _ in range(20)])
            return oplog.find_one()["ts"] > past
        wait_for(rolled, START_SECONDS, "oplog roll-over (start the set with a small oplog)")
        self.client.drop_database("oplog_filler")

    def now(self):
        """The optime of the last majority-committed write, as a Timestamp."""
        return self.client.admin.command("isMaster")["lastWrite"]["majorityOpTime"]["ts"]

    def settle(self):
        """Waits until all that was written is majority-committed."""
        def settled():
            last = self.client.admin.command("isMaster")["lastWrite"]
            return last["majorityOpTime"] == last["opTime"]
        wait_for(settled, START_SECONDS, "majority")

    def wipe(self):
        """Drops every database that is the user's."""
        for name in self.client.list_database_names():
            if name not in ("admin", "config", "local"):
                self.client.drop_database(name)

    def __exit__(self, *exc):
        if self.client is not None:
            self.client.close()
        for node in self._all():
            node.remove()
        if self.keyfile:
            os.unlink(self.keyfile)


def has_code(error, code):
    return isinstance(error, OperationFailure) and error.code == code
