"""The lines of an interfaces(5) file as ifupdown joins and splits them; no byte is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

BLANKS = " \t\n\v\f\r"  # isspace(3) in the C locale: str.split() would take Unicode blanks too
_SECRET = re.compile(r"psk|pass|key|secret|wpa-eap|identity", re.IGNORECASE)
_SECRET_NAME = re.compile(rf"(?:{_SECRET.pattern})[\w-]*", re.IGNORECASE)
_WORDS = re.compile(rf"[^{BLANKS}]+")


@dataclass(frozen=True)
class Line:
    """One logical line: a physical one with those that its backslashes draw in."""

    file: str
    number: int
    """Of its first physical line, from 1."""
    raw: str
    """As it stands in the file, line end included."""
    text: str
    """What ifupdown sees; empty for a blank line or a comment."""

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The text split at blanks."""
        return tuple(_WORDS.findall(self.text))

    @property
    def keyword(self) -> str:
        """The first word, or nothing."""
        return self.words[0] if self.words else ""

    @property
    def rest(self) -> str:
        """All after the first word."""
        return self.text[len(self.keyword) :].lstrip(BLANKS)

    @property
    def shown(self) -> str:
        """The text for a message, without what may be a secret (wpa-psk, wireless-key1, ...)."""
        return f"{self.keyword} ..." if _SECRET.search(self.keyword) else self.text

    @property
    def is_blank(self) -> bool:
        """Whether the line is empty; a comment is not."""
        return not self.raw.strip(BLANKS)

    @property
    def is_comment(self) -> bool:
        """Whether the line is a comment."""
        return self.raw.lstrip(BLANKS).startswith("#")

    @property
    def indent(self) -> str:
        """The blanks before the first word."""
        return self.raw[: len(self.raw) - len(self.raw.lstrip(" \t"))]

    @property
    def end(self) -> str:
        r"""The line end that belongs beside this line: "\n" or "\r\n"."""
        return "\r\n" if self.raw.endswith("\r\n") else "\n"


def without_secrets(path: str, text: str) -> str:
    """Return a file's text for people to read, line for line: what follows the name of a secret is left out.

    In commands and comments too: `up iwconfig wlan0 key s:abc` becomes `up iwconfig wlan0 key ...`.
    """
    return "".join(_without_secret(line.raw) for line in logical_lines(path, text))


def _without_secret(raw: str) -> str:
    named = _SECRET_NAME.search(raw)
    if named is None:
        return raw
    first, *continued = raw[named.end() :].split("\n")
    hidden = [" ..." if first.strip(BLANKS) else first, *("..." if line else "" for line in continued)]
    return raw[: named.end()] + "\n".join(hidden)


def logical_lines(path: str, text: str) -> Iterator[Line]:
    """Split a file's text as ifupdown's get_line() does; the `raw` parts joined are the text again."""
    physical = re.findall(r"[^\n]*\n|[^\n]+", text)
    position = 0
    while position < len(physical):
        start = position
        position += 1
        joined = physical[start].removesuffix("\n").lstrip(BLANKS)
        if joined.startswith("#"):
            yield Line(path, start + 1, physical[start], "")
            continue
        while joined.endswith("\\") and position < len(physical):
            joined = joined[:-1] + physical[position].removesuffix("\n")
            position += 1
        if position == len(physical):
            joined = joined.rstrip("\\")
        yield Line(path, start + 1, "".join(physical[start:position]), joined.rstrip(BLANKS))
