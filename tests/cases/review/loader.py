"""Previews that the engine has made of one stack, each after one edit of its stack file.

base.json has the steps of the stack as it is; each other file those that differ from it, with the counts of
the engine. The text beside it says what that means, a line for each effect, and what the gate refuses. Left
out are keys that no review reads. The stack: guests "web" and g1s1 on h1, g1s2 on h2 (both protected),
and g2s1, who has a host.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Every edit, by name."""
    return sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "base")


def preview(name: str) -> dict[str, Any]:
    """Return the preview after an edit, the unchanged resources among its steps."""
    edited = json.loads((FOLDER / f"{name}.json").read_text())
    steps = {step["urn"]: step for step in json.loads((FOLDER / "base.json").read_text())["steps"]}
    steps.update({step["urn"]: step for step in edited["steps"]})
    return {**edited, "steps": list(steps.values())}


def meaning(name: str) -> list[str]:
    """Return verdict, host, guest, student and subject of each effect, its sentence; then what is refused."""
    return (FOLDER / f"{name}.txt").read_text().splitlines()
