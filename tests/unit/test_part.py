"""What a run declares: all, or the part that a command names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components import part
from components.part import Part
from config import Lab
from providers.errors import LabError
from tests.unit.test_roster import KEY, lab_of, stack_file, student

SPARE = {"name": "spare", "image": "debian", "address": "198.51.100.9/24", "ssh_keys": [KEY]}


@pytest.fixture
def lab() -> Lab:
    written = stack_file(student(1, 1), student(1, 2), student(2, 1, "h2"))
    written["hosts"][1]["guests"] = [SPARE]
    return lab_of(written)


def asked_for(monkeypatch: pytest.MonkeyPatch, file: Path, **changes: Any) -> None:  # noqa: ANN401 - JSON
    said = json.loads(part.written("class", ["g2s1"], {"guests": {"g1s1": 1, "g2s1": 2}}))
    file.write_text(json.dumps({**said, **changes}))
    monkeypatch.setenv(part.FILE, str(file))


def test_a_run_declares_all_where_nothing_asks_for_a_part(lab: Lab) -> None:
    whole = Part.of_run(lab, "class")
    assert [host.name for host in whole.hosts] == ["h1", "h2"]
    assert [one.name for one in whole.environments] == ["g1s1", "g1s2", "g2s1"]
    assert [(host.name, guest.name) for host, guest in whole.guests] == [("h2", "spare")]
    assert whole.with_others("guests", {"g1s1": 3}) == {"g1s1": 3}


def test_a_part_has_its_hosts_and_leaves_the_outputs_of_others(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked_for(monkeypatch, tmp_path / "part.json")
    one = Part.of_run(lab, "class")
    assert [host.name for host in one.hosts] == ["h2"]
    assert [environment.name for environment in one.environments] == ["g2s1"]
    assert one.guests == []
    assert one.with_others("guests", {"g2s1": 3}) == {"g1s1": 1, "g2s1": 3}
    assert one.with_others("environments", {"g2s1": 4}) == {"g2s1": 4}


def test_one_may_be_named_twice(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked_for(monkeypatch, tmp_path / "part.json", environments=["g2s1", "g2s1"])
    assert [one.name for one in Part.of_run(lab, "class").environments] == ["g2s1"]


@pytest.mark.parametrize(
    ("changes", "seen"),
    [({"stack": "lab"}, "g2s1 of the stack lab"), ({"environments": ["g2s1", "g9s9"]}, "g2s1, g9s9 of")],
)
def test_what_is_meant_for_another_lab_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any], seen: str
) -> None:
    asked_for(monkeypatch, tmp_path / "part.json", **changes)
    with pytest.raises(LabError, match=seen):
        Part.of_run(lab, "class")


def test_a_variable_that_stayed_behind_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked_for(monkeypatch, tmp_path / "part.json")
    (tmp_path / "part.json").unlink()
    with pytest.raises(LabError, match=f"take {part.FILE} out of the environment"):
        Part.of_run(lab, "class")
