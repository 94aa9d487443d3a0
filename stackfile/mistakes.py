"""Mistakes in a stack file: where, what was expected, what was seen; all of them in one error."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from providers.errors import LabError

Location = tuple[str | int, ...]

SHOWN_LENGTH = 80
HIDDEN = "a secret value (not shown)"
PRIVATE = "what looks like a private key (not shown)"
LISTS_WITH_NAMES = {"hosts": "host", "guests": "guest", "images": "image", "templates": "template"}


@dataclass(frozen=True)
class Mistake:
    """One mistake: `where` is the path in the stack file ("hosts[1].bridge.stp (host g1s2)")."""

    where: str
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}; seen {self.seen}"


class ConfigError(LabError):
    """The stack file cannot be used.

    Args:
        source: the file's name, as the reader knows it.
        mistakes: every mistake that was found, in the file's order.
    """

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        super().__init__(f"read {source}", count, "mend them and run the same again; no host was contacted")

    def __str__(self) -> str:
        lines = "\n".join(f"  - {mistake}" for mistake in self.mistakes)
        return f"{self.asked}: {self.seen}\n{lines}\n  to do: {self.remedy}"

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, tuple[Mistake, ...]]]:  # type: ignore[override]
        return type(self), (self.source, self.mistakes)


def path_of(location: Location) -> str:
    """Return ("hosts", 1, "bridge") as "hosts[1].bridge"."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def where(location: Location, written: object) -> str:
    """Return the path of `location` with the names of the host, guest or image it leads through."""
    names = []
    here = written
    for index, part in enumerate(location):
        here = child(here, part)
        kind = LISTS_WITH_NAMES.get(str(location[index - 1])) if index and isinstance(part, int) else None
        name = child(here, "name")
        if kind and isinstance(name, str) and name:
            names.append(f"{kind} {shown(name)}")
    return path_of(location) + (f" ({', '.join(names)})" if names else "")


def shown(value: object) -> str:
    """Return `value` for a message: short, on one line, and never a key or a password."""
    if isinstance(value, Mapping):
        keys = ", ".join(_clipped(str(key)) for key in value)
        return HIDDEN if "secure" in value else f"a mapping with {keys}" if keys else "an empty mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if value in (None, (), ""):
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "PRIVATE KEY" in text:
        return PRIVATE
    without_login = re.sub(r"//[^/@\s]*@", "//(not shown)@", text)
    return _clipped(re.sub(r"(//[^?\s]*\?)\S*", r"\1(not shown)", without_login))


def near(name: str, known: Collection[str]) -> str:
    """Return " (did you mean …?)" when `known` has names like `name`, else nothing."""
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def from_pydantic(
    error: ValidationError, model: type[BaseModel], written: object, hidden: Collection[str]
) -> Iterator[tuple[Location, Mistake]]:
    """Yield the mistakes of `error`, which validating `written` as `model` raised, with their locations.

    `hidden` are the top keys whose values are secret.
    """
    for detail in error.errors(include_url=False):
        location = detail["loc"]
        secret = bool(location) and location[0] in hidden
        expected, seen = _sentence(dict(detail), model)
        yield (
            location,
            Mistake(where(location, {} if secret else written), expected, HIDDEN if secret else seen),
        )


def _sentence(detail: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, str]:
    """Return (expected, seen) of one of pydantic's errors."""
    kind, location, value = detail["type"], detail["loc"], detail["input"]
    if kind == "extra_forbidden":
        options = _options(model, location[:-1])
        name = str(location[-1])
        return (
            f"one of the options {', '.join(options)}",
            f"the unknown option {_clipped(name)}{near(name, options)}",
        )
    if kind == "missing":
        return "a value: this option is required", "nothing"
    if kind in ("model_type", "model_attributes_type"):
        return f"a mapping with the options {', '.join(_options(model, location))}", shown(value)
    if kind == "tuple_type":
        return "a list", shown(value)
    if kind == "value_error":
        return str(detail["ctx"]["error"]), shown(value)
    return str(detail["msg"]), shown(value)


def _options(model: type[BaseModel], location: Location) -> list[str]:
    """Return the names of the options that may stand at `location`."""
    for part in location:
        if isinstance(part, str):
            model = next(_models(model.model_fields[part].annotation))
    return list(model.model_fields)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def child(value: object, part: str | int) -> object:
    """Return what stands in the mapping or list `value` at `part`; None when nothing does."""
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _clipped(text: str) -> str:
    one_line = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return one_line if len(one_line) <= SHOWN_LENGTH else one_line[:SHOWN_LENGTH] + "…"
