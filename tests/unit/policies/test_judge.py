from __future__ import annotations

import pytest

from policies.judge import judge_all
from policies.rules import bridge_in_kernel, desktop, duplicates, guest_passwords, lab_range, migration
from policies.rules.catalogue import RULES
from policies.rules.configuration import ConfigurationError
from policies.rules.verdict import UNKNOWN, Finding, Resource, Unjudged, Violation, waiting

ASKED = {"endpoint": {"host": "g1s1", "host_keys": ["ssh-ed25519 AAAA"]}, "stp": False, "forward_delay": 0}
BRIDGE = Resource(migration.BRIDGE, "g1s1-br0", {**ASKED, "migration": True})


def found(resources: list[Resource], config: dict[str, object] | None = None) -> dict[str, list[Finding]]:
    return {name: findings for name, _, findings in judge_all(resources, config) if findings}


def test_every_rule_is_run_over_everything() -> None:
    packages = Resource(desktop.PACKAGES, "g1s1", {"packages": ["xorg"]})
    guests = [Resource(lab_range.READY, name, {"address": "192.0.2.21", "domain": name}) for name in "ab"]
    assert [(name, level) for name, level, _ in judge_all([])] == [(rule.name, "mandatory") for rule in RULES]
    assert {name: len(findings) for name, findings in found([packages, *guests]).items()} == {
        desktop.NAME: 1,
        duplicates.NAME: 1,
    }


def test_stack_rules_judge_outputs_where_there_are_any() -> None:
    drifted = {**BRIDGE.inputs, "kernel": {"stp": False, "forward_delay": 15.0}}
    asked = Resource(BRIDGE.type, BRIDGE.name, BRIDGE.inputs)
    waits = found([asked])[bridge_in_kernel.NAME]
    assert {type(finding) for finding in waits} == {Unjudged}
    [refused] = found([Resource(BRIDGE.type, BRIDGE.name, BRIDGE.inputs, drifted)])[bridge_in_kernel.NAME]
    assert isinstance(refused, Violation)


@pytest.mark.parametrize("hidden", [UNKNOWN, "[secret]"])
def test_what_is_hidden_counts_as_not_known(hidden: object) -> None:
    seed = Resource(guest_passwords.SEED, "web", {"userData": hidden, "name": ["[secret]"]})
    assert found([seed]) == {
        guest_passwords.NAME: [Unjudged("web", "userData", "no password in it")],
    }


def test_the_configuration_decides() -> None:
    packages = Resource(desktop.PACKAGES, "g1s1", {"packages": ["xorg"]})
    assert desktop.NAME not in found([packages], {desktop.NAME: {"allowed": ["xorg"]}})
    judged = judge_all([packages], {"all": "advisory", duplicates.NAME: "disabled"})
    assert {level for _, level, _ in judged} == {"advisory"}
    assert duplicates.NAME not in {name for name, _, _ in judged}
    with pytest.raises(ConfigurationError):
        judge_all([], {"no-such-rule": "advisory"})


def test_what_waits_is_counted_in_one_line() -> None:
    one, two = Unjudged("web", "a", "b"), Unjudged("web", "c", "d")
    assert waiting([one]) == "1 value of 1 resource cannot be judged until the host exists"
    assert waiting([one, two, Unjudged("db", "a", "b")]).startswith("3 values of 2 resources")
