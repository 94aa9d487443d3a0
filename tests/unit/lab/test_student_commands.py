"""What a reset does before the engine's run, and that it does nothing where it is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import part
from config import Environment
from lab import student_commands
from lab.settings import Settings
from providers.errors import LabError
from tests.unit.lab.test_early_power_off import FakeDomain, FakeLibvirt, on
from tests.unit.test_roster import stack_file, student, write_stack_file
from tests.unit.test_students import state

GUEST = "g1s1"


class FakeEngine:
    """Knows the stack's state, or tells why it does not."""

    def __init__(self, resources: list[dict[str, Any]] | LabError) -> None:
        self._resources = resources

    def resources(self, _stack: str) -> list[dict[str, Any]]:
        if isinstance(self._resources, LabError):
            raise self._resources
        return self._resources


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    written = stack_file(student(1, 1), student(1, 2))
    file = write_stack_file(tmp_path, written)
    network = IPv4Network("192.0.2.0/24")  # none of the hosts is the testbed's
    return Settings(tmp_path, "class", file, tmp_path, "none", network, students=(GUEST,))


def given(
    monkeypatch: pytest.MonkeyPatch,
    resources: list[dict[str, Any]] | LabError,
    up: Callable[[], int],
    part_files: list[Path] | None = None,
) -> FakeLibvirt:
    """Return the host's libvirt, on which the guest runs.

    `up` is the engine's run; `part_files` gets the file that it is told its part by.
    """

    def up_for(
        _settings: Settings, environments: list[Environment], targets: list[str], switches: dict[str, str]
    ) -> int:
        assert [one.name for one in environments] == [GUEST]
        assert any(target.endswith(f"::{GUEST}") for target in targets)
        if part_files is not None:
            part_files.append(Path(switches[part.FILE]))
        return up()

    monkeypatch.setattr(student_commands, "engine_with_state", lambda _settings: FakeEngine(resources))
    monkeypatch.setattr(student_commands, "up_for", up_for)
    return on(monkeypatch, **{GUEST: FakeDomain()})


def test_the_guest_is_asked_and_the_roster_edited_before_the_engine_has_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, seen = threading.Event(), []

    def up() -> int:
        seen.append(yaml.safe_load(settings.stack_file.read_text())["config"]["kvm-lab:roster"]["students"])
        return 0 if asked.wait(60) else 1

    libvirt = given(monkeypatch, state(GUEST), up)
    libvirt.on_call = lambda call: asked.set() if call == f"shutdown {GUEST}-uuid" else None
    assert student_commands.reset(settings) == 0
    assert [[one.get("generation") for one in students] for students in seen] == [[2, None]]


def test_the_engines_run_declares_the_student_alone_and_its_file_goes_with_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[Path] = []
    said: list[dict[str, Any]] = []

    def up() -> int:
        said.append(json.loads(files[0].read_text()))
        return 1

    exported = {"guests": {"g1s2": {"host": "h1"}}}
    resources = [{"type": "pulumi:pulumi:Stack", "urn": "x::class", "outputs": exported}, *state(GUEST)]
    given(monkeypatch, resources, up, files)
    assert student_commands.reset(settings) == 1
    assert said == [{"stack": "class", "environments": [GUEST], "outputs": exported}]
    assert not files[0].exists()


@pytest.mark.parametrize(
    ("resources", "seen"),
    [
        ([], "g1s1 is not made yet"),
        (state(GUEST, answered=False), "has not answered since its last change"),
        (LabError("run: pulumi stack export", "no stack named 'class' found", "make up"), "no stack named"),
    ],
)
def test_a_reset_that_is_refused_asks_no_guest_and_edits_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, resources: list[dict[str, Any]] | LabError, seen: str
) -> None:
    libvirt = given(monkeypatch, resources, lambda: pytest.fail("the engine was started"))
    before = settings.stack_file.read_bytes()
    with pytest.raises(LabError, match=seen):
        student_commands.reset(settings)
    assert settings.stack_file.read_bytes() == before
    for thread in threading.enumerate():
        if thread.name.startswith("power off on"):
            thread.join(60)
    assert libvirt.calls == []


def test_a_mistake_in_the_command_is_told_before_the_state_is_read(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, LabError("read", "the state was read", ""), lambda: 0)
    with pytest.raises(LabError, match="the roster has g1s1, g1s2"):
        student_commands.reset(replace(settings, students=("g9s9",)))
