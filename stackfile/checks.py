"""What one value of a stack file must be to another: uniqueness, references, the lab's rules.

`whole_stack` reads the file as it is written and skips what is wrong by itself, so that its mistakes are
found beside those of single values and not only after those are mended.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import NamedTuple, TypeVar

from policies.rules import desktop, migration
from policies.rules.verdict import UNKNOWN, Violation

from . import values
from .mistakes import HIDDEN, Location, Mistake, child, near, where
from .sshkeys import SSH_PORT

HOST_KEYS = "exactly one of host_keys and known_hosts (a host's key is never ignored)"
CHECKSUMS = ("sha256", "sha512", "checksum_file")
Parsed = TypeVar("Parsed")


class Found(NamedTuple):
    """A mistake before it is put in words; what was seen stands at `other` too."""

    location: Location
    expected: str
    seen: str
    other: Location | None = None


@dataclass(frozen=True)
class Written:
    """A mapping of the file, with its location."""

    location: Location
    options: Mapping[str, object]

    def read(self, option: str, reader: Callable[[object], Parsed]) -> Iterator[tuple[Location, Parsed]]:
        """Yield the option's location and value; nothing when it is missing or wrong by itself."""
        try:
            yield (*self.location, option), reader(self.options[option])
        except (KeyError, ValueError):
            return

    def list(self, option: str) -> builtins.list[Written]:
        """Return the mappings in the list called `option`."""
        value = self.options.get(option)
        return [
            Written((*self.location, option, index), element)
            for index, element in enumerate(value if isinstance(value, list | tuple) else ())
            if isinstance(element, Mapping)
        ]


def each_once(elements: tuple[Parsed, ...]) -> tuple[Parsed, ...]:
    """Return `elements` when none of them stands twice.

    Raises:
        ValueError: one does.
    """
    twice = [element for index, element in enumerate(elements) if element in elements[:index]]
    if twice:
        raise ValueError(f"each once ({twice[0]} stands twice)")
    return elements


def gateway_of(interface: values.IPInterface, gateway: values.IPAddress) -> None:
    """Check that a guest with the address `interface` can reach `gateway`.

    Raises:
        ValueError: it cannot.
    """
    network = interface.network
    if gateway.version == interface.version and isinstance(gateway, IPv6Address) and gateway.is_link_local:
        return  # it is on every network; routers announce themselves by such an address
    if gateway not in network:
        raise ValueError(f"a gateway inside the guest's network {network}")
    if gateway == interface.ip:
        raise ValueError("another address than the guest's own")
    values.guest_interface(f"{gateway}/{network.prefixlen}")


def whole_stack(
    written: Mapping[str, object],
    hidden: Collection[str],
    mac_of: Callable[[str], str],
    place: Callable[[Location], str] = lambda location: where(location, {}),
) -> list[tuple[Location, Mistake]]:
    """Return the mistakes between values of the stack file `written`, with their locations.

    `hidden` are its secret options; `mac_of` gives the MAC address of the guest with a name, `place` the
    words for another location that a mistake is about.
    """
    top = Written((), written)
    hosts = top.list("hosts")
    guests = [guest for host in hosts for guest in host.list("guests")]
    found = [
        *_twice(_all(top.list("images"), "name", values.host_label), "an image name"),
        *_twice(_all(top.list("templates"), "name", values.host_label), "a template name"),
        *_twice(_all(hosts, "name", values.host_label), "a host name"),
        *_twice(_servers(hosts), "an SSH server"),
        *_guests(hosts, guests, mac_of),
        *_choices(top.list("images"), hosts, guests),
        *_unknown_images(top, guests),
        *_too_much(hosts),
        *_broken_rules(hosts),
    ]
    return [in_words(mistake, written, hidden, place) for mistake in found]


def file_order(written: Mapping[str, object]) -> Callable[[tuple[Location, Mistake]], list[int]]:
    """Return a key that sorts located mistakes as their places follow one another in the file."""

    def key(found: tuple[Location, Mistake]) -> list[int]:
        here: object = written
        order = []
        for part in found[0]:
            options = list(here) if isinstance(here, Mapping) else []
            order.append(
                part if isinstance(part, int) else options.index(part) if part in options else len(options)
            )
            here = child(here, part)
        return order

    return key


def in_words(
    found: Found, written: object, hidden: Collection[str], place: Callable[[Location], str]
) -> tuple[Location, Mistake]:
    """Return a mistake with its location, in words; nothing of the options `hidden` is in them."""
    if found.location[0] in hidden:
        return found.location, Mistake(where(found.location, {}), "a lab without contradictions", HIDDEN)
    seen = found.seen if found.other is None else f"{found.seen} as in {place(found.other)}"
    return found.location, Mistake(where(found.location, written), found.expected, seen)


def _all(
    sections: Iterable[Written], option: str, reader: Callable[[object], Parsed]
) -> list[tuple[Location, Parsed]]:
    return [pair for section in sections for pair in section.read(option, reader)]


def _twice(placed: Iterable[tuple[Location, object]], what: str) -> Iterator[Found]:
    """Yield a mistake for each value that stood at an earlier place already."""
    first: dict[object, Location] = {}
    for location, value in placed:
        if value in first:
            yield Found(location, f"{what} once in the stack", str(value), first[value])
        first.setdefault(value, location)


def _servers(hosts: Iterable[Written]) -> Iterator[tuple[Location, str]]:
    read_port = values.whole(1, 65535, "")
    for host in hosts:
        for location, address in host.read("address", values.host_address):
            ports = [port for _, port in host.read("port", read_port)]
            if ports or "port" not in host.options:
                yield location, f"{address} port {ports[0] if ports else SSH_PORT}"


