"""The plan gate: what needs a reason in writing before it may happen; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from review.inventory import DOMAIN, ENVIRONMENT, GUEST
from review.meaning_of_networks import goes_down
from review.model import Effect, Plan, Reason, Refusal, Verdict
from review.parts import Parts, all_guests, kind, listed, parts
from review.text import counted, natural
from stackfile.reasons import STUDENTS_AT_ONCE

DELETE_DISK = "delete-disk"
NETWORK_WITH_GUESTS = "network-with-guests"
MANY_STUDENTS = "many-students"


@dataclass(frozen=True)
class Limits:
    """From when on a change is one that needs a reason."""

    students_at_once: int = STUDENTS_AT_ONCE
    """Students that may be affected at once without a reason."""


def refusals(
    plan: Plan, effects: Sequence[Effect], limits: Limits, reasons: Sequence[Reason]
) -> tuple[tuple[Refusal, ...], tuple[Reason, ...]]:
    """Return what is held up, what a reason lets pass too, and the reasons that let nothing pass.

    Args:
        plan: the plan.
        effects: what it means.
        limits: those of the stack file.
        reasons: those of the stack file.
    """
    of = parts(plan)
    students = affected_students(plan, effects)
    held = [*_disks(effects), *_networks(of, effects), *_students(students, limits)]
    used: set[Reason] = set()
    told = []
    for one in held:
        reason = next((reason for reason in reasons if _allows(reason, one)), None)
        if reason is not None:
            used.add(reason)
        text = reason.reason if reason else None
        told.append(Refusal(one.rule, one.subject, one.seen, one.remedy, text))
    return tuple(told), tuple(reason for reason in reasons if reason not in used)


def affected_students(plan: Plan, effects: Iterable[Effect]) -> tuple[str, ...]:
    """Return the students who lose data, or whose guests or hosts go down; who is new is not among them."""
    of = parts(plan)
    grave = [effect for effect in effects if effect.verdict in {Verdict.INTERRUPTS, Verdict.DESTROYS}]
    hit = {effect.student for effect in grave}
    down = {host for host, steps in of.networks.items() if any(map(goes_down, steps))}
    down |= {effect.host for effect in grave if effect.host and effect.guest is None}
    hit |= {guest.student for guest in all_guests(of.before) if guest.host in down}
    hit |= {of.owners.get(host) for host in down}
    new = {step.name for step in plan.steps if kind(step) == ENVIRONMENT and step.op == "create"}
    return tuple(sorted((name for name in hit if name and name not in new), key=natural))


def _allows(reason: Reason, refusal: Refusal) -> bool:
    if reason.allow != refusal.rule:
        return False
    if refusal.rule == MANY_STUDENTS:
        return reason.of.isdecimal() and int(reason.of) >= int(refusal.subject)
    return reason.of == refusal.subject


def _refusal(rule: str, subject: str, seen: str, instead: str) -> Refusal:
    line = f'- {{allow: {rule}, of: {subject}, reason: "…"}}'
    remedy = f"write why under kvm-lab:reasons in the stack file: `{line}`, or {instead}"
    return Refusal(rule, subject, seen, remedy)


def _disks(effects: Iterable[Effect]) -> Iterator[Refusal]:
    """Yield one for each disk; what is deleted of a student's own host counts as one."""
    by_disk: dict[str, list[Effect]] = {}
    for effect in effects:
        if effect.verdict == Verdict.DESTROYS:
            by_disk.setdefault(effect.subject, []).append(effect)
    for disk, found in by_disk.items():
        seen = "; ".join(f"{_whose(effect)}: {effect.sentence}" for effect in found)
        yield _refusal(DELETE_DISK, disk, seen, "keep it: `kept` names the generations whose disks stay")


def _whose(effect: Effect) -> str:
    return " on ".join(name for name in (effect.guest, effect.host) if name) or "the stack"


def _networks(of: Parts, effects: Sequence[Effect]) -> Iterator[Refusal]:
    touched = {
        effect.host: effect.sentence
        for effect in reversed(effects)
        if effect.verdict == Verdict.NETWORK and effect.host
    }
    for host, sentence in touched.items():
        guests = sorted(_touched_guests(of, effects, host), key=natural)
        if guests:
            seen = f"{host}: {sentence}; in the same plan as {listed(guests)} there"
            yield _refusal(NETWORK_WITH_GUESTS, host, seen, "make two changes of it, the network by itself")


def _touched_guests(of: Parts, effects: Iterable[Effect], host: str) -> set[str]:
    """Return guests of a host that go down, lose data or are made; of a host's first guests none."""
    existing = {guest.name for guest in all_guests(of.before) if guest.host == host}
    made = {
        guest.name
        for guest in of.guests
        if any(step.op == "create" and kind(step) in {GUEST, DOMAIN} for step in guest.steps)
    }
    is_first = not existing and any(step.op == "create" for step in of.networks.get(host, ()))
    harmed = {effect.guest for effect in effects if effect.verdict > Verdict.SAFE}
    here = {effect.guest for effect in effects if effect.guest and effect.host == host}
    return set() if is_first else {name for name in here if name and name in harmed | made}


def _students(students: Sequence[str], limits: Limits) -> Iterator[Refusal]:
    allowed = limits.students_at_once
    if len(students) <= allowed:
        return
    bound = f"without a reason {allowed} may be, by kvm-lab:students_at_once"
    seen = f"{counted(len(students), 'student')} at once: {listed(students)}; {bound}"
    yield _refusal(MANY_STUDENTS, str(len(students)), seen, "change them in several steps")
