"""What `make show` prints: a table for each host that fits 80 columns, or all of it as JSON; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from lab.outlooks import unseen
from lab.views import MISSING, RUNNING, UNKNOWN, GuestView, HostView, MacView, PortView, Seat
from review.text import BOLD, RED, WIDTH, coloured, counted, natural, printable, wrapped

LISTED = 5
"""Other machines behind a host's own port that are listed; of more only their number is told."""
HEADINGS = ("port", "guest", "student", "address", "domain", "heard", "ssh")
GUEST, STUDENT, ADDRESS = 1, 2, 3
GAP = "  "
MARK = "  ! "
NOTE = f"{MARK}  "
FORWARDING = "forwarding"
INDENT = "    "
NONE = "-"
_LEAST = 8  # characters that a shortened cell keeps
_LONGEST = 63  # characters of a name in a sentence; libvirt takes longer ones


def report(found: Sequence[HostView], *, colour: bool) -> str:
    """Return a block of lines for each host, and last lines that count hosts, guests and odd addresses.

    A line with "!" is about something to look at. What no terminal should see from a host is escaped.
    """
    lines: list[str] = []
    for view in found:
        lines += [*([""] if lines else []), *_block(view)]
    lines += ["", *_counts(found)]
    return "\n".join(_coloured(line) if colour else line for line in map(printable, lines))


def document(found: Sequence[HostView], stack: str) -> dict[str, Any]:
    """Return all that was seen, for JSON; null is what is not known or does not apply.

    Keys:
        stack: its name.
        hosts: of each `name`, `address`, `environment`, `group` and `student` (who has all of it), `error`
            (why it was not read), `libvirt_error` (why its domains are not known), `bridge` (null: there is
            none; else `name`, `id`, `stp`, `missing_ports`) and `ports`.
        hosts[].ports: of each `name`, `role` (uplink, guest, domain, unknown), `state` (forwarding, …),
            `domain`, `guest`, and `macs`: of each `mac`, `age` (seconds since its last frame), `kind` (own,
            guest, host, domain, stranger), `owner`, and `odd` (true: it has no business there).
        guests: of each `name`, `environment`, `group`, `student`, `host`, `address`, `mac`, `domain`, `state`
            (virsh's words, "missing", "unknown"), `seen_on` (the host its domain is on), `port`, `on_bridge`,
            `age`, `ssh` (answers, silent, another, not asked), `compared` (true: with the key it is known
            by) and `reason`.
        strangers: all with `odd`, each with `host` and `port`.
    """
    return {
        "stack": stack,
        "hosts": [_host_document(view) for view in found],
        "guests": [_guest_document(guest) for view in found for guest in view.guests],
        "strangers": [
            {"host": view.name, "port": port.name, **_mac_document(mac)} for view, port, mac in _odd(found)
        ],
    }


def _odd(found: Iterable[HostView]) -> Iterable[tuple[HostView, PortView, MacView]]:
    return ((view, port, mac) for view in found for port in view.ports for mac in port.macs if mac.odd)


def _host_document(view: HostView) -> dict[str, Any]:
    bridge = {
        "name": view.bridge_name,
        "id": view.bridge_id,
        "stp": view.stp,
        "missing_ports": list(view.missing_ports),
    }
    return {
        "name": view.name,
        "address": view.address,
        **_seat_document(view.seat),
        "error": None if view.error is None else view.error.seen,
        "libvirt_error": view.silent,
        "bridge": None if view.bridge_id is None else bridge,
        "ports": [
            {
                "name": port.name,
                "role": port.role,
                "state": port.state,
                "domain": port.domain,
                "guest": port.guest,
                "macs": [_mac_document(mac) for mac in port.macs],
            }
            for port in view.ports
        ],
    }


def _seat_document(seat: Seat | None) -> dict[str, Any]:
    return {
        "environment": seat.environment if seat else None,
        "group": seat.group if seat else None,
        "student": seat.student if seat else None,
    }


def _mac_document(mac: MacView) -> dict[str, Any]:
    return {"mac": mac.mac, "age": mac.age, "kind": mac.kind, "owner": mac.owner, "odd": mac.odd}


