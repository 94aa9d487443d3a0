"""What a picture of a lab shows: hosts, bridges and guests as the state has them, with a look; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lab.views import MISSING, OFF, RUNNING, UNKNOWN
from review.model import GuestFacts, HostFacts, Inventory

Kind = Literal["runs", "off", "silent", "wrong", "unknown"]
Seen = Mapping[str, Any]
"""A part of what lab.sightings.document returns."""
FORWARDING = "forwarding"
_GENERATION = re.compile(r"-g([0-9]+)$")
_ERRNO = re.compile(r"^\[Errno -?[0-9]+\] ")


@dataclass(frozen=True)
class Sign:
    """How something is: by a symbol, and in words. `odd`: somebody should look at it."""

    kind: Kind
    words: str
    odd: bool = False


@dataclass(frozen=True)
class Card:
    """A network card of the host that is, or should be, a port of the bridge.

    `heard` counts the machines heard behind it; None: it was not looked at.
    """

    name: str
    state: str | None = None
    heard: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plug:
    """What hangs on the bridge: a guest of the stack, or what else is behind one of its ports.

    Args:
        name: the guest's, or the domain's.
        sign: how it is.
        guest: whether it is a guest of the stack, on this host.
        port: the bridge's port; None: none is known.
        address: its IPv4 address; "" where none is known.
        student: whose it is, as "g1 s2".
        disk: the generation of the disk in use.
        kept: generations of disks that are kept.
        notes: what somebody should look at.
    """

    name: str
    sign: Sign
    guest: bool = False
    port: str | None = None
    address: str = ""
    student: str | None = None
    disk: int | None = None
    kept: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostFigure:
    """A host with its bridge and all that hangs on it.

    `looked` tells whether it was read; `notes` are what somebody should look at; `forward_delay` is in
    seconds, and is the state's, as are the bridge's addresses.
    """

    name: str
    address: str
    sign: Sign
    looked: bool
    bridge: str | None
    addresses: tuple[str, ...] = ()
    stp: bool | None = None
    forward_delay: int | None = None
    student: str | None = None
    notes: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    plugs: tuple[Plug, ...] = ()


def figures(inventory: Inventory, live: Seen | None) -> tuple[HostFigure, ...]:
    """Return a figure of every host that the state or the look knows, the state's first, in its order.

    Args:
        inventory: the stack as its state has it.
        live: what lab.sightings.document returns; None: nobody looked.
    """
    facts = {host.name: host for host in inventory.hosts}
    seen = {host["name"]: host for host in live["hosts"]} if live else {}
    asked: Sequence[Seen] = live["guests"] if live else ()
    guests = {name: [guest for guest in asked if guest["host"] == name] for name in {*facts, *seen}}
    return tuple(
        _host(_Host(name, facts.get(name), seen.get(name), guests[name], nobody_looked=live is None))
        for name in dict.fromkeys([*facts, *seen])
    )


@dataclass(frozen=True)
class _Host:
    """What is known of a host: by the state, by the look, and of its guests by the look."""

    name: str
    facts: HostFacts | None
    seen: Seen | None
    asked: Sequence[Seen]
    nobody_looked: bool

    @property
    def read(self) -> Seen | None:
        return None if self.seen is None or self.seen["error"] is not None else self.seen

    @property
    def ports(self) -> Sequence[Seen]:
        return self.read["ports"] if self.read else ()


def _host(host: _Host) -> HostFigure:
    facts, read = host.facts, host.read
    bridge: Seen = (read and read["bridge"]) or {}
    known = host.seen or {}
    whose = student_of(known.get("environment"), known) or (_as_student(facts.student) if facts else None)
    return HostFigure(
        host.name,
        (facts and facts.address) or known.get("address", ""),
        _sign_of_host(host),
        read is not None,
        bridge.get("name") or (facts and facts.bridge) or None,
        facts.addresses if facts else (),
        bridge.get("stp", facts.stp if facts and facts.bridge else None),
        facts.forward_delay if facts and facts.bridge else None,
        whose,
        tuple(_notes_of_host(host, bridge)),
        tuple(_cards(host)),
        tuple(_plugs(host)),
    )


def _sign_of_host(host: _Host) -> Sign:
    if host.nobody_looked:
        return Sign("unknown", "not looked at")
    if host.seen is None:
        return Sign("unknown", "no longer in the stack file, not looked at", odd=True)
    if host.read is None:
        return Sign("wrong", f"not read: {one_line(host.seen['error'])}", odd=True)
    return Sign("runs", "read")


def _notes_of_host(host: _Host, bridge: Seen) -> Iterable[str]:
    if host.read is None:
        return
    if not bridge:
        yield f"it has no bridge {host.facts.bridge if host.facts else ''}".rstrip()
    elif host.facts and host.facts.bridge and bridge["stp"] != host.facts.stp:
        yield f"STP is {on_or_off(bridge['stp'])}, the state has it {on_or_off(host.facts.stp)}"
    if host.read["libvirt_error"]:
        yield f"its domains are not known: {one_line(host.read['libvirt_error'])}"


def _cards(host: _Host) -> Iterable[Card]:
    uplinks = {port["name"]: port for port in host.ports if port["role"] == "uplink"}
    bridge: Seen = (host.read and host.read["bridge"]) or {}
    named = (host.facts.port, *host.facts.extra_ports) if host.facts else ()
    for name in filter(None, dict.fromkeys([*named, *uplinks, *bridge.get("missing_ports", ())])):
        if name in uplinks:
            port = uplinks[name]
            yield Card(name, port["state"], len(port["macs"]), tuple(_notes_of_port(port)))
        elif bridge:
            yield Card(name, notes=(f"{name} is no port of {bridge['name']}",))
        else:
            yield Card(name)


def _plugs(host: _Host) -> Iterable[Plug]:
    ports = {port["name"]: port for port in host.ports}
    facts = {guest.name: guest for guest in (host.facts.guests if host.facts else ())}
    asked = {guest["name"]: guest for guest in host.asked}
    told = set()
    for name in dict.fromkeys([*facts, *asked]):
        guest = _guest(host, name, facts.get(name), asked.get(name), ports)
        told.add(guest.port)
        yield guest
    for name, port in ports.items():
        if port["role"] != "uplink" and name not in told:
            yield _other(port)


def _guest(
    host: _Host, name: str, facts: GuestFacts | None, asked: Seen | None, ports: Mapping[str, Seen]
) -> Plug:
    seen: Seen = asked or {}
    here = seen.get("seen_on") == host.name
    disks = [int(found[1]) for found in map(_GENERATION.search, facts.disks if facts else ()) if found]
    return Plug(
        name,
        _sign_of_guest(host, asked),
        guest=True,
        port=seen.get("port") if here else None,
        address=(facts and facts.address) or seen.get("address", ""),
        student=student_of(seen.get("environment"), seen) or (_as_student(facts.student) if facts else None),
        disk=disks[0] if disks else None,
        kept=tuple(disks[1:]),
        notes=tuple(_notes_of_guest(host, facts, asked, ports)),
    )


def _sign_of_guest(host: _Host, asked: Seen | None) -> Sign:
    """Return how a guest is: running is one that answers, or that nobody asked and whose domain runs."""
    if asked is None or host.read is None:
        return Sign("unknown", "not looked at" if host.nobody_looked else "not asked")
    state, ssh = asked["state"], asked["ssh"]
    if ssh == "another":
        return Sign("wrong", "another machine answers", odd=True)
    if state == MISSING:
        return Sign("wrong", MISSING, odd=True)
    if ssh == "answers":
        return Sign("runs", "running" if state in {*RUNNING, UNKNOWN} else f"answers, {state}")
    if state in {*RUNNING, UNKNOWN}:
        return (
            Sign("silent", "silent", odd=True) if ssh == "silent" else Sign("unknown", "not asked", odd=True)
        )
    return Sign("off", "off" if state == OFF[0] else state, odd=True)


def _notes_of_guest(
    host: _Host, facts: GuestFacts | None, asked: Seen | None, ports: Mapping[str, Seen]
) -> Iterable[str]:
    if asked is None:
        if host.seen is not None:
            yield "no longer in the stack file"
        return
    if facts is None and host.facts is not None:
        yield "not in the state"
    if asked["seen_on"] not in {None, host.name}:
        yield f"it is on {asked['seen_on']}"
    elif asked["port"] and not asked["on_bridge"]:
        yield f"its {asked['port']} is no port of the bridge"
    if asked["ssh"] == "another" and asked["reason"]:
        yield f"{asked['address']} {asked['reason']}"
    if asked["seen_on"] == host.name and asked["port"] in ports:
        yield from _notes_of_port(ports[asked["port"]])


def _other(port: Seen) -> Plug:
    """Return what is behind a port that is none of this host's guests'."""
    notes = tuple(_notes_of_port(port))
    if port["role"] == "guest":
        sign = Sign("wrong", "of another host in the stack file", odd=True)
        return Plug(port["guest"], sign, port=port["name"], notes=notes)
    if port["role"] == "domain":
        return Plug(port["domain"], Sign("unknown", "not of this stack"), port=port["name"], notes=notes)
    sign = Sign("wrong", "not in the stack file, no domain's", odd=True)
    return Plug("unknown machine", sign, port=port["name"], notes=notes)


def _notes_of_port(port: Seen) -> Iterable[str]:
    if port["state"] != FORWARDING:
        yield f"{port['name']} is {port['state'] or 'in no known state'}"
    for mac in port["macs"]:
        if mac["odd"]:
            whose = f" of {mac['owner']}" if mac["owner"] else ""
            heard = "static" if mac["age"] is None else f"heard {mac['age']} s before"
            word = "stranger" if mac["kind"] == "stranger" else f"the {mac['kind']}'s address"
            yield f"{word} {mac['mac']}{whose} behind {port['name']}, {heard}"


def student_of(environment: str | None, seat: Seen) -> str | None:
    """Return whose it is, as "g1 s2"; None: nobody's."""
    return None if environment is None else f"g{seat['group']} s{seat['student']}"


def _as_student(environment: str | None) -> str | None:
    """Return "g1 s2" of the environment "g1s2"; any other name as it is."""
    return environment and re.sub(r"^(g[0-9]+)(s[0-9]+)$", r"\1 \2", environment)


def one_line(text: str) -> str:
    """Return the first line of an error, without its number."""
    lines = text.strip().splitlines() or [""]
    return _ERRNO.sub("", lines[0]).removeprefix("error: ")


def on_or_off(switch: bool | None) -> str:
    """Return how a switch is, in words."""
    return "unknown" if switch is None else "on" if switch else "off"
