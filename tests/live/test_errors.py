"""Every bad input ends in the right exit code and one line that says what, where and what next."""

import os
import pathlib
import resource
import shutil
import subprocess
import time

import pytest

from harness import oracle
from harness.mongod import ReplicaSet, Standalone, free_port
from harness.pitr import Pitr, binary, clean_environment, stamp


@pytest.fixture
def filled(source, pitr):
    """A repository with a snapshot of some data and a captured oplog."""
    source.client["shop"].c.insert_many([{"_id": i, "pad": os.urandom(600)} for i in range(2000)])
    pitr.first = pitr.ok("snapshot")
    source.client["shop"].c.insert_one({"_id": "later"})
    pitr.ok("tail", "--once")
    return pitr


def files(repo, at_least=1):
    """The files of a repository, the largest first."""
    found = [p for p in pathlib.Path(repo).rglob("*") if p.is_file()]
    found = [p for p in found if p.stat().st_size >= at_least]
    return sorted(found, key=lambda p: -p.stat().st_size)


def packs(repo):
    found = [p for p in files(repo) if "pack" in str(p.relative_to(repo))]
    assert found, "no file of the repository looks like a pack"
    return found


def index_files(repo):
    found = [p for p in files(repo, at_least=0) if "index" in str(p.relative_to(repo))]
    assert found, "no file of the repository looks like an index"
    return found


# Servers

def test_an_unreachable_server(pitr):
    port = free_port()
    started = time.monotonic()
    pitr.fails(3, "snapshot", uri=f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=2000",
               says=str(port))
    assert time.monotonic() - started < 30


def test_a_uri_that_is_none(pitr):
    pitr.fails(2, "snapshot", uri="postgres://127.0.0.1/")


def test_wrong_credentials_and_never_the_password(tmp_path):
    with ReplicaSet(auth=True) as source:
        Pitr(tmp_path / "good", source.uri).init().ok("snapshot")
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        wrong = source.uri.replace("root:secret@", "root:Wr0ngPassw0rd@")
        line = pitr.fails(3, "snapshot", uri=wrong, says="auth")
        assert "Wr0ngPassw0rd" not in line
        pitr.fails(3, "snapshot", uri=source.uri.replace("root:secret@", ""))


def test_a_standalone_server_has_no_oplog_to_follow(tmp_path):
    with Standalone() as alone:
        alone.client["solo"].c.insert_one({"_id": 1})
        pitr = Pitr(tmp_path / "repo", alone.uri).init()
        pitr.ok("snapshot")
        pitr.fails(3, "tail", "--once", says="replica set")


def test_a_member_of_a_sharded_cluster_is_refused(tmp_path):
    with ReplicaSet(config_server=True, name="cfg") as source:
        Pitr(tmp_path / "repo", source.uri).init().fails(3, "snapshot", says="shard")


def test_a_repository_of_another_cluster(target, filled):
    target.client["other"].c.insert_one({"_id": 1})
    filled.fails(2, "snapshot", uri=target.uri, says="cluster")
    filled.fails(2, "tail", "--once", uri=target.uri, says="cluster")


# Targets in time

def test_a_target_full_of_data(target, filled):
    target.client["mine"].c.insert_one({"_id": 1})
    filled.fails(2, "restore", "--latest", "--target", target.uri, "--yes", says="--drop")


@pytest.mark.parametrize("when", ["2001-01-01T00:00:00Z", "1,1"])
def test_a_time_before_the_first_snapshot(target, filled, when):
    filled.fails(6, "restore", "--to", when, "--target", target.uri, "--yes")


@pytest.mark.parametrize("when", ["2100-01-01T00:00:00Z", "4102444800,1"])
def test_a_time_that_is_not_captured_yet(target, filled, when):
    filled.fails(6, "restore", "--to", when, "--target", target.uri, "--yes")


def test_a_time_inside_the_scan(target, filled):
    begin = filled.first["begin"]
    filled.fails(6, "restore", "--before", f"{begin['t']},{begin['i']}", "--target", target.uri,
                 "--yes")


@pytest.mark.parametrize("when", ["2026-11-23T14:03:07", "2026-11-23T14:03:07.5Z", "yesterday",
                                  "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "12", "1,", ",1",
                                  "-1,1", "1,1,1", "99999999999,1", "", " latest"])
