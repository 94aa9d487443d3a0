"""A report as JSON for programs; pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from review.affected import rows
from review.model import Effect, Inventory, Report
from review.redact import without_secrets

VERSION = 1
"""Another one when a key goes or means something else; keys are added without."""


def document(report: Report) -> dict[str, Any]:
    """Return all of a report, for JSON, without secrets; null is what is not known or does not apply.

    Keys:
        version: of these keys.
        stack: its name.
        verdict: in words: "nothing", "safe", "interrupts guests", "destroys data" or "touches a host's own
            network"; `red`: somebody has to approve it; `refused`: the gate or a mandatory policy refuses it.
        affected: whom it is about, the heaviest first: of each `host`, `student`, `guest` (null: the host
            itself), `verdict`, `red` and `sentences`.
        effects: of each `verdict`, `red`, `sentence`, `host`, `guest`, `student`, `subject` (what a reason
            for it names) and `urns`.
        diffs: of each `host`, `path` and `lines` of a unified diff.
        refusals: of each `rule`, `subject`, `seen`, `remedy`, `reason` (the written one that lets it
            pass) and `refused` (true: there is none).
        unused_reasons: those that nothing asks for: of each `allow`, `of` and `reason`.
        policies: of each `rule`, `level`, `violations` and `unjudged` (until the host exists).
        before, after: of both `hosts`, each with `name`, `address`, `bridge`, `port`, `extra_ports`, `stp`,
            `forward_delay` (seconds), `addresses`, `student` (who has all of it) and `guests`, each with
            `name`, `host`, `address`, `mac`, `domain`, `memory_mib`, `vcpus`, `student` and `disks` (the one
            in use first); null: not known.
        notes: what was not looked at, and what the report cannot tell.
    """
    clean = without_secrets(report)
    return {
        "version": VERSION,
        "stack": clean.stack,
        "verdict": clean.verdict.words,
        "red": clean.verdict.red,
        "refused": clean.refused,
        "affected": [
            {
                "host": row.host,
                "student": row.student,
                "guest": row.guest,
                "verdict": row.verdict.words,
                "red": row.verdict.red,
                "sentences": [*row.sentences],
            }
            for row in rows(clean.effects)
        ],
        "effects": [_effect(effect) for effect in clean.effects],
        "diffs": [_lists(asdict(diff)) for diff in clean.diffs],
        "refusals": [{**asdict(one), "refused": one.reason is None} for one in clean.refusals],
        "unused_reasons": [asdict(reason) for reason in clean.unused_reasons],
        "policies": [_lists(asdict(one)) for one in clean.policies],
        "before": _inventory(clean.before),
        "after": _inventory(clean.after),
        "notes": [*clean.notes],
    }


def _effect(effect: Effect) -> dict[str, Any]:
    weight = {"verdict": effect.verdict.words, "red": effect.verdict.red}
    return {**_lists(asdict(effect)), **weight}


def _inventory(inventory: Inventory | None) -> dict[str, Any] | None:
    return None if inventory is None else {"hosts": _lists(asdict(inventory))["hosts"]}


def _lists(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a value with lists for tuples, as it is when it is read from JSON again."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, list | tuple) else value