def _guests(hosts: list[Written], guests: list[Written], mac_of: Callable[[str], str]) -> Iterator[Found]:
    """Yield the mistakes between guests, and between guests and the addresses of others."""
    names = _all(guests, "name", values.host_label)
    yield from _twice(names, "a guest name")
    distinct = {name: location for location, name in reversed(names)}
    macs = [(location, mac_of(name)) for name, location in reversed(distinct.items())]
    yield from _twice(macs, "a name whose MAC address (derived from it) is")
    addresses = [
        (location, interface.ip) for location, interface in _all(guests, "address", values.guest_interface)
    ]
    yield from _twice(addresses, "a guest address")
    taken = {address: "the host's address" for _, address in _all(hosts, "address", values.ip)}
    taken |= {address: "the gateway" for _, address in _all(guests, "gateway", values.ip)}
    for location, address in addresses:
        if address in taken:
            yield Found(
                location, "an address that no other machine has", f"{address}, {taken[address]} in this stack"
            )


def _choices(images: list[Written], hosts: list[Written], guests: list[Written]) -> Iterator[Found]:
    """Yield a mistake for each section that has none, or more than one, of options that stand for another."""
    yield from _one_of(images, ("path", "url"), "exactly one of path (a local file) and url")
    yield from _one_of(images, CHECKSUMS, "exactly one of sha256, sha512 and checksum_file")
    yield from _one_of(hosts, ("host_keys", "known_hosts"), HOST_KEYS)
    for guest in guests:
        if not guest.options.get("ssh_keys") and not guest.options.get("ssh_key_files"):
            location = (*guest.location, "ssh_keys")
            yield Found(location, "a key here or in ssh_key_files (there is no password login)", "none")


def _one_of(sections: Iterable[Written], options: tuple[str, ...], expected: str) -> Iterator[Found]:
    for section in sections:
        given = [option for option in options if section.options.get(option) not in (None, [])]
        if len(given) != 1:
            location = (*section.location, given[-1] if given else options[0])
            yield Found(location, expected, " and ".join(given) or "none")


def _unknown_images(top: Written, guests: Iterable[Written]) -> Iterator[Found]:
    names = [name for _, name in _all(top.list("images"), "name", values.host_label)]
    known = list(dict.fromkeys(names))
    for location, name in _all(guests, "image", values.host_label):
        if name not in known:
            choice = (
                f"one of the stack's images: {', '.join(known)}" if known else "an image that the stack names"
            )
            yield Found(location, choice, name + near(name, known))


def _too_much(hosts: Iterable[Written]) -> Iterator[Found]:
    """Yield the first guest of each host that is more than the host has for its guests."""
    for host in hosts:
        guests = host.list("guests")
        yield from _beyond(host, guests, "memory_mib", "MiB of memory", lambda _guest: 1)
        yield from _beyond(host, guests, "disk_gib", "GiB of disks", _disks)


def _disks(guest: Written) -> int:
    kept = guest.options.get("kept")
    return 1 + len(kept) if isinstance(kept, list | tuple) else 1


def _beyond(
    host: Written, guests: list[Written], option: str, what: str, times: Callable[[Written], int]
) -> Iterator[Found]:
    limits = [limit for _, limit in host.read(option, values.whole(1, 2**40, ""))]
    if not limits:
        return
    total = 0
    for guest in guests:
        asked = [size for _, size in guest.read(option, values.whole(1, 2**40, ""))]
        default = [] if option in guest.options else [values.GUEST_DEFAULTS[option]]
        before, total = total, total + sum((asked or default)[:1]) * times(guest)
        if before <= limits[0] < total:
            name = host.options.get("name")
            expected = f"no more than the {limits[0]} {what} that {name} has for its guests"
            yield Found((*guest.location, "name"), expected, f"{total} with this guest")


def _broken_rules(hosts: Iterable[Written]) -> Iterator[Found]:
    """Yield what the policy pack's rules refuse; an option left out has its default."""
    for host in hosts:
        for violation in [*_bridge_violations(host), *_package_violations(host)]:
            location = (*host.location, *_parts(violation.option))
            yield Found(location, f"{violation.wanted}, because {violation.why}", violation.seen)


def _bridge_violations(host: Written) -> list[Violation]:
    bridge = host.options.get("bridge")
    if not isinstance(bridge, Mapping):
        return []
    options = Written((), {"stp": False, "forward_delay": 0, **bridge})
    migrating = [on for _, on in host.read("migration", values.switch)]
    readers: dict[str, Callable[[object], object]] = {
        "stp": values.switch,
        "forward_delay": values.whole(0, 30, ""),
    }
    known = {
        option: next((value for _, value in options.read(option, reader)), UNKNOWN)
        for option, reader in readers.items()
    }
    findings = migration.judge_bridge("", bool(migrating and migrating[0]), known, "bridge.")
    return [finding for finding in findings if isinstance(finding, Violation)]


def _package_violations(host: Written) -> list[Violation]:
    findings = desktop.judge_packages("", host.options.get("packages"))
    return [finding for finding in findings if isinstance(finding, Violation)]


def _parts(option: str) -> Location:
    """Return "packages[1]" as ("packages", 1) and "bridge.stp" as ("bridge", "stp")."""
    return tuple(
        int(part) if part.isdigit() else part for part in option.replace("[", ".").replace("]", "").split(".")
    )
