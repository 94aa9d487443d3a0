"""Disks of guests that are off, run, or are not there yet, through the real libvirt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from providers.guest_disk import GuestDiskProvider
from testbed import Machine
from tests.inputs import inputs_on

MIB = 2**20
FOLDER = "/srv/disks"
FILE = f"{FOLDER}/web-g1.qcow2"
BASE = f"{FOLDER}/debian-12.raw"
DOMAIN = "disk-owner"
XML = f"""<domain type="qemu"><name>{DOMAIN}</name><memory unit="MiB">32</memory>
<os><type arch="x86_64" machine="pc">hvm</type></os><devices><disk type="file" device="disk">
<driver name="qemu" type="qcow2"/><source file="{FILE}"/><target dev="vda" bus="virtio"/></disk></devices>
</domain>"""


@pytest.fixture
def host(hypervisor: Machine) -> Iterator[Machine]:
    """The machine with a disk of 8 MiB in a pool, and a domain that has it."""
    hypervisor.ssh(["mkdir", FOLDER])
    hypervisor.ssh(["qemu-img", "create", "-f", "raw", BASE, "1M"])
    hypervisor.ssh(["virsh", "pool-create-as", "disks", "dir", "--target", FOLDER])
    make_overlay(hypervisor, "web-g1.qcow2")
    hypervisor.ssh(["sh", "-c", f"echo '{XML}' > /tmp/disk.xml && virsh define /tmp/disk.xml"])
    yield hypervisor
    hypervisor.ssh(["virsh", "destroy", DOMAIN], check=False)
    hypervisor.ssh(["virsh", "undefine", DOMAIN], check=False)
    hypervisor.ssh(["virsh", "pool-destroy", "disks"])
    hypervisor.ssh(["rm", "-r", FOLDER, "/tmp/disk.xml"])


def make_overlay(machine: Machine, name: str) -> None:
    base = ["--backing-vol", BASE, "--backing-vol-format", "raw"]
    machine.ssh(["virsh", "vol-create-as", "disks", name, "8M", "--format", "qcow2", *base])


def inputs(machine: Machine, **edits: object) -> dict[str, Any]:
    disk = {
        "guest": "web",
        "domain": DOMAIN,
        "file": FILE,
        "image": "debian-12",
        "base": BASE,
        "size": 8 * MIB,
    }
    return {**inputs_on(machine), **disk, **edits}


def size_of(machine: Machine, file: str = FILE) -> int:
    said = machine.ssh(["qemu-img", "info", "--force-share", "--output=json", file]).stdout
    return int(json.loads(said)["virtual-size"])


@pytest.mark.parametrize("state", ["running", "shut off", "undefined"])
def test_a_disk_grows_whatever_its_guest_does(host: Machine, state: str) -> None:
    if state == "running":
        host.ssh(["virsh", "start", DOMAIN])
    if state == "undefined":
        host.ssh(["virsh", "undefine", DOMAIN])
    provider = GuestDiskProvider()
    outs = provider.create(inputs(host)).outs or {}
    assert size_of(host) == 8 * MIB
    grown = provider.update("x", outs, inputs(host, size=24 * MIB)).outs or {}
    assert size_of(host) == 24 * MIB
    assert (provider.read("x", grown).outs or {})["size"] == 24 * MIB


@pytest.mark.parametrize("command", ["start", "start --paused"])
def test_a_disk_of_another_generation_grows_beside_the_guest_that_runs(host: Machine, command: str) -> None:
    other = f"{FOLDER}/web-g2.qcow2"
    make_overlay(host, "web-g2.qcow2")
    host.ssh(["virsh", *command.split(), DOMAIN])
    GuestDiskProvider().create(inputs(host, file=other, size=24 * MIB))
    assert size_of(host, other) == 24 * MIB
    assert size_of(host) == 8 * MIB
    GuestDiskProvider().create(inputs(host, size=16 * MIB))
    assert size_of(host) == 16 * MIB


@pytest.mark.parametrize("form", [["-f", "raw"], ["-f", "qcow2"]])
def test_a_file_that_others_put_in_its_place_is_left_as_it_is(host: Machine, form: list[str]) -> None:
    theirs = f"{FOLDER}/web-g3.qcow2"
    host.ssh(["qemu-img", "create", *form, theirs, "1M"])
    host.ssh(["virsh", "pool-refresh", "disks"])  # else libvirt would not know it
    GuestDiskProvider().create(inputs(host, file=theirs))
    assert size_of(host, theirs) == MIB


def test_one_that_is_not_there_yet_is_no_mistake(hypervisor: Machine) -> None:
    provider = GuestDiskProvider()
    outs = provider.create(inputs(hypervisor, file="/srv/absent.qcow2")).outs or {}
    assert provider.read("x", outs).outs == outs


def test_a_refresh_sees_a_smaller_disk_and_leaves_a_larger_one(host: Machine) -> None:
    provider = GuestDiskProvider()
    wanted = inputs(host, size=24 * MIB)
    smaller = provider.read("x", wanted).outs or {}
    assert smaller["size"] == 8 * MIB
    assert provider.diff("x", smaller, wanted).changes
    host.ssh(["virsh", "vol-resize", "--vol", FILE, "--capacity", "48M"])
    larger = provider.read("x", wanted).outs or {}
    assert not provider.diff("x", larger, wanted).changes
