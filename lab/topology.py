"""The topology page: a stack's hosts, bridges and guests as one HTML file that needs nothing else; pure.

It is read without a script, from a phone to paper; every state is told by a symbol and a word, not by colour
alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lab.figures import FORWARDING, Card, HostFigure, Kind, Plug, Seen, Sign, figures, on_or_off
from lab.markup import Markup, element, joined
from review.model import Inventory

STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
WIDE = 6
"""Things on a bridge above which its host has the page's whole width."""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
_SHAPES: dict[Kind, str] = {
    "runs": '<circle cx="8" cy="8" r="6" fill="currentColor"/>',
    "off": '<circle cx="8" cy="8" r="5" fill="none" stroke="currentColor" stroke-width="2"/>',
    "silent": '<circle cx="8" cy="8" r="5" fill="none" stroke="currentColor" stroke-width="2"/>'
    '<path d="M8 3a5 5 0 0 1 0 10z" fill="currentColor"/>',
    "wrong": '<path fill="currentColor" fill-rule="evenodd" '
    'd="M8 1 15.5 14.5H.5zM7.1 5.8v4.4h1.8V5.8zm0 5.5v1.7h1.8v-1.7z"/>',
    "unknown": '<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="1.6" '
    'stroke-dasharray="2.2 2"/><circle cx="8" cy="8" r="1.4" fill="currentColor"/>',
}
_LEGEND: dict[Kind, str] = {
    "runs": "A host that was read; a guest that answers at its address.",
    "off": "The guest's domain is shut off, paused or crashed.",
    "silent": "The domain runs, or may run, and nothing answers at the guest's address.",
    "wrong": "A host that was not read; a guest that has no domain, or another machine at its address; "
    "a machine where none should be.",
    "unknown": "Nobody looked or could look; or it is not of this stack.",
}


