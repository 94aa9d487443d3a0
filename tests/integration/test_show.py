"""Showing a real machine's bridge: its ports, guests of the stack and others, and strangers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import Lab, mac_address
from lab import show
from lab.sightings import report
from lab.views import GuestView, HostView, MacView, PortView, all_answered, views
from providers.errors import LabError
from testbed import Machine
from tests.conftest import ROOT
from tests.inputs import login
from tests.integration.bridges import BRIDGE, create, delete
from tests.integration.test_libvirt_host import UNITS

STACK = "shown"
SPOOFED, NESTED, THEIRS = "02:00:00:00:00:01", "02:00:00:00:00:02", "52:54:00:12:34:56"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKqm3cUbuTrjjOrhZVyOUXzrgzLoGHVeBTdyZhYYcM"
NETNS = "stranger"


@pytest.fixture(scope="module")
def machine(hypervisor: Machine) -> Iterator[Machine]:
    """The machine with libvirt, and with a bridge meanwhile."""
    hypervisor.ssh(["apt-get", "-qy", "install", "--no-install-recommends", "bridge-utils"])
    outs = create(hypervisor)
    yield hypervisor
    delete(outs)
    hypervisor.ssh(["apt-get", "-qy", "purge", "bridge-utils"])


def guest_address(machine: Machine, number: int) -> str:
    """Return an address of the machine's network; 0 is what the machine itself answers at."""
    return f"{machine.address.rpartition('.')[0]}.{150 + number}"


def domain(name: str, mac: str, device: str) -> str:
    """Return a domain that has a card, and nothing to boot from."""
    return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><os><type>hvm</type></os>
<devices><interface type='bridge'><mac address='{mac}'/><source bridge='{BRIDGE}'/><target dev='{device}'/>
</interface></devices></domain>"""


@pytest.fixture(scope="module")
def busy(machine: Machine) -> Iterator[Machine]:
    """The machine with what there is to see.

    web runs and something answers at its address; db is paused, off is off, and gone is not there. Behind web
    there is another address than its own, a domain is no guest of the stack, and a veth is nobody's.
    """
    names = {"web": "tap-web", "db": "tap-db", "off": "tap-off"}
    xmls = {
        f"{STACK}-{name}": domain(f"{STACK}-{name}", mac_address(STACK, name), names[name]) for name in names
    }
    xmls["by hand"] = domain("by hand", THEIRS, "tap-hand")
    for name, xml in xmls.items():
        machine.ssh(["sh", "-c", "cat >/tmp/domain.xml && virsh -q define /tmp/domain.xml"], stdin=xml)
        if name != f"{STACK}-off":
            paused = [] if name == f"{STACK}-web" else ["--paused"]
            machine.ssh(["virsh", "-q", "start", "--domain", name, *paused])
    machine.ssh(["ip", "address", "add", f"{guest_address(machine, 0)}/24", "dev", BRIDGE])
    machine.ssh(["ip", "netns", "add", NETNS])
    machine.ssh(["ip", "link", "add", "veth-odd", "type", "veth", "peer", "name", "eth0", "netns", NETNS])
    machine.ssh(["ip", "-n", NETNS, "link", "set", "dev", "eth0", "address", NESTED, "up"])
    machine.ssh(["ip", "link", "set", "dev", "veth-odd", "master", BRIDGE, "up"])
    # as if learned: the entry ages
    machine.ssh(["bridge", "fdb", "add", SPOOFED, "dev", "tap-web", "master", "dynamic"])
    machine.ssh(["bridge", "fdb", "add", mac_address(STACK, "db"), "dev", "tap-db", "master", "dynamic"])
    yield machine
    machine.ssh(["ip", "netns", "delete", NETNS])
    machine.ssh(["ip", "address", "delete", f"{guest_address(machine, 0)}/24", "dev", BRIDGE])
    for name in xmls:
        machine.ssh(["virsh", "-q", "destroy", "--domain", name], check=False)
        machine.ssh(["virsh", "-q", "undefine", "--domain", name])


def options(machine: Machine) -> dict[str, Any]:
    """Return the stack file's options: this machine with four guests."""
    guest = {"image": "none", "ssh_keys": [OTHER_KEY]}
    guests = [
        {**guest, "name": name, "address": f"{guest_address(machine, number)}/24"}
        for number, name in enumerate(("web", "db", "off", "gone"))
    ]
    host = {
        "name": machine.name,
        **login(machine),
        "bridge": {"name": BRIDGE, "port": "eth0"},
        "guests": guests,
    }
    image = {"name": "none", "url": "https://images.example/none.qcow2", "sha256": "a" * 64}
    return {"hosts": [host], "images": [image]}


def shown(machine: Machine, keys: dict[str, str] | None = None, **changes: object) -> HostView:
    """Return what is seen of the machine, whose entry in the stack file has these changes."""
    written = options(machine)
    written["hosts"][0].update(changes)
    lab = Lab.from_mapping(written, ROOT, stack=STACK)
    (view,) = views(lab, STACK, show.read(lab, {}), keys or {})
    return view


def port_of(view: HostView, name: str) -> PortView:
    return next(port for port in view.ports if port.name == name)


def guest_of(view: HostView, name: str) -> GuestView:
    return next(guest for guest in view.guests if guest.name == name)