def _guest_document(guest: GuestView) -> dict[str, Any]:
    return {
        "name": guest.name,
        **_seat_document(guest.seat),
        "host": guest.host,
        "address": guest.address,
        "mac": guest.mac,
        "domain": guest.domain,
        "state": guest.state,
        "seen_on": guest.seen_on,
        "port": guest.port,
        "on_bridge": guest.on_bridge,
        "age": guest.age,
        "ssh": guest.ssh,
        "compared": guest.compared,
        "reason": guest.reason or None,
    }


def _block(view: HostView) -> Iterable[str]:
    if view.error is not None:
        yield from unseen(view.name, view.error)
        if view.guests:
            yield from _line(f"not asked: {', '.join(guest.name for guest in view.guests)}")
        return
    name = f"{view.name} ({_student(view.seat)})" if view.seat else view.name
    if view.bridge_id is None:
        yield f"{name}: it has no bridge {view.bridge_name}"
    else:
        yield from wrapped(
            f"{name}: {view.bridge_name} {view.bridge_id}, STP {'on' if view.stp else 'off'}, "
            f"{counted(len(view.ports), 'port')}",
            "",
        )
    if view.silent is not None:
        reason = view.silent.splitlines()[0].removeprefix("error: ")
        yield from _line(f"its domains are not known: {reason}", odd=True)
    for name in view.missing_ports:
        yield from _line(f"{name} is no port of {view.bridge_name}", odd=True)
    for port in view.ports:
        if port.role == "uplink":
            yield from _uplink(port)
    yield from _guests(view)
    for port in view.ports:
        if port.role in {"domain", "unknown"}:
            yield from _other_port(port)


def _uplink(port: PortView) -> Iterable[str]:
    ours = dict.fromkeys(f"{mac.owner}" for mac in port.macs if mac.kind in {"guest", "host"} and not mac.odd)
    others = [mac for mac in port.macs if mac.kind in {"domain", "stranger"}]
    parts = []
    if ours:
        parts.append(f"of this stack: {', '.join(ours) if len(ours) <= LISTED else len(ours)}")
    if len(others) > LISTED:
        parts.append(f"other machines: {len(others)}")
    elif others:
        parts.append(f"other machines: {', '.join(map(_described, others))}")
    text = f"{port.name}{_state(port)}: {'; '.join(parts) or 'nobody heard'}"
    yield from _line(text, odd=port.state != FORWARDING)
    yield from _odd_lines(port)


def _other_port(port: PortView) -> Iterable[str]:
    heard = [mac for mac in port.macs if mac.kind == "own"]
    ages = f", heard {_age(heard[0].age)}" if heard else ""
    if port.role == "domain":
        domain = _shortened(port.domain or "", _LONGEST)
        yield from _line(f"{port.name}{_state(port)}: {domain}, not of this stack{ages}")
    else:
        yield from _line(f"{port.name}{_state(port)}: not in the stack file, and no domain's", odd=True)
    yield from _odd_lines(port)


def _odd_lines(port: PortView) -> Iterable[str]:
    for mac in port.macs:
        if mac.odd:
            yield from _note(f"behind {port.name}: {_described(mac)}")


def _described(mac: MacView) -> str:
    whose = f", {_shortened(mac.owner, _LONGEST)}" if mac.owner else ""
    return f"{mac.mac} ({_age(mac.age)}{whose})"


def _state(port: PortView) -> str:
    return "" if port.state == FORWARDING else f" ({port.state or 'state unknown'})"


def _age(age: int | None) -> str:
    return "static" if age is None else f"{age} s"


def _guests(view: HostView) -> Iterable[str]:
    """Yield the table of a host's guests; below each what else is to be told of it and its port."""
    if not view.guests and not any(port.role == "guest" for port in view.ports):
        return
    ports = {port.name: port for port in view.ports}
    by_port = sorted(
        view.guests, key=lambda guest: _by_port(guest.port if guest.seen_on == view.name else None)
    )
    students = any(guest.seat for guest in view.guests)
    rows = [_row(view, guest) for guest in by_port]
    table = list(_columns([HEADINGS, *rows], students=students))
    yield f"{INDENT}{table[0]}"
    told = set()
    for guest, line in zip(by_port, table[1:], strict=True):
        yield f"{INDENT if guest.ssh == 'answers' else MARK}{line}"
        yield from _notes(view, guest)
        if guest.seen_on == view.name and guest.port in ports:
            told.add(guest.port)
            yield from _odd_lines(ports[guest.port])
    for port in view.ports:
        if port.role == "guest" and port.name not in told:
            yield from _line(f"{port.name}{_state(port)}: {port.guest}, of another host in the stack file")
            yield from _odd_lines(port)


