"""Plans and states as the engine writes them: `pulumi preview --json`, `pulumi stack export`; pure.

The forms are the engine's: PreviewDigest in pkg/display/json.go, DeploymentV3 in sdk/go/common/apitype.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policies.rules.verdict import UNKNOWN
from providers.errors import LabError
from review.hidden import HIDDEN, SIGNATURE, SIGNATURE_OF_SECRET
from review.model import Plan, Step

SHOW_SAMES = "pulumi preview --json --show-sames"
# sdk/go/common/resource/plugin/rpc.go: what stands for a value that is not known yet, by the value's kind
_UNKNOWNS = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
_REPLACING = frozenset(
    {"replace", "create-replacement", "delete-replaced", "import-replacement", "read-replacement"}
)
_AS_IT_IS = frozenset({"same", "refresh", "read"})
_ASKED = "read the plan of a stack"


def parse(document: Mapping[str, Any]) -> Plan:
    """Return the plan of `pulumi preview --json`.

    Without --show-sames the unchanged resources are not in it, and the plan is not `whole`: a parent that is
    not in it has the name of its child then.

    Raises:
        LabError: it is something else, or the preview failed and tells a part of the changes only.
    """
    if "deployment" in document:
        raise LabError(_ASKED, "it is a state", f"give the output of `{SHOW_SAMES}`")
    steps, known = document.get("steps", []), {"steps", "changeSummary", "duration"}
    if not known & document.keys() or not _are_objects(steps):
        raise LabError(_ASKED, "it is no preview: it has no steps", f"give the output of `{SHOW_SAMES}`")
    _refuse_failed(document.get("diagnostics") or [])
    states = {str(step.get("urn")): _state(step) for step in steps}
    parts = [_step(step, states) for step in steps]
    counts = document.get("changeSummary") or {}
    # the stack itself is told, and not counted, whatever becomes of it
    told = sum(step.op == "same" for step in parts)
    return Plan(_stack_of(parts), tuple(_folded(parts)), whole=told >= counts.get("same", 0))


def of_state(export: Mapping[str, Any]) -> Plan:
    """Return a plan that leaves all of `pulumi stack export` as it is.

    What is only there to be deleted, as an earlier update could not, is not in it.

    Raises:
        LabError: it is something else.
    """
    asked, remedy = "read the state of a stack", "give the output of `pulumi stack export`"
    deployment = export.get("deployment")
    if not isinstance(deployment, Mapping):
        raise LabError(asked, "it is no state: it has no deployment", remedy)
    resources = deployment.get("resources") or []
    if not _are_objects(resources):
        raise LabError(asked, "its resources are no list of objects", remedy)
    states = {str(one.get("urn")): one for one in resources if not one.get("delete")}
    steps = [_same(_step({"op": "same", "urn": urn, "oldState": one}, states)) for urn, one in states.items()]
    return Plan(_stack_of(steps), tuple(steps))


def subtract(head: Plan, base: Plan) -> tuple[Plan, Plan]:
    """Return what `head` changes beyond `base`, and what is pending on `base` already.

    Both are previews against one state. What both would do to a resource in the same way is "same" in the
    first, or not in it where both delete it; what remains starts from what `base` leads to.
    """
    pending = {step.urn: step for step in base.steps}
    beyond = [_beyond(step, pending.get(step.urn)) for step in head.steps]
    steps = tuple(step for step in beyond if step is not None)
    return replace(head, steps=steps), base


@dataclass(frozen=True)
class _Urn:
    """A resource's name as "urn:pulumi:STACK::PROJECT::TYPE$TYPE::NAME"."""

    stack: str
    types: tuple[str, ...]
    """Its parents' types, the outermost first, and its own."""
    name: str

    @staticmethod
    def of(text: str) -> _Urn:
        parts = text.removeprefix("urn:pulumi:").split("::", 3)
        if len(parts) != 4:  # noqa: PLR2004 - as the form says
            raise LabError(_ASKED, f"{text!r} is no URN", f"give the output of `{SHOW_SAMES}`")
        return _Urn(parts[0], tuple(parts[2].split("$")), parts[3])


def _are_objects(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, Mapping) for value in values)


def _refuse_failed(diagnostics: Iterable[Mapping[str, Any]]) -> None:
    """A preview that failed stops where it did: what it does not tell might be the worst."""
    errors = [str(one.get("message", "")).strip() for one in diagnostics if one.get("severity") == "error"]
    told = [text for text in errors if text and text != "error: preview failed"] or errors
    if told:
        raise LabError(
            _ASKED,
            "\n".join(["the preview failed, so that it does not tell all changes:", *told]),
            "mend what it names, and make the preview again",
        )


