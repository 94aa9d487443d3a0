from __future__ import annotations

from pathlib import Path

import pytest

from lab.generated import replace_files
from providers.errors import LabError

MARK = "generated here"


def text(body: str) -> str:
    return f"# {MARK}\n{body}\n"


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "access/lab"
    assert replace_files(folder, {"a": text("1")}, MARK) == ()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "a").stat().st_mode & 0o777 == 0o600
    assert (folder / "a").read_text() == text("1")
    assert replace_files(folder, {"a": text("2")}, MARK) == ()
    assert (folder / "a").read_text() == text("2")
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_stale_files_go_and_the_users_own_stay(tmp_path: Path) -> None:
    replace_files(tmp_path, {"a.md": text("1"), "b.md": text("1")}, MARK)
    (tmp_path / "c.md").write_text(f"my notes\n{MARK}\n")
    (tmp_path / "d.md").write_bytes(b"\xff\xfe")
    (tmp_path / "e.md").symlink_to(tmp_path / "a.md")
    (tmp_path / "f.md").mkdir()
    assert replace_files(tmp_path, {"a.md": text("2")}, MARK) == ("b.md",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "c.md", "d.md", "e.md", "f.md"]


def test_a_file_of_the_users_own_is_never_overwritten(tmp_path: Path) -> None:
    replace_files(tmp_path, {"old": text("1")}, MARK)
    (tmp_path / "b").write_text("mine\n")
    with pytest.raises(LabError, match="without the line: generated here"):
        replace_files(tmp_path, {"a": text("1"), "b": text("1")}, MARK)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old": text("1"), "b": "mine\n"}


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text(text("mine"))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").symlink_to(mine)
    with pytest.raises(LabError, match="write a in"):
        replace_files(folder, {"a": text("1")}, MARK)
    assert mine.read_text() == text("mine")
