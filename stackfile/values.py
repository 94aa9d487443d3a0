"""Scalar values of the stack file: what each may be, and the sentence that says so.

Each reader takes a value as YAML or JSON gives it and returns it parsed, or raises ValueError with a text
that completes "expected …". Numbers may come as text ("22"), switches as the words of YAML 1.1 (off, on).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import BeforeValidator, WithJsonSchema

from providers.state import apt

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

SWITCH_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
HOST_USER = r"[A-Za-z_][A-Za-z0-9._-]*"  # what Endpoint.user takes
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
DOMAIN_LENGTH = 253  # RFC 1035, without the final dot
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")  # IFNAMSIZ is 16, with the final NUL
# of signed URLs (S3, GCS, Azure, CloudFront) and of servers that take a token
SECRET_OPTION = re.compile(
    r"signature|token|secret|passw|credential|api-?_?key|key-pair-id|^(sig|auth|authorization|key|policy)$",
    re.IGNORECASE,
)
PROC_NAMES = ("all", "default")  # folders of /proc/sys/net/ipv4/conf: the kernel refuses them as names
GUEST_DEFAULTS = {"memory_mib": 1024, "disk_gib": 10}
PREFIX_WITHOUT_BROADCAST = 31  # RFC 3021: both addresses of an IPv4 /31 are hosts


def text(value: object, expected: str) -> str:
    """Return `value` when it is text; say how to write it when YAML took it for something else."""
    if isinstance(value, str):
        return value
    hint = " (write it in quotes)" if isinstance(value, bool | int | float) else ""
    raise ValueError(expected + hint)


def switch(value: object) -> bool:
    """Return the truth of `value`: a boolean, or a word that YAML 1.1 reads as one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in SWITCH_WORDS:
        return SWITCH_WORDS[value.lower()]
    raise ValueError("true or false")


def whole(low: int, high: int, what: str) -> Callable[[object], int]:
    """Return a reader of whole numbers from `low` to `high`; `what` is what they count."""
    expected = f"a whole number from {low} to {high} ({what})"

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(expected)
        return value

    return read


def matching(pattern: str, expected: str) -> Callable[[object], str]:
    """Return a reader of text that matches the whole of `pattern`."""
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if not compiled.fullmatch(text(value, expected)):
            raise ValueError(expected)
        return str(value)

    return read


def host_label(value: object) -> str:
    """Return one label of a host name, RFC 1123; small letters, as libvirt and known_hosts compare bytes."""
    expected = "a host name: 1 to 63 small letters, digits and inner hyphens, and not localhost"
    if value == "localhost" or not LABEL.fullmatch(text(value, expected)):
        raise ValueError(expected)
    return str(value)


def domain_name(value: object) -> str:
    """Return a DNS name of one or more labels, in small letters, without a final dot."""
    expected = "a DNS name such as lab.example"
    name = text(value, expected).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > DOMAIN_LENGTH or not all(LABEL.fullmatch(label) for label in labels):
        raise ValueError(expected)
    if labels[-1].isdigit():
        raise ValueError(expected + " (this looks like a mistyped IP address)")
    return name


def host_address(value: object) -> str:
    """Return where a host is reached: a DNS name, or an IP address in its shortest form."""
    expected = "an IP address or a DNS name"
    if "%" in text(value, expected):
        raise ValueError(
            expected + " without %…: which network card leads there is another one on each machine"
        )
    try:
        return str(ip_address(text(value, expected)))
    except ValueError:
        pass
    try:
        return domain_name(value)
    except ValueError:
        raise ValueError(text(expected, expected)) from None


def ip(value: object) -> IPAddress:
    """Return an IP address that one machine can have."""
    expected = "an IP address such as 198.51.100.1"
    try:
        address = ip_address(text(value, expected))
    except ValueError:
        raise ValueError(expected) from None
    if not _is_one_machine(address) or "%" in str(value):
        raise ValueError(expected + ", of one machine (not multicast, loopback or 0.0.0.0)")
    return address


def network(value: object) -> IPNetwork:
    """Return a network, its address without host bits."""
    expected = "a network with its prefix length, such as 198.51.100.0/24"
    if "/" not in text(value, expected):
        raise ValueError(expected)
    try:
        return ip_network(str(value))
    except ValueError:
        pass
    try:
        meant = ip_network(str(value), strict=False)
    except ValueError:
        raise ValueError(expected) from None
    raise ValueError(f"{expected} ({meant}, perhaps)")


def guest_interface(value: object) -> IPInterface:
    """Return an address with its prefix length, which must be neither the network nor the broadcast."""
    expected = "an IP address with its prefix length, such as 198.51.100.21/24"
    _, slash, prefix = text(value, expected).partition("/")
    try:
        interface = ip_interface(str(value))
    except ValueError:
        raise ValueError(expected) from None
    if not slash or not prefix.isdecimal() or "%" in str(value):  # %eth0: one machine's view of a network
        raise ValueError(expected)
    if not _is_one_machine(interface.ip):
        raise ValueError(expected + ", of one machine (not multicast, loopback or 0.0.0.0)")
    network = interface.network
    wide = network.prefixlen < network.max_prefixlen - 1
    if wide and interface.ip == network.network_address:
        raise ValueError(
            f"an address of a machine: {interface.ip} is the address of the network {network} itself"
        )
    if wide and interface.version == 4 and interface.ip == network.broadcast_address:  # noqa: PLR2004 - IPv4
        raise ValueError(f"an address of a machine: {interface.ip} is the broadcast address of {network}")
    return interface


