"""What libvirt knows on a student's host, asked over SSH."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from providers import records
from providers.base_pool import VIRSH
from providers.state.student import Description, Domain, Facts, File, Names, Network, Pool, Seen
from providers.transport import Session

KIND = "student-host"
SLOW = 300.0
"""Seconds that what depends on the host's disks may take."""
_FILES = """path=$(realpath -e -- "$1") || exit 0
printf '%s\\0' "$path"
find -H "$path" -mindepth 1 -maxdepth 1 ! -type d -exec stat --printf '%W %n\\0' -- {} +"""


@dataclass(frozen=True)
class Place:
    """A host, and who tells what is done on it."""

    session: Session
    facts: Facts
    pool: str
    """The stack's own pool there."""
    say: Callable[[str], None]

    @property
    def folder(self) -> str:
        """Where it is written down what was put away."""
        return f"{records.FOLDER}/{KIND}/{self.facts.since}"

    def manifest(self, generation: int) -> str:
        """Return the file with what was put away of a generation."""
        return f"{self.folder}/g{generation}.json"

    def virsh(self, *arguments: str, check: bool = True, xml: str | None = None) -> str:
        """Return what virsh prints; `xml` is given to it as its last argument, a file."""
        if xml is None:
            return self.session.run([*VIRSH, *arguments], check=check, timeout=SLOW).stdout
        # a pipe: a socket, as sshd's stdin may be, cannot be opened by its name
        argv = ["sh", "-c", 'cat | "$@" /dev/stdin', "virsh", *VIRSH, *arguments]
        return self.session.run(argv, stdin=xml.encode(), timeout=SLOW).stdout

    def names(self, *arguments: str) -> list[str]:
        """Return the lines that virsh prints."""
        return [line.strip() for line in self.virsh(*arguments).splitlines() if line.strip()]


def found_names(place: Place) -> Names:
    """Return the names of all that is there."""
    return Names(
        domains=tuple(place.names("list", "--all", "--name")),
        pools=tuple(place.names("pool-list", "--all", "--name")),
        networks=tuple(place.names("net-list", "--all", "--name")),
    )


def look(place: Place) -> Seen:
    """Return what is there, without snapshots."""
    pools = [Pool.model_validate(values) for values in _things(place, "pool-list", "pool-dumpxml")]
    domains = [Domain.model_validate(values) for values in _domains(place)]
    networks = [Network.model_validate(values) for values in _things(place, "net-list", "net-dumpxml")]
    folders = {pool.path: _files(place, pool.path) for pool in pools if pool.is_folder and pool.path}
    return Seen(
        domains=tuple(domains),
        pools=tuple(pools),
        networks=tuple(networks),
        files={folder: files for folder, (_, files) in folders.items()},
        real_paths={folder: real for folder, (real, _) in folders.items() if real},
    )


def described(place: Place, domain: Domain) -> Domain:
    """Return the domain with its snapshots and checkpoints."""
    found = []
    for kind in ("snapshot", "checkpoint"):
        names = place.names(f"{kind}-list", domain.uuid, "--name", "--topological")
        current = place.virsh("snapshot-current", domain.uuid, "--name", check=False).strip() if names else ""
        for name in names:
            xml = place.virsh(f"{kind}-dumpxml", domain.uuid, name, "--security-info")
            found.append(
                Description(kind=kind, name=name, xml=xml, current=kind == "snapshot" and name == current)
            )
    return domain.model_copy(update={"descriptions": tuple(found)})


def _domains(place: Place) -> list[dict[str, object]]:
    active = set(place.names("list", "--uuid"))
    autostart = set(place.names("list", "--all", "--autostart", "--uuid"))
    found: list[dict[str, object]] = []
    for uuid in place.names("list", "--all", "--uuid"):
        xml = place.virsh("dumpxml", uuid, "--inactive", "--security-info", check=False)
        if xml:  # else it was undefined meanwhile
            name = place.virsh("domname", uuid).strip()
            flags = {"active": uuid in active, "autostart": uuid in autostart}
            found.append({"name": name, "xml": xml, **flags})
    return found


def _things(place: Place, listing: str, dump: str) -> list[dict[str, object]]:
    active = set(place.names(listing, "--name"))
    autostart = set(place.names(listing, "--all", "--name", "--autostart"))
    found: list[dict[str, object]] = []
    for name in place.names(listing, "--all", "--name"):
        xml = place.virsh(dump, name, "--inactive")
        found.append({"name": name, "xml": xml, "active": name in active, "autostart": name in autostart})
    return found


def _files(place: Place, folder: str) -> tuple[str, tuple[File, ...]]:
    """Return the folder's real path, empty if it is not there, and the files in it."""
    said = place.session.run(["sh", "-c", _FILES, "files", folder], timeout=SLOW).stdout
    real, _, rest = said.partition("\0")
    entries = (entry.split(" ", 1) for entry in rest.split("\0") if entry)
    files = [File(name=path.removeprefix(f"{real}/"), born=int(born)) for born, path in entries]
    return real, tuple(sorted(files, key=lambda file: file.name))
