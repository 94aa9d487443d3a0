"""A bridge below a real libvirt: proof asks for it, and its guests are named when they are in the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from providers.host_network import NetworkChangeError
from providers.network_bridge import BridgeRefused
from testbed import Machine
from tests.integration.bridges import BRIDGE, create, delete, network_of, nothing_armed
from tests.integration.test_libvirt_host import UNITS

HOOK = "/etc/network/if-up.d/no-libvirt"
KILL_LIBVIRT = f"""\
#!/bin/sh
[ "$IFACE" = {BRIDGE} ] || exit 0
systemctl kill --signal=KILL libvirtd.service
systemctl mask --runtime --now {" ".join(UNITS)}
"""
GUEST = f"""\
<domain type='qemu'>
  <name>idle</name><memory unit='MiB'>32</memory><os><type>hvm</type></os>
  <devices><interface type='bridge'><source bridge='{BRIDGE}'/></interface></devices>
</domain>
"""


@pytest.fixture(scope="module")
def machine(hypervisor: Machine) -> Iterator[Machine]:
    """The machine with libvirt, and with bridge-utils meanwhile."""
    hypervisor.ssh(["apt-get", "-qy", "install", "--no-install-recommends", "bridge-utils"])
    yield hypervisor
    hypervisor.ssh(["apt-get", "-qy", "purge", "bridge-utils"])


def test_a_change_that_ends_libvirt_is_undone(machine: Machine) -> None:
    before = network_of(machine)
    machine.ssh(["sh", "-c", f"cat >{HOOK} && chmod +x {HOOK}"], stdin=KILL_LIBVIRT)
    with pytest.raises(NetworkChangeError) as refused:
        create(machine)
    machine.ssh(["rm", HOOK])
    assert "libvirt answered before the change and does not now" in str(refused.value)
    assert "the host is back on its old configuration" in str(refused.value)
    assert network_of(machine) == before
    assert nothing_armed(machine)
    machine.ssh(["systemctl", "unmask", "--runtime", *UNITS])
    machine.ssh(["systemctl", "start", *UNITS])


def test_a_guest_in_the_way_is_named(machine: Machine) -> None:
    before = network_of(machine)
    outs = create(machine)
    machine.ssh(["sh", "-c", "cat >/tmp/idle.xml && virsh -q create /tmp/idle.xml"], stdin=GUEST)
    with pytest.raises(BridgeRefused, match=rf"on the bridge {BRIDGE} there is still vnet\d+ \(guest idle\)"):
        delete(outs)
    machine.ssh(["virsh", "-q", "destroy", "idle"])
    delete(outs)
    assert network_of(machine) == before
