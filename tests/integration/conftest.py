"""A machine with libvirt, for the tests of what is done through it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from providers.apt_packages import AptPackagesProvider
from testbed import Machine, Spec, Testbed

PACKAGES = ["curl", "libvirt-clients", "libvirt-daemon-system", "qemu-system-x86", "qemu-utils"]


def common_inputs(machine: Machine, stack: str = "kvm-lab/one") -> dict[str, Any]:
    """Return the inputs that every thing on the machine has."""
    endpoint = {
        "host": machine.name,
        "address": machine.address,
        "identity_file": machine.identity_file,
        "host_keys": list(machine.host_keys),
    }
    return {"endpoint": endpoint, "stack": stack}


@pytest.fixture(scope="session")
def hypervisor(testbed: Testbed) -> Iterator[Machine]:
    """A machine with libvirt and QEMU, shared by the tests: each leaves it as it found it."""
    (machine,) = testbed.start([Spec(name="hv", address=testbed.network.range.network_address + 31)])
    machine.reset()
    AptPackagesProvider().create({**common_inputs(machine), "packages": PACKAGES})
    yield machine
    machine.poweroff()
