"""What is known about the options of a stanza: whose they are, and which values are right.

Sources: ifupdown's inet.defn and inet6.defn, bridge-utils-interfaces(5), and the hook scripts of
Debian's ethtool, ifenslave, vlan, resolvconf and wpasupplicant.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from enum import Enum

from providers.state.interfaces.lines import Line
from providers.state.interfaces.model import Problem
from providers.state.interfaces.parse import COMMANDS, Stanza, is_class_line, option_name

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface
MANAGED = ("bridge_ports", "bridge_stp", "bridge_fd", "bridge_maxwait", "bridge_hw", "dns-search")
"""The options that a BridgeSpec speaks about."""
PORT_METHODS = {"inet": {"static", "dhcp", "manual"}, "inet6": {"static", "dhcp", "manual", "auto"}}
"""What a stanza of the port may be; ppp, tunnels and others are not a bridge's."""

_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_DOMAIN = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?"
)
_MAX_METRIC = 2**32 - 1


class Place(Enum):
    """Where an option belongs once the port is in the bridge."""

    PORT = "stays with the port"
    BRIDGE = "moves with the address"
    NEITHER = "cannot be bridged"
    UNKNOWN = "not known"


_PORT = re.compile(
    r"hwaddress|mtu|media|description|ethernet-.+|link-(speed|duplex)|hardware-.+|offload-.+"
    r"|driver-message-level|bond-(?!master$).+|slaves|vlan-raw-device|vlan-id"
)
_BRIDGE = re.compile(
    r"address|netmask|broadcast|network|gateway|pointopoint|metric|scope|accept-ra|autoconf|privext"
    r"|preferred-lifetime|dad-(attempts|interval)|dhcp|request-prefix|ll-(attempts|interval)"
    r"|hostname|lease(time|hours)|vendor|client|ip-(proxy-arp|rp-filter)|dns-.+"
)
_NEITHER = re.compile(r"wpa-.+|wireless-.+|bridge-.+|ovs-.+|bond-master")
BRIDGE_OPTIONS = re.compile(
    r"bridge-(ports|ageing|bridgeprio|fd|gcint|hello|hw|maxage|maxwait|pathcost|portprio|stp|vlan-aware|waitport"
    r"|access|allow-untagged|mcsnoop|mcquerier|mcqv4src|pvid|vids|vlan-protocol|disabled)"
)
_MAY_REPEAT = re.compile(r"dns-(?!search$).+|bridge-(pathcost|portprio)")


def place_of(line: Line) -> Place:
    """Tell where an option line of the port's belongs; commands are judged elsewhere."""
    name = option_name(line.keyword)
    if is_class_line(line) or _PORT.fullmatch(name):
        return Place.PORT
    if _BRIDGE.fullmatch(name):
        return Place.BRIDGE
    return Place.NEITHER if _NEITHER.fullmatch(name) else Place.UNKNOWN


def problem(line: Line, why: str) -> Problem:
    """Return a problem with this line."""
    return Problem(line.file, line.number, line.shown, why)


def is_command(line: Line) -> bool:
    """Tell whether the line is a command: up, pre-up, ..."""
    return line.keyword in COMMANDS


def _each(check: Callable[[str], bool], wanted: str) -> Callable[[str], str | None]:
    return lambda value: None if value and all(map(check, value.split())) else wanted


def _one(check: Callable[[str], bool], wanted: str) -> Callable[[str], str | None]:
    return lambda value: None if check(value) else wanted


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def is_mac(value: str) -> bool:
    """Tell whether the text is a MAC address, colon-separated."""
    return bool(_MAC.fullmatch(value))


def is_domain(value: str) -> bool:
    """Tell whether the text is a DNS name."""
    return bool(_DOMAIN.fullmatch(value))


def _is_hwaddress(value: str) -> bool:
    return value == "random" or is_mac(value.removeprefix("ether").strip())


def _number(lowest: int, highest: int) -> Callable[[str], bool]:
    return lambda value: value.isascii() and value.isdigit() and lowest <= int(value) <= highest


def seconds(value: str) -> float | None:
    """Return a number of seconds, fraction allowed; None when it is none."""
    return float(value) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else None


def truth(value: str) -> bool | None:
    """Return what brctl(8) makes of `on`, `yes`, `off`, `no`; None for anything else."""
    return {"on": True, "yes": True, "1": True, "off": False, "no": False, "0": False}.get(value.lower())


