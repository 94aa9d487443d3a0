"""Look at the hosts of a stack: what `pulumi up --refresh` would change of their network. Nothing is changed.

A plain `pulumi up` compares the stack file with Pulumi's state; a look compares it with the host as it is.
Hosts that are no longer in the stack file are not looked at. Every host is read over a connection of its own,
all at once; none is waited for longer than its deadline.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from components import hypervisor
from config import Host, Lab
from providers import bridge_netfilter, network_bridge, records
from providers.bridge_netfilter import BridgeNetfilterInputs
from providers.errors import LabError
from providers.network_bridge import NetworkBridgeInputs
from providers.state.outlook import Outlook
from providers.transport import ConnectError, Session, TransportError, connect

DEADLINE = 3.0
"""Seconds for one host: to connect, to log in and to read it."""
AT_ONCE = 64
"""Hosts that are read at once: more would keep this machine too busy for the deadline."""
_GRACE = 0.3
"""Seconds for the thread of a host to tell itself why it is late."""


class NoAnswer(ConnectError):  # noqa: N818 - the name says what happened
    """A host did not answer, or not all that was asked, before its deadline."""


@dataclass(frozen=True)
class Aim:
    """One host of a stack, and what its resources are made from.

    `common` are the inputs that all its resources have, `packages` what will be installed on it.
    """

    host: Host
    common: dict[str, Any]
    packages: Sequence[str]


@dataclass(frozen=True)
class Sight:
    """What was seen of a host: an outlook for each of LOOKS, or the error that kept from it."""

    host: str
    outlooks: tuple[Outlook, ...] = ()
    error: LabError | None = None


def bridge(session: Session, aim: Aim) -> Outlook:
    """Look at the host's bridge and port."""
    inputs = {**aim.common, **hypervisor.bridge_inputs(aim.host)}
    return network_bridge.outlook(session, NetworkBridgeInputs.model_validate(inputs), aim.packages)


def netfilter(session: Session, aim: Aim) -> Outlook:
    """Look at the host's bridge netfilter: where the stack file no longer speaks of it, at its return."""
    asked = hypervisor.netfilter_inputs(aim.host)
    if asked is None:
        return bridge_netfilter.outlook_of_release(session, aim.common["stack"])
    inputs = BridgeNetfilterInputs.model_validate({**aim.common, **asked})
    return bridge_netfilter.outlook(session, inputs)


LOOKS: Mapping[str, Callable[[Session, Aim], Outlook]] = {"bridge": bridge, "bridge netfilter": netfilter}
"""What is looked at on a host, by name, in the order of its resources: after one refused no other is made."""


def look_at_hosts(
    lab: Lab, project: str, stack: str, away: Mapping[str, LabError] | None = None
) -> list[Sight]:
    """Return what is seen of every host, in the stack file's order.

    Args:
        lab: the stack.
        project: the Pulumi project's name.
        stack: the stack's name.
        away: hosts that are not contacted, and what is to be told of them instead.
    """
    seen = {name: Sight(name, error=error) for name, error in (away or {}).items()}
    aims = [
        Aim(
            host,
            hypervisor.common_inputs(host, project, stack),
            hypervisor.package_set(host, hypervisor.used_images(host, lab.images)),
        )
        for host in lab.hosts
        if host.name not in seen
    ]
    for start in range(0, len(aims), AT_ONCE):
        seen |= {sight.host: sight for sight in _glances(aims[start:][:AT_ONCE])}
    return [seen[host.name] for host in lab.hosts]


def _glances(aims: Sequence[Aim]) -> Iterator[Sight]:
    until = time.monotonic() + DEADLINE
    glances = [_Glance(aim, until) for aim in aims]
    for glance in glances:
        # not a pool's thread: one that hangs (a name server may) must not keep this process from its end
        threading.Thread(target=glance.run, daemon=True, name=f"look-{glance.aim.host.name}").start()
    for glance in glances:
        yield glance.sight()


class _Glance:
    """Reads one host in a thread of its own, until `until` on time.monotonic()'s clock."""

    def __init__(self, aim: Aim, until: float) -> None:
        self.aim = aim
        self.until = until
        self.logged_in = False
        self.seen: Future[tuple[Outlook, ...]] = Future()

    def run(self) -> None:
        """Read the host; the thread's whole work."""
        try:
            self.seen.set_result(self._read())
        except TransportError as error:
            self.seen.set_exception(error if self._left() else self._too_late())
        except LabError as error:
            self.seen.set_exception(error)
        except Exception as error:  # noqa: BLE001 - one odd host must not keep the others from being told
            self.seen.set_exception(self._odd(error))

    def sight(self) -> Sight:
        """Return what was seen, soon after the deadline at the latest."""
        name = self.aim.host.name
        try:
            return Sight(name, self.seen.result(self._left() + _GRACE))
        except TimeoutError:
            return Sight(name, error=self._too_late())
        except LabError as error:
            return Sight(name, error=error)

    def _read(self) -> tuple[Outlook, ...]:
        with connect(self.aim.host.endpoint, timeout=self._left()) as session:
            self.logged_in = True
            end = threading.Timer(self._left(), session.close)
            end.daemon = True
            end.start()
            try:
                return tuple(look(session, self.aim) for look in LOOKS.values())
            finally:
                end.cancel()

    def _left(self) -> float:
        return max(self.until - time.monotonic(), 0.0)

    def _odd(self, error: Exception) -> LabError:
        return LabError(
            f"{self.aim.host.endpoint.place}: read its network",
            f"what it shows is not understood: {type(error).__name__}: {error}",
            f"look at {records.FOLDER} on the host: another version may have written there",
        )

    def _too_late(self) -> NoAnswer:
        seen = "it let us in, but was not read to the end" if self.logged_in else "no answer"
        return NoAnswer(
            f"{self.aim.host.endpoint.place}: read its network",
            f"{seen} within {DEADLINE:g} s",
            "look whether the machine is up and reachable from here",
        )
