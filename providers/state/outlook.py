"""What a change would do to a host as it is now: its files, its network, or why it is refused; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from providers.state.bridge import Kind
from providers.state.bridge_refusals import Refusal


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
