"""A machine with libvirt, for the tests of what is done through it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from providers.apt_packages import AptPackagesProvider
from testbed import Machine, Spec, Testbed
from tests.inputs import inputs_on

PACKAGES = ["curl", "libvirt-clients", "libvirt-daemon-system", "qemu-system-x86", "qemu-utils"]


@pytest.fixture(scope="session")
def hypervisor(testbed: Testbed) -> Iterator[Machine]:
    """A machine with libvirt and QEMU, shared by the tests: each leaves it as it found it."""
    (machine,) = testbed.start([Spec(name="hv", address=testbed.network.range.network_address + 31)])
    machine.reset()
    AptPackagesProvider().create({**inputs_on(machine), "packages": PACKAGES})
    yield machine
    machine.poweroff()
