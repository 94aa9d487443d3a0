"""Claims of stacks on the things of a host: who wants it, and what is needed to undo it."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"


class Record(BaseModel):
    """One thing of a host (a package set, a bridge, a base image) and the stacks that claim it.

    The thing is undone with the last claim; one that was there before the first claim (`adopted`) is
    then left as found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(pattern=_NAME)
    """What it is: "packages", "bridge", "image"."""
    key: str = Field(pattern=_NAME)
    """Which one of its kind: a file name."""
    adopted: bool = False
    """It was there before the first claim."""
    claims: dict[str, JsonValue] = {}
    """By claimant ("<project>/<stack>.<host as the stack file names it>"): what was asked for."""
    facts: dict[str, JsonValue] = {}
    """What undoing needs: packages brought, original stanzas."""

    def claimed(self, stack: str, asked: JsonValue) -> Self:
        """Return the record with the claim of `stack` added or replaced by `asked`."""
        return self.model_copy(update={"claims": {**self.claims, stack: asked}})

    def released(self, stack: str) -> Self | None:
        """Return the record without the claim of `stack`; None when nobody else claims the thing."""
        rest = {name: asked for name, asked in self.claims.items() if name != stack}
        return self.model_copy(update={"claims": rest}) if rest else None

    def renamed(self, stack: str, new: str) -> Self:
        """Return the record with the claim of `stack` as the claim of `new`."""
        claims = {new if name == stack else name: asked for name, asked in self.claims.items()}
        return self.model_copy(update={"claims": claims})

    def with_facts(self, **facts: JsonValue) -> Self:
        """Return the record with these facts added or replaced."""
        return self.model_copy(update={"facts": {**self.facts, **facts}})
