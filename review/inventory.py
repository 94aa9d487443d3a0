"""The hosts, bridges and guests that a plan starts from, and those that it leads to; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from review.model import GuestFacts, HostFacts, Inventory, Plan, Step
from review.text import natural

BRIDGE = "kvm:NetworkBridge"
READY = "kvm:GuestReady"
DISK = "kvm:GuestDisk"
OWN_HOST = "kvm:StudentHost"
DOMAIN = "libvirt:index/domain:Domain"
VOLUME = "libvirt:index/volume:Volume"
GUEST = "kvm:index:Guest"
ENVIRONMENT = "kvm:index:StudentEnvironment"


def before(plan: Plan) -> Inventory:
    """Return what the state has."""
    kept = (_Thing.of(step, step.old) for step in plan.steps if step.op != "create")
    return _inventory(plan.stack, kept)


def after(plan: Plan) -> Inventory:
    """Return what there is after the update; the addresses of a bridge as the state has them."""
    there = (_Thing.of(step, step.new) for step in plan.steps if step.op != "delete")
    return _inventory(plan.stack, there)


@dataclass(frozen=True)
class _Thing:
    """A resource with its inputs of before, or of after; `kind` is its type without what loads it."""

    kind: str
    name: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    parents: Mapping[str, str]
    """Names by type token."""

    @staticmethod
    def of(step: Step, inputs: Mapping[str, Any]) -> _Thing:
        kind = step.type.removeprefix("pulumi-python:dynamic/")
        return _Thing(kind, step.name, inputs, step.outputs, {token: name for name, token in step.parents})

    @property
    def guest(self) -> str | None:
        """The guest that it is of."""
        return self.name if self.kind == GUEST else self.parents.get(GUEST)

    @property
    def endpoint(self) -> Mapping[str, Any]:
        found = self.inputs.get("endpoint")
        return found if isinstance(found, Mapping) else {}

    def text(self, key: str) -> str:
        """Return an input that is text; of another, or one that is not known yet, nothing."""
        return _text(self.inputs, key)

    def whole(self, key: str) -> int | None:
        """Return an input that is a whole number; JSON has 256 as 256.0 too."""
        value = self.inputs.get(key)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def _inventory(stack: str, things: Iterable[_Thing]) -> Inventory:
    found = [thing for thing in things if thing.inputs or thing.kind in {ENVIRONMENT, GUEST}]
    generations = {thing.name: thing.whole("generation") for thing in found if thing.kind == ENVIRONMENT}
    hosts = {host.name: host for host in map(_host, _of(found, BRIDGE))}
    owners = {_text(thing.endpoint, "host"): thing.parents.get(ENVIRONMENT) for thing in _of(found, OWN_HOST)}
    by_host: dict[str, list[GuestFacts]] = defaultdict(list)
    for guest in _guests(found, generations):
        by_host[guest.host].append(guest)
    for name in [*owners, *by_host]:
        hosts.setdefault(name, HostFacts(name, "", "", ""))
    whole = (
        replace(host, student=owners.get(name), guests=_sorted(by_host[name])) for name, host in hosts.items()
    )
    return Inventory(stack, tuple(sorted(whole, key=lambda host: natural(host.name))))


def _host(bridge: _Thing) -> HostFacts:
    return HostFacts(
        name=_text(bridge.endpoint, "host") or bridge.name,
        address=_text(bridge.endpoint, "address"),
        bridge=bridge.text("name"),
        port=bridge.text("port"),
        extra_ports=_texts(bridge.inputs.get("extra_ports")),
        stp=bridge.inputs.get("stp") is True,
        forward_delay=bridge.whole("forward_delay") or 0,
        addresses=_texts(bridge.outputs.get("addresses")),
    )


def _guests(found: Iterable[_Thing], generations: Mapping[str, int | None]) -> Iterator[GuestFacts]:
    """Yield the guests; one whose making was cut short has a domain or a disk only."""
    of_guest: dict[str, list[_Thing]] = defaultdict(list)
    for thing in found:
        if thing.guest is not None:
            of_guest[thing.guest].append(thing)
    for name, parts in of_guest.items():
        environment = next((p.parents[ENVIRONMENT] for p in parts if ENVIRONMENT in p.parents), None)
        guest = _guest(name, parts, environment)
        if guest is not None:
            generation = generations.get(environment or "")
            yield replace(guest, disks=_disks(name, parts, generation))


def _guest(name: str, parts: list[_Thing], environment: str | None) -> GuestFacts | None:
    placed = [part for kind in (READY, DISK) for part in _of(parts, kind)]
    host = next(filter(None, (_text(part.endpoint, "host") for part in placed)), None)
    if host is None:
        return None
    domain = next(_of(parts, DOMAIN), None)
    return GuestFacts(
        name=name,
        host=host,
        address=next(filter(None, (part.text("address") for part in placed)), ""),
        mac=_mac(domain) if domain else "",
        domain=next(filter(None, (part.text("domain") for part in placed)), ""),
        memory_mib=domain.whole("memory") if domain else None,
        vcpus=domain.whole("vcpu") if domain else None,
        student=environment,
    )


def _mac(domain: _Thing) -> str:
    cards = domain.inputs.get("networkInterfaces")
    first = cards[0] if isinstance(cards, list | tuple) and cards else {}
    return _text(first, "mac").lower() if isinstance(first, Mapping) else ""


def _disks(guest: str, parts: list[_Thing], generation: int | None) -> tuple[str, ...]:
    """Return names of disks, the one in use first: the domain's, else the environment's generation's."""
    names = sorted((volume.name for volume in _of(parts, VOLUME)), key=natural, reverse=True)
    used = next(
        filter(None, (first_disk(domain.inputs) for domain in _of(parts, DOMAIN))), f"{guest}-g{generation}"
    )
    return tuple(sorted(names, key=lambda name: name != used))


def first_disk(domain: Mapping[str, Any]) -> str:
    """Return the name of the disk that a domain with these inputs boots from; "" while it is not known."""
    disks = domain.get("disks")
    first = disks[0] if isinstance(disks, list | tuple) and disks else {}
    return PurePosixPath(_text(first, "volumeId")).stem if isinstance(first, Mapping) else ""


def _of(things: Iterable[_Thing], kind: str) -> Iterator[_Thing]:
    return (thing for thing in things if thing.kind == kind)


def _sorted(guests: Iterable[GuestFacts]) -> tuple[GuestFacts, ...]:
    return tuple(sorted(guests, key=lambda guest: natural(guest.name)))


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list | tuple) else ()
