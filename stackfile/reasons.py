"""Reasons in writing: what lets a change pass that the plan gate holds up otherwise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from stackfile.sections import TEXT, Section
from stackfile.values import text

STUDENTS_AT_ONCE = 3
SHORTEST_REASON = 10  # characters; "because" is none


_EXPECTED = f"a reason of at least {SHORTEST_REASON} characters"


def _long_enough(reason: str) -> str:
    if len(reason.strip()) < SHORTEST_REASON:
        raise ValueError(_EXPECTED)
    return reason


class Reason(Section):
    """A reason for one thing that a change does; it lets nothing else pass."""

    allow: Literal["delete-disk", "network-with-guests", "many-students"]
    """What is allowed."""
    of: Annotated[
        str, BeforeValidator(lambda value: text(str(value), "what it is for")), Field(min_length=1), TEXT
    ]
    """What it is for: a disk ("g1s2-g1"), a host, or for many-students how many it may be."""
    reason: Annotated[
        str,
        BeforeValidator(lambda value: text(value, _EXPECTED)),
        AfterValidator(_long_enough),
        TEXT,
    ]
    """Why, for those who read the file."""
