"""Further ports of a bridge: they come and go while it is up, and none may close a loop."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from providers.errors import LabError
from providers.host_network import NetworkChangeError
from providers.network_bridge import BridgeRefused
from testbed import Machine, Spec, Testbed
from testbed.ping import Ping
from tests import places
from tests.integration.bridges import (
    BRIDGE,
    INTERFACES,
    Network,
    create,
    delete,
    differs,
    network_of,
    nothing_armed,
    reboot,
    refresh,
    update,
)

OTHER_SWITCH = places.bridge("labother")


@pytest.fixture(scope="module")
def machine(testbed: Testbed) -> Iterator[Machine]:
    """A machine with two network cards, both on the testbed's bridge, and bridge-utils."""
    address = testbed.network.range.network_address + 43
    (started,) = testbed.start([Spec(name="ports", address=address, nics=2)])
    started.reset()
    started.ssh(["sh", "-c", "apt-get -q update && apt-get -qy install --no-install-recommends bridge-utils"])
    yield started
    started.poweroff()


@contextmanager
def second_switch(machine: Machine) -> Iterator[None]:
    """Plug the machine's eth1 into a switch of its own until the end of the block."""
    cable, switch = machine.cables[1], machine.around.network.bridge
    # a bridge whose address nobody has set takes that of one of its ports: the gateway's must not change
    _ip("link", "set", switch, "address", Path(f"/sys/class/net/{switch}/address").read_text().strip())
    _ip("link", "add", OTHER_SWITCH, "type", "bridge")
    try:
        # no machine must take this switch for the gateway, whose addresses it would answer for
        _ip("link", "set", OTHER_SWITCH, "arp", "off", "up")
        _ip("link", "set", cable, "master", OTHER_SWITCH)
        yield
    finally:
        _ip("link", "set", cable, "master", switch)
        _ip("link", "delete", OTHER_SWITCH)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def eth1(machine: Machine) -> str:
    """Return what of eth1 must be as found once it is a port no more."""
    script = "ip -br link show eth1; readlink /sys/class/net/eth1/master; ls /sys/class/net"
    mode = "cat /proc/sys/net/ipv6/conf/eth1/addr_gen_mode"
    return machine.ssh(["sh", "-c", f"{script}; {mode}"]).stdout


def found(machine: Machine) -> tuple[Network, str]:
    return network_of(machine), eth1(machine)


def ports(machine: Machine) -> list[str]:
    return machine.ssh(["ls", f"/sys/class/net/{BRIDGE}/brif"]).stdout.split()


def test_a_further_port_comes_and_goes_live(machine: Machine) -> None:
    with second_switch(machine):
        outs = create(machine)
        machine.ssh(["ip", "link", "set", "eth1", "up"])
        machine.ssh(
            ["sh", "-c", f"ip tuntap add tapguest mode tap && ip link set tapguest master {BRIDGE} up"]
        )
        index = machine.ssh(["cat", f"/sys/class/net/{BRIDGE}/ifindex"]).stdout
        before = found(machine)
        with Ping(machine.address).running() as ping:
            outs = update(machine, outs, extra_ports=["eth1"])
            assert ports(machine) == ["eth0", "eth1", "tapguest"]
            assert outs["ports"] == ["eth0", "eth1"]
            assert "bridge_ports eth0 eth1\n" in machine.ssh(["cat", INTERFACES]).stdout
            assert not differs(machine, refresh(outs), extra_ports=["eth1"])
            outs = update(machine, outs)
        assert ping.lost <= 3
        assert found(machine) == before
        assert ports(machine) == ["eth0", "tapguest"]
        assert machine.ssh(["cat", f"/sys/class/net/{BRIDGE}/ifindex"]).stdout == index
        machine.ssh(["sh", "-c", "ip link delete tapguest; ip link set eth1 down"])
        delete(outs)


def test_takeover_with_a_further_port_drift_and_return(machine: Machine) -> None:
    with second_switch(machine):
        before = found(machine)
        outs = create(machine, extra_ports=["eth1"])
        assert outs["ports"] == ["eth0", "eth1"]
        wanted = network_of(machine)
        in_file = f"sed -i 's/bridge_ports eth0 eth1/bridge_ports eth0/' {INTERFACES}"
        for drift in (in_file, "ip link set eth1 nomaster"):
            machine.ssh(["sh", "-c", drift])
            seen = refresh(outs)
            assert differs(machine, seen, extra_ports=["eth1"])
            outs = update(machine, seen, extra_ports=["eth1"])
            assert network_of(machine) == wanted
            assert ports(machine) == ["eth0", "eth1"]
        delete(outs)
        assert found(machine) == before
        assert nothing_armed(machine)


