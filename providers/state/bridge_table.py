"""What bridge-table.sh prints about a host: its bridge, ports, learned MAC addresses and domains. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from providers.state import virsh
from providers.state.facts import Facts, collect
from providers.state.virsh import Domain


@dataclass(frozen=True)
class Bridge:
    """A bridge as the kernel has it; `id` is its priority and MAC address as brctl(8) shows them."""

    name: str
    id: str
    mac: str
    stp: bool


@dataclass(frozen=True)
class Port:
    """A port of the bridge; `state` is what STP says of it: "forwarding", "blocking", "disabled", …"""

    name: str
    mac: str
    state: str


@dataclass(frozen=True)
class Learned:
    """A MAC address behind a port; `age` is in seconds since its last frame, None where it does not age."""

    mac: str
    port: str
    age: int | None


@dataclass(frozen=True)
class BridgeTable:
    """A host's bridge and who is on it.

    `bridge` is None where there is none of that name, `macs` are the addresses of all the host's interfaces.
    `silent` is why libvirt does not say what domains there are, if it does not.
    """

    bridge: Bridge | None
    ports: tuple[Port, ...]
    learned: tuple[Learned, ...]
    macs: frozenset[str]
    domains: tuple[Domain, ...]
    silent: str | None = None


def parse(text: str, bridge: str) -> BridgeTable:
    """Parse what the script printed for the bridge of that name.

    Raises:
        ValueError: it is something else, or was cut.
    """
    facts = collect(text, ("links",))
    links = {str(link["ifname"]): link for link in facts.objects("links")}
    found = _bridge(links[bridge]) if bridge in links else None
    ports = tuple(_port(link) for link in links.values() if link.get("master") == bridge) if found else ()
    return BridgeTable(
        bridge=found,
        ports=ports,
        learned=_learned(facts, bridge, {port.name for port in ports}),
        macs=frozenset(str(link["address"]).lower() for link in links.values() if _is_ethernet(link)),
        domains=virsh.parse_domains(facts.values.get("domains", ""), facts.values.get("states", "")),
        silent=facts.values.get("silent"),
    )


def _is_ethernet(link: Mapping[str, Any]) -> bool:
    return link.get("link_type") == "ether" and "address" in link


def _bridge(link: Mapping[str, Any]) -> Bridge | None:
    info = link.get("linkinfo", {})
    if info.get("info_kind") != "bridge":
        return None
    data = info["info_data"]
    return Bridge(
        str(link["ifname"]), _bridge_id(str(data["bridge_id"])), str(link["address"]), bool(data["stp_state"])
    )


def _bridge_id(text: str) -> str:
    """Return "8000.52540000000b" of "8000.52:54:0:0:0:b", as iproute2 prints it."""
    priority, _, mac = text.partition(".")
    return f"{priority}.{''.join(part.zfill(2) for part in mac.split(':'))}"


def _port(link: Mapping[str, Any]) -> Port:
    state = link.get("linkinfo", {}).get("info_slave_data", {}).get("state", "")
    return Port(str(link["ifname"]), str(link["address"]), str(state))


def _learned(facts: Facts, bridge: str, ports: set[str]) -> tuple[Learned, ...]:
    """Return each MAC address once for its port: a bridge that filters VLANs has it once for each."""
    found: dict[tuple[str, str], Learned] = {}
    for entry in facts.objects("learned"):
        mac, port, state = str(entry["mac"]).lower(), str(entry["ifname"]), entry.get("state", "")
        # "permanent" are the host's own addresses; what has no master is in a card's own filter
        if entry.get("master") != bridge or state == "permanent" or port not in ports:
            continue
        learned = Learned(mac, port, None if state == "static" else entry.get("updated"))
        known = found.setdefault((mac, port), learned)
        if learned.age is not None and known.age is not None and learned.age < known.age:
            found[mac, port] = learned
    return tuple(found.values())
