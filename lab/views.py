"""Hosts' bridges joined with the stack file: who is behind each port, which guest answers; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from config import Guest, Host, Lab, mac_address
from providers.errors import LabError
from providers.state.bridge_table import BridgeTable, Learned
from providers.state.virsh import Domain
from providers.transport import fingerprint

MISSING = "missing"
UNKNOWN = "unknown"
RUNNING = ("running", "idle")
OFF = ("shut off", "crashed")

Role = Literal["uplink", "guest", "domain", "unknown"]
Kind = Literal["own", "guest", "host", "domain", "stranger"]
Ssh = Literal["answers", "silent", "another", "not asked"]


@dataclass(frozen=True)
class Seat:
    """Whose guest or host it is: the environment's name, and its student by group and number."""

    environment: str
    group: int
    student: int


@dataclass(frozen=True)
class Answer:
    """What was heard at a guest's address: the SSH host key shown there, or why there is none."""

    key: str | None
    reason: str = ""


@dataclass(frozen=True)
class HostSeen:
    """What was read of a host; `answers` by guest's name, for those of its guests that were asked."""

    table: BridgeTable
    answers: Mapping[str, Answer] = field(default_factory=dict[str, Answer])


@dataclass(frozen=True)
class MacView:
    """A MAC address behind a port.

    `kind` is "own" of the guest or domain whose port it is; else it says what `owner` is. `odd` is one that
    has no business there: behind a guest all but its own, behind an uplink that of a guest of this host.
    """

    mac: str
    age: int | None
    kind: Kind
    owner: str | None
    odd: bool


@dataclass(frozen=True)
class PortView:
    """A port of a host's bridge.

    `role`: "uplink" is named in the stack file, "guest" is a guest's of the stack, "domain" another domain's,
    "unknown" what neither the stack file nor libvirt knows.
    """

    name: str
    role: Role
    state: str
    domain: str | None
    guest: str | None
    macs: tuple[MacView, ...]


@dataclass(frozen=True)
class GuestView:
    """A guest of the stack file.

    `state` is its domain's in virsh's words, "missing" where there is none, "unknown" where nobody told.
    `seen_on` and `port` are where its domain and its card are; `age` is in seconds since its last frame.
    """

    name: str
    seat: Seat | None
    host: str
    address: str
    mac: str
    domain: str
    state: str
    seen_on: str | None
    port: str | None
    on_bridge: bool
    age: int | None
    ssh: Ssh
    compared: bool
    reason: str


@dataclass(frozen=True)
class HostView:
    """A host of the stack file.

    `seat` is the student's who has the whole host; `error` is why it was not read, `silent` why its domains
    are not known.
    """

    name: str
    address: str
    bridge_name: str
    seat: Seat | None = None
    error: LabError | None = None
    silent: str | None = None
    bridge_id: str | None = None
    stp: bool | None = None
    missing_ports: tuple[str, ...] = ()
    ports: tuple[PortView, ...] = ()
    guests: tuple[GuestView, ...] = ()


def views(
    lab: Lab,
    stack: str,
    seen: Mapping[str, HostSeen | LabError],
    keys: Mapping[str, str],
) -> list[HostView]:
    """Return a view of every host, in the stack file's order.

    Args:
        lab: the stack.
        stack: its name.
        seen: what was read of each host, by name, or why it was not.
        keys: the SSH host keys that guests are known by, by name; of others only that they answer is told.
    """
    roster = _Roster(lab, stack, {name: host for name, host in seen.items() if isinstance(host, HostSeen)})
    return [_host(roster, host, seen[host.name], keys) for host in lab.hosts]


def all_answered(found: Sequence[HostView]) -> bool:
    """Tell whether every host was read and every guest answered."""
    return all(view.error is None and all(g.ssh == "answers" for g in view.guests) for view in found)


@dataclass(frozen=True)
class _Card:
    """A network card of a domain on a host; `guest` is None for a domain that is not of the stack."""

    host: str
    domain: Domain
    guest: str | None
    device: str | None
    mac: str


