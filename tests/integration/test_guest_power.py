"""Powering guests off on a real libvirt. The domain has no system that would hear the request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from providers.guest_power import power_off
from providers.transport import Endpoint, connect
from testbed import Machine
from tests.inputs import inputs_on

DOMAIN = "powered"
XML = f"""<domain type="qemu"><name>{DOMAIN}</name><memory unit="MiB">32</memory>
<os><type arch="x86_64" machine="pc">hvm</type></os></domain>"""
OTHER_UUID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def running(hypervisor: Machine) -> Iterator[Machine]:
    """The machine, on which a domain runs."""
    hypervisor.ssh(["sh", "-c", f"echo '{XML}' > /tmp/powered.xml && virsh define /tmp/powered.xml"])
    hypervisor.ssh(["virsh", "start", DOMAIN])
    yield hypervisor
    hypervisor.ssh(["virsh", "destroy", DOMAIN], check=False)
    hypervisor.ssh(["virsh", "undefine", DOMAIN])
    hypervisor.ssh(["rm", "/tmp/powered.xml"])


def endpoint(machine: Machine) -> Endpoint:
    return Endpoint.model_validate(inputs_on(machine)["endpoint"])


def state(machine: Machine) -> str:
    return machine.ssh(["virsh", "domstate", DOMAIN]).stdout.strip()


@pytest.mark.parametrize("option", ["--name", "--uuid"])
def test_one_that_does_not_power_off_is_told_and_keeps_its_power(running: Machine, option: str) -> None:
    (known_as,) = running.ssh(["virsh", "list", option]).stdout.split()
    with connect(endpoint(running)) as session:
        assert power_off(session, [known_as, OTHER_UUID], timeout=1) == [known_as]
    assert state(running) == "running"


def test_one_that_is_off_is_not_waited_for(running: Machine) -> None:
    running.ssh(["virsh", "destroy", DOMAIN])
    with connect(endpoint(running)) as session:
        assert power_off(session, [DOMAIN, OTHER_UUID], timeout=0) == []
    assert state(running) == "shut off"
