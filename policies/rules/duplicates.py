"""No two in a stack have one address."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from .lab_range import DOMAIN, READY
from .migration import BRIDGE
from .verdict import DEFAULTS, UNKNOWN, Finding, Options, Resource, Unjudged, Violation, items, texts

NAME = "addresses-are-unique"
DESCRIPTION = "No two guests or hosts of a stack have the same address or MAC address."
REFERENCE = "https://www.rfc-editor.org/rfc/rfc5227"
WHY = "both answer, and connections of either end at the other"
OPTIONS: Options = {}
WANTED = "an address that nobody else in the stack has"


@dataclass(frozen=True)
class Claim:
    """Somebody's claim to an address.

    Args:
        resource: the resource that makes it.
        option: where it does.
        owner: the host or guest that has the address; one owner's resources may name it more than once.
        value: the address, or UNKNOWN.
        port: where only a port of the address is claimed.
    """

    resource: Resource
    option: str
    owner: tuple[str, str]
    value: object
    port: object = None

    def clashes_with(self, other: Claim) -> bool:
        """Tell whether both cannot be."""
        if self.owner == other.owner:
            is_guest, same_kind = self.owner[0] == "guest", self.resource.type == other.resource.type
            return is_guest and same_kind and self.resource != other.resource
        return self.port is None or other.port is None or self.port == other.port


def judge_stack(resources: Sequence[Resource], options: Options = DEFAULTS) -> list[Finding]:  # noqa: ARG001
    """Judge the addresses of all guests, bridges and hosts; who comes later is named, with who has it."""
    findings: list[Finding] = []
    earlier: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in _claims(resources):
        if claim.value is UNKNOWN:
            findings.append(Unjudged(claim.resource.name, claim.option, WANTED))
            continue
        text = str(claim.value)
        first = next((one for one in earlier[text] if one.clashes_with(claim)), None)
        if first is not None:
            wanted = f"{WANTED}: it is {first.option} of {first.resource.name}"
            findings.append(Violation(claim.resource.name, claim.option, text, wanted, WHY))
        earlier[text].append(claim)
    return list(dict.fromkeys(findings))


def _claims(resources: Sequence[Resource]) -> Iterator[Claim]:
    claimed: dict[str, Callable[[Resource], Iterator[Claim]]] = {
        BRIDGE: _of_bridge,
        READY: _of_guest,
        DOMAIN: _of_domain,
    }
    # sorted: whatever the engine's order, the same one of two is named
    for resource in sorted(resources, key=lambda one: (one.type, one.name)):
        if resource.type in claimed:
            yield from claimed[resource.type](resource)


def _of_bridge(bridge: Resource) -> Iterator[Claim]:
    endpoint = bridge.seen.get("endpoint")
    if not isinstance(endpoint, Mapping):
        return
    owner = ("host", str(endpoint.get("host", bridge.name)))
    address = _bare(endpoint.get("address"))
    if address is not None:
        yield Claim(bridge, "endpoint.address", owner, address, endpoint.get("port") or 22)
    for index, text in enumerate(texts(bridge.seen.get("addresses"))):
        if not _is_link_local(text):
            yield Claim(bridge, f"addresses[{index}]", owner, _bare(text))
    if mac := bridge.seen.get("hw_address"):
        yield Claim(bridge, "hw_address", owner, mac if mac is UNKNOWN else str(mac).lower())


def _of_guest(guest: Resource) -> Iterator[Claim]:
    owner = ("guest", str(guest.seen.get("domain") or guest.name))
    address = _bare(guest.seen.get("address"))
    if address is not None:
        yield Claim(guest, "address", owner, address)


def _of_domain(domain: Resource) -> Iterator[Claim]:
    owner = ("guest", str(domain.seen.get("name") or domain.name))
    if domain.seen.get("networkInterfaces") is UNKNOWN:
        yield Claim(domain, "networkInterfaces", owner, UNKNOWN)
    for index, interface in enumerate(items(domain.seen.get("networkInterfaces"))):
        if not isinstance(interface, Mapping):
            continue
        path = f"networkInterfaces[{index}]"
        if mac := interface.get("mac"):
            yield Claim(domain, f"{path}.mac", owner, mac if mac is UNKNOWN else str(mac).lower())
        for number, text in enumerate(texts(interface.get("addresses"))):
            yield Claim(domain, f"{path}.addresses[{number}]", owner, _bare(text))


def _bare(address: object) -> object:
    """Return an address without its prefix, as it is commonly written; UNKNOWN and None as they are."""
    if address is UNKNOWN or not address:
        return address or None
    bare = str(address).partition("/")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return bare.lower()


def _is_link_local(text: str) -> bool:
    try:
        return ip_address(text.partition("/")[0]).is_link_local
    except ValueError:
        return False
