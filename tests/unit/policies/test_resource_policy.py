"""The rules as Pulumi calls them: its wrapped inputs, its report, its unknown values."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pulumi_policy import PolicyResourceOptions, ResourceValidationArgs
from pulumi_policy.policy import PolicyCustomTimeouts
from pulumi_policy.proxy import (
    UNKNOWN_BOOLEAN_VALUE,
    UNKNOWN_STRING_VALUE,
    UnknownValueError,
    unknown_checking_proxy,
)

from policies.rules import desktop, host_keys, migration
from policies.rules.resource_policy import validation

POLICIES = Path(__file__).parents[3] / "policies"
PURE = ("__future__", "collections", "dataclasses", "enum", "fnmatch", "re", "typing", "urllib")


def arguments(kind: str, inputs: dict[str, Any]) -> ResourceValidationArgs:
    options = PolicyResourceOptions(False, [], None, [], PolicyCustomTimeouts(0, 0, 0), [])
    return ResourceValidationArgs(kind, unknown_checking_proxy(inputs), "urn", "g1s1", options, None)


def run(rule: ModuleType, kind: str, inputs: dict[str, Any]) -> list[str]:
    reported: list[str] = []
    validation(rule.judge)(arguments(kind, inputs), lambda text, _urn: reported.append(text))
    return reported


def test_reports_each_violation_in_one_sentence() -> None:
    reported = run(migration, migration.BRIDGE, {"migration": True, "stp": True, "forward_delay": 15.0})
    assert [text.partition(": a migrated")[0] for text in reported] == [
        "g1s1: stp is true, wanted false with migration on",
        "g1s1: forward_delay is 15, wanted 0 with migration on",
    ]


def test_says_what_is_not_known_after_what_is_refused() -> None:
    reported: list[str] = []
    inputs = {"packages": ["vim", UNKNOWN_STRING_VALUE, "xorg"]}
    with pytest.raises(UnknownValueError) as raised:
        validation(desktop.judge)(
            arguments(desktop.PACKAGES, inputs), lambda text, _urn: reported.append(text)
        )
    assert [text.partition(",")[0] for text in reported] == ["g1s1: packages[2] is xorg"]
    assert raised.value.message.startswith("g1s1: packages[1] is not known yet, wanted no desktop")


def test_an_unknown_in_another_option_does_not_matter() -> None:
    inputs = {"migration": True, "stp": False, "forward_delay": 0, "port": UNKNOWN_STRING_VALUE}
    assert run(migration, migration.BRIDGE, inputs) == []


def test_reads_nested_values() -> None:
    assert run(host_keys, migration.BRIDGE, {"endpoint": {"host_keys": ["ssh-ed25519 AAAA"]}}) == []
    assert len(run(host_keys, migration.BRIDGE, {"endpoint": {"host_keys": []}})) == 1
    bridge = {"stp": UNKNOWN_BOOLEAN_VALUE, "forward_delay": 0}
    with pytest.raises(UnknownValueError) as raised:
        run(migration, migration.HOST, {"migration": True, "bridge": bridge})
    assert raised.value.message.startswith("g1s1: bridge.stp is not known yet")


@pytest.mark.parametrize("rule", sorted((POLICIES / "rules").glob("*.py")), ids=lambda path: path.name)
def test_rules_import_nothing_of_the_program(rule: Path) -> None:
    allowed = (*PURE, "pulumi_policy") if rule.name == "resource_policy.py" else PURE
    for node in ast.walk(ast.parse(rule.read_text())):
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] in allowed for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.level == 0 and str(node.module).split(".")[0] in allowed)


def test_rules_load_where_the_engine_runs_the_pack() -> None:
    names = ", ".join(path.stem for path in (POLICIES / "rules").glob("[a-z]*.py"))
    code = f"import sys; sys.path[:0] = [{str(POLICIES)!r}]; from rules import {names}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=POLICIES, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
