"""What a plan does to a student's own host: the account there, and its reset; pure.

See providers/student_host for what a change of each option does.
"""

from __future__ import annotations

from collections.abc import Iterator

from review.model import Step, Verdict
from review.parts import edited, found, listed

Told = Iterator[tuple[Verdict, str, str]]
"""How much it weighs, a sentence, and what a reason for it must name."""


def own_host_effects(step: Step) -> Told:
    """Yield what a change of the account, or of the generation, means."""
    user = (step.new or step.old).get("user")
    if step.unprotected:
        yield Verdict.SAFE, "it is no longer protected: a later change may take it from the student", ""
    if step.op == "create":
        yield Verdict.SAFE, f"is a student's own: the account {user} is made or adopted, with sudo", ""
    elif step.op == "delete":
        yield Verdict.INTERRUPTS, f"the account {user} is given back as found; what was made there stays", ""
    elif step.op == "replace":
        yield Verdict.INTERRUPTS, f"the account {user} is given back as found, and made anew", ""
    elif step.op == "update":
        yield from _reset(step)
        yield from _account(step)


def _reset(step: Step) -> Told:
    """A raised generation puts away; what is put away of a generation that is not kept is deleted."""
    before, after = found(step), step.new
    old, new, put_away = before.get("generation"), after.get("generation"), _numbers(before.get("kept"))
    if old != new:
        back = f"; those of generation {_number(new)} come back" if new in put_away else ""
        put = "guests, pools and networks that the student made are put away"
        unfinished = "its reset was interrupted, and goes on" if isinstance(old, str) else "is reset"
        yield Verdict.INTERRUPTS, f"{unfinished}: {put}{back}", ""
    stays = {*_numbers(after.get("kept")), new}
    for generation in dict.fromkeys([*put_away, *_numbers([old])]):
        if generation not in stays:
            made = f"guests, pools and networks of generation {generation} are deleted, with their disks"
            yield Verdict.DESTROYS, f"the student's {made}", f"{step.name}-g{generation}"


def _account(step: Step) -> Told:
    changes = edited(step)
    if "user" in changes:
        old, new = changes["user"]
        yield Verdict.INTERRUPTS, f"the account {old} gives way to {new}", ""
    noted = sorted(changes.keys() & {"keys", "groups", "sudo"})
    if noted:
        yield Verdict.SAFE, f"the account {step.new.get('user')} has other {listed(noted)}", ""


def _numbers(value: object) -> list[int]:
    """Return the generations in a list; a refresh writes "1, unfinished" of a reset that was interrupted."""
    values = value if isinstance(value, list | tuple) else []
    texts = [one.partition(",")[0] if isinstance(one, str) else one for one in values]
    return [int(one) for one in texts if isinstance(one, int | float) or str(one).isdecimal()]


def _number(value: object) -> str:
    return str(int(value)) if isinstance(value, int | float) else str(value)
