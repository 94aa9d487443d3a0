"""Every reason against a take-over, found before anything is changed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from providers.state.interfaces.commands import About, about, names_exactly
from providers.state.interfaces.lines import Line
from providers.state.interfaces.model import BridgeSpec, Problem
from providers.state.interfaces.options import (
    BRIDGE_OPTIONS,
    PORT_METHODS,
    Place,
    address_of,
    address_problems,
    is_command,
    is_domain,
    is_mac,
    place_of,
    problem,
    value_problems,
)
from providers.state.interfaces.parse import (
    Interfaces,
    Stanza,
    is_auto,
    is_class_line,
    joins_class,
    option_name,
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NAME_LENGTH = 15  # IFNAMSIZ less its NUL
_RESERVED = {"lo", "all", "none", "regex", "noregex"}
_MEMBERS = ("bridge_ports", "bond_slaves", "slaves", "ovs_ports")
_ALL_PORTS = ("eth.*", "em.*", "en.*", "p[0-9].*")  # what bridge-utils makes of `bridge_ports all`
_MAX_FORWARD_DELAY = 30
_ADDRESSED = {"static", "dhcp"}


def spec_problems(spec: BridgeSpec) -> list[Problem]:
    """Check what was asked for by itself."""
    return [Problem("", 0, "", why) for why in _spec_whys(spec)]


def _spec_whys(spec: BridgeSpec) -> Iterator[str]:
    yield from _name_whys(spec)
    if not 0 <= spec.forward_delay <= _MAX_FORWARD_DELAY:
        yield f"forward delay {spec.forward_delay} is not within 0 to {_MAX_FORWARD_DELAY} seconds"
    if spec.max_wait < 0:
        yield f"max wait {spec.max_wait} is negative"
    if spec.hw_address is not None and not is_mac(spec.hw_address):
        yield f"hardware address {spec.hw_address!r} is not a MAC address"
    yield from (f"search domain {name!r} is not a domain" for name in spec.dns_search if not is_domain(name))


def _name_whys(spec: BridgeSpec) -> Iterator[str]:
    for role, name in (("bridge", spec.name), *(("port", name) for name in spec.ports)):
        if len(name) > _NAME_LENGTH:
            yield f"{role} name {name!r} has {len(name)} characters: the kernel takes {_NAME_LENGTH}"
        elif not _NAME.fullmatch(name):
            yield f"{role} name {name!r} is not a name for an interface"
        elif name in _RESERVED:
            yield f"{role} name {name!r} means something else to ifupdown or bridge-utils"
    if spec.name == spec.port:
        yield f"bridge and port are both named {spec.name!r}"
    if "." in spec.name:
        yield f"bridge name {spec.name!r} has a full stop: ifupdown would make a VLAN of it"
    for name in spec.ports:
        if name.startswith("wl"):
            yield f"port {name!r} is a Wi-Fi card: an access point drops frames of a bridge's guests"
    for name in sorted({name for name in spec.extra_ports if [spec.name, *spec.ports].count(name) > 1}):
        yield f"{name!r} is named twice"


def tree_problems(net: Interfaces, spec: BridgeSpec) -> list[Problem]:
    """Return every reason in the files against putting the port into the bridge, in file order."""
    port = net.of(spec.port)
    bridge = net.of(spec.name) if spec.name != spec.port else ()
    found = [
        *net.problems,
        *_undeclared(net, spec),
        *_class_problems(net, spec),
        *_membership(net, spec),
        *_strangers(net, spec),
        *bridge_problems(bridge, spec.name),
        *_order_problems(net, spec),
    ]
    held = holds_port(bridge, spec.port)
    for stanza in port:
        found += port_stanza_problems(stanza)
        if not (held and stanza.method == "manual"):
            found += _placing_problems(stanza, spec.name)
    for name in spec.extra_ports:
        found += _extra_port_problems(net.of(name), spec.name, held=holds_port(bridge, name))
    found += _mtu_problems(port)
    found += _pair_problems(bridge, port)
    return sorted(set(found), key=lambda each: (each.file, each.line, each.why))


def _undeclared(net: Interfaces, spec: BridgeSpec) -> Iterator[Problem]:
    """What gives port or bridge more, or another name, than their own stanzas say."""
    ours = (spec.name, *spec.ports)
    for line in net.mappings:
        if hit := _covered(line.words[1:], ours):
            yield problem(
                line, f"a mapping that covers {hit}: which stanza it uses is known at run time only"
            )
    for line in net.lines:
        if line.keyword == "rename" and _renames(line, ours):
            yield problem(line, f"may rename {' or '.join((*spec.ports, spec.name))}")
    for stanza in net.stanzas:
        words = stanza.header.words
        if "inherits" in words and _device(words[1:2] + words[-1:]) & set(ours):
            yield problem(stanza.header, "inherits: options of one stanza would apply to another")


def _device(names: Iterable[str]) -> set[str]:
    return {name.partition(":")[0] for name in names}


def _covered(globs: Iterable[str], names: Iterable[str]) -> str | None:
    return next((name for name in names for glob in globs if fnmatchcase(name, glob.partition(":")[0])), None)


def _renames(line: Line, names: tuple[str, ...]) -> bool:
    return any(
        _pattern_may_match(old, names) or new in names or not new
        for old, _, new in (word.rpartition("=") for word in line.words[1:])
    )


def _pattern_may_match(word: str, names: Iterable[str]) -> bool:
    """Tell whether an interface word, be it a pattern as in `auto /eth*`, can mean one of `names`."""
    if "/" not in word:
        return word in names
    variable, _, pattern = word.partition("/")
    pattern = re.split(r"[/=]", pattern)[0]
    return bool(variable) or any(fnmatchcase(name, pattern) for name in names)


def _class_problems(net: Interfaces, spec: BridgeSpec) -> Iterator[Problem]:
    for line, names in net.class_lines():
        if joins_class(line):
            yield from _auto_problems(line, names, spec)
        elif why := _exception_why(net, line, names, spec):
            yield problem(line, why)


def _auto_problems(line: Line, names: tuple[str, ...], spec: BridgeSpec) -> Iterator[Problem]:
    ours = {spec.name, spec.port}
    named = _device(names) & ours
    for word in names:
        logical = word.rpartition("=")[2] if "=" in word else ""
        if "/" in word and (_pattern_may_match(word, ours) or logical in ours):
            yield problem(
                line, f"the pattern {word} may mean {spec.port} or {spec.name}: name the interfaces"
            )
        elif logical and (logical in ours or word.partition("=")[0] in ours):
            yield problem(line, f"{word} gives an interface another's stanza")
    if named and any(word.startswith("#") for word in names):
        yield problem(
            line, "interfaces(5) has no comments after a value: ifup would look for interfaces so named"
        )


def _exception_why(net: Interfaces, line: Line, names: tuple[str, ...], spec: BridgeSpec) -> str | None:
    port, bridge = (_covered(names, (name,)) is not None for name in (spec.port, spec.name))
    if line.keyword == "no-scripts":
        if bridge:
            return f"covers {spec.name}: bridge-utils' scripts, which make the bridge, would not run"
        return (
            f"covers {spec.port}: whether its addresses need those scripts cannot be told" if port else None
        )
    if not port or no_auto_down_line(net, spec) is not None or _is_excepted(net, spec.name):
        return None
    return f"write `no-auto-down {spec.port} {spec.name}` on one line of its own, outside of any stanza"


def _exceptions(net: Interfaces) -> Iterator[tuple[Line, tuple[str, ...]]]:
    return ((line, names) for line, names in net.class_lines() if line.keyword == "no-auto-down")


def _is_excepted(net: Interfaces, name: str) -> bool:
    return any(_covered(names, (name,)) is not None for _, names in _exceptions(net))


def no_auto_down_line(net: Interfaces, spec: BridgeSpec) -> Line | None:
    """Return the plain no-auto-down line that covers the port, when none covers the bridge."""
    if _is_excepted(net, spec.name):
        return None
    plain = ((line, names) for line, names in _exceptions(net) if line.words[1:] and "\\\n" not in line.raw)
    return next((line for line, names in plain if _covered(names, (spec.port,))), None)


def _membership(net: Interfaces, spec: BridgeSpec) -> Iterator[Problem]:
    """Return the lines that give a port to another bridge or bond."""
    others = (stanza for stanza in net.stanzas if stanza.device != spec.name)
    for stanza, port in itertools.product(others, spec.ports):
        for line in stanza.find(*_MEMBERS):
            if _has_member(line.rest.split(), port):
                yield problem(line, f"{port} belongs to {stanza.name}: an interface has one master")


def _has_member(words: list[str], port: str) -> bool:
    """Tell whether bridge-utils' bridge_parse_ports() would take the port (or might)."""
    by_pattern = False
    for word in words:
        if word in {"regex", "noregex"}:
            by_pattern = word == "regex"
        elif word == "all":
            by_pattern = False
            if any(re.fullmatch(pattern, port) for pattern in _ALL_PORTS):
                return True
        elif word == port or (by_pattern and _may_match(word, port)):
            return True
    return False


