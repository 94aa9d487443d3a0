"""What a plan means for people: effects on guests, hosts and networks, changes of files; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from review.diffs import diffs
from review.inventory import VOLUME
from review.meaning_of_guests import guest_effects
from review.meaning_of_hosts import host_effects, reached_otherwise
from review.meaning_of_networks import network_effects
from review.model import Effect, Plan, Step, Verdict
from review.parts import Parts, kind, parts
from review.text import natural

__all__ = ["diffs", "effects"]


def effects(plan: Plan) -> tuple[Effect, ...]:
    """Return what a plan means, the heaviest first; none: it changes nothing."""
    found = list(_effects(parts(plan)))
    told = {urn for effect in found for urn in effect.urns}
    rest = (step for step in plan.steps if step.op != "same" and not step.component and step.urn not in told)
    # what nobody has a sentence for must not pass for nothing
    return tuple(sorted(_merged([*found, *map(_foreign, rest)]), key=_rank))


def _merged(found: Iterable[Effect]) -> Iterator[Effect]:
    """Yield effects that read alike as one."""
    alike: dict[Effect, list[str]] = {}
    for effect in found:
        alike.setdefault(replace(effect, urns=()), []).extend(effect.urns)
    return (replace(effect, urns=tuple(dict.fromkeys(urns))) for effect, urns in alike.items())


def _rank(effect: Effect) -> tuple[object, ...]:
    return (-effect.verdict, natural(effect.host or ""), natural(effect.guest or ""))


def _effects(of: Parts) -> Iterator[Effect]:
    for guest in of.guests:
        if any((step.op != "same" and not step.component) or step.unprotected for step in guest.steps):
            yield from guest_effects(guest)
    for host, steps in of.networks.items():
        yield from network_effects(host, steps, of.owners.get(host))
    for host, steps in of.hosts.items():
        yield from host_effects(host, steps, of.owners.get(host))
    for host, all_of_it in _by_host(of).items():
        yield from reached_otherwise(host, all_of_it, of.owners.get(host))


def _by_host(of: Parts) -> dict[str, list[Step]]:
    """Return every step of this program's by its host."""
    found: dict[str, list[Step]] = {}
    guests = [(guest.host or "", guest.steps) for guest in of.guests]
    for host, steps in [*of.networks.items(), *of.hosts.items(), *guests]:
        found.setdefault(host, []).extend(steps)
    return found


def _foreign(step: Step) -> Effect:
    """Return what is known of a resource of which no other sentence tells; a volume is a disk anywhere."""
    what = f"{step.name} ({step.type})"
    if kind(step) == VOLUME and step.op in {"delete", "replace"}:
        sentence = f"the disk {what} is deleted with all that is on it"
        return Effect(Verdict.DESTROYS, sentence, subject=step.name, urns=(step.urn,))
    words = {"create": "is made", "update": "is changed", "replace": "is made anew", "delete": "is deleted"}
    verdict = Verdict.SAFE if step.op == "create" else Verdict.INTERRUPTS
    does = words.get(step.op, f"has the step {step.op}")
    return Effect(verdict, f"{what} {does}; what that does is not known here", urns=(step.urn,))
