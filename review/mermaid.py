"""The picture of a change: hosts, bridges, ports and guests as a Mermaid flowchart; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from review.marks import GuestMark, HostMark, Mark, marks
from review.model import Effect, GuestFacts, Inventory
from review.text import counted, printable

CHARACTERS = 45_000
"""What a picture may have; GitHub draws none with more than 50,000."""
EDGES = 400
"""GitHub draws none with more than 500."""
FULL = 60
"""Guests up to which every one is drawn."""
NAME = 40
"""Characters of a name that are drawn."""
_CLASSES = {
    Mark.SAME: "fill:#ffffff,stroke:#8c959f,color:#24292f",
    Mark.NEW: "fill:#dafbe1,stroke:#1a7f37,color:#116329,stroke-width:2px",
    Mark.CHANGED: "fill:#ddf4ff,stroke:#0969da,color:#0a3069,stroke-width:2px",
    Mark.INTERRUPTED: "fill:#fff8c5,stroke:#9a6700,color:#4d2d00,stroke-width:2px,stroke-dasharray:6 3",
    Mark.GONE: "fill:#f6f8fa,stroke:#57606a,color:#57606a,stroke-dasharray:2 3",
    Mark.DESTROYED: "fill:#ffebe9,stroke:#cf222e,color:#82071e,stroke-width:4px",
    Mark.NETWORK: "fill:#fbefff,stroke:#8250df,color:#512a97,stroke-width:4px",
}
_BREAK = "<br/>"
_PLAIN = re.compile(r"[A-Za-z0-9 ,:/]|(?<=[A-Za-z0-9])[.-](?=[A-Za-z0-9])")


@dataclass(frozen=True)
class _Detail:
    """What is drawn: unchanged guests apart or as one node, others apart or by mark, and so many hosts."""

    unchanged: bool
    each: bool
    hosts: int


_DETAILS = (
    _Detail(unchanged=True, each=True, hosts=1000),
    _Detail(unchanged=False, each=True, hosts=1000),
    _Detail(unchanged=False, each=False, hosts=1000),
    _Detail(unchanged=False, each=False, hosts=30),
)


def picture(
    before: Inventory | None,
    after: Inventory | None,
    effects: Iterable[Effect],
    *,
    characters: int = CHARACTERS,
) -> str:
    """Return a flowchart in which a class and a word tell what becomes of each part.

    With more than FULL guests only hosts with changes are drawn, and unchanged guests are one node. When that
    is too large as well, guests of one host that meet the same fate are one node, then hosts are left out.

    Args:
        before: what there is; None: not known.
        after: what there will be; None: not known.
        effects: what happens to whom.
        characters: how long the text may be; "" is returned when nothing of it fits.
    """
    hosts = marks(before, after, effects)
    guests = sum(len(host.guests) for host in hosts)
    for detail in _DETAILS if guests <= FULL else _DETAILS[1:]:
        lines = list(_chart(hosts, detail))
        text = "\n".join(lines)
        if len(text) <= characters and sum(" --- " in line for line in lines) <= EDGES:
            return text
    return ""


def label(*lines: str) -> str:
    """Return a Mermaid label of these lines; whatever is not a plain name is written as its number."""
    return _BREAK.join(_escaped(line) for line in lines if line)


def _escaped(line: str) -> str:
    text = printable(line)
    return "".join(
        character if _PLAIN.match(text, at) else f"#{ord(character)};" for at, character in enumerate(text)
    )


def _chart(hosts: Sequence[HostMark], detail: _Detail) -> Iterator[str]:
    yield "flowchart LR"
    drawn = [host for host in hosts if detail.unchanged or host.changed]
    drawn = sorted(drawn, key=lambda host: not _red(host))[: detail.hosts]
    used = {Mark.SAME}
    for number, host in reversed([*enumerate(drawn)]):  # Mermaid draws the last one at the top
        used |= {host.mark, host.bridge, *(mark for _, mark in host.ports), *(g.mark for g in host.guests)}
        yield from _host(f"h{number}", host, detail)
    names = {host.facts.name for host in drawn}
    yield from _others([host for host in hosts if host.facts.name not in names])
    if not hosts:
        yield f'  none["{label("no hosts")}"]:::same'
    yield from (f"  classDef {_class(mark)} {style}" for mark, style in _CLASSES.items() if mark in used)


def _host(key: str, host: HostMark, detail: _Detail) -> Iterator[str]:
    facts = host.facts
    owner = f"student {_short(facts.student)}" if facts.student else ""
    title = ", ".join(
        filter(None, (f"host {_short(facts.name)}", _short(facts.address), owner, host.mark.value))
    )
    yield f'  subgraph {key}["{label(title)}"]'
    yield "    direction LR"
    bridge = f"bridge {_short(facts.bridge)}" if facts.bridge else "no bridge"
    yield f"    {_node(f'{key}b', host.bridge, bridge, *map(_short, facts.addresses[:2]))}"
    for number, (port, mark) in enumerate(host.ports):
        yield f"    {_node(f'{key}p{number}', mark, f'port {_short(port)}')} --- {key}b"
    for number, (mark, lines) in enumerate(_guests(host.guests, detail)):
        yield f"    {key}b --- {_node(f'{key}g{number}', mark, *lines)}"
    yield "  end"
    # only its frame in colour: what is in it stands on the page's own ground, be that light or dark
    yield f"  style {key} fill:none,{_CLASSES[host.mark].partition(',')[2].partition(',color')[0]}"


def _guests(guests: Iterable[GuestMark], detail: _Detail) -> Iterator[tuple[Mark, Sequence[str]]]:
    together: dict[Mark, list[GuestFacts]] = {}
    several = False
    for guest in guests:
        if detail.unchanged or (guest.mark is not Mark.SAME and detail.each):
            several = True
            yield guest.mark, _lines(guest)
        else:
            together.setdefault(guest.mark, []).append(guest.facts)
    for mark, facts in together.items():
        more = " more" if several else ""
        words = f"{len(facts)}{more} {'guest' if len(facts) == 1 else 'guests'}"
        yield mark, [f"{words}, unchanged" if mark is Mark.SAME else words]


def _lines(guest: GuestMark) -> Sequence[str]:
    student = f"student {_short(guest.facts.student)}" if guest.facts.student else ""
    return [_short(guest.facts.name), student, guest.note]


def _others(hosts: Sequence[HostMark]) -> Iterator[str]:
    """Yield a node for hosts that are not drawn."""
    for changed, words in ((True, "changed: see the table"), (False, "unchanged")):
        some = [host for host in hosts if host.changed is changed]
        if some:
            guests = counted(sum(len(host.guests) for host in some), "guest")
            text = f"{counted(len(some), 'more host', 'more hosts')} with {guests}, {words}"
            yield f"  {_node('changed' if changed else 'unchanged', Mark.SAME, text)}"


def _red(host: HostMark) -> bool:
    every = {host.mark, host.bridge, *(guest.mark for guest in host.guests)}
    return bool(every & {Mark.DESTROYED, Mark.NETWORK})


def _node(key: str, mark: Mark, *lines: str) -> str:
    return f'{key}["{label(*lines, mark.value)}"]:::{_class(mark)}'


def _class(mark: Mark) -> str:
    return mark.name.lower()


def _short(name: str | None) -> str:
    text = name or ""
    return text if len(text) <= NAME else f"{text[: NAME - 1]}…"
