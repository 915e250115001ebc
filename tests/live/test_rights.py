"""With access control: the least that is needed is enough, and less is refused before anything is
touched."""

import pytest

from harness import oracle
from harness.mongod import ReplicaSet
from harness.pitr import Pitr

BACKUP = ["backup", "clusterMonitor"]
RESTORE = ["restore", "backup", "clusterMonitor"]


@pytest.fixture(scope="module")
def guarded():
    with ReplicaSet(auth=True) as rs:
        add_user(rs, "keeper", BACKUP)
        yield rs


@pytest.fixture(scope="module")
def guarded_target():
    with ReplicaSet(auth=True, name="rs1") as rs:
        yield rs


def add_user(rs, name, roles):
    rs.client.admin.command({"createUser": name, "pwd": "secret", "roles": roles})


def uri_of(rs, name):
    return rs.uri.replace("root:secret@", f"{name}:secret@")


@pytest.fixture
def backed_up(guarded, tmp_path):
    """A repository made by a user with no more than the roles that a backup needs."""
    guarded.wipe()
    db = guarded.client["app"]
    db.c.insert_many([{"_id": i, "n": i % 7} for i in range(100)])
    db.c.create_index("n")
    db.command({"create": "v", "viewOn": "c", "pipeline": [{"$match": {"n": 1}}],
                "collation": {"locale": "de"}})
    db.create_collection("series", timeseries={"timeField": "at"})
    pitr = Pitr(tmp_path / "repo", uri_of(guarded, "keeper")).init()
    pitr.ok("snapshot")
    db.command({"collMod": "v", "viewOn": "c", "pipeline": [{"$match": {"n": 2}}]})
    db.command({"create": "w", "viewOn": "c", "pipeline": []})
    pitr.ok("tail", "--once")
    return pitr


def test_backup_and_cluster_monitor_are_enough_to_back_up(guarded, backed_up, target):
    """Views included, which these roles may list, but not read where they are stored."""
    backed_up.restore("--to", "latest", "--ns", "*.*", "--drop", target=target.uri)
    oracle.assert_equal(oracle.state_now(guarded.client), oracle.state_now(target.client))
    assert all(c["state"] != "problem" for c in backed_up.ok("check")["checks"])


def test_restore_backup_and_cluster_monitor_are_enough_to_restore(guarded, backed_up):
    add_user(guarded, "restorer", RESTORE)
    backed_up.ok("tail", "--once")
    truth = oracle.state_now(guarded.client, users=True)
    guarded.client["app"].c.delete_many({})
    guarded.client["app"].drop_collection("series")
    backed_up.uri = uri_of(guarded, "restorer")
    done = backed_up.restore("--to", "latest", "--ns", "*.*", "--drop", "--plan")
    assert done["plan"] is True
    first = backed_up.ok("list")["restorable"][0]["from"]
    backed_up.restore("--to", f"{first['t']},{first['i']}", "--ns", "*.*", "--drop")
    assert guarded.client["app"].c.count_documents({}) == 100
    assert truth.users is not None


@pytest.mark.parametrize("roles", [["read"], ["readWriteAnyDatabase"], ["restore"]], ids=str)
def test_a_user_who_may_not_do_all_of_it_changes_nothing(backed_up, guarded_target, roles):
    name = "_".join(roles)
    add_user(guarded_target, name, roles)
    guarded_target.wipe()
    guarded_target.client["app"].c.insert_one({"_id": "precious"})
    before = oracle.state_now(guarded_target.client)
    backed_up.fails(3, "restore", "--latest", "--ns", "*.*", "--drop", "--yes", "--target",
                    uri_of(guarded_target, name), says=["nothing was touched", "grant"])
    oracle.assert_equal(before, oracle.state_now(guarded_target.client))
    assert backed_up.ok("status")["problems"] == []


def test_who_may_not_read_can_restore_without_reading_back(backed_up, guarded_target):
    add_user(guarded_target, "writer", ["restore"])
    guarded_target.wipe()
    done = backed_up.restore("--latest", "--ns", "*.*", "--no-verify",
                             target=uri_of(guarded_target, "writer"))
    assert done["verified"] is False
    assert guarded_target.client["app"].c.count_documents({}) == 100


def test_a_refusal_names_the_command_and_not_all_of_it(guarded, tmp_path):
    add_user(guarded, "reader", ["readAnyDatabase"])
    line = Pitr(tmp_path / "repo", uri_of(guarded, "reader")).init().fails(
        3, "snapshot", says=["not authorized", "reader"])
    assert "lsid" not in line


def test_users_of_another_server_come_though_one_is_the_restores_own(guarded, tmp_path):
    """The same name is another user there, whose connections the server would disown."""
    pitr = Pitr(tmp_path / "repo", guarded.uri).init()
    guarded.wipe()
    guarded.client["app"].c.insert_one({"_id": 1})
    pitr.ok("snapshot")
    with ReplicaSet(auth=True, name="rs2") as other:
        add_user(other, "stranger", ["read"])
        pitr.restore("--latest", "--drop", target=other.uri)
        oracle.assert_equal(oracle.state_now(guarded.client, users=True),
                            oracle.state_now(other.client, users=True))
        assert [n for n in other.client.admin.list_collection_names() if "tmp" in n] == []
