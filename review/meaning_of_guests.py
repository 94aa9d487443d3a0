"""What a plan does to guests and their disks, in few sentences for each; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from policies.rules.verdict import UNKNOWN
from review.inventory import DISK, DOMAIN, READY, VOLUME, first_disk
from review.meaning_of_seeds import seed_changes
from review.model import Effect, Step, Verdict
from review.parts import HOST_KEY, REACHED, SEED, Guest, changed_keys, edited, found, kind, listed, said

GIB = 2**30
_FOLLOWS = frozenset({"cloudinit", "description", "disks", "networkInterfaces"})
"""Inputs of a domain that are told of in the words of what they follow from."""
_WORDS = {"vcpu": ("vCPUs", ""), "memory": ("memory", " MiB"), "type": ("its virtualisation", "")}

Lost = Mapping[str, Sequence[Step]]
"""The steps of the disks that are deleted or made anew, by the disk's name."""


def guest_effects(guest: Guest) -> Iterator[Effect]:
    """Yield what happens to a guest; nothing where only how it is reached is another."""
    domain, lost = guest.one(DOMAIN), _lost(guest)
    if domain is not None and domain.op == "create" and guest.was is None and not lost:
        yield guest.effect(Verdict.SAFE, _made(guest), _changing(guest))
    elif guest.was is not None and guest.will is not None and guest.was.host != guest.will.host:
        yield from _moved(guest, guest.was.host, guest.will.host, lost)
    elif domain is not None and domain.op == "delete":
        yield from _gone(guest, domain, lost)
    else:
        yield from _changed(guest, domain, lost)


def disk_name(step: Step) -> str:
    """Return a disk's name without its format: "g1s2-g1"."""
    name = (step.old or step.new).get("name") if kind(step) == VOLUME else None
    return name.removesuffix(".qcow2") if isinstance(name, str) else step.name


def _changing(guest: Guest) -> list[Step]:
    return [step for step in guest.steps if step.op != "same"]


def _lost(guest: Guest) -> Lost:
    lost: dict[str, list[Step]] = {}
    for step in guest.of(VOLUME, DISK):
        if step.op in {"delete", "replace"} and not _without_volume(guest, step):
            lost.setdefault(disk_name(step), []).append(step)
    return lost


def _without_volume(guest: Guest, step: Step) -> bool:
    """Whether a step forgets a disk that has no volume yet, or no more; its GuestDisk is there longer."""
    known = {disk_name(volume) for volume in guest.of(VOLUME)} | {first_disk(s.old) for s in guest.of(DOMAIN)}
    return guest.whole and kind(step) == DISK and step.op == "delete" and disk_name(step) not in known


def _others(guest: Guest, lost: Lost) -> list[Step]:
    gone = {step.urn for steps in lost.values() for step in steps}
    return [step for step in _changing(guest) if step.urn not in gone]


def _made(guest: Guest) -> str:
    facts, disk = guest.will, guest.one(DISK)
    if facts is None:
        return "is made, with a new, empty disk"
    told = [
        f"{facts.vcpus} vCPU{'s' * (facts.vcpus != 1)}" if facts.vcpus else "",
        f"{facts.memory_mib} MiB of memory" if facts.memory_mib else "",
        f"a new disk of {_gib(disk.new.get('size'))}" if disk else "a new disk",
    ]
    return f"is made, with {listed(filter(None, told))}" + (f", at {facts.address}" if facts.address else "")


def _moved(guest: Guest, before: str, after: str, lost: Lost) -> Iterator[Effect]:
    for disk, steps in lost.items():
        sentence = f"moves to {after}: it is shut down, and its disk {disk} with all that is on it is deleted"
        yield guest.effect(Verdict.DESTROYS, sentence, steps, host=before, subject=disk)
    disk = "a new, empty disk" if lost else "its disk"
    sentence = f"comes from {before} and boots from {disk}"
    yield guest.effect(Verdict.INTERRUPTS, sentence, _others(guest, lost), host=after)