def _stack_of(steps: Sequence[Step]) -> str:
    return _Urn.of(steps[0].urn).stack if steps else ""


def _state(step: Mapping[str, Any]) -> Mapping[str, Any]:
    return step.get("newState") or step.get("oldState") or {}


def _step(part: Mapping[str, Any], states: Mapping[str, Mapping[str, Any]]) -> Step:
    urn = _Urn.of(str(part.get("urn")))
    before, after = part.get("oldState") or {}, part.get("newState") or {}
    old, new = _plain(before.get("inputs") or {}), _plain(after.get("inputs") or {})
    op = str(part.get("op"))
    step = Step(
        urn=str(part["urn"]),
        type=urn.types[-1],
        name=urn.name,
        op=op,
        old=old,
        new=new,
        outputs=_plain(before.get("outputs") or {}),
        changed=tuple(_changed(part, old, new)) if before and after and op not in _AS_IT_IS else (),
        parents=tuple(_parents(urn, after or before, states)),
        component=(after or before).get("custom") is False,
        unprotected=bool(before.get("protect") and after and not after.get("protect")),
    )
    return _same(step) if op in _AS_IT_IS else step


def _same(step: Step) -> Step:
    inputs = step.new or step.old
    return replace(step, op="same", old=inputs, new=inputs, changed=())


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the value without the engine's own keys, secrets, and stand-ins for what is not known."""
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SIGNATURE_OF_SECRET:
            return HIDDEN
        return {key: _plain(item) for key, item in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return UNKNOWN if isinstance(value, str) and value in _UNKNOWNS else value


def _changed(part: Mapping[str, Any], old: object, new: object) -> Iterator[str]:
    """Yield the paths that differ: in the inputs; of secrets, and of what was found, as the engine says."""
    paths = list(_differences(old, new))
    told = [path for path in (part.get("detailedDiff") or ()) if not path.startswith("__")]
    for path in told or part.get("diffReasons") or ():
        if not any(other == path or other.startswith((f"{path}.", f"{path}[")) for other in paths):
            paths.append(path)
    yield from dict.fromkeys(paths)


def _differences(old: object, new: object, path: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f"{path}[{at}]")
    elif old != new:
        yield path


def _parents(
    urn: _Urn, state: Mapping[str, Any], states: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield name and type of its parents up to the stack, the nearest first."""
    above, name = state.get("parent"), urn.name
    for token in reversed(urn.types[:-1]):
        if above:
            name = _Urn.of(str(above)).name
        yield name, token
        above = states.get(str(above), {}).get("parent")


def _folded(parts: Iterable[Step]) -> Iterator[Step]:
    """Yield one step for each resource."""
    by_urn: dict[str, list[Step]] = {}
    for part in parts:
        by_urn.setdefault(part.urn, []).append(part)
    yield from map(_fold, by_urn.values())


def _fold(parts: list[Step]) -> Step:
    """Return what the steps of one resource come to.

    A lone "delete-replaced" beside a "same" is what an interrupted replacement has left: it is deleted now,
    which is no less than a replacement.
    """
    ops = {part.op for part in parts}
    if not ops & _REPLACING and not {"create", "delete"} <= ops:
        return next((part for part in reversed(parts) if part.op != "same"), parts[-1])
    old = next((part.old for part in parts if part.old), {})
    new = next((part.new for part in reversed(parts) if part.new), {})
    last = next((part for part in parts if part.op == "replace"), parts[-1])
    outputs = next((part.outputs for part in parts if part.outputs), {})
    changed = tuple(dict.fromkeys(path for part in parts for path in part.changed))
    return replace(last, op="replace", old=old, new=new, outputs=outputs, changed=changed)


def _beyond(step: Step, pending: Step | None) -> Step | None:
    if pending is None:
        return step
    step = replace(step, unprotected=step.unprotected and not pending.unprotected)
    if step.op == "same":
        return step
    if step.op == pending.op and step.new == pending.new:
        return None if step.op == "delete" else _same(step)
    if pending.op in {"same", "delete"}:
        return step
    led_to = {key: value for key, value in pending.new.items() if key in step.outputs}
    changed = tuple(_differences(pending.new, step.new)) if step.new else ()
    return replace(step, old=pending.new, outputs={**step.outputs, **led_to}, changed=changed or step.changed)