def test_a_time_that_is_none(target, filled, when):
    filled.fails(2, "restore", "--to", when, "--target", target.uri, "--yes")


def test_an_unknown_snapshot(target, filled):
    filled.fails(6, "restore", "--snapshot", "no-such-id", "--target", target.uri, "--yes",
                 says="no-such-id")


# Damage

def test_a_truncated_pack(target, filled):
    for pack in packs(filled.repo):
        os.truncate(pack, pack.stat().st_size // 2)
    filled.fails(5, "restore", "--latest", "--target", target.uri, "--yes")
    assert oracle.state_now(target.client).collections == {}
    filled.fails(5, "verify", "--data")


def test_a_damaged_snapshot_is_passed_over_for_an_older_one(source, target, filled):
    older = set(packs(filled.repo))
    source.client["shop"].c.insert_many([{"_id": f"n{i}", "pad": os.urandom(600)}
                                         for i in range(2000)])
    newer = filled.ok("snapshot")
    for pack in set(packs(filled.repo)) - older:
        os.truncate(pack, pack.stat().st_size // 2)
    result = filled.run("restore", "--snapshot", newer["id"], "--target", target.uri, "--yes")
    assert result.rc == 0, str(result)
    assert result.json["snapshot"] == filled.first["id"]
    assert newer["id"] in result.stderr and "older" in result.stderr, str(result)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))
    filled.fails(5, "verify")


def test_a_flipped_byte_in_any_large_file_is_found(filled):
    index = index_files(filled.repo)
    for path in files(filled.repo, at_least=200)[:12]:
        if path in index:
            continue
        whole = path.read_bytes()
        at = len(whole) // 2
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1:])
        result = filled.run("verify", "--data")
        assert result.rc == 5, f"{path}\n{result}"
        path.write_bytes(whole)
    filled.ok("verify", "--data")


@pytest.mark.parametrize("damage", ["deleted", "empty", "truncated", "garbage"])
def test_without_its_index_a_repository_still_restores(source, target, filled, damage):
    for path in index_files(filled.repo):
        if damage == "deleted":
            path.unlink()
        elif damage == "garbage":
            path.write_bytes(os.urandom(max(8192, path.stat().st_size // 8)))
        else:
            os.truncate(path, 0 if damage == "empty" else path.stat().st_size // 2)
    filled.restore("--to", "latest", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))
    filled.ok("snapshot")
    filled.ok("verify", "--data")


# Room and rights

def limit_file_size(size):
    def apply():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return apply


def test_no_room_for_a_snapshot_loses_nothing(source, target, filled):
    """A limit on the size of files stands for a full disk: writes past it fail."""
    source.client["shop"].more.insert_many([{"_id": i, "pad": os.urandom(900)}
                                            for i in range(4000)])
    filled.fails(4, "snapshot", "--mode", "scan", preexec=limit_file_size(1 << 20))
    filled.ok("snapshot", "--mode", "scan")
    filled.ok("tail", "--once")
    filled.ok("verify", "--data")
    filled.restore("--to", "latest", "--drop", target=target.uri)
    oracle.assert_equal(oracle.state_now(source.client), oracle.state_now(target.client))


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)],
                           capture_output=True, check=False)
    if mount.returncode != 0:
        pytest.skip("mounting a small disk needs rights that this user has not")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_loses_nothing(source, target, small_disk):
    pitr = Pitr(small_disk / "repo", source.uri).init()
    source.client["shop"].c.insert_many([{"_id": i, "pad": os.urandom(500)} for i in range(1000)])
    pitr.ok("snapshot")
    truth = oracle.state_now(source.client)
    source.client["shop"].big.insert_many([{"_id": i, "pad": os.urandom(1000)}
                                           for i in range(12_000)])
    pitr.fails(4, "snapshot", "--mode", "scan")
    pitr.ok("verify", "--data")
    pitr.restore("--latest", "--drop", target=target.uri)
    oracle.assert_equal(truth, oracle.state_now(target.client))


