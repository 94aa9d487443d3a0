"""What the gate holds up, and what a reason lets pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from review.gate import Limits, affected_students, refusals
from review.meaning import effects
from review.model import Plan, Reason, Refusal, Step
from tests.unit.review.samples import KVM, bridge, created, deleted, guest, plan

WHY = "the term is over"


def judged(made: Plan, *reasons: Reason, at_once: int = 3) -> tuple[list[Refusal], tuple[Reason, ...]]:
    held, unused = refusals(made, effects(made), Limits(at_once), reasons)
    return list(held), unused


def held(made: Plan, at_once: int = 3) -> list[tuple[str, str]]:
    return [(one.rule, one.subject) for one in judged(made, at_once=at_once)[0]]


def gone(name: str, host: int = 1, student: str | None = None, generation: int = 1) -> list[Step]:
    return [deleted(step) for step in guest(name, host, student, generation)]


def rebooted(name: str, host: int, student: str | None = None) -> list[Step]:
    """The guest with more memory."""
    steps = guest(name, host, student)
    return [
        replace(step, op="replace", new={**step.new, "memory": 512}) if "domain:" in step.type else step
        for step in steps
    ]


def changed(step: Step, op: str = "update", **new: object) -> Step:
    return replace(step, op=op, new={**step.new, **new}, changed=tuple(new))


@pytest.fixture(name="term_ends")
def _term_ends() -> Plan:
    return plan(bridge(1), *gone("g1s1", student="g1s1", generation=2))


def test_each_disk_needs_a_reason_of_its_own(term_ends: Plan) -> None:
    one = Reason("delete-disk", "g1s1-g2", WHY)
    found, unused = judged(term_ends, one)
    assert sorted((held.subject, held.reason) for held in found) == [("g1s1-g1", None), ("g1s1-g2", WHY)]
    assert unused == ()


@pytest.mark.parametrize(
    "reason",
    [
        Reason("delete-disk", "g1s1", WHY),
        Reason("delete-disk", "g1s1-g22", WHY),
        Reason("network-with-guests", "g1s1-g2", WHY),
        Reason("many-students", "9", WHY),
    ],
)
def test_a_reason_lets_nothing_else_pass(term_ends: Plan, reason: Reason) -> None:
    found, unused = judged(term_ends, reason)
    assert [one.reason for one in found] == [None, None]
    assert unused == (reason,)


def test_the_remedy_is_the_line_to_write(term_ends: Plan) -> None:
    remedies = "".join(one.remedy for one in judged(term_ends)[0])
    assert '`- {allow: delete-disk, of: g1s1-g2, reason: "…"}`' in remedies
    assert "kvm-lab:reasons" in remedies


def test_a_volume_of_any_program_is_a_disk() -> None:
    volume = Step("urn:v", "libvirt:index/volume:Volume", "data", "delete", {"name": "data.qcow2"})
    assert held(plan(volume)) == [("delete-disk", "data")]


def test_a_network_that_changes_with_a_guest_that_boots_again() -> None:
    made = plan(changed(bridge(1), stp=True), *rebooted("web", 1))
    assert held(made) == [("network-with-guests", "h1")]
    found, unused = judged(made, Reason("network-with-guests", "h1", WHY))
    assert ([one.reason for one in found], unused) == ([WHY], ())


def test_a_network_that_changes_with_a_new_guest_beside_others() -> None:
    new = [created(step) for step in guest("db", 1, None)]
    assert held(plan(changed(bridge(1), stp=True), *guest("web", 1, None), *new)) == [
        ("network-with-guests", "h1")
    ]


def test_a_new_host_with_its_first_guests_and_another_hosts_guests_are_fine() -> None:
    new = [created(step) for step in (bridge(2), *guest("db", 2, None))]
    assert held(plan(*new, bridge(1), *rebooted("web", 1))) == []


def test_a_network_that_changes_alone_is_fine() -> None:
    assert held(plan(changed(bridge(1), stp=True), *guest("web", 1, None))) == []


def students(count: int) -> list[Step]:
    return [step for n in range(1, count + 1) for step in rebooted(f"g1s{n}", n, f"g1s{n}")]


def test_more_students_than_the_bound_need_a_reason() -> None:
    assert held(plan(*students(3))) == []
    assert held(plan(*students(4))) == [("many-students", "4")]
    assert held(plan(*students(1)), at_once=0) == [("many-students", "1")]


@pytest.mark.parametrize(("number", "passes"), [("3", False), ("4", True), ("40", True), ("all", False)])
def test_a_reason_says_how_many_it_may_be(number: str, passes: bool) -> None:
    found, unused = judged(plan(*students(4)), Reason("many-students", number, WHY))
    assert [one.reason is not None for one in found] == [passes]
    assert (unused == ()) is passes


def test_students_who_are_new_are_not_counted() -> None:
    new = [created(step) for n in range(5) for step in guest(f"g2s{n}", 1, f"g2s{n}")]
    made = plan(*new, *students(1))
    assert affected_students(made, effects(made)) == ("g1s1",)


def test_students_on_a_host_whose_network_goes_down_are_counted_and_those_of_a_live_change_not() -> None:
    inhabited = [*guest("g1s10", 1, "g1s10"), *guest("g1s2", 1, "g1s2"), *guest("g1s3", 2, "g1s3")]
    down = plan(changed(bridge(1), "replace", port="eth9"), *inhabited)
    live = plan(changed(bridge(1), stp=True), *inhabited)
    assert affected_students(down, effects(down)) == ("g1s2", "g1s10")
    assert affected_students(live, effects(live)) == ()


def test_the_owner_of_a_host_whose_network_goes_down_is_counted() -> None:
    inputs = {"endpoint": bridge(1).new["endpoint"], "generation": 1, "kept": []}
    own = Step("urn:o", f"{KVM}StudentHost", "g3s1", "same", inputs, inputs)
    owned = replace(own, parents=(("g3s1", "kvm:index:StudentEnvironment"),))
    made = plan(changed(bridge(1), "replace", port="eth9"), owned)
    assert affected_students(made, effects(made)) == ("g3s1",)


def test_students_whose_host_loses_what_guests_run_on_are_counted() -> None:
    inputs = {"endpoint": bridge(1).new["endpoint"], "packages": ["qemu-system-x86"]}
    hypervisor = (("h1", "kvm:index:HypervisorHost"),)
    packages = Step("urn:p", f"{KVM}AptPackages", "h1", "same", inputs, inputs, parents=hypervisor)
    inhabited = [*guest("g1s1", 1, "g1s1"), *guest("g1s2", 1, "g1s2"), *guest("g1s3", 2, "g1s3")]
    made = plan(changed(packages, packages=[]), bridge(1), bridge(2), *inhabited)
    assert affected_students(made, effects(made)) == ("g1s1", "g1s2")
