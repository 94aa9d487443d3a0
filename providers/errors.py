"""The one family of errors that a user of the program meets."""

from __future__ import annotations

from typing import ClassVar

SEEN_LINES = 20


def tail(text: str, lines: int = SEEN_LINES) -> str:
    """Return the last `lines` lines of `text`, saying how many were left out."""
    kept = text.strip("\n").splitlines()
    if len(kept) <= lines:
        return "\n".join(kept)
    return "\n".join([f"[{len(kept) - lines} lines before these]", *kept[-lines:]])


class LabError(Exception):
    """Something could not be done.

    Args:
        asked: what was to be done, with the host's name where there is one
            ("g1s1: install bridge-utils").
        seen: what was observed instead; output is cut to its last 20 lines.
        remedy: what the reader can do about it.

    Never give it a secret: Pulumi writes its text into the engine's log.
    """

    seen_lines: ClassVar[int] = SEEN_LINES
    """How much of what was seen is kept; more where every line is a mistake of the reader's own."""

    def __init__(self, asked: str, seen: str, remedy: str) -> None:
        self.asked = asked
        self.seen = tail(seen, self.seen_lines)
        self.remedy = remedy
        super().__init__(f"{asked}\n  seen: {_indent(self.seen)}\n  to do: {_indent(remedy)}")

    def __reduce__(self) -> tuple[type[LabError], tuple[str, str, str]]:
        return type(self), (self.asked, self.seen, self.remedy)


def _indent(text: str) -> str:
    return text.replace("\n", "\n        ")
