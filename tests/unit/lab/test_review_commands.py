"""What `make preview-report` does beside a running `make up`, and with a state that is none."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import Lab
from lab import review_commands, reviewing
from lab.engine import Engine, PreviewFailed
from lab.reviewing import Change
from lab.settings import Settings
from providers.errors import LabError
from review.model import Plan
from tests.cases.review import loader

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNROhSeX9UlMnAHYF5XvEqyrMLdpyHG0rxSlJPUGPE0"
HOST = {"name": "h1", "address": "198.51.100.11", "host_keys": [KEY], "bridge": {"port": "eth0"}}


def settings(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> Settings:
    monkeypatch.chdir(folder)
    (folder / "Pulumi.lab.yaml").write_text(yaml.safe_dump({"config": {"kvm-lab:hosts": [HOST]}}))
    usual: dict[str, Any] = {
        "stack": "lab",
        "stack_file": None,
        "testbed": Path(".lab/testbed"),
        "bridge": "labbr",
        "range": "198.51.100.0/24",
        "refresh": False,
        "student": "",
        "json": False,
        "no_look": False,
        "state": None,
        "base": None,
        "plan": None,
        "out": None,
        "approved": False,
    }
    return Settings.of(Namespace(**{**usual, **options}))


def test_a_report_leaves_a_running_up_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def settle(_engine: Engine, _stack: str) -> None:
        raise AssertionError("it ended what others run")

    def preview(_engine: Engine, _arguments: Sequence[str]) -> dict[str, Any]:
        return loader.preview(loader.names()[0])

    monkeypatch.setattr(Engine, "settle", settle)
    monkeypatch.setattr(Engine, "preview", preview)
    monkeypatch.setattr(Engine, "prepare", lambda _engine, _stack, file: file)
    assert review_commands.preview_report(settings(tmp_path, monkeypatch)) == 0
    assert "Verdict: " in capsys.readouterr().out


@pytest.mark.parametrize("deployment", [{}, {"resources": []}])
def test_a_state_without_resources_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployment: dict[str, Any]
) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"version": 3, "deployment": deployment}))
    found = settings(tmp_path, monkeypatch, state=tmp_path / "state.json")
    assert review_commands._state(found) is None


def test_a_protected_disk_in_the_way_is_named_with_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (
        'error: Preview failed: resource "urn:pulumi:lab::kvm-lab::kvm:index:Guest$libvirt:index/volume:'
        'Volume::g1s2-g1" cannot be deleted\nbecause it is protected. To unprotect the resource, …'
    )

    def preview(_engine: Engine, _arguments: Sequence[str]) -> dict[str, Any]:
        raise PreviewFailed("run: pulumi preview --json", told, "mend what it names")

    monkeypatch.setattr(Engine, "preview", preview)
    monkeypatch.setattr(Engine, "prepare", lambda _engine, _stack, file: file)
    with pytest.raises(LabError, match=r"g1s2-g1 would be deleted, and is protected") as raised:
        review_commands.preview_report(settings(tmp_path, monkeypatch))
    assert "protect: false" in raised.value.remedy
    assert "unprotect" not in str(raised.value)


def test_a_base_that_is_no_checkout_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"version": 3, "deployment": {"resources": [{"urn": "urn:x", "type": "x"}]}}
    (tmp_path / "state.json").write_text(json.dumps(state))
    monkeypatch.setattr(
        reviewing, "blind", lambda *_: Change(Plan("lab", ()), Lab.model_validate({"hosts": [HOST]}))
    )
    found = settings(tmp_path, monkeypatch, state=tmp_path / "state.json", base=tmp_path / "nothing")
    with pytest.raises(LabError, match="nothing holds no program"):
        review_commands.preview_report(found)
