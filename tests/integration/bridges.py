"""What the tests of bridges share: a machine as the provider sees it, and its state."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from providers.host_network import FOLDER
from providers.network_bridge import NetworkBridgeProvider
from tests.conftest import ROOT
from tests.faults.host import Host
from tests.inputs import inputs_on

BRIDGE = "brtry"
INTERFACES = "/etc/network/interfaces"
# The client up to the moment when the change is applied and not confirmed; then it hangs.
HANGING_CLIENT = """
import json, sys, time
from providers import host_network
from providers.network_bridge import NetworkBridgeProvider

def hang(self):
    print("applied", flush=True)
    time.sleep(600)

host_network._Prover.prove = hang
NetworkBridgeProvider().create(json.load(sys.stdin))
"""


def inputs_for(machine: Host, **options: object) -> dict[str, Any]:
    """Return the inputs of a bridge on the machine's eth0."""
    base = {"name": BRIDGE, "port": "eth0", "rollback_timeout": 15}
    return {**inputs_on(machine), **base, **options}


def create(machine: Host, **options: object) -> dict[str, Any]:
    """Create the bridge; return the outputs."""
    provider = NetworkBridgeProvider()
    checked = provider.check({}, inputs_for(machine, **options))
    assert not checked.failures, [failure.reason for failure in checked.failures]
    return dict(provider.create(checked.inputs).outs or {})


def update(machine: Host, outs: dict[str, Any], **options: object) -> dict[str, Any]:
    """Update the bridge; return the outputs."""
    provider = NetworkBridgeProvider()
    news = provider.check(outs, inputs_for(machine, **options)).inputs
    return dict(provider.update("x", outs, news).outs or {})


def refresh(outs: dict[str, Any]) -> dict[str, Any]:
    """Return the outputs as the host shows them; empty when the bridge is gone."""
    return dict(NetworkBridgeProvider().read("x", outs).outs or {})


def differs(machine: Host, outs: dict[str, Any], **options: object) -> bool:
    """Tell whether a preview would show a change."""
    provider = NetworkBridgeProvider()
    news = provider.check(outs, inputs_for(machine, **options)).inputs
    result = provider.diff("x", outs, news)
    assert not result.replaces
    return bool(result.changes)


def delete(outs: dict[str, Any]) -> None:
    """Delete the bridge."""
    NetworkBridgeProvider().delete("x", outs)


@dataclass(frozen=True)
class Network:
    """What must be the same again after a change was undone."""

    files: str
    addresses: str
    routes: str
    bridges: str
    configured: str


def network_of(machine: Host) -> Network:
    """Return the machine's files (content, mode, owner) and kernel state."""
    listing = "find /etc/network -type f -exec stat -c '%a %U:%G %n' {} + -exec sha256sum {} + | sort"
    addresses = json.loads(machine.ssh(["ip", "-j", "address"]).stdout)
    return Network(
        files=machine.ssh(["sh", "-c", listing]).stdout,
        addresses=str(
            [
                (link["ifname"], [a["local"] for a in link["addr_info"] if a["scope"] == "global"])
                for link in addresses
            ]
        ),
        routes=machine.ssh(["ip", "route"]).stdout,
        bridges=machine.ssh(["sh", "-c", "ip -br link show type bridge | cut -d ' ' -f 1"]).stdout,
        configured="".join(sorted(machine.ssh(["ifquery", "--state"]).stdout.splitlines(keepends=True))),
    )


def nothing_armed(machine: Host) -> bool:
    """Tell whether no change is pending, no timer runs and no boot-time unit is installed."""
    script = f"""
    [ ! -e {FOLDER}/transaction ] &&
    [ -z "$(systemctl list-timers --all --no-legend 'kvm-lab-*')" ] &&
    ! ls /etc/systemd/system/kvm-lab-* /etc/systemd/system/*/kvm-lab-* 2>/dev/null &&
    ! find /etc/network -name '.kvm-lab-*' | grep .
    """
    return machine.ssh(["sh", "-c", script], check=False).returncode == 0


def reboot(machine: Host) -> None:
    """Cut the machine's power, and switch it on again."""
    machine.kill()
    machine.boot()
    machine.wait()


def wait_until_undone(machine: Host, seconds: float) -> None:
    """Wait until the host answers and no change is pending."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if machine.ssh(["test", "!", "-e", f"{FOLDER}/transaction"], check=False).returncode == 0:
            return
        time.sleep(0.5)
    raise AssertionError(f"{machine.name} has a pending change after {seconds} s")


def run_client(machine: Host, code: str, **options: object) -> int:
    """Run a client of its own, with the inputs on its stdin; return its exit status."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        input=json.dumps(inputs_for(machine, **options)),
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode


@contextmanager
def hanging_client(machine: Host, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run a client that has applied its change and will never confirm it; killed at the end of the block."""
    client = subprocess.Popen(
        [sys.executable, "-c", HANGING_CLIENT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        client.stdin.write(json.dumps(inputs_for(machine, **options)))
        client.stdin.close()
        assert client.stdout.readline() == "applied\n"
        yield client
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
        client.stdout.close()


def wait_for_phase(machine: Host, phase: str, seconds: float = 10) -> None:
    """Wait until the pending change has come to `phase`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = machine.ssh(["sh", f"{FOLDER}/transaction/transaction.sh", "status"], check=False).stdout
        if f"phase={phase}\n" in seen:
            return
        time.sleep(0.2)
    raise AssertionError(f"{machine.name}: no phase {phase}, but {seen}")
