"""Whom a change is about: effects put together by guest and by host, the heaviest first; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from review.model import Effect, HostFacts, Report, Verdict
from review.text import counted, natural

NAMED = 5
"""Names that a sentence lists; of more it tells the number, and the first LISTED."""
LISTED = 3


@dataclass(frozen=True)
class Row:
    """All that happens to one guest, or to a host itself; the heaviest sentence first."""

    host: str | None
    student: str | None
    guest: str | None
    verdict: Verdict
    sentences: tuple[str, ...]


def rows(effects: Iterable[Effect]) -> tuple[Row, ...]:
    """Return who is affected: the heaviest first, then by host and guest as people count."""
    by_whom: dict[tuple[str | None, str | None, str | None], list[Effect]] = {}
    for effect in effects:
        if effect.verdict > Verdict.NOTHING:
            by_whom.setdefault((effect.host, effect.student, effect.guest), []).append(effect)
    found = [_row(*whom, sorted(about, key=lambda e: -e.verdict)) for whom, about in by_whom.items()]
    return tuple(sorted(found, key=_order))


def weights(report: Report) -> Iterable[tuple[Verdict, str]]:
    """Yield the verdicts that a plan has, the heaviest first, each with whom it is about in one line."""
    found = rows(report.effects)
    for verdict in sorted(Verdict, reverse=True):
        about = [row for row in found if row.verdict is verdict]
        if about:
            yield verdict, _who(report, about)


def named(names: Iterable[str], one: str) -> str:
    """Return "guest a", "guests a, b" or "12 guests (a, b, c, …)"."""
    listed = sorted(dict.fromkeys(names), key=natural)
    if len(listed) > NAMED:
        return f"{counted(len(listed), one)} ({', '.join(listed[:LISTED])}, …)"
    return f"{one}{'s' * (len(listed) != 1)} {', '.join(listed)}"


def _row(host: str | None, student: str | None, guest: str | None, about: Sequence[Effect]) -> Row:
    sentences = dict.fromkeys(effect.sentence for effect in about if effect.sentence)
    return Row(host, student, guest, about[0].verdict, tuple(sentences))


def _order(row: Row) -> tuple[object, ...]:
    names = (row.host, row.guest, row.student)
    return (-row.verdict, *(natural(name or "") for name in names))


def _who(report: Report, about: Sequence[Row]) -> str:
    guests = [row for row in about if row.guest is not None]
    own = [row.host for row in about if row.guest is None and row.host is not None]
    parts = (
        [f"{named(own, 'host')}{_behind(report, set(own)) if about[0].verdict.red else ''}"] if own else []
    )
    if guests:
        parts.append(_guests(guests))
    if not parts:
        students = [row.student for row in about if row.student]
        parts.append(named(students, "student") if students else "no host and no guest")
    return "; ".join(parts)


def _guests(about: Sequence[Row]) -> str:
    text = named((row.guest for row in about if row.guest), "guest")
    students = [row.student for row in about if row.student]
    hosts = [row.host for row in about if row.host]
    if students:
        text += f" of {named(students, 'student')}"
    return f"{text} on {named(hosts, 'host')}" if hosts else text


def _behind(report: Report, names: set[str]) -> str:
    """Return what runs on hosts, for a change of the hosts themselves."""
    there: dict[str, HostFacts] = {}
    for inventory in (report.after, report.before):
        for host in inventory.hosts if inventory else ():
            if host.name in names:
                there[host.name] = host
    guests = [guest for host in there.values() for guest in host.guests]
    students = {guest.student for guest in guests if guest.student}
    if not guests:
        return ""
    of = f" of {counted(len(students), 'student')}" if students else ""
    return f", with {counted(len(guests), 'guest')}{of} on {'it' if len(names) == 1 else 'them'}"
