"""What becomes of each host, bridge, port and guest: one mark, with a word and a sign for it; pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from review.model import Effect, GuestFacts, HostFacts, Inventory, Verdict
from review.text import natural


class Mark(enum.Enum):
    """What becomes of a part; the value is what people read beside it."""

    SAME = ""
    NEW = "+ new"
    CHANGED = "~ changed"
    INTERRUPTED = "! interrupted"
    GONE = "- gone"
    DESTROYED = "✖ data destroyed"
    NETWORK = "✖ network changed"


BY_VERDICT = {
    Verdict.SAFE: Mark.CHANGED,
    Verdict.INTERRUPTS: Mark.INTERRUPTED,
    Verdict.DESTROYS: Mark.DESTROYED,
    Verdict.NETWORK: Mark.NETWORK,
}


@dataclass(frozen=True)
class GuestMark:
    """A guest on a host; `note` is where it comes from or goes to."""

    facts: GuestFacts
    mark: Mark
    note: str = ""


@dataclass(frozen=True)
class HostMark:
    """A host with its bridge, its ports and its guests; `mark` is the host's own."""

    facts: HostFacts
    mark: Mark
    bridge: Mark
    ports: tuple[tuple[str, Mark], ...]
    guests: tuple[GuestMark, ...]

    @property
    def changed(self) -> bool:
        """Tell whether anything on it is other than before."""
        marks = {self.mark, self.bridge, *(mark for _, mark in self.ports), *(g.mark for g in self.guests)}
        return marks != {Mark.SAME}


def marks(
    before: Inventory | None, after: Inventory | None, effects: Iterable[Effect]
) -> tuple[HostMark, ...]:
    """Return every host of before and after, in the order of their names.

    A guest that moves is on both hosts: gone on the one, with what happens to it on the other. Where only
    one inventory is given, nothing is new and nothing gone.
    """
    old, new = before or after, after or before
    sides = _Sides(old, new, effects)
    names = sorted({*sides.old, *sides.new}, key=natural)
    return tuple(sides.host(name) for name in names)


class _Sides:
    """Before and after by name, and the heaviest verdict by whom it is about."""

    def __init__(self, old: Inventory | None, new: Inventory | None, effects: Iterable[Effect]) -> None:
        self.old = {host.name: host for host in (old.hosts if old else ())}
        self.new = {host.name: host for host in (new.hosts if new else ())}
        self.was = _places(self.old)
        self.will = _places(self.new)
        self.of_guest: dict[str, Verdict] = {}
        self.of_host: dict[str, Verdict] = {}
        for effect in effects:
            found, name = (self.of_guest, effect.guest) if effect.guest else (self.of_host, effect.host)
            if name:
                found[name] = max(effect.verdict, found.get(name, Verdict.NOTHING))

    def host(self, name: str) -> HostMark:
        old, new = self.old.get(name), self.new.get(name)
        facts = self.new.get(name) or self.old[name]
        verdict = self.of_host.get(name, Verdict.NOTHING)
        network = verdict is Verdict.NETWORK
        own = _mark(old is not None, new is not None, Verdict.SAFE if network else verdict)
        bridge = Mark.NETWORK if network else _bridge(old, new, own)
        return HostMark(facts, own, bridge, tuple(_ports(old, new)), tuple(self._guests(old, new)))

    def _guests(self, old: HostFacts | None, new: HostFacts | None) -> Iterable[GuestMark]:
        left = {guest.name: guest for guest in (old.guests if old else ())}
        here = {guest.name: guest for guest in (new.guests if new else ())}
        for name in sorted({*left, *here}, key=natural):
            if name in here:
                yield self._stays(here[name], name in left)
            elif name in self.will:
                yield GuestMark(left[name], Mark.GONE, f"moves to {self.will[name]}")
            else:
                mark = _mark(True, False, self.of_guest.get(name, Verdict.NOTHING))
                yield GuestMark(left[name], mark, "" if mark is Mark.GONE else "goes")

    def _stays(self, guest: GuestFacts, was_here: bool) -> GuestMark:
        verdict = self.of_guest.get(guest.name, Verdict.NOTHING)
        mark = _mark(guest.name in self.was, True, verdict)
        moved = not was_here and guest.name in self.was
        return GuestMark(guest, mark, f"moved from {self.was[guest.name]}" if moved else "")


def _places(hosts: Mapping[str, HostFacts]) -> dict[str, str]:
    return {guest.name: host.name for host in hosts.values() for guest in host.guests}


def _mark(was: bool, will_be: bool, verdict: Verdict) -> Mark:
    if verdict.red:
        return BY_VERDICT[verdict]
    if was and will_be:
        return BY_VERDICT.get(verdict, Mark.SAME)
    return Mark.NEW if will_be else Mark.GONE


def _bridge(old: HostFacts | None, new: HostFacts | None, host: Mark) -> Mark:
    if old is None or new is None:
        return host
    return Mark.SAME if _options(old) == _options(new) else Mark.CHANGED


def _options(host: HostFacts) -> tuple[object, ...]:
    return host.bridge, host.stp, host.forward_delay


def _ports(old: HostFacts | None, new: HostFacts | None) -> Iterable[tuple[str, Mark]]:
    left, here = ([host.port, *host.extra_ports] if host else [] for host in (old, new))
    for port in dict.fromkeys([*here, *left]):
        if port:
            yield port, _mark(port in left, port in here, Verdict.NOTHING)
