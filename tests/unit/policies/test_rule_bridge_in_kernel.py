from __future__ import annotations

import pytest

from policies.rules import bridge_in_kernel, migration
from policies.rules.verdict import UNKNOWN, Finding, Options, Resource, Unjudged, Violation

BRIDGE = "pulumi-python:dynamic/kvm:NetworkBridge"
ASKED = {"migration": True, "stp": False, "forward_delay": 0}


def judge(kernel: object, options: Options | None = None, **asked: object) -> list[Finding]:
    outputs = {**ASKED, **asked, "kernel": kernel}
    return bridge_in_kernel.judge_stack([Resource(BRIDGE, "g1s1", {}, outputs)], options or {})


def test_passes_what_the_kernel_has_as_asked() -> None:
    assert judge({"stp": False, "forward_delay": 0.0}) == []
    assert judge({"stp": True, "forward_delay": 15.0}, migration=False) == []


def test_refuses_what_the_kernel_has_otherwise() -> None:
    assert judge({"stp": True, "forward_delay": 15.0}) == [
        Violation("g1s1", "kernel.stp", "true", "false with migration on", migration.WHY),
        Violation("g1s1", "kernel.forward_delay", "15", "0 with migration on", migration.WHY),
    ]


def test_allows_the_delay_configured() -> None:
    kernel = {"stp": False, "forward_delay": 2.0}
    assert judge(kernel, {"longest_delay": 2.0}) == []
    [finding] = judge(kernel, {"longest_delay": 1.5})
    assert isinstance(finding, Violation)
    assert finding.wanted == "at most 1.5 with migration on"


@pytest.mark.parametrize("kernel", [UNKNOWN, None, {"stp": UNKNOWN, "forward_delay": UNKNOWN}])
def test_waits_for_what_was_not_read(kernel: object) -> None:
    findings = judge(kernel)
    assert [type(finding) for finding in findings] == [Unjudged, Unjudged]
    assert [finding.option for finding in findings] == ["kernel.stp", "kernel.forward_delay"]


def test_a_missing_value_is_not_taken_for_sound() -> None:
    # read, but no such interface
    assert {(type(one), one.option) for one in judge({})} == {
        (Violation, "kernel.stp"),
        (Violation, "kernel.forward_delay"),
    }


def test_a_bridge_that_is_not_made_yet_waits() -> None:
    findings = bridge_in_kernel.judge_stack([Resource(BRIDGE, "g1s1", ASKED)])
    assert {type(finding) for finding in findings} == {Unjudged}


def test_leaves_other_resources_alone() -> None:
    outputs = {**ASKED, "kernel": {"stp": True, "forward_delay": 15}}
    assert bridge_in_kernel.judge_stack([Resource("aws:ec2:Instance", "x", {}, outputs)]) == []
