"""A bridge on a real machine, from the take-over to the byte-identical return."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from providers.bridge_netfilter import BridgeNetfilterProvider
from providers.errors import LabError
from providers.network_bridge import BridgeRefused
from testbed import Machine, Spec, Testbed
from testbed.ping import Ping
from tests.inputs import inputs_on
from tests.integration.bridges import (
    BRIDGE,
    INTERFACES,
    create,
    delete,
    differs,
    network_of,
    nothing_armed,
    reboot,
    refresh,
    update,
)


@pytest.fixture(scope="module")
def machine(testbed: Testbed) -> Iterator[Machine]:
    """A machine with two network cards and bridge-utils."""
    address = testbed.network.range.network_address + 41
    (started,) = testbed.start([Spec(name="bridge", address=address, nics=2)])
    started.reset()
    started.ssh(["sh", "-c", "apt-get -q update && apt-get -qy install --no-install-recommends bridge-utils"])
    yield started
    started.poweroff()


def stp_and_delay(machine: Machine) -> str:
    folder = f"/sys/class/net/{BRIDGE}/bridge"
    return machine.ssh(["cat", f"{folder}/stp_state", f"{folder}/forward_delay"]).stdout


def test_takeover_second_run_and_return(machine: Machine) -> None:
    before = network_of(machine)
    with Ping(machine.address).running() as ping:
        outs = create(machine, dns_search=["lab.example"])
    assert ping.lost < 200, "more than two seconds of outage"
    assert outs["ports"] == ["eth0"]
    assert outs["addresses"] == [f"{machine.address}/24"]
    assert outs["adopted"] is False
    assert outs["kernel"] == {"stp": False, "forward_delay": 0}
    assert outs["hw_address"] == machine.ssh(["cat", "/sys/class/net/eth0/address"]).stdout.strip()
    assert stp_and_delay(machine) == "0\n0\n"
    assert nothing_armed(machine)
    after = network_of(machine)

    again = create(machine, dns_search=["lab.example"])
    assert again["sentences"] == []
    assert network_of(machine) == after
    assert not differs(machine, refresh(outs), dns_search=["lab.example"])

    delete(outs)
    assert network_of(machine) == before
    assert nothing_armed(machine)
    assert machine.ssh(["test", "-e", "/var/lib/kvm-lab"], check=False).returncode == 1


def test_a_renamed_stack_keeps_the_bridge_and_can_give_it_back(machine: Machine) -> None:
    before = network_of(machine)
    outs = create(machine, stack="kvm-lab/old")
    after = network_of(machine)
    renamed = update(machine, outs, stack="kvm-lab/new")
    assert network_of(machine) == after
    delete(outs)  # the old name claims nothing any more
    assert network_of(machine) == after
    delete(renamed)
    assert network_of(machine) == before


def test_reboot_keeps_the_bridge(machine: Machine) -> None:
    outs = create(machine)
    after = network_of(machine)
    reboot(machine)
    assert network_of(machine) == after
    assert not differs(machine, refresh(outs))
    delete(outs)


def test_live_changes_take_nothing_down(machine: Machine) -> None:
    outs = create(machine)
    machine.ssh(["sh", "-c", f"ip tuntap add tapguest mode tap && ip link set tapguest master {BRIDGE} up"])
    index = machine.ssh(["cat", f"/sys/class/net/{BRIDGE}/ifindex"]).stdout
    with Ping(machine.address).running() as ping:
        outs = update(machine, outs, stp=True, forward_delay=2, rollback_timeout=30)
        assert stp_and_delay(machine) == "1\n200\n"
        outs = update(machine, outs, max_wait=5)
        assert stp_and_delay(machine) == "0\n0\n"
        outs = update(machine, outs, max_wait=5, forward_delay=4)
        assert stp_and_delay(machine) == "0\n400\n"
        netfilter = BridgeNetfilterProvider()
        made = netfilter.create({**inputs_on(machine), "enabled": False})
        netfilter.delete("x", dict(made.outs or {}))
    assert ping.lost <= 3
    assert machine.ssh(["cat", f"/sys/class/net/{BRIDGE}/ifindex"]).stdout == index
    assert machine.ssh(["test", "-e", f"/sys/class/net/{BRIDGE}/brif/tapguest"]).returncode == 0
    assert "bridge_maxwait 5" in machine.ssh(["cat", INTERFACES]).stdout

    with pytest.raises(BridgeRefused, match="tapguest"):
        delete(outs)
    machine.ssh(["ip", "link", "delete", "tapguest"])
    delete(outs)


def test_drift_of_file_kernel_and_both_is_seen_and_mended(machine: Machine) -> None:
    outs = create(machine)
    wanted = network_of(machine)
    in_file = f"sed -i 's/bridge_stp off/bridge_stp on/' {INTERFACES}"
    in_kernel = f"ip link set dev {BRIDGE} type bridge stp_state 1"
    for drift in (in_file, in_kernel, f"{in_file}; {in_kernel}"):
        machine.ssh(["sh", "-c", drift])
        seen = refresh(outs)
        assert seen["stp"] != outs["stp"]
        assert differs(machine, seen)
        outs = update(machine, seen)
        assert network_of(machine) == wanted
        assert stp_and_delay(machine) == "0\n0\n"
        assert not differs(machine, refresh(outs))
    delete(outs)


def test_a_bridge_that_is_there_is_adopted_and_left_as_found(machine: Machine) -> None:
    machine.ssh(["cp", "-a", INTERFACES, "/root/bare"])
    create(machine)
    machine.ssh(["rm", "-r", "/var/lib/kvm-lab"])
    found = network_of(machine)
    outs = create(machine)
    assert outs["adopted"] is True
    assert network_of(machine) == found
    outs = update(machine, outs, stp=True, forward_delay=4, rollback_timeout=30)
    assert stp_and_delay(machine) == "1\n400\n"
    delete(outs)
    assert network_of(machine) == found
    assert stp_and_delay(machine) == "0\n0\n"
    machine.ssh(["mv", "/root/bare", INTERFACES])
    reboot(machine)


HAND_WRITTEN = f"""\
auto eth0
iface eth0 inet manual

