"""All the rules, with what the engine, the listing and a review need to know of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from . import (
    base_image,
    bridge_in_kernel,
    desktop,
    duplicates,
    guest_passwords,
    host_keys,
    lab_range,
    migration,
)
from .verdict import Finding, Options, Resource

Level = Literal["advisory", "mandatory", "disabled"]
PACK = "kvm-lab"
COUNTING = "cannot-be-judged-yet"
"""The policy that counts what the rules could not judge; it forbids nothing."""
COUNTING_WHY = "values are not known before the host exists; the update refuses what they would have hidden"


@dataclass(frozen=True)
class Rule:
    """A rule.

    Args:
        name: the policy's name.
        description: what must be, in one sentence.
        reference: where to read about it, a URL.
        why: the reason.
        options: what its configuration may say: JSON schemas by name, each with its default.
        judge: judges one resource by its inputs; None: it judges stacks.
        judge_stack: judges all resources of a stack by what is known of each; None: it judges inputs.
        level: what a violation does where the configuration does not say otherwise.
    """

    name: str
    description: str
    reference: str
    why: str
    options: Mapping[str, Mapping[str, Any]]
    judge: Callable[[Resource, Options], list[Finding]] | None = None
    judge_stack: Callable[[Sequence[Resource], Options], list[Finding]] | None = None
    level: Level = "mandatory"


def _rule(module: Any) -> Rule:  # noqa: ANN401 - a module of this folder
    return Rule(
        module.NAME,
        module.DESCRIPTION,
        module.REFERENCE,
        module.WHY,
        cast("Mapping[str, Mapping[str, Any]]", module.OPTIONS),
        getattr(module, "judge", None),
        getattr(module, "judge_stack", None),
    )


RULES = tuple(
    map(
        _rule,
        (
            migration,
            bridge_in_kernel,
            desktop,
            host_keys,
            base_image,
            lab_range,
            duplicates,
            guest_passwords,
        ),
    )
)