def _may_match(pattern: str, port: str) -> bool:
    try:
        return re.fullmatch(pattern, port) is not None
    except re.error:
        return True


def _strangers(net: Interfaces, spec: BridgeSpec) -> Iterator[Problem]:
    """Return other interfaces' commands that use a port as the way to somewhere."""
    for stanza, port in itertools.product(net.stanzas, spec.ports):
        if stanza.device in {spec.name, port}:
            continue
        for line in filter(is_command, stanza.options):
            if names_exactly(line.rest, port) and about(line, port) is not About.HARDWARE:
                yield problem(line, f"names {port}, which will have no address: rewrite it for {spec.name}")


def holds_port(bridge: Iterable[Stanza], port: str) -> bool:
    """Tell whether the bridge has the port already: its manual stanzas are a port's then, and stay."""
    return any(port in line.rest.split() for stanza in bridge for line in stanza.find("bridge_ports"))


def has_address(stanza: Stanza) -> bool:
    """Tell whether a stanza says something about addresses, by a command or an option."""
    return any(
        about(line, stanza.device) is About.ADDRESS if is_command(line) else place_of(line) is Place.BRIDGE
        for line in stanza.options
    )


def _extra_port_problems(stanzas: Iterable[Stanza], bridge: str, *, held: bool) -> Iterator[Problem]:
    """Check the stanzas of a further port, which bring it up at most; `held`: it is in the bridge already."""
    for stanza in stanzas:
        manual = stanza.method == "manual" and not stanza.alias
        if not manual or (not held and has_address(stanza)):
            yield problem(
                stanza.header,
                f"gives {stanza.device} addresses, which no further port of {bridge} may have:"
                f" make it `iface {stanza.device} {stanza.family} manual`, or delete it",
            )


