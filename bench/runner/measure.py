"""Servers, data, programs and records that the cases share."""

import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

import bson
from harness.mongod import ReplicaSet
from harness.mongod import binary as mongod_binary
from harness.pitr import clean_environment

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench/results"
SEED = 20261123
DATABASE = "shop"
FULL_DOCUMENTS = 1_600_000
# Answers of 4 MiB to two cursors are the fastest of 1 to 16 MiB and 2 to 4 cursors on two cores;
# the 16 MiB that the driver asks for by itself take nearly twice as long, as they leave the caches.
SCAN_CONNECTIONS, DRIVER_BATCH_MIB, SMALL_BATCH_MIB = 2, 16, 4
LOAD_BATCH_DOCUMENTS = 5000
OPLOG_BATCH_MIB = 0.5  # What oplog_mongo.c asks for.


class Run:
    """What one run of a program cost, and what it printed."""

    def __init__(self, usage, stdout):
        self.seconds = usage["seconds"]
        self.rss_mib = usage["rss_kib"] / 1024
        self.cpu = usage["user"] + usage["system"]
        lines = [line for line in stdout.splitlines() if line.strip()]
        self.objects = [json.loads(line) for line in lines] if lines else []

    @property
    def json(self):
        return self.objects[-1]


def plain_set():
    """A one-node set as an operator would run it: a 2 GB cache, the server's own history."""
    return ReplicaSet(oplog_mb=4000, history=300, cache_gb=2)


class Bench:
    def __init__(self, args):
        self.args = args
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pitr-bench-"))
        self.records = []
        self._source = None
        self._data = None
        self._dump = None

    def close(self):
        if self._source:
            self._source.__exit__()
        shutil.rmtree(self.dir, ignore_errors=True)

    def say(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)

    def start(self, command, env=None):
        """Starts a command under bench/measure, in a process group of its own."""
        report = tempfile.NamedTemporaryFile(dir=self.dir, suffix=".usage")
        out = tempfile.TemporaryFile("w+", dir=self.dir)
        process = subprocess.Popen(
            [f"{self.args.tools}/measure", report.name, *map(str, command)], stdout=out,
            stdin=subprocess.DEVNULL, env=clean_environment(env), start_new_session=True)
        process.bench = (command, report, out)
        return process

    def finish(self, process):
        command, report, out = process.bench
        process.wait()
        usage = json.load(open(report.name))
        out.seek(0)
        text = out.read()
        out.close()
        report.close()
        if usage["rc"] != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}\nended with {usage['rc']}\n{text}")
        return Run(usage, text)

    def run(self, command, env=None):
        return self.finish(self.start(command, env))

    def tool(self, name, *args, env=None):
        return self.run([f"{self.args.tools}/{name}", *args], env)

    def pitr_command(self, repo, *args, uri=None):
        where = ["--uri", uri] if uri else []
        return [self.args.program, "--repo", repo, *where, "--json", "--no-progress", *args]

    def pitr(self, repo, *args, uri=None):
        return self.run(self.pitr_command(repo, *args, uri=uri))

    def stop(self, process):
        os.killpg(process.pid, signal.SIGTERM)
        return self.finish(process)

    @property
    def percent(self):
        return max(1, round(self.args.scale * 100))

    @property
    def source(self):
        """The source, filled when it is first asked for."""
        if self._source is None:
            self.say(f"filling the source ({self.percent} % of {FULL_DOCUMENTS} documents)")
            self._source = plain_set().__enter__()
            self.fill(DATABASE, SEED)
        return self._source

    def fill(self, database, seed):
        made = self.tool("fill", self._source.uri, database, self.percent, seed).json
        self.data["documents"] += made["documents"]
        self.data["bytes"] += made["bytes"]
        # A checkpoint now does not fall into a measurement later.
        self._source.client.admin.command("fsync")

    @property
    def data(self):
        """What the source holds; changed by the cases that write."""
        if self._data is None:
            self._data = {"documents": 0, "bytes": 0, "percent": self.percent}
        return self._data

    def scan(self, batch_mib=DRIVER_BATCH_MIB):
        """The seconds of a bare scan of the source."""
        run = self.tool("bare_scan", self.source.uri, SCAN_CONNECTIONS, batch_mib,
                        *self.databases())
        return run.json["seconds"]

    def databases(self):
        names = self.source.client.list_database_names()
        return [n for n in names if n not in ("admin", "config", "local")]

    def dump(self):
        """The source as the bare loader wants it; made again when the source was written to."""
        self.drop_dump()
        self._dump = self.dir / "dump"
        self._dump.mkdir()
        for db in self.databases():
            for coll in self.source.client[db].list_collection_names():
                self._dump_collection(self.source.client[db][coll])
        return self._dump

    def _dump_collection(self, coll):
        path = self._dump / f"{coll.database.name}.{coll.name}.bson"
        with open(path, "wb") as f:
            for batch in coll.find_raw_batches(batch_size=20_000):
                f.write(batch)
        specs = [dict(s) for s in coll.list_indexes() if s["name"] != "_id_"]
        command = bson.encode({"createIndexes": coll.name, "indexes": specs}) if specs else b""
        path.with_suffix(".index").write_bytes(command)

    def drop_dump(self):
        if self._dump:
            shutil.rmtree(self._dump)
            self._dump = None

    def bare_load(self, folder):
        """Loads into an empty server; the program's own report."""
        with plain_set() as target:
            os.sync()
            uri = target.uri + "&retryWrites=false"
            return self.tool("bare_load", uri, self.args.connections, LOAD_BATCH_DOCUMENTS,
                             folder).json

    def restore(self, repo, *moment):
        """Restores into an empty server; the run."""
        with plain_set() as target:
            os.sync()
            return self.pitr(repo, "restore", *moment, "--target", target.uri, "--yes")

    def repository(self, uri=None):
        """A fresh repository."""
        path = tempfile.mkdtemp(prefix="repo-", dir=self.dir)
        self.pitr(path, "init", uri=uri)
        return path

    def copy(self, repo):
        """The same repository as another one, to continue it more than once."""
        path = tempfile.mkdtemp(prefix="repo-", dir=self.dir)
        shutil.copytree(repo, path, dirs_exist_ok=True)
        return path

    def drop(self, repo):
        shutil.rmtree(repo)

    def snapshot(self, repo, codec="zstd", uri=None):
        os.sync()
        return self.pitr(repo, "snapshot", "--codec", codec, uri=uri or self.source.uri)

    def record(self, case, seconds, limit=None, baseline=None, value=None, **more):
        """One line of results. `limit` bounds the ratio to the baseline, or else `value`, or else
        the best time; a limit below which `value` must not fall has at_least=True."""
        at_least = more.pop("at_least", False)
        best = min(seconds) if seconds else None
        line = {
            "case": case, "commit": commit(), "date": now(), "cpu": cpu(),
            "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1),
            **build(self.args.program), "mongod": mongod_version(), "data": dict(self.data),
            "n": len(seconds), "median": rounded(statistics.median(seconds) if seconds else None),
            "min": rounded(best), "spread": rounded(max(seconds) - best if seconds else None),
            "baseline_median": rounded(statistics.median(baseline) if baseline else None),
            "baseline_min": rounded(min(baseline) if baseline else None),
            "ratio": rounded(best / min(baseline) if baseline else None),
            "value": rounded(value), "limit": limit, **more,
        }
        judged = line["ratio"] if baseline else line["value"] if value is not None else best
        line["ok"] = limit is None or (judged >= limit if at_least else judged <= limit)
        self.records.append(line)
        if not self.args.no_record:
            RESULTS.mkdir(exist_ok=True)
            with open(RESULTS / f"{case}.jsonl", "a", encoding="utf-8") as f:
                f.write(json.dumps(line) + "\n")
        self.say(describe(line))

    def table(self):
        """Prints what was measured; the exit code."""
        print()
        for line in self.records:
            print(describe(line))
        failed = [line["case"] for line in self.records if not line["ok"]]
        if failed:
            print(f"over the limit: {', '.join(failed)}")
        return 1 if failed else 0


