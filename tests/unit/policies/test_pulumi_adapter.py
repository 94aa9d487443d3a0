"""The rules as Pulumi calls them: its wrapped values, its report, its unknown values."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pulumi_policy import (
    EnforcementLevel,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.policy import PolicyCustomTimeouts
from pulumi_policy.proxy import UNKNOWN_BOOLEAN_VALUE, UNKNOWN_STRING_VALUE, unknown_checking_proxy

from policies.rules import desktop, duplicates, host_keys, lab_range, migration
from policies.rules.catalogue import COUNTING, RULES
from policies.rules.pulumi_adapter import ROOT, policies

POLICIES = Path(__file__).parents[3] / "policies"
PURE = (
    *("__future__", "base64", "binascii", "collections", "dataclasses", "email", "enum", "fnmatch", "gzip"),
    *("ipaddress", "re", "types", "typing", "urllib", "yaml"),
)
OPTIONS = PolicyResourceOptions(False, [], None, [], PolicyCustomTimeouts(0, 0, 0), [])


class Pack:
    """The policies of one pack's process, called as the SDK's server calls them."""

    def __init__(self) -> None:
        self.policies = {policy.name: policy for policy in policies()}

    def judge(
        self, rule: str, kind: str, inputs: dict[str, Any], config: dict[str, Any] | None = None
    ) -> list[str]:
        reported: list[str] = []
        props = unknown_checking_proxy(inputs)
        policy = self.policies[rule]
        assert isinstance(policy, ResourceValidationPolicy)
        args = ResourceValidationArgs(kind, props, f"urn:{kind}::g1s1", "g1s1", OPTIONS, None, config)
        policy.validate(args, lambda text, _urn: reported.append(text))
        return reported

    def judge_stack(self, rule: str, *resources: tuple[str, str, dict[str, Any]]) -> list[str]:
        reported: list[str] = []
        policy = self.policies[rule]
        assert isinstance(policy, StackValidationPolicy)
        seen = [
            PolicyResource(kind, unknown_checking_proxy(outputs), "urn", name, OPTIONS, None, None, [], {})
            for kind, name, outputs in resources
        ]
        policy.validate(StackValidationArgs(seen), lambda text, _urn: reported.append(text))
        return reported


def test_reports_each_violation_in_one_sentence() -> None:
    inputs = {"migration": True, "stp": True, "forward_delay": 15.0}
    reported = Pack().judge(migration.NAME, migration.BRIDGE, inputs)
    assert [text.partition(": a migrated")[0] for text in reported] == [
        "g1s1: stp is true, wanted false with migration on",
        "g1s1: forward_delay is 15, wanted 0 with migration on",
    ]


def test_counts_what_is_not_known_beside_what_is_refused() -> None:
    pack = Pack()
    inputs = {"packages": ["vim", UNKNOWN_STRING_VALUE, "xorg", UNKNOWN_STRING_VALUE]}
    reported = pack.judge(desktop.NAME, desktop.PACKAGES, inputs)
    assert [text.partition(",")[0] for text in reported] == ["g1s1: packages[2] is xorg"]
    pack.judge(host_keys.NAME, host_keys.LIBVIRT, {"uri": UNKNOWN_STRING_VALUE})
    pack.judge_stack(duplicates.NAME, (lab_range.READY, "web", {"address": UNKNOWN_STRING_VALUE}))
    assert "\n".join(pack.judge_stack(COUNTING)) == (
        f"{desktop.NAME}: 2 values of 1 resource cannot be judged until the host exists\n"
        f"{host_keys.NAME}: 1 value of 1 resource cannot be judged until the host exists\n"
        f"{duplicates.NAME}: 1 value of 1 resource cannot be judged until the host exists"
    )


def test_what_is_judged_again_counts_as_it_is_then() -> None:
    pack = Pack()
    pack.judge(host_keys.NAME, host_keys.LIBVIRT, {"uri": UNKNOWN_STRING_VALUE})
    assert len(pack.judge(host_keys.NAME, host_keys.LIBVIRT, {"uri": "qemu+tcp://g1s1/system"})) == 1
    assert pack.judge_stack(COUNTING) == []


def test_a_count_is_told_once() -> None:
    pack = Pack()
    pack.judge(host_keys.NAME, host_keys.LIBVIRT, {"uri": UNKNOWN_STRING_VALUE})
    assert len(pack.judge_stack(COUNTING)) == 1
    assert pack.judge_stack(COUNTING) == []


def test_an_unknown_in_another_option_does_not_matter() -> None:
    pack = Pack()
    inputs = {"migration": True, "stp": False, "forward_delay": 0, "port": UNKNOWN_STRING_VALUE}
    assert pack.judge(migration.NAME, migration.BRIDGE, inputs) == []
    assert pack.judge_stack(COUNTING) == []


def test_reads_nested_values() -> None:
    pack = Pack()
    pinned = {"endpoint": {"host_keys": ["ssh-ed25519 AAAA"]}}
    assert pack.judge(host_keys.NAME, migration.BRIDGE, pinned) == []
    assert len(pack.judge(host_keys.NAME, migration.BRIDGE, {"endpoint": {"host_keys": []}})) == 1
    bridge = {"stp": UNKNOWN_BOOLEAN_VALUE, "forward_delay": 0}
    assert pack.judge(migration.NAME, migration.HOST, {"migration": True, "bridge": bridge}) == []
    assert len(pack.judge_stack(COUNTING)) == 1


def test_stack_rules_see_all_resources() -> None:
    web, db = ({"address": "192.0.2.21", "domain": name} for name in ("web", "db"))
    reported = Pack().judge_stack(duplicates.NAME, (lab_range.READY, "web", web), (lab_range.READY, "db", db))
    assert [text.partition(",")[0] for text in reported] == ["web: address is 192.0.2.21"]


def test_options_come_from_the_configuration() -> None:
    guest = {"address": "10.0.0.1"}
    pack = Pack()
    assert pack.judge(lab_range.NAME, lab_range.READY, guest) == []
    assert len(pack.judge(lab_range.NAME, lab_range.READY, guest, {"networks": ["192.0.2.0/24"]})) == 1


def test_a_wrong_configuration_is_told_once_and_nothing_is_judged() -> None:
    pack, wrong = Pack(), {"networks": ["192.0.2.0"], "netz": 1}
    assert pack.judge(lab_range.NAME, ROOT, {}, wrong) == [
        "the pack's configuration: networks[0]: expected a network as 192.0.2.0/24, seen: 192.0.2.0",
        "the pack's configuration: netz is not one of its options: networks, host_networks, mac_prefixes",
    ]
    assert pack.judge(lab_range.NAME, lab_range.READY, {"address": "10.0.0.1"}, wrong) == []


def test_every_rule_is_a_mandatory_policy_with_its_schema() -> None:
    made = policies()
    assert [policy.name for policy in made] == [*(rule.name for rule in RULES), COUNTING]
    for rule, policy in zip(RULES, made[:-1], strict=True):
        assert policy.enforcement_level is EnforcementLevel.MANDATORY
        assert policy.config_schema is not None
        assert policy.config_schema.properties == rule.options
    assert made[-1].enforcement_level is EnforcementLevel.ADVISORY


@pytest.mark.parametrize("rule", sorted((POLICIES / "rules").glob("*.py")), ids=lambda path: path.name)
def test_rules_import_nothing_of_the_program(rule: Path) -> None:
    allowed = (*PURE, "pulumi_policy") if rule.name == "pulumi_adapter.py" else PURE
    for node in ast.walk(ast.parse(rule.read_text())):
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] in allowed for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.level == 0 and str(node.module).split(".")[0] in allowed)


def load(code: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = [{str(folder)!r}]; {code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_rules_load_where_the_engine_runs_the_pack() -> None:
    names = ", ".join(path.stem for path in (POLICIES / "rules").glob("[a-z]*.py"))
    load(f"from rules import {names}", POLICIES)


@pytest.mark.parametrize("module", ["policies.judge", "policies.listing", "policies.rules.configuration"])
def test_a_review_needs_no_pulumi(module: str) -> None:
    load(f"import {module}; assert not [name for name in sys.modules if 'pulumi' in name]", POLICIES.parent)
