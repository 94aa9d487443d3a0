"""Whether a change is held up, what a report is made from, and what a preview without secrets is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from config import MISSING_FILES, STAND_IN, Lab
from lab import reviewing
from lab.engine import BlindEngine
from lab.reviewing import Change
from providers.errors import LabError
from review import plan
from review.hidden import HIDDEN
from review.model import Effect, Plan, Refusal, Report, Step, Verdict
from testbed import processes
from tests.cases.review import loader

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNROhSeX9UlMnAHYF5XvEqyrMLdpyHG0rxSlJPUGPE0"
DISK = Refusal("delete-disk", "g1s1-g1", "it goes", "write why")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    host = {"name": "h1", "address": "198.51.100.11", "host_keys": [KEY], "bridge": {"port": "eth0"}}
    return Lab.from_mapping({"hosts": [host]}, tmp_path, stack="lab")


def report(verdict: Verdict, *refusals: Refusal) -> Report:
    return Report("lab", (Effect(verdict, "something happens", host="h1"),), refusals=refusals)


@pytest.mark.parametrize(
    ("told", "approved", "held"),
    [
        (report(Verdict.SAFE), False, False),
        (report(Verdict.INTERRUPTS), False, False),
        (report(Verdict.DESTROYS), False, True),
        (report(Verdict.NETWORK), False, True),
        (report(Verdict.NETWORK), True, False),
        (report(Verdict.DESTROYS, DISK), True, True),
        (report(Verdict.DESTROYS, Refusal("delete-disk", "g1s1-g1", "it goes", "", "she left")), True, False),
    ],
)
def test_what_is_red_waits_for_approval_and_what_is_refused_for_a_reason(
    told: Report, approved: bool, held: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reviewing.held_up(told, approved=approved) is held
    assert ("nothing was changed" in capsys.readouterr().err) is held


def test_a_broken_policy_is_in_the_report(lab: Lab) -> None:
    packages = {"packages": ["xfce4"], "endpoint": {"host_keys": [KEY]}}
    step = Step("urn:1", "pulumi-python:dynamic/kvm:AptPackages", "h1", "create", {}, packages)
    told = reviewing.review(Change(Plan("lab", (step,)), lab))
    assert {one.rule for one in told.policies if one.violations} == {"hypervisor-has-no-desktop"}
    assert told.refused


def test_a_report_is_written_twice(lab: Lab, tmp_path: Path) -> None:
    told = reviewing.review(Change(plan.parse(loader.preview(loader.names()[0])), lab))
    reviewing.write(told, tmp_path / "out")
    document = json.loads((tmp_path / "out/report.json").read_text())
    assert document["verdict"] == told.verdict.words
    assert (document["red"], document["refused"]) == (told.verdict.red, told.refused)
    assert f"**Verdict: {told.verdict.words}**" in (tmp_path / "out/report.md").read_text()


def test_what_waits_already_is_told_unless_files_were_stood_in_for(lab: Lab) -> None:
    gone = Step("urn:2", "libvirt:index/volume:Volume", "g1s1-g1", "delete", {"name": "g1s1-g1.qcow2"})
    change = Change(Plan("lab", ()), lab, pending=Plan("lab", (gone,)))
    (note,) = reviewing.review(change).notes
    assert note.startswith("Not of this change")
    absent = Change(Plan("lab", ()), lab, pending=change.pending, absent=frozenset({"id"}))
    (note,) = reviewing.review(absent).notes
    assert note.startswith(f"{reviewing.ABSENT}: id.")


@pytest.mark.parametrize("content", [None, "no JSON", "[]"])
def test_a_file_that_is_no_object_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LabError, match=r"plan\.json"):
        reviewing.read_json(path, "report on a plan")


def test_tools_are_lent_and_taken_back(tmp_path: Path) -> None:
    for name in ("head/.lab/bin", "base"):
        (tmp_path / name).mkdir(parents=True)
    with reviewing.tools_of(tmp_path / "head", tmp_path / "base"):
        assert (tmp_path / "base/.lab/bin").is_dir()
    assert not (tmp_path / "base/.lab").exists()
    assert (tmp_path / "head/.lab/bin").is_dir()


def test_tools_of_its_own_stay(tmp_path: Path) -> None:
    for name in ("head/.lab", "base/.lab"):
        (tmp_path / name).mkdir(parents=True)
    with reviewing.tools_of(tmp_path / "head", tmp_path / "base"):
        pass
    assert (tmp_path / "base/.lab").is_dir()


def test_a_blind_engine_is_given_no_ciphertext_and_stands_in_for_files(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.lab.yaml"
    content = {"content": {"secure": "v1:abc"}, "path": "/etc/motd"}
    file.write_text(yaml.safe_dump({"encryptionsalt": "v1:x", "config": {"kvm-lab:hosts": [content]}}))
    engine = BlindEngine(tmp_path, tmp_path / "state", {processes.MARK: "x"})
    settings = engine.settings_in(file)
    assert settings["config"]["kvm-lab:hosts"] == [{"content": HIDDEN, "path": "/etc/motd"}]
    assert engine.environment()[MISSING_FILES] == STAND_IN
