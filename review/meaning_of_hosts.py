"""What a plan does to hypervisors besides their network: packages, libvirt, images; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from review.inventory import OWN_HOST
from review.meaning_of_own_hosts import own_host_effects
from review.model import Effect, Step, Verdict
from review.parts import (
    HYPERVISOR,
    IMAGE,
    LIBVIRT,
    PACKAGES,
    POOL,
    PROVIDER,
    REACHED,
    changed_keys,
    edited,
    found,
    kind,
    listed,
)

_CARRIES_GUESTS = ("bridge-utils", "ifupdown", "libvirt", "qemu")
"""How the packages begin without which guests do not run."""
_CARRIERS = frozenset({PACKAGES, LIBVIRT, HYPERVISOR})


def host_effects(host: str, steps: Sequence[Step], student: str | None) -> Iterator[Effect]:
    """Yield what happens to a host; what only says how it is reached is not told here."""
    changing = [step for step in steps if step.op != "same"]
    own = [step for step in steps if kind(step) == OWN_HOST]
    rest = [step for step in changing if kind(step) != OWN_HOST]
    ops = {step.op for step in steps if kind(step) in _CARRIERS}
    together = [step for step in rest if {step.op} == ops]
    if ops == {"create"}:
        sentence = f"becomes a hypervisor: {_brought(together)}"
        yield Effect(Verdict.SAFE, sentence, host, student=student, urns=_urns(together))
    elif ops == {"delete"}:
        sentence = (
            "leaves the lab: the packages that it brought go, and libvirt stops where it did not run before; "
            "guests that others made there may stop"
        )
        yield Effect(Verdict.INTERRUPTS, sentence, host, student=student, urns=_urns(together))
    else:
        together = []
    for step in rest:
        for verdict, sentence in _told(step) if step not in together else ():
            yield Effect(verdict, sentence, host, student=student, urns=(step.urn,))
    for step in own:
        for verdict, sentence, subject in own_host_effects(step):
            yield Effect(verdict, sentence, host, student=student, subject=subject, urns=(step.urn,))


def reached_otherwise(host: str, steps: Iterable[Step], student: str | None) -> Iterator[Effect]:
    """Yield one effect for the steps of which only how the host is reached, or claimed, is another."""
    noted = [
        step
        for step in steps
        if step.op == "update" and not step.component and changed_keys(step) and changed_keys(step) <= REACHED
    ]
    keys = set().union(*map(changed_keys, noted)) - {"rollback_timeout"}
    if keys:
        changes = listed(sorted(keys))
        sentence = f"only how it is reached or waited for is another ({changes}); nothing on it changes"
        yield Effect(Verdict.SAFE, sentence, host, student=student, urns=_urns(noted))


def _urns(steps: Iterable[Step]) -> tuple[str, ...]:
    return tuple(step.urn for step in steps)


def _brought(steps: Sequence[Step]) -> str:
    packages = next((step.new.get("packages") for step in steps if kind(step) == PACKAGES), None)
    images = sorted(str(step.new.get("name")) for step in steps if kind(step) == IMAGE)
    count = (
        f"{len(packages)} packages are installed where they are missing" if isinstance(packages, list) else ""
    )
    return listed(
        filter(
            None, [count or "packages are installed", *(f"the image {name} is brought" for name in images)]
        )
    )


def _told(step: Step) -> Iterator[tuple[Verdict, str]]:
    tell = {PACKAGES: _of_packages, LIBVIRT: _of_libvirt, IMAGE: _of_image, POOL: _of_pool}.get(kind(step))
    if tell is not None:
        yield from tell(step)
    elif kind(step) == PROVIDER and step.op in {"replace", "delete"}:
        yield Verdict.SAFE, "how libvirt is reached there is another"


def _of_packages(step: Step) -> Iterator[tuple[Verdict, str]]:
    before, after = (inputs.get("packages") for inputs in (found(step), step.new))
    if step.op in {"delete", "replace"}:
        yield Verdict.INTERRUPTS, "the packages that the lab brought go; guests may stop"
    if step.op not in {"create", "update"} or not isinstance(after, list):
        return
    had = before if isinstance(before, list) else []
    added, removed = [p for p in after if p not in had], [p for p in had if p not in after]
    if added:
        yield Verdict.SAFE, f"gets the packages {listed(map(str, added))}"
    if removed:
        carries = any(str(name).startswith(_CARRIES_GUESTS) for name in removed)
        names = listed(map(str, removed))
        sentence = f"no longer needs {names}: what the lab brought of it goes"
        yield (Verdict.INTERRUPTS, f"{sentence}; guests may stop") if carries else (Verdict.SAFE, sentence)


def _of_libvirt(step: Step) -> Iterator[tuple[Verdict, str]]:
    if step.op in {"delete", "replace"}:
        yield Verdict.INTERRUPTS, "libvirt stops where it did not run before; guests may stop"
    elif step.op == "create" or "active" in edited(step):
        yield Verdict.SAFE, "libvirt is started where it does not run"


def _of_image(step: Step) -> Iterator[tuple[Verdict, str]]:
    inputs = step.new or step.old
    name, digest = inputs.get("name"), str(inputs.get("sha256") or inputs.get("sha512") or "")[:8]
    image = f"the image {name} ({digest}…)"
    if step.op == "create":
        yield Verdict.SAFE, f"gets {image}, for new disks"
    elif step.op == "delete":
        yield Verdict.SAFE, f"{image} goes with the last disk that needs it"
    elif changed_keys(step) - REACHED:
        yield (
            Verdict.SAFE,
            f"{image} takes the place of another, for new disks; disks keep what they are made from",
        )


def _of_pool(step: Step) -> Iterator[tuple[Verdict, str]]:
    if step.op == "create":
        yield Verdict.SAFE, "gets a storage pool for guests' disks"
    else:
        words = {"delete": "is deleted", "replace": "is made anew"}.get(step.op, "is changed")
        yield Verdict.INTERRUPTS, f"its storage pool {words}; guests may stop"
