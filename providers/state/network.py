"""What a host's network is: files, kernel, who manages what. Parsed from network-facts.sh; pure."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from providers.errors import LabError
from providers.state.facts import Facts, collect

FOREVER = 2**32 - 1
_HUNDREDTHS = 100
_OVERDUE = -5
"""Seconds left from which on network-transaction.sh (settle) takes a change for one that was left behind."""


@dataclass(frozen=True)
class Link:
    """An interface of the kernel."""

    name: str
    kind: str
    """"bridge", "bond", "vlan", "veth"...; empty for a physical one."""
    hw_address: str
    up: bool
    """Set up by the administrator; says nothing about the cable."""
    master: str | None
    """The bridge or bond it is a port of."""
    below: str | None
    """The interface that a VLAN or the like stands on."""
    stp: bool | None = None
    """A bridge's STP; None for any other interface."""
    forward_delay: float | None = None
    """A bridge's forward delay in seconds."""
    port_state: str = ""
    """Of a bridge's port, what STP makes of it: "forwarding", "blocking", "listening"..."""


@dataclass(frozen=True)
class Address:
    """An address of an interface, as the kernel has it."""

    device: str
    text: str
    """With prefix: "192.0.2.10/24"."""
    scope: str
    lasting: bool
    """Without an end: set by hand or from a file, not by DHCP or router advertisement."""

    @property
    def bare(self) -> str:
        """Return the address without its prefix."""
        return self.text.partition("/")[0]


@dataclass(frozen=True)
class FileAddresses:
    """What interfaces(5) files give an interface."""

    addresses: tuple[str, ...] = ()
    """With prefix."""
    gateways: tuple[str, ...] = ()
    metrics: Mapping[str, int] = field(default_factory=dict)
    """Gateway -> the metric of its route, where the file names one."""


@dataclass(frozen=True)
class DefaultRoute:
    """A way out of a host."""

    family: str
    """"inet" or "inet6"."""
    device: str
    gateway: str
    learned: bool
    """From DHCP or a router advertisement: not to be restored by us."""
    metric: int = 0


@dataclass(frozen=True)
class Pending:
    """A change of this host's network that nobody has confirmed or undone yet, or that just ended."""

    id: str = ""
    stack: str = ""
    verdict: str = ""
    """"pending", "confirmed", "rolling-back" or "rolled-back"."""
    phase: str = ""
    left: int = 0
    """Seconds until the host undoes it by itself."""
    since: str = ""
    reason: str = ""
    """Why it was rolled back."""
    unrestored: bool = False
    """The rollback could not put back every file."""
    log: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be checked before the change."""

    @property
    def is_in_the_way(self) -> bool:
        """Whether another change must wait for the end of this one."""
        left_behind = self.phase == "staged" and self.left < _OVERDUE
        return self.verdict == "rolling-back" or (self.verdict == "pending" and not left_behind)


@dataclass(frozen=True)
class HostNetwork:
    """One host's network at one moment."""

    bridge: str
    port: str
    files: Mapping[str, bytes]
    """What lies under /etc/network, by path."""
    real_paths: Mapping[str, str]
    """Path -> path without symbolic links."""
    links: Mapping[str, Link]
    addresses: tuple[Address, ...]
    default_routes: tuple[DefaultRoute, ...]
    in_files: Mapping[str, FileAddresses]
    """What ifquery(8) finds in the files about the bridge and the port."""
    configured: frozenset[str]
    """Interfaces that ifupdown believes to be up."""
    tools: frozenset[str]
    """Commands that the transaction needs and that are there."""
    managers: Mapping[str, Mapping[str, str]]
    """Port -> manager ("NetworkManager"...) of it -> what says so."""
    own_address: str
    """The host's address at the other end of our SSH connection; empty when not known."""
    answering: frozenset[str] = frozenset()
    """Gateways that answered a ping."""
    libvirt_answers: bool = False
    extra_ports: tuple[str, ...] = ()
    """Further ports in question: that are to join the bridge, have joined it by us or are to leave it."""
    domains: Mapping[str, str] = field(default_factory=dict)
    """Interface of a running guest -> the guest's name in libvirt; known only where it was probed."""

    def members(self, bridge: str) -> tuple[str, ...]:
        """Return the ports of a bridge or bond."""
        return tuple(link.name for link in self.links.values() if link.master == bridge)

    def above(self, name: str) -> tuple[str, ...]:
        """Return the interfaces that stand on `name` (its VLANs)."""
        return tuple(link.name for link in self.links.values() if link.below == name and link.kind != "veth")

    def on(self, device: str) -> tuple[Address, ...]:
        """Return the addresses of one interface that others can reach."""
        return tuple(a for a in self.addresses if a.device == device and a.scope == "global")

    @property
    def lost_gateways(self) -> tuple[str, ...]:
        """The gateways that the files give the bridge and the kernel has no default route to."""
        known = {bare_address(route.gateway) for route in self.default_routes}
        return tuple(text for text in self.in_files[self.bridge].gateways if bare_address(text) not in known)

    @property
    def standing_on(self) -> str | None:
        """The interface that carries our SSH connection."""
        for address in self.addresses:
            if address.bare == self.own_address:
                return address.device
        return None