def interface_name(value: object) -> str:
    """Return a network interface's name that kernel, ifupdown and a shell's argument list all take."""
    expected = "an interface name: 1 to 15 letters, digits, '_', '-' and '.', a letter or digit first"
    if not INTERFACE.fullmatch(text(value, expected)):
        raise ValueError(expected)
    if value in PROC_NAMES or value == "lo":
        raise ValueError(expected + f", and not {value}, which the kernel keeps for itself")
    return str(value)


def bridge_name(value: object) -> str:
    """Return a bridge's name: an interface name without a dot, by which ifupdown knows a VLAN."""
    name = interface_name(value)
    if "." in name:
        raise ValueError("a bridge name without a dot: ifupdown would take it for a VLAN interface")
    return name


def web_address(value: object) -> str:
    """Return an http or https URL without user and password."""
    expected = "an http:// or https:// URL"
    url = text(value, expected)
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("http", "https") or not name or port == 0 or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError(expected)
    if parts.username is not None or parts.password is not None:
        raise ValueError(expected + " without user and password: they would stand in the state and in logs")
    for option in parse_qs(parts.query, keep_blank_values=True):
        if SECRET_OPTION.search(option):
            raise ValueError(
                expected
                + f" without the option {option}: its value looks like a right to read the file, and would "
                "stand in the state and in the host's list of processes"
            )
    if not parts.path.rpartition("/")[2]:
        raise ValueError(expected + " that ends in a file name")
    return url


def local_path(value: object) -> str:
    """Return a path on this machine as it is written; a file must be at its end."""
    expected = "the path of a file on this machine"
    path = text(value, expected)
    if not path or path.endswith("/") or "\x00" in path or "\n" in path:
        raise ValueError(expected)
    return path


def _is_one_machine(address: IPAddress) -> bool:
    limited_broadcast = IPv4Address("255.255.255.255")
    return not (
        address.is_multicast or address.is_loopback or address.is_unspecified or address == limited_broadcast
    )


def _schema(kind: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **more})


Switch = Annotated[bool, BeforeValidator(switch)]
HostLabel = Annotated[str, BeforeValidator(host_label), _schema("string", pattern=f"^{LABEL.pattern}$")]
DomainName = Annotated[str, BeforeValidator(domain_name), _schema("string", format="hostname")]
HostAddress = Annotated[str, BeforeValidator(host_address), _schema("string")]
Address = Annotated[IPAddress, BeforeValidator(ip), _schema("string")]
GuestInterface = Annotated[
    IPInterface, BeforeValidator(guest_interface), _schema("string", pattern="/[0-9]+$")
]
Network = Annotated[IPNetwork, BeforeValidator(network), _schema("string", pattern="/[0-9]+$")]
InterfaceName = Annotated[
    str, BeforeValidator(interface_name), _schema("string", pattern=f"^{INTERFACE.pattern}$")
]
BridgeName = Annotated[str, BeforeValidator(bridge_name), _schema("string", pattern=f"^{INTERFACE.pattern}$")]
WebAddress = Annotated[str, BeforeValidator(web_address), _schema("string", pattern="^https?://")]
LocalPath = Annotated[str, BeforeValidator(local_path), _schema("string")]
UserName = Annotated[
    str,
    BeforeValidator(
        matching(
            r"[a-z_][a-z0-9_-]{0,31}",
            "a user name: 1 to 32 small letters, digits, '_' and '-', no digit first",
        )
    ),
    _schema("string", pattern="^[a-z_][a-z0-9_-]{0,31}$"),
]
HostUserName = Annotated[
    str,
    BeforeValidator(
        matching(HOST_USER, "a user name: letters, digits, '.', '_' and '-', a letter or '_' first")
    ),
    _schema("string", pattern=f"^{HOST_USER}$"),
]
PackageName = Annotated[
    str,
    BeforeValidator(
        matching(
            apt.PACKAGE_NAME,
            "the name of a Debian package: two or more small letters, digits, '+', '-' and '.', no '-' last",
        )
    ),
    _schema("string", pattern=f"^{apt.PACKAGE_NAME}$"),
]

GuestPath = Annotated[
    str,
    BeforeValidator(
        matching(r"(/[^/\x00-\x1f]+)+", "the whole path of a file in the guest, such as /etc/motd")
    ),
    _schema("string", pattern="^/"),
]
FileMode = Annotated[
    str,
    BeforeValidator(matching(r"0?[0-7]{3}", 'a mode in octal digits, in quotes, such as "0644"')),
    _schema("string", pattern="^0?[0-7]{3}$"),
]
FileOwner = Annotated[
    str,
    BeforeValidator(
        matching(r"[a-z_][a-z0-9_-]{0,31}(:[a-z_][a-z0-9_-]{0,31})?", "user or user:group, such as root:root")
    ),
    _schema("string"),
]


def number(low: int, high: int, what: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """Return what Annotated[int, *…] needs for whole numbers from `low` to `high`."""
    return BeforeValidator(whole(low, high, what)), _schema("integer", minimum=low, maximum=high)
