"""What is said about a plan, and about a lab: the words that the parts of a review share."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Verdict(enum.IntEnum):
    """How much a change weighs; a plan weighs as much as its heaviest step."""

    NOTHING = 0
    SAFE = 1
    """Nobody who is logged in to a guest notices it."""
    INTERRUPTS = 2
    """Guests are shut down or booted again; their disks stay."""
    DESTROYS = 3
    """A guest's disk, or what is on it, goes."""
    NETWORK = 4
    """A host's own network is changed: the one that it is reached over."""

    @property
    def words(self) -> str:
        """Return what people read."""
        return _WORDS[self]

    @property
    def red(self) -> bool:
        """Tell whether somebody has to approve it."""
        return self >= Verdict.DESTROYS


_WORDS = {
    Verdict.NOTHING: "nothing",
    Verdict.SAFE: "safe",
    Verdict.INTERRUPTS: "interrupts guests",
    Verdict.DESTROYS: "destroys data",
    Verdict.NETWORK: "touches a host's own network",
}


@dataclass(frozen=True)
class Step:
    """One resource in a plan.

    Args:
        urn: its URN.
        type: its type token, such as "pulumi-python:dynamic/kvm:NetworkBridge".
        name: its name.
        op: what the engine would do: "same", "create", "update", "replace", "delete", "read", …; of the two
            or three steps of a replacement only "replace" is kept.
        old: its inputs before; of a new one none.
        new: its inputs after; of one that goes none. Values not known before the update are UNKNOWN of
            policies.rules.verdict, secrets the text "[secret]".
        outputs: its outputs before.
        changed: paths of the inputs that differ, as the engine tells them ("endpoint.address"), in order.
        parents: names and types of its parents, nearest first: (("g1s2", "kvm:index:Guest"),).
        component: whether it is nothing but what is below it.
        unprotected: whether it was protected from deletion, and is no longer.
    """

    urn: str
    type: str
    name: str
    op: str
    old: Mapping[str, Any] = field(default_factory=dict)
    new: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    parents: tuple[tuple[str, str], ...] = ()
    component: bool = False
    unprotected: bool = False


@dataclass(frozen=True)
class Plan:
    """What the engine would do to a stack: every resource, the unchanged ones too, in the engine's order."""

    stack: str
    steps: tuple[Step, ...]
    whole: bool = True
    """False: the unchanged resources are left out, as `pulumi preview --json` does without --show-sames."""


@dataclass(frozen=True)
class Effect:
    """What one step, or several that belong together, means.

    Args:
        verdict: how much it weighs.
        sentence: what happens, for people, without host and guest: "its disk of generation 1 is deleted".
        host: the hypervisor that it happens on; None: on none.
        guest: the guest that it happens to; None: to the host itself.
        student: the environment that the guest, or the host, belongs to.
        subject: what a reason for it must name: a disk as "g1s2-g1", a host as its name, "" for none.
        urns: the steps.
    """

    verdict: Verdict
    sentence: str
    host: str | None = None
    guest: str | None = None
    student: str | None = None
    subject: str = ""
    urns: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileDiff:
    """A file of a host before and after, as far as the state tells it; a unified diff, line by line."""

    host: str
    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class GuestFacts:
    """A guest as a plan or a state has it."""

    name: str
    host: str
    address: str
    mac: str
    domain: str
    memory_mib: int | None = None
    vcpus: int | None = None
    student: str | None = None
    disks: tuple[str, ...] = ()
    """Names of its disks, the one in use first: "g1s2-g2"."""


@dataclass(frozen=True)
class HostFacts:
    """A hypervisor as a plan or a state has it."""

    name: str
    address: str
    bridge: str
    port: str
    extra_ports: tuple[str, ...] = ()
    stp: bool = False
    forward_delay: int = 0
    """Seconds."""
    addresses: tuple[str, ...] = ()
    """The bridge's addresses, where a state tells them."""
    student: str | None = None
    """Who has all of it."""
    guests: tuple[GuestFacts, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """Hosts, bridges and guests of a stack."""

    stack: str
    hosts: tuple[HostFacts, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """What the gate holds up: a rule, what it is about, and what would let it pass.

    `reason` is the written reason that lets it pass; None: there is none, and it is refused.
    """

    rule: str
    subject: str
    seen: str
    remedy: str
    reason: str | None = None


@dataclass(frozen=True)
class Reason:
    """A reason that the stack file gives in writing.

    Args:
        allow: the rule's name: "delete-disk", "network-with-guests" or "many-students".
        of: what it is for: the disk's name ("g1s2-g1"), the host's, or the number of students.
        reason: why.
    """

    allow: str
    of: str
    reason: str


@dataclass(frozen=True)
class PolicyResult:
    """What one rule of the policy pack says of a plan."""

    rule: str
    level: str
    violations: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    """What cannot be judged until the host exists."""


WOULD_CHANGE = "What would change"
"""How a report is headed when it is about a plan."""


@dataclass(frozen=True)
class Report:
    """All that a reviewer is shown."""

    stack: str
    effects: tuple[Effect, ...] = ()
    diffs: tuple[FileDiff, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unused_reasons: tuple[Reason, ...] = ()
    policies: tuple[PolicyResult, ...] = ()
    before: Inventory | None = None
    after: Inventory | None = None
    notes: tuple[str, ...] = ()
    """What was not looked at, and what the report cannot tell."""

    @property
    def verdict(self) -> Verdict:
        """Return the heaviest of the effects."""
        return max((effect.verdict for effect in self.effects), default=Verdict.NOTHING)

    @property
    def refused(self) -> bool:
        """Tell whether the gate refuses it, or a mandatory policy is broken."""
        held = any(refusal.reason is None for refusal in self.refusals)
        return held or any(one.violations for one in self.policies if one.level == "mandatory")
