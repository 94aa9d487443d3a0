"""Whatever goes wrong in a change of the bridge, the host answers, on the old configuration or on the new.

A selection of the fault suite (`make faults` runs all of it), and what is no fault of one change.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from providers import network_bridge
from providers.host_network import FOLDER
from testbed import Machine, Testbed
from tests.faults import suite
from tests.faults.named import CASES
from tests.faults.rig import Verdict
from tests.integration.bridges import create, delete, differs, network_of, refresh, run_client

MACHINES = 4
SELECTED = (
    "client killed at arm",
    "client killed at prove",
    "client killed at confirmed, give-back",
    "connection cut at apply",
    "sshd stopped during prove",
    "wrong gateway",
    "hook fails in if-up.d",
    "hook hangs in if-up.d",
    "live command fails",
    "power cut when applied",
    "power cut in phase swap",
    "disk full while staging",
    "/etc/network read-only",
    "systemd's unit folder read-only",
    "next client comes while a dead one's change is pending",
    "rollback races confirm",
    "guest on the bridge, rebuild",
)


@pytest.fixture(scope="module")
def hands(testbed: Testbed) -> Iterator[list[suite.Worker]]:
    """Machines with bridge-utils."""
    started = suite.workers(testbed, [CASES[name] for name in SELECTED], MACHINES)
    yield started
    for hand in started:
        hand.machine.poweroff()


@pytest.fixture(scope="module")
def verdicts(hands: list[suite.Worker]) -> Mapping[str, Verdict]:
    """How the selected cases ended; they run on all machines at once."""
    ended = suite.run([CASES[name] for name in SELECTED], hands, lambda _: None)
    return {verdict.case: verdict for verdict in ended}


@pytest.mark.parametrize("name", SELECTED)
def test_fault(verdicts: Mapping[str, Verdict], name: str) -> None:
    assert not verdicts[name].problem, verdicts[name].problem


@pytest.fixture
def machine(hands: list[suite.Worker]) -> Iterator[Machine]:
    """A machine, given back as it was."""
    bare = hands[0].machine
    before = network_of(bare)
    yield bare
    assert network_of(bare) == before


def test_two_stacks_at_once_take_their_turns(machine: Machine) -> None:
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(create, machine)
        two = pool.submit(create, machine, stack="kvm-lab/two")
        first, second = one.result(), two.result()
    after = network_of(machine)
    delete(first)
    assert network_of(machine) == after
    delete(second)


def test_killed_after_it_was_confirmed_leaves_nothing_at_the_next_destroy(machine: Machine) -> None:
    outs = create(machine)
    client = """
import json, sys, os
from providers import network_bridge
network_bridge._clean_up = lambda inputs: os.kill(os.getpid(), 9)
network_bridge.NetworkBridgeProvider().delete("x", json.load(sys.stdin))
"""
    assert run_client(machine, client) == -signal.SIGKILL
    assert machine.ssh(["test", "-e", f"{FOLDER}/last"], check=False).returncode == 0
    delete(outs)
    assert machine.ssh(["test", "-e", "/var/lib/kvm-lab"], check=False).returncode == 1


def test_what_another_stack_claims_meanwhile_stays(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_up = network_bridge._clean_up
    second: dict[str, Any] = {}

    def between(inputs: network_bridge.NetworkBridgeInputs) -> None:
        monkeypatch.undo()
        second.update(create(machine, stack="kvm-lab/two"))
        clean_up(inputs)

    outs = create(machine)
    monkeypatch.setattr(network_bridge, "_clean_up", between)
    delete(outs)
    assert not differs(machine, refresh(second), stack="kvm-lab/two")
    delete(second)
