"""Reads a case: before/ stands for /etc/network, after/ holds the files that change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from providers.state.interfaces import MAIN, BridgeSpec, SourcePattern, decode, read_tree

FOLDER = Path(__file__).parent
ETC = str(Path(MAIN).parent)


@dataclass(frozen=True)
class Case:
    """One folder here."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def spec(self) -> BridgeSpec:
        return BridgeSpec.model_validate(json.loads((self.folder / "spec.json").read_text()))

    def before(self) -> dict[str, str]:
        """The tree that ifupdown reads. Raises InterfacesError."""
        return read_tree(self._read, self._expand)

    def every_file(self) -> dict[str, str]:
        """All files of before/, those that ifupdown does not read too."""
        return self._files("before")

    def after(self) -> dict[str, str]:
        """The files that change, with their new text."""
        return self._files("after")

    @property
    def refusal(self) -> list[str] | None:
        """The problems, one a line; None when the case is not refused."""
        path = self.folder / "refusal.txt"
        return path.read_text().splitlines() if path.exists() else None

    def _files(self, part: str) -> dict[str, str]:
        root = self.folder / part
        return {
            f"{ETC}/{path.relative_to(root)}": decode(path.read_bytes())
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    def _read(self, path: str) -> str | None:
        local = self.folder / "before" / path.removeprefix(f"{ETC}/")
        return decode(local.read_bytes()) if local.is_file() else None

    def _expand(self, pattern: SourcePattern) -> Sequence[str]:
        root = self.folder / "before"
        found = root.glob(pattern.files_glob.removeprefix(f"{ETC}/"))
        return sorted(f"{ETC}/{path.relative_to(root)}" for path in found if path.is_file())


def cases() -> list[Case]:
    """Every case, by name."""
    return [Case(path.parent) for path in sorted(FOLDER.glob("*/spec.json"))]
