"""What hosts have otherwise than Pulumi's state, from the events of `pulumi refresh --preview-only`; pure.

The events are those of PULUMI_ENABLE_STREAMING_JSON_PREVIEW, one JSON object each: apitype.EngineEvent.
Versions of packages, addresses and ports of bridges change by themselves: they are no drift.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from review.inventory import BRIDGE, DISK, DOMAIN, READY, VOLUME
from review.model import Effect, Plan, Step, Verdict
from review.parts import NETFILTER, PACKAGES, REACHED, kind, listed, parts, said

LONGEST = 300
"""Characters of the reason why a host was not looked at."""
_MENDING = {
    BRIDGE: Verdict.NETWORK,
    NETFILTER: Verdict.NETWORK,
    DOMAIN: Verdict.INTERRUPTS,
    READY: Verdict.INTERRUPTS,
    VOLUME: Verdict.DESTROYS,
    DISK: Verdict.DESTROYS,
}
"""What it weighs to make a thing as the state has it again; SAFE for all others."""
_WORDS = {
    BRIDGE: "its bridge",
    READY: "the guest",
    DOMAIN: "its domain",
    VOLUME: "its disk",
    DISK: "its disk",
}
_SUMS_UP = frozenset({"preview failed", "refresh failed"})
"""What the engine says at last when any resource could not be read."""
_CHANGED = frozenset({"update", "delete"})


@dataclass(frozen=True)
class Drift:
    """What differs, and which hosts were not looked at, with the reason."""

    effects: tuple[Effect, ...] = ()
    unseen: Mapping[str, str] = field(default_factory=dict[str, str])
    troubles: tuple[str, ...] = ()
    """Errors that no host is known of."""


@dataclass(frozen=True)
class _Whose:
    host: str | None
    guest: str | None
    student: str | None
    step: Step


def drift(state: Plan, events: Iterable[Mapping[str, Any]]) -> Drift:
    """Return what differs of a state's resources.

    Args:
        state: the state, see review.plan.of_state.
        events: those of the refresh.
    """
    whose = {one.step.urn: one for one in _owners(state)}
    effects: list[Effect] = []
    unseen: dict[str, str] = {}
    troubles: dict[str, None] = {}
    for event in events:
        metadata = event.get("resOutputsEvent", {}).get("metadata", {})
        about = whose.get(metadata.get("urn", ""))
        if about is not None and metadata.get("op") in _CHANGED:
            effects += _differences(about, metadata)
        trouble = event.get("diagnosticEvent", {})
        about = whose.get(trouble.get("urn", ""))
        if trouble.get("severity") != "error":
            continue
        reason = _reason(trouble.get("message", ""))
        if about is not None and about.host:
            unseen.setdefault(about.host, reason)
        elif reason not in _SUMS_UP:
            troubles[reason] = None
    return Drift(tuple(effects), unseen, tuple(troubles))


def _owners(state: Plan) -> Iterator[_Whose]:
    """Yield whose each resource is; those found to be of a guest or a host once more, after all of them."""
    found = parts(state)
    yield from (_Whose(None, None, None, step) for step in state.steps if not step.component)
    for guest in found.guests:
        yield from (_Whose(guest.host, guest.name, guest.student, step) for step in guest.steps)
    for by_host in (found.networks, found.hosts):
        for host, steps in by_host.items():
            yield from (_Whose(host, None, found.owners.get(host), step) for step in steps)


def _differences(about: _Whose, metadata: Mapping[str, Any]) -> Iterator[Effect]:
    what = kind(about.step)
    for sentence in _sentences(what, about, metadata):
        yield Effect(
            _MENDING.get(what, Verdict.SAFE),
            sentence,
            host=about.host,
            guest=about.guest,
            student=about.student,
            urns=(about.step.urn,),
        )


def _sentences(what: str, about: _Whose, metadata: Mapping[str, Any]) -> Iterator[str]:
    words = _WORDS.get(what, f"{what.rpartition(':')[2]} {about.step.name}")
    if metadata["op"] == "delete":
        yield f"{words} is not there any more"
        return
    was, found = ((metadata.get(side) or {}).get("outputs") or {} for side in ("old", "new"))
    for key in _keys(what, about.step, metadata):
        if was.get(key) == found.get(key):
            continue
        if what == PACKAGES:
            missing = [name for name in was.get(key) or [] if name not in (found.get(key) or [])]
            yield f"not installed any more: {listed(missing)}" if missing else f"{key} differ"
        elif what == READY:
            yield "it does not answer"
        elif what == DOMAIN and key == "running":
            yield "it is off" if was.get(key) else "it runs"
        else:
            yield f"{words}: {key} is {said(was.get(key))} in the state, on the host {said(found.get(key))}"


def _keys(what: str, step: Step, metadata: Mapping[str, Any]) -> Iterable[str]:
    """Return which outputs tell of drift: of our own resources those asked for, else the engine's."""
    if what == READY:
        return ["ready"]
    if what.startswith("kvm:"):
        return [key for key in step.old if key not in REACHED]
    named = metadata.get("diffs") or []
    return dict.fromkeys(str(key).partition(".")[0].partition("[")[0] for key in named)


def _reason(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    seen = next((line.removeprefix("seen: ") for line in lines if line.startswith("seen: ")), None)
    return (seen or " ".join(lines))[:LONGEST]
