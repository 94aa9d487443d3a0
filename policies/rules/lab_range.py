"""Guests and hosts have addresses of the lab, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from .migration import BRIDGE
from .verdict import DEFAULTS, UNKNOWN, Finding, Options, Resource, Unjudged, Violation, items, texts, written

NAME = "addresses-inside-the-lab"
DESCRIPTION = "Guests' addresses and MAC addresses, and hosts' addresses, are of the ranges configured."
REFERENCE = "https://www.rfc-editor.org/rfc/rfc7042#section-2.1"
WHY = "the network is shared: a foreign address may be somebody else's, who then loses his connection"
_NETWORKS = {"type": "array", "items": {"type": "string", "format": "cidr"}, "default": []}
OPTIONS: Options = {
    "networks": {**_NETWORKS, "description": "CIDRs of the guests' addresses; none: not judged"},
    "host_networks": {**_NETWORKS, "description": "CIDRs of the hosts' addresses; none: not judged"},
    "mac_prefixes": {
        "type": "array",
        "items": {"type": "string", "pattern": "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){0,5}$"},
        "default": [],
        "description": "what guests' MAC addresses begin with, such as 52:54:00; none: not judged",
    },
}
READY = "pulumi-python:dynamic/kvm:GuestReady"
DOMAIN = "libvirt:index/domain:Domain"


def judge(resource: Resource, options: Options = DEFAULTS) -> list[Finding]:
    """Judge a guest's address, a domain's interfaces, or the address by which a bridge's host is reached."""
    if resource.type == READY:
        networks = texts(options.get("networks"))
        return _judge_address(resource.name, "address", resource.inputs.get("address"), networks)
    if resource.type == BRIDGE:
        endpoint = resource.inputs.get("endpoint")
        address = endpoint.get("address") if isinstance(endpoint, Mapping) else endpoint
        networks = texts(options.get("host_networks"))
        return _judge_address(resource.name, "endpoint.address", address, networks)
    if resource.type == DOMAIN:
        return _judge_interfaces(resource.name, resource.inputs.get("networkInterfaces"), options)
    return []


def _judge_interfaces(name: str, interfaces: object, options: Options) -> list[Finding]:
    networks, prefixes = texts(options.get("networks")), texts(options.get("mac_prefixes"))
    if interfaces is UNKNOWN:
        option = "networkInterfaces"
        return [Unjudged(name, option, _within((*networks, *prefixes)))] if networks or prefixes else []
    findings: list[Finding] = []
    for index, interface in enumerate(items(interfaces)):
        path = f"networkInterfaces[{index}]"
        values = interface if isinstance(interface, Mapping) else {"mac": interface, "addresses": interface}
        findings += _judge_mac(name, f"{path}.mac", values.get("mac"), prefixes)
        addresses = values.get("addresses")
        given = [UNKNOWN] if addresses is UNKNOWN else items(addresses)
        for number, address in enumerate(given):
            findings += _judge_address(name, f"{path}.addresses[{number}]", address, networks)
    return findings


def _judge_mac(name: str, option: str, mac: object, prefixes: Sequence[str]) -> list[Finding]:
    if not prefixes or (isinstance(mac, str) and mac.lower().startswith(_lower(prefixes))):
        return []
    return [_outside(name, option, mac, prefixes)]


def _judge_address(name: str, option: str, address: object, networks: Sequence[str]) -> list[Finding]:
    if not networks or _is_within(address, networks):
        return []
    return [_outside(name, option, address, networks)]


def _outside(name: str, option: str, value: object, ranges: Sequence[str]) -> Finding:
    if value is UNKNOWN:
        return Unjudged(name, option, _within(ranges))
    return Violation(name, option, written(value), _within(ranges), WHY)


def _within(ranges: Sequence[str]) -> str:
    return f"within {', '.join(ranges)}"


def _is_within(address: object, networks: Sequence[str]) -> bool:
    try:
        bare = ip_address(str(address).partition("/")[0])
    except ValueError:
        return False
    return any(bare in network for network in map(_network, networks))


def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _lower(prefixes: Sequence[str]) -> tuple[str, ...]:
    return tuple(prefix.lower() for prefix in prefixes)
