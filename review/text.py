"""Text for people in a terminal: lines of 80 columns, nothing hidden in them, names in order; pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

WIDTH = 80
INDENT = "  "
REMEDY = f"{INDENT}to do: "
BOLD, RED, GREEN, CYAN = "1", "31", "32", "36"
_DIFF = (("--- ", BOLD), ("+++ ", BOLD), ("@@ ", CYAN), ("-", RED), ("+", GREEN))
"""How a line of a diff begins, and its colour; the first that fits."""


def printable(line: str) -> str:
    r"""Return the line with control characters written as `\x1b`, and bytes that are no UTF-8 as `\xff`."""
    return "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in line)


def wrapped(text: str, first: str = INDENT, others: str = INDENT) -> list[str]:
    """Return the text in lines of 80 columns, `first` and `others` before them; no word is broken."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def coloured(text: str, colour: str) -> str:
    """Return the text with the sequences around it that give it a colour in a terminal."""
    return f"\x1b[{colour}m{text}\x1b[0m"


def coloured_diff(line: str) -> str:
    """Return a line of a unified diff in its colour; any other as it is."""
    colour = next((colour for start, colour in _DIFF if line.startswith(start)), None)
    return line if colour is None else coloured(line, colour)


def story(seen: str, remedy: str) -> Iterable[str]:
    """Yield the lines of what was seen and, after "to do:", of what helps; line ends in them are kept."""
    for line in seen.splitlines():
        yield from wrapped(line)
    for at, line in enumerate(remedy.splitlines()):
        yield from wrapped(line, REMEDY if at == 0 else " " * len(REMEDY), " " * len(REMEDY))


def natural(name: str) -> tuple[tuple[str, int, str], ...]:
    """Return by what names are sorted: g1s2 before g1s10."""
    parts = re.findall(r"([^0-9]*)0*([0-9]*)", name)
    return tuple((text, len(digits), digits) for text, digits in parts)


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return "1 guest" or "2 guests"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - where "surrogateescape" puts the bytes
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004
