"""What a change would do to a host as it is now: its files, its network, or why it is refused; pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from providers.state.bridge import Kind
from providers.state.bridge_refusals import Refusal
from providers.state.interfaces import without_secrets


@dataclass(frozen=True)
class FileChange:
    """A file's whole text before and after; None: there is no such file."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Outlook:
    """What a change would do, decided by the code that makes it; by default it changes nothing."""

    kind: Kind = "none"
    """As a plan has it: "live" takes nothing down, "activate" takes the network down for a moment."""
    files: tuple[FileChange, ...] = ()
    sentences: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    """Why it would be refused as the host is now."""


def file_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[FileChange, ...]:
    """Return the files that differ, of two sets of files by path."""
    paths = dict.fromkeys((*before, *after))
    changes = (FileChange(path, before.get(path), after.get(path)) for path in paths)
    return tuple(change for change in changes if change.before != change.after)


def unified(host: str, change: FileChange) -> list[str]:
    """Return a unified diff of a file, by diff(1)'s rules; what may be a secret is left out of it."""
    before, after = (_lines(change.path, text) for text in (change.before, change.after))
    name = f"{host}:{change.path}"
    old, new = (name if text is not None else "/dev/null" for text in (change.before, change.after))
    return [line.removesuffix("\n") for line in _marked(difflib.unified_diff(before, after, old, new))]


def _lines(path: str, text: str | None) -> list[str]:
    # not splitlines(): it also splits where interfaces(5) does not
    return re.findall(r"[^\n]*\n|[^\n]+", without_secrets(path, text or ""))


def _marked(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        yield line
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"
