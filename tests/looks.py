"""Labs for tests of the topology page: an inventory, and what a look at its hosts tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lab.sightings import document
from lab.views import GuestView, HostView, MacView, PortView, Seat
from providers.errors import LabError
from review.model import GuestFacts, HostFacts, Inventory

STACK = "room"
STRANGER = "02:00:00:00:00:01"
HOSTILE = "<img src=x onerror=alert(1)></script>&quot;\"'\u202e]()"
"""A name that would be HTML, an attribute's end, Markdown, and text from right to left."""
Way = Mapping[str, Any]
"""What is special about a guest; fields of GuestView."""
WAYS: Mapping[int, Way] = {
    5: {"state": "shut off", "port": None, "ssh": "silent"},
    11: {"ssh": "silent"},
    17: {"state": "missing", "seen_on": None, "port": None, "on_bridge": False, "ssh": "silent"},
    23: {"ssh": "another", "reason": "shows the host key SHA256:nobody-knows-it, not the guest's"},
}
"""Guests of the room that do not answer, by number."""


@dataclass(frozen=True)
class Sample:
    """A lab, and what was seen of its hosts."""

    inventory: Inventory
    views: tuple[HostView, ...]

    @property
    def live(self) -> dict[str, Any]:
        """Return what a look tells."""
        return document(self.views, self.inventory.stack)


def room(hosts: int, guests: int, ways: Mapping[int, Way] = WAYS) -> Sample:
    """Return a room of so many hosts with so many guests each; every fifth host is away."""
    made = [_host(number, guests, ways) for number in range(1, hosts + 1)]
    return Sample(Inventory(STACK, tuple(facts for facts, _ in made)), tuple(view for _, view in made))


def hostile() -> Sample:
    """Return a lab in which every name is HOSTILE, or as long as one may be."""
    one = room(1, 4, {})
    (facts,), (view,) = one.inventory.hosts, one.views
    first, second, third, fourth = facts.guests
    guests = (replace(first, name=HOSTILE), replace(second, name="a-very-long-name-" * 4), third, fourth)
    named = [replace(asked, name=guest.name) for guest, asked in zip(guests, view.guests, strict=True)]
    named[2] = replace(named[2], state=HOSTILE, ssh="silent")
    domain = PortView(
        "vnet9", "domain", HOSTILE, HOSTILE, None, (MacView(STRANGER, 3, "domain", HOSTILE, odd=True),)
    )
    facts = replace(facts, name=HOSTILE, bridge="br0", guests=guests, addresses=(HOSTILE,), student=HOSTILE)
    away = replace(facts, name="away", guests=())
    views = (
        replace(
            view,
            name=HOSTILE,
            silent=HOSTILE,
            ports=(*view.ports, domain),
            guests=tuple(replace(guest, host=HOSTILE, seen_on=HOSTILE) for guest in named),
        ),
        HostView("away", "192.0.2.99", "br0", error=LabError("log in", f"{HOSTILE}\nmore", "look")),
    )
    return Sample(Inventory(HOSTILE, (facts, away)), views)


def _host(number: int, guests: int, ways: Mapping[int, Way]) -> tuple[HostFacts, HostView]:
    name, address = f"pc{number:02}", f"192.0.2.{10 + number}"
    made = [_guest(name, number, index, ways) for index in range(1, guests + 1)]
    facts = HostFacts(
        *(name, address, "br0", "eth0"),
        addresses=(f"{address}/24",),
        guests=tuple(guest for guest, _ in made),
    )
    if number % 5 == 0:
        away = LabError(f"{name}: log in", "[Errno 113] No route to host", "look whether it is up")
        asked = (replace(view, state="unknown", ssh="not asked", port=None, seen_on=None) for _, view in made)
        return facts, HostView(name, address, "br0", error=away, guests=tuple(asked))
    views = tuple(view for _, view in made)
    ports = tuple(_ports(number, views))
    bridge_id = f"8000.5254000000{number:02x}"
    return facts, HostView(name, address, "br0", bridge_id=bridge_id, stp=False, ports=ports, guests=views)


def _guest(host: str, number: int, index: int, ways: Mapping[int, Way]) -> tuple[GuestFacts, GuestView]:
    name = f"g{number}s{index}"
    address, mac = f"198.51.100.{index}", f"52:54:00:00:{number:02x}:{index:02x}"
    generation = 1 + index % 3
    kept = (f"{name}-g{generation - 1}",) if generation > 1 else ()
    disks = (f"{name}-g{generation}", *kept)
    facts = GuestFacts(name, host, address, mac, f"{STACK}-{name}", 512, 1, name, disks)
    view = GuestView(
        name=name,
        seat=Seat(name, number, index),
        host=host,
        address=address,
        mac=mac,
        domain=facts.domain,
        state="running",
        seen_on=host,
        port=f"vnet{index - 1}",
        on_bridge=True,
        age=index,
        ssh="answers",
        compared=True,
        reason="",
    )
    return facts, replace(view, **ways.get(index, {}))


def _ports(number: int, guests: Iterable[GuestView]) -> Iterable[PortView]:
    yield PortView(
        "eth0", "uplink", "forwarding", None, None, (MacView(STRANGER, 4, "stranger", None, odd=False),)
    )
    for guest in guests:
        if guest.port:
            own = MacView(guest.mac, guest.age, "own", guest.name, odd=False)
            yield PortView(guest.port, "guest", "forwarding", guest.domain, guest.name, (own,))
    if number % 5 == 2:
        stranger = MacView(STRANGER, 2, "stranger", None, odd=True)
        yield PortView("veth0", "unknown", "forwarding", None, None, (stranger,))
    if number % 5 == 3:
        yield PortView("vnet90", "domain", "forwarding", "by hand", None, ())
