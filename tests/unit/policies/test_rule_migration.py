from __future__ import annotations

from typing import Any

import pytest

from policies.rules import migration
from policies.rules.verdict import UNKNOWN, Finding, Resource, Unjudged, Violation


def judge(kind: str = migration.BRIDGE, /, **inputs: object) -> list[Finding]:
    return migration.judge(Resource(kind, "g1s1", inputs))


@pytest.mark.parametrize(
    "inputs",
    [
        {"migration": True, "stp": False, "forward_delay": 0},
        {"migration": True, "stp": False, "forward_delay": 0.0},  # Pulumi's numbers
        {"migration": False, "stp": True, "forward_delay": 15},
        {"stp": True, "forward_delay": 15},
        {"migration": UNKNOWN, "stp": False, "forward_delay": 0},  # sound whatever migration will be
        {"migration": False, "stp": UNKNOWN, "forward_delay": UNKNOWN},
    ],
)
def test_passes(inputs: dict[str, Any]) -> None:
    assert judge(**inputs) == []


def test_names_option_values_and_reason() -> None:
    assert judge(migration=True, stp=True, forward_delay=15.0) == [
        Violation("g1s1", "stp", "true", "false with migration on", migration.WHY),
        Violation("g1s1", "forward_delay", "15", "0 with migration on", migration.WHY),
    ]


@pytest.mark.parametrize(("option", "seen"), [("stp", "not set"), ("forward_delay", "not set")])
def test_missing_option_is_not_taken_for_sound(option: str, seen: str) -> None:
    inputs: dict[str, Any] = {"migration": True, "stp": False, "forward_delay": 0}
    del inputs[option]
    [finding] = judge(**inputs)
    assert isinstance(finding, Violation)
    assert (finding.option, finding.seen) == (option, seen)


@pytest.mark.parametrize("delay", [False, "0", 0.5])
def test_only_the_number_zero_is_no_delay(delay: object) -> None:
    assert len(judge(migration=True, stp=False, forward_delay=delay)) == 1


def test_the_longest_delay_is_configured() -> None:
    bridge = Resource(migration.BRIDGE, "g1s1", {"migration": True, "stp": False, "forward_delay": 2.0})
    assert migration.judge(bridge, {"longest_delay": 2.0}) == []
    [finding] = migration.judge(bridge, {"longest_delay": 1.0})
    assert isinstance(finding, Violation)
    assert finding.wanted == "at most 1 with migration on"
    inside = Resource(migration.HOST, "g1s1", {"migration": True, "bridge": bridge.inputs})
    assert migration.judge(inside, {"longest_delay": 2.0}) == []


def test_unknown_option_waits_while_a_known_one_is_refused() -> None:
    unknown, refused = judge(migration=True, stp=UNKNOWN, forward_delay=2)
    assert isinstance(unknown, Unjudged)
    assert unknown.option == "stp"
    assert isinstance(refused, Violation)
    assert refused.option == "forward_delay"


def test_unknown_migration_waits_where_the_bridge_would_break_the_rule() -> None:
    [finding] = judge(migration=UNKNOWN, stp=False, forward_delay=4)
    assert finding == Unjudged("g1s1", "migration", "false, as forward_delay is 4")


def test_judges_the_component_by_the_bridge_in_its_inputs() -> None:
    [finding] = judge(migration.HOST, migration=True, bridge={"stp": True, "forward_delay": 0})
    assert finding.option == "bridge.stp"
    assert judge(migration.HOST, migration=True) == []  # its inputs do not show the bridge
    assert {finding.option for finding in judge(migration.HOST, migration=True, bridge=UNKNOWN)} == {
        "bridge.stp",
        "bridge.forward_delay",
    }


def test_leaves_other_resources_alone() -> None:
    assert judge("pulumi-python:dynamic/kvm:AptPackages", migration=True, stp=True) == []
