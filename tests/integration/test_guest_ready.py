"""Waiting for a guest. The machine's own SSH server stands for the guest's: its key is what counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from providers import guest_ready
from providers.errors import LabError
from providers.guest_disk import GuestDiskProvider
from providers.guest_ready import GuestReadyProvider
from testbed import Machine, Testbed
from tests.inputs import inputs_on

DOMAIN = "readiness"
ADDRESSES = "/var/lib/kvm-lab/addresses"
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
    host.ssh(["rm", "-rf", ADDRESSES])


@pytest.fixture
def tidy(host: Machine) -> Iterator[Machine]:
    """The machine, whose domain is off again and whose addresses are free when the test is over."""
    yield host
    host.ssh(["virsh", "destroy", DOMAIN], check=False)
    host.ssh(["rm", "-rf", ADDRESSES])


def state(machine: Machine) -> str:
    return machine.ssh(["virsh", "domstate", DOMAIN]).stdout.strip()


def reserved(machine: Machine) -> list[str]:
    return machine.ssh(["sh", "-c", f"ls {ADDRESSES} 2>/dev/null || true"]).stdout.split()


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


def test_a_domain_that_ends_is_not_waited_for(running: Machine, silent: str) -> None:
    began = time.monotonic()
    ending = threading.Timer(5, running.ssh, [["virsh", "destroy", DOMAIN]])
    ending.start()
    with pytest.raises(LabError, match="shut off"):
        GuestReadyProvider().create(inputs(running, address=silent, timeout=300))
    ending.join()
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(("command", "was"), [(["start", "--paused"], "paused"), ([], "shut off")])
def test_a_guest_that_does_not_run_is_let_boot(tidy: Machine, command: list[str], was: str) -> None:
    if command:
        tidy.ssh(["virsh", *command, DOMAIN])
    assert state(tidy) == was
    provider = GuestReadyProvider()
    outs = provider.create(inputs(tidy)).outs or {}
    assert state(tidy) == "running"
    tidy.ssh(["virsh", "suspend", DOMAIN])
    provider.update("x", {**outs, "ready": False}, inputs(tidy))
    assert state(tidy) == "running"


def test_only_a_guest_that_did_not_boot_is_told_when_its_seed_takes_effect(
    tidy: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    provider, text = GuestReadyProvider(), "the edited seed takes effect at the next boot of web"
    outs = provider.create(inputs(tidy)).outs or {}
    edited = provider.update("x", outs, inputs(tidy, seed="cd" * 32)).outs or {}
    assert text in capsys.readouterr().err
    tidy.ssh(["virsh", "suspend", DOMAIN])
    provider.update("x", edited, inputs(tidy, seed="ef" * 32))
    assert text not in capsys.readouterr().err


def test_an_address_is_one_stacks_guests_until_it_is_given_back(tidy: Machine) -> None:
    provider, taken = GuestReadyProvider(), inputs(tidy, stack="kvm-lab/other.g1", guest="db")
    outs = provider.create(inputs(tidy)).outs or {}
    assert reserved(tidy) == [f"{tidy.address}.json"]
    tidy.ssh(["virsh", "destroy", DOMAIN])
    with pytest.raises(LabError) as failure:
        provider.create(taken)
    assert state(tidy) == "shut off"
    assert failure.value.seen == f"{tidy.address} is guest web's of stack kvm-lab/one"
    assert f"{ADDRESSES}/{tidy.address}.json" in failure.value.remedy
    outs = provider.update("x", outs, inputs(tidy, domain_id="2")).outs or {}  # its own domain, made anew
    provider.delete("x", outs)
    tidy.ssh(["test", "!", "-e", ADDRESSES])
    outs = provider.create(taken).outs or {}
    provider.delete("x", inputs(tidy))  # gone already: it takes nobody else's away
    assert reserved(tidy) == [f"{tidy.address}.json"]
    provider.delete("x", outs)


def test_the_reservation_moves_with_the_guest_and_guests_of_a_stack_may_exchange_theirs(
    tidy: Machine, silent: str
) -> None:
    provider = GuestReadyProvider()
    first = inputs(tidy)
    second = inputs(tidy, guest="db", domain="other", address=silent)
    with pytest.raises(LabError):
        provider.create({**second, "timeout": 1})  # nothing answers there: the address stays reserved
    assert reserved(tidy) == [f"{silent}.json"]
    provider.create(first)
    moved = {**second, "address": tidy.address, "domain": DOMAIN}
    provider.update("x", second, moved)
    assert reserved(tidy) == [f"{tidy.address}.json"]
    provider.delete("x", first)  # the address is the other guest's by now
    assert reserved(tidy) == [f"{tidy.address}.json"]
    provider.delete("x", moved)
    assert reserved(tidy) == []


def test_what_a_broken_run_reserved_goes_with_the_guests_disk(tidy: Machine, silent: str) -> None:
    kept = {**inputs_on(tidy), "guest": "web", "domain": DOMAIN}
    disk = {**kept, "file": "/srv/absent.qcow2", "image": "debian-12", "base": "/b/x.qcow2", "size": 2**20}
    with pytest.raises(LabError):
        GuestReadyProvider().create(inputs(tidy, domain="gone", address=silent, timeout=1))
    GuestDiskProvider().delete("x", disk)  # another guest's
    assert reserved(tidy) == [f"{silent}.json"]
    GuestDiskProvider().delete("x", {**disk, "domain": "gone", "stack": "kvm-lab/two"})  # another stack's
    assert reserved(tidy) == [f"{silent}.json"]
    GuestDiskProvider().delete("x", {**disk, "domain": "gone"})
    assert reserved(tidy) == []


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
