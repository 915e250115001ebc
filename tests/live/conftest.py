"""Fixtures of the live tests. Each test gets its own repository; servers are shared by a module
and emptied before each test."""

import os
import random
import signal

import pytest

from harness.mongod import ReplicaSet
from harness.pitr import Pitr


def pytest_configure():
    # A run that is told to end takes its servers and folders with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="module")
def shared_source():
    with ReplicaSet() as rs:
        yield rs


@pytest.fixture(scope="module")
def shared_target():
    with ReplicaSet() as rs:
        yield rs


@pytest.fixture
def source(shared_source):
    shared_source.wipe()
    return shared_source


@pytest.fixture
def target(shared_target):
    shared_target.wipe()
    return shared_target


@pytest.fixture
def pitr(source, tmp_path):
    """The program with a fresh repository for the source."""
    return Pitr(tmp_path / "repo", source.uri).init()


@pytest.fixture(scope="session")
def seed():
    """A new one each time, so that machines try what nobody tried yet; SEED repeats a failed run."""
    number = int(os.environ.get("SEED") or random.randrange(1 << 31))
    print(f"SEED={number}")
    return number
