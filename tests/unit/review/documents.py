"""Previews and states of a stack "lab" in the engine's own JSON, small."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

STACK = "urn:pulumi:lab::kvm-lab::pulumi:pulumi:Stack::kvm-lab-lab"
UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SECRET_MARK = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


def urn(types: str, name: str) -> str:
    return f"urn:pulumi:lab::kvm-lab::{types}::{name}"


def state(
    types: str, name: str, inputs: Mapping[str, Any], parent: str = STACK, **more: object
) -> dict[str, Any]:
    kind = types.rpartition("$")[2]
    custom = not kind.startswith("kvm:index:")
    return {
        "urn": urn(types, name),
        "custom": custom,
        "type": kind,
        "inputs": dict(inputs),
        "parent": parent,
        **more,
    }


def step(
    op: str,
    types: str,
    name: str,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    **more: object,
) -> dict[str, Any]:
    """A step with the inputs before and after; `more` goes into both of its states."""
    made: dict[str, Any] = {"op": op, "urn": urn(types, name), "detailedDiff": None}
    if old is not None:
        made["oldState"] = state(types, name, old, **more)  # type: ignore[arg-type]
    if new is not None:
        made["newState"] = state(types, name, new, **more)  # type: ignore[arg-type]
    return made


def preview(*steps: dict[str, Any], same: int = 0, errors: Iterable[str] = ()) -> dict[str, Any]:
    """A preview of these steps; `same` is how many unchanged resources the engine has counted."""
    return {
        "steps": list(steps),
        "duration": 1,
        "changeSummary": {"same": same},
        "diagnostics": [{"severity": "error", "message": text} for text in errors],
    }


def export(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"version": 3, "deployment": {"manifest": {}, "resources": list(resources)}}
