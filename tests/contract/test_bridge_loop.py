"""scripts/bridge-loop.sh on this kernel: a host, its cables and two switches in a network namespace."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "providers/scripts/bridge-loop.sh"
# The host has eth0 in br0, and eth1 and eth2 down; $1: the ports of the switch that eth0 is plugged into,
# $2: those of another one, $3: the script, $4: an address for the uplink, $5: the folder, $6: the uplink,
# $7: the ports, $8: whether the uplink uses ARP, "on" or "off".
LAB = """
set -eu
mount -t sysfs sysfs /sys
ip link add dev one type bridge
ip link add dev two type bridge
for i in 0 1 2; do
    ip link add eth$i type veth peer name cable$i
done
for cable in $1; do ip link set $cable master one up; done
for cable in $2; do ip link set $cable master two up; done
ip link add dev br0 type bridge
ip link set eth0 master br0 up
ip link set "$6" arp "$8" up
[ -z "$4" ] || ip address add "$4" dev "$6"
for bridge in br0 one two; do ip link set $bridge up; done
state() {
    ls /sys/class/net
    cat /sys/class/net/eth[12]/flags /proc/sys/net/ipv6/conf/eth[12]/addr_gen_mode
    ip -4 -o address
    ip -6 -o address show dev eth2
}
state >"$5/before"
status=0
PATH=$5/bin:$PATH
sh "$3" look "$5/state" "$6" $7 || status=$?
state >"$5/after"
exit $status
"""

# ip(8) on a host where udev does what systemd's 99-default.link says (MACAddressPolicy=persistent): an
# interface whose address nobody has set (addr_assign_type 3, NET_ADDR_SET) gets another one.
UDEV = """#!/bin/sh
{ip} "$@" || exit
[ "$1 $2 $3" = "link add name" ] || exit 0
[ "$(cat "/sys/class/net/$4/addr_assign_type")" = 3 ] || {ip} link set dev "$4" address {own}
"""


@dataclass(frozen=True)
class Look:
    """What came of it."""

    status: int
    notes: str
    errors: str
    restored: bool


def look(
    folder: Path,
    one: str,
    two: str = "",
    address: str = "192.0.2.1/24",
    *,
    uplink: str = "br0",
    ports: str = "eth1 eth2",
    arp: str = "on",
) -> Look:
    """Plug the cables of the host into two switches, and look whether `ports` make a loop with `uplink`."""
    (folder / "state").mkdir()
    (folder / "bin").mkdir()
    udev = folder / "bin/ip"
    udev.write_text(UDEV.format(ip=shutil.which("ip"), own="02:00:00:00:99:99"))
    udev.chmod(0o755)
    lab = ["unshare", "--net", "--mount", "sh", "-c", LAB, "lab"]
    argv = [*lab, one, two, str(SCRIPT), address, str(folder), uplink, ports, arp]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    restored = (folder / "before").read_text() == (folder / "after").read_text()
    return Look(done.returncode, done.stdout, done.stderr, restored and not any((folder / "state").iterdir()))


def test_cables_to_different_switches(tmp_path: Path) -> None:
    assert look(tmp_path, "cable0", "cable1") == Look(
        0, "eth2 has no carrier: whether it makes a loop could not be checked\n", "", restored=True
    )


@pytest.mark.parametrize("address", ["192.0.2.1/24", ""])
def test_a_second_cable_to_the_same_switch(tmp_path: Path, address: str) -> None:
    seen = look(tmp_path, "cable0 cable2", "cable1", address)
    assert (seen.status, seen.restored) == (1, True)
    assert seen.errors == "eth2 leads into the network that br0 is in: with STP off this is a loop\n"


def test_two_cables_to_another_switch(tmp_path: Path) -> None:
    seen = look(tmp_path, "cable0", "cable1 cable2")
    assert (seen.status, seen.restored) == (1, True)
    assert seen.errors == "eth2 leads into the network that eth1 is in: with STP off this is a loop\n"


def test_a_port_that_joins_a_bridge_with_another_cable(tmp_path: Path) -> None:
    """br0 is on eth0 already; eth1, which has an address and is up, is to join it."""
    same = look(tmp_path, "cable0 cable1", uplink="eth1", ports="br0")
    assert (same.status, same.restored) == (1, True)
    assert same.errors == "br0 leads into the network that eth1 is in: with STP off this is a loop\n"


def test_an_uplink_without_arp_is_said(tmp_path: Path) -> None:
    seen = look(tmp_path, "cable0", "cable1", ports="eth1", arp="off")
    assert (seen.status, seen.restored) == (0, True)
    assert seen.notes == "br0 sends no ARP requests: whether further ports make a loop could not be checked\n"


def test_an_unknown_task_is_an_error(tmp_path: Path) -> None:
    done = subprocess.run(["sh", SCRIPT, "lok", tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "unknown task: lok\n")


def test_a_port_that_joins_a_bridge_elsewhere(tmp_path: Path) -> None:
    assert look(tmp_path, "cable0", "cable1", uplink="eth1", ports="br0") == Look(0, "", "", restored=True)
