"""What virsh(1) prints, as values. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

_VOLUME_LINE = re.compile(r"\s(.+?)\s+(/.*)")
_LIBRARY = re.compile(r"Using library: libvirt (\S+)")


@dataclass(frozen=True)
class Pool:
    """A storage pool: its type ("dir", "logical", …) and the path its volumes are under, if any."""

    name: str
    type: str
    path: str | None


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


def _root(xml: str) -> ElementTree.Element:
    return ElementTree.fromstring(xml)  # noqa: S314 - libvirt's own words, from a host with a pinned key
