"""How long a port that joins a bridge waits until it passes traffic, by STP and forward delay.

A guest's cable and a cable to the outside, both veth pairs, on a real bridge in a network namespace of its
own (see unshare(1)): frames are sent from the guest's end all the time, and the first that comes out at the
outside tells when the port began to forward.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import statistics
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from providers.errors import LabError

_BRIDGE = "br0"
_GUEST, _GUEST_PORT = "guest", "vnet0"
_OUTSIDE, _OUTSIDE_PORT = "outside", "eth0"
# The first of IEEE 802's EtherTypes for local experiments.
_ETHER_TYPE = 0x88B5
_FRAME = b"\xff" * 6 + b"\x02\0\0\0\0\1" + struct.pack("!H", _ETHER_TYPE) + bytes(46)
_SEND_EVERY = 0.001
_PATIENCE = 10.0
# From linux/if_bridge.h.
_FORWARDING = 3
_HUNDREDTHS = 100


@dataclass(frozen=True)
class Case:
    """A bridge that a port joins; the forward delay in seconds."""

    stp: bool
    forward_delay: int


CASES = (
    Case(stp=False, forward_delay=0),
    Case(stp=False, forward_delay=2),
    Case(stp=False, forward_delay=15),
    Case(stp=True, forward_delay=0),
    Case(stp=True, forward_delay=2),
    Case(stp=True, forward_delay=15),
)
QUICK = (CASES[0], CASES[4])
"""One without and one with STP, over in five seconds."""


@dataclass(frozen=True)
class Row:
    """What was seen of one case: seconds in each round, or what the kernel said instead of taking it."""

    case: Case
    waits: tuple[float, ...] = ()
    refusal: str = ""


def enter_namespace(arguments: Sequence[str]) -> None:
    """Start this program anew, with these arguments, in a network namespace of its own; does not return."""
    os.execvp("unshare", ["unshare", "--net", sys.executable, "-m", "bench", *arguments])  # noqa: S606


def measure(cases: Sequence[Case], rounds: int) -> list[Row]:
    """Return a row for each case. It makes interfaces: not to be called in this machine's own namespace.

    Raises:
        LabError: a port did not begin to forward.
        NetlinkError: the kernel refuses something else than a forward delay out of range.
    """
    return [_row(case, rounds) for case in cases]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table: the median of each case, and its range."""
    lines = ["| STP | forward delay | the first frame passes after |", "|---|---|---|"]
    for row in rows:
        stp = "on" if row.case.stp else "off"
        lines.append(f"| {stp} | {row.case.forward_delay} s | {_seen(row)} |")
    return "\n".join(lines)


def _seen(row: Row) -> str:
    if row.refusal:
        return f'refused by the kernel: "{row.refusal}"'
    return f"{statistics.median(row.waits):.3f} s ({min(row.waits):.3f} to {max(row.waits):.3f})"


def _row(case: Case, rounds: int) -> Row:
    waits = []
    for _ in range(rounds):
        with IPRoute() as kernel, _cables(kernel):
            try:
                _set_up(kernel, case)
            except NetlinkError as error:
                if error.code != errno.ERANGE:
                    raise
                return Row(case, refusal=os.strerror(error.code))
            waits.append(_join(kernel, case))
    return Row(case, tuple(waits))


@contextmanager
def _cables(kernel: IPRoute) -> Iterator[None]:
    """Make the bridge, with the cable to the outside plugged in and forwarding, and the guest's cable."""
    kernel.link("add", ifname=_BRIDGE, kind="bridge", br_stp_state=0)
    for end, port in ((_OUTSIDE, _OUTSIDE_PORT), (_GUEST, _GUEST_PORT)):
        kernel.link("add", ifname=end, kind="veth", peer={"ifname": port})
        kernel.link("set", index=_index(kernel, end), state="up")
    try:
        bridge = _index(kernel, _BRIDGE)
        kernel.link("set", index=bridge, state="up")
        _plug(kernel, bridge, _index(kernel, _OUTSIDE_PORT))
        _await_forwarding(kernel, _OUTSIDE_PORT)
        yield
    finally:
        for name in (_GUEST, _OUTSIDE, _BRIDGE):
            kernel.link("del", index=_index(kernel, name))


def _set_up(kernel: IPRoute, case: Case) -> None:
    """Give the bridge its properties, STP first: the kernel judges a forward delay by it."""
    bridge = _index(kernel, _BRIDGE)
    kernel.link("set", index=bridge, kind="bridge", br_stp_state=int(case.stp))
    kernel.link("set", index=bridge, kind="bridge", br_forward_delay=case.forward_delay * _HUNDREDTHS)


def _join(kernel: IPRoute, case: Case) -> float:
    """Plug the guest's cable in; return how many seconds passed until a frame did."""
    patience = 2 * case.forward_delay + _PATIENCE
    bridge, port = _index(kernel, _BRIDGE), _index(kernel, _GUEST_PORT)
    with closing(_packet_socket(_GUEST)) as guest, closing(_packet_socket(_OUTSIDE)) as outside:
        start = time.monotonic()
        _plug(kernel, bridge, port)
        while time.monotonic() < start + patience:
            guest.send(_FRAME)
            if select.select([outside], [], [], _SEND_EVERY)[0]:
                return time.monotonic() - start
    raise LabError(
        f"bench: a port joins a bridge, {case}",
        f"no frame passed within {patience:.0f} s",
        "look at the kernel's messages (dmesg) about the bridge",
    )


def _plug(kernel: IPRoute, bridge: int, port: int) -> None:
    """Do what `ip link set PORT master BRIDGE up` does, in one request; both by their index."""
    kernel.link("set", index=port, master=bridge, state="up")


def _await_forwarding(kernel: IPRoute, port: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        (link,) = kernel.get_links(_index(kernel, port))
        if link.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA", "IFLA_BRPORT_STATE") == _FORWARDING:
            return
        time.sleep(_SEND_EVERY)
    raise LabError(f"bench: plug {port} into a bridge", "it does not forward", "look at `bridge link`")


def _packet_socket(name: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHER_TYPE))
    opened.bind((name, _ETHER_TYPE))
    return opened


def _index(kernel: IPRoute, name: str) -> int:
    found: int = kernel.link_lookup(ifname=name)[0]
    return found
