from __future__ import annotations

from pathlib import Path

import pytest

from policies.listing import main
from policies.rules import desktop
from policies.rules.catalogue import COUNTING, RULES

WIDTH = 80


def test_lists_every_rule_with_level_reason_reference_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    flat = " ".join(text.split())
    for rule in RULES:
        assert f"{rule.name} mandatory" in flat
        assert f"reason {rule.why}." in flat
        assert f"see {rule.reference}" in flat
        assert all(f"option {name} = " in flat for name in rule.options)
    assert f"{COUNTING} advisory" in flat
    assert max(map(len, text.splitlines())) <= WIDTH


def test_the_readme_names_every_rule_and_option() -> None:
    text = (Path(__file__).parents[3] / "policies/README.md").read_text()
    cells = {cell.strip() for line in text.splitlines() for cell in line.split("|")}
    for rule in RULES:
        assert {f"`{name}`" for name in (rule.name, *rule.options)} <= cells


def test_lists_them_as_configured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pack.json"
    file.write_text(f'{{"{desktop.NAME}": {{"enforcementLevel": "advisory", "allowed": ["xorg"]}}}}')
    assert main([str(file)]) == 0
    flat = " ".join(capsys.readouterr().out.split())
    assert f"{desktop.NAME} advisory" in flat
    assert 'option allowed = ["xorg"]' in flat


@pytest.mark.parametrize(
    ("text", "mistake"),
    [('{"x": "advisory"}', "x is no rule of the pack"), ("[]", "expected an object"), ("{", "Expecting")],
)
def test_refuses_a_wrong_one(
    text: str, mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pack.json"
    file.write_text(text)
    assert main([str(file)]) == 1
    said = capsys.readouterr()
    assert mistake in said.err
    assert said.out == ""


def test_refuses_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.json")]) == 1
    assert "No such file" in capsys.readouterr().err
