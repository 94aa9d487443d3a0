"""What a rule is given and what it answers."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal


class Unknown(enum.Enum):
    """Stands for a value that is not known before the update: compare with `is UNKNOWN`."""

    UNKNOWN = "not known yet"


UNKNOWN: Final[Literal[Unknown.UNKNOWN]] = Unknown.UNKNOWN

Options = Mapping[str, object]
"""What the configuration says to one rule, by the names in its OPTIONS; what is left out has its default."""
DEFAULTS: Final[Options] = MappingProxyType({})


@dataclass(frozen=True)
class Resource:
    """A resource as it is declared: its Pulumi type token, its name, its inputs as JSON-like values.

    `outputs` is what is known of it besides; None: nothing yet, as before it is made.
    """

    type: str
    name: str
    inputs: Mapping[str, object]
    outputs: Mapping[str, object] | None = None

    @property
    def seen(self) -> Mapping[str, object]:
        """Return the outputs, which echo the inputs, or the inputs where there are none yet."""
        return self.inputs if self.outputs is None else self.outputs


@dataclass(frozen=True)
class Violation:
    """A rule is broken: by which resource, in which option, with which value, what would do, and why."""

    resource: str
    option: str
    seen: str
    wanted: str
    why: str

    def __str__(self) -> str:
        return f"{self.resource}: {self.option} is {self.seen}, wanted {self.wanted}: {self.why}"


@dataclass(frozen=True)
class Unjudged:
    """A rule cannot say yet, as the value of `option` is not known; it is asked again during the update."""

    resource: str
    option: str
    wanted: str

    def __str__(self) -> str:
        return (
            f"{self.resource}: {self.option} is not known yet, wanted {self.wanted}; judged during the update"
        )


Finding = Violation | Unjudged


def items(value: object) -> Sequence[object]:
    """Return the elements of a list; none when it is no list."""
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()


def written(value: object) -> str:
    """Return `value` as a stack file writes it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def texts(value: object) -> tuple[str, ...]:
    """Return the elements of a list that are texts; none when it is no list."""
    return tuple(item for item in items(value) if isinstance(item, str))


def waiting(unjudged: Sequence[Unjudged]) -> str:
    """Return how much waits, in one line: "2 values of 1 resource cannot be judged until the host exists"."""
    resources = len({one.resource for one in unjudged})
    values = f"{len(unjudged)} value{'s'[: len(unjudged) != 1]}"
    return f"{values} of {resources} resource{'s'[: resources != 1]} cannot be judged until the host exists"