_RIGHT: dict[str, Callable[[str], str | None]] = {
    "gateway": _one(_is_address, "not an IP address"),
    "pointopoint": _one(lambda value: _is_address(value.partition("/")[0]), "not an IP address"),
    "broadcast": _one(lambda value: value in {"+", "-"} or _is_address(value), "not an IP address, + or -"),
    "network": _one(_is_address, "not an IP address"),
    "metric": _one(_number(0, _MAX_METRIC), "not a whole number"),
    "mtu": _one(_number(68, 65535), "not a number of bytes from 68 to 65535"),
    "hwaddress": _one(_is_hwaddress, "not a MAC address"),
    "scope": _one(lambda value: re.fullmatch(r"\w+", value) is not None, "not a scope"),
    "accept-ra": _one(_number(0, 2), "not 0, 1 or 2"),
    "autoconf": _one(_number(0, 1), "not 0 or 1"),
    "privext": _one(_number(0, 2), "not 0, 1 or 2"),
    "dns-nameservers": _each(_is_address, "not a list of IP addresses"),
    "dns-nameserver": _each(_is_address, "not an IP address"),
    "dns-search": _each(is_domain, "not a list of domains"),
    "dns-domain": _each(is_domain, "not a domain"),
    "bridge-stp": _one(lambda value: truth(value) is not None, "neither on nor off"),
    "bridge-fd": _one(lambda value: seconds(value) is not None, "not a number of seconds"),
    "bridge-maxwait": _one(_number(0, 86400), "not a whole number of seconds"),
    "bridge-hw": _each(lambda value: "#" not in value, "not a MAC address or an interface"),
    "bridge-ports": _each(
        lambda value: value not in {"all", "regex", "noregex"} and "#" not in value,
        "ports named by a pattern or with a comment: which they are cannot be told from the file",
    ),
}


def has_comment(line: Line) -> bool:
    """Tell whether someone meant to write a comment after the value."""
    return any(word.startswith("#") for word in line.words)


def value_problems(lines: Iterable[Line]) -> list[Problem]:
    """Check each option's value, and that no option stands twice in its stanza."""
    found: list[Problem] = []
    first: dict[str, Line] = {}
    for line in lines:
        if is_command(line) or is_class_line(line):
            continue
        name = option_name(line.keyword)
        if name in first and not _MAY_REPEAT.fullmatch(name):
            found.append(problem(line, f"repeats line {first[name].number}; ifupdown joins the two values"))
        first.setdefault(name, line)
        if has_comment(line):
            found.append(problem(line, "interfaces(5) has no comments after a value: they become part of it"))
        elif (check := _RIGHT.get(name)) and (why := check(line.rest)):
            found.append(problem(line, why))
    return found


def address_of(stanza: Stanza) -> Address | None:
    """Return the address with prefix of a `static` stanza without address problems, else None."""
    lines = stanza.find("address")
    if stanza.method != "static" or not lines or _static_problems(stanza):
        return None
    return _interface(lines[0].rest, _netmask(stanza))


def address_problems(stanza: Stanza) -> list[Problem]:
    """Check what a `static` stanza says about address, netmask and gateway together."""
    return _static_problems(stanza) if stanza.method == "static" else []


def _static_problems(stanza: Stanza) -> list[Problem]:
    lines = stanza.find("address")
    if not lines:
        return [problem(stanza.header, "static without an address")]
    if any(map(has_comment, stanza.find("address", "netmask"))):
        return []  # said already, by value_problems
    whys = _address_whys(stanza, lines[0].rest)
    return [problem(lines[0], why) for why in whys] or _gateway_problems(stanza)


def _netmask(stanza: Stanza) -> str | None:
    lines = stanza.find("netmask")
    return lines[0].rest if lines else None


def _interface(address: str, netmask: str | None) -> Address | None:
    plain, slash, prefix = address.partition("/")
    try:
        return ipaddress.ip_interface(
            f"{plain}/{netmask if netmask is not None else prefix if slash else ''}"
        )
    except ValueError:
        return None


def _address_whys(stanza: Stanza, value: str) -> list[str]:
    netmask = _netmask(stanza)
    if "/" not in value and netmask is None:
        return ["no prefix length and no netmask: ifupdown would take that of the old address classes"]
    seen = _interface(value, netmask)
    if seen is None:
        return ["not an IP address with a right prefix length or netmask"]
    if isinstance(seen, ipaddress.IPv4Interface) != (stanza.family == "inet"):
        return [f"not an address of family {stanza.family}"]
    written = _interface(value, None) if "/" in value else seen
    if written != seen:
        return [f"the prefix length contradicts the line `netmask {netmask}`, which wins in ifupdown"]
    if isinstance(seen, ipaddress.IPv4Interface) and _is_edge(seen):
        return [f"the network or broadcast address of {seen.network}, not a host's"]
    return []


def _is_edge(seen: ipaddress.IPv4Interface) -> bool:
    """Tell network and broadcast address; a /31 and a /32 have none (RFC 3021)."""
    edges = {seen.network.network_address, seen.network.broadcast_address}
    return seen.network.num_addresses > len(edges) and seen.ip in edges


def _gateway_problems(stanza: Stanza) -> list[Problem]:
    lines = stanza.find("gateway")
    address = stanza.find("address")
    own = _interface(address[0].rest, _netmask(stanza))
    if not lines or own is None or not _is_address(lines[0].rest):
        return []
    gateway = ipaddress.ip_address(lines[0].rest)
    if gateway.version != own.version:
        return [problem(lines[0], f"not an address of family {stanza.family}")]
    if gateway == own.ip:
        return [problem(lines[0], "the host's own address")]
    peers = [line.rest.partition("/")[0] for line in stanza.find("pointopoint")]
    alone = own.network.prefixlen == own.max_prefixlen
    if gateway in own.network or gateway.is_link_local or alone or lines[0].rest in peers:
        return []
    return [problem(lines[0], f"outside of {own.network}: hosts there are not neighbours")]
