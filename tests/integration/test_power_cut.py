"""A host whose power fails in the middle of a change of its network, page cache and all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed import Testbed
from tests.faults import power_cut, suite
from tests.faults.rig import Case


@pytest.fixture(scope="module")
def worker(testbed: Testbed) -> Iterator[suite.Worker]:
    """A machine under QEMU, for all cases; after one that failed it is made anew."""
    (started,) = suite.workers(testbed, power_cut.SHORT, 1)
    yield started
    started.machine.kill()


@pytest.mark.parametrize("case", power_cut.SHORT, ids=lambda case: case.name)
def test_power_cut(worker: suite.Worker, case: Case) -> None:
    verdict = worker.run(case)
    assert not verdict.problem, verdict.problem