def describe(line):
    parts = [f"{line['case']:<20}"]
    parts.append(f"{line['min']:9.3f} s" if line["min"] is not None else " " * 11)
    if line["baseline_min"] is not None:
        parts.append(f"bare {line['baseline_min']:8.3f} s  ratio {line['ratio']:6.3f}")
    if line["value"] is not None:
        parts.append(f"{line['value']:,.3f} {line.get('unit', '')}")
    if line["limit"] is not None:
        parts.append(f"limit {line['limit']:,}{'' if line['ok'] else '  EXCEEDED'}")
    return "  ".join(parts)


def rounded(value):
    return None if value is None else round(value, 4)


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def output(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit():
    head = output("git", "rev-parse", "--short", "HEAD") or "none"
    # Results of earlier cases are no change of the program.
    changed = output("git", "status", "--porcelain", "--", ".", ":!bench/results")
    return head + ("+changes" if changed else "")


def cpu():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def build(program):
    """Compiler and flags, out of the folder the program was built in."""
    folder = pathlib.Path(program).parent
    compiler, flags = "cc", "unknown"
    if (folder / "CMakeCache.txt").exists():
        cache = (folder / "CMakeCache.txt").read_text()
        compiler = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", cache, re.M).group(1)
    if (folder / "build.ninja").exists():
        line = re.search(r"^ *FLAGS = (.*)$", (folder / "build.ninja").read_text(), re.M).group(1)
        flags = " ".join(word for word in line.split() if re.match(r"-(O|g|f|m|std)", word))
    return {"compiler": output(compiler, "--version").split("\n")[0], "flags": flags}


def mongod_version():
    first = output(mongod_binary(), "--version").split("\n")[0]
    return first.replace("db version v", "")
