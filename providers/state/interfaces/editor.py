"""Changes to single lines of a tree; all others keep their bytes."""

from __future__ import annotations

import re

from providers.state.interfaces.lines import BLANKS, Line
from providers.state.interfaces.model import Tree

_OPTION = re.compile(r"(?P<before>[ \t]*\S+[ \t]+)(?P<value>[^\n]*?)(?P<end>[ \t\r]*\n?)")


def with_value(line: Line, value: str) -> str:
    """Return the bytes of an option line with another value, on one physical line."""
    match = _OPTION.fullmatch(line.raw)
    if match is None or line.raw.rstrip("\n").endswith("\\"):
        return f"{line.indent}{line.keyword} {value}{line.end}"
    return match["before"] + value + (line.end if line.raw.endswith("\n") else "")


def with_words(line: Line, words: dict[int, str]) -> str:
    """Return a line's bytes with some words replaced, by their place; an empty one takes its blanks along."""
    number = -1

    def put(match: re.Match[str]) -> str:
        nonlocal number
        number += 1
        if number not in words:
            return match[0]
        return words[number] + match[2] if words[number] else ""

    if "\\\n" in line.raw:
        kept = [words.get(place, word) for place, word in enumerate(line.words)]
        return line.indent + " ".join(filter(None, kept)) + line.end
    replaced = re.sub(rf"([^{BLANKS}]+)([ \t]*)", put, line.raw)
    return replaced if words.get(len(line.words) - 1) != "" else replaced.rstrip(BLANKS) + line.end


class Editor:
    """Collects changes to a tree and writes it anew."""

    def __init__(self, tree: Tree, files: dict[str, tuple[Line, ...]]) -> None:
        self._tree = tree
        self._files = files
        self._raw: dict[tuple[str, int], str] = {}
        self._before: dict[tuple[str, int], str] = {}
        self._after: dict[tuple[str, int], str] = {}
        self._appended: dict[str, str] = {}

    def replace(self, line: Line, raw: str) -> None:
        """Give a line other bytes; none deletes it."""
        self._raw[line.file, line.number] = raw

    def is_deleted(self, line: Line) -> bool:
        """Tell whether the line was deleted."""
        return self._raw.get((line.file, line.number)) == ""

    def insert_before(self, line: Line, text: str) -> None:
        """Put whole lines before a line, after what was put there earlier."""
        key = (line.file, line.number)
        self._before[key] = self._before.get(key, "") + text

    def insert_after(self, line: Line, text: str) -> None:
        """Put whole lines after a line, after what was put there earlier."""
        key = (line.file, line.number)
        self._after[key] = self._after.get(key, "") + text

    def append(self, path: str, text: str) -> None:
        """Put whole lines at the end of a file."""
        self._appended[path] = self._appended.get(path, "") + text

    def eol(self, path: str) -> str:
        """Return the line end that the file uses."""
        lines = self._files[path]
        return lines[0].end if lines else "\n"

    def tree(self) -> dict[str, str]:
        """Return the whole tree, changed."""
        return {path: self._text(path) for path in self._tree}

    def _text(self, path: str) -> str:
        pieces = []
        for line in self._files[path]:
            key = (path, line.number)
            pieces += [self._before.get(key, ""), self._raw.get(key, line.raw), self._after.get(key, "")]
        pieces.append(self._appended.get(path, ""))
        pieces = [piece for piece in pieces if piece]
        ended = [piece if piece.endswith("\n") else piece + self.eol(path) for piece in pieces[:-1]]
        return "".join(ended + pieces[-1:])


def changed_files(before: Tree, after: Tree) -> dict[str, str]:
    """Return the files of `after` whose text is another."""
    return {path: text for path, text in after.items() if text != before.get(path)}
