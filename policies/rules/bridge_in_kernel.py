"""Where guests migrate, the bridge must be sound in the running kernel, not only as it was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import migration
from .verdict import DEFAULTS, UNKNOWN, Finding, Options, Resource, Unjudged

NAME = "bridge-in-kernel-without-delay"
DESCRIPTION = "After an update, every bridge of a host with migration on has STP off and forward delay 0."
REFERENCE = migration.REFERENCE
WHY = f"the kernel may differ from the files, and {migration.WHY}"
OPTIONS = migration.OPTIONS
NOT_READ = {"stp": UNKNOWN, "forward_delay": UNKNOWN}


def judge_stack(resources: Sequence[Resource], options: Options = DEFAULTS) -> list[Finding]:
    """Judge the output `kernel` of each bridge: what was read after its last change or refresh.

    A bridge without it, as one that is not made yet, waits for it.
    """
    findings: list[Finding] = []
    for bridge in resources:
        if bridge.type == migration.BRIDGE:
            kernel = bridge.seen.get("kernel")
            values = kernel if isinstance(kernel, Mapping) else NOT_READ
            findings += migration.judge_bridge(
                bridge.name,
                bridge.seen.get("migration"),
                values,
                "kernel.",
                longest=migration.longest_delay(options),
            )
    return [_waits(finding) for finding in findings]


def _waits(finding: Finding) -> Finding:
    if isinstance(finding, Unjudged):
        return Unjudged(finding.resource, finding.option, f"{finding.wanted}, read from the kernel")
    return finding
