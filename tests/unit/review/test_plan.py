"""Previews and states of the engine, read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from policies.rules.verdict import UNKNOWN
from providers.errors import LabError
from review.hidden import HIDDEN
from review.model import Step
from review.plan import of_state, parse, subtract
from tests.unit.review import samples
from tests.unit.review.documents import SECRET_MARK, UNKNOWN_TEXT, export, preview, state, step, urn

DISK = "pulumi-python:dynamic/kvm:GuestDisk"
INSIDE = "kvm:index:StudentEnvironment$kvm:index:Guest"
GUEST = urn(INSIDE, "g1s2-web")
ENVIRONMENT = urn("kvm:index:StudentEnvironment", "g1s2")
COMPONENTS = (
    step("same", "kvm:index:StudentEnvironment", "g1s2", {}, {}),
    step("same", INSIDE, "g1s2-web", {}, {}, parent=ENVIRONMENT),
)


def only(*steps: dict[str, Any]) -> Step:
    (found,) = parse(preview(*steps)).steps
    return found


def test_a_step_has_its_inputs_before_and_after_what_differs_and_its_parents() -> None:
    disk = step(
        "update", f"{INSIDE}${DISK}", "g1s2-web-g1", {"size": 1, "e": {"a": 1, "b": [1]}}, {}, parent=GUEST
    )
    disk["newState"]["inputs"] = {"size": 2, "e": {"a": 1, "b": [2]}}
    disk["oldState"]["outputs"] = {"size": 1}
    plan = parse(preview(*COMPONENTS, disk, same=2))
    found = plan.steps[-1]
    assert (plan.stack, plan.whole, len(plan.steps)) == ("lab", True, 3)
    assert (found.type, found.name, found.op, found.component) == (DISK, "g1s2-web-g1", "update", False)
    assert (found.old["size"], found.new["size"], found.outputs) == (1, 2, {"size": 1})
    assert found.changed == ("size", "e.b[0]")
    assert found.parents == (
        ("g1s2-web", "kvm:index:Guest"),
        ("g1s2", "kvm:index:StudentEnvironment"),
    )


def test_without_the_unchanged_resources_a_plan_is_not_whole_and_parents_have_their_childs_name() -> None:
    plan = parse(preview(step("delete", f"{INSIDE}${DISK}", "g1s2-web-g1", {}, parent=GUEST), same=2))
    assert not plan.whole
    assert plan.steps[0].parents[1] == ("g1s2-web", "kvm:index:StudentEnvironment")


def test_what_is_not_known_and_what_is_secret_is_told_from_text() -> None:
    secret = {**SECRET_MARK, "ciphertext": "v1:x"}
    found = only(
        step("create", "a:b:C", "x", new={"id": UNKNOWN_TEXT, "keys": [secret], "__provider": "x", "n": "1"})
    )
    assert found.new == {"id": UNKNOWN, "keys": [HIDDEN], "n": "1"}


@pytest.mark.parametrize("kind", ["1c4a061d-8072-4f0a-a4cb-0ff528b18fe7", UNKNOWN_TEXT])
def test_whatever_kind_a_value_has_that_is_not_known(kind: str) -> None:
    assert only(step("create", "a:b:C", "x", new={"v": [kind]})).new == {"v": [UNKNOWN]}


def test_a_secret_that_differs_is_named_as_the_engine_names_it() -> None:
    changed = step("update", "a:b:C", "x", {"data": HIDDEN, "n": 1}, {"data": HIDDEN, "n": 2})
    changed["detailedDiff"] = {"data": {"kind": "update"}, "n": {"kind": "update"}}
    assert only(changed).changed == ("n", "data")


def test_the_steps_of_a_replacement_are_one() -> None:
    old, new = {"port": "eth0"}, {"port": "eth1"}
    made = step("create-replacement", "a:b:C", "x", old, new)
    gone = step("delete-replaced", "a:b:C", "x", old)
    found = only(gone, made, step("replace", "a:b:C", "x", old, new))
    assert (found.op, found.old, found.new, found.changed) == ("replace", old, new, ("port",))


def test_what_an_interrupted_replacement_left_is_no_less_than_a_replacement() -> None:
    left = step("delete-replaced", "a:b:C", "x", {"n": 1})
    found = only(step("same", "a:b:C", "x", {"n": 2}, {"n": 2}), left)
    assert (found.op, found.old) == ("replace", {"n": 2})


def test_a_refresh_that_finds_it_gone_and_makes_it_anew_is_a_replacement() -> None:
    assert (
        only(step("delete", "a:b:C", "x", {"n": 1}), step("create", "a:b:C", "x", new={"n": 1})).op
        == "replace"
    )


def test_a_refresh_alone_changes_nothing() -> None:
    found = only(step("refresh", "a:b:C", "x", {"n": 1}, {"n": 1}))
    assert (found.op, found.changed) == ("same", ())


def test_a_failed_preview_is_no_plan() -> None:
    with pytest.raises(LabError, match=r"does not tell all changes:\n\s+x is protected\n"):
        parse(preview(errors=["x is protected", "error: preview failed"]))


@pytest.mark.parametrize(
    ("document", "seen"),
    [
        ({}, "no steps"),
        ({"steps": {}}, "no steps"),
        ({"steps": [1]}, "no steps"),
        (export(), "it is a state"),
        ({"steps": [{"op": "same", "urn": "x"}]}, "'x' is no URN"),
    ],
)
def test_what_is_no_preview_is_refused(document: dict[str, Any], seen: str) -> None:
    with pytest.raises(LabError, match=seen) as told:
        parse(document)
    assert "pulumi preview --json" in told.value.remedy


def test_a_state_is_a_plan_that_changes_nothing() -> None:
    secret = {**SECRET_MARK, "plaintext": json.dumps("hidden")}
    key = state("a:b:C", "x", {"n": 1, "key": secret}, outputs={"key": secret})
    left = state("a:b:C", "x", {"n": 0}, delete=True)
    plan = of_state(export(key, left))
    (found,) = plan.steps
    assert (plan.stack, found.op, found.old, found.new) == ("lab", "same", found.new, {"n": 1, "key": HIDDEN})
    assert found.outputs == {"key": HIDDEN}


@pytest.mark.parametrize("document", [{}, preview(), {"deployment": {"resources": 1}}])
def test_what_is_no_state_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(LabError, match="read the state") as told:
        of_state(document)
    assert "stack export" in told.value.remedy


BRIDGE = samples.bridge(1)


def updated(step: Step, **new: object) -> Step:
    return replace(step, op="update", new={**step.new, **new}, changed=tuple(new))


def test_what_is_pending_on_the_base_is_not_the_heads() -> None:
    both = updated(BRIDGE, stp=True)
    beyond, pending = subtract(samples.plan(both), samples.plan(both))
    (left,) = beyond.steps
    assert (left.op, left.old, left.new, left.changed) == ("same", both.new, both.new, ())
    assert pending.steps == (both,)


def test_what_remains_starts_from_what_the_base_leads_to() -> None:
    base = updated(BRIDGE, forward_delay=4)
    head = updated(base, stp=True)
    beyond, _ = subtract(samples.plan(head), samples.plan(base))
    (left,) = beyond.steps
    assert (left.op, left.old["forward_delay"], left.changed) == ("update", 4, ("stp",))


def test_what_both_delete_is_not_there_and_what_only_the_head_deletes_is_deleted() -> None:
    other = samples.bridge(2)
    head = samples.plan(samples.deleted(BRIDGE), samples.deleted(other))
    beyond, _ = subtract(head, samples.plan(samples.deleted(BRIDGE), updated(other, stp=True)))
    (left,) = beyond.steps
    assert (left.urn, left.op, left.old["stp"]) == (other.urn, "delete", True)


def test_a_heavier_step_than_the_bases_stays() -> None:
    base = updated(BRIDGE, port="eth1")
    beyond, _ = subtract(samples.plan(replace(base, op="replace")), samples.plan(base))
    assert [step.op for step in beyond.steps] == ["replace"]
