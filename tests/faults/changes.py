"""The four kinds of change that faults are thrown into, each from a bare host and back to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from testbed import Machine
from tests.faults.cables import unplug
from tests.faults.client import Call
from tests.faults.host import Host
from tests.integration.bridges import BRIDGE, INTERFACES, create, delete, differs, inputs_for, refresh, update

GUEST = "tapguest"
"""A guest's network card, as the host sees it."""
# A bridge for guests only, by hand: it is made anew when it takes over the port's address.
_EMPTY_BRIDGE = f"""

auto {BRIDGE}
iface {BRIDGE} inet manual
    bridge_ports none
    bridge_hw 02:00:00:00:00:08
"""
_KEPT = "/root/kept-interfaces"


def add_guest(host: Host) -> None:
    """Put a guest's card on the bridge."""
    script = (
        f"ip tuntap add {GUEST} mode tap && ip link set {GUEST} address fe:ff:ff:ff:ff:fe && "
        f"ip link set {GUEST} master {BRIDGE} up"
    )
    host.ssh(["sh", "-c", script])


def remove_guest(host: Host) -> None:
    """Take the guest's card away; a power cut has done so already."""
    host.ssh(["ip", "link", "delete", GUEST], check=False)


@dataclass(frozen=True)
class Prepared:
    """A host on the old configuration of a change."""

    outs: dict[str, Any] = field(default_factory=dict)
    """What Pulumi has in its state; empty: nothing yet."""


@dataclass(frozen=True)
class Change:
    """A kind of change: how to come to its old configuration, how to ask for it, how to come back."""

    name: str
    operation: str
    prepare: Callable[..., Prepared]
    leave: Callable[[Host], None]
    options: tuple[tuple[str, object], ...] = ()
    """What is asked for beside the plain bridge."""
    takes_down: str = ""
    """What ifdown gets first: interface and method; empty: nothing."""
    brings_up: str = ""
    """What ifup gets that has the host's address then: interface and method."""

    def leaves_open(self, difference: str) -> bool:  # noqa: ARG002
        """Tell whether a difference to the old or to the new configuration does not matter."""
        return False

    def call(self, host: Host, prepared: Prepared, **options: object) -> Call:
        """Return the call that makes the change."""
        return Call(self.operation, inputs_for(host, **dict(self.options), **options), prepared.outs)

    def converge(self, host: Host, prepared: Prepared, **options: object) -> dict[str, Any]:
        """Make the change without a fault, from wherever the host is; the second look must find no drift."""
        wanted = {**dict(self.options), **options}
        if self.operation == "delete":
            delete(prepared.outs)
            assert refresh(prepared.outs) == {}
            return {}
        updates = self.operation == "update"
        outs = update(host, prepared.outs, **wanted) if updates else create(host, **wanted)
        seen = refresh(outs)
        assert not differs(host, seen, **wanted), f"drift at the second look: {seen}"
        return outs


def _bare(_host: Host, **_options: object) -> Prepared:
    return Prepared()


def _with_bridge(host: Host, **options: object) -> Prepared:
    return Prepared(create(host, **options))


def _with_bridge_and_guest(host: Host, **options: object) -> Prepared:
    prepared = _with_bridge(host, **options)
    add_guest(host)
    return prepared


def _with_empty_bridge(host: Host, **_options: object) -> Prepared:
    host.ssh(["cp", "-a", INTERFACES, _KEPT])
    host.ssh(["sh", "-c", f"cat >>{INTERFACES} && ifup {BRIDGE}"], stdin=_EMPTY_BRIDGE)
    add_guest(host)
    return Prepared()


def _with_dead_second_card(host: Host, **_options: object) -> Prepared:
    assert isinstance(host, Machine)
    unplug(host, "eth1")
    return Prepared()


def _leave_empty_bridge(host: Host) -> None:
    remove_guest(host)
    host.ssh(["sh", "-c", f"ifdown {BRIDGE} && mv {_KEPT} {INTERFACES}"])


def _leave_nothing(_host: Host) -> None:
    """The delete before has given everything back."""


_BRIDGE, _EMPTY, _PORT = f"{BRIDGE} static", f"{BRIDGE} manual", "eth0 static"
TAKE_OVER = Change("take-over", "create", _bare, _leave_nothing, (), _PORT, _BRIDGE)
LIVE = Change("live", "update", _with_bridge_and_guest, remove_guest, (("forward_delay", 4),))
LIVE_STP = Change(
    "live STP", "update", _with_bridge_and_guest, remove_guest, (("stp", True), ("forward_delay", 2))
)
LIVE_WAIT = Change("live file", "update", _with_bridge_and_guest, remove_guest, (("max_wait", 5),))
REBUILD = Change(
    "rebuild", "create", _with_empty_bridge, _leave_empty_bridge, (), f"{BRIDGE} manual", _BRIDGE
)
SECOND_CARD = Change("second card", "create", _with_dead_second_card, _leave_nothing, (("port", "eth1"),))
GIVE_BACK = Change("give-back", "delete", _with_bridge, _leave_nothing, (), _BRIDGE, _PORT)
CHANGES = {change.name: change for change in (TAKE_OVER, LIVE, REBUILD, GIVE_BACK)}