def test_a_repository_that_cannot_be_written(source, filled):
    """Permission bits do not bind root, so the program runs as another user."""
    if os.getuid() != 0:
        pytest.skip("only root can run the program as somebody else")
    # Readable by all, writable by its owner alone; the way to it must be open as well.
    for path in [pathlib.Path(filled.repo), *pathlib.Path(filled.repo).rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    for parent in pathlib.Path(filled.repo).parents:
        if parent.owner() == "root" and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    program = pathlib.Path(filled.repo).parent / "pitr"
    shutil.copy(os.environ.get("PITR_TEST_PROGRAM", str(pathlib.Path(__file__).parents[2] /
                                                        "build/pitr")), program)
    program.chmod(0o755)
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(program),
         "--repo", filled.repo, "--uri", source.uri, "snapshot"],
        capture_output=True, text=True, env=clean_environment(), timeout=60, check=False)
    assert done.returncode == 4, done
    assert len(done.stderr.splitlines()) == 1, done


def test_a_foreign_folder_is_no_repository(source, tmp_path):
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"meow")
    pitr = Pitr(foreign, source.uri)
    pitr.fails(2, "init")
    assert [p.name for p in foreign.iterdir()] == ["cat.jpg"]
    assert pitr.run("snapshot").rc in (2, 4)


def test_a_repository_that_is_not_there(source, tmp_path):
    result = Pitr(tmp_path / "nowhere", source.uri).run("list")
    assert result.rc in (2, 4), str(result)
    assert len(result.stderr.splitlines()) == 1


# Usage

USAGE = [["snapshot", "--no-such-option"], ["no-such-command"], ["restore", "--to"],
         ["restore", "--to", "latest", "--snapshot", "x"], ["restore"], ["snapshot", "--mode", "x"],
         ["snapshot", "surplus"], ["tail", "--interval", "soon"], ["restore", "--latest", "--rename",
         "a.*=b.c"], []]


@pytest.mark.parametrize("line", USAGE, ids=lambda line: " ".join(line) or "nothing")
def test_a_command_line_that_makes_no_sense(pitr, line):
    pitr.fails(2, *line)


@pytest.mark.parametrize("text", ["noSuchSetting: 1\n", "excludeCollections: [\n", "- a\n- b\n"])
def test_a_configuration_that_makes_no_sense(source, tmp_path, text):
    config = tmp_path / "pitr.yaml"
    config.write_text(text)
    Pitr(tmp_path / "repo", source.uri, config=config).fails(2, "init", says="pitr.yaml")


def test_errors_without_json_are_one_line_and_no_data(pitr):
    result = pitr.run("snapshot", "--no-such-option", use_json=False)
    assert result.rc == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_closed_standard_descriptor_is_never_written_to_as_another_file(filled, closed):
    def close():
        for fd in closed:
            os.close(fd)
    for line in (["snapshot"], ["index", "rebuild"], ["restore", "--latest", "--plan",
                                                      "--rename", "*.*=*x.*"], ["list"]):
        done = filled.run(*line, preexec=close)
        assert done.rc == (1 if 1 in closed else 0), str(done)
        if closed == (1,):
            assert done.stderr == "pitr: writing to stdout: Bad file descriptor\n"
    for path in files(filled.repo):
        assert b"bytes_stored" not in path.read_bytes() or "snapshots" in path.parts, path
    filled.ok("verify", "--data")


@pytest.mark.parametrize("options", ([], ["--json"]))
def test_a_stdout_that_takes_nothing_is_told_once(tmp_path, options):
    repo = str(tmp_path / "repo")
    subprocess.run([binary(), "--repo", repo, "init"], check=True, stdout=subprocess.DEVNULL)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([binary(), "--repo", repo, *options, "list"], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False,
                              env=clean_environment())
    assert done.returncode == 1
    assert done.stderr == "pitr: writing to stdout: No space left on device\n"


def test_a_password_in_the_uri_is_never_stored(tmp_path):
    with ReplicaSet(auth=True) as source:
        source.client["shop"].c.insert_one({"_id": 1})
        pitr = Pitr(tmp_path / "repo", source.uri).init()
        said = pitr.run("-v", "snapshot")
        assert said.rc == 0, str(said)
        assert "secret" not in said.stdout + said.stderr
        for path in files(pitr.repo):
            assert b"root:secret" not in path.read_bytes(), path


def test_the_nearest_valid_time_is_named(source, target, filled):
    first, last = filled.ok("list")["restorable"][0]["from"], source.now()
    line = filled.fails(6, "restore", "--to", "1,1", "--target", target.uri, "--yes")
    assert f"{first['t']},{first['i']}" in line
    line = filled.fails(6, "restore", "--to", "4102444800,1", "--target", target.uri, "--yes")
    assert str(last.time)[:6] in line, stamp(last)