class _Roster:
    """Who has which MAC address, and which port, as far as the hosts that were read tell."""

    def __init__(self, lab: Lab, stack: str, seen: Mapping[str, HostSeen]) -> None:
        self.stack = stack
        self.seen = seen
        self.seats: dict[str, Seat] = {}
        """By guest's name."""
        self.owners: dict[str, Seat] = {}
        """By the name of a host that is a student's."""
        for environment in lab.environments:
            seat = Seat(environment.name, environment.student.group, environment.student.student)
            self.seats.update({guest.name: seat for guest in environment.guests})
            if environment.own_host:
                self.owners[environment.host.name] = seat
        self.guests = {mac_address(stack, guest.name): guest.name for _, guest in lab.guests}
        self.hosts = {mac: name for name, host in seen.items() for mac in host.table.macs}
        self.cards = [
            card
            for name, host in seen.items()
            for d in host.table.domains
            for card in self._cards_of(name, d)
        ]
        self.others = {card.mac: card for card in self.cards if card.guest is None}

    def _cards_of(self, host: str, domain: Domain) -> Iterable[_Card]:
        guests = {f"{self.stack}-{name}": name for name in self.guests.values()}
        for card in domain.cards:
            device = None if domain.state in OFF else card.device
            yield _Card(host, domain, guests.get(domain.name), device, card.mac)

    def card_of_port(self, host: str, port: str) -> _Card | None:
        """Return the card behind a port of a host."""
        here = (card for card in self.cards if (card.host, card.device) == (host, port))
        return next(here, None)

    def domain_of(self, guest: str, host: str) -> tuple[str, Domain] | None:
        """Return a guest's domain with its host: one that runs, wherever, before one on its own host."""
        name = f"{self.stack}-{guest}"
        found = [(h, d) for h, seen in self.seen.items() for d in seen.table.domains if d.name == name]
        return min(found, key=lambda at: (at[1].state not in RUNNING, at[0] != host), default=None)

    def card_of(self, guest: str, host: str) -> _Card | None:
        """Return a guest's card on the host where its domain is."""
        here = [card for card in self.cards if (card.host, card.guest) == (host, guest) and card.device]
        own = (card for card in here if self.guests.get(card.mac) == guest)
        return next(own, here[0] if here else None)

    def mac_view(self, host: str, role: Role, card: _Card | None, learned: Learned) -> MacView:
        """Tell whose a learned MAC address is."""
        kind, owner = self._owner(host, card, learned.mac)
        odd = kind != "own"
        if role == "uplink":
            odd = kind == "guest" and owner is not None and self.card_of(owner, host) is not None
        return MacView(learned.mac, learned.age, kind, owner, odd)

    def _owner(self, host: str, card: _Card | None, mac: str) -> tuple[Kind, str | None]:
        guest, other = self.guests.get(mac), self.others.get(mac)
        if card is not None and card.guest is not None and card.guest == guest:
            return "own", guest
        if card is not None and card.guest is None and card.mac == mac:
            return "own", card.domain.name
        if guest is not None:
            return "guest", guest
        if mac in self.hosts:
            return "host", self.hosts[mac]
        if other is not None:
            return (
                "domain",
                other.domain.name if other.host == host else f"{other.domain.name} on {other.host}",
            )
        return "stranger", None


def _host(
    roster: _Roster,
    host: Host,
    seen: HostSeen | LabError,
    keys: Mapping[str, str],
) -> HostView:
    guests = tuple(_guest(roster, host, guest, keys.get(guest.name)) for guest in host.guests)
    seat = roster.owners.get(host.name)
    if isinstance(seen, LabError):
        return HostView(host.name, host.address, host.bridge.name, seat, error=seen, guests=guests)
    table = seen.table
    uplinks = (host.bridge.port, *host.bridge.extra_ports)
    names = {port.name for port in table.ports}
    return HostView(
        host.name,
        host.address,
        host.bridge.name,
        seat,
        silent=table.silent,
        bridge_id=table.bridge.id if table.bridge else None,
        stp=table.bridge.stp if table.bridge else None,
        missing_ports=tuple(name for name in uplinks if name not in names) if table.bridge else (),
        ports=tuple(_ports(roster, host.name, table, uplinks)),
        guests=guests,
    )


def _ports(roster: _Roster, host: str, table: BridgeTable, uplinks: Sequence[str]) -> Iterable[PortView]:
    for port in table.ports:
        card = roster.card_of_port(host, port.name)
        role: Role = "unknown"
        if port.name in uplinks:
            role = "uplink"
        elif card is not None:
            role = "domain" if card.guest is None else "guest"
        behind = (learned for learned in table.learned if learned.port == port.name)
        yield PortView(
            port.name,
            role,
            port.state,
            card.domain.name if card else None,
            card.guest if card else None,
            tuple(roster.mac_view(host, role, card, learned) for learned in behind),
        )


def _guest(roster: _Roster, host: Host, guest: Guest, key: str | None) -> GuestView:
    mac, seen = mac_address(roster.stack, guest.name), roster.seen.get(host.name)
    at = roster.domain_of(guest.name, host.name)
    state = at[1].state if at else MISSING if seen and seen.table.silent is None else UNKNOWN
    card = roster.card_of(guest.name, at[0]) if at else None
    table = roster.seen[at[0]].table if at else None
    behind = (
        learned.age
        for learned in (table.learned if table else ())
        if card is not None and (learned.mac, learned.port) == (mac, card.device)
    )
    ssh, reason = _ssh(seen.answers.get(guest.name) if seen else None, state, key)
    return GuestView(
        name=guest.name,
        seat=roster.seats.get(guest.name),
        host=host.name,
        address=str(guest.address.ip),
        mac=mac,
        domain=f"{roster.stack}-{guest.name}",
        state=state,
        seen_on=at[0] if at else None,
        port=card.device if card else None,
        on_bridge=any(
            card is not None and port.name == card.device for port in (table.ports if table else ())
        ),
        age=next(behind, None),
        ssh=ssh,
        compared=key is not None,
        reason=reason,
    )


def _ssh(answer: Answer | None, state: str, key: str | None) -> tuple[Ssh, str]:
    """Return how a guest answers: what answers in the place of one that is off is another machine."""
    if answer is None:
        return "not asked", ""
    if answer.key is None:
        return "silent", answer.reason
    if key is not None and answer.key != key:
        return "another", f"shows the host key {fingerprint(answer.key)}, not the guest's {fingerprint(key)}"
    if key is None and state not in {*RUNNING, UNKNOWN}:
        return "another", f"shows the host key {fingerprint(answer.key)} while the guest is {state}"
    return "answers", ""
