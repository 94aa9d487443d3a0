"""A plan's steps by what they are of: a guest, a host's network, a host, or nothing of this program; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.rules.verdict import UNKNOWN
from providers.state.bridge import shown
from review import inventory
from review.inventory import (
    BRIDGE,
    DISK,
    DOMAIN,
    ENVIRONMENT,
    GUEST,
    OWN_HOST,
    READY,
    VOLUME,
)
from review.model import Effect, GuestFacts, Inventory, Plan, Step, Verdict

PACKAGES = "kvm:AptPackages"
NETFILTER = "kvm:BridgeNetfilter"
LIBVIRT = "kvm:LibvirtHost"
IMAGE = "kvm:BaseImage"
HOST_KEY = "kvm:SshHostKey"
HYPERVISOR = "kvm:index:HypervisorHost"
SEED = "libvirt:index/cloudInitDisk:CloudInitDisk"
POOL = "libvirt:index/pool:Pool"
PROVIDER = "pulumi:providers:libvirt"
OF_GUESTS = frozenset({DISK, VOLUME, SEED, DOMAIN, READY, HOST_KEY, GUEST})
OF_NETWORKS = frozenset({BRIDGE, NETFILTER})
OF_HOSTS = frozenset({PACKAGES, LIBVIRT, IMAGE, POOL, PROVIDER, HYPERVISOR, OWN_HOST})
REACHED = frozenset({"endpoint", "stack", "uri", "parallel", "timeout", "rollback_timeout"})
"""Inputs that say how a thing is reached, who claims it, or how long it may take: not what it is."""


@dataclass(frozen=True)
class Guest:
    """A guest's steps; `was` and `will` are what it is before and after, where the plan tells.

    Not `whole`, it may have resources that stay and of which the plan says nothing.
    """

    name: str
    host: str | None
    student: str | None
    was: GuestFacts | None
    will: GuestFacts | None
    steps: tuple[Step, ...]
    whole: bool

    def of(self, *kinds: str) -> tuple[Step, ...]:
        """Return its steps of these kinds."""
        return tuple(step for step in self.steps if kind(step) in kinds)

    def one(self, wanted: str) -> Step | None:
        """Return its step of a kind that it has one of; None where the plan has none."""
        return next(iter(self.of(wanted)), None)

    def effect(self, verdict: Verdict, sentence: str, steps: Iterable[Step] = (), **more: str) -> Effect:
        """Return an effect on it; `more` are further fields of it."""
        whole = {"host": self.host, "guest": self.name, "student": self.student, **more}
        return Effect(verdict, sentence, urns=tuple(step.urn for step in steps), **whole)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Parts:
    """The steps of a plan that are of this program, each in one place, by the name of host or guest."""

    guests: tuple[Guest, ...]
    networks: Mapping[str, tuple[Step, ...]]
    hosts: Mapping[str, tuple[Step, ...]]
    owners: Mapping[str, str]
    """The student who has all of a host."""
    before: Inventory = field(repr=False)


def parts(plan: Plan) -> Parts:
    """Sort the steps of a plan; what is not of this program is in none of the places."""
    before, after = inventory.before(plan), inventory.after(plan)
    of_guests: dict[str, list[Step]] = {}
    networks: dict[str, list[Step]] = {}
    hosts: dict[str, list[Step]] = {}
    for step in plan.steps:
        guest = step.name if kind(step) == GUEST else _parent(step, GUEST)
        if kind(step) in OF_GUESTS and guest:
            of_guests.setdefault(guest, []).append(step)
        elif kind(step) in OF_NETWORKS:
            networks.setdefault(host_of(step), []).append(step)
        elif kind(step) in OF_HOSTS:
            hosts.setdefault(host_of(step), []).append(step)
    was, will = _facts(before), _facts(after)
    return Parts(
        tuple(
            _guest(name, steps, was.get(name), will.get(name), whole=plan.whole)
            for name, steps in of_guests.items()
        ),
        {name: tuple(steps) for name, steps in networks.items()},
        {name: tuple(steps) for name, steps in hosts.items()},
        {host.name: host.student for host in (*before.hosts, *after.hosts) if host.student},
        before,
    )


def kind(step: Step) -> str:
    """Return the type of a step's resource without what loads it."""
    return step.type.removeprefix("pulumi-python:dynamic/")


def host_of(step: Step) -> str:
    """Return the host that a step is about, as the stack file names it."""
    for inputs in (step.new, step.old):
        endpoint = inputs.get("endpoint")
        if isinstance(endpoint, Mapping) and isinstance(endpoint.get("host"), str):
            return str(endpoint["host"])
    return _parent(step, HYPERVISOR) or step.name


def found(step: Step) -> Mapping[str, Any]:
    """Return the inputs as they are before: those of the state, or what a refresh has seen in their place."""
    seen = step.outputs if kind(step).startswith("kvm:") else {}
    return {key: seen.get(key, value) for key, value in step.old.items()}


def edited(step: Step) -> dict[str, tuple[Any, Any]]:
    """Return the inputs that differ, each as it was and as it will be; new ones were None."""
    was, will = found(step), step.new
    pairs = {key: (was.get(key), will.get(key)) for key in (*will, *(key for key in was if key not in will))}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def changed_keys(step: Step) -> set[str]:
    """Return the names of the inputs that differ, those too whose values are hidden."""
    told = {path.partition(".")[0].partition("[")[0] for path in step.changed}
    return (told | edited(step).keys()) if step.op in {"update", "replace"} else set()


def said(value: object) -> str:
    """Return a value as a sentence has it."""
    if value is UNKNOWN:
        return "what is not known yet"
    return "none" if value == "" else shown(value)


def listed(names: Iterable[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _guest(
    name: str, steps: list[Step], was: GuestFacts | None, will: GuestFacts | None, *, whole: bool
) -> Guest:
    facts = was or will
    student = facts.student if facts else next(filter(None, (_parent(s, ENVIRONMENT) for s in steps)), None)
    return Guest(name, facts.host if facts else None, student, was, will, tuple(steps), whole)


def _facts(lab: Inventory) -> dict[str, GuestFacts]:
    return {guest.name: guest for guest in all_guests(lab)}


def all_guests(lab: Inventory) -> Iterator[GuestFacts]:
    """Yield the guests of all hosts."""
    return (guest for host in lab.hosts for guest in host.guests)


def _parent(step: Step, token: str) -> str | None:
    return next((name for name, parent in step.parents if parent == token), None)