auto {BRIDGE}
iface {BRIDGE} inet static
    address ADDRESS/24
    gateway GATEWAY
    bridge_ports eth0
"""
EMPTY_BRIDGE = f"""\
auto eth0
iface eth0 inet static
    address ADDRESS/24
    gateway GATEWAY

auto {BRIDGE}
iface {BRIDGE} inet manual
    bridge_ports none
"""


@pytest.mark.parametrize("text", [HAND_WRITTEN, EMPTY_BRIDGE])
def test_a_hand_written_bridge_comes_back_byte_for_byte(machine: Machine, text: str) -> None:
    machine.ssh(["cp", "-a", INTERFACES, "/root/bare"])
    gateway = machine.ssh(["sed", "-n", r"s/ *gateway //p", INTERFACES]).stdout.strip()
    written = "auto lo\niface lo inet loopback\n\n" + text.replace("ADDRESS", machine.address)
    machine.ssh(["sh", "-c", f"cat >{INTERFACES}"], stdin=written.replace("GATEWAY", gateway))
    reboot(machine)
    before, port = network_of(machine), machine.ssh(["readlink", "/sys/class/net/eth0/master"], check=False)
    outs = create(machine)
    assert outs["adopted"] is True
    assert stp_and_delay(machine) == "0\n0\n"
    delete(outs)
    assert network_of(machine) == before
    assert machine.ssh(["readlink", "/sys/class/net/eth0/master"], check=False).stdout == port.stdout
    assert stp_and_delay(machine) == "0\n1500\n"
    assert nothing_armed(machine)
    machine.ssh(["mv", "/root/bare", INTERFACES])
    reboot(machine)


def test_two_stacks_share_a_bridge_and_must_agree(machine: Machine) -> None:
    outs = create(machine)
    with pytest.raises(BridgeRefused, match=r"(?s)max_wait: 0 for stack kvm-lab/one, 7 asked here"):
        create(machine, stack="kvm-lab/two", max_wait=7)
    second = create(machine, stack="kvm-lab/two")
    machine.ssh(["sh", "-c", f"ip tuntap add tapguest mode tap && ip link set tapguest master {BRIDGE} up"])
    after = network_of(machine)
    delete(outs)  # the other claim keeps the bridge: its guests are in nobody's way
    assert network_of(machine) == after
    with pytest.raises(BridgeRefused, match="there is still tapguest"):
        delete(second)
    machine.ssh(["ip", "link", "delete", "tapguest"])
    delete(second)


@pytest.mark.parametrize(
    ("prepare", "cleanup", "options", "message"),
    [
        ("true", "true", {"port": "eth7"}, r"no interface eth7; near it: eth[01]"),
        (
            "ip link add other type bridge && ip link set eth1 master other",
            "ip link delete other",
            {"port": "eth1"},
            "eth1 is already a port of the bridge other",
        ),
        (
            f"ip link add {BRIDGE} type veth peer name peer",
            f"ip link delete {BRIDGE}",
            {},
            f"{BRIDGE} exists and is no bridge but veth",
        ),
        (
            "mkdir /etc/netplan && echo '{network: {ethernets: {eth0: {dhcp4: true}}}}' >/etc/netplan/1.yaml",
            "rm -r /etc/netplan",
            {},
            "eth0 is managed by netplan",
        ),
        (
            "ip address add 198.18.99.9/32 dev eth0",
            "ip address delete 198.18.99.9/32 dev eth0",
            {},
            r"eth0 has the address 198.18.99.9/32 in the kernel, but no interfaces\(5\) file has it",
        ),
        (
            f"cp {INTERFACES} /root/kept && printf '\\tbridge_stp maybe\\n' >>{INTERFACES}",
            f"cat /root/kept >{INTERFACES}",
            {},
            f"{INTERFACES}:13",
        ),
    ],
)
def test_refused_before_anything_is_touched(
    machine: Machine, prepare: str, cleanup: str, options: dict[str, str], message: str
) -> None:
    machine.ssh(["sh", "-c", prepare])
    before = network_of(machine)
    try:
        with pytest.raises(LabError, match=message):
            create(machine, **options)
        assert network_of(machine) == before
        assert nothing_armed(machine)
    finally:
        machine.ssh(["sh", "-c", cleanup])