def page(inventory: Inventory, live: Seen | None, *, stack: str, when: datetime) -> str:
    """Return the page, a whole HTML document.

    Args:
        inventory: the stack as its state has it.
        live: what lab.sightings.document tells of a look; None: nobody looked.
        stack: its name.
        when: the moment of the look, or of the page where nobody looked; with a time zone.
    """
    hosts, looked = figures(inventory, live), live is not None
    body = joined(
        [
            _SYMBOLS,
            element("header", _heading(stack, when, looked=looked), _tally(hosts, looked=looked)),
            element("main", _overview(hosts), _concerns(hosts), _hosts(hosts)),
            element("footer", _legend()),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"{element('title', f'{stack} · topology')}\n<style>{STYLE}</style>\n</head>\n"
        f"{element('body', body)}\n</html>\n"
    )


def _shape(kind: Kind, inside: str) -> str:
    return f'<symbol id="sign-{kind}" viewBox="0 0 16 16">{inside}</symbol>'


_SYMBOLS = Markup(
    f'<svg class="hidden" aria-hidden="true">{"".join(_shape(*each) for each in _SHAPES.items())}</svg>'
)


def _symbol(kind: Kind) -> Markup:
    return element(
        "svg", element("use", href=f"#sign-{kind}"), class_=f"symbol is-{kind}", aria_hidden="true"
    )


def _sign(sign: Sign) -> Markup:
    return element("span", _symbol(sign.kind), f" {sign.words}", class_=f"sign is-{sign.kind}")


def _heading(stack: str, when: datetime, *, looked: bool) -> Markup:
    moment = when.astimezone(UTC)
    shown = f"{moment.day} {moment:%B %Y, %H:%M:%S} UTC"
    time = element("time", shown, datetime=moment.isoformat(timespec="seconds"))
    if looked:
        line = element("p", "Hosts looked at ", time, class_="moment")
    else:
        line = element(
            "p", element("strong", "Not looked at"), ": the stack's state, read ", time, class_="moment"
        )
    return joined([element("p", "Topology of the stack", class_="kicker"), element("h1", stack), line])


def _tally(hosts: Sequence[HostFigure], *, looked: bool) -> Markup:
    """Return the page's figures: hosts, guests, and what needs a look."""
    guests = [guest for host in hosts for guest in _guests(host)]
    unread = "not read" if looked else "not looked at"
    states = Counter("read" if host.looked else unread for host in hosts)
    concerns = sum(map(_number_of_concerns, hosts))
    return element(
        "dl",
        _figure("hosts", len(hosts), _listed(states)),
        _figure("guests", len(guests), _listed(Counter(guest.sign.words for guest in guests))),
        _figure("to look at", concerns, "listed below" if concerns else "nothing") if looked else "",
        class_="tally",
    )


def _figure(name: str, number: int, words: str) -> Markup:
    return element(
        "div", element("dt", name), element("dd", element("b", str(number)), element("span", words))
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {words}" for words, number in counts.most_common())


def _guests(host: HostFigure) -> list[Plug]:
    return [plug for plug in host.plugs if plug.guest]


def _concerns(hosts: Sequence[HostFigure]) -> Markup:
    """Return the list of what needs a look, with the way to each host."""
    found = [
        element("li", element("a", host.name, href=f"#host-{number}"), element("ul", *concerns))
        for number, host in enumerate(hosts)
        if (concerns := list(_concerns_of(host)))
    ]
    if not found:
        return Markup()
    return _section("concerns", "What needs a look", element("ul", *found, class_="concerns"))


def _concerns_of(host: HostFigure) -> Iterable[Markup]:
    """Yield what needs a look on a host; guests that are the same way, with no more to tell, are one."""
    if host.sign.odd:
        yield element("li", _sign(host.sign))
    for note in (*host.notes, *(note for card in host.cards for note in card.notes)):
        yield element("li", _sign(Sign("wrong", note)))
    alike: dict[Sign, list[str]] = {}
    for plug in host.plugs:
        if plug.sign.odd and not plug.notes:
            alike.setdefault(plug.sign, []).append(_called(plug))
    for sign, names in alike.items():
        yield element("li", _sign(sign), f" {', '.join(names)}")
    for plug in host.plugs:
        if plug.notes:
            words = plug.notes if not plug.sign.odd else (plug.sign.words, *plug.notes)
            yield element("li", element("b", _called(plug)), ": ", "; ".join(words), class_="long")


def _number_of_concerns(host: HostFigure) -> int:
    notes = sum(len(card.notes) for card in host.cards) + len(host.notes)
    return host.sign.odd + notes + sum(plug.sign.odd or bool(plug.notes) for plug in host.plugs)


def _called(plug: Plug) -> str:
    return plug.name if plug.guest else f"{plug.port}"


def _overview(hosts: Sequence[HostFigure]) -> Markup:
    """Return a row for each host with a symbol for each guest, and the way to the host."""
    if len(hosts) <= 1:
        return Markup()
    rows = [
        element(
            "li",
            element("span", _symbol(host.sign.kind), " ", element("a", host.name, href=f"#host-{number}")),
            element("span", *(_symbol(plug.sign.kind) for plug in _guests(host)), class_="dots"),
            element(
                "span", _listed(Counter(p.sign.words for p in _guests(host))) or "no guests", class_="words"
            ),
        )
        for number, host in enumerate(hosts)
    ]
    return _section("overview", "Hosts at a glance", element("ol", *rows, class_="overview"))


def _hosts(hosts: Sequence[HostFigure]) -> Markup:
    if not hosts:
        return _section("hosts", "Hosts", element("p", "Neither the state nor the stack file has a host."))
    figures_of = (_host(number, host) for number, host in enumerate(hosts))
    return _section("hosts", "Hosts", element("div", *figures_of, class_="hosts"))


def _section(name: str, title: str, inside: Markup) -> Markup:
    return element(
        "section", element("h2", title, id=name), inside, class_=f"part-{name}", aria_labelledby=name
    )


def _host(number: int, host: HostFigure) -> Markup:
    classes = f"host{'' if host.looked else ' unseen'}{' wide' if len(host.plugs) > WIDE else ''}"
    whose = element("span", f"student {host.student} has all of it", class_="whose") if host.student else ""
    head = element(
        "header",
        element("h3", host.name, id=f"host-{number}", tabindex="-1"),
        element("code", host.address) if host.address else "",
        whose,
        _sign(host.sign),
    )
    return element(
        "article", head, _notes(host.notes), _wiring(host), class_=classes, aria_labelledby=f"host-{number}"
    )


def _wiring(host: HostFigure) -> Markup:
    """Return the lecture's figure: the network, network cards, the bridge, its ports, the guests."""
    cards = element("ul", *map(_card, host.cards), class_="cards", role="list", aria_label="Network cards")
    return element(
        "div",
        element("p", element("span", "the network"), class_="network"),
        cards if host.cards else "",
        _bridge(host),
        _plugs(host),
        class_="wiring",
    )


def _card(card: Card) -> Markup:
    heard = "" if card.heard is None else f" · hears {card.heard} machine{'s' * (card.heard != 1)}"
    state = f" · {card.state}" if card.state and card.state != FORWARDING else ""
    return element(
        "li",
        element("b", card.name),
        element("span", f" network card{state}{heard}"),
        _notes(card.notes),
        class_="card",
    )


def _bridge(host: HostFigure) -> Markup:
    if host.bridge is None:
        return element("p", element("b", "no bridge is known"), class_="bridge")
    facts = [*(host.addresses or (host.address or "address unknown",)), f"STP {on_or_off(host.stp)}"]
    if host.forward_delay is not None:
        facts.append(f"forward delay {host.forward_delay} s")
    spans = (element("span", fact) for fact in facts)
    return element(
        "p", element("b", host.bridge), element("span", "bridge", class_="what"), *spans, class_="bridge"
    )


def _plugs(host: HostFigure) -> Markup:
    if not host.plugs:
        return element("p", "no guests", class_="none")
    no_port = "no port" if host.looked else "port ?"
    plugs = (_plug(plug, no_port) for plug in host.plugs)
    return element("ul", *plugs, class_="ports", role="list", aria_label=f"On the bridge of {host.name}")


def _plug(plug: Plug, no_port: str) -> Markup:
    facts = [element("code", plug.address)] if plug.address else []
    if plug.student:
        facts.append(element("span", f"student {plug.student}"))
    if plug.disk is not None:
        facts.append(element("span", f"disk generation {plug.disk}{_kept(plug.kept)}"))
    port = element("span", plug.port or no_port, class_="port" if plug.port else "port none")
    what = element(
        "div",
        element("p", element("b", plug.name), _sign(plug.sign), class_="name"),
        element("p", *facts, class_="facts") if facts else "",
        _notes(plug.notes),
    )
    odd = plug.sign.odd or bool(plug.notes)
    classes = f"plug{' odd' if odd else ''}{'' if plug.port else ' loose'}"
    return element("li", port, what, class_=classes)


def _kept(kept: Iterable[int]) -> str:
    numbers = ", ".join(map(str, kept))
    return f" (kept: {numbers})" if numbers else ""


def _notes(notes: Sequence[str]) -> Markup:
    if not notes:
        return Markup()
    items = (element("li", _symbol("wrong"), f" {note}") for note in notes)
    return element("ul", *items, class_="notes", role="list", aria_label="To look at")


def _legend() -> Markup:
    signs = (
        element(
            "div",
            element("dt", _symbol(kind), f" {_NAMES[kind]}"),
            element("dd", words),
        )
        for kind, words in _LEGEND.items()
    )
    lines = (
        element(
            "div", element("dt", element("i", class_=f"line {name}"), f" {name} line"), element("dd", words)
        )
        for name, words in (
            ("solid", "Seen on the host."),
            ("dashed", "Only the stack's state says so, or nothing is connected."),
        )
    )
    rest = element(
        "p",
        "From top to bottom: the network, the host's network card, the bridge, its ports, the guests. "
        "Addresses of bridges, forward delays and disk generations are the state's: hosts are not asked.",
    )
    return _section(
        "legend", "How to read it", joined([element("dl", *signs, *lines, class_="legend"), rest])
    )


_NAMES: dict[Kind, str] = {
    "runs": "running",
    "off": "off",
    "silent": "silent",
    "wrong": "wrong",
    "unknown": "unknown",
}
