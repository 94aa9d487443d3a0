"""Whatever goes wrong in a change of the bridge, the host answers, on the old configuration or on the new."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from providers import network_bridge
from providers.host_network import FOLDER, NetworkChangeError
from testbed import Machine, Spec, Testbed
from tests.integration.bridges import (
    BRIDGE,
    INTERFACES,
    Network,
    create,
    delete,
    differs,
    hanging_client,
    network_of,
    nothing_armed,
    reboot,
    refresh,
    run_client,
    wait_for_phase,
    wait_until_undone,
)

TIMEOUT = 15
HOOK = "/etc/network/if-up.d/zz-fault"


@pytest.fixture(scope="module")
def bare(testbed: Testbed) -> Iterator[Machine]:
    """A machine with bridge-utils, for all cases."""
    address = testbed.network.range.network_address + 42
    (started,) = testbed.start([Spec(name="faults", address=address)])
    started.reset()
    started.ssh(["sh", "-c", "apt-get -q update && apt-get -qy install --no-install-recommends bridge-utils"])
    yield started
    started.poweroff()


@pytest.fixture
def machine(bare: Machine) -> Iterator[Machine]:
    """The machine, which must converge on the next run and give everything back after each case."""
    before = network_of(bare)
    bare.ssh(["cp", "-a", INTERFACES, "/root/before"])
    yield bare
    bare.ssh(["rm", "-f", HOOK])
    bare.ssh(["mv", "/root/before", INTERFACES])
    outs = create(bare)
    assert not differs(bare, refresh(outs))
    delete(outs)
    assert network_of(bare) == before


def hook(machine: Machine, action: str) -> None:
    """Let ifup of the bridge, and of nothing else, do something more."""
    script = f"#!/bin/sh\n[ $IFACE != {BRIDGE} ] || {{ {action}; }}\n"
    machine.ssh(["sh", "-c", f"cat >{HOOK} && chmod 755 {HOOK}"], stdin=script)


def without(machine: Machine, path: str) -> Network:
    machine.ssh(["rm", "-f", path])
    return network_of(machine)


def test_client_killed_before_it_confirms(machine: Machine) -> None:
    before = network_of(machine)
    with hanging_client(machine):
        wait_for_phase(machine, "applied")
        timers = machine.ssh(
            ["systemctl", "show", "-p", "TimersMonotonic", "kvm-lab-network-rollback-*.timer"]
        )
        assert "OnActiveUSec=15s" in timers.stdout
        assert network_of(machine) != before
    wait_until_undone(machine, TIMEOUT + 15)
    assert network_of(machine) == before
    assert nothing_armed(machine)


def test_next_run_waits_for_the_end_of_an_interrupted_one(machine: Machine) -> None:
    with hanging_client(machine):
        wait_for_phase(machine, "applied")
    outs = create(machine)
    assert not differs(machine, refresh(outs))
    delete(outs)


def test_another_stack_waits_for_the_end_of_an_interrupted_change(machine: Machine) -> None:
    with hanging_client(machine):
        wait_for_phase(machine, "applied")
    outs = create(machine, stack="kvm-lab/two")
    assert not differs(machine, refresh(outs), stack="kvm-lab/two")
    delete(outs)


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
    assert run_client(machine, client) == -9
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


def test_power_cut_before_it_is_confirmed(machine: Machine) -> None:
    before = network_of(machine)
    with hanging_client(machine, rollback_timeout=120):
        wait_for_phase(machine, "applied")
        reboot(machine)
    assert network_of(machine) == before
    assert nothing_armed(machine)


def test_wrong_gateway(machine: Machine) -> None:
    machine.ssh(["sed", "-i", r"s/\(gateway .*\)\.1$/\1.250/", INTERFACES])
    before = network_of(machine)
    with pytest.raises(NetworkChangeError, match=r"(?s)gateway .* does not answer.*back on its old config"):
        create(machine)
    assert network_of(machine) == before
    assert nothing_armed(machine)


def test_failing_hook_is_undone_at_once(machine: Machine) -> None:
    hook(machine, "echo the hook says no >&2; exit 7")
    before = network_of(machine)
    began = time.monotonic()
    with pytest.raises(NetworkChangeError, match=r"(?s)failed in phase up.*the hook says no") as caught:
        create(machine, rollback_timeout=60)
    assert time.monotonic() - began < 30
    assert "the host is back on its old configuration" in caught.value.seen
    assert network_of(machine) == before
    assert nothing_armed(machine)


def test_hanging_hook_is_ended_by_the_timer(machine: Machine) -> None:
    hook(machine, "sleep 600")
    before = network_of(machine)
    with pytest.raises(NetworkChangeError, match="back on its old configuration"):
        create(machine)
    assert network_of(machine) == before
    assert machine.ssh(["pgrep", "-f", "sleep 600"], check=False).returncode == 1


def test_full_disk_while_staging(machine: Machine) -> None:
    before = network_of(machine)
    machine.ssh(
        ["sh", "-c", "mkdir -p /var/lib/kvm-lab && mount -t tmpfs -o size=16k tmpfs /var/lib/kvm-lab"]
    )
    try:
        with pytest.raises(NetworkChangeError, match=r"(?s)not touched.*No space left"):
            create(machine)
    finally:
        machine.ssh(["sh", "-c", "umount /var/lib/kvm-lab && rmdir /var/lib/kvm-lab"])
    assert network_of(machine) == before


def test_files_that_cannot_be_written(machine: Machine) -> None:
    before = network_of(machine)
    mount = "mount --bind /etc/network /etc/network && mount -o remount,ro,bind /etc/network"
    machine.ssh(["sh", "-c", mount])
    try:
        with pytest.raises(NetworkChangeError, match=r"(?s)failed in phase prepare.*Read-only file system"):
            create(machine)
    finally:
        machine.ssh(["umount", "/etc/network"])
    assert network_of(machine) == before


def test_sshd_gone_while_proving(machine: Machine) -> None:
    before = network_of(machine)
    hook(
        machine,
        "systemctl stop ssh; systemd-run --on-active=20 --timer-property=AccuracySec=1s systemctl start ssh",
    )
    with pytest.raises(NetworkChangeError, match=r"(?s)no new connection.*back on its old configuration"):
        create(machine)
    assert without(machine, HOOK) == before


def test_confirm_after_the_rollback_fails(machine: Machine) -> None:
    with hanging_client(machine):
        wait_for_phase(machine, "applied")
        script = f"{FOLDER}/transaction/transaction.sh"
        change_id = next(
            line.removeprefix("id=")
            for line in machine.ssh(["sh", script, "status"]).stdout.splitlines()
            if line.startswith("id=")
        )
        race = f"sh {script} rollback {change_id} race & sh {script} confirm {change_id}; wait"
        machine.ssh(["sh", "-c", f"systemd-run --quiet --wait --collect sh -c '{race}'"], check=False)
        last = f"{FOLDER}/last/transaction.sh"
        status = machine.ssh(["sh", last, "status"]).stdout
        there = machine.ssh(["test", "-d", f"/sys/class/net/{BRIDGE}"], check=False).returncode == 0
        assert there == ("verdict=confirmed" in status)
        assert ("verdict=rolled-back" in status) != there
        again = machine.ssh(["sh", last, "confirm", change_id], check=False)
        assert (again.returncode == 0) == there
        if not there:
            assert "the change was rolled back: race" in again.stderr
    assert nothing_armed(machine)


def test_a_guest_is_on_the_bridge_again_when_it_was_made_anew(machine: Machine) -> None:
    outs = create(machine)
    try:
        machine.ssh(
            ["sh", "-c", f"ip tuntap add tapguest mode tap && ip link set tapguest master {BRIDGE} up"]
        )
        script = (
            f"ip link set eth0 nomaster; ip address flush dev {BRIDGE}; "
            f"ip address add {machine.address}/24 dev eth0; ip link set eth0 up; "
            "ip route add default via $(sed -n 's/ *gateway //p' /etc/network/interfaces) dev eth0"
        )
        machine.ssh(["systemd-run", "--quiet", "--wait", "sh", "-c", script], check=False)
        machine.wait()
        seen = refresh(outs)
        assert differs(machine, seen)
        outs = create(machine)
        assert (
            machine.ssh(["test", "-e", f"/sys/class/net/{BRIDGE}/brif/tapguest"], check=False).returncode == 0
        )
        assert not differs(machine, refresh(outs))
    finally:
        machine.ssh(["ip", "link", "delete", "tapguest"], check=False)
        delete(outs)


def test_killed_between_staging_and_arming(machine: Machine) -> None:
    before = network_of(machine)
    client = """
import json, sys, os
from providers import host_network
from providers.network_bridge import NetworkBridgeProvider
step = host_network._step
host_network._step = lambda session, name, request: (
    os.kill(os.getpid(), 9) if name == "arm" else step(session, name, request)
)
NetworkBridgeProvider().create(json.load(sys.stdin))
"""
    assert run_client(machine, client) == -9
    assert network_of(machine) == before
    status = machine.ssh(["sh", f"{FOLDER}/transaction/transaction.sh", "status"]).stdout
    assert "phase=staged" in status


def test_a_host_that_cannot_arm_its_boot_time_unit(machine: Machine) -> None:
    before = network_of(machine)
    mount = (
        "mount --bind /etc/systemd/system /etc/systemd/system && mount -o remount,ro,bind /etc/systemd/system"
    )
    machine.ssh(["sh", "-c", mount])
    try:
        with pytest.raises(NetworkChangeError, match=r"(?s)cannot install .*configuration was not touched"):
            create(machine)
    finally:
        machine.ssh(["umount", "/etc/systemd/system"])
    assert network_of(machine) == before
    assert nothing_armed(machine)
