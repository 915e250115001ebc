"""./dev sweep: as many random moments as one has time for."""

import os

import pytest

from harness import mongod
from harness.sweep import Sweep, run_in_version

TARGETS = int(os.environ.get("PITR_SWEEP_TARGETS", "0"))
VERSIONS = os.environ.get("PITR_SWEEP_VERSIONS", " ".join(mongod.VERSIONS)).split()


@pytest.mark.skipif(TARGETS == 0, reason="./dev sweep runs it")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_moment_comes_back_exactly(version, seed):
    run_in_version(version)
    with Sweep(version, seed) as sweep:
        sweep.run(-(-TARGETS // len(VERSIONS)))
