"""Which files ifupdown reads, and in which order."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from providers.state.interfaces.lines import Line, logical_lines
from providers.state.interfaces.model import MAIN, InterfacesError, Problem

_PLAIN_GLOB = re.compile(r"[A-Za-z0-9_./*?\[\]!^,:@%+=-]+")
_EMPTY = ("", ".")
_DIRECTORY_FILE = re.compile(r"[A-Za-z0-9_-]+")


def decode(data: bytes) -> str:
    """Turn a file's bytes into text without losing any; `encode` is the way back."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Turn text from `decode` into the file's bytes."""
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class SourcePattern:
    """One word of a `source` or `source-directory` line."""

    file: str
    line: int
    glob: str
    """Absolute where the including file's path is; safe to be expanded unquoted by sh."""
    directory: bool

    @property
    def files_glob(self) -> str:
        """The glob of the files themselves, for sh; names outside of `accepts` are to be dropped."""
        return f"{self.glob}/*" if self.directory else self.glob

    def accepts(self, path: str) -> bool:
        """Tell whether ifupdown reads `path` because of this pattern (wordexp(3), scandir(3))."""
        parts, wanted = _components(path), _components(self.files_glob)
        if self.directory and not _DIRECTORY_FILE.fullmatch(parts[-1]):
            return False
        return len(parts) == len(wanted) and all(map(_component_matches, parts, wanted))

    def spelled(self, path: str) -> str:
        """Return an accepted path as ifupdown spells it, `//` and `/./` of the pattern included."""
        found = iter(_components(path))
        return "/".join(part if part in _EMPTY else next(found) for part in self.files_glob.split("/"))


def _components(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in _EMPTY]


def _component_matches(part: str, pattern: str) -> bool:
    if part.startswith(".") and not pattern.startswith("."):
        return False
    return fnmatchcase(part, pattern.replace("[^", "[!"))


def is_source(line: Line) -> bool:
    """Tell whether the line includes other files (ifupdown takes any word that begins `source-dir`)."""
    return line.keyword == "source" or line.keyword.startswith("source-dir")


def patterns_of(line: Line) -> tuple[SourcePattern, ...]:
    """Return the patterns of one `source` line.

    Raises:
        InterfacesError: a pattern with shell syntax other than a glob, or none at all.
    """
    folder = posixpath.dirname(line.file)
    first = line.rest if line.rest.startswith("/") else f"{folder}/{line.rest}"
    words = first.split()
    whys = []
    if not line.rest:
        whys.append("names no file")
    if not all(_PLAIN_GLOB.fullmatch(word) for word in words):
        whys.append("only plain paths and globs (* ? []) are understood here, and no comment after them")
    if any(not word.startswith("/") for word in words[1:]):
        whys.append("a relative path after the first depends on where ifup is started: write it absolute")
    if whys:
        problems = [Problem(line.file, line.number, line.text, why) for why in whys]
        raise InterfacesError("find the files that interfaces(5) includes", problems)
    directory = line.keyword != "source"
    return tuple(SourcePattern(line.file, line.number, word, directory) for word in words)


def source_patterns(path: str, text: str) -> tuple[SourcePattern, ...]:
    """Return what the file `path` includes, in order; relative ones are relative to its folder.

    Raises:
        InterfacesError: a pattern with shell syntax other than a glob.
    """
    return tuple(
        pattern for line in logical_lines(path, text) if is_source(line) for pattern in patterns_of(line)
    )


def read_tree(
    read: Callable[[str], str | None],
    expand: Callable[[SourcePattern], Sequence[str]],
    main: str = MAIN,
) -> dict[str, str]:
    """Read the main file and all it includes, in ifupdown's order.

    Args:
        read: text of a file; None when there is none.
        expand: the regular files that match `pattern.files_glob`, in C collation order.
        main: path of the main file.

    Raises:
        InterfacesError: a pattern not understood, or a file that ifupdown reads twice under two spellings.
    """
    tree: dict[str, str] = {}

    def enter(path: str) -> None:
        text = read(path)
        if text is None:
            return
        tree[path] = text
        for pattern in source_patterns(path, text):
            for found in map(pattern.spelled, filter(pattern.accepts, expand(pattern))):
                _refuse_second_spelling(tree, found, pattern)
                if found not in tree:
                    enter(found)

    enter(main)
    return tree


def _refuse_second_spelling(tree: dict[str, str], path: str, pattern: SourcePattern) -> None:
    for known in tree:
        if known != path and posixpath.normpath(known) == posixpath.normpath(path):
            why = f"ifupdown reads {posixpath.normpath(path)} twice, as {known} and as {path}"
            problem = Problem(pattern.file, pattern.line, pattern.glob, why)
            raise InterfacesError("find the files that interfaces(5) includes", [problem])
