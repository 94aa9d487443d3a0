"""Words from a plan inside Markdown and HTML: shown as they are, never taken for either; pure.

A pull request's author chooses them: they mention nobody, link to nothing and end no table, list or block.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from review.text import printable

LONGEST = 500
"""Characters of one text that are shown; of a line of a file too."""
NAME = 80
"""Characters of a name that are shown."""
_SPECIAL = re.compile(r"[&<>|\\`*_\[\]#~$\"']")
_LINKING = (("@", "@&#8203;"), ("&#35;", "&#35;&#8203;"), ("://", ":&#8203;//"), ("www.", "www&#8203;."))
"""What GitHub links in text that is rendered already, and how it is not: a space without width."""


@functools.lru_cache(maxsize=10_000)
def inline(text: str, longest: int = LONGEST) -> str:
    """Return a text for a line, a cell or a heading."""
    escaped = _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", printable(_clipped(text, longest)))
    for linking, apart in _LINKING:
        escaped = escaped.replace(linking, apart)
    return escaped.replace("\t", " ")


def paragraph(text: str) -> str:
    """Return a text of several lines for a list's item or a cell; what is between backticks is code."""
    lines = _clipped(text, 2 * LONGEST).strip("\n").split("\n")
    return "<br>".join(
        "&nbsp;" * (len(line) - len(line.lstrip(" "))) + _spans(line.lstrip(" ")) for line in lines
    )


def _spans(line: str) -> str:
    parts = line.split("`")
    if len(parts) % 2 == 0:
        return inline(line)
    return "".join(
        f"<code>{inline(part)}</code>" if at % 2 else inline(part) for at, part in enumerate(parts)
    )


def code(name: str) -> str:
    """Return a name as code: nothing in it is linked."""
    return f"<code>{inline(name, NAME)}</code>"


def fence(language: str, lines: Iterable[str], *, clip: bool = True) -> Iterator[str]:
    """Yield a block of code that none of its lines can end."""
    shown = [printable(_clipped(line, LONGEST) if clip else line) for line in lines]
    longest = max((len(run) for line in shown for run in re.findall(r"`+", line)), default=0)
    ticks = "`" * max(3, longest + 1)
    yield f"{ticks}{language}"
    yield from shown
    yield ticks


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
