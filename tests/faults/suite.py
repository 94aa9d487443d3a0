"""Runs cases on several machines at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from testbed import Machine, Spec, Testbed, virtual
from tests.faults import power_cut
from tests.faults.rig import Case, Rig, Verdict
from tests.integration.conftest import PACKAGES

_FIRST_ADDRESS = 141
_KERNEL_ADDRESS = 171


class Worker:
    """A machine of the testbed that runs one case after another.

    Args:
        machine: a bare one.
        abilities: which further needs of cases it meets: "libvirt", "intruder".
        intruder: another machine of its network.
    """

    def __init__(
        self, machine: Machine, abilities: frozenset[str] = frozenset(), intruder: Machine | None = None
    ) -> None:
        self.machine = machine
        self.abilities = abilities | {"cables"}
        self._intruder = intruder
        self._rig: Rig | None = None

    def takes(self, case: Case) -> bool:
        """Whether it can run a case."""
        return case.needs <= self.abilities

    def set_up(self) -> None:
        """Install what the cases need on the bare machine."""
        packages = ["bridge-utils", *(PACKAGES if "libvirt" in self.abilities else [])]
        self.machine.ssh(["apt-get", "-q", "update"])
        # the testbed has written a libvirtd.conf
        install = ["apt-get", "-qy", "-o", "Dpkg::Options::=--force-confold", "install"]
        self.machine.ssh([*install, "--no-install-recommends", *packages])

    def run(self, case: Case) -> Verdict:
        """Run a case; after one that failed the next one gets the machine anew."""
        rig = self._rig = self._rig or self._make_rig()
        verdict = rig.run(case)
        if verdict.problem:
            self.machine.reset()
            self.set_up()
            self._rig = None
        return verdict

    def _make_rig(self) -> Rig:
        return Rig(self.machine, intruder=self._intruder)


class KernelWorker(Worker):
    """A machine with a kernel of its own, for the cases that need one: it is too slow for the others."""

    def takes(self, case: Case) -> bool:
        """See Worker."""
        return case.needs == power_cut.KERNEL

    def set_up(self) -> None:
        """Start it."""
        self.machine.boot()
        self.machine.wait()

    def _make_rig(self) -> Rig:
        return Rig(self.machine, power_cut.TIMEOUT)


def workers(bed: Testbed, cases: Sequence[Case], count: int) -> list[Worker]:
    """Start up to `count` machines for these cases; the first one has what only some of them need.

    Beside them one with a kernel of its own, if there are cases for it.
    """
    network = bed.network.range.network_address
    first = network + _FIRST_ADDRESS
    plain = [case for case in cases if case.needs != power_cut.KERNEL]
    needs = frozenset[str]().union(*(case.needs for case in plain))
    specs = [Spec(name=f"fault{n}", address=first + n, nics=2) for n in range(min(count, len(plain)))]
    others = [Spec(name="intruder", address=first + count)] if "intruder" in needs else []
    machines = bed.start([*specs, *others])
    intruder = machines[len(specs)] if others else None
    hands = [Worker(machine, needs, intruder) for machine in machines[:1]]
    hands += map(Worker, machines[1 : len(specs)])
    if len(plain) < len(cases):
        kernel = virtual.enrol(bed, Spec(name="kernel", address=network + _KERNEL_ADDRESS))
        hands.append(KernelWorker(kernel))
    with ThreadPoolExecutor(len(hands)) as pool:
        list(pool.map(lambda hand: hand.set_up(), hands))
    return hands


def run(cases: Sequence[Case], hands: Sequence[Worker], report: Callable[[Verdict], None]) -> list[Verdict]:
    """Run all cases; `report` is called with each verdict as it comes, one at a time.

    Raises:
        ValueError: no worker can do one of them.
    """
    impossible = [case.name for case in cases if not any(hand.takes(case) for hand in hands)]
    if impossible:
        raise ValueError(f"no machine can do {', '.join(impossible)}")
    left = sorted(cases, key=lambda case: not case.needs)
    verdicts: list[Verdict] = []
    lock = threading.Lock()

    def take(hand: Worker) -> Case | None:
        with lock:
            case = next((case for case in left if hand.takes(case)), None)
            if case is not None:
                left.remove(case)
            return case

    def work(hand: Worker) -> None:
        while (case := take(hand)) is not None:
            verdict = hand.run(case)
            with lock:
                verdicts.append(verdict)
                report(verdict)

    with ThreadPoolExecutor(len(hands)) as pool:
        try:
            for running in [pool.submit(work, hand) for hand in hands]:
                running.result()
        finally:
            left.clear()  # when one broke, or we were interrupted, the others begin nothing more
    return verdicts
