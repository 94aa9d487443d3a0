"""HTML that cannot be broken by what is shown in it: every text is escaped, unless it is Markup; pure."""

from __future__ import annotations

import html
from collections.abc import Iterable

from review.text import printable


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Return the text as HTML; characters that change how others are shown are written as `\\u202e`."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(text)))


def joined(parts: Iterable[str]) -> Markup:
    """Return the parts one after the other."""
    return Markup("".join(map(escaped, parts)))


def element(name: str, /, *inside: str, **attributes: str | None) -> Markup:
    """Return an element with what is inside.

    In an attribute's name "_" stands for "-", and at its end for nothing; None leaves the attribute out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{joined(inside)}</{name}>")
