"""What libvirt knows on a student's host, and what was put away of it, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Description(_Model):
    """A snapshot or checkpoint of a domain, as libvirt describes it."""

    kind: str
    """"snapshot" or "checkpoint"."""
    name: str
    xml: str
    current: bool = False


class Thing(_Model):
    """A domain, pool or network, as libvirt knows it."""

    name: str
    xml: str
    """What it is when it does not run."""
    active: bool
    autostart: bool

    @property
    def uuid(self) -> str:
        """Its identity, whatever its name."""
        return (self._root.findtext("uuid") or "").strip()

    @property
    def _root(self) -> ElementTree.Element:
        return ElementTree.fromstring(self.xml)  # noqa: S314 - libvirt's own words, from a pinned host


class Domain(Thing):
    """A guest."""

    descriptions: tuple[Description, ...] = ()
    """Its snapshots and checkpoints, each after the one it is made from."""

    @property
    def disks(self) -> tuple[str, ...]:
        """The files and devices that are its disks, without those below them."""
        return self._sources("file") + self._sources("dev")

    @property
    def volumes_of(self) -> tuple[str, ...]:
        """The pools that it names disks by."""
        return self._sources("pool")

    @property
    def nvram(self) -> str | None:
        """The file with its firmware's variables."""
        return self._root.findtext("os/nvram") or None

    @property
    def has_tpm(self) -> bool:
        """It has a security chip, whose state libvirt keeps."""
        return self._root.find("devices/tpm/backend[@type='emulator']") is not None

    def _sources(self, attribute: str) -> tuple[str, ...]:
        disks = self._root.iterfind("devices/disk")
        found = (source.get(attribute) for disk in disks for source in disk.findall("source"))
        return tuple(value for value in found if value)


class Pool(Thing):
    """A storage pool."""

    @property
    def path(self) -> str:
        """The folder its volumes are in; empty for one that has none."""
        return (self._root.findtext("target/path") or "").rstrip("/")

    @property
    def is_folder(self) -> bool:
        """Its volumes are the files of a folder."""
        return self._root.get("type") == "dir"


class Network(Thing):
    """A network of libvirt's."""


class Names(_Model):
    """What was there before the student's environment."""

    domains: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


class Account(_Model):
    """What was changed of an account."""

    made: bool
    groups: tuple[str, ...] = ()
    """The groups it was put into."""
    had_keys_file: bool = False
    had_ssh_folder: bool = False


class Asked(_Model):
    """What was last asked for, and done, of the account on a student's host."""

    user: str
    groups: tuple[str, ...]
    sudo: bool


class Facts(_Model):
    """What is to be known of a student's host, besides what was put away; the facts of its record."""

    since: int
    """When the environment was made, by the host's clock, in seconds since 1970."""
    generation: int
    """What is on the host now."""
    found: Names
    asked: Asked
    accounts: dict[str, Account] = {}


class Kept(_Model):
    """What was put away of one generation. Written before anything is touched; gone when all is back."""

    generation: int
    domains: tuple[Domain, ...] = ()
    pools: tuple[Pool, ...] = ()
    networks: tuple[Network, ...] = ()
    moves: dict[str, tuple[str, ...]] = {}
    """By folder: the names of the files that were moved from it."""

    @property
    def is_empty(self) -> bool:
        """There is nothing to put away."""
        return not (self.domains or self.pools or self.networks)

    def things(self) -> dict[tuple[str, str], Thing]:
        """Return all but the files, by kind and name."""
        kinds: tuple[tuple[str, tuple[Thing, ...]], ...] = (
            ("network", self.networks),
            ("storage pool", self.pools),
            ("domain", self.domains),
        )
        return {(kind, thing.name): thing for kind, things in kinds for thing in things}


@dataclass(frozen=True)
class File:
    """A file, not a folder, in the folder of a pool."""

    name: str
    born: int
    """In seconds since 1970; 0 where the file system does not tell."""


@dataclass(frozen=True)
class Seen:
    """What libvirt knows on the host now, and what is in the folders of its pools."""

    domains: tuple[Domain, ...] = ()
    pools: tuple[Pool, ...] = ()
    networks: tuple[Network, ...] = ()
    files: Mapping[str, tuple[File, ...]] = field(default_factory=dict)
    """By folder, as the pools name them."""
    real_paths: Mapping[str, str] = field(default_factory=dict)
    """The same folders with no symbolic link in their paths; without those that do not exist."""