def port_stanza_problems(stanza: Stanza) -> Iterator[Problem]:
    """Check one stanza of the port: is it right, and one that a bridge port may have?"""
    header = stanza.header
    if stanza.method not in PORT_METHODS.get(stanza.family, ()):
        yield problem(header, f"{stanza.family} {stanza.method} cannot be a bridge port's configuration")
    if header.words[4:] and "inherits" not in header.words:
        yield problem(header, "words after the method; interfaces(5) has no comments there")
    yield from value_problems(stanza.options)
    yield from address_problems(stanza)
    for line in stanza.options:
        if not is_command(line) and place_of(line) is Place.NEITHER:
            yield problem(line, f"{line.keyword}: {stanza.device} cannot be a port of this bridge")


def _placing_problems(stanza: Stanza, bridge: str) -> Iterator[Problem]:
    """Return the lines that cannot be put in their place, each with the way out."""
    device = stanza.device
    for line in stanza.options:
        if not is_command(line) and place_of(line) is Place.UNKNOWN:
            yield problem(
                line,
                f"option {line.keyword} is not known: whether it belongs to {device} cannot be told:"
                f" delete it, or write {bridge} by hand and put it where it belongs",
            )
    for line in filter(is_command, stanza.options):
        kind = about(line, device)
        if kind is About.EARLY:
            later = "up" if line.keyword == "pre-up" else "down"
            yield problem(line, f"{bridge} does not exist when {line.keyword} runs: write `{later}`")
        elif kind is About.UNCLEAR:
            yield problem(
                line,
                f"whether this is about the card {device} or about its addresses cannot be told:"
                f" write {bridge} for the interface if it is about addresses;"
                " if about the card, use ethtool, tc or ip link, one command a line,"
                f" or a script in /etc/network/if-up.d that acts when $IFACE is {device}",
            )


def _mtu_problems(port: tuple[Stanza, ...]) -> Iterator[Problem]:
    """Return the mtu lines that do not set the link's: inet6 static and auto, and dhcp."""
    of_link: set[str] = set()
    others: list[tuple[Stanza, Line]] = []
    for stanza in port:
        for line in stanza.find("mtu"):
            if stanza.method == "manual" or (stanza.family, stanza.method) == ("inet", "static"):
                of_link.add(line.rest)
            else:
                others.append((stanza, line))
    for stanza, line in others:
        if line.rest not in of_link:
            yield problem(
                line,
                f"in {stanza.family} {stanza.method} this is not the link's: for the link, write it into"
                f" a stanza `iface {stanza.device} inet manual`; else delete it",
            )


