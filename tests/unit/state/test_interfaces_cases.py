"""Every case of tests/cases/interfaces: what changes, what is refused, and what ifupdown makes of it."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import normpath

import pytest

from providers.state.interfaces import MAIN, BridgeSpec, InterfacesError, give_back, seen, take_over
from tests.cases.interfaces import judge
from tests.cases.interfaces.loader import Case, cases

CASES = cases()
TAKEN = [case for case in CASES if case.refusal is None]
REFUSED = [case for case in CASES if case.refusal is not None]


def by_name(case: Case) -> str:
    return case.name


def normal(files: dict[str, str]) -> dict[str, str]:
    return {normpath(path): text for path, text in files.items()}


@pytest.mark.parametrize("case", TAKEN, ids=by_name)
def test_the_files_become_those_of_the_case(case: Case) -> None:
    assert normal(take_over(case.before(), case.spec).files) == case.after()


@pytest.mark.parametrize("case", TAKEN, ids=by_name)
def test_a_second_run_changes_nothing(case: Case) -> None:
    tree = case.before()
    tree |= take_over(tree, case.spec).files
    assert take_over(tree, case.spec).files == {}
    assert seen(tree, case.spec) == case.spec


@pytest.mark.parametrize("case", TAKEN, ids=by_name)
def test_giving_back_restores_every_byte(case: Case) -> None:
    before = case.before()
    change = take_over(before, case.spec)
    tree = before | change.files
    assert tree | give_back(tree, change.original).files == before


@pytest.mark.parametrize("case", REFUSED, ids=by_name)
def test_every_problem_is_named(case: Case) -> None:
    with pytest.raises(InterfacesError) as refused:
        take_over(case.before(), case.spec)
    assert [str(problem) for problem in refused.value.problems] == case.refusal


@pytest.mark.parametrize("case", TAKEN, ids=by_name)
def test_ifquery_sees_the_same_values_elsewhere(case: Case, debian_root: Path) -> None:
    before = case.before()
    change = take_over(before, case.spec)
    after = before | change.files
    texts = "\n".join([*before.values(), *after.values()])
    names = {"lo", *re.findall(r"^\s*iface\s+(\S+)", texts, re.MULTILINE)}
    had = judge.ask(debian_root, case.every_file(), names)
    has = judge.ask(debian_root, case.every_file() | normal(change.files), names)
    assert judge.compare(had, has, case.spec) == []
    assert spec_values(has, case) == {
        "bridge_stp": case.spec.stp,
        "bridge_fd": case.spec.forward_delay,
        "bridge_maxwait": case.spec.max_wait,
    }


def spec_values(verdict: judge.Verdict, case: Case) -> dict[str, object]:
    """What the bridge's first stanza, or for lack of it a later one, says to bridge-utils' script."""
    options = verdict.options[case.spec.name]
    values = {option.replace("-", "_"): value for _, option, value in reversed(options)}
    ports = [
        value
        for stanza, option, value in options
        if option in {"bridge_ports", "bridge-ports"} and stanza[0] == "1"
    ]
    assert case.spec.port in ports[0].split()
    return {
        "bridge_stp": values["bridge_stp"] in {"on", "yes"},
        "bridge_fd": int(float(values["bridge_fd"])),
        "bridge_maxwait": int(values["bridge_maxwait"]),
    }


def test_the_judge_sees_a_lost_address(debian_root: Path) -> None:
    case = next(case for case in CASES if case.name == "families-in-two-files")
    names = {"lo", "eth0", "br0"}
    had = judge.ask(debian_root, case.every_file(), names)
    has = judge.ask(debian_root, case.every_file() | {"/etc/network/interfaces.d/eth0-v6": ""}, names)
    assert "lost: ('address', '2001:db8::10')" in judge.compare(had, has, case.spec)
    assert judge.compare(had, had, case.spec) == [
        "left on the port: ('1 inet', 'address', '192.0.2.10')",
        "left on the port: ('2 inet6', 'address', '2001:db8::10')",
        "left on the port: ('2 inet6', 'gateway', '2001:db8::1')",
    ]


@pytest.mark.parametrize(
    ("line", "name", "verdict"),
    [
        ("gateway 192.0.2.1", "eth0", "left on the port: ('1 inet', 'gateway', '192.0.2.1')"),
        ("dns-search lab.example", "eth0", "left on the port: ('1 inet', 'dns-search', 'lab.example')"),
        ("mtu 9000", "br0", "moved to the bridge: ('1 inet', 'mtu', '9000')"),
    ],
)
def test_the_judge_sees_an_option_in_the_wrong_stanza(
    debian_root: Path, line: str, name: str, verdict: str
) -> None:
    spec = BridgeSpec(name="br0", port="eth0")
    before = "auto eth0\niface eth0 inet static\n  address 192.0.2.10/24\n  " + line + "\n"
    moved = "auto eth0\niface eth0 inet manual\n\niface br0 inet static\n  address 192.0.2.10/24\n"
    header = next(each for each in moved.splitlines() if each.startswith(f"iface {name} "))
    after = moved.replace(header, f"{header}\n  {line}")
    had, has = (judge.ask(debian_root, {MAIN: text}, {"eth0", "br0"}) for text in (before, after))
    assert judge.compare(had, has, spec) == [verdict]


def test_the_judge_sees_a_change_elsewhere(debian_root: Path) -> None:
    case = next(case for case in CASES if case.name == "neighbours")
    after = case.after()
    spoilt = {
        path: text.replace("auto dsl-provider", "").replace("endpoint 203.0.113.2", "endpoint 203.0.113.3")
        for path, text in after.items()
    }
    names = {"lo", "eth0", "br0", "tun0", "dsl-provider"}
    had = judge.ask(debian_root, case.every_file(), names)
    found = judge.compare(had, judge.ask(debian_root, case.every_file() | spoilt, names), case.spec)
    assert [line.partition(":")[0] for line in found] == ["tun0", "auto"]
