"""Look at the hosts of a stack: what `pulumi up --refresh` would change of their network. Nothing is changed.

A plain `pulumi up` compares the stack file with Pulumi's state; a look compares it with the host as it is.
Hosts that are no longer in the stack file are not looked at. Every host is read over a connection of its own,
all at once; none is waited for longer than its deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components import hypervisor
from config import Host, Lab
from lab.glances import Reading, read_hosts
from providers import bridge_netfilter, network_bridge, records
from providers.bridge_netfilter import BridgeNetfilterInputs
from providers.errors import LabError
from providers.network_bridge import NetworkBridgeInputs
from providers.state.outlook import Outlook
from providers.transport import Session

DEADLINE = 3.0
"""Seconds for one host: to connect, to log in and to read it."""


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
    known = {name: Sight(name, error=error) for name, error in (away or {}).items()}
    aims = {
        host.name: Aim(
            host,
            hypervisor.common_inputs(host, project, stack),
            hypervisor.package_set(host, hypervisor.used_images(host, lab.images)),
        )
        for host in lab.hosts
        if host.name not in known
    }

    def read(session: Session, _: float) -> tuple[Outlook, ...]:
        return tuple(look(session, aims[session.endpoint.host]) for look in LOOKS.values())

    reading = Reading(
        read,
        asked="read its network",
        remedy=f"look at {records.FOLDER} on the host: another version may have written there",
        deadline=DEADLINE,
        login=DEADLINE,
    )
    for name, seen in read_hosts([aim.host.endpoint for aim in aims.values()], reading).items():
        known[name] = Sight(name, error=seen) if isinstance(seen, LabError) else Sight(name, seen)
    return [known[host.name] for host in lab.hosts]