def bridge_problems(bridge: Iterable[Stanza], name: str) -> Iterator[Problem]:
    """Check the bridge's own stanzas: right values, no misspelt bridge_* option."""
    stanzas = tuple(bridge)
    if stanzas and not any(stanza.find("bridge_ports") for stanza in stanzas):
        yield problem(stanzas[0].header, f"{name} exists and is not a bridge: it has no bridge_ports")
    for stanza in stanzas:
        yield from value_problems(stanza.options)
        yield from address_problems(stanza)
        for line in stanza.options:
            written = option_name(line.keyword)
            if written.startswith("bridge-") and not BRIDGE_OPTIONS.fullmatch(written):
                yield problem(line, f"bridge-utils knows no option {line.keyword}")


def _pair_problems(bridge: tuple[Stanza, ...], port: tuple[Stanza, ...]) -> Iterator[Problem]:
    """Check the stanzas of bridge and port against each other."""
    if port and all(stanza.alias for stanza in port):
        yield problem(port[0].header, f"an alias of {port[0].device}, which has no stanza itself")
    taken = {stanza.family: stanza for stanza in bridge if stanza.method in _ADDRESSED and not stanza.alias}
    seen: dict[object, Stanza] = {}
    for stanza in port:
        if stanza.method in _ADDRESSED and not stanza.alias and stanza.family in taken:
            header = taken[stanza.family].header
            other = f"{header.file}:{header.number}: {stanza.family} {taken[stanza.family].method}"
            yield problem(
                stanza.header, f"the bridge has an address of its own already ({other}): keep one of them"
            )
        key = address_of(stanza) or (stanza.family, stanza.method, stanza.alias)
        if key in seen and stanza.method != "static":
            yield problem(stanza.header, f"repeats line {seen[key].header.number}")
        elif key in seen:
            yield problem(stanza.header, f"has the address of line {seen[key].header.number} again")
        seen.setdefault(key, stanza)
    yield from _conflicts(port)


def _conflicts(port: tuple[Stanza, ...]) -> Iterator[Problem]:
    """Return hardware options that the port's stanzas set to different values: they end up in one."""
    first: dict[str, Line] = {}
    for stanza in port:
        for line in stanza.options:
            if is_command(line) or is_class_line(line) or place_of(line) is not Place.PORT:
                continue
            known = first.setdefault(option_name(line.keyword), line)
            if known.rest != line.rest:
                yield problem(line, f"differs from line {known.number} of {known.file}")


def lower_devices(net: Interfaces, port: str) -> set[str]:
    """Return the port and the devices it is made of: a bond's slaves, a VLAN's parent."""
    found: set[str] = set()
    todo = {port}
    while todo:
        device = todo.pop()
        found.add(device)
        parents = {device.rpartition(".")[0]} if "." in device else set()
        for stanza in net.of(device):
            for line in stanza.find("bond_slaves", "slaves", "vlan_raw_device"):
                parents |= set(line.rest.split()) - {"none"}
        todo |= parents - found
    return found


def auto_lines(net: Interfaces, devices: set[str]) -> list[Line]:
    """Return the `auto` lines that name one of these interfaces, in reading order."""
    return [line for line, names in net.class_lines() if is_auto(line) and devices & set(names)]


def made_by_ifup(net: Interfaces, port: str) -> list[Stanza]:
    """Return the stanzas that make the port, where it is a bond or a named VLAN."""
    return [s for s in net.of(port) if s.find("bond_slaves", "slaves", "bond_mode", "vlan_raw_device")]


def _order_problems(net: Interfaces, spec: BridgeSpec) -> Iterator[Problem]:
    """bridge-utils skips a port that does not exist yet; a bond or named VLAN is made by its own ifup."""
    for port in spec.ports:
        makers = made_by_ifup(net, port)
        if not makers:
            continue
        own = auto_lines(net, {port})
        if not own:
            yield problem(makers[0].header, f"no auto line: {spec.name} would come up before {port} exists")
        for line in auto_lines(net, {spec.name}):
            if own and not _comes_first(net, own[0], port, line, spec.name):
                yield problem(line, f"{spec.name} comes up before {port} exists: move it after {port}")


def _comes_first(net: Interfaces, one: Line, name: str, other: Line, later: str) -> bool:
    if one == other:
        return one.words.index(name) < one.words.index(later)
    return net.position(one) < net.position(other)
