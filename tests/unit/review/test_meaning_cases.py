"""What previews of the engine mean, each after one edit of a stack file."""

from __future__ import annotations

import pytest

from review.gate import Limits, refusals
from review.meaning import effects
from review.model import Effect, Plan
from review.plan import parse
from tests.cases.review import loader


def plan(name: str) -> Plan:
    return parse(loader.preview(name))


def line(effect: Effect) -> str:
    where = (effect.host, effect.guest, effect.student, effect.subject)
    return f"{effect.verdict.name} {' '.join(name or '-' for name in where)}: {effect.sentence}"


@pytest.mark.parametrize("name", loader.names())
def test_what_an_edit_means_and_what_of_it_the_gate_holds_up(name: str) -> None:
    made = plan(name)
    held, unused = refusals(made, effects(made), Limits(), ())
    refused = [f"refused {one.rule}: {one.subject}" for one in held]
    assert [*map(line, effects(made)), *refused] == loader.meaning(name)
    assert not unused


@pytest.mark.parametrize("name", loader.names())
def test_no_step_is_left_out(name: str) -> None:
    steps = {step.urn for step in plan(name).steps if step.op != "same" and not step.component}
    assert steps <= {urn for effect in effects(plan(name)) for urn in effect.urns}


def test_the_stack_as_it_is_changes_nothing() -> None:
    same = Plan("lab", tuple(step for step in plan("unprotect").steps if not step.unprotected))
    assert effects(same) == ()


# that a disk is no longer protected only unchanged resources tell
@pytest.mark.parametrize("name", [name for name in loader.names() if "unprotect" not in name])
def test_without_the_unchanged_resources_it_means_the_same(name: str) -> None:
    document = loader.preview(name)
    document["steps"] = [step for step in document["steps"] if step["op"] != "same"]
    made = parse(document)
    assert not made.whole
    assert effects(made) == effects(plan(name))