def _gone(guest: Guest, domain: Step, lost: Lost) -> Iterator[Effect]:
    used, rest = first_disk(domain.old), _others(guest, lost)
    if used not in lost:
        yield guest.effect(
            Verdict.INTERRUPTS, "is shut down, and its domain is deleted; its disk stays", rest
        )
    for disk, steps in lost.items():
        if disk == used:
            sentence = f"is shut down and deleted, and its disk {disk} with all that is on it"
            yield guest.effect(Verdict.DESTROYS, sentence, [*rest, *steps], subject=disk)
        else:
            yield _lost_disk(guest, disk, steps, "kept ")


def _lost_disk(guest: Guest, disk: str, steps: Sequence[Step], which: str = "") -> Effect:
    again = ", and an empty one is made in its place" if any(s.op == "replace" for s in steps) else ""
    sentence = f"its {which}disk {disk} with all that is on it is deleted{again}"
    return guest.effect(Verdict.DESTROYS, sentence, steps, subject=disk)


def _changed(guest: Guest, domain: Step | None, lost: Lost) -> Iterator[Effect]:
    """Yield what happens to a guest that stays where it is."""
    used = first_disk(domain.old) if domain else ""
    if domain is not None and domain.op == "replace":
        yield _booted(guest, domain, used, lost)
        lost = {disk: steps for disk, steps in lost.items() if disk != used}
    else:
        yield from _seeded(guest)
        yield from _domain_changed(guest, domain)
    for disk, steps in lost.items():
        yield _lost_disk(guest, disk, steps, "kept " if used and disk != used else "")
    yield from _disks_changed(guest, domain)
    yield from _ready_changed(guest)


def _booted(guest: Guest, domain: Step, used: str, lost: Lost) -> Effect:
    """Return what a domain that is made anew means, with what becomes of the disk that it had."""
    made = [step for step in guest.of(VOLUME, DISK) if step.op == "create"]
    new = next((disk_name(step) for step in made if kind(step) == VOLUME), used)
    boots = first_disk(domain.new) or new
    parts = [s for s in _changing(guest) if kind(s) in {DOMAIN, READY, SEED, HOST_KEY} or s in made]
    if boots == used and used not in lost:
        sentence = f"is shut down and boots again, with its disk{_why(guest, domain)}"
        return guest.effect(Verdict.INTERRUPTS, sentence, parts)
    fresh = boots == used or any(disk_name(step) == boots for step in made)
    disk = f"a new, empty disk{'' if boots == used else f', {boots}'}" if fresh else f"the kept disk {boots}"
    sentence = f"is shut down and boots from {disk}{_why(guest, domain)}"
    if used in lost:
        gone = f"{sentence}; its disk {used} with all that is on it is deleted"
        return guest.effect(Verdict.DESTROYS, gone, [*parts, *lost[used]], subject=used)
    return guest.effect(Verdict.INTERRUPTS, f"{sentence}; its disk {used} is kept", parts)


def _why(guest: Guest, domain: Step) -> str:
    """Return ": " and why the domain is made anew, besides for another disk; "" where there is no more."""
    changes, was, will = edited(domain), guest.was, guest.will
    told = []
    for key, (word, unit) in _WORDS.items():
        old, new = changes.get(key, (None, None))
        if new is UNKNOWN:
            told.append(f"{word} {said(old)}{unit} may become another; where it does not, it runs on")
        elif key in changes:
            told.append(f"{word} {said(old)}{unit if old else ''} becomes {said(new)}{unit}")
    if was and will and was.address != will.address:
        told.append(f"its address {was.address} becomes {will.address or said(None)}")
    old_bridge, new_bridge = (_bridge(inputs) for inputs in (domain.old, domain.new))
    if old_bridge != new_bridge:
        told.append(f"bridge {old_bridge} {f'becomes {new_bridge}' if new_bridge else 'is made anew'}")
    others = sorted(changed_keys(domain) - _WORDS.keys() - _FOLLOWS)
    if others:
        told.append(f"its definition is another ({', '.join(others)})")
    seed = guest.one(SEED)
    moved = "address" in set().union(*map(changed_keys, guest.of(READY)))
    if seed is not None and seed.op == "replace" and not (moved and "userData" not in changed_keys(seed)):
        told.append(f"its seed is another ({seed_changes(seed)})")
    return f": {listed(told)}" if told else ""


def _bridge(domain: Mapping[str, object]) -> str:
    cards = domain.get("networkInterfaces")
    first = cards[0] if isinstance(cards, list) and cards else {}
    name = first.get("bridge") if isinstance(first, Mapping) else None
    return name if isinstance(name, str) else ""