def test_a_loop_is_found_before_it_is_one(machine: Machine) -> None:
    before = found(machine)
    loop = r"eth1 leads into the network that (eth0|brtry) is in: with STP off this is a loop"
    with pytest.raises(NetworkChangeError, match=loop):
        create(machine, extra_ports=["eth1"])
    assert found(machine) == before
    assert nothing_armed(machine)

    outs = create(machine)
    bridged = found(machine)
    with Ping(machine.address).running() as ping, pytest.raises(NetworkChangeError, match=loop):
        update(machine, outs, extra_ports=["eth1"])
    assert ping.lost <= 3
    assert found(machine) == bridged
    delete(outs)
    assert found(machine) == before


def test_a_cable_that_is_not_plugged_in_is_said(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    outs = create(machine)
    _ip("link", "set", machine.cables[1], "down")
    outs = update(machine, outs, extra_ports=["eth1"])
    assert "eth1 has no carrier: whether it makes a loop could not be checked" in capfd.readouterr().err
    outs = update(machine, outs)
    _ip("link", "set", machine.cables[1], "up")
    delete(outs)


def test_stp_keeps_a_second_way_shut_and_stays_on(machine: Machine) -> None:
    options = {"extra_ports": ["eth1"], "rollback_timeout": 30}
    before = found(machine)
    outs = create(machine, stp=True, forward_delay=2, **options)
    state = "until grep -qx 4 /sys/class/net/eth1/brport/state; do sleep 0.2; done"
    machine.ssh(["timeout", "20", "sh", "-c", state])
    with pytest.raises(BridgeRefused, match="STP keeps eth1 shut"):
        update(machine, outs, **options)
    delete(outs)
    assert found(machine) == before


@pytest.mark.parametrize(
    ("prepare", "cleanup", "port", "message"),
    [
        ("true", "true", "eth7", r"no interface eth7; near it: eth[01]"),
        (
            "ip address add 198.18.99.9/32 dev eth1",
            "ip address delete 198.18.99.9/32 dev eth1",
            "eth1",
            "eth1 has the address 198.18.99.9/32 in the kernel",
        ),
        (
            "ip link add other type bridge && ip link set eth1 master other",
            "ip link delete other",
            "eth1",
            "eth1 is already a port of the bridge other",
        ),
        (
            f"cp -a {INTERFACES} /root/kept && printf '\\niface eth1 inet dhcp\\n' >>{INTERFACES}",
            f"mv /root/kept {INTERFACES}",
            "eth1",
            f"{INTERFACES}:[0-9]+: 'iface eth1 inet dhcp': gives eth1 addresses",
        ),
    ],
)
def test_an_unfit_port_is_refused(
    machine: Machine, prepare: str, cleanup: str, port: str, message: str
) -> None:
    machine.ssh(["sh", "-c", prepare])
    before = network_of(machine)
    try:
        with pytest.raises(LabError, match=message):
            create(machine, extra_ports=[port])
        assert network_of(machine) == before
        assert nothing_armed(machine)
    finally:
        machine.ssh(["sh", "-c", cleanup])


def test_two_ports_written_by_hand_are_adopted_without_a_write(machine: Machine) -> None:
    with second_switch(machine):
        machine.ssh(["cp", "-a", INTERFACES, "/root/bare"])
        create(machine, extra_ports=["eth1"])
        machine.ssh(["rm", "-r", "/var/lib/kvm-lab"])
        times = "find /etc/network -exec stat -c '%n %y %z %i' {} + | sort"
        before = machine.ssh(["sh", "-c", times]).stdout
        for asked in ([], ["eth1"]):
            outs = create(machine, extra_ports=asked)
            assert outs["adopted"] is True
            assert outs["sentences"] == []
            assert not differs(machine, refresh(outs), extra_ports=asked)
        outs = update(machine, outs)  # found there: it stays
        delete(outs)
        assert ports(machine) == ["eth0", "eth1"]
        assert machine.ssh(["sh", "-c", times]).stdout == before
        machine.ssh(["mv", "/root/bare", INTERFACES])
        reboot(machine)