def _notes(view: HostView, guest: GuestView) -> Iterable[str]:
    if guest.seen_on is not None and guest.seen_on != view.name:
        yield from _note(f"{guest.name} is on {guest.seen_on}")
    elif guest.port is not None and not guest.on_bridge:
        yield from _note(f"{guest.port} is no port of {view.bridge_name}")
    if guest.ssh == "another":
        yield from _note(f"{guest.address} {guest.reason}")
    for port in view.ports:
        if port.guest == guest.name and port.state != FORWARDING:
            yield from _note(f"{port.name} is {port.state}")


def _row(view: HostView, guest: GuestView) -> tuple[str, ...]:
    here = guest.seen_on == view.name
    return (
        (guest.port if here else None) or NONE,
        guest.name,
        _student(guest.seat) if guest.seat else NONE,
        guest.address,
        guest.state,
        NONE if guest.age is None else _age(guest.age),
        guest.ssh,
    )


def _student(seat: Seat) -> str:
    return f"g{seat.group} s{seat.student}"


def _by_port(port: str | None) -> tuple[bool, object]:
    """Return by what guests are sorted: those without a port last."""
    return port is None, natural(port or "")


def _columns(rows: Sequence[Sequence[str]], *, students: bool) -> Iterable[str]:
    """Yield the rows with their cells below each other; names and addresses too long for it are shortened."""
    kept = [column for column in range(len(HEADINGS)) if students or column != STUDENT]
    widths = {column: max(len(row[column]) for row in rows) for column in kept}
    while sum(widths.values()) + len(GAP) * (len(kept) - 1) > WIDTH - len(INDENT):
        widest = max((GUEST, ADDRESS), key=lambda column: widths[column])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    for row in rows:
        cells = (_shortened(row[column], widths[column]).ljust(widths[column]) for column in kept)
        yield GAP.join(cells).rstrip()


def _shortened(text: str, width: int) -> str:
    """Return the text without its middle: the ends of names differ."""
    if len(text) <= width:
        return text
    end = width // 2
    return f"{text[: width - end - 1]}…{text[len(text) - end :]}"


def _note(text: str) -> list[str]:
    return wrapped(text, NOTE, " " * len(NOTE) + GAP)


def _line(text: str, *, odd: bool = False) -> list[str]:
    return wrapped(text, MARK if odd else INDENT, INDENT + GAP)


def _counts(found: Sequence[HostView]) -> Iterable[str]:
    unread = sum(view.error is not None for view in found)
    hosts = f"{counted(len(found), 'host')}: {len(found) - unread} read"
    yield hosts + (f", {unread} not" if unread else "")
    guests = [guest for view in found for guest in view.guests]
    if guests:
        counts = Counter(map(_verdict, guests))
        parts = [f"{number} {words}" for words, number in sorted(counts.items(), key=lambda c: (-c[1], c[0]))]
        yield from wrapped(f"{counted(len(guests), 'guest')}: {', '.join(parts)}", "")
    odd = len(list(_odd(found)))
    if odd:
        yield f"{counted(odd, 'MAC address', 'MAC addresses')} where none should be"


def _verdict(guest: GuestView) -> str:
    if guest.ssh in {"answers", "another"}:
        return "answering" if guest.ssh == "answers" else "with another machine at its address"
    if guest.state in {*RUNNING, UNKNOWN}:
        return guest.ssh
    return "missing" if guest.state == MISSING else guest.state


def _coloured(line: str) -> str:
    if line.startswith(MARK):
        return coloured(line, RED)
    return line if line.startswith(" ") or not line else coloured(line, BOLD)