def without_age(macs: tuple[MacView, ...]) -> set[tuple[str, str, str | None, bool]]:
    return {(mac.mac, mac.kind, mac.owner, mac.odd) for mac in macs}


def test_ports_guests_and_strangers_are_told(busy: Machine) -> None:
    began = time.monotonic()
    view = shown(busy)
    assert time.monotonic() - began < show.DEADLINE
    assert view.error is None, view.error
    assert (view.silent, view.stp, view.missing_ports) == (None, False, ())
    said = busy.ssh(["brctl", "show", BRIDGE]).stdout
    assert view.bridge_id is not None
    assert view.bridge_id in said
    assert all(port.name in said for port in view.ports)
    assert {port.name: (port.role, port.domain) for port in view.ports} == {
        "eth0": ("uplink", None),
        "tap-web": ("guest", f"{STACK}-web"),
        "tap-db": ("guest", f"{STACK}-db"),
        "tap-hand": ("domain", "by hand"),
        "veth-odd": ("unknown", None),
    }
    states = {guest.name: (guest.state, guest.port, guest.ssh) for guest in view.guests}
    assert states == {
        "web": ("running", "tap-web", "answers"),
        "db": ("paused", "tap-db", "silent"),
        "off": ("shut off", None, "silent"),
        "gone": ("missing", None, "silent"),
    }
    assert (SPOOFED, "stranger", None, True) in without_age(port_of(view, "tap-web").macs)
    assert without_age(port_of(view, "tap-db").macs) == {(mac_address(STACK, "db"), "own", "db", False)}
    assert (NESTED, "stranger", None, True) in without_age(port_of(view, "veth-odd").macs)
    (gateway,) = [mac for mac in port_of(view, "eth0").macs if mac.age == 0]
    assert (gateway.kind, gateway.odd) == ("stranger", False), "this machine, which asks"
    assert not all_answered([view])
    text = report([view], colour=False)
    print(text)  # noqa: T201 - pytest shows it with a failure
    assert max(map(len, text.splitlines())) <= 80
    assert f"  !   behind tap-web: {SPOOFED} (" in text


def test_learned_addresses_have_the_age_that_brctl_tells(busy: Machine) -> None:
    view = shown(busy)
    rows = [line.split() for line in busy.ssh(["brctl", "showmacs", BRIDGE]).stdout.splitlines()[1:]]
    told = {mac: float(age) for _, mac, local, age in rows if local == "no"}
    seen = {mac.mac: mac.age for port in view.ports for mac in port.macs}
    assert seen.keys() <= told.keys()
    assert {SPOOFED, NESTED, mac_address(STACK, "db")} <= seen.keys()
    age = seen[SPOOFED]
    assert age is not None
    assert abs(told[SPOOFED] - age) < 5


def test_a_guests_key_is_compared_where_it_is_known(busy: Machine) -> None:
    web = guest_of(shown(busy, {"web": busy.host_keys[0]}), "web")
    assert (web.ssh, web.compared) == ("answers", True)
    web = guest_of(shown(busy, {"web": OTHER_KEY}), "web")
    assert web.ssh == "another"
    assert web.reason.count("SHA256:") == 2


def test_a_host_whose_libvirt_is_off_tells_its_bridge(busy: Machine) -> None:
    busy.ssh(["systemctl", "stop", *UNITS])
    try:
        view = shown(busy)
    finally:
        busy.ssh(["systemctl", "start", *UNITS])
    assert view.silent is not None
    assert "libvirt" in view.silent
    assert {guest.state for guest in view.guests} == {"unknown"}
    assert guest_of(view, "web").ssh == "answers"
    assert "tap-web" in {port.name for port in view.ports}


def test_another_bridge_name_and_a_host_that_is_not_there(busy: Machine) -> None:
    view = shown(busy, bridge={"name": "br77", "port": "eth0"})
    assert (view.bridge_id, view.ports) == (None, ())
    assert guest_of(view, "web").on_bridge is False
    lost = shown(busy, port=9)
    assert isinstance(lost.error, LabError)
    assert {guest.ssh for guest in lost.guests} == {"not asked"}


def test_the_command_prints_json_and_its_status_tells_that_a_guest_is_silent(
    busy: Machine, tmp_path: Path
) -> None:
    def run(written: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        path = tmp_path / f"Pulumi.{STACK}.yaml"
        path.write_text(
            yaml.safe_dump({"config": {f"kvm-lab:{key}": value for key, value in written.items()}})
        )
        argv = [sys.executable, "-m", "lab", "show", "--stack", STACK, "--stack-file", str(path), "--json"]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")},
            "PULUMI_HOME": str(tmp_path),
            "PULUMI_BACKEND_URL": f"file://{tmp_path}",
        }
        return subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    written = options(busy)
    done = run(written)
    assert done.returncode == 1, done.stderr
    made = json.loads(done.stdout)
    assert [guest["ssh"] for guest in made["guests"]] == ["answers", *["silent"] * 3]
    assert {"host": busy.name, "port": "tap-web", "mac": SPOOFED}.items() <= made["strangers"][0].items()
    assert "guests' host keys are not compared" in done.stderr
    assert "read 1 of 1 hosts in " in done.stderr
    del written["hosts"][0]["guests"][1:]
    done = run(written)
    assert done.returncode == 0, done.stderr
