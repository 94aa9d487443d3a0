"""A host whose power fails in the middle of a change of its network, page cache and all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed import Spec, Testbed, virtual
from tests.faults import power_cut
from tests.faults.rig import Case, Rig


@pytest.fixture(scope="module")
def rig(testbed: Testbed) -> Iterator[Rig]:
    """A machine under QEMU, for all cases."""
    address = testbed.network.range.network_address + 71
    machine = virtual.enrol(testbed, Spec(name="power", address=address))
    machine.boot()
    machine.wait()
    yield Rig(machine, power_cut.TIMEOUT)
    machine.kill()


@pytest.mark.parametrize("case", power_cut.SHORT, ids=lambda case: case.name)
def test_power_cut(rig: Rig, case: Case) -> None:
    verdict = rig.run(case)
    assert not verdict.problem, verdict.problem
