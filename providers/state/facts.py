"""What a facts script on a host prints: a line per fact, key, base64 of its value, and for files a path."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Facts:
    """The facts of one script."""

    values: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Key -> path -> content."""

    def lines(self, key: str) -> list[str]:
        """Return a value's lines; none when there is no such fact."""
        return self.values.get(key, "").splitlines()

    def objects(self, key: str) -> list[dict[str, Any]]:
        """Return the objects of a list in JSON."""
        # iproute2 prints nothing at all for an empty list, and {} for an entry it leaves out
        return [entry for entry in json.loads(self.values.get(key) or "[]") if entry]


def collect(text: str, needed: tuple[str, ...]) -> Facts:
    """Read a script's output.

    Raises:
        ValueError: it is something else, or was cut before all the `needed` values came.
    """
    facts = Facts()
    for line in text.splitlines():
        key, encoded, path = line.split(" ", 2)
        data = base64.b64decode(encoded, validate=True)
        if path:
            facts.files.setdefault(key, {})[path] = data
        else:
            facts.values[key] = data.decode(errors="replace")
    for key in needed:
        if key not in facts.values:
            raise ValueError(f"no {key}")
    return facts