def _seeded(guest: Guest) -> Iterator[Effect]:
    """Yield what an edited seed means for a guest that runs on."""
    steps = [s for s in guest.of(SEED, DOMAIN, READY) if s.op != "same"]
    for seed in guest.of(SEED):
        if seed.op != "same":
            sentence = f"an edit takes effect at the next boot of {guest.name}: {seed_changes(seed)}"
            yield guest.effect(Verdict.SAFE, sentence, steps)
    for key in guest.of(HOST_KEY):
        if key.op != "same":
            sentence = f"another SSH host key takes effect at the next boot of {guest.name}"
            yield guest.effect(Verdict.SAFE, sentence, (key,))


def _domain_changed(guest: Guest, domain: Step | None) -> Iterator[Effect]:
    if domain is None or domain.op not in {"create", "update"}:
        return
    changes, others = edited(domain), sorted(changed_keys(domain) - {"cloudinit", "autostart"})
    if domain.op == "create":
        made = [step for step in guest.of(VOLUME, DISK) if step.op == "create"]
        disk = "a new, empty disk" if made else "its disk"
        rest = [step for step in guest.of(SEED, READY) if step.op != "same"]
        sentence = f"is missing, and is made again with {disk}"
        yield guest.effect(Verdict.SAFE, sentence, [domain, *made, *rest])
    elif others == ["running"] and domain.new.get("running") is not False:
        yield guest.effect(Verdict.INTERRUPTS, "is off, and is started", (domain,))
    elif others:
        sentence = f"its domain is changed in place ({', '.join(others)}); what that does is not known"
        yield guest.effect(Verdict.INTERRUPTS, sentence, (domain,))
    elif "autostart" in changes:
        no_longer = "from now on" if changes["autostart"][1] else "no longer"
        yield guest.effect(Verdict.SAFE, f"starts with its host {no_longer}", (domain,))


def _disks_changed(guest: Guest, domain: Step | None) -> Iterator[Effect]:
    """Yield what happens to disks that stay, and which are made beside the one in use."""
    for step in guest.of(DISK, VOLUME):
        if step.op == "update":
            yield from _disk_changed(guest, step)
        if _without_volume(guest, step):
            sentence = f"its disk {disk_name(step)}, which has no volume, is not wanted any more"
            yield guest.effect(Verdict.SAFE, sentence, (step,))
        boots = domain is not None and domain.op in {"create", "replace"}
        if step.unprotected and step.op in {"same", "update"} and not boots:
            sentence = f"its disk {disk_name(step)} is no longer protected: a later change may delete it"
            yield guest.effect(Verdict.SAFE, sentence, (step,))
        if step.op == "create" and kind(step) == VOLUME and not boots:
            sentence = f"an empty disk {disk_name(step)} is made beside the one in use"
            yield guest.effect(Verdict.SAFE, sentence, (step,))


def _disk_changed(guest: Guest, step: Step) -> Iterator[Effect]:
    changes, disk = edited(step), disk_name(step)
    others = sorted(changed_keys(step) - {"size", "discard"} - REACHED)
    if "size" in changes:
        old, new = map(_gib, changes["size"])
        sentence = (
            f"its disk {disk} grows from {old} to {new} while it runs, its file system at the next boot"
        )
        yield guest.effect(Verdict.SAFE, sentence, (step,))
    if "discard" in changes:
        may = "may be deleted because it moves" if changes["discard"][1] else "is kept from a move again"
        yield guest.effect(Verdict.SAFE, f"its disk {disk} {may}, from now on", (step,))
    if others:
        sentence = f"its disk {disk} is changed in place ({', '.join(others)}); what that does is not known"
        yield guest.effect(Verdict.INTERRUPTS, sentence, (step,))


def _ready_changed(guest: Guest) -> Iterator[Effect]:
    for step in guest.of(READY):
        if step.op == "update" and found(step).get("ready") is not step.new.get("ready"):
            sentence = "did not answer: it is started where it does not run, and waited for"
            yield guest.effect(Verdict.SAFE, sentence, (step,))


def _gib(size: object) -> str:
    return f"{size / GIB:g} GiB" if isinstance(size, int | float) else said(size)
