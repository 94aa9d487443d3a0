"""A folder of generated files beside which a user may keep files of his own: those are never touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from providers.errors import LabError

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def replace_files(folder: Path, texts: Mapping[str, str], mark: str) -> tuple[str, ...]:
    """Make `texts` (by name) the generated files of `folder`, and return the names of those removed.

    A generated file is known by `mark` in its first line.

    Raises:
        LabError: a file of one of these names is not a generated one; nothing was changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = {path.name: _is_generated(path, mark) for path in folder.iterdir()}
    if foreign := sorted(name for name in texts if not there.get(name, True)):
        raise LabError(
            f"write {', '.join(foreign)} in {folder}",
            f"there is another one, without the line: {mark}",
            "move it elsewhere, then run the same again",
        )
    folder.chmod(FOLDER_MODE)
    for name, text in texts.items():
        write_file(folder / name, text)
    stale = sorted(name for name, generated in there.items() if generated and name not in texts)
    for name in stale:
        (folder / name).unlink()
    return tuple(stale)


def _is_generated(path: Path, mark: str) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return mark.encode() in file.readline()


def write_file(path: Path, text: str) -> None:
    """Write a file that nobody else may read, all of it or, when that fails, nothing."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    # ssh(1) refuses a configuration that others may write
    with os.fdopen(
        os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    new.rename(path)
