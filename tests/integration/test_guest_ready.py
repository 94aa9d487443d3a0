"""Waiting for a guest. The machine's own SSH server stands for the guest's: its key is what counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from providers import guest_ready
from providers.errors import LabError
from providers.guest_ready import GuestReadyProvider
from testbed import Machine, Testbed
from tests.inputs import inputs_on

DOMAIN = "readiness"
LOG = f"/var/log/libvirt/qemu/{DOMAIN}.console.log"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKqm3cUbuTrjjOrhZVyOUXzrgzLoGHVeBTdyZhYYcM"
XML = f"""<domain type="qemu"><name>{DOMAIN}</name><memory unit="MiB">32</memory>
<os><type arch="x86_64" machine="pc">hvm</type></os></domain>"""


@pytest.fixture(scope="module")
def host(hypervisor: Machine) -> Iterator[Machine]:
    """The machine with a running domain that has no disk, and a console log."""
    hypervisor.ssh(["sh", "-c", f"echo '{XML}' > /tmp/domain.xml && virsh define /tmp/domain.xml"])
    lines = "; ".join(f"echo 'line {number}'" for number in range(40))
    hypervisor.ssh(["sh", "-c", f"({lines}; printf '\\033[1;31mKernel panic\\033[0m\\a\\n') > {LOG}"])
    yield hypervisor
    hypervisor.ssh(["virsh", "undefine", DOMAIN])
    hypervisor.ssh(["rm", "-f", LOG, "/tmp/domain.xml"])


@pytest.fixture
def silent(testbed: Testbed) -> str:
    """An address that nobody has."""
    return str(testbed.network.range.network_address + 250)


@pytest.fixture
def running(host: Machine) -> Iterator[Machine]:
    host.ssh(["virsh", "start", DOMAIN])
    yield host
    host.ssh(["virsh", "destroy", DOMAIN], check=False)


def inputs(machine: Machine, **edits: object) -> dict[str, Any]:
    return {
        **inputs_on(machine),
        "guest": "web",
        "domain": DOMAIN,
        "address": machine.address,
        "public_key": machine.host_keys[0],
        "console_log": LOG,
        "domain_id": "1",
        "seed": "ab" * 32,
        **edits,
    }


def test_a_guest_that_shows_its_key_is_ready(running: Machine) -> None:
    provider = GuestReadyProvider()
    wanted = provider.check({}, inputs(running)).inputs
    outs = provider.create(wanted).outs or {}
    assert not provider.diff("x", outs, wanted).changes
    assert (provider.read("x", outs).outs or {})["ready"] is True


def test_a_silent_guest_fails_with_the_end_of_its_console(running: Machine, silent: str) -> None:
    with pytest.raises(LabError) as failure:
        GuestReadyProvider().create(inputs(running, address=silent, timeout=2))
    said = str(failure.value)
    assert "web" in said
    assert "is: running" in said
    assert LOG in said
    assert "Kernel panic" in said
    assert "line 39" in said
    assert "line 2\n" not in said
    assert "\x1b" not in said
    assert "\a" not in said


def test_another_key_is_not_believed(running: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_ready, "OTHER_KEY_GRACE", 1.0)
    with pytest.raises(LabError, match="shows the SSH host key") as failure:
        GuestReadyProvider().create(inputs(running, public_key=OTHER_KEY))
    assert failure.value.seen.count("SHA256:") == 2


def test_a_domain_that_is_off_is_not_waited_for(host: Machine, silent: str) -> None:
    began = time.monotonic()
    with pytest.raises(LabError, match="shut off"):
        GuestReadyProvider().create(inputs(host, address=silent, timeout=300))
    assert time.monotonic() - began < 60


def test_a_refresh_takes_one_short_look_and_an_update_waits_again(running: Machine, silent: str) -> None:
    provider = GuestReadyProvider()
    wanted = provider.check({}, inputs(running)).inputs
    outs = provider.create(wanted).outs or {}
    began = time.monotonic()
    missed = provider.read("x", {**outs, "address": silent}).outs or {}
    assert time.monotonic() - began < 20
    assert missed["ready"] is False
    seen = {**outs, "ready": False}
    diff = provider.diff("x", seen, wanted)
    assert diff.changes
    assert not diff.replaces
    assert (provider.update("x", seen, wanted).outs or {})["ready"] is True


def test_deleting_it_removes_the_log_and_nothing_else(running: Machine) -> None:
    provider = GuestReadyProvider()
    outs = provider.create(inputs(running, console_log="/tmp/other.log")).outs or {}
    running.ssh(["touch", "/tmp/other.log", "/tmp/other.log.0", "/tmp/other.log.12", "/tmp/other.log.kept"])
    provider.delete("x", outs)
    assert running.ssh(["sh", "-c", "ls /tmp/other*"]).stdout.split() == ["/tmp/other.log.kept"]
    running.ssh(["rm", "/tmp/other.log.kept"])
    assert running.ssh(["virsh", "domstate", DOMAIN]).stdout.strip() == "running"
