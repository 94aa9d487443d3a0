"""How virsh(1) is called, and what it prints, as values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

VIRSH = ("virsh", "--connect", "qemu:///system")
ENDED = ("shut off", "crashed")
"""States of a domain whose guest does not run and is not to be let go on."""
_VOLUME_LINE = re.compile(r"\s(.+?)\s+(/.*)")
_LIBRARY = re.compile(r"Using library: libvirt (\S+)")
_DOMAIN = re.compile(r"^<domain\b.*?^</domain>$", re.DOTALL | re.MULTILINE)
_STATS = re.compile(r"^Domain: '(.*)'$|^ *state\.state=([0-9]+)$", re.MULTILINE)
_STATES = ("no state", "running", "idle", "paused", "in shutdown", "shut off", "crashed", "pmsuspended")
"""virDomainState's numbers, in virsh's words."""


@dataclass(frozen=True)
class Pool:
    """A storage pool: its type ("dir", "logical", …) and the path its volumes are under, if any."""

    name: str
    type: str
    path: str | None


@dataclass(frozen=True)
class Card:
    """A network card of a domain; `device` is the host's end of it, such as vnet0, where it has a name."""

    mac: str
    device: str | None


@dataclass(frozen=True)
class Domain:
    """A domain; `state` is in virsh's words, such as "running" or "shut off"."""

    name: str
    state: str
    cards: tuple[Card, ...]


def parse_domains(xmls: str, stats: str) -> tuple[Domain, ...]:
    """Return the domains of a host.

    Args:
        xmls: what `virsh dumpxml` prints of each, one after the other; a domain without has no cards.
        stats: what `virsh domstats --raw --state` prints.
    """
    roots = [_root(found[0]) for found in _DOMAIN.finditer(xmls)]
    cards = {root.findtext("name", ""): tuple(_cards(root)) for root in roots}
    return tuple(Domain(name, state, cards.get(name, ())) for name, state in _parse_states(stats).items())


def parse_pool(xml: str) -> Pool:
    """Parse what `virsh pool-dumpxml` prints."""
    root = _root(xml)
    return Pool(name=root.findtext("name", ""), type=root.get("type", ""), path=root.findtext("target/path"))


def parse_disk_paths(xml: str) -> list[str]:
    """Return the files and devices that are a domain's disks, with those below them that libvirt knows.

    Args:
        xml: what `virsh dumpxml` prints. Disks named by pool and volume are not among the paths.
    """
    disks = _root(xml).iterfind("devices/disk")
    sources = [source for disk in disks for source in disk.iter("source")]
    paths = (source.get("file") or source.get("dev") for source in sources)
    return [path for path in paths if path]


def parse_volume_paths(table: str) -> list[str]:
    """Return the paths in what `virsh vol-list` prints; names may hold spaces."""
    matches = (_VOLUME_LINE.fullmatch(line.rstrip()) for line in table.splitlines())
    return [match[2] for match in matches if match]


def parse_block_sources(table: str) -> list[str]:
    """Return the files and devices in what `virsh domblklist` prints, an empty drive's "-" among them."""
    rows = (line.split(maxsplit=1) for line in table.splitlines()[2:])
    return [row[1].rstrip() for row in rows if len(row) > 1]


def parse_domain_type(xml: str) -> Literal["kvm", "qemu"]:
    """Return the fastest kind of domain the host can run: "kvm" where its hardware helps.

    Args:
        xml: what `virsh capabilities` prints. libvirt lists kvm only when /dev/kvm can be used.

    Raises:
        ValueError: the host runs no hvm guests of its own architecture at all.
    """
    root = _root(xml)
    native = root.findtext("host/cpu/arch")
    types = {
        domain.get("type")
        for guest in root.iterfind("guest")
        if guest.findtext("os_type") == "hvm"
        for arch in guest.iterfind("arch")
        if arch.get("name") == native
        for domain in arch.iterfind("domain")
    }
    if "kvm" in types:
        return "kvm"
    if "qemu" in types:
        return "qemu"
    raise ValueError(f"libvirt knows no emulator for {native} guests")


def parse_library_version(text: str) -> str:
    """Return libvirt's version, such as "9.0.0", from what `virsh version` prints.

    Raises:
        ValueError: it is not there.
    """
    if match := _LIBRARY.search(text):
        return match[1]
    raise ValueError("no line 'Using library: libvirt VERSION'")


def _parse_states(stats: str) -> dict[str, str]:
    states: dict[str, str] = {}
    name = ""
    for found in _STATS.finditer(stats):
        if found[2] is None:
            name = found[1]
        elif int(found[2]) < len(_STATES):
            states[name] = _STATES[int(found[2])]
    return states


def _cards(root: ElementTree.Element) -> Iterator[Card]:
    for interface in root.iterfind("devices/interface"):
        mac, target = interface.find("mac"), interface.find("target")
        if mac is not None:
            yield Card(mac.get("address", "").lower(), target.get("dev") if target is not None else None)


def _root(xml: str) -> ElementTree.Element:
    return ElementTree.fromstring(xml)  # noqa: S314 - libvirt's own words, from a host with a pinned key