def parse_network(text: str, bridge: str, port: str, extra_ports: Iterable[str] = ()) -> HostNetwork:
    """Turn the output of network-facts.sh into a HostNetwork.

    Args:
        text: the output.
        bridge: the bridge that it was asked about.
        port: its port.
        extra_ports: further ports in question.

    Raises:
        LabError: it was cut or is something else.
    """
    try:
        facts = collect(text, ("links", "addresses", "connection"))
        links = {link.name: link for link in map(_link, facts.objects("links"))}
        return HostNetwork(
            bridge=bridge,
            port=port,
            files=facts.files.get("file", {}),
            real_paths={path: data.decode() for path, data in facts.files.get("real", {}).items()},
            links=links,
            addresses=tuple(_addresses(facts.objects("addresses"))),
            default_routes=(
                *_default_routes("inet", facts.objects("routes4")),
                *_default_routes("inet6", facts.objects("routes6")),
            ),
            in_files={
                bridge: parse_ifquery(facts.values.get("ifquery_bridge", "")),
                port: parse_ifquery(facts.values.get("ifquery_port", "")),
            },
            configured=frozenset(line.partition("=")[0] for line in facts.lines("configured")),
            tools=frozenset(facts.lines("tools")),
            managers={name: _managers(facts, name, links) for name in (port, *extra_ports)},
            own_address=_own_address(facts.values.get("connection", "")),
            answering=frozenset(facts.lines("answering")),
            libvirt_answers=facts.values.get("libvirt") == "yes",
            extra_ports=tuple(extra_ports),
            domains=dict(line.split(" ", 1) for line in facts.lines("domains")),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(
            "understand what the host says about its network",
            f"{type(error).__name__}: {error}",
            "look whether `ip -j -d link show` works on the host (iproute2 of Debian 12 or newer)",
        ) from error


def parse_status(text: str) -> Pending:
    """Turn the output of `network-transaction.sh status` into a Pending.

    Raises:
        LabError: it is something else.
    """
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {"log": [], "note": []}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key in lists:
            lists[key].append(value)
        else:
            values[key] = value
    left = values.get("left", "")
    if not re.fullmatch(r"-?[0-9]+", left):
        raise LabError(
            "understand where the change of the host's network stands",
            text,
            "look at /var/lib/kvm-lab/network on the host",
        )
    known = {key: values.get(key, "") for key in ("id", "stack", "verdict", "phase", "since", "reason")}
    return Pending(
        **known,
        left=int(left),
        unrestored="unrestored" in values,
        log=tuple(lists["log"]),
        notes=tuple(lists["note"]),
    )


def parse_ifquery(text: str) -> FileAddresses:
    """Return what `ifquery eth0` says about addresses; of several stanzas, one after the other."""
    stanzas: list[tuple[str, str]] = []
    gateways: list[str] = []
    metrics: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        if key == "address":
            stanzas.append((value, ""))
        elif key == "netmask" and stanzas:
            stanzas[-1] = (stanzas[-1][0], value)
        elif key == "gateway":
            gateways.append(value)
        elif key == "metric" and gateways and value.isdigit():
            metrics[gateways[-1]] = int(value)
    return FileAddresses(tuple(_with_prefix(*stanza) for stanza in stanzas), tuple(gateways), metrics)


def without_bridge(network: HostNetwork, bridge: str, port: str) -> HostNetwork:
    """Return the network as it will be once `bridge` is gone and `port` has its addresses again."""

    def holder(device: str) -> str:
        return port if device == bridge else device

    links = {
        name: replace(link, master=None) if link.master == bridge else link
        for name, link in network.links.items()
        if name != bridge
    }
    return replace(
        network,
        links=links,
        addresses=tuple(replace(a, device=holder(a.device)) for a in network.addresses),
        default_routes=tuple(replace(r, device=holder(r.device)) for r in network.default_routes),
        in_files={name: FileAddresses() if name == bridge else a for name, a in network.in_files.items()},
        configured=frozenset(map(holder, network.configured)),
    )


def without_port(
    network: HostNetwork, bridge: str, port: str, moved: Iterable[str], *, leases: bool
) -> HostNetwork:
    """Return the network as it will be once `port` has left `bridge`, which stays, with what came from it.

    Args:
        network: the host now.
        bridge: the bridge.
        port: its port.
        moved: the addresses and gateways that are the port's again.
        leases: whether the port asks for addresses again: what the bridge has learned goes along.
    """
    bare = set(map(bare_address, moved))

    def holder(device: str, address: str, *, learned: bool) -> str:
        return port if device == bridge and (address in bare or (leases and learned)) else device

    def rest(texts: Iterable[str]) -> tuple[str, ...]:
        return tuple(text for text in texts if bare_address(text) not in bare)

    links, in_files = dict(network.links), dict(network.in_files)
    if port in links and links[port].master == bridge:
        links[port] = replace(links[port], master=None)
    if bridge in in_files:
        told = in_files[bridge]
        in_files[bridge] = replace(told, addresses=rest(told.addresses), gateways=rest(told.gateways))
    return replace(
        network,
        links=links,
        addresses=tuple(
            replace(a, device=holder(a.device, a.bare, learned=not a.lasting)) for a in network.addresses
        ),
        default_routes=tuple(
            replace(r, device=holder(r.device, bare_address(r.gateway), learned=r.learned))
            for r in network.default_routes
        ),
        in_files=in_files,
    )


def bare_address(text: str) -> str:
    """Return an address without prefix as the kernel prints it; other text as it is."""
    bare = text.strip().partition("/")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare


def _with_prefix(address: str, netmask: str) -> str:
    text = address if "/" in address or not netmask else f"{address}/{netmask}"
    try:
        return str(ipaddress.ip_interface(text))
    except ValueError:
        return text


def _link(entry: Mapping[str, Any]) -> Link:
    info = entry.get("linkinfo", {})
    data = info.get("info_data", {}) if info.get("info_kind") == "bridge" else {}
    delay = data.get("forward_delay")
    return Link(
        name=entry["ifname"],
        kind=info.get("info_kind", ""),
        hw_address=entry.get("address", ""),
        up="UP" in entry.get("flags", []),
        master=entry.get("master"),
        below=entry.get("link"),
        stp=bool(data["stp_state"]) if "stp_state" in data else None,
        forward_delay=None if delay is None else delay / _HUNDREDTHS,
        port_state=info.get("info_slave_data", {}).get("state", ""),
    )


def _addresses(entries: Iterable[Mapping[str, Any]]) -> Iterable[Address]:
    for entry in entries:
        for info in entry.get("addr_info", []):
            if "local" not in info:
                continue
            yield Address(
                device=entry["ifname"],
                text=f"{info['local']}/{info['prefixlen']}",
                scope=info.get("scope", ""),
                lasting=info.get("valid_life_time", FOREVER) == FOREVER and not info.get("dynamic", False),
            )


def _default_routes(family: str, entries: Iterable[Mapping[str, Any]]) -> Iterable[DefaultRoute]:
    for entry in entries:
        if entry.get("dst") == "default" and "gateway" in entry:
            learned = entry.get("protocol") in {"ra", "dhcp"}
            yield DefaultRoute(family, entry["dev"], entry["gateway"], learned, entry.get("metric", 0))


def _own_address(connection: str) -> str:
    words = connection.split()
    return words[2].removeprefix("::ffff:").partition("%")[0] if len(words) > 2 else ""  # noqa: PLR2004 - sshd(8)


def _managers(facts: Facts, port: str, links: Mapping[str, Link]) -> dict[str, str]:
    found = {}
    for line in facts.lines("networkmanager"):
        device, _, state = line.replace("\\:", "\0").partition(":")
        if device == port and state != "unmanaged":
            found["NetworkManager"] = f"`nmcli device` says {state}"
    for line in facts.lines("networkd"):
        words = line.split()
        if port in words[:2] and words[-1] != "unmanaged":
            found["systemd-networkd"] = f"`networkctl` says {words[-1]}"
    for path, data in facts.files.get("network", {}).items():
        if _network_file_matches(data.decode(errors="replace"), port):
            found["systemd-networkd"] = f"it is enabled, and {path} matches"
    hw_address = links[port].hw_address if port in links else ""
    for path, data in facts.files.get("netplan", {}).items():
        if _netplan_names(data.decode(errors="replace"), port, hw_address):
            found["netplan"] = f"{path} names it"
    return found


def _network_file_matches(text: str, port: str) -> bool:
    """Tell whether a systemd.network(5) file matches by name; without a name it may match anything."""
    section, names = "", []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif section == "[Match]" and line.partition("=")[0].strip() == "Name":
            names += line.partition("=")[2].split()
    return any(fnmatch.fnmatchcase(port, name) for name in names)


def _netplan_names(text: str, port: str, hw_address: str) -> bool:
    """Tell whether a netplan file has the port as a key, among others, or by its hardware address."""
    bare = "\n".join(line.partition("#")[0] for line in text.splitlines())
    words = {word.strip("\"'") for word in re.split(r"[\s,\[\]{}]+|:(?=\s|$)", bare)}
    globs = [word for word in words if any(c in word for c in "*?")]
    return (
        port in words
        or (hw_address != "" and hw_address.lower() in {word.lower() for word in words})
        or any(fnmatch.fnmatchcase(port, glob) for glob in globs)
    )
